package machine

import (
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// target is one.
func target(id string) pavise.Name {
	return pavise.Name{Tenant: "local", Kind: deploy.KindTarget, ID: id}
}

// orders are good ones, for edits.
func orders(edit func(*Orders)) []byte {
	digest := strings.Repeat("ab", 32)
	o := Orders{
		Target: target("edge"), Revision: 3, Model: pavise.Name{Tenant: "local", Kind: "model", ID: "fraud"}, Version: 2,
		Files: []OrderedFile{{File: deploy.File{Path: "a/model.onnx", Size: 7, Digest: "sha256:" + digest}, Parts: []string{"sha256:" + digest}}},
	}
	raw, _ := hex.DecodeString(digest)
	o.Digest = registry.DigestOf([]registry.File{{Path: "a/model.onnx", Size: 7, Digest: registry.Digest(raw)}}).String()
	if edit != nil {
		edit(&o)
	}
	text, _ := json.Marshal(o)
	return text
}

// TestParseOrders reads orders, and refuses those that are not whole, or of files that would
// lie elsewhere.
func TestParseOrders(t *testing.T) {
	if _, err := ParseOrders(orders(nil), target("edge")); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseOrders([]byte(`{"target":"local/target/edge","revision":0}`), target("edge")); err != nil {
		t.Errorf("nothing is ordered: %v", err)
	}
	for what, text := range map[string][]byte{
		"another target": orders(func(o *Orders) { o.Target = target("other") }), "no version": orders(func(o *Orders) { o.Version = 0 }),
		"a path above": orders(func(o *Orders) { o.Files[0].Path = "../model.onnx" }), "a path from the root": orders(func(o *Orders) { o.Files[0].Path = "/etc/passwd" }),
		"another size": orders(func(o *Orders) { o.Files[0].Size = 8 }), "a negative size": orders(func(o *Orders) { o.Files[0].Size = -1 }),
		"too few parts": orders(func(o *Orders) { o.Files[0].Parts = nil }), "a part that is none": orders(func(o *Orders) { o.Files[0].Parts[0] = "sha256:../../x" }),
		"another digest": orders(func(o *Orders) { o.Digest = "sha256:" + strings.Repeat("00", 32) }), "a file twice": orders(func(o *Orders) { o.Files = append(o.Files, o.Files[0]) }),
		"a name in two cases": orders(func(o *Orders) { o.Files = append(o.Files, o.Files[0]); o.Files[1].Path = "A/model.onnx" }),
		"endless":             orders(func(o *Orders) { o.Files[0].Size = 1 << 50 }), "a key that nobody knows": []byte(`{"target":"local/target/edge","revision":0,"run":"rm"}`),
		"a key twice": []byte(`{"target":"local/target/edge","revision":0,"revision":1}`), "no JSON": []byte("{"),
	} {
		if _, err := ParseOrders(text, target("edge")); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzParseOrders reads anything: what is taken is within its bounds, and has each part once.
func FuzzParseOrders(f *testing.F) {
	f.Add(orders(nil))
	f.Add([]byte(`{"target":"local/target/edge","revision":0}`))
	f.Add([]byte(`{"target":"local/target/edge","files":[{"path":"a","size":1,"digest":"sha256:"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := ParseOrders(text, target("edge"))
		if err != nil {
			return
		}
		for _, file := range o.Files {
			if strings.Contains(file.Path, "..") && strings.HasPrefix(file.Path, "../") || strings.HasPrefix(file.Path, "/") {
				t.Errorf("%q would lie elsewhere", file.Path)
			}
		}
		for part, size := range o.blobs() {
			if size < 1 || size > PartSize {
				t.Errorf("the part %s has %d bytes", part, size)
			}
		}
	})
}

// TestHeardAhead has a machine heard of last by a clock that was ahead: once that is put right,
// nobody knows when it was, and it is not taken for well until the clock has caught up.
func TestHeardAhead(t *testing.T) {
	w := newWorld(t)
	kek, err := seal.OpenFileKEK(filepath.Join(t.TempDir(), "kek"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 28, 6, 0, 0, 0, time.UTC)
	edges := NewEdges(EdgeConfig{Guard: w.cfg.Guard, Store: w.cfg.Store, KEK: kek, Dir: filepath.Join(t.TempDir(), "edge"), Origin: "control.example", Now: func() time.Time { return now }})
	name := target("edge-1")
	e, err := edges.Driver().Open(name, map[string]string{"agent": "workload/edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	well := func(what string, want bool) {
		t.Helper()
		if s, err := e.Observe(t.Context()); err != nil || s.Healthy != want || strings.Contains(s.Problem, "not heard of since") == want {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
	keep := func(at time.Time) {
		t.Helper()
		err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
			return put(tx, "deploy_kept", name, kept{Report: &Report{Target: name, Healthy: true}, At: at})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	keep(now.Add(-time.Minute))
	well("a minute ago", true)
	keep(now.Add(5 * 24 * time.Hour))
	well("in five days", false)
	edges.heard[name] = now.Add(-time.Minute)
	well("and a minute ago", true)
	edges.heard[name] = now.Add(5 * 24 * time.Hour)
	well("in five days, in this process", false)
}
