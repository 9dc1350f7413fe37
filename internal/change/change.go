package change

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/store"
)

// A Runner does one consequential verb.
type Runner struct {
	// Plan says what a request would come to, and refuses what could never be done.
	// It changes nothing. It is asked when the change is proposed, at every vote and
	// before it is run.
	Plan func(ctx context.Context, on pavise.Name, request json.RawMessage) (Plan, error)
	// Run does it: it enters through the guard as act.Who, and calls act.Mark in the
	// transaction of its effect, once. An effect outside of the store needs Ran.
	Run func(ctx context.Context, act Act) error
	// Ran reports whether the effect of a change that was cut off is there. nil: the
	// mark says so.
	Ran func(ctx context.Context, change pavise.Name) (bool, error)
	// Safe: it only makes things safer, and runs before anybody approved it.
	Safe bool
	// Votes is the verb that whoever decides on the change may do on the thing; empty: the
	// verb of the change. Where one does what another agreed to, it is not the same.
	Votes string
	// Widens: it lets somebody new decide, and so takes as many approvals as any verb of
	// the tenant does: fewer people could make the ones that are missing.
	Widens bool
	// Breakable says what keeps a request from being run by Break before anybody approved
	// it, or nil. A runner without it has none that could be.
	Breakable func(on pavise.Name, request json.RawMessage) error
	// Outside: votes that were read in a tool that people have count for it, too, unless
	// the plan's risk is high or the rule takes more than one person.
	Outside bool
}

// A Plan is what a request would come to.
type Plan struct {
	Summary string            `json:"summary"`          // one sentence for people
	Digests map[string]string `json:"digests"`          // what the outcome depends on: approvals die when one changes
	Detail  any               `json:"detail,omitempty"` // what people should look at before they decide
	Risk    string            `json:"risk,omitempty"`   // high: nobody decides on it from outside
	// Days is how long votes count at most, whatever the rule of the verb says; 0: as long as that.
	Days int `json:"days,omitempty"`
	// Parties are those who gain by it, beside who proposes it: their approval does not
	// count.
	Parties []pavise.Name `json:"parties,omitempty"`
	// Need is how many approvals it takes at least, whatever the rule of the verb says.
	Need int `json:"need,omitempty"`
}

// An Act is a change that is being run.
type Act struct {
	Who     pavise.Principal // the proposer, acting as the change
	On      pavise.Name
	Request json.RawMessage
	Digests map[string]string // what was approved depends on: those of the plan
	// Approvals is how many other people the log proves to have agreed by now: fewer than
	// usual where a rule asks for none.
	Approvals int
	Approvers []pavise.Name         // these people, in order
	Mark      func(*store.Tx) error // to be called in the transaction of the effect
}

// A State is how far a change has come.
type State string

// The states. Only the first three lead on.
const (
	Open      State = "open"      // waits for votes
	Approved  State = "approved"  // has them, and is about to run
	Running   State = "running"   // is under way, or was when the process stopped
	Ran       State = "ran"       // was run first, and waits for approval afterwards
	Done      State = "done"      // was run, with all the approvals it takes
	Failed    State = "failed"    // was run, and its effect was refused
	Denied    State = "denied"    // somebody said no
	Withdrawn State = "withdrawn" // by who proposed it
	Expired   State = "expired"   // too few approved it in time
	Void      State = "void"      // what it depends on changed: propose it anew
	Contested State = "contested" // was run first, and then denied or not looked at in time
)

// Waits reports whether the state waits for votes.
func (s State) Waits() bool { return s == Open || s == Ran }

// A Change is an act that somebody proposes.
type Change struct {
	Name     pavise.Name      `json:"name"` // tenant/change/id
	Verb     string           `json:"verb"`
	On       pavise.Name      `json:"on"`
	Reason   string           `json:"reason,omitempty"` // why, says the proposer
	Proposer pavise.Principal `json:"proposer"`
	Proposed time.Time        `json:"proposed"`
	Until    time.Time        `json:"until"` // votes count until then
	Rule     Rule             `json:"rule"`  // as it was when the change was proposed
	Plan     Plan             `json:"plan"`
	Digest   string           `json:"digest"` // what approvals approve
	State    State            `json:"state"`
	Outcome  string           `json:"outcome,omitempty"` // how it ended, in words
	Ended    time.Time        `json:"ended,omitzero"`
	Votes    []Vote           `json:"votes"`
	Glass    *Glass           `json:"glass,omitempty"` // it was run before it was approved: see Break
	Unseen   time.Time        `json:"unseen,omitzero"` // when half of its time was over, and nobody had voted
	Record   uint64           `json:"record"`          // of the proposal

	request json.RawMessage
}

// A Vote is one person's word on a change.
type Vote struct {
	By     pavise.Name `json:"by"`
	Root   pavise.Name `json:"root,omitzero"` // who answers for them, if that is somebody else
	Yes    bool        `json:"yes"`
	Reason string      `json:"reason,omitempty"`
	At     time.Time   `json:"at"`
	Origin *Origin     `json:"origin,omitempty"` // where it was read; nil: it came through our own door
	Record uint64      `json:"record"`           // the record that began it; the one that ended it is the approval
}

// of returns who answers for the vote: people, not identities, count once.
func (v Vote) of() pavise.Name {
	if v.Root != (pavise.Name{}) {
		return v.Root
	}
	return v.By
}

// Approvals returns how many people have approved it, and how many it takes.
func (c *Change) Approvals() (have, need int) {
	for _, v := range c.Votes {
		if v.Yes {
			have++
		}
	}
	return have, c.Rule.Need
}

// digest covers all that an approval approves.
func (c *Change) digest() (string, error) {
	request := sha256.Sum256(c.request)
	text, err := json.Marshal(struct {
		Version  int
		Name     pavise.Name
		Verb     string
		On       pavise.Name
		Proposer pavise.Name
		Rule     Rule
		Request  string
		Digests  map[string]string
		Parties  []pavise.Name `json:",omitempty"`
		Risk     string        `json:",omitempty"`
	}{1, c.Name, c.Verb, c.On, c.Proposer.Name(), c.Rule, hex.EncodeToString(request[:]), c.Plan.Digests, c.Plan.Parties, c.Plan.Risk})
	if err != nil {
		return "", fmt.Errorf("encode what is approved: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// A Log is what this room reads of the evidence log: whether the votes that count
// are there. First is the index of the first record that was not pruned.
type Log interface {
	Select(ctx context.Context, f ledger.Filter, from, to uint64) iter.Seq2[ledger.Found, error]
	First() uint64
	Size() uint64
}

// Config is what changes are made of. All fields are required but Now and Every.
type Config struct {
	Guard   *guard.Guard
	Store   *store.DB
	Log     Log
	Runners map[string]Runner // by verb
	Now     func() time.Time  // time.Now if nil
	Every   time.Duration     // how often Run looks for changes whose time is up; 0: a minute
}

// Changes are all changes of an installation. They are safe for concurrent use.
type Changes struct {
	guard   *guard.Guard
	db      *store.DB
	log     Log
	runners map[string]Runner
	now     func() time.Time
	every   time.Duration

	deciding sync.Mutex // held while a vote is weighed or a change is run
	rescuing sync.Mutex // the same, of changes in the safe direction

	mu        sync.Mutex // guards what follows
	underWay  map[pavise.Name]undertaking
	proposing map[pavise.Name]bool // in the table, and not yet in the log
	late      patience             // those whose time is up
	half      patience             // those that nobody looked at in half of their time
}

// An undertaking is what a change that is under way may do.
type undertaking struct {
	verb string
	on   pavise.Name
}

// New opens the changes that are in the store. Resume, before anything else, goes on
// with those that were cut off.
func New(ctx context.Context, cfg Config) (*Changes, error) {
	if err := cfg.Store.Migrate(ctx, "change", steps); err != nil {
		return nil, err
	}
	c := &Changes{
		guard: cfg.Guard, db: cfg.Store, log: cfg.Log, runners: maps.Clone(cfg.Runners), now: cfg.Now, every: cmp.Or(cfg.Every, sweepEvery),
		underWay: map[pavise.Name]undertaking{}, proposing: map[pavise.Name]bool{},
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.runners[verbRule] = Runner{Plan: c.planRule, Run: c.runRule}
	for verb := range c.runners {
		if !c.guard.Consequential(verb) {
			return nil, fmt.Errorf("change has a runner for %s, which the guard lets in without one", verb)
		}
	}
	return c, nil
}

// UnderWay reports whether a change has been approved, or needs no approval first,
// and is being run right now as that verb on that thing. It is the guard's Approved.
func (c *Changes) UnderWay(change pavise.Name, verb string, on pavise.Name) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	may, ok := c.underWay[change]
	return ok && may == undertaking{verb, on}
}

// claim reads a change, and keeps all others from deciding on it, or on another one that
// may depend on it, until it is released. The safe direction waits for itself alone: the
// plan of a release asks a model server, which may hang.
func (c *Changes) claim(ctx context.Context, name pavise.Name) (ch *Change, release func(), err error) {
	err = c.db.View(ctx, func(tx *store.Tx) error {
		ch, err = find(tx, name, false)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	m := &c.deciding
	if c.runners[ch.Verb].Safe {
		m = &c.rescuing
	}
	m.Lock()
	if ch, err = c.get(ctx, name); err != nil {
		m.Unlock()
		return nil, nil, err
	}
	return ch, m.Unlock, nil
}

// Verbs returns the verbs that are done as changes, in order.
func (c *Changes) Verbs() []string { return slices.Sorted(maps.Keys(c.runners)) }

// runner returns what does a verb. The error is of kind Invalid.
func (c *Changes) runner(verb string) (Runner, error) {
	r, ok := c.runners[verb]
	if !ok {
		return r, &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("%.60q is no verb that is done as a change", verb),
			Hint: "these are: " + strings.Join(c.Verbs(), ", "),
		}
	}
	return r, nil
}

// newName returns the name of a new change.
func newName(tenant string) pavise.Name {
	// Letters that are not mistaken for each other, so that a name can be read aloud.
	const letters = "bcdfghjkmnpqrstvwxz23456789"
	var random [7]byte
	rand.Read(random[:])
	for i, b := range random {
		random[i] = letters[int(b)%len(letters)]
	}
	return pavise.Name{Tenant: tenant, Kind: "change", ID: "c-" + string(random[:])}
}
