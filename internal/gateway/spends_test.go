package gateway

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/store"
)

func TestSnapshotAndReplayCountOnce(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, func(s *route.Spec) { s.Rate, s.Budget = "100000/1m", "10/24h" })
	for i := range 6 {
		w.post(t, good, nil)
		if i == 2 {
			if err := w.snapshotMeter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.close()
	again := newWorld(t, dir)
	ok := 0
	for range 10 {
		if resp, _ := again.post(t, good, nil); resp.StatusCode == 200 {
			ok++
		}
	}
	if ok != 4 {
		t.Errorf("%d answers after the restart, want the 4 that are left", ok)
	}
}

// signed waits until a signed head covers every record.
func (w *world) signed(t *testing.T) {
	t.Helper()
	for range 500 {
		if w.log.Head().Size == w.log.Size() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no head covers the records")
}

// count sets what the snapshot in the store says it counts.
func (w *world) count(t *testing.T, records, signed uint64) {
	t.Helper()
	err := w.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE gateway_spends SET records = ?, signed = ?`, records, signed)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestShorterLog starts on a log that holds less than it held.
func TestShorterLog(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, nil)
	for range 20 {
		w.post(t, good, nil)
	}
	w.signed(t)
	if err := w.snapshotMeter(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.close()
	if err := os.RemoveAll(filepath.Join(dir, "ledger")); err != nil {
		t.Fatal(err)
	}
	for range 3 { // and asking again does not help
		again, err := openWorld(t, dir)
		e, ok := errors.AsType[*pavise.Error](err)
		if !ok || e.Kind != pavise.Unverified || !strings.Contains(e.Msg, "cut, replaced or rolled back") || !strings.Contains(e.Hint, "backup") {
			t.Errorf("another log: %v", err)
		}
		again.close()
	}
}

// TestPowerLoss starts on a log that lost records which no head had signed. What
// they charged stays charged, and so does what is charged next.
func TestPowerLoss(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, func(s *route.Spec) { s.Rate, s.Budget = "100000/1m", "6/24h" })
	for range 2 {
		w.post(t, good, nil)
	}
	if err := w.snapshotMeter(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.count(t, w.log.Size()+3, w.log.Size())
	w.close()
	again := newWorld(t, dir)
	for range 2 {
		again.post(t, good, nil)
	}
	again.close()
	ok := 0
	for last := newWorld(t, dir); ok < 7; ok++ {
		if resp, _ := last.post(t, good, nil); resp.StatusCode != 200 {
			break
		}
	}
	if ok != 2 {
		t.Errorf("%d answers, want the 2 that are left", ok)
	}
}

// TestReplayIsLate replays a charge that fell at the end of a long exchange.
func TestReplayIsLate(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, func(s *route.Spec) { s.Rate, s.Budget = "100000/1m", "1/1m" })
	_, err := w.log.Append(t.Context(), &record.Record{
		Kind: "model.infer", Phase: record.Act, Tenant: tenant, At: time.Now().Add(-2 * time.Minute).UTC(), Took: 2 * time.Minute,
		Who: &pavise.Principal{Tenant: tenant, Kind: pavise.Workload, ID: "app"}, On: theModel, Outcome: pavise.Allow, Detail: []byte(`{"charged":1}`),
	}, ledger.Durable)
	if err != nil {
		t.Fatal(err)
	}
	w.close()
	if resp, body := newWorld(t, dir).post(t, good, nil); resp.StatusCode != 429 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// TestReplayAsksNobody replays more than the terms, tightened since, let pass.
func TestReplayAsksNobody(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, func(s *route.Spec) { s.Rate, s.Budget = "100000/1m", "100/24h" })
	eight := `{"inputs":[{"name":"x","shape":[8,2],"datatype":"FP32","data":[1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8]}]}`
	if resp, body := w.post(t, eight, nil); resp.StatusCode != 200 {
		t.Fatal(body)
	}
	w.put(t, func(s *route.Spec) { s.Rate, s.Budget = "100000/1m", "5/24h" })
	w.close()
	if resp, body := newWorld(t, dir).post(t, good, nil); resp.StatusCode != 429 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// TestReplayOfDamage replays a log that was changed under its feet, and one with
// a record that says nothing of what it charged.
func TestReplayOfDamage(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, nil)
	w.post(t, good, nil)
	w.signed(t)
	refuses := func(why string) {
		t.Helper()
		fresh := &Gateway{db: w.db, log: w.log, meter: firewall.NewMeter(10), now: time.Now}
		e, ok := errors.AsType[*pavise.Error](fresh.restoreMeter(t.Context()))
		if !ok || e.Kind != pavise.Unverified || !strings.Contains(e.Hint, "pavise ledger verify") {
			t.Errorf("%s: %v", why, e)
		}
	}
	change := func(from, to string) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(w.dir, "ledger", "entries-*.seg"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		text, err := os.ReadFile(files[0])
		if err != nil || !bytes.Contains(text, []byte(from)) {
			t.Fatalf("no %q in the log: %v", from, err)
		}
		if err := os.WriteFile(files[0], bytes.Replace(text, []byte(from), []byte(to), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change(`"kind":"model.infer"`, `"kind":"model.infor"`)
	refuses("a record that was changed")
	change(`"kind":"model.infor"`, `"kind":"model.infer"`)
	_, err := w.log.Append(t.Context(), &record.Record{
		Kind: "model.infer", Phase: record.Act, Tenant: tenant, At: time.Now().UTC(),
		Who: &pavise.Principal{Tenant: tenant, Kind: pavise.Workload, ID: "app"}, On: theModel, Detail: []byte(`{"charged":"all"}`),
	}, ledger.Durable)
	if err != nil {
		t.Fatal(err)
	}
	refuses("a record that says nothing")
}
