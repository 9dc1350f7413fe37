package ticket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/outbound"
	"github.com/pavise/pavise/internal/pipeline"
	"github.com/pavise/pavise/internal/store"
)

const (
	// overlap is how far behind what was seen is looked again: a clock may be set back.
	overlap = 5 * time.Minute
	// batch is how many changes are looked at, and steps told, before something else is done.
	batch = 200
	// maxTries is how often a step is tried that the tool says it will not take.
	maxTries = 10
	// patience is how long a tool that is slow is told, before it is heard.
	patience = 30 * time.Second
	// settled is how long after a ticket may have been made, and nobody said so, it is
	// looked for and made anew: searches of tools lag behind.
	settled = time.Minute
)

// A clerk serves one tool. Its goroutine owns it, but for nudged.
type clerk struct {
	desk *Desk
	row
	state  *state
	nudged chan struct{} // somebody says that there is something to hear
	cancel context.CancelFunc
	done   chan struct{} // closed when its goroutine has ended

	tool   prober                 // a tool, or a pipeline.Tool
	known  map[pavise.Name]string // how far each change was when its steps were written
	quiet  time.Time              // the tool is left alone until then
	listen time.Time              // when words are read next
	offset int                    // the ticket that is heard first
}

// serve tells and hears until ctx is done.
func (c *clerk) serve(ctx context.Context) {
	c.known = map[pavise.Name]string{}
	for {
		if err := c.round(ctx); err != nil && ctx.Err() == nil {
			if n, _ := c.state.failing(err.Error(), c.desk.cfg.Now()); n == 1 {
				c.desk.cfg.Say("warning", err)
			}
		}
		select {
		case <-time.After(c.desk.cfg.Every):
		case <-c.nudged:
			c.listen = time.Time{}
		case <-ctx.Done():
			return
		}
	}
}

// round does all that can be done now. The error is a fault of the house's.
func (c *clerk) round(ctx context.Context) error {
	if !holds(c.Kind) {
		if err := c.gather(ctx); err != nil {
			return err
		}
	}
	now := c.desk.cfg.Now()
	if now.Before(c.quiet) {
		return nil
	}
	if c.tool == nil {
		t, err := c.target.dial(c.desk.cfg.Reach, c.desk.cfg.Roots, c.desk.marks(c.place), c.desk.cfg.Now)
		if err != nil {
			c.troubled(ctx, &outbound.Answer{Why: err.Error(), Sure: true})
			return nil
		}
		c.tool = t
	}
	if holder, ok := c.tool.(pipeline.Tool); ok {
		return c.keep(ctx, holder)
	}
	if err := c.deliver(ctx); err != nil {
		return err
	}
	if now.Before(c.listen) || now.Before(c.quiet) || !kinds[c.Kind] {
		return nil
	}
	c.listen = now.Add(listenEvery)
	return c.hear(ctx)
}

func (d *Desk) marks(at place) marks { return marks{d.cfg.KEK.Tickets(at.tenant), at} }

// gather writes down what is to be told.
func (c *clerk) gather(ctx context.Context) error {
	if err := c.meet(ctx); err != nil {
		return err
	}
	var all []open
	err := c.desk.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = opened(tx, c.place)
		return err
	})
	if err != nil {
		return err
	}
	for _, o := range all {
		ch, err := c.desk.cfg.Changes.Look(ctx, o.change)
		if err != nil {
			return err
		}
		if err := c.follow(ctx, ch); err != nil {
			return err
		}
	}
	return nil
}

// meet looks for changes that the tool knows nothing of yet.
func (c *clerk) meet(ctx context.Context) error {
	names, last, err := c.desk.cfg.Changes.Proposed(ctx, c.tenant, c.seen.Add(-overlap), batch)
	if err != nil || len(names) == 0 {
		return err
	}
	var fresh []pavise.Name
	err = c.desk.cfg.Store.View(ctx, func(tx *store.Tx) error {
		for _, name := range names {
			var n int
			if err := tx.QueryRow(`SELECT count(*) FROM ticket_tickets WHERE tenant = ? AND tool = ? AND change = ?`, c.tenant, c.name, name.ID).Scan(&n); err != nil {
				return err
			}
			if n == 0 {
				fresh = append(fresh, name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var begin []pavise.Name
	for _, name := range fresh {
		ch, err := c.desk.cfg.Changes.Look(ctx, name)
		if err != nil {
			return err
		}
		if ch.Rule.Need > 0 && (ch.Ended.IsZero() || ch.Ended.After(c.made)) {
			begin = append(begin, name)
		}
	}
	if len(begin) == 0 && !last.After(c.seen) {
		return nil
	}
	c.seen = maxTime(c.seen, last)
	if len(names) == batch {
		c.seen = last.Add(overlap) // those before were all looked at: go on behind them
	}
	return c.desk.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for _, name := range begin {
			if _, err := tx.Exec(`INSERT INTO ticket_tickets (tenant, tool, change, ticket, ended) VALUES (?, ?, ?, '', 0) ON CONFLICT DO NOTHING`, c.tenant, c.name, name.ID); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`UPDATE ticket_tools SET seen = ? WHERE tenant = ? AND name = ?`, c.seen.UnixMicro(), c.tenant, c.name)
		return err
	})
}

func maxTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// follow writes down the steps of a change that are not there yet.
func (c *clerk) follow(ctx context.Context, ch *change.Change) error {
	far := fmt.Sprint(ch.State, len(ch.Votes), ch.Unseen.IsZero(), ch.Glass != nil, ch.Ended.IsZero())
	if c.known[ch.Name] == far {
		return nil
	}
	all := stepsOf(ch, c.desk.cfg.Hears(ch))
	if c.Kind == cdEvents {
		all = withServed(all, ch)
	}
	err := c.desk.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for _, s := range all {
			if err := addStep(tx, c.place, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		c.known[ch.Name] = far
	}
	return err
}

// deliver tells what is due. The error is a fault of the house's.
func (c *clerk) deliver(ctx context.Context) error {
	began := c.desk.cfg.Now()
	for range batch {
		if c.desk.cfg.Now().Sub(began) > patience {
			return nil // what people say there is to be heard, too
		}
		var w waiting
		var ok bool
		err := c.desk.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			w, ok, err = due(tx, c.place, c.desk.cfg.Now())
			return err
		})
		if err != nil || !ok {
			return err
		}
		// Before it is tried: whoever comes after a crash has to look whether it was told, and
		// for a ticket not before a search shows it.
		due := int64(0)
		if w.step.Sort == stepOpened {
			due = c.desk.cfg.Now().Add(settled).UnixMicro()
		}
		err = c.desk.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE ticket_steps SET tries = tries + 1, due = max(due, ?) WHERE seq = ?`, due, w.seq)
			return err
		})
		if err != nil {
			return err
		}
		failure := c.attempt(ctx, &w)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.conclude(ctx, w, failure); err != nil || c.desk.cfg.Now().Before(c.quiet) {
			return err
		}
	}
	return nil
}

// errNoTicket is why a step is not told of which the tool never took the beginning.
var errNoTicket = errors.New("the tool has no ticket of the change")

// attempt tells a step, once.
func (c *clerk) attempt(ctx context.Context, w *waiting) (err error) {
	tool := c.tool.(tool)
	switch {
	case w.step.Sort == stepOpened:
		w.ticket, err = tool.open(ctx, w.step)
		return err
	case w.ticket.ID == "":
		return errNoTicket
	}
	return tool.tell(ctx, w.ticket, w.step, w.tries > 0)
}

// conclude writes down how an attempt ended.
func (c *clerk) conclude(ctx context.Context, w waiting, failure error) error {
	if failure == nil {
		c.state.worked(1)
		return c.strike(ctx, w, 1)
	}
	a, ok := errors.AsType[*outbound.Answer](failure)
	if !ok { // what cannot be told or encoded never will be
		return c.strike(ctx, w, 2)
	}
	refused := refuses(a)
	if refused && w.tries+1 >= maxTries {
		c.note(ctx, KindLost, w.step.Change, pavise.Warning, fmt.Sprintf("the tool %s does not take that change %s %s, and is not told any more: %s", c.name, w.step.Change.ID, sorts[w.step.Sort], a.Why))
		return c.strike(ctx, w, 2)
	}
	wait := c.desk.pause(w.tries+1, a.After)
	if w.step.Sort == stepOpened && !a.Sure {
		wait = max(wait, settled)
	}
	if !refused {
		c.troubled(ctx, a)
	}
	return c.desk.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE ticket_steps SET due = ? WHERE seq = ?`, c.desk.cfg.Now().Add(wait).UnixMicro(), w.seq)
		return err
	})
}

// refuses reports whether an answer is a no that asking again will hardly change: no fault of
// the secret's or of the time's.
func refuses(a *outbound.Answer) bool {
	return a.Sure && a.Status != http.StatusUnauthorized && a.Status != http.StatusForbidden && a.Status != http.StatusTooManyRequests && a.Status != http.StatusRequestTimeout
}

// sorts are the sorts of step in words.
var sorts = map[string]string{
	stepOpened: "was proposed", stepVoted: "was voted on", stepRan: "was run first", stepBroken: "was run before its approval",
	stepUnseen: "was looked at by nobody", stepEnded: "ended", stepReplied: "has a word on it that does not count", stepServed: "has another model answer",
}

// strike strikes a step off: the tool took it (1), or never will (2). A change of which
// everything was told is done with.
func (c *clerk) strike(ctx context.Context, w waiting, told int) error {
	known, err := json.Marshal(w.ticket)
	if err != nil {
		return fmt.Errorf("encode a ticket: %w", err)
	}
	ended := false
	err = c.desk.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`UPDATE ticket_steps SET told = ? WHERE seq = ?`, told, w.seq); err != nil {
			return err
		}
		if w.step.Sort == stepOpened && told == 1 {
			if _, err := tx.Exec(`UPDATE ticket_tickets SET ticket = ? WHERE tenant = ? AND tool = ? AND change = ?`, string(known), c.tenant, c.name, w.step.Change.ID); err != nil {
				return err
			}
		}
		var left, ends int
		if err := tx.QueryRow(`SELECT sum(told = 0), sum(step = ? AND told > 0) FROM ticket_steps WHERE tenant = ? AND tool = ? AND change = ?`, stepEnded, c.tenant, c.name, w.step.Change.ID).Scan(&left, &ends); err != nil {
			return err
		}
		if ended = left == 0 && ends > 0; !ended {
			return nil
		}
		if _, err := tx.Exec(`UPDATE ticket_tickets SET ended = 1 WHERE tenant = ? AND tool = ? AND change = ?`, c.tenant, c.name, w.step.Change.ID); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM ticket_steps WHERE tenant = ? AND tool = ? AND change = ?`, c.tenant, c.name, w.step.Change.ID)
		return err
	})
	if err == nil && ended {
		delete(c.known, w.step.Change)
	}
	return err
}

// troubled leaves the tool alone for a while. One that has taken nothing for long is a
// finding, once.
func (c *clerk) troubled(ctx context.Context, a *outbound.Answer) {
	now := c.desk.cfg.Now()
	failed, silent := c.state.failing(a.Why, now)
	c.quiet = now.Add(c.desk.pause(failed, a.After))
	if silent {
		c.note(ctx, KindUnreachable, c.thing(), pavise.Warning, fmt.Sprintf("the tool %s has taken nothing for %v: %s", c.name, maxSilence, a.Why))
	}
}

// note leaves a finding about the tool. What cannot be recorded is said to the operator
// all the same.
func (c *clerk) note(ctx context.Context, kind string, on pavise.Name, severity, summary string) {
	detail := struct {
		Tool    pavise.Name    `json:"tool"`
		Finding pavise.Finding `json:"finding"`
	}{c.thing(), pavise.Finding{Kind: kind, Severity: severity, On: on, Summary: summary, At: c.desk.cfg.Now().UTC()}}
	err := c.desk.cfg.Guard.Note(context.WithoutCancel(ctx), kind, nil, on, detail)
	if err != nil || severity != pavise.Info {
		c.desk.cfg.Say("warning", &pavise.Error{Kind: pavise.Unavailable, Msg: summary, Hint: "pavise ticket list says how each tool fares", Err: err})
	}
}
