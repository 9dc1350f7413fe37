package gateway

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/tensor"
)

// KindShadowed is the kind of the note that says how a shadow did, once a minute while
// it is asked.
const KindShadowed = "route.shadowed"

const (
	shadowWaiting  = 64       // copies that wait for a shadow; more are dropped, and counted
	shadowElements = 64 << 10 // elements of a copy; a larger request is dropped, and counted
	shadowWorkers  = 2        // copies that a shadow is asked about at once
	shadowTime     = time.Minute
)

// A Tally is how a shadow did beside the model whose callers it heard.
type Tally struct {
	Model     string  `json:"model"`             // whose answers the callers got
	Shadow    string  `json:"shadow"`            // the shadow's digest, or its name at an address
	Asked     int     `json:"asked"`             // requests of which it got a copy and answered
	Rows      int     `json:"rows"`              // of them
	Same      int     `json:"same"`              // rows whose largest score, or whole answer, was the same one
	Furthest  float64 `json:"furthest"`          // the largest difference of a score
	Failed    int     `json:"failed,omitempty"`  // requests that it did not answer as the signature promises
	Dropped   int     `json:"dropped,omitempty"` // requests that it never got: it was too slow, or they too large
	LastFault string  `json:"last_fault,omitempty"`
}

// A shadow is a model that gets a copy of what the model of a route is asked. What it
// says reaches nobody: it is compared, and counted.
type shadow struct {
	model model
	gate  firewall.Gate
	queue chan shadowed
	stop  context.CancelFunc

	mu    sync.Mutex
	tally Tally // since the last note; guarded by mu
}

// shadowed is one exchange that a shadow is to be asked about.
type shadowed struct {
	request *tensor.Request
	truth   *tensor.Response
}

// newShadow starts a shadow, which ends with stop.
func newShadow(m model, gate firewall.Gate, of, is string) *shadow {
	ctx, stop := context.WithCancel(context.Background())
	s := &shadow{model: m, gate: gate, queue: make(chan shadowed, shadowWaiting), stop: stop, tally: Tally{Model: of, Shadow: is}}
	for range shadowWorkers {
		go s.work(ctx)
	}
	return s
}

// work asks the shadow until ctx is done.
func (s *shadow) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-s.queue:
			s.ask(ctx, x)
		}
	}
}

// hear gives the shadow a copy of an exchange, unless it has too many already. It never
// waits: the caller whose request it was gets the answer meanwhile.
func (s *shadow) hear(request *tensor.Request, truth *tensor.Response) {
	elements := 0
	for i := range request.Inputs {
		elements += request.Inputs[i].Len()
	}
	if elements <= shadowElements && len(s.queue) < cap(s.queue) {
		select {
		case s.queue <- copied(request, truth):
			return
		default:
		}
	}
	s.mu.Lock()
	s.tally.Dropped++
	s.mu.Unlock()
}

// copied is an exchange that shares no memory with the one that is under way, which is
// used again when that ends.
func copied(request *tensor.Request, truth *tensor.Response) shadowed {
	return shadowed{
		&tensor.Request{ID: request.ID, Inputs: copiedTensors(request.Inputs), Outputs: slices.Clone(request.Outputs)},
		&tensor.Response{ID: truth.ID, Outputs: copiedTensors(truth.Outputs)},
	}
}

func copiedTensors(list []tensor.Tensor) []tensor.Tensor {
	out := slices.Clone(list)
	for i := range out {
		t := &out[i]
		t.Shape = slices.Clone(t.Shape)
		t.Data = tensor.Data{
			Bools: slices.Clone(t.Data.Bools), Uints: slices.Clone(t.Data.Uints), Ints: slices.Clone(t.Data.Ints),
			Floats: slices.Clone(t.Data.Floats), Bytes: slices.Clone(t.Data.Bytes),
		}
		for j, b := range t.Data.Bytes {
			t.Data.Bytes[j] = slices.Clone(b)
		}
	}
	return out
}

// ask asks the shadow what its model was asked, and compares.
func (s *shadow) ask(ctx context.Context, x shadowed) {
	ctx, cancel := context.WithTimeout(ctx, shadowTime)
	defer cancel()
	answer, err := s.model.Infer(ctx, x.request)
	if err == nil {
		if v := s.gate.CheckAnswer(x.request, answer); v.Outcome == pavise.Deny {
			err = &pavise.Error{Kind: pavise.Unavailable, Msg: v.Reason}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.tally.Failed++
		s.tally.LastFault, _ = Message(err)
		return
	}
	same, furthest := compare(x.truth, answer, x.request.Rows())
	s.tally.Asked++
	s.tally.Rows += x.request.Rows()
	s.tally.Same += same
	s.tally.Furthest = max(s.tally.Furthest, furthest)
}

// take returns the tally since it was last taken, and whether there is anything in it.
func (s *shadow) take() (Tally, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tally
	s.tally = Tally{Model: t.Model, Shadow: t.Shadow}
	return t, t != s.tally
}

// compare says in how many of the rows two answers of one form agree, and how far their
// scores are apart at most. Rows of scores agree when the same one is the largest; other
// rows when they are equal.
func compare(a, b *tensor.Response, rows int) (same int, furthest float64) {
	for row := range rows {
		agree := true
		for i := range a.Outputs {
			p := &a.Outputs[i]
			at := slices.IndexFunc(b.Outputs, func(t tensor.Tensor) bool { return t.Name == p.Name })
			if at < 0 || p.Len() != b.Outputs[at].Len() {
				agree = false
				continue
			}
			alike, far := compareRow(p, &b.Outputs[at], row, p.Len()/rows)
			agree, furthest = agree && alike, max(furthest, far)
		}
		if agree {
			same++
		}
	}
	return same, furthest
}

// compareRow compares one row, of so many elements, of two tensors of one form.
func compareRow(a, b *tensor.Tensor, row, n int) (alike bool, furthest float64) {
	from, to := row*n, (row+1)*n
	switch a.Datatype.Family() {
	case tensor.Floating:
		x, y := a.Data.Floats[from:to], b.Data.Floats[from:to]
		for i := range x {
			furthest = max(furthest, math.Abs(x[i]-y[i]))
		}
		if n < 2 {
			return furthest == 0, furthest
		}
		return largest(x) == largest(y), furthest
	case tensor.Boolean:
		return slices.Equal(a.Data.Bools[from:to], b.Data.Bools[from:to]), 0
	case tensor.Unsigned:
		return slices.Equal(a.Data.Uints[from:to], b.Data.Uints[from:to]), 0
	case tensor.Signed:
		return slices.Equal(a.Data.Ints[from:to], b.Data.Ints[from:to]), 0
	}
	return slices.EqualFunc(a.Data.Bytes[from:to], b.Data.Bytes[from:to], slices.Equal[[]byte]), 0
}

// largest returns the place of the first of the largest.
func largest(x []float64) int {
	at := 0
	for i, v := range x {
		if v > x[at] {
			at = i
		}
	}
	return at
}
