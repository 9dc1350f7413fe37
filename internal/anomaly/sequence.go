package anomaly

// sequenceWindow is how many numbers back a record may come late.
const sequenceWindow = 1024

// A Sequence watches the numbers that a producer gives its records, 1 more each: which are
// missing, and which come again. Records may come in another order, up to 1,024 numbers late; a
// number counts as missing when it has fallen so far behind, which is the delay. It is for one
// goroutine, and the zero value begins with the first number it sees.
type Sequence struct {
	begun   bool
	newest  uint64
	seen    [sequenceWindow / 64]uint64 // a bit for each number of the window, by its rest
	missing uint64
	again   uint64
	late    uint64
}

// A Place says where a number stands in its sequence.
type Place string

// The places.
const (
	InOrder Place = "in order"
	Ahead   Place = "ahead"    // numbers before it have not come yet
	Filling Place = "late"     // it was missing, and is not any more
	Again   Place = "again"    // it was there before: replayed
	TooLate Place = "too late" // so far behind that it is not known whether it was there: a restart, or replayed
)

// Observe takes the number of a record.
func (s *Sequence) Observe(number uint64) Place {
	switch {
	case !s.begun:
		s.begun, s.newest = true, number
		for i := range s.seen { // what was before is nobody's loss
			s.seen[i] = ^uint64(0)
		}
		return InOrder
	case number > s.newest:
		return s.advance(number)
	case s.newest-number >= sequenceWindow:
		s.late++
		return TooLate
	case s.has(number):
		s.again++
		return Again
	}
	s.set(number)
	return Filling
}

// advance moves the window up to a number.
func (s *Sequence) advance(number uint64) Place {
	step := number - s.newest
	if step > sequenceWindow { // all of the window falls out, and what was never in it
		s.missing += s.holes() + step - sequenceWindow
		clear(s.seen[:])
		s.newest = number
	}
	for s.newest < number {
		s.newest++
		if s.newest >= sequenceWindow && !s.has(s.newest) { // the bit is of the number that falls out
			s.missing++
		}
		s.seen[s.newest%sequenceWindow/64] &^= 1 << (s.newest % 64)
	}
	s.set(number)
	if step == 1 {
		return InOrder
	}
	return Ahead
}

// holes are the numbers of the window that did not come.
func (s *Sequence) holes() (n uint64) {
	for i := range uint64(sequenceWindow) {
		if s.newest >= i && !s.has(s.newest-i) {
			n++
		}
	}
	return n
}

func (s *Sequence) has(number uint64) bool {
	return s.seen[number%sequenceWindow/64]>>(number%64)&1 == 1
}

func (s *Sequence) set(number uint64) { s.seen[number%sequenceWindow/64] |= 1 << (number % 64) }

// Missing returns how many numbers fell out of the window without having come.
func (s *Sequence) Missing() uint64 { return s.missing }

// Pending returns how many numbers of the window have not come yet.
func (s *Sequence) Pending() uint64 { return s.holes() }

// Replayed returns how many numbers came again, and how many were too late to tell.
func (s *Sequence) Replayed() (again, tooLate uint64) { return s.again, s.late }
