package gateway

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
)

// A slow model answers, or fails, after a time.
type slow struct {
	model route.Predictor
	takes time.Duration
	fails bool
}

func (s *slow) Infer(ctx context.Context, r *tensor.Request) (*tensor.Response, error) {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.fails {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "away"}
	}
	return s.model.Infer(ctx, r)
}

// onLadder is a world whose model is slow, and whose route has a ladder.
func onLadder(t *testing.T, ladder string) (*world, *slow) {
	w := newWorld(t, t.TempDir())
	if _, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: theModel.String(), ONNX: softmaxModel(), Ladder: ladder}); err != nil {
		t.Fatal(err)
	}
	live, err := w.Routes.Find(theModel)
	if err != nil {
		t.Fatal(err)
	}
	model := &slow{model: live.Predictor}
	live.Predictor = model
	return w, model
}

// asking asks the model, and returns how long that took since the body was there.
func (w *world) asking(ctx context.Context, t *testing.T, body string) (time.Duration, error) {
	t.Helper()
	who := operator
	who.ID, who.Roles = "app", []string{"caller"}
	from := time.Now()
	answer, err := w.Infer(ctx, who, Call{Model: theModel, Protocol: tensor.OIP, Header: tensor.NoHeader, Body: strings.NewReader(body)})
	took := time.Since(from)
	if err == nil {
		answer.Free()
	}
	return took, err
}

// last is the newest record of an inference.
func (w *world) last(t *testing.T) record.Record {
	t.Helper()
	for i := w.log.Size(); i > 0; i-- {
		r, err := w.log.Read(i - 1)
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind == "model.infer" {
			return r
		}
	}
	t.Fatal("no inference was recorded")
	return record.Record{}
}

const row = `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.5,0.25]}]}`

// TestLadder holds answers and refusals in their place to the rungs, to the nanosecond. The
// record is written in the two milliseconds before.
func TestLadder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, model := onLadder(t, "20ms x2 to 200ms")
		for _, c := range []struct {
			takes, want time.Duration
			rung        string
			late        bool
		}{
			{0, 20 * time.Millisecond, "20ms", false}, {18 * time.Millisecond, 20 * time.Millisecond, "20ms", false}, {19 * time.Millisecond, 40 * time.Millisecond, "40ms", false},
			{21 * time.Millisecond, 40 * time.Millisecond, "40ms", false}, {78 * time.Millisecond, 80 * time.Millisecond, "80ms", false}, {80 * time.Millisecond, 160 * time.Millisecond, "160ms", false},
			{161 * time.Millisecond, 200 * time.Millisecond, "200ms", false}, {199 * time.Millisecond, 199 * time.Millisecond, "", true},
		} {
			for _, fails := range []bool{false, true} {
				model.takes, model.fails = c.takes, fails
				took, err := w.asking(t.Context(), t, row)
				if took != c.want || (err != nil) != fails {
					t.Errorf("after %v (fails: %v) it is answered after %v (%v), not %v", c.takes, fails, took, err, c.want)
				}
				var trail Trail
				r := w.last(t)
				if json.Unmarshal(r.Detail, &trail); trail.Rung != c.rung || trail.Late != c.late || r.Took < c.want-2*time.Millisecond {
					t.Errorf("the record says %s, and that it took %d", r.Detail, r.Took)
				}
			}
		}
	})
}

// TestWhatARecordTakesShowsNowhere has records of answers to one caller take longer to write
// than those to another: answers and refusals leave on the rung all the same, and what is not
// written by then a whole number of leads behind it.
func TestWhatARecordTakesShowsNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, model := onLadder(t, "20ms x2 to 200ms")
		for _, c := range []struct{ takes, want time.Duration }{
			{0, 20 * ms}, {50 * time.Microsecond, 20 * ms}, {1900 * time.Microsecond, 20 * ms}, {2 * ms, 20 * ms},
			{2*ms + 1, 22 * ms}, {3900 * time.Microsecond, 22 * ms}, {5 * ms, 24 * ms},
		} {
			w.takes = func(*record.Record) time.Duration { return c.takes }
			for _, fails := range []bool{false, true} {
				model.takes, model.fails = 10*ms, fails
				took, err := w.asking(t.Context(), t, row)
				if took != c.want || (err != nil) != fails {
					t.Errorf("with a record that takes %v (fails: %v) it is answered after %v (%v), not %v", c.takes, fails, took, err, c.want)
				}
			}
		}
	})
}

// TestLadderIsForAnswers refuses at once what never gets as far as the model, and counts
// from when the body was whole.
func TestLadderIsForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := onLadder(t, "1s..2s")
		if took, err := w.asking(t.Context(), t, `{"inputs":[]}`); took != 0 || pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("a bad request is refused after %v: %v", took, err)
		}
		from, who := time.Now(), operator
		who.Roles = []string{"caller"}
		slowly := iotest.OneByteReader(&dripping{strings.NewReader(row), 10 * time.Millisecond})
		answer, err := w.Infer(t.Context(), who, Call{Model: theModel, Protocol: tensor.OIP, Header: tensor.NoHeader, Body: slowly})
		if err != nil {
			t.Fatal(err)
		}
		answer.Free()
		read := time.Duration(len(row)) * 10 * time.Millisecond
		if took := time.Since(from) - read; took != time.Second {
			t.Errorf("behind the last byte it takes %v", took)
		}
	})
}

// dripping is a body that comes byte by byte.
type dripping struct {
	io.Reader
	each time.Duration
}

func (d *dripping) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if n > 0 {
		time.Sleep(d.each)
	}
	return n, err
}

// TestWhoWaitsHoldsTheAnswer looks at what is held while an answer waits, and has its
// caller leave: the wait ends, and the record is there.
func TestWhoWaitsHoldsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := onLadder(t, "1s")
		ctx, leave := context.WithCancel(t.Context())
		size := w.log.Size()
		done := make(chan time.Duration)
		go func() {
			took, _ := w.asking(ctx, t, row+strings.Repeat(" ", 50<<10))
			done <- took
		}()
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		if held, _ := w.bodies.Held(); held > 1<<10 {
			t.Errorf("%d bytes are held for an answer of about a hundred", held)
		}
		if w.log.Size() != size {
			t.Error("the record, which others can date, is written before the answer leaves")
		}
		leave()
		if took := <-done; took != 300*time.Millisecond {
			t.Errorf("who left is waited for until %v", took)
		}
		if r := w.last(t); r.Kind != "model.infer" || r.Error != nil {
			t.Errorf("the record is %+v", r)
		}
		if held, callers := w.bodies.Held(); held != 0 || callers != 0 {
			t.Errorf("%d bytes of %d callers are held afterwards", held, callers)
		}
	})
}

func TestLadderOfARoute(t *testing.T) {
	w, _ := onLadder(t, "50ms..2s")
	put := func(edit func(*route.Spec)) (route.Route, error) {
		spec := route.Spec{Name: theModel.String()}
		edit(&spec)
		placed, err := w.Routes.Put(t.Context(), operator, spec)
		return placed.Route, err
	}
	if r, err := put(func(s *route.Spec) { s.MaxRows = 7 }); err != nil || r.Ladder.String() != "50ms..2s" {
		t.Errorf("another put leaves the ladder %v (%v)", r.Ladder, err)
	}
	for _, bad := range []string{"fast", "0s..1s", "2s..1s", "1ms..1h"} {
		if _, err := put(func(s *route.Spec) { s.Ladder = bad }); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("ladder %q: %v", bad, err)
		}
	}
	if _, err := put(func(s *route.Spec) { s.Pace = "50ms" }); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a model of tensors has a pace: %v", err)
	}
	r, err := put(func(s *route.Spec) { s.Ladder = "none" })
	if text, _ := json.Marshal(r); err != nil || !r.Ladder.IsZero() || strings.Contains(string(text), "ladder") {
		t.Errorf("taken away it is %s (%v)", text, err)
	}
}
