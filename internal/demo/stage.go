package demo

import (
	"context"
	"sync"
	"time"
)

// The decisions of an act.
const (
	Allowed = "allow"
	Denied  = "deny"
	Told    = "note" // nothing was decided: something is said
)

// An Act is one thing that somebody did, and what became of it.
type Act struct {
	Minute   int       `json:"minute"`           // of the hour that is played, 0 to 60
	At       time.Time `json:"at"`               // when it really was
	Scene    string    `json:"scene"`            // what the scene is about; the same for all of its acts
	Actor    string    `json:"actor"`            // who
	Did      string    `json:"did"`              // what they did
	Decision string    `json:"decision"`         // Allowed, Denied or Told
	Why      string    `json:"why"`              // what became of it and why, in a sentence or two
	Record   *uint64   `json:"record,omitempty"` // the record that proves it; nil: no record does
	Prove    string    `json:"prove,omitempty"`  // the command that does, fit to be pasted; "" without a record
	Odd      bool      `json:"odd,omitempty"`    // it went otherwise than it should have
}

// A Stage is where a play is: the cast's own organisation, and the tale as far as it has
// come. It is safe for concurrent use.
type Stage struct {
	Org *Organisation

	mu    sync.Mutex // guards what follows
	acts  []Act
	over  bool
	moved chan struct{} // closed, and replaced, when acts or over change
}

// NewStage returns an empty stage with an organisation whose key is new.
func NewStage() *Stage {
	return &Stage{Org: newOrganisation(), moved: make(chan struct{})}
}

// Acts returns the acts from a number on, once there are any or the play is over; and
// whether it is. It returns none when the context ends before that.
func (s *Stage) Acts(ctx context.Context, from int) (acts []Act, over bool) {
	for {
		s.mu.Lock()
		acts, over, moved := s.acts, s.over, s.moved
		s.mu.Unlock()
		if from < len(acts) {
			return acts[max(from, 0):len(acts):len(acts)], over
		}
		if over {
			return nil, true
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// add adds an act.
func (s *Stage) add(a Act) { s.change(func() { s.acts = append(s.acts, a) }) }

// close ends the tale.
func (s *Stage) close() { s.change(func() { s.over = true }) }

func (s *Stage) change(how func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how()
	close(s.moved)
	s.moved = make(chan struct{})
}
