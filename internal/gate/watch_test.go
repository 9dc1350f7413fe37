package gate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/store"
)

// rowsTime is when batches of tests come.
var rowsTime = time.Date(2026, 11, 27, 12, 30, 0, 0, time.UTC)

// bring brings n rows in the hour, each of a batch of its own kind.
func (w *world) hour(t *testing.T, n, different int) {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"user":"u%d","at":%d}`+"\n", i%different, w.now.Unix()+int64(i))
	}
	if n > 0 {
		wantVerdict(t, w.push(t, "", b.String()), Admitted)
	}
	w.pass(time.Hour)
	w.tend(t.Context())
}

// TestWatches tells bursts, silences and fields with too many values when their hour ends,
// also over a start of the gate, and nothing in the weeks before.
func TestWatches(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Distinct: "user"})
	if err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
		for i := range 3 * 168 { // three weeks of a quiet feed
			if _, err := tx.Exec(`INSERT INTO gate_hours VALUES ('local', 'rows', ?, ?, 0, ?)`, hourOf(w.now)-3*168+int64(i), 500+i%7, 10+i%2); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.open(t)
	for i := range 40 {
		w.hour(t, 500+i%7, 10+i%2)
		if i == 20 {
			w.open(t)
		}
	}
	if f := w.findings(t, KindOdd); len(f) != 0 {
		t.Fatalf("of a quiet feed it says %q", f)
	}
	w.hour(t, 9000, 11)
	w.hour(t, 505, 400)
	w.hour(t, 0, 1)
	f := strings.Join(w.findings(t, KindOdd), "\n")
	for _, word := range []string{"burst: 9000 records in the hour to 2026-11-29 05:00", "burst: 400 different values of user", "silence: 0 records"} {
		if !strings.Contains(f, word) {
			t.Errorf("the findings do not say %q:\n%s", word, f)
		}
	}
	s, err := w.Show(t.Context(), operator, rows)
	if err != nil || len(s.Watches) != 2 || !strings.Contains(s.Watches[0].Delay, "when the hour ends") {
		t.Errorf("%+v %v", s.Watches, err)
	}
}

// TestSequence tells gaps and what comes again, for each writer.
func TestSequence(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Sequence: "n"})
	bring := func(writer string, from, to int) {
		t.Helper()
		var b strings.Builder
		for n := from; n < to; n++ {
			fmt.Fprintf(&b, `{"n":%d,"w":%q}`+"\n", n, writer)
		}
		r, err := w.Admit(t.Context(), pusher, rows, Batch{Form: FormNDJSON, Body: []byte(b.String()), Writer: writer})
		if err != nil {
			t.Fatal(err)
		}
		wantVerdict(t, r, Admitted)
	}
	bring("a", 0, 100)
	bring("b", 5000, 5100)
	bring("a", 110, 1500) // ten are missing
	bring("b", 5090, 5101)
	w.pass(time.Hour)
	w.tend(t.Context())
	f := w.findings(t, KindOdd)
	if len(f) != 1 || !strings.Contains(f[0], "10 records missing, and 10 that came again") {
		t.Errorf("findings %q", f)
	}
	if s, err := w.Show(t.Context(), operator, rows); err != nil || s.Missing != 10 || s.Replayed != 10 {
		t.Errorf("%d missing, %d replayed, %v", s.Missing, s.Replayed, err)
	}
}
