package registry

import (
	"cmp"
	"context"
	"io"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/examine"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/notary"
	"github.com/pavise/pavise/internal/store"
)

// The kinds of note that the room leaves.
const (
	KindMoved    = "model.moved"    // a deployment moved a version on
	KindTaken    = "model.taken"    // the files of a version were hashed and looked at here
	KindHarmful  = "model.harmful"  // they do harm to whoever loads them, or are not what was said
	KindOverdue  = "model.overdue"  // nothing came of a version in time
	KindSigned   = "model.signed"   // a signature that came by itself holds for a version
	KindUnsigned = "model.unsigned" // one that came for it does not
	KindVouched  = "model.vouched"  // this installation signed a version that was ready before it signed any
	KindAltered  = "model.altered"  // a version is not as this installation signed it
)

// Files are the files of models that are kept here, by their digests. What Open returns is
// the whole file or an error: the reader holds it to its digest.
type Files interface {
	Open(ctx context.Context, digest Digest) (io.ReadCloser, error)
	Has(ctx context.Context, digest Digest) (size int64, ok bool)
}

// Config is what a registry is made of. Guard, Store and Now are required.
type Config struct {
	Guard *guard.Guard
	Store *store.DB
	Now   func() time.Time

	Files   Files          // nil: no files are kept here
	Dir     string         // the registry's own: where files are laid out to be looked at; with Files
	Signers []Signer       // whose signatures are believed
	House   *notary.Notary // signs what is ready, and is held to it; nil: nobody does
	// Producers: every version is signed by one of Signers, too, before it is published or deployed.
	Producers bool
	// Sealed says whether the catalog knows a dataset, and whether one of its versions has
	// the root; nil: there is no catalog.
	Sealed func(ctx context.Context, dataset pavise.Name, root string) (known, has bool, err error)
	// Timeouts replace those of the states; nil: they stand.
	Timeouts map[State]time.Duration
	Say      func(word string, err error) // tells the operator what goes wrong; nil: nobody
}

// A Registry is the models of an installation. It is safe for concurrent use.
type Registry struct {
	cfg    Config
	nudge  chan struct{} // something may be due sooner
	fresh  given
	looks  sync.Mutex // held while files are looked at: one version at a time
	moving sync.Mutex // held while a deployment moves a version on

	writing sync.Mutex // held from a change of what is kept until policies are told
	facts   facts

	withdrawn withdrawn

	told    sync.Map // of versions, by name, that they are not as the house signed them
	stalled sync.Map // why pending versions cannot be taken in, by name
}

// Open returns the registry that is in the store.
func Open(ctx context.Context, cfg Config) (*Registry, error) {
	if err := cfg.Store.Migrate(ctx, "registry", steps); err != nil {
		return nil, err
	}
	if cfg.Files != nil {
		if err := examine.Tidy(cfg.Dir); err != nil {
			return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "files of models cannot be laid out: " + err.Error(), Hint: "make room below the data directory", Err: err}
		}
	}
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	if cfg.Timeouts == nil {
		cfg.Timeouts = Timeouts
	}
	r := &Registry{cfg: cfg, nudge: make(chan struct{}, 1)}
	var all []*Version
	err := cfg.Store.View(ctx, func(tx *store.Tx) (err error) { all, err = selected(tx, `true`); return err })
	if err != nil {
		return nil, err
	}
	r.facts.tell(all...)
	return r, r.begin(ctx, all)
}

// now is the time of what is done now.
func (r *Registry) now() time.Time { return r.cfg.Now().UTC() }

// enter brings a version to a state, and has somebody told when nothing comes of it.
func (r *Registry) enter(v *Version, to State, now time.Time) {
	v.State, v.Since, v.Due, v.Told = to, now, time.Time{}, 0
	if after := r.cfg.Timeouts[to]; after > 0 {
		v.Due = now.Add(after)
	}
}

// move takes a version one step on, in a transaction, and keeps the step. The error is of
// kind Conflict for a step that none may take.
func (r *Registry) move(tx *store.Tx, v *Version, to State, s Step) error {
	if !v.State.Leads(to) {
		return conflict(v, "and nothing leads from there to "+string(to))
	}
	return r.bring(tx, v, to, s)
}

// bring takes a version to a state, whatever leads there, and keeps the step.
func (r *Registry) bring(tx *store.Tx, v *Version, to State, s Step) error {
	s.At, s.Version, s.From, s.To, s.Digest = r.now(), v.Ref.Version, v.State, to, v.Digest
	if to == Quarantined {
		v.Was, v.Withdrawn = v.State, s.At
	}
	r.enter(v, to, s.At)
	return writeStep(tx, v.Ref.Of(v.Tenant), s)
}

// step is a step that somebody takes.
func step(who pavise.Principal, entry *guard.Entry, why string) Step {
	s := Step{By: who.Name(), Change: who.Change, Why: clip(why, maxWords)}
	s.Record, _ = entry.Record()
	return s
}

// conflict says that a version is in a state in which something cannot be done.
func conflict(v *Version, why string) error {
	return &pavise.Error{
		Kind: pavise.Conflict, Msg: v.Ref.String() + " is " + string(v.State) + ", " + why,
		Hint: cmp.Or(wants[v.State], "add another version") + ": pavise model show " + v.Ref.String(),
	}
}

// soon has Run look again at what is due.
func (r *Registry) soon() {
	select {
	case r.nudge <- struct{}{}:
	default:
	}
}
