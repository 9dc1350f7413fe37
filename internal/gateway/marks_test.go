package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/watermark"
)

// app is the caller that the world's token is of.
var app = pavise.Name{Tenant: tenant, Kind: "workload", ID: "app"}

// inTier has the caller stand so by an operator's word.
func (w *world) inTier(t *testing.T, who pavise.Name, as tier.Tier) {
	t.Helper()
	if _, err := w.Tiers.Hold(t.Context(), tier.Word{Model: theModel, Who: who, Tier: as, By: operator.Name(), Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
}

// exporting lets the operator export marks.
func exporting(t *testing.T, w *world) {
	t.Helper()
	all := guard.Defaults()
	all["test"] = `permit (principal, action == Action::"watermark.export", resource) when { principal.tenant == resource.tenant };`
	if err := w.guard.Load(tenant, all); err != nil {
		t.Fatal(err)
	}
}

// TestMarks has a caller in amber ask rows of a route whose answers are marked, and proves
// by what the log keeps that a copy of those answers is one. The key's commitment is in the
// log before the first mark, and each mark's digest in the record of its answer.
func TestMarks(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, func(s *route.Spec) {
		s.Alterable, s.Mark, s.Rate = new(true), "0.05", "100000/1s burst 100000"
	})
	exporting(t, w)
	if none, err := w.MarksOf(t.Context(), operator, theModel); err != nil || len(none) != 0 {
		t.Errorf("marks of nobody: %v", err)
	}
	w.inTier(t, app, tier.Amber)
	rng := rand.New(rand.NewPCG(1, 1))
	stolen := map[[2]float32][]float64{}
	const batch = 200
	ask := func() (altered bool) {
		rows := make([]float64, 2*batch)
		for i := range rows {
			rows[i] = float64(float32(rng.NormFloat64()))
		}
		data, _ := json.Marshal(rows)
		resp, text := w.post(t, fmt.Sprintf(`{"inputs":[{"name":"x","shape":[%d,2],"datatype":"FP32","data":%s}]}`, batch, data), nil)
		var answer struct{ Outputs []struct{ Data []float64 } }
		if err := json.Unmarshal([]byte(text), &answer); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
		for i := range batch {
			stolen[[2]float32{float32(rows[2*i]), float32(rows[2*i+1])}] = answer.Outputs[0].Data[3*i : 3*i+3]
		}
		return true
	}
	for range 4 {
		ask()
	}
	w.close()
	w = newWorld(t, dir) // the same key goes on after a restart
	exporting(t, w)
	for range 4 {
		ask()
	}
	all, err := w.MarksOf(t.Context(), operator, theModel)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d keys, %v", len(all), err)
	}
	key, err := watermark.ParseKey([]byte(all[0].Key))
	if err != nil {
		t.Fatal(err)
	}
	marks, err := watermark.ReadMarks(strings.NewReader(all[0].Marks))
	if err != nil || len(marks.Rows) != all[0].Rows || all[0].More || all[0].Erased != 0 {
		t.Fatalf("%d marks of %+v: %v", len(marks.Rows), all[0], err)
	}
	q, err := watermark.NewInquiry(key, 3, marks)
	if err != nil {
		t.Fatal(err)
	}
	marked := 0
	for _, m := range marks.Rows {
		scores := stolen[[2]float32{float32(m.Input[0]), float32(m.Input[1])}]
		if m.Marked != nil {
			marked++
		}
		if err := q.Answer(m.Input, watermark.Top(scores)); err != nil {
			t.Fatal(err)
		}
	}
	if report := q.Report(); report.Verdict != watermark.VerdictMarked || marked < 40 || marked > 130 {
		t.Errorf("%d marks of %d rows, and the copy is not found: %+v", marked, 8*batch, report)
	}
	committed, answers := 0, 0
	for _, r := range w.log.Records(0, w.log.Size()) {
		switch {
		case r.Kind == KindCommitted:
			if committed++; !strings.Contains(string(r.Detail), all[0].Commitment) || committed == 1 && answers > 0 {
				t.Errorf("after %d answers: %s", answers, r.Detail)
			}
		case r.Kind == "model.infer":
			var trail Trail
			if err := json.Unmarshal(r.Detail, &trail); err != nil || trail.Marks == "" || !trail.Altered || trail.Standing != "amber" {
				t.Errorf("%s: %v", r.Detail, err)
			}
			answers++
		}
	}
	if committed != 2 || answers != 8 {
		t.Errorf("%d commitments, %d answers", committed, answers)
	}
}

// TestGreenIsNeverMarked, nor is who is in amber where answers may not be altered, or where
// the route observes.
func TestGreenIsNeverMarked(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, func(s *route.Spec) { s.Alterable, s.Mark, s.Rate = new(true), "0.05", "100000/1m burst 100000" })
	body := func(i int) string {
		return fmt.Sprintf(`{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[%d,0.25]}]}`, i)
	}
	var want []string
	for i := range 100 {
		_, text := w.post(t, body(i), nil)
		want = append(want, text)
	}
	w.inTier(t, app, tier.Amber)
	for name, spec := range map[string]route.Spec{
		"observed": {Observe: new(true)}, "without consent": {Observe: new(false), Alterable: new(false), Mark: "none"},
	} {
		w.change(t, spec)
		for i := range 100 {
			if _, text := w.post(t, body(i), nil); strings.TrimRight(text, " ") != strings.TrimRight(want[i], " ") {
				t.Fatalf("%s: %s, and not %s", name, text, want[i])
			}
		}
	}
}

// TestNoMarkWithoutItsCommitment: where the log takes no note, answers are as they are.
func TestNoMarkWithoutItsCommitment(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, func(s *route.Spec) { s.Alterable, s.Mark = new(true), "0.05" })
	w.kek = nil
	if _, err := w.marking(context.Background(), theModel, 0.05); pavise.KindOf(err) != pavise.Invalid || len(w.markings) != 0 {
		t.Errorf("without a master secret: %v", err)
	}
}

// TestMarkingIsNotTriedByEveryRequest: once a key could not be had, requests are told so for
// some seconds without asking the store; then it is tried again. A caller who has gone away
// keeps nothing from being marked.
func TestMarkingIsNotTriedByEveryRequest(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put(t, func(s *route.Spec) { s.Alterable, s.Mark = new(true), "0.05" })
	now := time.Now()
	w.now = func() time.Time { return now }
	kek := w.kek
	gone, leave := context.WithCancel(t.Context())
	leave()
	w.kek = nil
	if _, err := w.marking(gone, theModel, 0.05); err == nil {
		t.Fatal("marked without a master secret")
	}
	w.kek = kek
	for _, step := range []struct {
		after time.Duration
		rate  float64
		taken bool
	}{
		{0, 0.05, false}, {markAgain - 1, 0.05, false}, {0, 0.01, true}, {1, 0.05, true}, {0, 0.05, true},
	} {
		now = now.Add(step.after)
		if m, err := w.marking(gone, theModel, step.rate); (err == nil) != step.taken || (m != nil) != step.taken {
			t.Errorf("%v later, at %v: %v", step.after, step.rate, err)
		}
	}
	if len(w.unmarked) != 0 {
		t.Errorf("%d failures are remembered", len(w.unmarked))
	}
}

// TestMarksWhosePartsAreCut cuts the log between the parts of a marked answer and its record: the
// answer is counted as one that is not here any more, and as nobody's who was erased.
func TestMarksWhosePartsAreCut(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.putWide(t, 8, 10, func(s *route.Spec) { s.Mark, s.Amber, s.Rate = "0.05", "budget", "100000/1s burst 100000" })
	exporting(t, w)
	w.inTier(t, app, tier.Amber)
	wide := func(seed uint64) Trail {
		resp, text := w.post(t, drawnRows(900, 8, seed), nil)
		if resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
		_, trail, _ := w.sealedOf(t, resp)
		return trail
	}
	wide(1) // so that what comes before a first mark is in the log
	for seed := uint64(100); w.log.Size() < 255; seed++ {
		if resp, text := w.post(t, drawnRows(1, 8, seed), nil); resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
	}
	if cut := wide(2); len(cut.Parts) < 2 || cut.Marks == "" || cut.Parts[0] != 255 {
		t.Fatalf("parts %d, marks %q", cut.Parts, cut.Marks)
	}
	for seed := range uint64(2) {
		wide(3 + seed)
	}
	if whole, err := w.MarksOf(t.Context(), operator, theModel); err != nil || len(whole) != 1 || whole[0].Unread != 0 {
		t.Fatalf("%+v, %v", whole, err)
	}
	if err := w.snapshotMeter(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.log.Prune(t.Context(), record.Pruning{Below: 256, Why: "test"}, nil); err != nil {
		t.Fatal(err)
	}
	if left, err := w.MarksOf(t.Context(), operator, theModel); err != nil || len(left) != 1 || left[0].Rows == 0 || left[0].Unread != 1 || left[0].Erased != 0 {
		t.Errorf("%+v, %v", left, err)
	}
}

// TestMarksOfAPrunedLog gives out what is left of marks when the oldest records were pruned: the
// marks of the rest, and no error.
func TestMarksOfAPrunedLog(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, func(s *route.Spec) { s.Alterable, s.Mark, s.Rate = new(true), "0.05", "100000/1s burst 100000" })
	exporting(t, w)
	w.inTier(t, app, tier.Amber)
	rng := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		var rows []float64
		for range 20 {
			rows = append(rows, float64(float32(rng.NormFloat64())))
		}
		data, _ := json.Marshal(rows)
		if resp, text := w.post(t, fmt.Sprintf(`{"inputs":[{"name":"x","shape":[10,2],"datatype":"FP32","data":%s}]}`, data), nil); resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
	}
	whole, err := w.MarksOf(t.Context(), operator, theModel)
	if err != nil || len(whole) != 1 {
		t.Fatal(err)
	}
	if err := w.snapshotMeter(t.Context()); err != nil { // what is pruned nobody needs any more
		t.Fatal(err)
	}
	if err := w.log.Prune(t.Context(), record.Pruning{Below: 256, Why: "test"}, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and after a restart
		left, err := w.MarksOf(t.Context(), operator, theModel)
		if err != nil || len(left) != 1 || left[0].Rows == 0 || left[0].Rows >= whole[0].Rows || left[0].Commitment != whole[0].Commitment {
			t.Fatalf("%d of %d marks are left: %v", left[0].Rows, whole[0].Rows, err)
		}
		key, err := watermark.ParseKey([]byte(left[0].Key))
		if err != nil {
			t.Fatal(err)
		}
		marks, err := watermark.ReadMarks(strings.NewReader(left[0].Marks))
		if err != nil || marks.Hold(key.Marker()) != nil {
			t.Errorf("what is left is no file of marks: %v", err)
		}
		w.close()
		w = newWorld(t, dir)
		exporting(t, w)
	}
}
