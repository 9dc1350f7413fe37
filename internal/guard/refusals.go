package guard

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
)

// How many refusals are told apart within one second, and how long their parts
// may be. Who is refused chooses sources and reasons, so both are bounded.
const (
	maxSources   = 4096
	maxReasons   = 64  // of the sources beyond those
	maxPerSource = 16  // reasons of one source; strangers have fewer
	maxSource    = 400 // bytes; the name of any principal fits
	maxReason    = 256 // bytes
)

// patience is how many refusals of one source for one reason are explained, and
// how many denials of one principal are recorded one by one, within a second.
const patience = 20

// The kinds of note that count refusals.
const (
	noteStranger = "identity.refused" // of callers whom nobody could name; the source is an address
	noteRefused  = "guard.refused"    // of principals; the source is the name
)

// A knock is a sort of refusal: what is counted together.
type knock struct {
	kind   string // the note's kind
	source string
	reason string
}

// refusals counts knocks until the next flush.
type refusals struct {
	mu      sync.Mutex // guards what follows
	counts  map[knock]uint64
	reasons map[string]int // how many knocks of counts each source has
}

// add counts one refusal and returns how many it stands with. When its source
// has too many reasons it goes to the source's reason "other", when too many
// sources are known to the source "others", and when those have too many
// reasons, to their "other".
func (r *refusals) add(kind, source, reason string) uint64 {
	k := knock{kind, clip(source, maxSource), clip(reason, maxReason)}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count(k, 1)
}

// count adds n to the knock or to what stands for it, and returns the sum. The
// caller holds mu.
func (r *refusals) count(k knock, n uint64) uint64 {
	if r.counts == nil {
		r.counts, r.reasons = map[knock]uint64{}, map[string]int{}
	}
	if _, known := r.counts[k]; !known {
		k = r.place(k)
	}
	if r.counts[k] == 0 {
		r.reasons[k.source]++
	}
	r.counts[k] += n
	return r.counts[k]
}

// place returns what a new knock is counted as. The caller holds mu.
func (r *refusals) place(k knock) knock {
	if r.reasons[k.source] >= maxPerSource {
		k.reason = "other"
	}
	if _, known := r.counts[k]; known || len(r.counts) < maxSources {
		return k
	}
	k.source = "others"
	if _, known := r.counts[k]; !known && len(r.counts) >= maxSources+maxReasons {
		k.reason = "other"
	}
	return k
}

// drain returns what was counted and starts anew.
func (r *refusals) drain() map[knock]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := r.counts
	r.counts, r.reasons = nil, nil
	return counts
}

// Refuse counts the refusal of a caller that nobody could name: source is the
// address it came from, reason a short constant text. Refusals are recorded by
// Run as one note identity.refused per source, reason and second, so that a
// stranger's knocking cannot fill the log. It reports whether the source knocks
// faster than it need be answered. Who has a proof is never refused for what
// others send from the same address.
func (g *Guard) Refuse(source, reason string) (tooMany bool) {
	return g.refusals.add(noteStranger, source, reason) > patience
}

// Run records the counted refusals each second, and what is left when ctx is
// done. Its caller owns the goroutine. That a log has stopped is no error of Run:
// whoever closes the log is told.
func (g *Guard) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			// What cannot be recorded now is kept for the next second.
			_ = g.flush(context.WithoutCancel(ctx))
		case <-ctx.Done():
			err := g.flush(context.WithoutCancel(ctx))
			if log, ok := g.log.(interface{ Stopped() error }); ok && log.Stopped() != nil {
				return nil
			}
			return err
		}
	}
}

// flush records the counted refusals in a fixed order. What it cannot record
// is counted again.
func (g *Guard) flush(ctx context.Context) error {
	counts := g.refusals.drain()
	knocks := make([]knock, 0, len(counts))
	for k := range counts {
		knocks = append(knocks, k)
	}
	slices.SortFunc(knocks, func(a, b knock) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.source, b.source), cmp.Compare(a.reason, b.reason))
	})
	for i, k := range knocks {
		if err := g.note(ctx, ledger.Written, k.kind, nil, pavise.Name{}, tally{k.source, k.reason, counts[k]}); err != nil {
			g.refusals.mu.Lock()
			for _, k := range knocks[i:] {
				g.refusals.count(k, counts[k])
			}
			g.refusals.mu.Unlock()
			return err
		}
	}
	return nil
}

// A tally is the detail of a note that counts refusals.
type tally struct {
	Source string `json:"source"`
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// A meter counts what each principal was denied within a second.
type meter struct {
	mu     sync.Mutex // guards what follows
	since  time.Time  // when the second began
	counts map[pavise.Name]int
}

// add counts one denial and returns how many it stands with. The zero name
// stands for all who have no proper one, and for all when too many are known.
func (m *meter) add(who pavise.Name, now func() time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := now()
	if age := t.Sub(m.since); m.counts == nil || age < 0 || age >= time.Second {
		m.since, m.counts = t, map[pavise.Name]int{}
	}
	if _, known := m.counts[who]; !known && len(m.counts) >= maxSources {
		who = pavise.Name{}
	}
	m.counts[who]++
	return m.counts[who]
}
