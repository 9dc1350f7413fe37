package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// wake is how long Run sleeps at most: a clock that was set forward is noticed then, and files
// that came.
const wake = time.Minute

// atOnce is how many versions Run looks at in one go.
const atOnce = 100

// Run takes in the files of versions that have come, and tells of versions of which nothing
// came in time, until ctx is done.
//
// Unguarded: nobody asks for it; what it finds is noted.
func (r *Registry) Run(ctx context.Context) error {
	said, all := false, true
	for ctx.Err() == nil {
		pause, err := r.sweep(ctx, all)
		if err != nil && ctx.Err() == nil && !said {
			r.cfg.Say("warning", fmt.Errorf("what is due of models cannot be told: %w", err))
		}
		said = err != nil
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			all = true
		case <-r.nudge:
			all = false
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

// sweep does what is due, and returns how long to wait until the next. Of files it looks at all
// that have come, or at those of versions that were just given theirs.
func (r *Registry) sweep(ctx context.Context, all bool) (time.Duration, error) {
	var late, pending []*Version
	now, fresh := r.now(), r.fresh.take()
	err := r.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if late, err = selected(tx, `due > 0 AND due <= ? ORDER BY due LIMIT ?`, now.UnixNano(), atOnce); err == nil && r.cfg.Files != nil && all {
			pending, err = selected(tx, `intake = 'pending' AND digest != '' ORDER BY rowid LIMIT ?`, listedVersions)
		}
		return err
	})
	if err != nil {
		return wake, err
	}
	for _, v := range late {
		err = errors.Join(err, r.late(ctx, v))
	}
	for _, v := range pending {
		fresh[v.Name()] = v.Ref
	}
	for name, ref := range fresh {
		_, fault := r.Take(ctx, name.Tenant, ref)
		err = errors.Join(err, fault)
	}
	if err != nil {
		return wake, err
	}
	var next *int64
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT min(due) FROM registry_versions WHERE due > 0`).Scan(&next)
	})
	if err != nil || next == nil {
		return wake, err
	}
	return min(max(time.Unix(0, *next).Sub(r.now()), time.Millisecond), wake), nil
}

// late tells that nothing came of a version in time, and has it told again, more loudly, after
// the same time. It is noted first: a note may come twice, and is never lost.
func (r *Registry) late(ctx context.Context, v *Version) error {
	severity := pavise.Warning
	if v.Told > 0 || v.State == Degraded || v.State == Quarantined {
		severity = pavise.Critical
	}
	why := fmt.Sprintf("%s is %s since %s, and nothing came of it: %s", v.Ref, v.State, v.Since.UTC().Format(time.DateTime), wants[v.State])
	err := r.cfg.Guard.Note(ctx, KindOverdue, nil, v.Name(), Noted{
		Version: v.Ref, Digest: v.Digest, State: v.State, Why: why,
		Finding: &pavise.Finding{Kind: KindOverdue, Severity: severity, On: v.Name(), Who: v.Creator, At: r.now(), Summary: why},
	})
	if err != nil {
		return err
	}
	since, after := v.Since, r.cfg.Timeouts[v.State]
	_, err = r.change(ctx, v.Tenant, v.Ref, func(_ *store.Tx, v *Version) error {
		if !v.Since.Equal(since) {
			return nil // it has gone on meanwhile
		}
		if v.Told++; after > 0 {
			v.Due = r.now().Add(after)
		} else {
			v.Due = time.Time{}
		}
		return nil
	})
	return err
}

// given are versions that were just given their files.
type given struct {
	mu  sync.Mutex // guards what follows
	all map[pavise.Name]Ref
}

// tell takes in versions whose files are to be looked at. Beyond a bound they wait until all are
// looked for.
func (g *given) tell(all ...*Version) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, v := range all {
		if v.Intake != Pending || v.Digest == (Digest{}) || len(g.all) >= listedVersions {
			continue
		}
		if g.all == nil {
			g.all = map[pavise.Name]Ref{}
		}
		g.all[v.Name()] = v.Ref
	}
}

// take returns them, once.
func (g *given) take() map[pavise.Name]Ref {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.all
	if g.all = nil; all == nil {
		all = map[pavise.Name]Ref{}
	}
	return all
}
