package premises

import (
	"bytes"
	"fmt"
	neturl "net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store/blob"
)

// lake is a house whose data lie in a directory, and who looks below another one.
func lake(t *testing.T) (h *House, dir string, at places) {
	t.Helper()
	base := t.TempDir()
	dir = filepath.Join(base, "lake")
	h = &House{Data: installation.Data(filepath.Join(base, "data"))}
	for _, d := range []string{dir, filepath.Join(base, "elsewhere"), string(h.Data)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(dir, "rows.csv"), "a,b\n1,2\n3,4\n")
	put(t, filepath.Join(base, "elsewhere", "secret.csv"), "a,b\n5,6\n")
	real, err := h.foreignRoot(dir, "datasets cannot be watched")
	if err != nil {
		t.Fatal(err)
	}
	return h, dir, places{roots: []dataRoot{{dir, real}}}
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// The keys of the house are no dataset, and neither is what is no directory.
func TestDataRoots(t *testing.T) {
	h, dir, _ := lake(t)
	base := filepath.Dir(dir)
	link(t, string(h.Data), filepath.Join(base, "harmless"))
	for _, root := range []string{base, string(h.Data), filepath.Join(string(h.Data), "ledger"), filepath.Join(base, "harmless"), "/", filepath.Join(dir, "rows.csv"), filepath.Join(base, "absent")} {
		if err := os.MkdirAll(filepath.Join(string(h.Data), "ledger"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := h.foreignRoot(root, "datasets cannot be watched"); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", root, err)
		}
	}
}

// The house looks below its roots, whatever an address or a link says.
func TestPlacesStayWithin(t *testing.T) {
	_, dir, at := lake(t)
	base := filepath.Dir(dir)
	for url, kind := range map[string]pavise.Kind{
		"file://" + dir + "/../elsewhere/secret.csv":     pavise.Denied,
		"file://" + dir + "/%2e%2e/elsewhere/secret.csv": pavise.Denied,
		"file://" + base + "/lake2/rows.csv":             pavise.Denied,
		"file:///etc/passwd":                             pavise.Denied,
		"file://host" + dir + "/rows.csv":                pavise.Invalid,
		"file://" + dir + "/rows.csv?x=1":                pavise.Invalid,
		"file://" + dir + "/rows%00.csv":                 pavise.Invalid,
		"file:rows.csv":                                  pavise.Invalid,
		dir + "/rows.csv":                                pavise.Invalid,
		"http://127.0.0.1/rows.csv":                      pavise.Invalid,
		"":                                               pavise.Invalid,
	} {
		if err := at.Allowed(catalog.Place{URL: url}); pavise.KindOf(err) != kind {
			t.Errorf("%s: %v, want %v", url, err, kind)
		}
	}
	link(t, filepath.Join(base, "elsewhere", "secret.csv"), filepath.Join(dir, "file.csv"))
	link(t, filepath.Join(base, "elsewhere"), filepath.Join(dir, "sub"))
	link(t, "../elsewhere", filepath.Join(dir, "near"))
	link(t, dir, filepath.Join(base, "name"))
	for name, kind := range map[string]pavise.Kind{"file.csv": pavise.Denied, "sub": pavise.Denied, "sub/secret.csv": pavise.Denied, "near/secret.csv": pavise.Denied, "absent": pavise.NotFound, ".": pavise.Invalid} {
		place := catalog.Place{URL: "file://" + dir + "/" + name}
		if err := at.Allowed(place); err != nil {
			t.Errorf("%s: %v", name, err) // what it is is seen when it is looked at
		}
		if _, err := at.Seal(t.Context(), place, filepath.Join(t.TempDir(), "s"), nil); pavise.KindOf(err) != kind {
			t.Errorf("%s is sealed: %v, want %v", name, err, kind)
		}
	}
	for _, pattern := range []catalog.Place{{ByBlock: []string{"["}}, {Format: "xml"}} {
		pattern.URL = "file://" + dir + "/rows.csv"
		if err := at.Allowed(pattern); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%+v: %v", pattern, err)
		}
	}
	link(t, "rows.csv", filepath.Join(dir, "other.csv")) // within it, a link is the file that it leads to
	for _, name := range []string{"rows.csv", "other.csv"} {
		if _, err := at.Seal(t.Context(), catalog.Place{URL: "file://" + dir + "/" + name}, filepath.Join(t.TempDir(), "s"), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A change is named by its row, by seals and by the files alike, and no more is listed than
// a record has room for.
func TestDifferencesAreBounded(t *testing.T) {
	_, dir, at := lake(t)
	var before, after bytes.Buffer
	for i := range 100 {
		fmt.Fprintf(&before, "%d,x\n", i)
		fmt.Fprintf(&after, "%d,%d\n", i, i)
	}
	many := filepath.Join(dir, "many")
	if err := os.Mkdir(many, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		put(t, filepath.Join(many, fmt.Sprint(i)+".csv"), before.String())
	}
	place := catalog.Place{URL: "file://" + many}
	old, now := filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "now")
	if _, err := at.Seal(t.Context(), place, old, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		put(t, filepath.Join(many, fmt.Sprint(i)+".csv"), after.String())
	}
	if _, err := at.Seal(t.Context(), place, now, nil); err != nil {
		t.Fatal(err)
	}
	held, _, err := at.Hold(t.Context(), place, old, true)
	if err != nil {
		t.Fatal(err)
	}
	compared, err := compareSeals(t.Context(), old, now)
	if err != nil {
		t.Fatal(err)
	}
	for how, d := range map[string]catalog.Differences{"held": held, "compared": compared} {
		if len(d.Files) != catalog.MaxFiles || d.More != 10 || len(d.Files[0].Changed) != catalog.MaxRows || d.Files[0].Changed[0] != 1 || d.Files[0].Rows != 100 {
			t.Errorf("%s: %d files and %d more, %+v", how, len(d.Files), d.More, d.Files[0])
		}
	}
	if err := os.Remove(old + ".rows"); err != nil {
		t.Fatal(err)
	}
	if d, err := compareSeals(t.Context(), old, now); err != nil || !strings.Contains(d.Files[0].Note, "rows cannot be named") {
		t.Errorf("without the index: %+v, %v", d, err)
	}
}

// What has a row says of which dataset it is, as events call it; where nobody said that, who read
// it is not known.
func TestHoldingsSayWhatEventsCallThem(t *testing.T) {
	had := catalog.Holding{Dataset: pavise.Name{Tenant: "local", Kind: "dataset", ID: "flows"}, Count: 1, Called: lineage.Dataset{Namespace: "s3://lake", Name: "flows"}}
	if h := holding(had); h.Of != had.Called || h.Root != "" || h.Unsure != "" {
		t.Errorf("%+v", h)
	}
	had.Called = lineage.Dataset{}
	if h := holding(had); !strings.Contains(h.Unsure, "nobody said what events call flows") {
		t.Errorf("%+v", h)
	}
	had.Root, had.Unsure = rowseal.Digest{0xab, 0xcd}, "its index is gone"
	if h := holding(had); h.Unsure != "of flows, root abcd00000000: its index is gone" {
		t.Errorf("of which version it is unsure: %+v", h)
	}
}

// FuzzPlaces: whatever an address says, it is a path below a root, or of a bucket below one and with
// the root's options, or refused.
func FuzzPlaces(f *testing.F) {
	for _, url := range []string{"file:///srv/lake/a", "file:///srv/lake/../x", "file:///srv/lake/%2e%2e/x", "file:////srv/lake", "file:///srv/lake%00", "FILE:///srv/lake/x", "file:///srv/lakes", "s3://b/k", "s3://lake/rows/a", "s3://lake/rows/%2e%2e/x", "s3://lake/rows?endpoint=x"} {
		f.Add(url)
	}
	bucket, err := newBucketRoot("s3://lake/rows?endpoint=minio:9000")
	if err != nil {
		f.Fatal(err)
	}
	at := places{roots: []dataRoot{{"/srv/lake", "/mnt/lake"}}, buckets: []bucketRoot{bucket}}
	f.Fuzz(func(t *testing.T, url string) {
		name, root, err := at.find(catalog.Place{URL: url})
		if err == nil && blob.IsAddress(url) {
			if u, err := neturl.Parse(name); err != nil || u.Host != "lake" || !strings.HasPrefix(u.Path, "/rows/") || u.RawQuery != "endpoint=minio:9000" || u.Fragment != "" {
				t.Errorf("%q is %q", url, name)
			}
			return
		}
		if err == nil && (root != "/mnt/lake" || name != filepath.Clean(name) || name != root && !strings.HasPrefix(name, root+"/") || strings.ContainsRune(name, 0)) {
			t.Errorf("%q is %q below %q", url, name, root)
		}
	})
}
