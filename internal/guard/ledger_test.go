package guard

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// TestOverTheRealLog runs an act to its end, lets the process end during
// another, and recovers, on the evidence log itself.
func TestOverTheRealLog(t *testing.T) {
	dir := t.TempDir()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	start := func() (*Guard, *ledger.Log) {
		log, err := ledger.Open(ledger.Options{Dir: dir, Origin: "test.example/log", Key: key})
		if err != nil {
			t.Fatal(err)
		}
		g, err := New(Config{Actions: testActions(), Log: log})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Load("local", Defaults()); err != nil {
			t.Fatal(err)
		}
		return g, log
	}
	g, log := start()
	e, err := g.Enter(t.Context(), caller, "model.infer", model)
	if err != nil {
		t.Fatal(err)
	}
	e.Exit(&err)
	if err != nil {
		t.Fatal(err)
	}
	if e, err = g.Enter(t.Context(), operator, "route.put", route); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	g, log = start()
	defer log.Close()
	if n, err := g.Recover(t.Context()); n != 1 || err != nil {
		t.Fatalf("closed %d, error %v, want 1", n, err)
	}
	if r, ok := log.Last(); !ok || r.Phase != record.Interrupted || r.Enter == nil || *r.Enter != at(t, e) {
		t.Errorf("recorded as %+v", r)
	}
	question, err := log.Read(at(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if x := g.ExplainRecord(t.Context(), question, nil); x.Status != Recomputed {
		t.Errorf("the question explains as %+v", x)
	}
}
