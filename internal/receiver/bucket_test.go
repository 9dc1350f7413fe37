package receiver

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob/blobtest"
)

// A tray is a shelf in memory that does what a test wants. It knows of objects no more than
// their sizes.
type tray struct {
	objects map[string]string
	sizes   map[string]int64 // what it says of an object's size, where that is not so
	fail    error            // of all that it is asked
	midway  error            // of its list, behind the first object
	gets    int
}

func (s *tray) read(_ context.Context, o seen) (io.ReadCloser, error) {
	text, is := s.objects[o.name]
	switch {
	case s.fail != nil:
		return nil, s.fail
	case !is:
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "there is no " + o.name}
	}
	s.gets++
	return io.NopCloser(strings.NewReader(text)), nil
}

func (s *tray) list(_ context.Context, prefix string) iter.Seq2[seen, error] {
	return func(yield func(seen, error) bool) {
		if s.fail != nil {
			yield(seen{}, s.fail)
			return
		}
		for _, name := range slices.Sorted(maps.Keys(s.objects)) {
			size, lies := s.sizes[name]
			if !lies {
				size = int64(len(s.objects[name]))
			}
			if strings.HasPrefix(name, prefix) && !yield(seen{name: name, size: size}, nil) {
				return
			}
			if s.midway != nil {
				yield(seen{}, s.midway)
				return
			}
		}
	}
}

// watch orders that a tray is watched.
func watch(t testing.TB, form string, retake bool) (*world, *tray, func() *hand) {
	w := newWorld(t, form)
	s := &tray{objects: map[string]string{}, sizes: map[string]int64{}}
	w.order(Order{From: "file://" + w.root + "/", Retake: retake})
	return w, s, func() *hand {
		h := w.by("app")
		h.carrier.(*bucket).shelf = s
		return h
	}
}

// TestBucket plays what becomes of objects.
func TestBucket(t *testing.T) {
	type step = func(*tray)
	put := func(name, text string) step { return func(s *tray) { s.objects[name] = text } }
	gone := func(name string) step { return func(s *tray) { delete(s.objects, name) } }
	for name, c := range map[string]struct {
		retake      bool
		steps       []step
		want, found string
	}{
		"objects that come":         {false, []step{put("a", "a\n"), put("b", "b\n")}, "a\nb\n", ""},
		"nothing in it":             {false, []step{put("a", "")}, "", ""},
		"replaced":                  {false, []step{put("a", "a\n"), put("a", "other\n"), put("b", "b\n")}, "a\nb\n", "replaced"},
		"replaced twice":            {false, []step{put("a", "a\n"), put("a", "other\n"), put("a", "a third\n")}, "a\n", "replaced replaced"},
		"replaced, and taken again": {true, []step{put("a", "a\n"), put("a", "other\n"), put("a", "other\n")}, "a\nother\n", "replaced"},
		"grown":                     {false, []step{put("a", "a\n"), put("a", "a\nb\n")}, "a\n", "replaced"},
		"gone":                      {false, []step{put("a", "a\n"), put("b", "b\n"), gone("a"), gone("b")}, "a\nb\n", "gone gone"},
		"gone and back":             {false, []step{put("a", "a\n"), gone("a"), put("a", "a\n")}, "a\n", "gone"},
		"gone and back as another":  {false, []step{put("a", "a\n"), gone("a"), put("a", "b\n")}, "a\n", "gone replaced"},
		"signatures are no objects": {false, []step{put("a.sig", strings.Repeat("s", 64)), put("a", "a\n")}, "a\n", ""},
		"packed":                    {false, []step{put("a.gz", zipped(t, "a\nb\n"))}, "a\nb\n", ""},
		"packed, and damaged":       {false, []step{put("a.gz", zipped(t, "a\nb\n")[:20]), put("b", "b\n")}, "b\n", "refused"},
		"packed, to a thousandth":   {false, []step{put("a.gz", zipped(t, strings.Repeat("0", 80<<20))), put("b", "b\n")}, "b\n", "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			w, s, open := watch(t, formLines, c.retake)
			h := open()
			h.must()
			for _, step := range c.steps {
				step(s)
				h.must()
			}
			w.wantText(c.want)
			w.wantFound(c.found)
			h = open() // and nothing new comes of it in another process
			h.must()
			w.wantText(c.want)
			w.wantFound(c.found)
		})
	}
}

func zipped(t testing.TB, text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, text)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestBucketFindsAtTheNextPass names what was replaced by as many bytes once it is read
// again, and what was replaced by more at the very next pass.
func TestBucketFindsAtTheNextPass(t *testing.T) {
	now := time.Now()
	w, s, open := watch(t, formLines, false)
	w.cfg.Now = func() time.Time { return now }
	s.objects["rows-1"], s.objects["rows-2"] = "honest\n", "honest\n"
	h := open()
	h.must()
	s.objects["rows-1"], s.objects["rows-2"] = "poison\n", "poisoned\n"
	if _, err := h.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantFound("replaced")
	if f := w.findings()[0]; !strings.Contains(f.Summary, "rows-2") || f.Severity != pavise.Critical || !strings.Contains(f.Summary, digest([]byte("poisoned\n"))[:16]) {
		t.Errorf("%+v", f)
	}
	now = now.Add(rereadAfter)
	if _, err := h.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantFound("replaced replaced")
	w.wantText("honest\nhonest\n")
}

// TestBucketHalfObjects takes nothing that is not yet what its store says, or still grows.
func TestBucketHalfObjects(t *testing.T) {
	w, s, open := watch(t, formLines, false)
	h := open()
	s.objects["growing"], s.objects["half"], s.sizes["half"] = "1\n", "1\n", 4
	for n := 2; n < 6; n++ {
		if _, err := h.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.objects["growing"] += fmt.Sprintln(n)
	}
	w.wantText("")
	s.objects["half"] = "1\n2\n"
	h.must()
	w.wantText("1\n2\n1\n2\n3\n4\n5\n")
	w.wantFound("")
}

// TestBucketAway takes no error of a store for an empty bucket.
func TestBucketAway(t *testing.T) {
	w, s, open := watch(t, formLines, false)
	for i := range 10 {
		s.objects[fmt.Sprint(i)] = fmt.Sprintln(i)
	}
	h := open()
	h.must()
	away := &pavise.Error{Kind: pavise.Unavailable, Msg: "slow down"}
	for _, fault := range []func(error){func(err error) { s.fail = err }, func(err error) { s.midway = err }} {
		fault(away)
		if err := h.passes(); !errors.Is(err, away) {
			t.Errorf("a store that is away: %v", err)
		}
		fault(nil)
	}
	h.must()
	w.wantFound("")
	if s.gets != 10 {
		t.Errorf("%d objects were read, and there are ten", s.gets)
	}
}

// TestBucketKilledAnywhere kills the process at each batch of large objects: all rows come,
// once, and each batch of CSV has the header.
func TestBucketKilledAnywhere(t *testing.T) {
	w, s, open := watch(t, formCSV, false)
	rows := strings.Repeat("1,\"x\ny\"\n", 300_000)
	s.objects["a.csv"], s.objects["b.csv"] = "n,t\n"+rows, zipped(t, "n,t\n"+rows)
	killed := &pavise.Error{Kind: pavise.Unavailable, Msg: "killed"}
	calls := 0
	w.gate.after = func(Batch) error {
		if calls++; calls%2 == 0 {
			return nil
		}
		return killed
	}
	kills := 0
	for {
		err := open().passes()
		if err == nil {
			break
		}
		if kills++; !errors.Is(err, killed) || kills > 20 {
			t.Fatal(err)
		}
	}
	if got := strings.ReplaceAll(w.gate.text(), "n,t\n", ""); got != rows+rows || kills < 3 || w.gate.again != kills {
		t.Errorf("%d bytes of %d, %d kills, %d again", len(got), 2*len(rows), kills, w.gate.again)
	}
	for _, b := range w.gate.took {
		if !bytes.HasPrefix(b.Body, []byte("n,t\n1,")) || !bytes.HasSuffix(b.Body, []byte("y\"\n")) {
			t.Errorf("%.20q … %q", b.Body, b.Body[len(b.Body)-20:])
		}
	}
	w.wantFound("")
}

// TestBucketReplacedHalfway replaces an object of which the gate has a part.
func TestBucketReplacedHalfway(t *testing.T) {
	w, s, open := watch(t, formLines, false)
	s.objects["a"] = numbered(0, 300_000)
	w.gate.fail = func(Batch) error {
		if w.gate.took == nil {
			return nil
		}
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "killed"}
	}
	if err := open().passes(); err == nil {
		t.Fatal("the gate takes all")
	}
	w.gate.fail = nil
	s.objects["a"] = "short\n"
	open().must()
	w.wantFound("replaced")
	if len(w.gate.took) != 1 {
		t.Errorf("%d batches", len(w.gate.took))
	}
}

// TestBucketHalfTakenAndGone goes on with an object that was half taken, gone for a pass and
// came back as it was, also where a part of it was refused: its rest comes.
func TestBucketHalfTakenAndGone(t *testing.T) {
	w, s, open := watch(t, formLines, false)
	text := numbered(0, 300_000) // four batches
	s.objects["a"] = text
	calls := 0
	w.gate.fail = func(Batch) error {
		switch calls++; calls {
		case 1:
			return nil
		case 2:
			return &pavise.Error{Kind: pavise.Invalid, Msg: "it is bad"}
		}
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "killed"}
	}
	if err := open().passes(); err == nil {
		t.Fatal("the gate takes all")
	}
	first := len(w.gate.text())
	w.gate.fail = nil
	delete(s.objects, "a")
	open().must()
	s.objects["a"] = text
	open().must()
	w.wantFound("refused gone")
	if got := w.gate.text(); !strings.HasSuffix(got, text[len(text)-maxPart:]) || !strings.HasPrefix(text, got[:first]) || len(got) > len(text)-maxPart/2 {
		t.Errorf("the gate has %d bytes of %d", len(got), len(text))
	}
	s.objects["a"] = text + "more\n"
	open().must()
	s.objects["b"] = s.objects["a"]
	delete(s.objects, "a")
	open().must()
	s.objects["a"] = text + "more\n"
	h := open()
	h.must()
	w.wantFound("refused gone replaced gone")
	_ = h.room.cfg.Store.View(t.Context(), func(tx *store.Tx) error {
		if o, err := one(tx, h.row.place, "a"); err != nil || o.state != stateReplaced {
			t.Errorf("what was replaced, gone and back is %+v, %v", o, err)
		}
		return nil
	})
}

// TestBucketTooLong reads nothing of an object that is longer than any may be, and tells it
// once; also one that was taken and is that long by now.
func TestBucketTooLong(t *testing.T) {
	now := time.Now()
	w, s, open := watch(t, formLines, false)
	w.cfg.Now = func() time.Time { return now }
	s.objects["a"], s.objects["b"] = "a\n", "b\n"
	s.sizes["a"] = maxObject + 1
	open().must()
	w.wantFound("refused")
	s.sizes["b"] = maxObject + 2
	open().must()
	for _, there := range []bool{true, false, true} {
		now = now.Add(2 * rereadAfter)
		if clear(s.objects); there {
			s.objects["a"], s.objects["b"] = "a\n", "b\n"
		}
		open().must()
	}
	w.wantFound("refused replaced gone")
	w.wantText("b\n")
	if s.gets != 1 {
		t.Errorf("%d objects were read", s.gets)
	}
}

// TestJournalIsBounded takes nothing that the journal has no room for, and still finds what
// becomes of what it has.
func TestJournalIsBounded(t *testing.T) {
	w, s, open := watch(t, formLines, false)
	s.objects["b"], s.objects["c"] = "b\n", "c\n"
	h := open()
	h.room.most = 3
	h.must()
	s.objects["a"], s.objects["d"] = "a\n", "d\n"
	s.objects["c"] = "other\n"
	for range 3 {
		if err := h.passes(); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("there is room for four: %v", err)
		}
	}
	w.wantText("b\nc\n")
	w.wantFound("replaced")
	delete(s.objects, "a")
	h.must()
	w.wantText("b\nc\nd\n")

	f := newTAXII(t, false)
	w = subscribe(t, f)
	h = w.by("app")
	h.room.most = 2
	for n := 1; n <= 3; n++ {
		f.add(n, indicator(n, modified1, "x"))
	}
	for range 2 {
		if err := h.passes(); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("there is room for three: %v", err)
		}
	}
	h.room.most = 3
	h.must()
	w.by("app").must()
	if got := strings.Join(w.ids(), " "); got != "1 2 3" {
		t.Errorf("the gate has %s", got)
	}
}

// TestBucketSignatures brings a signed object whole, with its signature.
func TestBucketSignatures(t *testing.T) {
	w, s, open := watch(t, formLines, false)
	s.objects["a"], s.objects["a.sig"] = numbered(0, 200_000), strings.Repeat("s", 64)
	s.objects["b"], s.objects["b.sig"] = "b\n", "c3Nzcw==\n"
	open().must()
	if got := w.gate.took; len(got) != 2 || string(got[0].Body) != s.objects["a"] || string(got[0].Signature) != s.objects["a.sig"] || string(got[1].Signature) != "ssss" {
		t.Errorf("%d batches", len(got))
	}
}

// TestDirectory watches files that come into a directory, and finds one that was written
// over with as many bytes at the next pass, by its time.
func TestDirectory(t *testing.T) {
	w := newWorld(t, formLines)
	w.order(Order{From: "file://" + w.root + "/drop/"})
	for _, name := range []string{"drop/a", "drop/deep/b", "drop-c", "other/c", "drop/.part"} {
		path := filepath.Join(w.root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		logfile{t, path}.add("x\n")
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(w.root, "drop/link")); err != nil {
		t.Fatal(err)
	}
	h := w.by("app")
	h.must()
	w.wantText("x\nx\n")
	logfile{t, filepath.Join(w.root, "drop/a")}.put("y\n")
	if _, err := h.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantFound("replaced")
}

// TestRealBuckets watches a store through the client of each cloud: what comes, is replaced
// by as many bytes, is deleted, and who may do what with it; also while it is throttled.
func TestRealBuckets(t *testing.T) {
	for _, scheme := range []string{"s3", "gs", "az"} {
		t.Run(scheme, func(t *testing.T) {
			s := blobtest.New(t)
			w := newWorld(t, formLines)
			w.cfg.Roots = []string{s.Address(scheme, "logs")}
			w.open()
			w.order(Order{From: scheme + "://" + blobtest.Bucket + "/logs/today/"})
			asks, slow, policy := 0, true, `{"Version":"2012-10-17"}`
			s.Spoil = func(rw http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Has("policy") {
					fmt.Fprint(rw, policy)
					return true
				}
				if asks++; slow && asks == 7 {
					rw.Header().Set("Retry-After", "0")
					rw.WriteHeader(http.StatusServiceUnavailable)
					return true
				}
				return false
			}
			for i := range 5 {
				s.Put(fmt.Sprintf("logs/today/%d", i), fmt.Sprintf("row %d\n", i))
			}
			s.Put("logs/todays", "not ours\n")
			h := w.by("app")
			for range 10 { // what is not gone on with at once is at the next pass
				if err := h.passes(); err != nil && pavise.KindOf(err) != pavise.Unavailable {
					t.Fatal(err)
				}
			}
			slow = false
			h.must()
			w.wantText("row 0\nrow 1\nrow 2\nrow 3\nrow 4\n")
			w.wantFound("")
			s.Put("logs/today/3", "ROW 3\n")
			s.Delete("logs/today/4")
			policy = `{"Version":"2012-10-17","Statement":[]}`
			if _, err := h.pass(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := "replaced gone"
			if scheme == "s3" {
				want = "terms replaced gone"
			}
			h = w.by("app")
			h.must()
			w.wantFound(want)
			if all := w.findings(); scheme == "s3" && !strings.Contains(all[len(all)-1].Summary, "with a marker; 1 versions are kept") {
				t.Errorf("%+v", all)
			}
		})
	}
}

// TestStoresOfTheirOwnOrder watches stores that list what is in a directory before the names
// that begin like it, and finds the signature beside an object.
func TestStoresOfTheirOwnOrder(t *testing.T) {
	for _, scheme := range []string{"s3", "gs", "az"} {
		s := blobtest.New(t)
		s.Compare = func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) }
		w := newWorld(t, formLines)
		w.cfg.Roots = []string{s.Address(scheme, "")}
		w.open()
		w.order(Order{From: scheme + "://" + blobtest.Bucket + "/"})
		for _, name := range []string{"a-b", "a.c", "a/b"} {
			s.Put(name, name+"\n")
			s.Put(name+".sig", strings.Repeat("s", 64))
		}
		for range 3 {
			w.by("app").must()
		}
		w.wantText("a-b\na.c\na/b\n")
		w.wantFound("")
		for _, b := range w.gate.took {
			if len(b.Signature) != 64 {
				t.Errorf("%s: %q has the signature %q", scheme, b.Body, b.Signature)
			}
		}
	}
}

// TestNamedStore watches a bucket of the S3-compatible store that PAVISE_TEST_RECEIVE names.
func TestNamedStore(t *testing.T) {
	store := os.Getenv("PAVISE_TEST_RECEIVE")
	if store == "" {
		t.Skip("PAVISE_TEST_RECEIVE names no store, for example http://127.0.0.1:9000")
	}
	name := fmt.Sprintf("lake%d", time.Now().UnixNano())
	host := strings.TrimPrefix(store, "http://")
	client, err := minio.New(host, &minio.Options{Creds: credentials.NewEnvAWS(), Region: "us-east-1"})
	if err == nil {
		err = client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{})
	}
	if err == nil {
		err = client.EnableVersioning(t.Context(), name)
	}
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, text string) {
		if _, err := client.PutObject(t.Context(), name, key, strings.NewReader(text), int64(len(text)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, formLines)
	w.cfg.Roots = []string{"s3://" + name + "?region=us-east-1&insecure=true&endpoint=" + host}
	w.open()
	w.order(Order{From: "s3://" + name + "/rows/"})
	put("rows/1", "honest\n")
	put("rows/2", "two\n")
	h := w.by("app")
	h.must()
	w.wantText("honest\ntwo\n")
	put("rows/1", "poison\n")
	if err := client.RemoveObject(t.Context(), name, "rows/2", minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::%s/*"}]}`, name)
	if err := client.SetBucketPolicy(t.Context(), name, policy); err != nil {
		t.Fatal(err)
	}
	if _, err := h.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantFound("terms replaced gone")
	w.wantText("honest\ntwo\n")
	if all := w.findings(); !strings.Contains(all[len(all)-1].Summary, "deleted with a marker") {
		t.Errorf("%+v", all)
	}
}
