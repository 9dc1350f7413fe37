package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pavise/pavise"
)

// TestFindMakesNothing looks for directories that are none: the error names each, and
// there still is none.
func TestFindMakesNothing(t *testing.T) {
	top := t.TempDir()
	if err := os.WriteFile(top+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{top + "/absent", top + "/a/b/c", top + "/file", top + "/file/x"} {
		b, err := Find(t.Context(), path)
		wantKind(t, err, pavise.NotFound)
		if b != nil || err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, %v", b, err)
		}
	}
	if entries, err := os.ReadDir(top); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := Find(t.Context(), "ftp://x"); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("no address: %v", err)
	}
	put(t, open(t, top), "x", []byte("x"))
	if b, err := Find(t.Context(), top); err != nil || len(list(t, b, "")) == 0 {
		t.Errorf("%v, %v", b, err)
	}
	_, address := newStore(t, false)
	if _, err := Find(t.Context(), address("")); err != nil {
		t.Error(err)
	}
	_, err := Find(t.Context(), strings.Replace(address(""), "evidence", "nobodys", 1))
	wantKind(t, err, pavise.NotFound)
}

// TestBuckets holds every kind of bucket to one contract: a directory, a store in
// memory, and the one at PAVISE_TEST_S3, if somebody names one.
func TestBuckets(t *testing.T) {
	t.Run("directory", func(t *testing.T) { conform(t, open(t, t.TempDir())) })
	t.Run("store", func(t *testing.T) {
		_, address := newStore(t, false)
		conform(t, open(t, address("")))
	})
	t.Run("store with object lock", func(t *testing.T) {
		_, address := newStore(t, true)
		conform(t, open(t, address("&lock=governance")))
	})
	t.Run("named store", func(t *testing.T) {
		address := os.Getenv("PAVISE_TEST_S3")
		if address == "" {
			t.Skip("PAVISE_TEST_S3 names none, for example s3://bucket/prefix?endpoint=127.0.0.1:9000&insecure=true")
		}
		conform(t, open(t, address))
	})
}

func open(t testing.TB, address string) Bucket {
	t.Helper()
	b, err := Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// conform is the contract.
func conform(t *testing.T, b Bucket) {
	top := fmt.Sprintf("run%d/", time.Now().UnixNano()) // a named store has seen others
	t.Run("what was put is got", func(t *testing.T) { putAndGet(t, b, top+"same/") })
	t.Run("what is not there is not found", func(t *testing.T) { notThere(t, b, top+"none/") })
	t.Run("a half object is none", func(t *testing.T) { halfObjects(t, b, top+"half/") })
	t.Run("the last content counts", func(t *testing.T) { replaced(t, b, top+"again/") })
	t.Run("a list is by name, of a prefix", func(t *testing.T) { listed(t, b, top+"list/") })
	t.Run("names lead nowhere else", func(t *testing.T) { badNames(t, b) })
	t.Run("many at once", func(t *testing.T) { manyAtOnce(t, b, top+"many/") })
	t.Run("what was removed is gone", func(t *testing.T) { removed(t, b, top+"removed/") })
	t.Run("an object is held", func(t *testing.T) { held(t, b, top+"held/") })
}

func put(t testing.TB, b Bucket, name string, content []byte) {
	t.Helper()
	if err := b.Put(t.Context(), Object{Name: name, Size: int64(len(content))}, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, b Bucket, name string) []byte {
	t.Helper()
	r, err := b.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func wantKind(t testing.TB, err error, want pavise.Kind) {
	t.Helper()
	if err == nil || pavise.KindOf(err) != want {
		t.Errorf("the error is of kind %s: %v; want %s", pavise.KindOf(err), err, want)
	}
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Errorf("the error holds the secret: %v", err)
	}
}

// putAndGet puts contents of every size that is put in another way: of nothing, of one
// byte, and too long for one piece.
func putAndGet(t *testing.T, b Bucket, top string) {
	for _, size := range []int{0, 1, 1 << 16, 17<<20 + 1} {
		content := bytes.Repeat([]byte("evidence"), size/8+1)[:size]
		name := fmt.Sprintf("%s%d", top, size)
		put(t, b, name, content)
		if got := get(t, b, name); !bytes.Equal(got, content) {
			t.Errorf("of %d bytes %d came back", size, len(got))
		}
	}
}

func notThere(t *testing.T, b Bucket, top string) {
	put(t, b, top+"a/b", []byte("x"))
	for _, name := range []string{"never", "a", "a/b/c", "a/bb", "A/b"} {
		_, err := b.Get(t.Context(), top+name)
		wantKind(t, err, pavise.NotFound)
	}
}

// halfObjects has the content break off, end early and be too long, and the caller go
// away. None of it is an object, and none takes the place of one.
func halfObjects(t *testing.T, b Bucket, top string) {
	put(t, b, top+"good", []byte("good"))
	away, cancel := context.WithCancel(t.Context())
	cancel()
	for _, size := range []int64{100, 17 << 20} {
		for what, content := range map[string]io.Reader{
			"breaks off": io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("the disk is gone"))),
			"ends early": strings.NewReader("half"),
			"too long":   io.LimitReader(endless{}, size+1),
		} {
			for _, name := range []string{"good", "new"} {
				err := b.Put(t.Context(), Object{Name: top + name, Size: size}, content)
				if err == nil {
					t.Errorf("%s, %d bytes: it was taken", what, size)
				}
				wantKind(t, err, pavise.Unavailable)
			}
		}
		wantKind(t, b.Put(away, Object{Name: top + "new", Size: size}, io.LimitReader(endless{}, size)), pavise.Unavailable)
	}
	if got := get(t, b, top+"good"); string(got) != "good" {
		t.Errorf("a half object took the place of a whole one: %.20q", got)
	}
	if names := list(t, b, top); !slices.Equal(names, []string{top + "good"}) {
		t.Errorf("there are %q", names)
	}
}

// An endless reader never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func list(t testing.TB, b Bucket, prefix string) (names []string) {
	t.Helper()
	for o, err := range b.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, o.Name)
	}
	return names
}

func replaced(t *testing.T, b Bucket, top string) {
	for _, content := range []string{"first", "", "a longer second"} {
		put(t, b, top+"x", []byte(content))
		if got := get(t, b, top+"x"); string(got) != content {
			t.Errorf("%q, want %q", got, content)
		}
	}
	if names := list(t, b, top); len(names) != 1 {
		t.Errorf("there are %q", names)
	}
}

func listed(t *testing.T, b Bucket, top string) {
	want := []string{"a-b", "a.b/c", "a/b/c", "a/b/d", "a/c", "ab", "b", "b+c=d&e", "z~"}
	for _, name := range slices.Backward(want) {
		put(t, b, top+name, []byte(name))
	}
	for prefix, n := range map[string]int{"": len(want), "a": 6, "a/": 3, "a/b": 2, "a/b/c": 1, "a/b/c/": 0, "c": 0} {
		names := list(t, b, top+prefix)
		if len(names) != n || !slices.IsSorted(names) {
			t.Errorf("with prefix %q there are %q", prefix, names)
		}
	}
	n := 0
	for o, err := range b.List(t.Context(), top) {
		if err != nil || o.Size != int64(len(o.Name)-len(top)) {
			t.Errorf("%+v, %v", o, err)
		}
		if n++; n == 2 {
			break // and nothing is yielded any more
		}
	}
	away, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range b.List(away, top) {
		wantKind(t, err, pavise.Unavailable)
	}
}

// badNames are names that could lead out of the bucket, or to a file that is not whole.
func badNames(t *testing.T, b Bucket) {
	for _, name := range []string{
		"", "/", "/etc/passwd", "..", "../x", "a/../x", "a/..", ".", "./a", "a/.", "a//b", "a/", "a b", "a\x00b", "a\nb", "ä", `a\b`, `..\x`,
		".part-x", "a/.part-x", strings.Repeat("n", 256), strings.Repeat("a/", 500) + "a",
	} {
		wantKind(t, b.Put(t.Context(), Object{Name: name, Size: 1}, strings.NewReader("x")), pavise.Invalid)
		_, err := b.Get(t.Context(), name)
		wantKind(t, err, pavise.Invalid)
		if h, ok := b.(Holder); ok {
			wantKind(t, h.Hold(t.Context(), name, time.Now().Add(time.Hour)), pavise.Invalid)
		}
		wantKind(t, b.(Remover).Remove(t.Context(), name), pavise.Invalid)
	}
}

func manyAtOnce(t *testing.T, b Bucket, top string) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			name := fmt.Sprintf("%sdeep/er/%d", top, i%4)
			content := bytes.Repeat([]byte{byte('a' + i%4)}, 1000) // others put the same there
			if err := b.Put(t.Context(), Object{Name: name, Size: 1000}, bytes.NewReader(content)); err != nil {
				t.Error(err)
				return
			}
			r, err := b.Get(t.Context(), name)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: %d bytes, mixed or cut, %v", name, len(got), err)
			}
		})
	}
	wg.Wait()
	if names := list(t, b, top); len(names) != 4 {
		t.Errorf("there are %q", names)
	}
}

// held puts objects that must not go before some time, in the future or past, and has
// one held longer.
func held(t *testing.T, b Bucket, top string) {
	for i, until := range []time.Time{{}, time.Now().Add(-time.Hour), time.Now().Add(2 * time.Second)} {
		name := fmt.Sprintf("%s%d", top, i)
		if err := b.Put(t.Context(), Object{Name: name, Size: 4, Until: until}, strings.NewReader("kept")); err != nil {
			t.Errorf("until %v: %v", until, err)
			continue
		}
		if h, ok := b.(Holder); ok {
			for _, longer := range []time.Time{{}, time.Now().Add(-time.Hour), time.Now().Add(3 * time.Second)} {
				if err := h.Hold(t.Context(), name, longer); err != nil {
					t.Errorf("hold until %v: %v", longer, err)
				}
			}
		}
		if got := get(t, b, name); string(got) != "kept" {
			t.Errorf("%q", got)
		}
	}
}

// removed takes objects away, one of them twice, and leaves their neighbours.
func removed(t *testing.T, b Bucket, top string) {
	put(t, b, top+"a/b", []byte("goes"))
	put(t, b, top+"a/bc", []byte("stays"))
	for _, name := range []string{"a/b", "a/b", "never/was", "a/bc/d"} {
		if err := b.(Remover).Remove(t.Context(), top+name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if names := list(t, b, top); !slices.Equal(names, []string{top + "a/bc"}) {
		t.Errorf("there are %q", names)
	}
	_, err := b.Get(t.Context(), top+"a/b")
	wantKind(t, err, pavise.NotFound)
}

// TestPlacesHoldNoCredentials shows where buckets are, in words for everybody.
func TestPlacesHoldNoCredentials(t *testing.T) {
	_, address := newStore(t, true)
	for _, test := range []struct{ address, url, lock string }{
		{address(""), "s3://evidence/some/where/", "none"},
		{address("&lock=compliance"), "s3://evidence/some/where/", "compliance"},
		{address("&lock=governance"), "s3://evidence/some/where/", "governance"},
	} {
		if p := open(t, test.address).Place(); p.URL != test.url || p.Lock != test.lock {
			t.Errorf("%s is %+v", test.address, p)
		}
	}
	dir := t.TempDir()
	if p := open(t, "file://"+dir).Place(); p != open(t, dir).Place() || p.URL != "file://"+dir || p.Lock != "none" {
		t.Errorf("%+v", p)
	}
}

// TestAddressesThatLeadNowhere refuses addresses before anything is looked for, says
// why, and repeats nothing of them that might be a password.
func TestAddressesThatLeadNowhere(t *testing.T) {
	for _, address := range []string{
		"", "file://", "file://host/path", "file:///path?lock=compliance", "file://user:hunter2@/path", "file:///path#hunter2", "http://bucket", "ftp://x", "s3:///prefix", "s3://",
		"://", "s3s://hunter2@x", "s3://user:hunter2@bucket", "s3://hunter2@bucket/x", "s3://user:hunter2%zz@bucket", "s3://bucket/x?secret=hunter2", "s3://bucket/x?lock=hunter2",
		"s3://bucket/x?lock=compliance;endpoint=x", "s3://bucket/x?lock=compliance&lock=", "s3://bucket/x?lock=%zz", "s3://bucket/x?insecure=hunter2", "s3://bucket/x?Lock=compliance",
		"s3://bucket/x?endpoint=http://hunter2@host", "s3://bucket/x?endpoint=host/hunter2", "s3://bucket/../x", "s3://bucket/a//b", "s3://bucket/%2e%2e/x", "s3://bucket/a b", "s3://bucket/a%00b",
		"s3://bucket:9000/x", "s3://BUCKET/x", "s3://b/x", "s3://192.168.0.1/x", "s3://a..b/x", "s3://bucket/x#hunter2", "a\x00b", "file:///a%00b",
	} {
		b, err := Open(t.Context(), address)
		if err == nil {
			t.Errorf("%q is %+v", address, b.Place())
			continue
		}
		if pavise.KindOf(err) != pavise.Invalid || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %s, %v", address, pavise.KindOf(err), err)
		}
	}
}

// FuzzParse reads hostile addresses: whatever is taken names one place, without
// credentials, to which it leads again, and has the lock that was asked for.
func FuzzParse(f *testing.F) {
	for _, address := range []string{
		"archive", "/var/archive", "file:///var/archive", "s3://bucket", "s3://bucket/a/b?endpoint=localhost:9000&region=eu&insecure=true&lock=compliance",
		"s3://user:pass@bucket", "s3://bucket?lock=compliance;x", "s3://bucket/%2e%2e", "s3:bucket", "://", "s3://bucket/?endpoint=%00",
	} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		b, err := parse(address)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid || len(err.Error()) > 500 {
				t.Errorf("%q: %s, %v", address, pavise.KindOf(err), err)
			}
			return
		}
		p := b.Place()
		if !strings.HasPrefix(p.URL, "s3://") {
			return
		}
		if _, options, _ := strings.Cut(address, "?"); strings.Contains("&"+options+"&", "&lock=compliance&") && p.Lock != "compliance" {
			t.Errorf("%q has the lock %s", address, p.Lock)
		}
		if host, _, _ := strings.Cut(strings.TrimPrefix(p.URL, "s3://"), "/"); strings.ContainsAny(host, "@:?#%") {
			t.Errorf("%q leads to %s", address, p.URL)
		}
		again, err := parse(p.URL)
		if err != nil || again.Place().URL != p.URL {
			t.Errorf("%q leads to %s, and that to %v, %v", address, p.URL, again, err)
		}
	})
}
