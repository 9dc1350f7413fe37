package monitor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/tensor"
)

// TestUnseenInputsDowngradeNobody: outputs that move with a version are no proof against it where
// callers can shift something that no feature shows; the version before, asked the same, is.
func TestUnseenInputsDowngradeNobody(t *testing.T) {
	t.Parallel()
	for name, former := range map[string]func(float64) float64{"nobody can be asked": nil, "the version before is well": steady} {
		in(t, func(t *testing.T) {
			w := newWorld(t)
			n := 0
			w.word = func(int) string { n++; return fmt.Sprint("free text ", n) }
			w.learn()
			w.house.former = former
			w.version, w.model = "v2", worse
			w.windows(6)
			v := w.stands().Verdict
			if back := w.house.rolled(); former == nil && (len(back) > 0 || v.Cause != drift.Unclear) {
				t.Errorf("%s: %v was rolled back: %+v", name, back, v)
			} else if former != nil && len(back) != 1 {
				t.Errorf("%s: %v was rolled back: %+v", name, back, v)
			}
			if former == nil {
				contains(t, w.told().Summary, "somebody has to look")
			}
		})
	}
}

// TestLearningIsBounded: callers who send ever other texts fill no memory while a baseline is
// learnt.
func TestLearningIsBounded(t *testing.T) {
	t.Parallel()
	sig := &tensor.Signature{}
	for i := range 200 {
		sig.Inputs = append(sig.Inputs, tensor.Port{Name: fmt.Sprint("t", i), Datatype: tensor.Bytes, Shape: []int64{-1}})
	}
	l := newLayout(sig, func(string) [32]byte { return [32]byte{} })
	e := newLearning(l, 500)
	for row := range mostDistinct {
		for f := range l.titles {
			e.text(&e.parts[f], []byte(fmt.Sprintf("%d %d ", row, f)+strings.Repeat("x", 240)))
		}
	}
	bytes, kept := 0, 0
	for i := range e.parts {
		for text := range e.parts[i].texts {
			bytes, kept = bytes+len(text), kept+1
		}
	}
	if bytes > mostTexts || kept == 0 {
		t.Errorf("%d texts with %d bytes are kept", kept, bytes)
	}
	e.rows = mostDistinct
	for _, f := range e.baseline(l).Features {
		p, err := f.Feature()
		if err != nil {
			t.Fatal(err)
		}
		if n := p.Base.Rows(); n < mostDistinct*2/5 || n > mostDistinct*3/5 { // half of them made the bins
			t.Fatalf("of %d texts %d are counted", mostDistinct, n)
		}
	}
}

// TestKilledBehindAnOrder: the process dies behind the change that has a baseline be learnt: the
// next one learns it.
func TestKilledBehindAnOrder(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		w.stop()
		w.run() // nothing has come since the start
		if err := w.approved(Ask{Learn: 700}); err != nil {
			t.Fatal(err)
		}
		killed := w.stop
		w.run() // the next process, on what the first one has kept
		next := w.stop
		before := len(w.notes(KindLearned))
		w.windows(3)
		if got := len(w.notes(KindLearned)); got != before+1 {
			t.Errorf("learnt %d times", got-before)
		}
		next()
		killed()
	})
}
