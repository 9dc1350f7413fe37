package change

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// sweepEvery is how often Run looks for changes whose time is up.
const sweepEvery = time.Minute

// settle runs a change if it has all that it takes. The caller's going away does
// not stop it: an act that was approved is not done by half.
func (c *Changes) settle(ctx context.Context, name pavise.Name) (*Change, error) {
	ctx = context.WithoutCancel(ctx)
	c.deciding.Lock()
	defer c.deciding.Unlock()
	ch, err := c.get(ctx, name)
	if err != nil {
		return nil, err
	}
	switch ch.State {
	case Open, Ran:
		people, err := c.proven(ctx, ch)
		if err != nil || len(people) < ch.Rule.Need {
			return ch, err
		}
		if ch.State == Ran {
			ch.end(Done, c.now(), "approved afterwards")
			return ch, c.db.Update(ctx, func(tx *store.Tx) error { return update(tx, ch, Ran) })
		}
		ch.State = Approved
		if err := c.db.Update(ctx, func(tx *store.Tx) error { return update(tx, ch, Open) }); err != nil {
			return ch, err
		}
	case Approved:
	default:
		return ch, nil
	}
	return ch, c.run(ctx, ch)
}

// run does an approved change, and notes how it ended. The caller holds deciding.
func (c *Changes) run(ctx context.Context, ch *Change) error {
	runner, err := c.runner(ch.Verb)
	if err != nil {
		return err
	}
	if err := c.checkApproved(ctx, ch, runner); err != nil {
		return err
	}
	if why, err := c.stale(ctx, ch); err != nil {
		return err
	} else if why != "" {
		return c.void(ctx, ch, why)
	}
	ch.State = Running
	if err := c.db.Update(ctx, func(tx *store.Tx) error { return update(tx, ch, Approved) }); err != nil {
		return err
	}
	return c.conclude(ctx, ch, runner, c.do(ctx, ch, runner))
}

// checkApproved makes sure, from the log, that exactly this change was proposed, and
// that it has the approvals which it takes before it is run. A table that says
// otherwise was changed behind our back.
func (c *Changes) checkApproved(ctx context.Context, ch *Change, runner Runner) error {
	digest, err := ch.digest()
	if err != nil {
		return err
	}
	was, err := c.wasProposed(ctx, ch)
	if err != nil {
		return err
	}
	people, err := c.proven(ctx, ch)
	if err != nil {
		return err
	}
	first := runner.Safe || len(people) >= ch.Rule.Need
	if was && digest == ch.Digest && first {
		return nil
	}
	from := ch.State
	if was && digest == ch.Digest {
		ch.end(Void, c.now(), "the evidence log does not hold the %d approvals it takes: it holds %d", ch.Rule.Need, len(people))
	} else {
		ch.end(Void, c.now(), "the evidence log does not hold the proposal of exactly this change")
	}
	if err := c.db.Update(ctx, func(tx *store.Tx) error { return update(tx, ch, from) }); err != nil {
		return err
	}
	if err := c.note(ctx, "change.unproven", ch, pavise.Critical); err != nil {
		return err
	}
	return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("change %s: %s", ch.Name.ID, ch.Outcome), Hint: "somebody may have changed the database; propose it anew, and look at who could have"}
}

// do lets the runner act as the change.
func (c *Changes) do(ctx context.Context, ch *Change, runner Runner) error {
	c.mu.Lock()
	c.underWay[ch.Name] = undertaking{ch.Verb, ch.On}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.underWay, ch.Name)
	}()
	who := ch.Proposer
	who.Change, who.Proof = ch.Name, "approved change"
	return runner.Run(ctx, Act{Who: who, On: ch.On, Request: ch.request, Mark: mark(ch.Name)})
}

// conclude notes how a change ended. An error of the runner's after its effect, such
// as an ending that could not be recorded, does not undo the effect: the mark tells.
func (c *Changes) conclude(ctx context.Context, ch *Change, runner Runner, failure error) error {
	ran, err := c.ran(ctx, ch, runner)
	if err != nil {
		return errors.Join(failure, err)
	}
	switch {
	case ran && runner.Safe && ch.Rule.Need > 0:
		ch.State, ch.Outcome = Ran, "run first; to be approved afterwards"
	case ran:
		ch.end(Done, c.now(), "run")
	default:
		why := "it came to nothing"
		if failure != nil {
			why = failure.Error()
		}
		if e, ok := errors.AsType[*pavise.Error](failure); ok {
			why = e.Msg
		}
		ch.end(Failed, c.now(), "%s", why)
	}
	return errors.Join(failure, c.db.Update(ctx, func(tx *store.Tx) error { return update(tx, ch, Running) }))
}

// ran reports whether the effect of a change is there.
func (c *Changes) ran(ctx context.Context, ch *Change, runner Runner) (ran bool, err error) {
	if runner.Ran != nil {
		return runner.Ran(ctx, ch.Name)
	}
	err = c.db.View(ctx, func(tx *store.Tx) error {
		ran, err = wasMarked(tx, ch.Name)
		return err
	})
	return ran, err
}

// Resume goes on with what an earlier process left: changes that were running are
// done if their effect is there, and run if it is not; approved ones are run.
//
// Unguarded: it decides nothing. The acts enter through the guard as ever.
func (c *Changes) Resume(ctx context.Context) error {
	left, err := c.listed(ctx, `state IN ('approved', 'running') ORDER BY proposed`)
	if err != nil {
		return err
	}
	c.deciding.Lock()
	defer c.deciding.Unlock()
	for _, ch := range left {
		if err := c.resume(ctx, ch); err != nil && pavise.KindOf(err) == pavise.Internal {
			return fmt.Errorf("go on with change %s: %w", ch.Name, err)
		}
	}
	return nil
}

// resume goes on with one change.
func (c *Changes) resume(ctx context.Context, ch *Change) error {
	runner, err := c.runner(ch.Verb)
	if err != nil {
		return err
	}
	if ch.State == Running {
		ran, err := c.ran(ctx, ch, runner)
		if err != nil {
			return err
		}
		if ran {
			return c.conclude(ctx, ch, runner, nil)
		}
		ch.State = Approved
		if err := c.db.Update(ctx, func(tx *store.Tx) error { return update(tx, ch, Running) }); err != nil {
			return err
		}
	}
	return c.run(ctx, ch)
}

// Run ends changes whose time is up, until ctx is done. Its caller owns the
// goroutine.
//
// Unguarded: nobody asked for it; what it ends is a note.
func (c *Changes) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		_ = c.sweep(ctx) // what cannot be done now is done the next time
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sweep ends changes whose time is up: open ones expire, and those that were run
// first and that nobody looked at become findings.
func (c *Changes) sweep(ctx context.Context) error {
	late, err := c.listed(ctx, `state IN ('open', 'ran') AND until <= ? ORDER BY until`, c.now().UnixMicro())
	if err != nil {
		return err
	}
	c.deciding.Lock()
	defer c.deciding.Unlock()
	for _, ch := range late {
		from, kind, severity := ch.State, "change.expired", pavise.Info
		have, need := ch.Approvals()
		if from == Ran {
			kind, severity = "change.overdue", pavise.Warning
			ch.end(Contested, c.now(), "run first, and %d of %d approvals came in time", have, need)
		} else {
			ch.end(Expired, c.now(), "%d of %d approvals came in time", have, need)
		}
		err := c.db.Update(ctx, func(tx *store.Tx) error { return update(tx, ch, from) })
		if pavise.KindOf(err) == pavise.Conflict {
			continue // somebody was quicker
		}
		if err != nil {
			return err
		}
		if err := c.note(ctx, kind, ch, severity); err != nil {
			return err
		}
	}
	return nil
}
