package dataset

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store/blob/blobtest"
)

// fill puts files into a store, below data/, and returns it.
func fill(t testing.TB, files map[string]string) *blobtest.Store {
	t.Helper()
	s := blobtest.New(t)
	for name, text := range files {
		s.Put("data/"+name, text)
	}
	return s
}

// ofAllForms has a file of every form.
func ofAllForms(t testing.TB) map[string]string {
	return map[string]string{
		"a.csv": joined(records(700)), "b/c.jsonl": joined(lines(3000)), "b/d.parquet": parquetOf(t, items(900)), "b.bin": strings.Repeat("x", 8<<20+1),
		"empty.csv": "", "empty.bin": "", "ä +%&?.jsonl": "{}\n", "tabs.tsv": "a,b\tc\n1\t2\n",
	}
}

// TestBucketsAreSealedAsFiles seals the same content on a disk and in each kind of bucket: the
// same seal comes out. In the bucket are neighbours, signs of directories, older versions and
// what was deleted, too.
func TestBucketsAreSealedAsFiles(t *testing.T) {
	files := ofAllForms(t)
	dir := write(t, files)
	seal, want := sealOf(t, dir)
	wantSeal, _ := os.ReadFile(seal)
	for _, scheme := range []string{"s3", "gs", "az"} {
		t.Run(scheme, func(t *testing.T) {
			s := fill(t, map[string]string{"a.csv": "an older version", "gone.csv": "x"})
			for name, text := range files {
				s.Put("data/"+name, text)
			}
			s.Put("data/", "")
			s.Put("data/b/", "")
			s.Put("database.csv", "a neighbour")
			s.Delete("data/gone.csv")
			for _, key := range []string{"data", "data/"} {
				out, made := sealOf(t, s.Address(scheme, key))
				if got, _ := os.ReadFile(out); !bytes.Equal(got, wantSeal) || made.Rows != want.Rows || made.Files != len(files) {
					t.Errorf("%s: another seal came out: %+v", key, made)
				}
				if got := verify(t, Verify{Path: s.Address(scheme, key), Seal: seal}); !got.Clean {
					t.Errorf("%+v", got)
				}
				if got := verify(t, Verify{Path: dir, Seal: out}); !got.Clean {
					t.Errorf("%+v", got)
				}
			}
			out, made := sealOf(t, s.Address(scheme, "data/b/c.jsonl"))
			_, alone := sealOf(t, filepath.Join(dir, "b/c.jsonl"))
			if made.Root != alone.Root || !verify(t, Verify{Path: s.Address(scheme, "data/b/c.jsonl"), Seal: out}).Clean {
				t.Errorf("one object: %+v", made)
			}
		})
	}
}

// TestBucketChangesAreNamed changes objects, and wants the rows back; --fast reads those alone
// that were put again.
func TestBucketChangesAreNamed(t *testing.T) {
	for _, scheme := range []string{"s3", "gs", "az"} {
		t.Run(scheme, func(t *testing.T) {
			rows := lines(3000)
			s := fill(t, map[string]string{"a.jsonl": joined(rows), "b.bin": "b", "c.bin": "c", "d.bin": "d"})
			seal, _ := sealOf(t, s.Address(scheme, "data/"))
			objects := func() int {
				return s.Asked("GET /training/data/") + s.Asked("GET /storage/v1/b/training/o/") + s.Asked("GET /training/training/")
			}
			read := objects()
			if got := verify(t, Verify{Path: s.Address(scheme, "data/"), Seal: seal, Fast: true}); !got.Clean || got.Trusted != 4 || objects() != read {
				t.Errorf("%+v, and %d objects were read", got, objects()-read)
			}
			rows[2000] = strings.Replace(rows[2000], "row", "rov", 1)
			s.Put("data/a.jsonl", joined(rows))
			s.Put("data/b.bin", "b") // the same once more
			s.Put("data/e.bin", "e")
			s.Put("data/x/../../y", "outside")
			s.Put("data//z", "nowhere")
			s.Delete("data/c.bin")
			for _, fast := range []bool{false, true} {
				got := verify(t, Verify{Path: s.Address(scheme, "data/"), Seal: seal, Fast: fast})
				var said []string
				for _, d := range got.Differences {
					said = append(said, fmt.Sprint(d.What, " ", d.File, " ", d.Changed))
				}
				if !slices.Equal(said, []string{"added /z []", "changed a.jsonl [2001]", "removed c.bin []", "added e.bin []", "added x/../../y []"}) {
					t.Errorf("%q", said)
				}
				if fast && got.Trusted != 1 {
					t.Errorf("%+v", got)
				}
			}
			_, err := (&Seal{Path: s.Address(scheme, "data/"), Out: filepath.Join(t.TempDir(), "s")}).Run(t.Context())
			if pavise.KindOf(err) != pavise.Invalid {
				t.Error(err)
			}
		})
	}
}

// TestChangingObjectsAreNotSealed puts and deletes objects while they are sealed.
func TestChangingObjectsAreNotSealed(t *testing.T) {
	long := strings.Repeat("01234567", 1<<18)
	for what, change := range map[string]func(s *blobtest.Store){
		"another content":       func(s *blobtest.Store) { s.Put("data/a.bin", strings.ToUpper(long[1:]+"x")) },
		"the same content":      func(s *blobtest.Store) { s.Put("data/a.bin", long) },
		"a longer content":      func(s *blobtest.Store) { s.Put("data/a.bin", long+"x") },
		"another small one":     func(s *blobtest.Store) { s.Put("data/b.bin", "B") },
		"one more":              func(s *blobtest.Store) { s.Put("data/c.bin", "c") },
		"one less":              func(s *blobtest.Store) { s.Delete("data/b.bin") },
		"the one that is read":  func(s *blobtest.Store) { s.Delete("data/a.bin") },
		"a sign of a directory": func(s *blobtest.Store) { s.Put("data/", "") },
	} {
		for _, scheme := range []string{"s3", "gs", "az"} {
			s := fill(t, map[string]string{"a.bin": long, "b.bin": "b"})
			var once sync.Once
			var changed atomic.Bool
			s.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/data/a.bin") {
					return false
				}
				again := true
				once.Do(func() { again = false })
				if again {
					return false
				}
				// The connection breaks in the middle of the object, and then it is another.
				w.Header().Set("Content-Length", "2097152")
				w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
				w.Write([]byte(long[:1<<20]))
				change(s)
				changed.Store(true)
				panic(http.ErrAbortHandler)
			}
			out := filepath.Join(t.TempDir(), "s")
			_, err := (&Seal{Path: s.Address(scheme, "data"), Out: out}).Run(t.Context())
			if what == "a sign of a directory" { // an empty object that is no file
				if err != nil || !changed.Load() {
					t.Errorf("%s, %s: it was put: %v, %v", scheme, what, changed.Load(), err)
				}
				continue
			}
			if pavise.KindOf(err) != pavise.Conflict || !strings.Contains(message(err), "changed while it was read") {
				t.Errorf("%s, %s: %v", scheme, what, err)
			}
			if _, err := os.Stat(out); err == nil {
				t.Errorf("%s, %s: there is a seal", scheme, what)
			}
		}
	}
}

// TestManySmallObjects seals a bucket of many objects whose store throttles now and then: they
// are read beside each other, each once but for those that were refused.
func TestManySmallObjects(t *testing.T) {
	n := 2000
	if os.Getenv("PAVISE_MANY") != "" {
		n = 10_000
	}
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("%03d/%d.jsonl", i%100, i)] = fmt.Sprintf("{\"id\":%d}\n", i)
	}
	s := fill(t, files)
	s.Page = 1000
	var asked, refused, now, most atomic.Int64
	s.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
		for at := now.Add(1); at > most.Load(); {
			most.Store(at)
		}
		defer now.Add(-1)
		for i := 0; i < 5000 && most.Load() < 2 && r.URL.Path != "/training/"; i++ {
			time.Sleep(time.Millisecond) // the first object's request is answered when a second is there
		}
		if asked.Add(1)%997 != 0 {
			return false
		}
		refused.Add(1)
		blobtest.Refuse(w, http.StatusServiceUnavailable, "SlowDown")
		return true
	}
	_, made := sealOf(t, s.Address("s3", "data/"))
	if made.Files != n || made.Rows != uint64(n) {
		t.Errorf("%+v", made)
	}
	if got := int64(s.Asked("GET /training/data/")); got > int64(n)+refused.Load() || refused.Load() == 0 {
		t.Errorf("%d requests for %d objects, %d of them refused", got, n, refused.Load())
	}
	if most.Load() < 2 || most.Load() > farWorkers+1 {
		t.Errorf("%d requests at a time", most.Load())
	}
}

// TestBucketSealsGoOn stops a seal of a bucket, and goes on: what was sealed is not read again.
func TestBucketSealsGoOn(t *testing.T) {
	files := map[string]string{"a.bin": strings.Repeat("x", 9<<20), "c.jsonl": joined(lines(10))}
	s := fill(t, files)
	want, _ := sealOf(t, write(t, files))
	wantSeal, _ := os.ReadFile(want)
	out := filepath.Join(t.TempDir(), "s")
	broken := true
	s.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if broken && strings.HasSuffix(r.URL.Path, "/c.jsonl") {
			blobtest.Refuse(w, http.StatusForbidden, "AccessDenied")
			return true
		}
		return false
	}
	if _, err := (&Seal{Path: s.Address("s3", "data/"), Out: out}).Run(t.Context()); pavise.KindOf(err) != pavise.Denied {
		t.Fatal(err)
	}
	broken = false
	before := s.Asked("GET /training/data/a.bin")
	made, err := (&Seal{Path: s.Address("s3", "data/"), Out: out}).Run(t.Context())
	if err != nil || made.Resumed != 1 || s.Asked("GET /training/data/a.bin") != before {
		t.Errorf("%+v, %v", made, err)
	}
	if got, _ := os.ReadFile(out); !bytes.Equal(got, wantSeal) {
		t.Error("another seal came out")
	}
}

// TestAddressesThatAreTwoThings refuses a key that is an object and what others lie below.
func TestAddressesThatAreTwoThings(t *testing.T) {
	s := fill(t, map[string]string{"x": "1", "x/y": "2"})
	for key, kind := range map[string]pavise.Kind{"data/x": pavise.Invalid, "data/none": pavise.Invalid, "data/none/": pavise.Invalid} {
		if _, err := (&Seal{Path: s.Address("s3", key), Out: filepath.Join(t.TempDir(), "s")}).Run(t.Context()); pavise.KindOf(err) != kind {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, made := sealOf(t, s.Address("s3", "data/x/")); made.Files != 1 {
		t.Errorf("%+v", made)
	}
}

// TestNamedBuckets seals what stores hold that are none of ours: the seal is that of the files.
func TestNamedBuckets(t *testing.T) {
	files := ofAllForms(t)
	dir := write(t, files)
	seal, _ := sealOf(t, dir)
	want, _ := os.ReadFile(seal)
	for _, at := range blobtest.Named(t) {
		t.Run(at.Scheme, func(t *testing.T) {
			at.Path += fmt.Sprint("/buckets", rand.Uint64())
			blobtest.Fill(t, at, files)
			out, _ := sealOf(t, at.String())
			if got, _ := os.ReadFile(out); !bytes.Equal(got, want) {
				t.Error("another seal came out")
			}
			if got := verify(t, Verify{Path: at.String(), Seal: out, Fast: true}); !got.Clean || got.Trusted != len(files) {
				t.Errorf("%+v", got)
			}
			blobtest.Fill(t, at, map[string]string{"empty.csv": "a,b\n"})
			if got := verify(t, Verify{Path: at.String(), Seal: out}); got.Clean || len(got.Differences) != 1 || got.Differences[0].File != "empty.csv" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestHalfObjects has a store answer with the first half of an object, time and again, as one does
// whose upload ended half-way and that lists the whole: nothing is sealed of it.
func TestHalfObjects(t *testing.T) {
	whole := map[string]string{"a.bin": strings.Repeat("01234567", 1<<10), "a.jsonl": joined(lines(1000)), "a.parquet": parquetOf(t, items(100))}
	for name, text := range whole {
		for _, scheme := range []string{"s3", "gs", "az"} {
			for _, said := range []bool{true, false} {
				s := fill(t, map[string]string{name: text})
				sum := md5.Sum([]byte(text))
				s.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasSuffix(r.URL.Path, "/data/"+name) {
						return false
					}
					half := text[:len(text)/2]
					if strings.HasPrefix(cmp.Or(r.Header.Get("Range"), r.Header.Get("x-ms-range"), "bytes=0-"), "bytes=0-") {
						w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sum))
						w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
						if said { // that it is short
							w.Header().Set("Content-Length", fmt.Sprint(len(half)))
						}
						w.Write([]byte(half))
						return true
					}
					blobtest.Refuse(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
					return true
				}
				out := filepath.Join(t.TempDir(), "s")
				_, err := (&Seal{Path: s.Address(scheme, "data"), Out: out}).Run(t.Context())
				if kind := pavise.KindOf(err); err == nil || kind != pavise.Conflict && kind != pavise.Unavailable {
					t.Errorf("%s, %s, said %v: %v", scheme, name, said, err)
				}
				if _, err := os.Stat(out); err == nil {
					t.Errorf("%s, %s, said %v: there is a seal", scheme, name, said)
				}
			}
		}
	}
}
