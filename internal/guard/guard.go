package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// A Class says when a verb's record must be safe.
type Class int

// The two classes.
const (
	// Control: the question is durable before the act, the ending after it.
	Control Class = iota
	// Pooled: one record, written but not synced, at Exit.
	Pooled
)

// String returns the name of the Cedar action group of the class.
func (c Class) String() string {
	if c == Pooled {
		return "pooled"
	}
	return "control"
}

// An Action is a verb that the guard knows.
type Action struct {
	Verb  string   // room.what, for example "model.infer"
	On    []string // the kinds of thing it applies to, for example "model"
	Class Class
	Safe  bool // safe direction or recovery: may use the ledger's emergency reserve
	// Consequential: done only as a change that others have approved, see
	// Config.Approved.
	Consequential bool
}

// A Recorder is what the guard needs of the evidence log. An index that Append
// returns is at least the Size read before it, and every record whose Append
// returned earlier has a smaller index. Records yields the records [from, to)
// in order and stops early at one that it cannot read.
type Recorder interface {
	Append(ctx context.Context, r *record.Record, how ledger.Durability) (ledger.Receipt, error)
	Size() uint64
	Records(from, to uint64) iter.Seq2[uint64, record.Record]
}

// Config is what a guard is made of. Actions and Log are required.
type Config struct {
	Actions     []Action               // every verb; those of Verbs are added unless they are here
	Log         Recorder               // where questions and endings are written
	Now         func() time.Time       // the clock; time.Now if nil
	Tenant      string                 // whose the guard's own notes are; "local" if empty
	DemoIssuer  string                 // the issuer whose principals are demo principals; "" if none is
	Quarantined func(pavise.Name) bool // whether a thing is in quarantine, from memory; nil: none is
	// Approved reports whether a change has been approved and is under way, as that
	// verb on that thing, from memory; nil: none ever is.
	Approved func(change pavise.Name, verb string, on pavise.Name) bool
	Pool     int // how many Pooled acts may be under way; 1024 if 0. One principal may have an eighth of them
}

// A Guard decides and records. Its methods may be called at the same time.
type Guard struct {
	log         Recorder
	tenant      string
	demoIssuer  string
	quarantined func(pavise.Name) bool
	approved    func(change pavise.Name, verb string, on pavise.Name) bool
	schema      *schema

	slots    slots
	clock    clock
	open     openSet
	refusals refusals
	denials  meter
	people   cache[string, *person]
	things   cache[thingKey, *thing]

	mu    sync.Mutex             // serialises writers of rules
	rules atomic.Pointer[ruling] // what is in force; replaced whole, never changed

	recovering sync.Mutex // held by Recover
}

// A ruling is everything that decides, as one immutable value.
type ruling struct {
	bare    *ruleset                 // the guardrails alone, for tenants without policies
	tenants map[string]*ruleset      // guardrails and tenant policies, by tenant
	observe map[pavise.Name]struct{} // things in observe mode
}

// A Denial is why Enter refused: the cause inside the error it returns, unless
// the refusal was only counted.
type Denial struct {
	Record   uint64   // index of the refusal's record
	Policies []string // ids of the policies that decided; none for a default deny
}

// Error names the record that holds the refusal.
func (d *Denial) Error() string { return fmt.Sprintf("refusal recorded at index %d", d.Record) }

// New returns a guard over the log. The newest time it has seen is that of the
// log's last record. Call Recover before the first Enter, and Load for every
// tenant: until then its things are closed to everyone.
func New(cfg Config) (*Guard, error) {
	if cfg.Log == nil {
		return nil, errors.New("guard needs a log to record in")
	}
	sch, err := newSchema(cfg.Actions)
	if err != nil {
		return nil, err
	}
	bare, err := sch.compile("", nil)
	if err != nil {
		return nil, fmt.Errorf("compile the guardrails: %w", err)
	}
	g := &Guard{
		log: cfg.Log, tenant: cfg.Tenant, demoIssuer: cfg.DemoIssuer,
		quarantined: cfg.Quarantined, approved: cfg.Approved, schema: sch,
	}
	g.slots.pool = cfg.Pool
	g.clock.now = cfg.Now
	if g.clock.now == nil {
		g.clock.now = time.Now
	}
	if g.tenant == "" {
		g.tenant = "local"
	}
	if g.slots.pool <= 0 {
		g.slots.pool = 1024
	}
	g.slots.each = max(g.slots.pool/share, 1)
	g.rules.Store(&ruling{bare: bare, tenants: map[string]*ruleset{}, observe: map[pavise.Name]struct{}{}})
	return g, g.resume()
}

// Enter asks whether who may do verb on the named thing, and records the
// question with its answer. If Enter returns an error the caller must not act:
// it was denied (kind Denied), the principal has too much under way (kind
// Throttled), or it cannot be done or written down now (kind Unavailable), which
// is the same. A denial has a *Denial as its cause, except one that was only
// counted because the principal had been denied too often within the second.
func (g *Guard) Enter(ctx context.Context, who pavise.Principal, verb string, on pavise.Name) (*Entry, error) {
	began, at, behind := g.clock.read()
	e := &Entry{guard: g, ctx: ctx, who: who, on: on, began: began, at: at}
	q, fault := g.question(who, verb, on, at)
	if fault != nil {
		return nil, g.refuse(ctx, e, verb, *fault)
	}
	e.action = q.action
	if behind > tolerance && !q.action.Safe {
		g.refusals.add(noteRefused, who.Name().String(), "clock stepped back")
		return nil, steppedBack(behind)
	}
	if q.action.Class == Pooled {
		if err := g.take(who); err != nil {
			return nil, err
		}
	}
	if err := g.admit(e, &q); err != nil {
		if q.action.Class == Pooled {
			g.slots.give(who.Name())
		}
		return nil, err
	}
	return e, nil
}

// admit decides, and records what must be recorded before the act.
func (g *Guard) admit(e *Entry, q *question) error {
	rules := g.rules.Load()
	d := rules.decide(q)
	e.policy = record.Policy{Digest: d.digest, Reasons: d.reasons, Errors: d.errors}
	if q.on.quarantined {
		e.verdicts = append(e.verdicts, pavise.Verdict{Check: checkQuarantine, Outcome: pavise.Allow, Reason: "the thing is in quarantine"})
	}
	if q.approved {
		e.verdicts = append(e.verdicts, pavise.Verdict{Check: checkChange, Outcome: pavise.Allow, Reason: "approved as " + e.who.Change.String()})
	}
	if !d.allow {
		if !rules.observes(q, d) {
			return g.refuse(e.ctx, e, q.action.Verb, denied(e, q, d))
		}
		e.policy.Observed = true
		e.verdicts = append(e.verdicts, pavise.Verdict{Check: checkPolicy, Outcome: pavise.Deny, Reason: d.why(), Observed: true})
	}
	if q.action.Class == Pooled {
		return nil
	}
	return e.begin()
}

// take reserves a slot for a Pooled act.
func (g *Guard) take(who pavise.Principal) error {
	err := g.slots.take(who.Name())
	switch pavise.KindOf(err) {
	case pavise.Throttled:
		g.refusals.add(noteRefused, who.Name().String(), "its share of the slots taken")
	case pavise.Unavailable:
		g.refusals.add(noteRefused, who.Name().String(), "all slots taken")
	}
	return err
}

// Observe turns observe mode on or off for a thing: a Pooled verb on it that
// the tenant's policies deny is recorded as denied and let through. Guardrails
// and Control verbs are always enforced, and so is the absence of any policy.
// The verb that calls Observe is the record of the change.
func (g *Guard) Observe(on pavise.Name, observe bool) {
	g.change(func(r *ruling) {
		if observe {
			r.observe[on] = struct{}{}
		} else {
			delete(r.observe, on)
		}
	})
}

// append writes a record, saying in it which Enters are settled. A record that
// is too large for the log goes without its payload, and the caller learns it.
func (g *Guard) append(ctx context.Context, r *record.Record, how ledger.Durability) (ledger.Receipt, error) {
	r.Settled = g.open.settled(g.log)
	receipt, err := g.log.Append(ctx, r, how)
	if err == nil {
		return receipt, nil
	}
	if pavise.KindOf(err) == pavise.Invalid && stripped(r) {
		if receipt, again := g.log.Append(ctx, r, how); again == nil {
			return receipt, &tooLarge{err}
		}
	}
	return receipt, unwritten(r.Kind, err)
}

// unwritten says why there is no record of the kind, in the log's own words for
// people if it has any: that its disk is full, for example.
func unwritten(kind string, err error) error {
	failure := &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  kind + " cannot be recorded, and what is not recorded may not count as done",
		Hint: "look at the evidence log and its disk",
		Err:  err,
	}
	if cause, ok := errors.AsType[*pavise.Error](err); ok {
		failure.Msg = fmt.Sprintf("%s cannot be recorded: %s", kind, cause.Msg)
		failure.Hint = cmp.Or(cause.Hint, failure.Hint)
	}
	return failure
}
