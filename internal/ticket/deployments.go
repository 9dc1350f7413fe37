package ticket

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/outbound"
	"github.com/pavise/pavise/internal/pipeline"
	"github.com/pavise/pavise/internal/store"
)

// The states of a deployment that waits, or waited.
const (
	waits    = "waits"    // and no change is proposed yet
	proposed = "proposed" // others are to decide
	passed   = "approved" // to be told
	refused  = "rejected" // to be told
	answered = "answered" // the tool took the answer
	gone     = "gone"     // it waits no more, and nobody answered
)

const (
	maxWaiting = 200                 // deployments of one tool that wait
	lookAgain  = 5 * time.Minute     // how often is looked whether one waits still
	maxOver    = 5_000               // that wait no more, and are remembered
	keptFor    = 90 * 24 * time.Hour // how long those are remembered that wait no more: no tool waits as long
)

// A Waiting is a deployment that waits in a tool until others have decided on a change here.
type Waiting struct {
	pipeline.Deployment
	State  string      `json:"state"` // waits, proposed, approved, rejected, answered or gone
	Why    string      `json:"why,omitempty"`
	Change pavise.Name `json:"change,omitzero"`
	tries  int
	due    time.Time
	made   time.Time
}

// scanWaiting reads a row of ticket_deployments.
func scanWaiting(from interface{ Scan(...any) error }, tenant string) (w Waiting, err error) {
	var text, id string
	var due, made int64
	if err := from.Scan(&text, &w.State, &w.Why, &id, &w.tries, &due, &made); err != nil {
		return w, err
	}
	w.due, w.made = time.UnixMicro(due), time.UnixMicro(made)
	if id != "" {
		w.Change = pavise.Name{Tenant: tenant, Kind: "change", ID: id}
	}
	if err := json.Unmarshal([]byte(text), &w.Deployment); err != nil {
		return w, fmt.Errorf("read a deployment: %w", err)
	}
	return w, nil
}

const waitingColumns = `SELECT deployment, state, why, change, tries, due, made FROM ticket_deployments WHERE tenant = ? AND tool = ?`

// deploymentsOf returns the deployments of a tool that meet a condition.
func deploymentsOf(tx *store.Tx, at place, condition string, args ...any) (all []Waiting, err error) {
	rows, err := tx.Query(waitingColumns+` `+condition, append([]any{at.tenant, at.name}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		w, err := scanWaiting(rows, at.tenant)
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, rows.Err()
}

// await writes down that a deployment waits, unless that is known: what is told twice, or
// replayed, is told once. The error is of kind Throttled where too many wait.
func await(tx *store.Tx, at place, d pipeline.Deployment, now time.Time) error {
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode a deployment: %w", err)
	}
	_, err = tx.Exec(`DELETE FROM ticket_deployments WHERE tenant = ?1 AND tool = ?2 AND state IN (?3, ?4) AND (made < ?5 OR id IN (
		SELECT id FROM ticket_deployments WHERE tenant = ?1 AND tool = ?2 AND state IN (?3, ?4) ORDER BY made DESC, id LIMIT -1 OFFSET ?6))`,
		at.tenant, at.name, answered, gone, now.Add(-keptFor).UnixMicro(), maxOver)
	if err != nil {
		return err
	}
	var n, known int
	err = tx.QueryRow(`SELECT coalesce(sum(state NOT IN (?, ?)), 0), coalesce(sum(id = ?), 0) FROM ticket_deployments WHERE tenant = ? AND tool = ?`, answered, gone, d.ID, at.tenant, at.name).Scan(&n, &known)
	switch {
	case err != nil || known > 0:
		return err
	case n >= maxWaiting:
		return &pavise.Error{Kind: pavise.Throttled, Msg: fmt.Sprintf("%d deployments of %s wait already", n, at.name), Hint: "decide on some of them: pavise change list --waiting"}
	}
	_, err = tx.Exec(`INSERT INTO ticket_deployments (tenant, tool, id, deployment, state, why, change, tries, due, made) VALUES (?, ?, ?, ?, ?, '', '', 0, 0, ?)`,
		at.tenant, at.name, d.ID, string(text), waits, now.UnixMicro())
	return err
}

// keep does all that can be done for deployments now. The error is a fault of the house's.
func (c *clerk) keep(ctx context.Context, tool pipeline.Tool) error {
	now := c.desk.cfg.Now()
	if !now.Before(c.listen) {
		c.listen = now.Add(listenEvery)
		found, err := tool.Waiting(ctx)
		if err != nil {
			return c.stumble(ctx, err)
		}
		c.state.worked(0)
		err = c.desk.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			for _, d := range found {
				if err := await(tx, c.place, d, now); err != nil && pavise.KindOf(err) != pavise.Throttled {
					return err // those that are too many wait where they are
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	var all []Waiting
	err := c.desk.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = deploymentsOf(tx, c.place, `AND state IN (?, ?, ?, ?) AND (due <= ? OR state = ?) ORDER BY made, id LIMIT ?`, waits, proposed, passed, refused, now.UnixMicro(), proposed, maxWaiting)
		return err
	})
	for _, w := range all {
		if err == nil && !c.desk.cfg.Now().Before(c.quiet) {
			err = c.keepOne(ctx, tool, w)
		}
	}
	return err
}

// stumble leaves the tool alone for a while, for what it answered or what it cannot be told.
func (c *clerk) stumble(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if a, ok := errors.AsType[*outbound.Answer](err); ok {
		c.troubled(ctx, a)
		return nil
	}
	return err
}

// keepOne brings one deployment as far as it gets now.
func (c *clerk) keepOne(ctx context.Context, tool pipeline.Tool, w Waiting) error {
	now := c.desk.cfg.Now()
	switch w.State {
	case waits:
		return c.proposeOne(ctx, tool, w)
	case proposed:
		ch, err := c.desk.cfg.Changes.Look(ctx, w.Change)
		if err != nil {
			return err
		}
		if !ch.Ended.IsZero() && ch.State != change.Done { // a yes is written where it is run
			return c.move(ctx, w, proposed, refused, fmt.Sprintf("change %s is %s: %s", ch.Name.ID, ch.State, ch.Outcome), now)
		}
		if now.Before(w.due) {
			return nil
		}
		switch _, err := tool.Look(ctx, w.Deployment); {
		case errors.Is(err, pipeline.ErrGone):
			return c.takeBack(ctx, w)
		case err != nil:
			return c.stumble(ctx, err)
		}
		return c.move(ctx, w, proposed, proposed, "", now.Add(lookAgain))
	}
	return c.answerOne(ctx, tool, w)
}

// takeBack withdraws the change of a deployment that waits no more: whoever may begin and cancel
// deployments would else fill the tenant's changes until nobody can propose any.
func (c *clerk) takeBack(ctx context.Context, w Waiting) error {
	_, err := c.desk.cfg.Withdraw(ctx, deskOf(c.tenant), w.Change)
	if _, ok := errors.AsType[*pavise.Error](err); err != nil && !ok { // one that is decided, or that policies leave there, is void when it is run
		return err
	}
	return c.move(ctx, w, proposed, gone, "it waits no more in the tool", c.desk.cfg.Now())
}

// move brings a deployment from one state to another, unless it left the first meanwhile.
func (c *clerk) move(ctx context.Context, w Waiting, from, to, why string, due time.Time) error {
	return c.desk.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE ticket_deployments SET state = ?, why = CASE WHEN ? = '' THEN why ELSE ? END, due = ?, tries = CASE WHEN state = ? THEN tries ELSE 0 END WHERE tenant = ? AND tool = ? AND id = ? AND state = ?`,
			to, why, clean(why, 500), due.UnixMicro(), to, c.tenant, c.name, w.ID, from)
		return err
	})
}

// try writes down, before it is tried, that something is: whoever comes after a crash looks
// whether it was done.
func (c *clerk) try(ctx context.Context, w Waiting, d pipeline.Deployment) error {
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode a deployment: %w", err)
	}
	return c.desk.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE ticket_deployments SET tries = tries + 1, deployment = ?, due = ? WHERE tenant = ? AND tool = ? AND id = ? AND state = ?`,
			string(text), c.desk.cfg.Now().Add(c.desk.pause(w.tries+1, 0)).UnixMicro(), c.tenant, c.name, w.ID, w.State)
		return err
	})
}

// proposeOne proposes that a deployment may go on, once.
func (c *clerk) proposeOne(ctx context.Context, tool pipeline.Tool, w Waiting) error {
	d, err := tool.Look(ctx, w.Deployment)
	switch {
	case errors.Is(err, pipeline.ErrGone):
		return c.move(ctx, w, waits, gone, "it waited no more when it was looked at", c.desk.cfg.Now())
	case err != nil:
		return c.stumble(ctx, err)
	}
	if err := c.try(ctx, w, d); err != nil {
		return err
	}
	name, err := c.proposal(ctx, w, d)
	if err != nil {
		return c.stumble(ctx, err)
	}
	return c.desk.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE ticket_deployments SET state = ?, change = ?, tries = 0, due = ? WHERE tenant = ? AND tool = ? AND id = ? AND state = ?`,
			proposed, name.ID, c.desk.cfg.Now().Add(lookAgain).UnixMicro(), c.tenant, c.name, w.ID, waits)
		return err
	})
}

// proposal is the change that says that a deployment may go on: one that an earlier attempt
// proposed, or a new one.
func (c *clerk) proposal(ctx context.Context, w Waiting, d pipeline.Deployment) (pavise.Name, error) {
	digest := deploymentDigest(c.target, d)
	if w.tries > 0 {
		names, _, err := c.desk.cfg.Changes.Proposed(ctx, c.tenant, w.made.Add(-overlap), 10_000)
		if err != nil {
			return pavise.Name{}, err
		}
		for _, name := range names {
			ch, err := c.desk.cfg.Changes.Look(ctx, name)
			if err != nil {
				return pavise.Name{}, err
			}
			if ch.Verb == VerbPass && ch.On == c.thing() && ch.Plan.Digests[DigestDeployment] == digest && ch.Proposer.Name() == deskOf(c.tenant).Name() {
				return name, nil
			}
		}
	}
	request, err := json.Marshal(PassSpec{Deployment: d.ID})
	if err != nil {
		return pavise.Name{}, fmt.Errorf("encode a proposal: %w", err)
	}
	ch, err := c.desk.cfg.Propose(ctx, deskOf(c.tenant), change.Proposal{
		Verb: VerbPass, On: c.thing(), Request: request, Reason: fmt.Sprintf("it waits in %s", c.name),
	})
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		return pavise.Name{}, &outbound.Answer{Why: "no change can be proposed here: " + e.Msg, Sure: true}
	}
	if err != nil {
		return pavise.Name{}, err
	}
	return ch.Name, nil
}

// answerOne tells the tool what was decided.
func (c *clerk) answerOne(ctx context.Context, tool pipeline.Tool, w Waiting) error {
	if err := c.try(ctx, w, w.Deployment); err != nil {
		return err
	}
	err := tool.Answer(ctx, w.Deployment, w.State == passed, "Pavise: "+w.Why, w.tries > 0)
	switch a, ok := errors.AsType[*outbound.Answer](err); {
	case err == nil:
		c.state.worked(1)
		return c.move(ctx, w, w.State, answered, "", c.desk.cfg.Now())
	case errors.Is(err, pipeline.ErrGone) && w.tries > 0: // it went on when it was told before
		return c.move(ctx, w, w.State, answered, "", c.desk.cfg.Now())
	case errors.Is(err, pipeline.ErrGone):
		return c.move(ctx, w, w.State, gone, "", c.desk.cfg.Now())
	case ok && refuses(a) && w.tries+1 >= maxTries:
		c.note(ctx, KindLost, c.thing(), pavise.Warning, fmt.Sprintf("the tool %s does not take that the deployment %s to %s is %s: %s", c.name, w.ID, w.Environment, w.State, a.Why))
		return c.move(ctx, w, w.State, gone, "the tool does not take the answer: "+a.Why, c.desk.cfg.Now())
	case ok && refuses(a):
		return nil // it is tried again, and others are told meanwhile
	}
	return c.stumble(ctx, err)
}

// VerbPass is the verb that lets a deployment go on that waits in a tool.
const VerbPass = "ticket.pass"

// RoleDesk is the role as which the desk proposes.
const RoleDesk = "ticket-desk"

// deskOf is the desk of a tenant, which proposes and votes on nothing.
func deskOf(tenant string) pavise.Principal {
	return pavise.Principal{Tenant: tenant, Kind: pavise.Workload, ID: "ticket-desk", Roles: []string{RoleDesk}, Proof: "part of the house"}
}

// A PassSpec asks that a deployment may go on: the request of ticket.pass.
type PassSpec struct {
	Deployment string `json:"deployment"` // by its id
}

// DigestDeployment names the digest of what a change lets go on.
const DigestDeployment = "deployment"

// A PassPlan says what would go on.
type PassPlan struct {
	pipeline.Deployment
	Kind   string        `json:"kind"`
	Place  string        `json:"place"`
	Began  []pavise.Name `json:"began,omitempty"` // who began it there, as far as accounts of that place are known here
	Digest string        `json:"digest"`          // of all that is approved
}

// deploymentDigest covers what goes on: where, to which environment, and which content.
func deploymentDigest(t target, d pipeline.Deployment) string {
	text := strings.Join([]string{t.Kind, t.where(), d.ID, fmt.Sprint(d.Number, " ", d.Attempt), d.Environment, d.Ref, d.SHA}, "\n")
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// PlanPass says what ticket.pass would let go on. The error is of kind NotFound where no such
// deployment is known, and Conflict where it waits no more.
//
// Unguarded: it reads, for package change, which asks at the proposal and at each vote.
func (d *Desk) PlanPass(ctx context.Context, on pavise.Name, spec PassSpec) (plan PassPlan, err error) {
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		plan, err = d.planPass(tx, place{on.Tenant, on.ID}, spec)
		return err
	})
	return plan, err
}

func (d *Desk) planPass(tx *store.Tx, at place, spec PassSpec) (plan PassPlan, err error) {
	r, err := d.find(tx, at)
	if err != nil {
		return plan, err
	}
	w, err := scanWaiting(tx.QueryRow(waitingColumns+` AND id = ?`, at.tenant, at.name, spec.Deployment), at.tenant)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return plan, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no deployment %.80q waits in %s", spec.Deployment, at.name), Hint: "pavise ticket show " + at.name + " lists those that do"}
	case err != nil:
		return plan, err
	case w.State != waits && w.State != proposed || w.SHA == "":
		return plan, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the deployment %s of %s is %s", w.ID, at.name, w.State), Hint: "begin it anew in the tool"}
	}
	plan = PassPlan{Deployment: w.Deployment, Kind: r.Kind, Place: r.target.where(), Digest: deploymentDigest(r.target, w.Deployment)}
	plan.Began, err = d.began(tx, r, w.Account)
	return plan, err
}

// began returns the people that an account is known as in the tenant's tools of the same
// place: who has something deployed is not who says that it may be.
func (d *Desk) began(tx *store.Tx, r row, account string) (people []pavise.Name, err error) {
	here, err := url.Parse(r.URL)
	if err != nil || account == "" {
		return nil, err
	}
	all, err := store.Docs[Mapping](tx, `SELECT mapping FROM ticket_accounts WHERE tenant = ? AND account = ? ORDER BY tool`, r.tenant, account)
	for _, m := range all {
		address, _, _ := strings.Cut(m.Place, " ")
		if u, err := url.Parse(address); err == nil && strings.EqualFold(u.Host, here.Host) {
			people = append(people, m.Person)
		}
	}
	return people, err
}

// Pass lets a deployment go on: the verb ticket.pass, for a change that others approved.
// digest is that of the plan they approved, and mark is called in the transaction of the
// effect. The tool is told next.
func (d *Desk) Pass(ctx context.Context, who pavise.Principal, on pavise.Name, spec PassSpec, digest string, mark func(*store.Tx) error) (err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, VerbPass, on)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	at := place{on.Tenant, on.ID}
	var plan PassPlan
	err = d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if plan, err = d.planPass(tx, at, spec); err != nil {
			return err
		}
		if plan.Digest != digest {
			return &pavise.Error{Kind: pavise.Conflict, Msg: "the deployment is another than was approved", Hint: "begin it anew in the tool"}
		}
		if err := mark(tx); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE ticket_deployments SET state = ?, why = ?, change = ?, tries = 0, due = 0 WHERE tenant = ? AND tool = ? AND id = ?`,
			passed, fmt.Sprintf("change %s was approved", who.Change.ID), who.Change.ID, at.tenant, at.name, spec.Deployment)
		return err
	})
	entry.Detail(plan)
	return err
}
