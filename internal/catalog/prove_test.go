package catalog

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/rowseal"
)

// digestOf is that of a row of text.
func digestOf(text string) rowseal.Digest { return rowseal.Digest(leaf(text)) }

// TestProve proves rows of two versions to who has their digests, and holds the proofs to the roots.
// The log has that it was asked, and not of which row.
func TestProve(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,5\n3,5\n")
		w.pass(1)
		w.accept(t)
		versions := w.now(t).Versions
		for _, c := range []struct {
			row     string
			version int
			count   uint64
			at      uint64
		}{{"3,5", 0, 2, 3}, {"3,5", 2, 2, 3}, {"3,5", 1, 0, 0}, {"3,4", 1, 1, 3}, {"nobody wrote this", 2, 0, 0}} {
			p, err := w.Prove(t.Context(), ben, ProofSpec{Name: rows, Version: c.version, Digest: digestOf(c.row)})
			if err != nil {
				t.Fatal(err)
			}
			of := versions[0]
			if c.version == 1 {
				of = versions[1]
			}
			if p.Name != rows || p.Version != of.Number || p.Root != of.Root || p.Member != (c.count > 0) || p.Count != c.count || c.count > 0 && p.Spots[0].Row != c.at {
				t.Errorf("%q in version %d: %+v", c.row, c.version, p)
			}
			said := dataset.Proved{Root: of.Root, Member: p.Member, Statement: p.Statement}
			for _, at := range p.Spots {
				said.Places = append(said.Places, dataset.Place(at))
			}
			if err := said.HoldTo(dataset.Row{Digest: leaf(c.row)}); err != nil {
				t.Errorf("%q in version %d: %v", c.row, c.version, err)
			}
			if err := said.HoldTo(dataset.Row{Digest: leaf("another row")}); c.count > 0 && pavise.KindOf(err) != pavise.Unverified {
				t.Errorf("the proof of %q holds for another row: %v", c.row, err)
			}
			lies := said
			if lies.Places = []dataset.Place{{File: ".", Row: c.at + 1}}; pavise.KindOf(lies.HoldTo(dataset.Row{Digest: leaf(c.row)})) != pavise.Unverified {
				t.Errorf("the proof of %q holds for a place where it is not", c.row)
			}
			said.Member = !said.Member
			if err := said.HoldTo(dataset.Row{Digest: leaf(c.row)}); pavise.KindOf(err) != pavise.Unverified {
				t.Errorf("the proof of %q holds for the contrary: %v", c.row, err)
			}
			r, err := w.cfg.Log.Read(p.Record)
			if err != nil || r.Kind != "dataset.prove" || r.Who.ID != "ben" {
				t.Errorf("record %d is %+v, %v", p.Record, r, err)
			}
		}
		log, asked := w.cfg.Log, 0
		for r, err := range log.Select(t.Context(), ledger.Filter{Kinds: []string{"dataset.prove"}}, log.First(), log.Size()) {
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(r)
			if err != nil || strings.Contains(string(text), digestOf("3,5").String()) {
				t.Errorf("the log has the digest of a row: %s, %v", text, err)
			}
			asked++
		}
		if asked != 10 { // each is entered, and left
			t.Errorf("the log has %d records of it", asked)
		}
	})
}

// TestProveRefuses has versions that nothing can be proved of, and callers who may not ask.
func TestProveRefuses(t *testing.T) {
	bounded(t, 90_000, func(t *testing.T, w *world) {
		w.watch(t)
		for _, of := range []string{"b", "c"} {
			w.lake.pour(t, "rows.csv", manyRows(of, 1000))
			w.pass(1)
			w.accept(t)
		}
		ask := ProofSpec{Name: rows, Version: 1, Digest: digestOf("a,7")}
		if _, err := w.Prove(t.Context(), ana, ask); pavise.KindOf(err) != pavise.NotFound || !strings.Contains(err.Error(), "dropped for want of room") {
			t.Errorf("an index that was dropped: %v", err)
		}
		ask.Version = 4
		if _, err := w.Prove(t.Context(), ana, ask); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("no such version: %v", err)
		}
		ask.Version = 0
		labeler := pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "eve", Roles: []string{"labeler"}}
		if _, err := w.Prove(t.Context(), labeler, ask); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("a labeler: %v", err)
		}
		for range comparing {
			w.compares <- struct{}{}
		}
		if _, err := w.Prove(t.Context(), ana, ask); pavise.KindOf(err) != pavise.Throttled {
			t.Errorf("beside others: %v", err)
		}
	})
}
