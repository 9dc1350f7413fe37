package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
)

// A Recorder is what the guard needs of the evidence log. An index that Append
// returns is at least the Size read before it, and every record whose Append
// returned earlier has a smaller index. Records yields the records [from, to)
// in order and stops early at one that it cannot read. Append keeps neither the record
// nor its detail: their rooms are used again.
type Recorder interface {
	Append(ctx context.Context, r *record.Record, how ledger.Durability) (ledger.Receipt, error)
	Size() uint64
	Records(from, to uint64) iter.Seq2[uint64, record.Record]
}

// Config is what a guard is made of. Actions and Log are required.
type Config struct {
	Actions    []Action         // every verb; those of policy.Named and policy.Catalogue are added unless they are here
	Log        Recorder         // where questions and endings are written
	Now        func() time.Time // the clock; time.Now if nil
	Tenant     string           // whose the guard's own notes are; "local" if empty
	DemoIssuer string           // the issuer whose principals are demo principals; "" if none is
	// Facts are what the rooms know of a thing, from memory; nil: nobody knows anything.
	Facts func(pavise.Name) policy.Facts
	// Approved reports whether a change has been approved and is under way, as that
	// verb on that thing, from memory; nil: none ever is.
	Approved func(change pavise.Name, verb string, on pavise.Name) bool
	Pool     int // how many Pooled acts may be under way; 1024 if 0. One principal may have an eighth of them
}

// A Guard decides and records. Its methods may be called at the same time.
type Guard struct {
	log      Recorder
	tenant   string
	facts    func(pavise.Name) policy.Facts
	approved func(change pavise.Name, verb string, on pavise.Name) bool
	demo     string                     // the issuer whose principals are demo principals
	words    atomic.Pointer[vocabulary] // what policies may speak of; replaced whole, see Govern

	slots    slots
	clock    clock
	rewound  atomic.Pointer[func(behind time.Duration)] // see Rewound
	open     openSet
	refusals refusals
	denials  meter
	callers  callers

	grants atomic.Pointer[held] // who has been granted what; replaced whole, never changed

	mu    sync.Mutex             // serialises writers of rules
	rules atomic.Pointer[ruling] // what is in force; replaced whole, never changed

	recovering sync.Mutex    // held by Recover
	studies    chan struct{} // holds one for each Study under way
}

// A vocabulary is what policies may speak of, and what questions are made of.
type vocabulary struct {
	schema   *policy.Schema
	entities *policy.Entities
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
	sch, err := policy.NewSchema(cfg.Actions)
	if err != nil {
		return nil, err
	}
	bare, err := sch.Compile("", nil, nil)
	if err != nil {
		return nil, fmt.Errorf("compile the guardrails: %w", err)
	}
	g := &Guard{
		log: cfg.Log, tenant: cfg.Tenant, facts: cfg.Facts, approved: cfg.Approved,
		demo: cfg.DemoIssuer, studies: make(chan struct{}, maxStudies),
	}
	g.words.Store(&vocabulary{sch, policy.NewEntities(sch, cfg.DemoIssuer)})
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
	g.grants.Store(&held{})
	g.rules.Store(&ruling{bare: bare, tenants: map[string]*policy.Set{}, observe: map[pavise.Name]struct{}{}})
	return g, g.resume()
}

// Enter asks whether who may do verb on the named thing, and records the
// question with its answer. If Enter returns an error the caller must not act:
// it was denied (kind Denied), the principal has too much under way (kind
// Throttled), or it cannot be done or written down now (kind Unavailable), which
// is the same. A denial has a *Denial as its cause, except one that was only
// counted because the principal had been denied too often within the second.
func (g *Guard) Enter(ctx context.Context, who pavise.Principal, verb string, on pavise.Name) (*Entry, error) {
	e := entries.Get().(*Entry)
	e.guard, e.ctx, e.who, e.on = g, unending{ctx}, who, on
	return g.enter(ctx, e, verb)
}

// enter is Enter of an entry that knows who and on what.
func (g *Guard) enter(ctx context.Context, e *Entry, verb string) (*Entry, error) {
	var behind time.Duration
	e.began, e.at, behind = g.clock.read()
	q := &e.asked // it would have to be allocated, for policies are asked by a pointer to it
	var fault *fault
	if *q, fault = g.question(&e.who, verb, e.on, e.at); fault != nil {
		return nil, g.refuse(ctx, e, verb, *fault)
	}
	e.action = q.Act
	if behind > tolerance && !q.Act.Safe {
		g.refusals.add(noteRefused, e.who.Name().String(), "clock stepped back")
		return nil, steppedBack(behind)
	}
	if q.Act.Class == Pooled {
		var err error
		if e.slot, err = g.take(&e.who); err != nil {
			return nil, err
		}
	}
	err := g.admit(e, q)
	g.callers.note(&e.who, e.at, err == nil)
	if err != nil {
		if q.Act.Class == Pooled {
			g.slots.give(e.slot)
		}
		return nil, err
	}
	return e, nil
}

// admit decides, and records what must be recorded before the act.
func (g *Guard) admit(e *Entry, q *asked) error {
	rules := g.rules.Load()
	d := rules.decide(&q.Question)
	e.policy = record.Policy{Digest: d.Digest, Reasons: d.Reasons, Errors: d.Errors}
	e.verdicts = seen(e.room[:0], &q.Question, e.who.Change, q.grants)
	if !d.Allow {
		if !rules.observes(&q.Question, d) {
			return g.refuse(e.ctx.Context, e, q.Act.Verb, denied(e, q, d))
		}
		e.policy.Observed = true
		e.verdicts = append(e.verdicts, pavise.Verdict{Check: checkPolicy, Outcome: pavise.Deny, Reason: d.Why(), Observed: true})
	}
	if q.Act.Class == Pooled {
		return nil
	}
	return e.begin()
}

// take reserves a slot for a Pooled act.
func (g *Guard) take(who *pavise.Principal) (*slot, error) {
	slot, err := g.slots.take(who.Name())
	switch pavise.KindOf(err) {
	case pavise.Throttled:
		g.refusals.add(noteRefused, who.Name().String(), "its share of the slots taken")
	case pavise.Unavailable:
		g.refusals.add(noteRefused, who.Name().String(), "all slots taken")
	}
	return slot, err
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

// Load puts a tenant's policies in force, all at once, in place of those before;
// nil takes the tenant's policies away and so closes it. If one of them does
// not parse or speaks of what the schema does not declare, nothing changes and
// the error, of kind Invalid, says which, on which line and column, and why.
func (g *Guard) Load(tenant string, texts map[string]string) error {
	set, err := g.words.Load().schema.Compile(tenant, texts, g.rules.Load().set(tenant))
	if err != nil {
		return err
	}
	g.install(tenant, set)
	return nil
}

// install makes a compiled set the one in force.
func (g *Guard) install(tenant string, set *policy.Set) {
	g.change(func(r *ruling) { r.tenants[tenant] = set })
}

// change replaces the ruling by one that edit has changed.
func (g *Guard) change(edit func(*ruling)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.rules.Load()
	next := &ruling{bare: old.bare, tenants: maps.Clone(old.tenants), observe: maps.Clone(old.observe)}
	edit(next)
	g.rules.Store(next)
}

// Loaded reports whether the tenant has policies in force. Without any, it is closed.
func (g *Guard) Loaded(tenant string) bool { return g.rules.Load().set(tenant).Loaded() }

// Digest returns the hex SHA-256 of what decides for the tenant: the guardrails
// and its policies in force.
func (g *Guard) Digest(tenant string) string { return g.rules.Load().set(tenant).Digest() }

// Schema returns what policies may speak of, as Cedar schema text.
func (g *Guard) Schema() string { return g.words.Load().schema.Text() }

// append writes a record, saying in it which Enters are settled. A record that
// is too large for the log goes without its payload, and the caller learns it. An
// act whose record cannot be written is counted.
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
	g.missed(r)
	return receipt, unwritten(r.Kind, err)
}

// missed counts an act of which no record could be written, so that the log says at
// least how many there were once it takes records again.
func (g *Guard) missed(r *record.Record) {
	switch r.Phase {
	case record.Act, record.Enter, record.Exit:
		source := "callers without a proper name"
		if r.Who != nil {
			source = r.Who.Name().String()
		}
		g.refusals.add(noteRefused, source, r.Kind+": no record of it could be written")
	}
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
