package siem

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
)

const (
	// again is how long a follower waits when the log cannot be read, or the file not
	// be written.
	again = 10 * time.Second
	// idleStep is how many records without a finding a follower passes before its place
	// is kept.
	idleStep = 4096
	// breath is how long a follower waits between looks at a log that keeps growing: most
	// records are no findings, and each look costs the same.
	breath = 50 * time.Millisecond
	// grace is how long behind the end of a stretch its count is told when no newer
	// record comes: records carry when they began.
	grace = 2 * time.Second
	// silentFor is how long a receiver takes nothing before that is a finding.
	silentFor = 15 * time.Minute
)

// A sink tells findings to somebody. tell returns once that is done, or with why it
// cannot be done now, and is given the same again then. It notes in the state how it
// fares. close lets go of what it holds; it may be told more afterwards.
type sink interface {
	tell(ctx context.Context, s *state, batch []telling) error
	close()
}

// A wire follows the log for one sink. Its goroutine owns it.
type wire struct {
	place
	cursor string
	from   uint64 // where a new one begins
	sink   sink
	state  *state
	cancel context.CancelFunc
	done   chan struct{} // closed when its goroutine has ended

	fold  fold
	next  uint64 // the first record that was not looked at
	acked uint64 // where the cursor is
}

// errGone ends the wire to a receiver that wants nothing any more.
var errGone = errors.New("gone")

// serve follows the log until ctx is done, again whenever it cannot.
func (w *Wires) serve(ctx context.Context, to *wire) {
	for ctx.Err() == nil {
		err := w.follow(ctx, to)
		to.sink.close()
		if err == nil || errors.Is(err, errGone) || ctx.Err() != nil {
			return
		}
		if n, _ := to.state.failing(err.Error(), w.cfg.Now()); n == 1 {
			w.cfg.Say("warning", err)
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
		}
	}
}

// follow tells what is worth it, in order, from where the cursor is. It returns nil when
// ctx is done or the log closes.
func (w *Wires) follow(ctx context.Context, to *wire) error {
	c, err := w.cfg.Feeds.Begin(ctx, to.tenant, to.cursor, ledger.Filter{Tenant: to.tenant}, to.from)
	if err != nil {
		return err
	}
	to.fold, to.next, to.acked = fold{}, c.Next, c.Next
	for {
		over, err := w.await(ctx, to)
		if err != nil {
			return errors.Join(w.keep(to, 1), w.ended(ctx, err))
		}
		if over {
			err = w.tell(ctx, to, to.fold.end(w.cfg.Now()))
		} else {
			err = w.advance(ctx, to)
		}
		if err := errors.Join(err, w.keep(to, idleStep)); err != nil {
			return err
		}
	}
}

// await returns once there are records that were not looked at, or a stretch is over.
func (w *Wires) await(ctx context.Context, to *wire) (over bool, err error) {
	within := ctx
	if to.fold.open != nil {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, max(to.fold.until.Sub(w.cfg.Now()), 0)+grace)
		defer cancel()
	}
	err = w.cfg.Log.AwaitSigned(within, to.next)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return true, nil
	}
	return false, err
}

// ended is nil when following came to its natural end.
func (w *Wires) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || w.cfg.Log.Stopped() != nil || pavise.KindOf(err) == pavise.Unavailable {
		return nil
	}
	return err
}

// advance looks at the records up to the newest signed one.
func (w *Wires) advance(ctx context.Context, to *wire) error {
	head := w.cfg.Log.Head().Size
	for found, err := range w.forth(ctx, to.tenant, to.next, head) {
		if err != nil {
			return fmt.Errorf("read what is to be told: %w", err)
		}
		f, ok := Worth(found.Index, &found.Record)
		if ok && found.Tenant == to.tenant { // the filter says so already
			if err := w.tell(ctx, to, to.fold.add(f)); err != nil {
				return err
			}
		}
		to.next = found.Index + 1
	}
	to.next = head
	select {
	case <-time.After(breath):
	case <-ctx.Done():
	}
	return nil
}

// tell tells what is to be told, and keeps the place behind it.
func (w *Wires) tell(ctx context.Context, to *wire, batch []telling) error {
	if len(batch) == 0 {
		return nil
	}
	if err := to.sink.tell(ctx, to.state, batch); err != nil {
		return err
	}
	if last := batch[len(batch)-1]; !last.more {
		to.next = max(to.next, last.Record+1)
	}
	return w.keep(to, 1)
}

// keep moves the cursor to where the follower has come, if that is so many records on,
// also when the follower is being stopped.
func (w *Wires) keep(to *wire, step uint64) error {
	at := to.fold.kept(to.next)
	if at < to.acked+step {
		return nil
	}
	if err := w.cfg.Feeds.Acknowledge(context.Background(), to.tenant, to.cursor, at); err != nil {
		return err
	}
	to.acked = at
	return nil
}

// forth yields the records of which findings may be made, oldest first.
func (w *Wires) forth(ctx context.Context, tenant string, from, to uint64) iter.Seq2[ledger.Found, error] {
	var all []iter.Seq2[ledger.Found, error]
	for _, f := range wanted(tenant) {
		all = append(all, w.cfg.Log.Select(ctx, f, from, to))
	}
	return merged(all, func(a, b uint64) bool { return a < b })
}

// back is forth, newest first.
func (w *Wires) back(ctx context.Context, tenant string, from, to uint64) iter.Seq2[ledger.Found, error] {
	var all []iter.Seq2[ledger.Found, error]
	for _, f := range wanted(tenant) {
		all = append(all, w.cfg.Log.SelectBack(ctx, f, from, to))
	}
	return merged(all, func(a, b uint64) bool { return a > b })
}

// merged yields what several sequences do, in their common order, each record once. An
// error of any ends it.
func merged(all []iter.Seq2[ledger.Found, error], before func(a, b uint64) bool) iter.Seq2[ledger.Found, error] {
	return func(yield func(ledger.Found, error) bool) {
		heads := make([]*ledger.Found, len(all))
		pulls := make([]func() (ledger.Found, error, bool), len(all))
		for i, seq := range all {
			next, stop := iter.Pull2(seq)
			defer stop()
			pulls[i] = next
		}
		pull := func(i int) error {
			found, err, ok := pulls[i]()
			heads[i] = nil
			if ok && err == nil {
				heads[i] = &found
			}
			return err
		}
		for i := range all {
			if err := pull(i); err != nil {
				yield(ledger.Found{}, err)
				return
			}
		}
		for {
			var first *ledger.Found
			for _, h := range heads {
				if h != nil && (first == nil || before(h.Index, first.Index)) {
					first = h
				}
			}
			if first == nil || !yield(*first, nil) {
				return
			}
			for i, h := range heads {
				if h == nil || h.Index != first.Index {
					continue
				}
				if err := pull(i); err != nil {
					yield(ledger.Found{}, err)
					return
				}
			}
		}
	}
}
