package ticket

import (
	"cmp"
	"context"
	"crypto/x509"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/outbound"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// The kinds of note that the room leaves.
const (
	KindUnreachable = "ticket.unreachable" // a tool has taken nothing for long
	KindLost        = "ticket.lost"        // a tool does not take a step of a change, whatever is tried
	KindRefused     = "ticket.refused"     // a word on a ticket that is no vote, and why
)

// KindTool is the kind of thing that a tool is.
const KindTool = "ticket"

// Changes are those that are told, and voted on.
type Changes interface {
	// Look returns a change as it stands. The error is of kind NotFound if there is none.
	Look(ctx context.Context, name pavise.Name) (*change.Change, error)
	// Proposed returns the names of changes that were proposed at a time or later, the
	// oldest first, and when the last of them was.
	Proposed(ctx context.Context, tenant string, from time.Time, limit int) ([]pavise.Name, time.Time, error)
	// Outside is a vote on one that was read in a tool.
	Outside(ctx context.Context, who pavise.Principal, name pavise.Name, w change.Word) (*change.Change, error)
}

// Config is what a desk is made of. All but Roots, Say and Every are required.
type Config struct {
	Guard   *guard.Guard
	Store   *store.DB
	KEK     *seal.KEK // seals the secrets of tools, and marks tickets
	Changes Changes
	// Propose proposes a change, as somebody: that a deployment may go on.
	Propose func(ctx context.Context, who pavise.Principal, p change.Proposal) (*change.Change, error)
	// Withdraw takes back what somebody proposed: the deployment waits no more.
	Withdraw func(ctx context.Context, who pavise.Principal, name pavise.Name) (*change.Change, error)
	// Hears says why a change is not decided on from outside, or "".
	Hears func(*change.Change) string
	// Revoked reports whether a principal is refused who was let in at a time.
	Revoked func(who pavise.Principal, since time.Time) bool
	Reach   outbound.Reach
	Now     func() time.Time
	Roots   *x509.CertPool               // who vouches for tools' certificates; nil: the system's
	Say     func(word string, err error) // tells the operator what goes wrong; nil: nobody
	Every   time.Duration                // how often to look for what is to be told; 0: two seconds
}

// A Desk is where changes are told and votes are heard. It is safe for concurrent use.
type Desk struct {
	cfg     Config
	pause   func(failed int, asked time.Duration) time.Duration // between attempts; never changes
	editing sync.Mutex                                          // held by the verbs that change tools, so that each is served as it is stored

	mu      sync.Mutex       // guards what follows
	ctx     context.Context  // of Run; nil: it does not run
	running map[place]*clerk // those who serve a tool
	group   sync.WaitGroup   // their goroutines; grows only under mu
	states  map[place]*state // how each tool fares; kept while the process lives
}

// A place is a tool's tenant and name.
type place struct{ tenant, name string }

func (p place) thing() pavise.Name { return pavise.Name{Tenant: p.tenant, Kind: KindTool, ID: p.name} }

const (
	lookEvery   = 2 * time.Second
	listenEvery = 20 * time.Second // how often words are read, without anybody saying that there are some
	maxSilence  = 15 * time.Minute // how long a tool takes nothing before that is a finding
)

// Open returns the desk whose tools are in the store. Nothing is told before Run.
func Open(ctx context.Context, cfg Config) (*Desk, error) {
	if err := cfg.Store.Migrate(ctx, "ticket", steps); err != nil {
		return nil, err
	}
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	cfg.Every = cmp.Or(cfg.Every, lookEvery)
	return &Desk{cfg: cfg, pause: outbound.Pause, running: map[place]*clerk{}, states: map[place]*state{}}, nil
}

// Run tells changes and hears votes until ctx is done. Its caller owns the goroutine.
//
// Unguarded: nobody asks for it; who may put a tool was asked then, and each vote enters.
func (d *Desk) Run(ctx context.Context) error {
	rows, err := d.rows(ctx, "")
	if ctx.Err() != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.ctx = ctx
	for _, r := range rows {
		d.start(r)
	}
	d.mu.Unlock()
	<-ctx.Done()
	d.mu.Lock()
	d.ctx = nil
	d.mu.Unlock()
	d.group.Wait()
	return nil
}

// start serves a tool, unless Run does not run. The caller holds mu.
func (d *Desk) start(r row) {
	if d.ctx == nil {
		return
	}
	ctx, cancel := context.WithCancel(d.ctx)
	c := &clerk{desk: d, row: r, state: d.stateOf(r.place), nudged: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{})}
	d.running[r.place] = c
	d.group.Go(func() {
		defer close(c.done)
		defer cancel()
		c.serve(ctx)
	})
}

// stop ends the service of a tool, and waits for it. It returns who served it, or nil. The
// caller must not hold mu.
func (d *Desk) stop(p place) *clerk {
	d.mu.Lock()
	c := d.running[p]
	delete(d.running, p)
	d.mu.Unlock()
	if c != nil {
		c.cancel()
		<-c.done
	}
	return c
}

// restart serves a tool anew.
func (d *Desk) restart(r row) {
	d.stop(r.place)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.states, r.place)
	d.start(r)
}

// stateOf is how a tool fares. The caller holds mu.
func (d *Desk) stateOf(p place) *state {
	if d.states[p] == nil {
		d.states[p] = &state{}
	}
	return d.states[p]
}

// A state is how a tool fares since the process began.
type state struct {
	mu      sync.Mutex // guards what follows
	told    uint64     // steps that it took
	failed  int        // attempts in a row that came to nothing
	since   time.Time  // when the first of them was
	problem string     // why the last of them did
	silence bool       // that this has been so for long was said
}

func (s *state) worked(told uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told += told
	s.failed, s.since, s.problem, s.silence = 0, time.Time{}, "", false
}

// failing notes an attempt that came to nothing. It returns how many there were in a row,
// and whether that has become a silence that somebody should be told of, once.
func (s *state) failing(why string, now time.Time) (failed int, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed++; s.failed == 1 {
		s.since = now
	}
	s.problem = why
	silent = !s.silence && now.Sub(s.since) >= maxSilence
	s.silence = s.silence || silent
	return s.failed, silent
}
