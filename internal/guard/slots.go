package guard

import (
	"fmt"
	"sync"

	"github.com/pavise/pavise"
)

// share is the part of all slots that one principal may hold: one in so many.
const share = 8

// slots are what Pooled acts hold while they are under way. A slow body or a
// stream holds one for as long as its caller likes, so no principal holds more
// than its share.
type slots struct {
	pool, each int // how many there are, and how many one principal may hold; never change

	mu   sync.Mutex // guards what follows
	busy int
	held map[pavise.Name]*slot // by principal; only those that hold any
	last *slot                 // one that nobody holds, for whoever comes next
}

// A slot is all slots of one principal.
type slot struct {
	who pavise.Name
	n   int // how many; guarded by the slots' mu
}

// take reserves a slot. The error is of kind Throttled when the principal holds
// its share already, and of kind Unavailable when all slots are taken.
func (s *slots) take(who pavise.Name) (*slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.held[who]
	switch {
	case held != nil && held.n >= s.each:
		return nil, &pavise.Error{
			Kind: pavise.Throttled,
			Msg:  fmt.Sprintf("%s has %d requests under way, as many as one caller may have", who, s.each),
			Hint: "let one of them end, or close a stream, then try again",
		}
	case s.busy >= s.pool:
		return nil, &pavise.Error{
			Kind: pavise.Unavailable,
			Msg:  fmt.Sprintf("all %d slots for requests under way are taken", s.pool),
			Hint: "try again in a moment",
		}
	case held == nil:
		held = s.hold(who)
	}
	s.busy++
	held.n++
	return held, nil
}

// hold remembers a principal that holds none yet. The caller holds mu.
func (s *slots) hold(who pavise.Name) *slot {
	if s.held == nil {
		s.held = map[pavise.Name]*slot{}
	}
	held := s.last
	if s.last = nil; held == nil {
		held = new(slot)
	}
	held.who = who
	s.held[who] = held
	return held
}

// give returns one of the slots that take returned. Who holds more is not looked up
// once more by name.
func (s *slots) give(held *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	if held.n--; held.n == 0 {
		delete(s.held, held.who)
		s.last = held
	}
}
