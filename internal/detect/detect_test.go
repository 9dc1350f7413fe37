package detect

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

var (
	caller = pavise.Name{Tenant: "local", Kind: "workload", ID: "app"}
	model  = pavise.Name{Tenant: "local", Kind: "model", ID: "m"}
)

// request is one of so many rows of two inputs, a text between them, and its answer.
func request(rows int) (*tensor.Request, *tensor.Response) {
	r := &tensor.Request{Inputs: []tensor.Tensor{
		{Name: "a", Datatype: tensor.FP32, Shape: []int64{int64(rows), 2}},
		{Name: "t", Datatype: tensor.Bytes, Shape: []int64{int64(rows)}},
		{Name: "b", Datatype: tensor.Int64, Shape: []int64{int64(rows)}},
	}}
	a := &tensor.Response{Outputs: []tensor.Tensor{{Name: "s", Datatype: tensor.Uint8, Shape: []int64{int64(rows)}}}}
	for i := range rows {
		r.Inputs[0].Data.Floats = append(r.Inputs[0].Data.Floats, float64(i), float64(i)+0.5)
		r.Inputs[1].Data.Bytes = append(r.Inputs[1].Data.Bytes, []byte("text"))
		r.Inputs[2].Data.Ints = append(r.Inputs[2].Data.Ints, int64(-i))
		a.Outputs[0].Data.Uints = append(a.Outputs[0].Data.Uints, uint64(10+i))
	}
	return r, a
}

// taker is a detector that keeps what it sees.
type taker struct {
	seen []Observation
	say  string
	took time.Duration // by the clock
}

func (*taker) Name() string { return "taker" }

func (t *taker) See(o *Observation) string {
	time.Sleep(t.took)
	o2 := *o
	o2.Values, o2.Scores = slices.Clone(o.Values), slices.Clone(o.Scores)
	t.seen = append(t.seen, o2)
	return t.say
}

// TestObservations finds rows and scores as they were, though the exchange's memory is
// used again meanwhile, and what the detector says in a note.
func TestObservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &taker{say: "it looks around"}
		var noted []pavise.Finding
		q := NewQueue(func(_ context.Context, f pavise.Finding, detector string) {
			if f.Kind == KindSuspected && detector != "taker" {
				t.Errorf("detector %q", detector)
			}
			noted = append(noted, f)
		}, []Detector{d})
		ctx, stop := context.WithCancel(t.Context())
		go q.Run(ctx)
		at := time.Unix(1e9, 0).UTC()
		for range 3 {
			r, a := request(2)
			q.Hear(at, caller, model, r, a)
			clear(r.Inputs[0].Data.Floats)
			clear(a.Outputs[0].Data.Uints)
			synctest.Wait()
		}
		q.Tell(pavise.Finding{Kind: "firewall.drifted"})
		synctest.Wait()
		stop()
		if len(d.seen) != 3 || len(noted) != 4 || q.Overlooked() != 0 || q.held.Load() != 0 {
			t.Fatalf("%d seen, %d noted, %d overlooked, %d held", len(d.seen), len(noted), q.Overlooked(), q.held.Load())
		}
		for _, o := range d.seen {
			if o.Rows != 2 || o.Who != caller || o.Model != model || !o.At.Equal(at) || !slices.Equal(o.Values, []float64{0, 0.5, 0, 1, 1.5, -1}) || !slices.Equal(o.Scores, []float64{10, 11}) {
				t.Errorf("%+v", o)
			}
		}
		if f := noted[0]; f.Kind != KindSuspected || f.Who != caller || f.On != model || f.Summary != d.say || f.Severity != pavise.Warning {
			t.Errorf("%+v", f)
		}
	})
}

// TestSlowDetector drops what it has no time for, counts it, and holds up nobody.
func TestSlowDetector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &taker{took: time.Minute}
		q := NewQueue(nil, []Detector{d})
		ctx, stop := context.WithCancel(t.Context())
		go q.Run(ctx)
		const n = 3 * seenWaiting
		began := time.Now()
		for range n {
			r, a := request(1)
			q.Hear(time.Now(), caller, model, r, a)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("callers waited %v", took)
		}
		time.Sleep(3 * 24 * time.Hour) // they look a minute at each, and rest for 31 behind it
		synctest.Wait()
		stop()
		if len(d.seen)+int(q.Overlooked()) != n || len(d.seen) < seenWaiting {
			t.Errorf("%d seen and %d overlooked of %d", len(d.seen), q.Overlooked(), n)
		}
	})
}

// TestBounds drops what is too large, one or all together, and looks at some rows of a
// request that has too many.
func TestBounds(t *testing.T) {
	q := NewQueue(nil, []Detector{&taker{}})
	r, a := request(1)
	r.Inputs[0].Data.Floats = make([]float64, seenElements)
	q.Hear(time.Time{}, caller, model, r, a)
	if len(q.queue) != 0 || q.Overlooked() != 1 || q.held.Load() != 0 {
		t.Errorf("one row of %d numbers waits", seenElements)
	}
	r, a = request(seenElements)
	q.Hear(time.Time{}, caller, model, r, a)
	o := <-q.queue
	first, n := int(o.Values[0]), seenElements/5
	if o.Rows != n || len(o.Values) != 3*n || len(o.Scores) != n || q.held.Load() != int64(5*n) {
		t.Fatalf("of a request of %d rows %d are looked at, with %d numbers and %d scores; %d are held", seenElements, o.Rows, len(o.Values), len(o.Scores), q.held.Load())
	}
	for i := range n {
		if at := float64(first + i); !slices.Equal(o.Values[3*i:3*i+3], []float64{at, at + 0.5, -at}) || o.Scores[i] != float64(10+first+i) {
			t.Fatalf("row %d is %v, answered %v", first+i, o.Values[3*i:3*i+3], o.Scores[i])
		}
	}
	q.free(o)
	r, a = request(seenElements / 5)
	for range 40 {
		q.Hear(time.Time{}, caller, model, r, a)
	}
	if held := q.held.Load(); held > seenHeld || len(q.queue) != seenHeld/int(seenElements/5*5) {
		t.Errorf("%d numbers wait in %d requests", held, len(q.queue))
	}
	for i := range 2 * tellWaiting {
		if taken := q.Tell(pavise.Finding{}); taken != (i < tellWaiting) {
			t.Errorf("finding %d is taken: %v", i, taken)
		}
	}
	none := NewQueue(nil, []Detector{})
	none.Hear(time.Time{}, caller, model, r, a)
	if len(none.queue) != 0 || none.Overlooked() != 0 {
		t.Error("a request waits for no detector")
	}
}

// TestRowsThatAreNone copies what no gate has looked at without harm.
func TestRowsThatAreNone(t *testing.T) {
	q := NewQueue(nil, []Detector{&taker{}})
	r, a := request(2)
	r.Inputs[2].Data.Ints = append(r.Inputs[2].Data.Ints, 1)
	q.Hear(time.Time{}, caller, model, r, a)
	if o := <-q.queue; !slices.Equal(o.Values, []float64{0, 0.5, 1, 1.5}) {
		t.Errorf("%v", o.Values)
	}
	q.Hear(time.Time{}, caller, model, &tensor.Request{}, a)
	if o := <-q.queue; len(o.Values)+len(o.Scores) != 0 {
		t.Errorf("%+v", o)
	}
}

// TestHouse has the bound say when somebody is told: late, early, or never.
func TestHouse(t *testing.T) {
	told := func(near int) (after int) {
		for _, d := range House(near) {
			for i := range 200 {
				o := &Observation{At: time.Unix(int64(i), 0), Who: pavise.Name{Tenant: "t", Kind: "workload", ID: "a"}, Model: pavise.Name{Tenant: "t", Kind: "model", ID: "m"}, Rows: 1}
				for j := range 16 { // seven rows of twelve are near to each other
					v := float64(j * 7)
					if i%12 >= 7 {
						v = float64((i*i*31 + j*j*977) % 1009)
					} else if j == i%7 {
						v += float64(i)
					}
					o.Values = append(o.Values, v)
				}
				if d.See(o) != "" {
					return i + 1
				}
			}
		}
		return 0
	}
	if len(House(-1)) != 0 || House(-1) == nil {
		t.Error("off is not off")
	}
	if early, usual, late := told(10), told(0), told(63); early == 0 || usual != 0 || late != 0 {
		t.Errorf("told after %d rows, %d and %d", early, usual, late)
	}
}

// TestMissedIsCounted counts by model what was dropped since it was last asked for: requests
// and findings; of more models than there is room for it counts the sum.
func TestMissedIsCounted(t *testing.T) {
	q := NewQueue(nil, []Detector{&taker{}})
	for range seenWaiting + 5 {
		r, a := request(1)
		q.Hear(time.Time{}, caller, model, r, a)
	}
	for range tellWaiting + 2 {
		q.Tell(pavise.Finding{Kind: "firewall.drifted", On: model})
	}
	if got, again := q.Missed(), q.Missed(); len(got) != 1 || got[model] != (Missed{5, 2}) || len(again) != 0 || q.Overlooked() != 5 {
		t.Errorf("%+v, and then %+v", got, again)
	}
	for i := range mostMissed + 7 {
		r, a := request(1)
		q.Hear(time.Time{}, caller, pavise.Name{Tenant: "t", Kind: "model", ID: fmt.Sprint(i)}, r, a)
	}
	if got := q.Missed(); len(got) != mostMissed+1 || got[pavise.Name{}].Requests != 7 {
		t.Errorf("%d models, and %+v beyond", len(got), got[pavise.Name{}])
	}
}
