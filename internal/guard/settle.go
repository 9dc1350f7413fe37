package guard

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// An openSet knows from which index on the log may hold an Enter that nothing
// has closed. Every record says that index, so that a restart need look no
// further back.
type openSet struct {
	mu     sync.Mutex // guards what follows
	bounds []uint64   // log size when each open Enter began; never falls, as the size does not
	doubt  uint64     // the smallest bound of an Enter whose own record or ending got lost; ^0: none
	before uint64     // where the last process's unclosed Enters may begin; ^0 once Recover has closed them
	limit  uint64     // where this process's records begin
}

// none is the bound that bounds nothing.
const none = math.MaxUint64

// begin notes that an Enter is about to be appended, and returns its bound.
// The size is read under the lock, so a record that settles later sees either
// this bound or a smaller size.
func (s *openSet) begin(log Recorder) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	bound := log.Size()
	s.bounds = append(s.bounds, bound)
	return bound
}

// done notes that the Enter with the bound has been closed.
func (s *openSet) done(bound uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(bound)
}

// lost notes that it is not known whether the Enter with the bound stands
// unclosed in the log. Only a restart can tell.
func (s *openSet) lost(bound uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(bound)
	s.doubt = min(s.doubt, bound)
}

// remove forgets one Enter with the bound. The caller holds mu.
func (s *openSet) remove(bound uint64) {
	i, _ := slices.BinarySearch(s.bounds, bound)
	s.bounds = slices.Delete(s.bounds, i, i+1)
}

// settled returns an index below which every Enter has been closed.
func (s *openSet) settled(log Recorder) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := min(s.doubt, s.before)
	if len(s.bounds) > 0 {
		return min(first, s.bounds[0])
	}
	if first != none {
		return first
	}
	return log.Size()
}

// lookBack is how many of the log's last records resume reads: more than the
// notes that the log itself leaves at a restart, which know of no Enters.
const lookBack = 64

// resume takes up where the log's last records left off. What a record says is
// settled stays settled, so the best of their words counts; the newest time is
// the latest since the clock was last accepted.
func (g *Guard) resume() error {
	size := g.log.Size()
	g.open.doubt, g.open.before, g.open.limit = none, none, size
	if size == 0 {
		return nil
	}
	next := size - min(size, lookBack)
	settled, newest := uint64(0), int64(0)
	for i, r := range g.log.Records(next, size) {
		if i != next {
			break
		}
		next++
		settled = max(settled, min(r.Settled, i))
		if r.Phase == record.Act { // written when the act ended, but carrying when it began
			r.At = r.At.Add(r.Took)
		}
		if r.Kind == noteClock {
			newest = 0
		}
		newest = max(newest, r.At.UnixNano())
	}
	if next != size {
		return unreadable(next)
	}
	g.open.before = settled
	g.clock.newest.Store(newest)
	return nil
}

// unreadable says that the log cannot be read back far enough to go on.
func unreadable(index uint64) error {
	return &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  fmt.Sprintf("record %d of the log cannot be read, so acts left open cannot be found", index),
		Hint: "pavise ledger verify says what is wrong with it",
	}
}

// Recover closes, as interrupted, every Enter that the last process left
// without an Exit, and returns how many it closed. It looks back as far as the
// last record says, and no further. A crash on the way loses nothing: what is
// left is closed by the next Recover.
func (g *Guard) Recover(ctx context.Context) (int, error) {
	g.recovering.Lock()
	defer g.recovering.Unlock()
	g.open.mu.Lock()
	from, limit := g.open.before, g.open.limit
	g.open.mu.Unlock()
	if from == none {
		return 0, nil
	}
	left, err := g.unclosed(from, limit)
	if err != nil {
		return 0, err
	}
	closed := 0
	for _, index := range slices.Sorted(maps.Keys(left)) {
		r := left[index]
		if _, err := g.append(ctx, interrupted(r, index, g), ledger.Durable); err != nil {
			return closed, err
		}
		closed++
	}
	g.open.mu.Lock()
	g.open.before = none
	g.open.mu.Unlock()
	return closed, nil
}

// unclosed returns the Enters of [from, limit) that no record up to now closes.
func (g *Guard) unclosed(from, limit uint64) (map[uint64]record.Record, error) {
	left := map[uint64]record.Record{}
	next, size := from, g.log.Size()
	for i, r := range g.log.Records(from, size) {
		if i != next {
			break
		}
		next++
		switch {
		case r.Phase == record.Enter && i < limit:
			left[i] = r
		case (r.Phase == record.Exit || r.Phase == record.Interrupted) && r.Enter != nil:
			delete(left, *r.Enter)
		}
	}
	if next != size {
		return nil, unreadable(next)
	}
	return left, nil
}

// interrupted is the record that closes an Enter whose process died.
func interrupted(enter record.Record, index uint64, g *Guard) *record.Record {
	return &record.Record{
		Kind: enter.Kind, Phase: record.Interrupted, Tenant: enter.Tenant, At: g.clock.stamp(),
		Who: enter.Who, On: enter.On, Enter: new(index), Safe: true,
		Error: &record.Failure{
			Kind: pavise.Internal.String(),
			Msg:  "the process stopped before the act ended; how far it got is not recorded",
		},
	}
}
