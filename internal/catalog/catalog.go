package catalog

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

// Kind is the kind of thing that a dataset is, in names.
const Kind = "dataset"

// The kinds of note that the room leaves.
const (
	KindSealed      = "dataset.sealed"      // a watched dataset has its first version
	KindVerified    = "dataset.verified"    // a full look found it as it was sealed
	KindChanged     = "dataset.changed"     // another content lies at its place
	KindRestored    = "dataset.restored"    // the newest version lies there again
	KindUnreachable = "dataset.unreachable" // it cannot be looked at
	KindReachable   = "dataset.reachable"   // it can again
	KindUnindexed   = "dataset.unindexed"   // the index of an old version was dropped for want of room
	KindScreened    = "dataset.screened"    // its rows were screened for poison
	KindUnscreened  = "dataset.unscreened"  // they could not be
)

// Config is what a catalog is made of. All is required but Bounds, Slots and Say.
type Config struct {
	Guard  *guard.Guard
	Log    *ledger.Log
	Store  *store.DB
	Places Places
	Dir    string // where seals are kept; the catalog's own
	Bounds Bounds // of what is kept there
	Now    func() time.Time

	// Compare says what lies between two seals in files, with rows where both have their
	// indexes beside them.
	Compare func(ctx context.Context, old, new string) (Differences, error)
	// Prove proves that a row of a digest is in a seal in a file, which has its index beside it, or
	// that none is; all of the answer but its name, version and record.
	Prove func(ctx context.Context, seal string, digest rowseal.Digest, parquet bool) (Proof, error)
	// Screen says which rows look poisoned of what lies at a place, where that has the root that was
	// asked for, in memory, disk and answer that it bounds. It returns when ctx is done. Errors are
	// of kind Conflict for another root, and otherwise those of [Places].
	Screen func(ctx context.Context, ask ToScreen) (Judged, *Report, error)
	// Signed holds the signed statement of a seal to it, and returns the ids of the keys that
	// it says it was signed by.
	Signed func(statement []byte, m *rowseal.Manifest) (keys []string, err error)

	Slots int                          // how many datasets are looked at beside each other; 2 if 0
	Say   func(word string, err error) // tells the operator what goes wrong; nil: nobody
}

// A Catalog is the datasets of an installation. It is safe for concurrent use.
type Catalog struct {
	cfg    Config
	slots  chan struct{} // one is held by each look
	nudge  chan struct{} // something may be due sooner
	begins chan struct{} // closed when Run begins: who asks before that waits

	compares chan struct{} // one is held by each comparison of versions, and each proof

	shelf    *shelf
	dropping sync.Mutex // held while an index is dropped

	keeping sync.Mutex // held while a seal that is handed over is kept, and while what nobody needs is removed

	mu        sync.Mutex                // guards what follows
	ctx       context.Context           // of Run; nil: it does not run
	looking   map[pavise.Name]*run      // by dataset
	begun     uint64                    // looks, since the start
	screening map[string]*screeningRun  // by tenant
	agreed    map[pavise.Name]bool      // datasets of which what is kept is what the log says
	rests     map[pavise.Name]time.Time // datasets whose last look could not be kept, and until when they rest
	group     sync.WaitGroup            // their goroutines; grows only under mu
}

// A run is a look that is under way.
type run struct {
	number uint64 // how many looks were begun before it, and itself
	full   bool
	done   chan struct{} // closed when it has ended, and what came of it is kept
}

// Open returns the catalog that is in the store. Nothing is looked at before Run.
func Open(ctx context.Context, cfg Config) (*Catalog, error) {
	if err := cfg.Store.Migrate(ctx, "catalog", steps); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, unwritten(err)
	}
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	c := &Catalog{
		cfg: cfg, shelf: newShelf(cfg.Bounds), slots: make(chan struct{}, cmp.Or(cfg.Slots, 2)), nudge: make(chan struct{}, 1), begins: make(chan struct{}), compares: make(chan struct{}, comparing), looking: map[pavise.Name]*run{}, screening: map[string]*screeningRun{}, agreed: map[pavise.Name]bool{}, rests: map[pavise.Name]time.Time{},
	}
	c.sweep()
	return c, c.count(ctx)
}

// wake is how long the schedule sleeps at most: a clock that was set forward is noticed then.
const wake = time.Minute

// Run looks at the datasets that are watched, each when its time has come, until ctx is
// done, and returns when the looks that it cut off have ended. It is called once.
//
// Unguarded: nobody asks for it; who may set a watch was asked then, and what it finds is
// noted.
func (c *Catalog) Run(ctx context.Context) error {
	c.mu.Lock()
	c.ctx = ctx
	c.mu.Unlock()
	close(c.begins)
	said := false
	for ctx.Err() == nil {
		pause, err := c.startDue(ctx)
		if err == nil {
			err = c.startScreenings(ctx)
		}
		if err != nil && ctx.Err() == nil && !said {
			c.cfg.Say("warning", fmt.Errorf("which datasets are to be looked at cannot be read: %w", err))
		}
		said = err != nil
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-c.nudge:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	c.mu.Lock()
	c.ctx = nil
	c.mu.Unlock()
	c.group.Wait()
	return nil
}

// startDue begins looks that are due, as far as there are slots, and returns how long to
// wait until the next.
func (c *Catalog) startDue(ctx context.Context) (time.Duration, error) {
	c.mu.Lock()
	busy := len(c.looking) + len(c.rests)
	c.mu.Unlock()
	var names []pavise.Name
	var next time.Time
	now := c.cfg.Now()
	err := c.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if names, err = due(tx, now, busy+cap(c.slots)); err == nil {
			next, err = soonest(tx, now)
		}
		return err
	})
	if err != nil {
		return wake, err
	}
	for _, name := range names {
		c.mu.Lock()
		_, under := c.looking[name]
		under = under || time.Until(c.rests[name]) > 0
		free := len(c.looking) < cap(c.slots)
		c.mu.Unlock()
		if !under && free { // for the others, whoever ends nudges
			c.begin(name, false)
		}
	}
	if next.IsZero() {
		return wake, nil
	}
	return min(max(next.Sub(now), time.Millisecond), wake), nil
}

// begin looks at a dataset, unless somebody does already, and returns that look; nil when
// nothing is looked at here.
func (c *Catalog) begin(name pavise.Name, full bool) *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	if under := c.looking[name]; under != nil {
		return under
	}
	if c.ctx == nil {
		return nil
	}
	c.begun++
	r := &run{c.begun, full, make(chan struct{})}
	ctx := c.ctx
	c.looking[name] = r
	c.group.Go(func() {
		defer func() {
			c.mu.Lock()
			delete(c.looking, name)
			c.mu.Unlock()
			close(r.done)
			c.soon()
		}()
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		defer func() { <-c.slots }()
		c.look(ctx, name, full)
	})
	return r
}

// rest is how long a dataset rests whose look could not be kept: where nothing can be written,
// that is all that keeps it from being read again and again.
const rest = time.Minute

// kept takes in whether what came of looking at a dataset is kept. It tells the operator once
// that it is not, and lets the dataset rest.
func (c *Catalog) kept(name pavise.Name, err error) {
	c.mu.Lock()
	_, said := c.rests[name]
	if delete(c.rests, name); err != nil {
		c.rests[name] = time.Now().Add(rest)
	}
	c.mu.Unlock()
	if err != nil && !said {
		c.cfg.Say("warning", fmt.Errorf("what was seen of %s cannot be kept: %w", name, err))
	}
}

// agrees sets whether what is kept of a dataset is what the log says, and returns whether it was.
func (c *Catalog) agrees(name pavise.Name, does bool) (did bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	did = c.agreed[name]
	if delete(c.agreed, name); does {
		c.agreed[name] = true
	}
	return did
}

// soon has the schedule look again at what is due.
func (c *Catalog) soon() {
	select {
	case c.nudge <- struct{}{}:
	default:
	}
}

// looks is how many looks were begun.
func (c *Catalog) looks() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun
}

// isLooking reports whether a dataset is being looked at.
func (c *Catalog) isLooking(name pavise.Name) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looking[name] != nil
}
