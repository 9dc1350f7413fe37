// Package shadow asks a model what another one is asked, and says how far the two agree.
//
// A shadow gets a copy of a request when its caller has been answered and the record is
// written. Its own answer reaches nobody: it is compared with what the caller's model
// said, and counted. The caller never waits for it: copies that it is too slow for, and
// large ones, are dropped and counted as such, and a shadow on a server is asked on
// connections of its own. One that runs in this process takes of its processors.
//
// The package owns the queue of copies of each shadow, at most 32 MiB, and its tally
// since that was last taken.
package shadow

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/tensor"
)

const (
	waiting  = 64        // copies that wait for a shadow; more are dropped, and counted
	most     = 512 << 10 // of a copy, at eight for a number; a larger one is dropped, and counted
	patience = time.Minute
)

// How many copies a shadow is asked about at once. One that runs in this process computes
// where callers' models do, and so is asked about one.
const (
	OnServer = 2
	Here     = 1
)

// A Model is what a shadow asks. One that has a Close is closed at the end.
type Model interface {
	Infer(context.Context, *tensor.Request) (*tensor.Response, error)
}

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

// A Shadow is a model that gets a copy of what the model of a route is asked. What it
// says reaches nobody: it is compared, and counted.
type Shadow struct {
	model Model
	gate  firewall.Gate
	queue chan Copy
	stop  context.CancelFunc // ends the workers

	mu    sync.Mutex
	tally Tally // since the last note; guarded by mu
}

// A Copy is one exchange that a shadow is to be asked about.
type Copy struct {
	request *tensor.Request
	truth   *tensor.Response
}

// New starts a shadow, which ends with End, and its model with it. atOnce is how many copies
// it is asked about at once, and of and is what its tally says of both models.
func New(m Model, atOnce int, gate firewall.Gate, of, is string) *Shadow {
	ctx, stop := context.WithCancel(context.Background())
	s := &Shadow{model: m, gate: gate, queue: make(chan Copy, waiting), stop: stop, tally: Tally{Model: of, Shadow: is}}
	for range atOnce {
		go s.work(ctx)
	}
	return s
}

// End stops asking a shadow, which may be nil, and lets go of its model's server.
func (s *Shadow) End() {
	if s != nil {
		s.stop()
		if m, ok := s.model.(interface{ Close() }); ok {
			m.Close()
		}
	}
}

// work asks the shadow until ctx is done.
func (s *Shadow) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-s.queue:
			s.ask(ctx, x)
		}
	}
}

// Copy returns a copy of an exchange, which shares no memory with it; nil when the shadow
// has too many already, or this one is too large, which is counted.
func (s *Shadow) Copy(request *tensor.Request, truth *tensor.Response) *Copy {
	if len(s.queue) == cap(s.queue) || weigh(request.Inputs)+weigh(truth.Outputs) > most {
		s.drop()
		return nil
	}
	return &Copy{
		&tensor.Request{ID: request.ID, Inputs: copied(request.Inputs), Outputs: slices.Clone(request.Outputs)},
		&tensor.Response{ID: truth.ID, Outputs: copied(truth.Outputs)},
	}
}

// Hear gives the shadow a copy of an exchange whose record is written, unless it has too
// many already. It never waits: the caller whose request it was gets the answer
// meanwhile. Nil is no copy.
func (s *Shadow) Hear(x *Copy) {
	if x == nil {
		return
	}
	select {
	case s.queue <- *x:
	default:
		s.drop()
	}
}

// drop counts an exchange that the shadow does not hear of.
func (s *Shadow) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.Dropped++
}

// weigh is how many bytes a copy of tensors takes, about.
func weigh(list []tensor.Tensor) (n int) {
	for i := range list {
		n += 8 * list[i].Len()
		for _, b := range list[i].Data.Bytes {
			n += 24 + len(b)
		}
	}
	return n
}

// copied share no memory with those of an exchange that is under way, which is
// used again when that ends.
func copied(list []tensor.Tensor) []tensor.Tensor {
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
func (s *Shadow) ask(ctx context.Context, x Copy) {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := s.infer(within, x.request)
	if ctx.Err() != nil {
		return // the route has ended, and that is no fault of the shadow's
	}
	if err == nil {
		if v := s.gate.CheckAnswer(x.request, answer); v.Outcome == pavise.Deny {
			err = &pavise.Error{Kind: pavise.Unavailable, Msg: v.Reason}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.tally.Failed++
		s.tally.LastFault = fault(err)
		return
	}
	same, furthest := compare(x.truth, answer, x.request.Rows())
	s.tally.Asked++
	s.tally.Rows += x.request.Rows()
	s.tally.Same += same
	s.tally.Furthest = max(s.tally.Furthest, furthest)
}

// infer asks the model. One that breaks over what callers sent has no answer: it takes
// nothing else with it.
func (s *Shadow) infer(ctx context.Context, r *tensor.Request) (answer *tensor.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &pavise.Error{Kind: pavise.Internal, Msg: "it broke over what it was asked", Err: fmt.Errorf("panic: %v", p)}
		}
	}()
	return s.model.Infer(ctx, r)
}

// fault is what may be told of an error.
func fault(err error) string {
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		return e.Msg
	}
	return "internal error"
}

// Take returns the tally since it was last taken, and whether there is anything in it.
func (s *Shadow) Take() (Tally, bool) {
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
			if at < 0 || p.Datatype != b.Outputs[at].Datatype || p.Len() != b.Outputs[at].Len() {
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
			furthest = max(furthest, min(math.Abs(x[i]-y[i]), math.MaxFloat64)) // JSON has no infinity
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
