package blob_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store/blob"
	"github.com/pavise/pavise/internal/store/blob/blobtest"
)

// schemes are those of the stores that are read.
var schemes = []string{"s3", "gs", "az"}

// eachStore runs a test with a store of each kind.
func eachStore(t *testing.T, do func(t *testing.T, s *blobtest.Store, scheme string)) {
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) { blob.Impatient(t); do(t, blobtest.New(t), scheme) })
	}
}

func look(t testing.TB, address string) blob.Source {
	t.Helper()
	s, _, err := blob.Look(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func objects(t testing.TB, s blob.Source, prefix string) (found []blob.Version) {
	t.Helper()
	for v, err := range s.Objects(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, v)
	}
	return found
}

func keys(versions []blob.Version) (names []string) {
	for _, v := range versions {
		names = append(names, v.Key)
	}
	return names
}

func all(t testing.TB, s blob.Source, v blob.Version) (string, error) {
	t.Helper()
	c := blob.NewContent(t.Context(), s, v)
	defer c.Close()
	b, err := io.ReadAll(io.NewSectionReader(c, 0, 1<<40))
	return string(b), err
}

func wantKind(t testing.TB, err error, want pavise.Kind) {
	t.Helper()
	if err == nil || pavise.KindOf(err) != want {
		t.Errorf("%v; want kind %s", err, want)
	}
	for _, secret := range []string{"a-secret", "YSBzZWNyZXQ"} {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
}

// TestSourcesList lists pages of objects under all sorts of keys, and of what was deleted
// nothing.
func TestSourcesList(t *testing.T) {
	eachStore(t, func(t *testing.T, s *blobtest.Store, scheme string) {
		want := []string{"a b", "a/../b", "a//b", "a/b", "a/ä+%&?#=;:@$,", "a/é\u2028", "a/z", "az"}
		slices.Sort(want)
		for _, key := range want {
			s.Put(key, "old")
			s.Put(key, "of "+key)
		}
		s.Put("a/gone", "x")
		s.Delete("a/gone")
		s.Put("b", "x")
		source := look(t, s.Address(scheme, ""))
		found := objects(t, source, "a")
		if got := keys(found); !slices.Equal(got, want) {
			t.Fatalf("%q", got)
		}
		for _, v := range found {
			if v.Size != int64(len("of "+v.Key)) || v.ETag == "" || !v.Newest || v.Gone || v.Modified.Year() != 2027 {
				t.Errorf("%+v", v)
			}
			if got, err := all(t, source, v); got != "of "+v.Key || err != nil {
				t.Errorf("%q: %q, %v", v.Key, got, err)
			}
		}
		if got := keys(objects(t, source, "none")); got != nil {
			t.Errorf("%q", got)
		}
		for range source.Objects(t.Context(), "") {
			break // and nothing is yielded any more
		}
	})
}

// TestSourcesKeepVersions reads what objects were before.
func TestSourcesKeepVersions(t *testing.T) {
	eachStore(t, func(t *testing.T, s *blobtest.Store, scheme string) {
		for i := range 4 {
			s.Put(fmt.Sprint("k", i), "first")
			s.Put(fmt.Sprint("k", i), "second")
		}
		s.Delete("k1")
		source := look(t, s.Address(scheme, ""))
		var said []string
		for v, err := range source.(blob.Historian).Versions(t.Context(), "k") {
			if err != nil {
				t.Fatal(err)
			}
			text := "gone"
			if !v.Gone {
				if text, err = all(t, source, v); err != nil {
					t.Error(err)
				}
			}
			said = append(said, fmt.Sprint(v.Key, " ", text, " ", v.Newest))
		}
		want := []string{"k0 second true", "k0 first false", "k1 gone true", "k1 second false", "k1 first false", "k2 second true", "k2 first false", "k3 second true", "k3 first false"}
		if scheme != "s3" {
			want = slices.Delete(want, 2, 3) // no live version is all that says it
		}
		if !slices.Equal(said, want) {
			t.Errorf("%q", said)
		}
	})
}

// TestWhatIsReadIsOneVersion replaces and deletes an object that was listed, before it is read
// and in its middle.
func TestWhatIsReadIsOneVersion(t *testing.T) {
	eachStore(t, func(t *testing.T, s *blobtest.Store, scheme string) {
		long := strings.Repeat("0123456789", 1<<20)
		s.Put("x", long)
		source := look(t, s.Address(scheme, ""))
		v := objects(t, source, "x")[0]
		c := blob.NewContent(t.Context(), source, v)
		defer c.Close()
		b := make([]byte, 100)
		if _, err := c.ReadAt(b, 5); err != nil || string(b) != long[5:105] {
			t.Errorf("%q, %v", b, err)
		}
		s.Put("x", strings.Repeat("9876543210", 1<<20))
		_, err := c.ReadAt(b, 7<<20) // which takes another request
		wantKind(t, err, pavise.Conflict)
		_, err = all(t, source, v)
		wantKind(t, err, pavise.Conflict)
		s.Delete("x")
		_, err = all(t, source, v)
		wantKind(t, err, pavise.NotFound)
	})
}

// TestWhateverIsThere reads an object of which nothing is known but its key, as signatures
// beside objects are.
func TestWhateverIsThere(t *testing.T) {
	eachStore(t, func(t *testing.T, s *blobtest.Store, scheme string) {
		s.Put("x", "old")
		s.Put("x", "new")
		source := look(t, s.Address(scheme, ""))
		body, err := source.Read(t.Context(), blob.Version{Key: "x"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		if text, err := io.ReadAll(body); string(text) != "new" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		_, err = source.Read(t.Context(), blob.Version{Key: "y"}, 0)
		wantKind(t, err, pavise.NotFound)
	})
}

// TestSizesAreHeldToTheList has the store hold more and less than its list said.
func TestSizesAreHeldToTheList(t *testing.T) {
	eachStore(t, func(t *testing.T, s *blobtest.Store, scheme string) {
		s.Put("x", "0123456789")
		source := look(t, s.Address(scheme, ""))
		v := objects(t, source, "x")[0]
		for _, said := range []int64{9, 11} {
			v.Size = said
			_, err := all(t, source, v)
			wantKind(t, err, pavise.Conflict)
		}
	})
}

// TestReadingGoesOn cuts connections, throttles, and answers with ranges that were not asked
// for: reading goes on where it was, or fails, and never yields other bytes.
func TestReadingGoesOn(t *testing.T) {
	eachStore(t, func(t *testing.T, s *blobtest.Store, scheme string) {
		random := rand.NewChaCha8([32]byte{1})
		text := make([]byte, 3<<20)
		random.Read(text)
		s.Put("x", string(text))
		source := look(t, s.Address(scheme, ""))
		v := objects(t, source, "x")[0]
		n, starts := 0, []string{}
		s.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
			if n++; r.Header.Get("If-Match") == "" && r.URL.Query().Get("ifGenerationMatch") == "" {
				t.Errorf("request %d is not of a version", n)
			}
			starts = append(starts, r.Header.Get("Range")+r.Header.Get("x-ms-range"))
			switch n {
			case 1:
				blobtest.Refuse(w, http.StatusServiceUnavailable, "SlowDown")
			case 2, 3:
				w.Header().Set("ETag", `"`+strings.Trim(v.ETag, `"`)+`"`)
				w.Header().Set("Last-Modified", v.Modified.Format(http.TimeFormat))
				w.Header().Set("Content-Length", "3145728")
				if n == 3 {
					w.Header().Set("Content-Range", "bytes 1000000-3145727/3145728")
					w.Header().Set("Content-Length", "2145728")
					w.WriteHeader(http.StatusPartialContent)
				}
				w.Write(text[(n-2)*1_000_000 : (n-1)*1_000_000])
				panic(http.ErrAbortHandler)
			default:
				return false
			}
			return true
		}
		got, err := all(t, source, v)
		if err != nil || got != string(text) {
			t.Fatalf("%d bytes, the same: %v, %v", len(got), got == string(text), err)
		}
		if n != 4 || !strings.HasPrefix(starts[3], "bytes=2000000-") {
			t.Errorf("%q", starts)
		}
		s.Spoil = func(w http.ResponseWriter, r *http.Request) bool { // one that knows no ranges
			r.Header.Del("Range")
			r.Header.Del("x-ms-range")
			return false
		}
		_, err = blob.NewContent(t.Context(), source, v).ReadAt(make([]byte, 10), 1000)
		wantKind(t, err, pavise.Conflict)
	})
}

// TestSilentConnectionsAreGivenUp has a store hold a connection in the middle of an object without
// a byte more: it is asked again for the rest.
func TestSilentConnectionsAreGivenUp(t *testing.T) {
	s := blobtest.New(t)
	blob.Hasty(t)
	text := strings.Repeat("0123456789", 1000)
	s.Put("x", text)
	source := look(t, s.Address("gs", ""))
	v := objects(t, source, "x")[0]
	asked := 0
	s.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if asked++; asked > 1 {
			return false
		}
		w.Header().Set("Content-Length", "10000")
		io.WriteString(w, text[:5000])
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	}
	if got, err := all(t, source, v); err != nil || got != text || asked < 2 {
		t.Errorf("%d bytes in %d requests, %v", len(got), asked, err)
	}
}

// TestRefusalsAreTold has the store refuse for good: it is asked once, and the error says why.
func TestRefusalsAreTold(t *testing.T) {
	eachStore(t, func(t *testing.T, s *blobtest.Store, scheme string) {
		s.Put("x", "x")
		source := look(t, s.Address(scheme, ""))
		v := objects(t, source, "x")[0]
		for status, kind := range map[int]pavise.Kind{http.StatusForbidden: pavise.Denied, http.StatusNotFound: pavise.NotFound, http.StatusTeapot: pavise.Unavailable} {
			n := 0
			s.Spoil = func(w http.ResponseWriter, _ *http.Request) bool {
				n++
				blobtest.Refuse(w, status, "Because")
				return true
			}
			_, err := all(t, source, v)
			wantKind(t, err, kind)
			for _, err := range source.Objects(t.Context(), "") {
				wantKind(t, err, kind)
				if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Hint == "" {
					t.Errorf("no hint: %v", err)
				}
			}
			if n != 2 {
				t.Errorf("status %d: it was asked %d times", status, n)
			}
		}
		s.Spoil = func(w http.ResponseWriter, _ *http.Request) bool {
			io.WriteString(w, strings.Repeat("{<", 1<<16))
			return true
		}
		for _, err := range source.Objects(t.Context(), "") {
			if err == nil {
				t.Error("nonsense is a list")
			}
		}
	})
}

// TestListsGoOn throttles in the middle of a list: every object is yielded once.
func TestListsGoOn(t *testing.T) {
	eachStore(t, func(t *testing.T, s *blobtest.Store, scheme string) {
		for i := range 8 {
			s.Put(fmt.Sprint(i), "x")
			s.Put(fmt.Sprint(i), "y")
		}
		source := look(t, s.Address(scheme, ""))
		for _, versions := range []bool{false, true} {
			n := 0
			s.Spoil = func(w http.ResponseWriter, _ *http.Request) bool {
				if n++; n%2 == 0 {
					blobtest.Refuse(w, http.StatusServiceUnavailable, "SlowDown")
				}
				return n%2 == 0
			}
			list, want := source.Objects(t.Context(), ""), 8
			if versions {
				list, want = source.(blob.Historian).Versions(t.Context(), ""), 16
			}
			seen := map[string]bool{}
			for v, err := range list {
				if err != nil {
					t.Fatal(err)
				}
				if name := v.Key + " " + v.ID; seen[name] {
					t.Errorf("%s is there twice", name)
				} else {
					seen[name] = true
				}
			}
			if len(seen) != want {
				t.Errorf("%d of %d", len(seen), want)
			}
		}
	})
}

// TestNothingIsUnpacked reads an object that says it is packed as it is kept.
func TestNothingIsUnpacked(t *testing.T) {
	eachStore(t, func(t *testing.T, s *blobtest.Store, scheme string) {
		packed := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x00\x00\x83\x16\xdc\x8c\x01\x00\x00\x00"
		s.Put("x", packed)
		source := look(t, s.Address(scheme, ""))
		v := objects(t, source, "x")[0]
		s.Spoil = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Encoding", "gzip")
			return false
		}
		if got, err := all(t, source, v); got != packed || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// TestAddressesOfSources refuses those that lead nowhere, and repeats nothing of them.
func TestAddressesOfSources(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "")
	for _, address := range []string{
		"", "bucket", "ftp://x/y", "s3://", "s3:///x", "gs://", "az://", "s3://user:hunter2@bucket/x", "gs://hunter2@bucket", "s3://bucket/x#hunter2", "s3://bucket/x?secret=hunter2",
		"s3://bucket/x?insecure=hunter2", "s3://bucket/x?lock=compliance", "gs://bucket/x?region=eu", "s3://bucket/x?endpoint=http://hunter2@host", "gs://bucket/x?endpoint=a/hunter2",
		"az://container/x", "az://container/x?account=Hunter2", "az://container/x?account=a.hunter2/", "s3://B/x", "s3://bucket:9000/x", "gs://bucket/x?endpoint=a&endpoint=b", "s3://bucket/%zz",
	} {
		_, at, err := blob.Look(t.Context(), address)
		if err == nil || pavise.KindOf(err) != pavise.Invalid || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %+v, %v", address, at, err)
		}
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
	t.Setenv("AZURE_STORAGE_KEY", "")
	t.Setenv("AZURE_STORAGE_SAS_TOKEN", "sig=hunter2")
	for _, address := range []string{"gs://bucket/x", "az://container?account=a&endpoint=127.0.0.1:1&insecure=true"} {
		_, _, err := blob.Look(t.Context(), address)
		wantKind(t, err, pavise.Denied)
	}
}

// TestNamedSources reads stores that are none of ours: lists in order, whole objects and from a
// byte on, and of one that was replaced no other version.
func TestNamedSources(t *testing.T) {
	for _, at := range blobtest.Named(t) {
		t.Run(at.Scheme, func(t *testing.T) {
			long := strings.Repeat("0123456789", 300_000)
			want := map[string]string{"a b": "1", "a/b.csv": long, "a/ä+%&?.csv": "3", "z": ""}
			at.Path += fmt.Sprint("/sources", rand.Uint64())
			blobtest.Fill(t, at, want)
			source, to, err := blob.Look(t.Context(), at.String())
			if err != nil {
				t.Fatal(err)
			}
			found := objects(t, source, to.Key+"/")
			if len(found) != len(want) || !slices.IsSorted(keys(found)) {
				t.Fatalf("%q", keys(found))
			}
			for _, v := range found {
				if got, err := all(t, source, v); err != nil || got != want[strings.TrimPrefix(v.Key, to.Key+"/")] {
					t.Errorf("%s: %d bytes, %v", v.Key, len(got), err)
				}
			}
			v := found[slices.Index(keys(found), to.Key+"/a/b.csv")]
			c := blob.NewContent(t.Context(), source, v)
			defer c.Close()
			part := make([]byte, 1000)
			if _, err := c.ReadAt(part, 2_000_003); err != nil || string(part) != long[3:1003] {
				t.Errorf("%.20q, %v", part, err)
			}
			blobtest.Fill(t, at, map[string]string{"a/b.csv": long[1:] + "0"})
			_, err = c.ReadAt(part, 5)
			wantKind(t, err, pavise.Conflict)
			newest, err := source.Read(t.Context(), blob.Version{Key: v.Key}, 0) // as signatures are read
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(newest)
			if newest.Close(); err != nil || string(text) != long[1:]+"0" {
				t.Errorf("whatever is there: %.20q, %v", text, err)
			}
			_, err = source.Read(t.Context(), blob.Version{Key: v.Key + ".sig"}, 0)
			wantKind(t, err, pavise.NotFound)
			n := 0
			for _, err := range source.(blob.Historian).Versions(t.Context(), v.Key) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n < 1 {
				t.Error("it has no version")
			}
		})
	}
}

// TestSilentEndsAndLists has each store send all of an object, or half of a list, and then neither
// go on nor hang up: the object is whole, and the list is asked for again.
func TestSilentEndsAndLists(t *testing.T) {
	eachStore(t, func(t *testing.T, s *blobtest.Store, scheme string) {
		blob.Hasty(t)
		text := strings.Repeat("0123456789", 1000)
		s.Put("x", text)
		source := look(t, s.Address(scheme, ""))
		v := objects(t, source, "x")[0]
		asked := 0
		s.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
			asked++
			w.Header().Set("ETag", `"`+v.ETag+`"`)
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
			io.WriteString(w, text)
			http.NewResponseController(w).Flush() // in chunks, of which the last is missing
			<-r.Context().Done()
			return true
		}
		if got, err := all(t, source, v); err != nil || got != text || asked != 1 {
			t.Errorf("%d bytes in %d requests, %v", len(got), asked, err)
		}
		asked = 0
		s.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
			if asked++; asked > 1 {
				return false
			}
			w.Header().Set("Content-Type", "application/xml")
			io.WriteString(w, map[bool]string{true: `{"items":[`, false: `<?xml version="1.0"?><ListBucketResult><Name>`}[scheme == "gs"])
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return true
		}
		if got := objects(t, source, "x"); len(got) != 1 || asked < 2 {
			t.Errorf("%+v in %d requests", got, asked)
		}
	})
}
