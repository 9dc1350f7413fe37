package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/verbs"
)

// TestKilledWhileItLooks kills a server again and again while it seals what it watches: in
// the end there is one version, which is that of the files, and the log has one note of it;
// a change that came meanwhile is told once.
func TestKilledWhileItLooks(t *testing.T) {
	lake, dir := t.TempDir(), filepath.Join(t.TempDir(), "data")
	pour := func(name, line string) {
		if err := os.WriteFile(filepath.Join(lake, name), []byte(strings.Repeat(line+"\n", 40_000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pour("a.csv", "1,2,3,4,5,6,7,8")
	pour("b.bin", "what is sealed by its bytes is sealed fast")
	rows := verbs.DatasetRef{Name: pavise.Name{Tenant: "local", Kind: "dataset", ID: "rows"}}
	random := rand.New(rand.NewPCG(8, 71))
	for i := range 3 {
		p := start(t, dir, "--datasets", lake)
		if i == 0 {
			if err := p.operator(t).Call(t.Context(), "dataset.watch", verbs.DatasetWatch{DatasetRef: rows, From: "file://" + lake, Every: "1h"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
		p.kill()
	}
	p := start(t, dir, "--datasets", lake)
	checked := func(p *process, want catalog.State) (v catalog.View) {
		t.Helper()
		for range 10 { // each waits for its end
			if err := p.operator(t).Call(t.Context(), "dataset.check", verbs.DatasetCheck{DatasetRef: rows}, &v); err != nil {
				t.Fatal(err)
			}
			if !v.Looking && v.State == want {
				return v
			}
		}
		t.Fatalf("it is %s: %+v", v.State, v.Last)
		return v
	}
	first := checked(p, catalog.StateSealed)
	if first.Newest.Number != 1 || first.Newest.Files != 2 || first.Newest.Rows != 40_000 {
		t.Errorf("%+v", first.Newest)
	}
	pour("a.csv", "1,2,3,4,5,6,7,9")
	p.kill()
	p = start(t, dir, "--datasets", lake)
	checkSoon(t, p.operator(t), rows)
	time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
	p.kill()
	p = start(t, dir, "--datasets", lake)
	if v := checked(p, catalog.StateChanged); v.Newest.Root != first.Newest.Root || v.Found.Would.Rows != 40_000 {
		t.Errorf("%+v", v)
	}
	for kind, want := range map[string]int{catalog.KindSealed: 1, catalog.KindChanged: 1, catalog.KindUnreachable: 0} {
		var list evidence.ListAnswer
		if err := p.operator(t).Call(t.Context(), "ledger.list", evidence.ListRequest{Conditions: evidence.Conditions{Kind: []string{kind}}}, &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Events) != want {
			t.Errorf("the log has %d records of %s, want %d", len(list.Events), kind, want)
		}
	}
	p.interrupt(t)
}

// checkSoon asks for a look, and does not wait for its answer.
func checkSoon(t *testing.T, by *api.Client, of verbs.DatasetRef) {
	t.Helper()
	asked := make(chan struct{})
	go func() {
		close(asked)
		_ = by.Call(t.Context(), "dataset.check", verbs.DatasetCheck{DatasetRef: of}, nil) // it is killed meanwhile
	}()
	<-asked
}
