package openlineage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/store"
)

// TestTheSameCountsOnce tells the same event again: as it was, written otherwise, twice in a
// batch, at the same time, and to the next process.
func TestTheSameCountsOnce(t *testing.T) {
	w := newWorld(t)
	one := ran(1, "COMPLETE", []string{"raw"}, []string{"clean"})
	var spaced bytes.Buffer
	if err := json.Indent(&spaced, one, "", "  "); err != nil {
		t.Fatal(err)
	}
	w.emit(t, airflow, one)
	w.emit(t, airflow, one, spaced.Bytes(), one)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if done, err := w.Emit(t.Context(), airflow, []json.RawMessage{one, ran(2, "START", nil, nil)}); err != nil || done.Summary.Successful != 2 {
				t.Errorf("%+v, %v", done, err)
			}
		})
	}
	all.Wait()
	w.open(t)
	w.emit(t, airflow, one)
	if got := w.lineage(t, "clean"); got.Events != 2 || len(got.Edges) != 2 {
		t.Errorf("%d events and %d claims, and two events made two", got.Events, len(got.Edges))
	}
	if events, _, uses := w.room(t); events != 2 || uses != 2 {
		t.Errorf("%d events and %d datasets are counted as kept, and two are", events, uses)
	}
}

// TestNoAnswer has the record of the ending fail, as a kill between the store and the answer
// does: the caller hears of no success, tells again, and it counts once.
func TestNoAnswer(t *testing.T) {
	w := newWorld(t)
	w.fails.fail = 1
	one := ran(1, "COMPLETE", []string{"raw"}, []string{"clean"})
	if _, err := w.Emit(t.Context(), airflow, []json.RawMessage{one}); err == nil {
		t.Fatal("what was not recorded was answered")
	}
	w.open(t)
	w.emit(t, airflow, one)
	if got := w.lineage(t, "clean"); got.Events != 1 {
		t.Errorf("%d events, and it was one", got.Events)
	}
}

// TestEachTellerHasTheirClaims has somebody else tell of a run, with earlier and later times
// and the same words: the run stays with who told first, and both claims are there.
func TestEachTellerHasTheirClaims(t *testing.T) {
	w := newWorld(t)
	w.emit(t, airflow, ranAt(1, "COMPLETE", "2026-11-27T10:00:00Z", []string{"raw " + aRoot}, []string{"clean"}))
	stranger := teller("stranger")
	w.emit(t, stranger,
		ranAt(1, "START", "0001-01-01T00:00:00Z", []string{"innocent"}, nil),
		ranAt(1, "ABORT", "9999-12-31T23:59:59Z", nil, nil),
		ranAt(1, "COMPLETE", "2026-11-27T10:00:00Z", []string{"raw " + aRoot}, []string{"clean"}))
	got := w.lineage(t, "clean")
	by := map[string]int{}
	for _, e := range got.Edges {
		by[e.Claim.By.ID]++
	}
	if fmt.Sprint(by) != "map[airflow:2 stranger:3]" || got.Events != 4 {
		t.Errorf("claims by %v in %d events", by, got.Events)
	}
	for _, n := range got.Nodes {
		if r := n.Run; r != nil && (r.By != airflow.Name() || r.State != "COMPLETE" || r.Others != 1 || r.Begun.Year() != 2026) {
			t.Errorf("the run is %+v", r)
		}
	}
	seen, err := w.Exposed(t.Context(), analyst, lineage.Search{Roots: []string{aRoot}})
	if err != nil || len(seen.Runs) != 1 || seen.Runs[0].Sure != lineage.Claimed {
		t.Errorf("%+v, %v", seen, err)
	}
}

// TestReordered tells of an ending before the beginning, by clocks that are years apart.
func TestReordered(t *testing.T) {
	w := newWorld(t)
	w.emit(t, airflow, ranAt(1, "COMPLETE", "2031-01-01T00:00:01Z", nil, []string{"clean"}))
	w.emit(t, airflow, ranAt(1, "START", "2031-01-01T00:00:00Z", []string{"raw"}, nil), ranAt(2, "FAIL", "1970-01-01T00:00:00Z", []string{"clean"}, nil))
	got := w.lineage(t, "clean")
	states := ""
	for _, n := range got.Nodes {
		if n.Run != nil {
			states += n.Run.State + " "
		}
	}
	if len(got.Edges) != 3 || states != "COMPLETE FAIL " {
		t.Errorf("%d claims, runs %s", len(got.Edges), states)
	}
}

// TestTenantsAreApart has two tenants tell of datasets and runs of the same names.
func TestTenantsAreApart(t *testing.T) {
	w := newWorld(t)
	theirs, their := teller("airflow"), analyst
	theirs.Tenant, their.Tenant = "acme", "acme"
	w.emit(t, airflow, ran(1, "COMPLETE", []string{"raw"}, []string{"ours"}))
	w.emit(t, theirs, ran(1, "FAIL", []string{"raw"}, []string{"theirs"}))
	if got := w.lineage(t, ""); got.Events != 1 || len(got.Datasets) != 2 || got.Datasets[0].Name != "ours" {
		t.Errorf("%+v", got.Datasets)
	}
	got, err := w.Lineage(t.Context(), their, lineage.Question{Dataset: "raw"})
	if err != nil || len(got.Nodes) != 3 || got.Events != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.Lineage(t.Context(), their, lineage.Question{Dataset: "ours"}); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("another tenant's dataset: %v", err)
	}
}

// TestWhoMay refuses who may only tell to ask, and who may only ask to tell.
func TestWhoMay(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Emit(t.Context(), analyst, []json.RawMessage{ran(1, "START", nil, nil)}); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("tell: %v", err)
	}
	if _, err := w.Lineage(t.Context(), airflow, lineage.Question{}); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("ask: %v", err)
	}
	if _, err := w.Exposed(t.Context(), airflow, lineage.Search{Roots: []string{aRoot}}); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("ask who saw: %v", err)
	}
}

// TestRefuted tells of a state that there never was: it is kept, refuted, and a finding, and
// told again it is none.
func TestRefuted(t *testing.T) {
	raw := lineage.Dataset{Namespace: "lake", Name: "raw"}
	w := newWorld(t, with(&kept{seals: []lineage.Seal{{Dataset: raw, Root: aRoot}}}))
	lie := ran(1, "COMPLETE", []string{"raw " + bRoot, "other " + bRoot}, nil)
	w.emit(t, airflow, ran(2, "COMPLETE", []string{"raw " + aRoot, "raw"}, nil), lie)
	w.emit(t, airflow, lie)
	notes := w.notes(KindRefuted)
	if len(notes) != 1 {
		t.Fatalf("%d findings", len(notes))
	}
	f, worth := siem.Worth(7, &notes[0])
	if !worth || f.Severity != siem.Medium || f.Who != airflow.Name() || !strings.Contains(f.Summary, "local/workload/airflow says that run "+runID(1)+" used a state of lake raw") || strings.Contains(f.Title, "finding of") {
		t.Errorf("%+v", f)
	}
	standings := map[lineage.Standing]int{}
	got := w.lineage(t, "raw")
	for _, e := range got.Edges {
		standings[e.Standing]++
	}
	if got.Refuted != 1 || fmt.Sprint(standings) != "map[refuted:1 sealed:1 unsealed:1]" || got.Note != "events are kept for 400 days, the first of these since 2026-11-27" {
		t.Errorf("%v, %q", standings, got.Note)
	}
	seen, err := w.Exposed(t.Context(), analyst, lineage.Search{Roots: []string{aRoot}})
	if err != nil || len(seen.Runs) != 2 || seen.Runs[0].Sure != lineage.Proven || seen.Runs[1].Sure != lineage.Possible {
		t.Errorf("%+v, %v", seen, err)
	}
}

// TestLongestRecords tells of as many events as a batch has, each of which is refuted, with the
// longest of names, of letters that take the most room: it is all recorded, and kept.
func TestLongestRecords(t *testing.T) {
	long := lineage.Dataset{Namespace: "lake", Name: strings.Repeat("<", 2048)}
	w := newWorld(t, with(&kept{seals: []lineage.Seal{{Dataset: long, Root: aRoot}, {Dataset: lineage.Dataset{Namespace: strings.Repeat("&", 2048), Name: long.Name}, Root: bRoot}}}))
	var events []json.RawMessage
	for n := range maxEvents {
		events = append(events, ran(n, "COMPLETE", []string{long.Name + " " + bRoot}, nil))
	}
	w.emit(t, airflow, events...)
	if notes := w.notes(KindRefuted); len(notes) != 1 || !strings.Contains(string(notes[0].Detail), `"refuted":500`) {
		t.Errorf("%d findings", len(notes))
	}
	if got := w.lineage(t, long.Name); got.Events != maxEvents || got.Refuted != maxEvents {
		t.Errorf("%d events, %d refuted", got.Events, got.Refuted)
	}
	if _, err := w.Exposed(t.Context(), analyst, lineage.Search{Roots: slices.Repeat([]string{aRoot}, 64)}); err != nil {
		t.Error(err)
	}
}

// TestSealsAway refuses events while the seals cannot be asked: a lie would be found by nobody.
func TestSealsAway(t *testing.T) {
	k := &kept{err: &pavise.Error{Kind: pavise.Unavailable, Msg: "the seals are away"}}
	w := newWorld(t, with(k))
	one := ran(1, "COMPLETE", []string{"raw " + bRoot}, nil)
	if _, err := w.Emit(t.Context(), airflow, []json.RawMessage{one}); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("%v", err)
	}
	k.err = nil
	w.emit(t, airflow, one)
}

// TestExposedByKeptSeals looks for a row in the seals that the installation keeps. No record
// has the row's digest, by which others could be guessed.
func TestExposedByKeptSeals(t *testing.T) {
	raw := lineage.Dataset{Namespace: "lake", Name: "raw"}
	k := &kept{
		seals:    []lineage.Seal{{Dataset: raw, Root: aRoot}},
		holdings: []lineage.Holding{{Seal: "raw of monday", Root: aRoot, Count: 2, Places: []lineage.Place{{File: "a.csv", Row: 3}}}},
	}
	w := newWorld(t, with(k))
	w.emit(t, airflow, ran(1, "COMPLETE", []string{"raw " + aRoot}, []string{"model"}))
	row := strings.Repeat("c3", 32)
	seen, err := w.Exposed(t.Context(), analyst, lineage.Search{Row: row})
	if err != nil || !seen.Found() || seen.Runs[0].Sure != lineage.Proven || !seen.Recorded || seen.Settle() != nil {
		t.Fatalf("%+v, %v", seen, err)
	}
	var out strings.Builder
	seen.Print(&out)
	if !strings.Contains(out.String(), "raw of monday has it in a.csv, row 3, and 2 times in all") {
		t.Error(out.String())
	}
	for _, r := range w.log.Records(0, w.log.Size()) {
		if text, _ := json.Marshal(r); bytes.Contains(text, []byte(row)) {
			t.Errorf("a record has the row's digest: %s", text)
		}
	}
	k.holdings = []lineage.Holding{{Seal: "raw of monday", Root: aRoot, Unsure: "the index of monday is not here"}}
	seen, err = w.Exposed(t.Context(), analyst, lineage.Search{Row: row})
	if err != nil || seen.Found() || pavise.KindOf(seen.Settle()) != pavise.Unverified {
		t.Errorf("nothing found, and one seal is not looked into: %+v, %v", seen, err)
	}
	out.Reset()
	if seen.Print(&out); !strings.Contains(out.String(), "raw of monday cannot be looked into: the index of monday is not here") {
		t.Error(out.String())
	}
	w.emit(t, airflow, ran(2, "COMPLETE", []string{"raw"}, nil)) // while another content lay there
	k.holdings = []lineage.Holding{{Seal: "raw", Root: bRoot, Count: 1, Of: raw}}
	seen, err = w.Exposed(t.Context(), analyst, lineage.Search{Row: row})
	if err != nil || len(seen.Runs) != 1 || seen.Runs[0].Run.ID != runID(2) || seen.Runs[0].Sure != lineage.Possible {
		t.Errorf("what was found there, and is no version: %+v, %v", seen, err)
	}
	k.holdings = nil
	if seen, err = w.Exposed(t.Context(), analyst, lineage.Search{Row: row}); err != nil || seen.Found() || seen.Settle() != nil {
		t.Errorf("no seal has it: %+v, %v", seen, err)
	}
	k.seals = nil
	if seen, err = w.Exposed(t.Context(), analyst, lineage.Search{Row: row}); err != nil || seen.Settle() == nil {
		t.Errorf("no seal: %+v, %v", seen, err)
	}
}

// TestNoSealsIsSaid asks where the installation keeps none: the question's own count, and the
// answer says so.
func TestNoSealsIsSaid(t *testing.T) {
	w := newWorld(t)
	seen, err := w.Exposed(t.Context(), analyst, lineage.Search{Roots: []string{aRoot}})
	if err != nil || pavise.KindOf(seen.Settle()) != pavise.Unverified || !strings.Contains(seen.Settle().Error(), "nobody has told of any run here") {
		t.Errorf("before anybody told of anything: %+v, %v", seen, err)
	}
	w.emit(t, airflow, ran(1, "COMPLETE", []string{"raw " + aRoot}, nil), ran(2, "COMPLETE", []string{"raw " + bRoot}, nil))
	if got := w.lineage(t, "raw"); got.Edges[0].Standing != lineage.Unknown || !strings.HasPrefix(got.Note, noSeals) {
		t.Errorf("%+v", got)
	}
	own := lineage.Named{Dataset: "lake/raw", Root: aRoot}
	if got := w.lineage(t, "raw", own); got.Refuted != 1 {
		t.Errorf("with a seal of the question: %+v", got.Edges)
	}
	if got := w.lineage(t, "raw"); got.Refuted != 0 {
		t.Error("the seal of another's question is kept")
	}
	for name, s := range map[string]lineage.Search{
		"nothing": {}, "both": {Roots: []string{aRoot}, Row: aRoot}, "no root": {Roots: []string{"a"}}, "no digest": {Row: "a"},
		"no root of a seal": {Roots: []string{aRoot}, Seals: []lineage.Named{{Root: "x"}}},
	} {
		if name == "no digest" {
			w.cfg.Seals = &kept{}
			w.open(t)
		}
		if _, err := w.Exposed(t.Context(), analyst, s); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		w.cfg.Seals = nil
		w.open(t)
	}
	if _, err := w.Exposed(t.Context(), analyst, lineage.Search{Row: aRoot}); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("a row where no seals are kept: %v", err)
	}
	if _, err := w.Lineage(t.Context(), analyst, lineage.Question{Dataset: "raw", Seals: []lineage.Named{{Dataset: "no/such", Root: aRoot}}}); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("a seal of a dataset that nobody names: %v", err)
	}
}

// TestFull has one teller fill their half, in each way: what comes then is turned away and
// counted, others have room, and nothing that was kept is gone.
func TestFull(t *testing.T) {
	size := int64(len(ran(1, "START", []string{"raw"}, []string{"clean"})))
	for name, b := range map[string]Bounds{
		"events":   {Events: 6, Bytes: 1 << 20, Uses: 100},
		"bytes":    {Events: 100, Bytes: 6*size + 10, Uses: 100},
		"datasets": {Events: 100, Bytes: 1 << 20, Uses: 12},
	} {
		b.Age = time.Hour
		w := newWorld(t, func(c *Config) { c.Bounds = b })
		var events []json.RawMessage
		for n := range 5 {
			events = append(events, ran(n, "START", []string{"raw"}, []string{"clean"}))
		}
		done, err := w.Emit(t.Context(), airflow, events)
		if err != nil || done.Summary != (Summary{Received: 5, Successful: 3, Failed: 2, Retriable: 2}) || done.Status != "partial_success" || done.Failed[0].Index != 3 {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
		w.emit(t, airflow, events[:3]...) // known, and there is no need of room
		w.emit(t, teller("spark"), events[3])
		seen, err := w.Exposed(t.Context(), analyst, lineage.Search{Roots: []string{aRoot}})
		if err != nil || len(seen.Unsure) != 1 || !strings.Contains(seen.Unsure[0], "2 events were turned away") || seen.Events != 4 {
			t.Errorf("%s: %+v, %v", name, seen, err)
		}
	}
}

// TestOldEventsEnd ends events by age, counts them, and has their graph forget them.
func TestOldEventsEnd(t *testing.T) {
	w := newWorld(t)
	w.emit(t, airflow, ran(1, "COMPLETE", []string{"old"}, []string{"clean"}))
	w.lineage(t, "old")
	w.wait(300 * 24 * time.Hour)
	w.emit(t, airflow, ran(2, "COMPLETE", []string{"young"}, []string{"clean"}))
	w.wait(101 * 24 * time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	for range 2000 {
		if got := w.lineage(t, ""); got.Events == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if _, err := w.Lineage(t.Context(), analyst, lineage.Question{Dataset: "old"}); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("an old dataset: %v", err)
	}
	got := w.lineage(t, "young")
	if got.Events != 1 || !strings.HasSuffix(got.Note, "since 2027-09-23; 1 older ones ended") {
		t.Errorf("%+v", got.Note)
	}
	seen, err := w.Exposed(t.Context(), analyst, lineage.Search{Roots: []string{aRoot}})
	if err != nil || len(seen.Unsure) != 1 || !strings.Contains(seen.Unsure[0], "1 events were too old") {
		t.Errorf("%+v, %v", seen, err)
	}
	if events, bytes, uses := w.room(t); events != 1 || uses != 2 || bytes != int64(len(ran(2, "COMPLETE", []string{"young"}, []string{"clean"}))) {
		t.Errorf("%d events of %d bytes and %d datasets take room, and one is kept", events, bytes, uses)
	}
	w.emit(t, airflow, ran(1, "COMPLETE", []string{"old"}, []string{"clean"})) // told again, it is new
	if got := w.lineage(t, "old"); got.Events != 2 {
		t.Errorf("%d events", got.Events)
	}
}

// TestReadBeforeItIsAsked has the next process make the graph of what is kept, in parts, before
// anybody asks.
func TestReadBeforeItIsAsked(t *testing.T) {
	w := newWorld(t)
	const parts = 3
	for n := range parts {
		var events []json.RawMessage
		for m := range maxEvents {
			events = append(events, ran(n*maxEvents+m, "START", []string{"raw"}, nil))
		}
		w.emit(t, airflow, events...)
	}
	w.open(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	made := func() bool {
		w.Claims.mu.Lock()
		defer w.Claims.mu.Unlock()
		made := w.graphs["local"]
		return made != nil && made.reading.Events == parts*maxEvents
	}
	for range 2000 {
		if made() {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if !made() {
		t.Error("nothing was read")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestChangedStore changes an event where it is kept: it counts as none, and is told.
func TestChangedStore(t *testing.T) {
	w := newWorld(t)
	w.emit(t, airflow, ran(1, "COMPLETE", []string{"raw"}, []string{"clean"}), ran(2, "COMPLETE", []string{"raw"}, []string{"clean"}))
	err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE openlineage_events SET text = ? WHERE number = 1`, []byte(ran(1, "COMPLETE", []string{"innocent"}, []string{"clean"})))
		return errors.Join(err, err)
	})
	if err != nil {
		t.Fatal(err)
	}
	got := w.lineage(t, "clean")
	if got.Events != 1 || got.Refused != 1 || len(got.Unread) != 1 || !strings.Contains(got.Unread[0].Why, "was changed") {
		t.Errorf("%+v", got.Reading)
	}
	if seen, err := w.Exposed(t.Context(), analyst, lineage.Search{Roots: []string{aRoot}}); err != nil || len(seen.Unsure) != 1 {
		t.Errorf("%+v, %v", seen, err)
	}
}

// TestRecords looks at what the records say: who told of which events, before they were kept.
func TestRecords(t *testing.T) {
	w := newWorld(t)
	w.emit(t, airflow, ran(1, "START", []string{"raw"}, nil))
	w.emit(t, airflow, ran(1, "START", []string{"raw"}, nil))
	var digest []byte
	var index int64
	err := w.cfg.Store.View(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT digest, record FROM openlineage_events`).Scan(&digest, &index)
	})
	if err != nil {
		t.Fatal(err)
	}
	endings := []string{fmt.Sprintf(`{"events":1,"sha256":["%x"]}`, digest), `{"events":1,"known":1}`}
	for i, r := range w.log.Records(0, w.log.Size()) {
		switch {
		case r.Phase == record.Enter && len(endings) == 2 && (i != uint64(index) || r.Who.Name() != airflow.Name() || r.Kind != VerbEmit):
			t.Errorf("the event names record %d, and the question is %d: %+v", index, i, r)
		case r.Phase == record.Exit:
			if string(r.Detail) != endings[0] {
				t.Errorf("an ending says %s, and not %s", r.Detail, endings[0])
			}
			endings = endings[1:]
		}
	}
}
