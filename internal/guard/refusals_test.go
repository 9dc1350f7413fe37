package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

func TestRunRecordsRefusalsEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, log := newGuard(t, func(c *Config) { c.Now = time.Now })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.Run(ctx) }()
		for range 500 {
			g.Refuse("192.0.2.1", "no token")
		}
		g.Refuse("192.0.2.1", "expired")
		g.Refuse("192.0.2.2", "no token")
		synctest.Wait()
		if log.Size() != 0 {
			t.Error("recorded before the second was over")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if log.Size() != 3 {
			t.Fatalf("%d notes, want 3", log.Size())
		}
		r := log.records[1]
		if r.Kind != "identity.refused" || r.Phase != record.Note || r.Tenant != "local" || log.hows[1] != ledger.Written ||
			string(r.Detail) != `{"source":"192.0.2.1","reason":"no token","count":500}` {
			t.Errorf("recorded as %+v", r)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if log.Size() != 3 {
			t.Error("silence was recorded")
		}
		g.Refuse("192.0.2.3", "no token")
		cancel()
		if err := <-done; err != nil || log.Size() != 4 {
			t.Errorf("at the end: error %v and %d notes, want 4", err, log.Size())
		}
	})
}

// counted adds up the refusals on record.
func counted(t *testing.T, log *fakeLog) (total uint64) {
	t.Helper()
	for _, r := range log.records {
		var note struct{ Count uint64 }
		if err := json.Unmarshal(r.Detail, &note); err != nil {
			t.Fatal(err)
		}
		total += note.Count
	}
	return total
}

// TestUnwrittenActsAreCounted: what could not be written down while the log took nothing is
// in one note for each caller once it takes something again.
func TestUnwrittenActsAreCounted(t *testing.T) {
	g, log := newGuard(t, nil)
	full := &pavise.Error{Kind: pavise.Unavailable, Msg: "the disk of the evidence log is full"}
	log.fail = func(*record.Record) error { return full }
	for range 3 {
		e, err := g.Enter(t.Context(), caller, "model.infer", model)
		if err != nil {
			t.Fatal(err)
		}
		if e.Exit(&err); pavise.KindOf(err) != pavise.Unavailable {
			t.Fatalf("an act without a record ends with %v", err)
		}
	}
	if _, err := g.Enter(t.Context(), operator, "route.put", route); pavise.KindOf(err) != pavise.Unavailable {
		t.Fatalf("an act that cannot be recorded begins: %v", err)
	}
	if g.flush(t.Context()) == nil || log.Size() != 0 {
		t.Fatalf("%d records in a log that takes none", log.Size())
	}
	log.fail = nil
	if err := g.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"source":"local/human/olga","reason":"route.put: no record of it could be written","count":1}`,
		`{"source":"local/workload/app","reason":"model.infer: no record of it could be written","count":3}`,
	}
	for i, r := range log.records {
		if r.Kind != noteRefused || string(r.Detail) != want[i] {
			t.Errorf("note %d is %s %s, want %s", i, r.Kind, r.Detail, want[i])
		}
	}
	if len(log.records) != len(want) {
		t.Errorf("%d notes", len(log.records))
	}
}

// TestKnockingIsBounded: a stranger who varies the source, the reason and both
// cannot make the guard remember or write without end, nor lose a count.
func TestKnockingIsBounded(t *testing.T) {
	g, log := newGuard(t, nil)
	const knocks = 20_000
	for i := range knocks {
		g.Refuse(fmt.Sprint("192.0.2.", i), "no token")
		g.Refuse("198.51.100.7", fmt.Sprint("reason ", i))
		g.Refuse(strings.Repeat("s", 1<<12)+fmt.Sprint(i), strings.Repeat("r", 1<<12))
	}
	if n := len(g.refusals.counts); n > maxSources+maxReasons+1 {
		t.Fatalf("%d sources are remembered", n)
	}
	if err := g.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if total := counted(t, log); total != 3*knocks {
		t.Errorf("%d refusals on record, want %d", total, 3*knocks)
	}
}

func TestRefusalsOutliveAFullDisk(t *testing.T) {
	g, log := newGuard(t, nil)
	for i := range 10 {
		g.Refuse(fmt.Sprint("192.0.2.", i), "no token")
	}
	budget := 4
	log.fail = func(*record.Record) error {
		if budget--; budget < 0 {
			return errors.New("disk full")
		}
		return nil
	}
	if err := g.flush(t.Context()); err == nil {
		t.Error("flush did not notice")
	}
	log.fail = nil
	g.Refuse("192.0.2.9", "no token")
	if err := g.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if total := counted(t, log); total != 11 {
		t.Errorf("%d refusals on record, want 11", total)
	}
}

func TestRefuseSaysWhenItIsTooMuch(t *testing.T) {
	g, _ := newGuard(t, nil)
	for i := range patience + 5 {
		if got, want := g.Refuse("192.0.2.1", "expired"), i >= patience; got != want {
			t.Errorf("refusal %d: too many is %v, want %v", i+1, got, want)
		}
	}
	if g.Refuse("192.0.2.2", "expired") {
		t.Error("another source pays for the first")
	}
}
