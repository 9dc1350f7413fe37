package guard

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pavise/pavise/internal/ledger"
)

// How many refusals are told apart within one second, and how long their parts
// may be. Strangers choose the sources, so both are bounded.
const (
	maxSources = 4096
	maxReasons = 64
	maxKnock   = 128
)

// patience is how many refusals of one source for one reason are explained
// within a second. Further ones are told to come back later.
const patience = 20

// A knock is a sort of refusal: what is counted together.
type knock struct {
	kind   string // the note's kind
	source string
	reason string
}

// refusals counts knocks until the next flush.
type refusals struct {
	mu     sync.Mutex // guards counts
	counts map[knock]uint64
}

// add counts one refusal and returns how many it stands with. When too many
// sources are known it goes to "others", and when those have too many reasons,
// to "other".
func (r *refusals) add(kind, source, reason string) uint64 {
	k := knock{kind, clip(source, maxKnock), clip(reason, maxKnock)}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count(k, 1)
}

// count adds n to the knock or to what stands for it, and returns the sum. The
// caller holds mu.
func (r *refusals) count(k knock, n uint64) uint64 {
	if r.counts == nil {
		r.counts = map[knock]uint64{}
	}
	for _, limit := range []int{maxSources, maxSources + maxReasons} {
		if _, known := r.counts[k]; known || len(r.counts) < limit {
			r.counts[k] += n
			return r.counts[k]
		}
		if limit == maxSources {
			k.source = "others"
		}
	}
	k.reason = "other"
	r.counts[k] += n
	return r.counts[k]
}

// drain returns what was counted and starts anew.
func (r *refusals) drain() map[knock]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := r.counts
	r.counts = nil
	return counts
}

// Refuse counts the refusal of a caller that nobody could name: source is the
// address it came from, reason a short constant text. Refusals are recorded by
// Run as one note identity.refused per source, reason and second, so that a
// stranger's knocking cannot fill the log. It reports whether the source knocks
// faster than it need be answered. Who has a proof is never refused for what
// others send from the same address.
func (g *Guard) Refuse(source, reason string) (tooMany bool) {
	return g.refusals.add("identity.refused", source, reason) > patience
}

// Run records the counted refusals each second, and what is left when ctx is
// done. Its caller owns the goroutine.
func (g *Guard) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			// What cannot be recorded now is kept for the next second.
			_ = g.flush(context.WithoutCancel(ctx))
		case <-ctx.Done():
			return g.flush(context.WithoutCancel(ctx))
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
		if err := g.note(ctx, k, counts[k]); err != nil {
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

// note records one count.
func (g *Guard) note(ctx context.Context, k knock, count uint64) error {
	detail, err := json.Marshal(struct {
		Source string `json:"source"`
		Reason string `json:"reason"`
		Count  uint64 `json:"count"`
	}{k.source, k.reason, count})
	if err != nil {
		return fmt.Errorf("encode %s: %w", k.kind, err)
	}
	_, err = g.append(ctx, &ledger.Record{
		Kind: k.kind, Phase: ledger.Note, Tenant: g.tenant, At: g.clock.stamp(), Detail: detail,
	}, ledger.Written)
	return err
}
