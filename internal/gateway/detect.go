package gateway

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/tensor"
)

// KindSuspected is the kind of the note that says what a detector suspects somebody of.
const KindSuspected = "firewall.suspected"

const (
	seenWaiting  = 64       // answered requests that wait for the detectors; more are dropped, and counted
	seenElements = 64 << 10 // numbers of one; a larger one is dropped, and counted
	seenHeld     = 1 << 20  // numbers of all that wait: 8 MiB
	seenKept     = 4 << 10  // numbers for which room is kept afterwards
	turnsWaiting = 64       // turns of drift that wait to be noted
)

// A Detector looks at what callers asked and were told, to find those who study a model
// rather than use it. One goroutine tells it of one answered request after another, once
// it has been answered: so a Detector needs no locks, changes no answer, and delays none.
// One that is slow misses requests, which are dropped and counted. It keeps bounded state,
// whoever calls and however often, and does not panic.
type Detector interface {
	// Name is one word, for the notes.
	Name() string
	// See is told of a request. It returns what a person should know of the caller, in
	// one sentence that holds nothing of what was asked, or "". It does not say the same
	// of one caller again and again: each is a record.
	See(*Observation) string
}

// An Observation is one answered request. Its slices are lent until See returns.
type Observation struct {
	At     time.Time
	Who    pavise.Name // the caller
	Model  pavise.Name
	Rows   int
	Values []float64 // what was asked: row after row, the numbers of all inputs in the order of the request
	Scores []float64 // what the model said, before it was shaped: row after row, the numbers of all outputs

	size int // against seenHeld
}

// suspects are what stands between exchanges and detectors, and writes down what those
// find.
type suspects struct {
	guard      *guard.Guard
	detectors  []Detector // used by run alone
	queue      chan *Observation
	turns      chan pavise.Finding
	held       atomic.Int64  // numbers in the queue
	overlooked atomic.Uint64 // requests that no detector saw
	spare      sync.Pool     // of *Observation
}

// newSuspects makes them; run has them look. Nil detectors are those of the house.
func newSuspects(g *guard.Guard, detectors []Detector) *suspects {
	if detectors == nil {
		var key [32]byte
		rand.Read(key[:])
		detectors = []Detector{nearDuplicates{firewall.NewDuplicates(key)}}
	}
	return &suspects{
		guard: g, detectors: detectors, queue: make(chan *Observation, seenWaiting), turns: make(chan pavise.Finding, turnsWaiting),
		spare: sync.Pool{New: func() any { return new(Observation) }},
	}
}

// hear puts a copy of an exchange in the queue, if it was answered and there is room. It
// never waits: the caller gets the answer meanwhile.
func (s *suspects) hear(x *Exchange, truth *tensor.Response, err error) {
	if err != nil || len(s.detectors) == 0 {
		return
	}
	size := int64(elements(x.request.Inputs) + elements(truth.Outputs))
	if size > seenElements || len(s.queue) == cap(s.queue) {
		s.overlooked.Add(1)
		return
	}
	if s.held.Add(size) > seenHeld {
		s.held.Add(-size)
		s.overlooked.Add(1)
		return
	}
	o, rows := s.spare.Get().(*Observation), x.request.Rows()
	*o = Observation{
		At: x.gateway.now(), Who: x.who.Name(), Model: x.call.Model, Rows: rows,
		Values: appendRows(o.Values[:0], x.request.Inputs, rows), Scores: appendRows(o.Scores[:0], truth.Outputs, rows), size: int(size),
	}
	select {
	case s.queue <- o:
	default:
		s.overlooked.Add(1)
		s.free(o)
	}
}

// turn notes that the inputs of a model have drifted, or are well again.
func (s *suspects) turn(model pavise.Name, reason string, drifted bool) {
	f := pavise.Finding{Kind: KindDrifted, Severity: pavise.Warning, On: model, Summary: reason, At: time.Now().UTC()}
	if !drifted {
		f.Severity, f.Summary = pavise.Info, "the rows of a whole window are like the baseline again"
	}
	select {
	case s.turns <- f:
	default: // the verdicts of the requests say it all the same
	}
}

// run has the detectors look, until ctx is done.
func (s *suspects) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-s.turns:
			s.note(ctx, f, "")
		case o := <-s.queue:
			for _, d := range s.detectors {
				if summary := d.See(o); summary != "" {
					s.note(ctx, pavise.Finding{Kind: KindSuspected, Severity: pavise.Warning, On: o.Model, Who: o.Who, Summary: summary, At: o.At.UTC()}, d.Name())
				}
			}
			s.free(o)
		}
	}
}

// note writes down a finding. One that cannot be written is lost with the log that
// takes nothing, and then nothing is answered either.
func (s *suspects) note(ctx context.Context, f pavise.Finding, detector string) {
	_ = s.guard.Note(ctx, f.Kind, nil, f.On, struct {
		Finding  pavise.Finding `json:"finding"`
		Detector string         `json:"detector,omitempty"`
	}{f, detector})
}

// free gives back the room of an observation.
func (s *suspects) free(o *Observation) {
	s.held.Add(-int64(o.size))
	if cap(o.Values)+cap(o.Scores) <= seenKept {
		s.spare.Put(o)
	}
}

func elements(list []tensor.Tensor) (n int) {
	for i := range list {
		n += list[i].Len()
	}
	return n
}

// appendRows appends the numbers of tensors, row after row. A tensor that has no equal
// rows, which a route that only observes lets pass, is left out, and so are texts.
func appendRows(dst []float64, list []tensor.Tensor, rows int) []float64 {
	for row := range rows {
		for i := range list {
			t := &list[i]
			if t.Len()%rows != 0 {
				continue
			}
			from, to := row*t.Len()/rows, (row+1)*t.Len()/rows
			switch t.Datatype.Family() {
			case tensor.Floating:
				dst = append(dst, t.Data.Floats[from:to]...)
			case tensor.Signed:
				dst = appendNumbers(dst, t.Data.Ints[from:to])
			case tensor.Unsigned:
				dst = appendNumbers(dst, t.Data.Uints[from:to])
			}
		}
	}
	return dst
}

func appendNumbers[T int64 | uint64](dst []float64, list []T) []float64 {
	for _, v := range list {
		dst = append(dst, float64(v))
	}
	return dst
}

// nearDuplicates is the detector of package firewall.
type nearDuplicates struct{ *firewall.Duplicates }

// Name names it.
func (nearDuplicates) Name() string { return "near-duplicates" }

// See looks at the rows of a request.
func (d nearDuplicates) See(o *Observation) string {
	return d.Duplicates.See(o.At, o.Who, o.Model, o.Rows, o.Values)
}
