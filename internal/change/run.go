package change

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/store"
)

// sweepEvery is how often Run looks for changes whose time is up.
const sweepEvery = time.Minute

// settle runs a change if it has all that it takes. The caller's going away does
// not stop it: an act that was approved is not done by half.
func (c *Changes) settle(ctx context.Context, name pavise.Name) (*Change, error) {
	ctx = context.WithoutCancel(ctx)
	ch, release, err := c.claim(ctx, name)
	if err != nil {
		return nil, err
	}
	defer release()
	return ch, c.advance(ctx, ch)
}

// advance brings a change as far as it gets without another vote. The caller has
// claimed it.
func (c *Changes) advance(ctx context.Context, ch *Change) error {
	c.mu.Lock()
	early := c.proposing[ch.Name]
	c.mu.Unlock()
	if early {
		return nil
	}
	from := ch.State
	switch from {
	case Open, Ran:
		told, err := c.told(ctx, ch)
		if err != nil || from == Ran && !told.proposed {
			return err
		}
		if len(told.people) < ch.Rule.Need && !(from == Open && told.broken) {
			return c.invented(ctx, ch)
		}
		if from == Ran {
			ch.end(Done, c.now(), "approved afterwards")
			return c.save(ctx, ch, from)
		}
		ch.State = Approved
		if err := c.save(ctx, ch, from); err != nil {
			return err
		}
	case Approved:
	default:
		return nil
	}
	return c.run(ctx, ch)
}

// run does an approved change, and notes how it ended. The caller has claimed it.
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
	if err := c.save(ctx, ch, Approved); err != nil {
		return err
	}
	return c.conclude(ctx, ch, runner, c.do(ctx, ch, runner))
}

// checkApproved makes sure, from the log, that exactly this change was proposed, that
// it has the approvals which it takes before it is run, and that nobody ended it. A
// table that says otherwise was changed behind our back.
func (c *Changes) checkApproved(ctx context.Context, ch *Change, runner Runner) error {
	told, err := c.told(ctx, ch)
	if err != nil {
		return err
	}
	was, err := c.hasRun(ctx, ch)
	if err != nil {
		return err
	}
	switch {
	case told.cutOff && !told.proposed:
		return c.void(ctx, ch, "the process stopped before its proposal was recorded")
	case ch.Record < c.log.First():
		return c.void(ctx, ch, "the records that would prove it were pruned from this machine")
	case !told.proposed:
		return c.unproven(ctx, ch, "the evidence log does not hold the proposal of exactly this change")
	case told.ended:
		return c.unproven(ctx, ch, "the evidence log holds a word that ended it")
	case was:
		return c.unproven(ctx, ch, "the evidence log says that it was run, and the database does not")
	case !runner.Safe && !told.broken && len(told.people) < ch.Rule.Need:
		return c.unproven(ctx, ch, fmt.Sprintf("the evidence log does not hold the %d approvals it takes: it holds %d", ch.Rule.Need, len(told.people)))
	case !c.now().Before(ch.Until):
		return c.expire(ctx, ch)
	}
	return nil
}

// invented tells of a change of which the database has votes enough, where the log does not and one of
// them was never begun: somebody wrote it there. It counts for nothing, and the change goes on. A vote
// of somebody who may not do the act any more was begun, and so was one that was cut off.
func (c *Changes) invented(ctx context.Context, ch *Change) error {
	yes := slices.DeleteFunc(slices.Clone(ch.Votes), func(v Vote) bool { return !v.Yes })
	if len(yes) < ch.Rule.Need || ch.Record < c.log.First() {
		return nil
	}
	filter := ledger.Filter{Tenant: ch.Name.Tenant, Kinds: []string{policy.VerbApprove}, On: ch.Name.String()}
	for _, v := range yes {
		begun := false
		for found, err := range c.log.Select(ctx, filter, v.Record, v.Record+1) {
			if err != nil {
				return fmt.Errorf("read how the vote of %s on change %s began: %w", v.By, ch.Name, err)
			}
			begun = found.Who != nil && found.Who.Name() == v.By
		}
		if !begun {
			told := *ch
			told.Outcome = fmt.Sprintf("the database has a vote of %s that the evidence log does not hold: it counts for nothing", v.By)
			return c.note(ctx, "change.unproven", &told, pavise.Critical)
		}
	}
	return nil
}

// confirm is how many rounds of Run have to see that a time is up before anything comes of it
// that cannot be taken back. The rounds are a minute apart by a clock that nobody sets: one that
// leaps ahead, as that of a machine which has just begun, is put right meanwhile. Votes do not
// count from the first moment.
const confirm = 5

// A patience counts the rounds in which each change was seen to be late. The caller holds mu.
type patience map[pavise.Name]int

// see counts one more round, in which these were late and no others. It returns those that
// were so often enough.
func (p *patience) see(all []*Change) (sure []*Change) {
	next := patience{}
	for _, ch := range all {
		if next[ch.Name] = (*p)[ch.Name] + 1; next[ch.Name] >= confirm {
			sure = append(sure, ch)
		}
	}
	*p = next
	return sure
}

// sure reports whether a change was late often enough.
func (c *Changes) sure(name pavise.Name) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.late[name] >= confirm
}

// expire ends a change that was approved in time and could not be run in time: what
// people agreed to was meant for those days.
func (c *Changes) expire(ctx context.Context, ch *Change) error {
	if !c.sure(ch.Name) {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("change %s was to be run until %s", ch.Name.ID, ch.Until.Format("2006-01-02 15:04 UTC")), Hint: "propose it anew, unless the clock is wrong"}
	}
	from := ch.State
	ch.end(Expired, c.now(), "approved, and not run until %s", ch.Until.Format("2006-01-02 15:04 UTC"))
	if err := c.close(ctx, ch, from, "change.expired", pavise.Warning); err != nil {
		return err
	}
	return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("change %s expired: it was %s", ch.Name.ID, ch.Outcome), Hint: "propose it anew"}
}

// unproven ends a change that the log does not bear out, and raises the alarm.
func (c *Changes) unproven(ctx context.Context, ch *Change, why string) error {
	from := ch.State
	ch.end(Void, c.now(), "%s", why)
	if err := c.close(ctx, ch, from, "change.unproven", pavise.Critical); err != nil {
		return err
	}
	return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("change %s: %s", ch.Name.ID, ch.Outcome), Hint: "somebody may have changed the database; propose it anew, and look at who could have"}
}

// do lets the runner act as the change. A panic of the runner's, which the guard has
// recorded, is an act that went wrong: it must not come back at every start.
func (c *Changes) do(ctx context.Context, ch *Change, runner Runner) (err error) {
	c.mu.Lock()
	c.underWay[ch.Name] = undertaking{ch.Verb, ch.On}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.underWay, ch.Name)
	}()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("run %s: panic: %v", ch.Verb, p)
		}
	}()
	told, err := c.told(ctx, ch)
	if err != nil {
		return err
	}
	who := ch.Proposer
	who.Change, who.Proof = ch.Name, "approved change"
	return runner.Run(ctx, Act{
		Who: who, On: ch.On, Request: ch.request, Digests: ch.Plan.Digests, Approvals: len(told.people), Approvers: names(told.people), Mark: mark(ch.Name),
	})
}

// names are people, in order.
func names(people map[pavise.Name]bool) []pavise.Name {
	return slices.SortedFunc(maps.Keys(people), func(a, b pavise.Name) int { return strings.Compare(a.String(), b.String()) })
}

// conclude notes how a change ended. An error of the runner's after its effect, such
// as an ending that could not be recorded, does not undo the effect: the mark tells.
func (c *Changes) conclude(ctx context.Context, ch *Change, runner Runner, failure error) error {
	ran, err := c.ran(ctx, ch, runner)
	if err != nil {
		return errors.Join(failure, err)
	}
	switch {
	case ran && (runner.Safe || ch.Glass != nil) && ch.Rule.Need > 0:
		ch.State, ch.Outcome = Ran, "run first; to be approved afterwards"
	case ran:
		ch.end(Done, c.now(), "run as approved")
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
	return errors.Join(failure, c.save(ctx, ch, Running))
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

// Resume goes on with what was cut off, by the end of a process or by a disk that
// took nothing: changes that were running are done if their effect is there, and run
// if it is not; approved ones are run, and so are those whose last vote was recorded
// and no more than that. What cannot be done now is done by Run.
//
// Unguarded: it decides nothing. The acts enter through the guard as ever.
func (c *Changes) Resume(ctx context.Context) error {
	left, err := c.listed(ctx, `state IN ('approved', 'running') OR state IN ('open', 'ran') AND until > ? ORDER BY proposed`, c.now().UnixMicro())
	if err != nil {
		return err
	}
	var faults []error
	for _, found := range left {
		if have, need := found.Approvals(); found.State.Waits() && have < need && found.Glass == nil {
			continue // a vote is in the table before it is in the log
		}
		if err := c.resume(ctx, found.Name); err != nil {
			faults = append(faults, fmt.Errorf("go on with change %s: %w", found.Name, err))
		}
	}
	return errors.Join(faults...)
}

// resume goes on with one change. An error that is a change's own, and no fault of the
// house's, is none.
func (c *Changes) resume(ctx context.Context, name pavise.Name) error {
	ch, release, err := c.claim(ctx, name)
	if err == nil {
		defer release()
		err = c.goOn(ctx, ch)
	}
	if err != nil && pavise.KindOf(err) == pavise.Internal && (ch == nil || ch.State == Approved || ch.State == Running) {
		return err
	}
	return nil
}

// goOn takes a change up where it was cut off. The caller has claimed it.
func (c *Changes) goOn(ctx context.Context, ch *Change) error {
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
		if err := c.save(ctx, ch, Running); err != nil {
			return err
		}
	}
	return c.advance(ctx, ch)
}

// Run goes on with changes that could not be brought to an end before, ends those whose
// time is up, and reminds of those that nobody looked at in half of it, until ctx is done. Its caller owns the goroutine.
//
// Unguarded: nobody asked for it; what it ends is a note.
func (c *Changes) Run(ctx context.Context) error {
	tick := time.NewTicker(c.every)
	defer tick.Stop()
	for {
		_, _, _ = c.Resume(ctx), c.sweep(ctx), c.remind(ctx) // what cannot be done now is done the next time
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
	late, err := c.listed(ctx, `state IN ('open', 'ran', 'approved', 'running') AND until <= ? ORDER BY until`, c.now().UnixMicro())
	if err != nil {
		return err
	}
	c.mu.Lock()
	sure := c.late.see(late)
	c.mu.Unlock()
	for _, ch := range sure {
		if ch.State.Waits() { // Resume goes on with the others, and ends them
			err = errors.Join(err, c.endLate(ctx, ch.Name))
		}
	}
	return err
}

// endLate ends one whose time is up.
func (c *Changes) endLate(ctx context.Context, name pavise.Name) error {
	ch, release, err := c.claim(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if c.now().Before(ch.Until) {
		return nil // the clock was put right meanwhile
	}
	from, kind, severity := ch.State, "change.expired", pavise.Info
	have, need := ch.Approvals()
	switch {
	case from == Ran:
		kind, severity = "change.overdue", pavise.Warning
		ch.end(Contested, c.now(), "run first, and %d of %d approvals came in time", have, need)
	case from == Open:
		ch.end(Expired, c.now(), "%d of %d approvals came in time", have, need)
	default:
		return nil // decided meanwhile
	}
	return c.close(ctx, ch, from, kind, severity)
}
