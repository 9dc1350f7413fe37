package verbs

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/dataset"
)

// flows is a dataset.
var flows = DatasetRef{pavise.Name{Tenant: "local", Kind: "dataset", ID: "flows"}}

// pour writes a file of the lake, which is another file each time.
func (w *world) pour(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(w.lake, name)
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// found looks at a dataset, and returns the root of what lies at its place and is not it.
func (w *world) found(t *testing.T, of DatasetRef) string {
	t.Helper()
	var v catalog.View
	if err := w.person(t, "looker", "operator").Call(t.Context(), "dataset.check", DatasetCheck{DatasetRef: of}, &v); err != nil {
		t.Fatal(err)
	}
	if v.Found == nil {
		t.Fatalf("%s is %s, with nothing found", of.Name, v.State)
	}
	return v.Found.Root.String()
}

// watched watches a dataset as a person, and returns once its first version is there.
func (w *world) watched(t *testing.T, by *api.Client) {
	t.Helper()
	w.pour(t, "flows.csv", "a,b\n1,2\n")
	if err := by.Call(t.Context(), "dataset.watch", DatasetWatch{DatasetRef: flows, From: "flows.csv"}, nil); err != nil {
		t.Fatal(err)
	}
	var v catalog.View
	if err := by.Call(t.Context(), "dataset.check", DatasetCheck{DatasetRef: flows}, &v); err != nil || v.State != catalog.StateSealed {
		t.Fatalf("%+v, %v", v, err)
	}
}

// What was found is the dataset by the word of two people, neither of whom set the watch
// alone decides; and a content that came after the proposal is not what they approved.
func TestDatasetsChangeByOthersWord(t *testing.T) {
	w := newWorld(t)
	ana, ben, kim := w.person(t, "ana", "operator"), w.person(t, "ben", "operator"), w.person(t, "kim", "operator")
	w.watched(t, ana)
	w.pour(t, "flows.csv", "a,b\n1,3\n")
	ask := DatasetAccept{DatasetRef: flows, Root: w.found(t, flows), Reason: "a delivery"}
	var ch api.ChangeView
	if err := w.person(t, "cid", "analyst").Call(t.Context(), "dataset.accept", ask, &ch); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("an analyst proposes: %v", err)
	}
	if err := ben.Call(t.Context(), "dataset.accept", ask, &ch); err != nil {
		t.Fatal(err)
	}
	vote := VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}
	program := w.minted(t, w.person(t, "op", "operator"), pavise.Workload, "robot", "operator")
	for who, by := range map[string]*api.Client{"who proposed it": ben, "who set the watch": ana, "another self of theirs": w.minted(t, ana, pavise.Human, "other-ana", "operator"), "a program": program, "an analyst": w.person(t, "cid", "analyst")} {
		if err := by.Call(t.Context(), "change.approve", vote, nil); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("%s approves: %v", who, err)
		}
	}
	w.pour(t, "flows.csv", "a,b\n1,4\n")
	later := w.found(t, flows)
	if err := kim.Call(t.Context(), "change.approve", vote, nil); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("another content than was found: %v", err)
	}
	if err := ben.Call(t.Context(), "dataset.accept", ask, &ch); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("a root that is not what lies there: %v", err)
	}
	ask.Root = later[:8]
	if err := ben.Call(t.Context(), "dataset.accept", ask, &ch); err != nil {
		t.Fatal(err)
	}
	if err := kim.Call(t.Context(), "change.approve", VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, &ch); err != nil || ch.State != change.Done {
		t.Fatalf("%+v, %v", ch, err)
	}
	var shown catalog.Shown
	if err := kim.Call(t.Context(), "dataset.show", flows, &shown); err != nil {
		t.Fatal(err)
	}
	if v := shown.Versions; len(v) != 2 || v[0].Root.String() != later || v[0].By.ID != "ben" || v[0].Change != ch.Name || shown.State != catalog.StateSealed {
		t.Errorf("%+v", shown)
	}
	if got := phases(w, 0, "dataset.accept"); got != "enter exit" {
		t.Errorf("the log has %q of the acceptance", got)
	}
}

// A seal that is handed over is held to itself, and to its signature.
func TestSealsAreHandedOver(t *testing.T) {
	w := newWorld(t)
	ana := w.person(t, "ana", "operator")
	w.pour(t, "rows.csv", "a,b\n1,2\n3,4\n")
	out := filepath.Join(t.TempDir(), "rows.seal")
	if _, err := (&dataset.Seal{Path: filepath.Join(w.lake, "rows.csv"), Out: out}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	good := catalog.SealSpec{Name: flows.Name, Seal: text, Called: "s3://lake/rows"}
	for name, c := range map[string]struct {
		edit func(*catalog.SealSpec)
		kind pavise.Kind
	}{
		"a row more":             {func(s *catalog.SealSpec) { s.Seal = []byte(strings.Replace(string(text), `"rows": 3`, `"rows": 4`, 1)) }, pavise.Unverified},
		"no seal":                {func(s *catalog.SealSpec) { s.Seal = []byte("{}") }, pavise.Invalid},
		"nothing":                {func(s *catalog.SealSpec) { s.Seal = nil }, pavise.Invalid},
		"no signature":           {func(s *catalog.SealSpec) { s.Signature = []byte("{}") }, pavise.Invalid},
		"an unknown parent":      {func(s *catalog.SealSpec) { s.Parents = []string{"absent"} }, pavise.NotFound},
		"another house's":        {func(s *catalog.SealSpec) { s.Parents = []string{"acme/dataset/flows"} }, pavise.NotFound},
		"no name":                {func(s *catalog.SealSpec) { s.Name = pavise.Name{} }, pavise.Denied},
		"of no kind":             {func(s *catalog.SealSpec) { s.Name.Kind = "model" }, pavise.Denied},
		"another house's itself": {func(s *catalog.SealSpec) { s.Name.Tenant = "acme" }, pavise.Denied},
		"no name of OpenLineage": {func(s *catalog.SealSpec) { s.Called = "rows" }, pavise.Invalid},
	} {
		spec := good
		c.edit(&spec)
		if err := ana.Call(t.Context(), "dataset.seal", spec, nil); pavise.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
	var taken catalog.Sealed
	if err := ana.Call(t.Context(), "dataset.seal", good, &taken); err != nil || taken.Version.Rows != 3 || taken.Same {
		t.Fatalf("%+v, %v", taken, err)
	}
	if r, err := w.Log.Read(taken.Record); err != nil || r.Kind != "dataset.seal" || r.On != flows.Name {
		t.Errorf("record %d is %+v, %v", taken.Record, r, err)
	}
	seals, err := w.Catalog.Seals(t.Context(), "local")
	if err != nil || len(seals) != 1 || seals[0].Dataset.String() != "s3://lake rows" || seals[0].Root != taken.Version.Root.String() || seals[0].Rows != 3 {
		t.Errorf("%+v, %v", seals, err)
	}
	if err := w.client(t, "analyst").Call(t.Context(), "dataset.seal", good, nil); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("an analyst: %v", err)
	}
}

// TestProofsGoOverTheWire asks for a proof as an analyst, who checks it, and as others who get none.
func TestProofsGoOverTheWire(t *testing.T) {
	w := newWorld(t)
	w.watched(t, w.person(t, "ana", "operator"))
	leaf := sha256.Sum256([]byte("\x001,2"))
	ask := DatasetProve{DatasetRef: flows, Row: hex.EncodeToString(leaf[:])}
	var p catalog.Proof
	if err := w.client(t, "analyst").Call(t.Context(), "dataset.prove", ask, &p); err != nil || !p.Member || p.Version != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := (&dataset.Proved{Root: p.Root, Member: true, Places: []dataset.Place{{File: ".", Row: 2}}, Statement: p.Statement}).HoldTo(dataset.Row{Digest: leaf}); err != nil {
		t.Error(err)
	}
	if err := w.client(t, "caller").Call(t.Context(), "dataset.prove", ask, nil); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("a caller: %v", err)
	}
	for _, row := range []string{"", "1,2", strings.ToUpper(ask.Row), strings.Repeat("x", 64)} {
		ask.Row = row
		if err := w.client(t, "analyst").Call(t.Context(), "dataset.prove", ask, nil); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("the digest %q: %v", row, err)
		}
	}
}
