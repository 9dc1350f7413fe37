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
	held map[pavise.Name]int // by principal; only those that hold any
}

// take reserves a slot. The error is of kind Throttled when the principal holds
// its share already, and of kind Unavailable when all slots are taken.
func (s *slots) take(who pavise.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.held[who]
	switch {
	case held >= s.each:
		return &pavise.Error{
			Kind: pavise.Throttled,
			Msg:  fmt.Sprintf("%s has %d requests under way, as many as one caller may have", who, s.each),
			Hint: "let one of them end, or close a stream, then try again",
		}
	case s.busy >= s.pool:
		return &pavise.Error{
			Kind: pavise.Unavailable,
			Msg:  fmt.Sprintf("all %d slots for requests under way are taken", s.pool),
			Hint: "try again in a moment",
		}
	}
	if s.held == nil {
		s.held = map[pavise.Name]int{}
	}
	s.busy++
	s.held[who] = held + 1
	return nil
}

// give returns a slot that the principal took.
func (s *slots) give(who pavise.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	if held := s.held[who]; held > 1 {
		s.held[who] = held - 1
	} else {
		delete(s.held, who)
	}
}
