package machine

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/registry"
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
