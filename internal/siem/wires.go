package siem

import (
	"cmp"
	"context"
	"crypto/x509"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/outbound"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// The kinds of note that the room leaves.
const (
	KindDisabled    = "siem.disabled"    // a receiver answered that it wants nothing any more
	KindUnreachable = "siem.unreachable" // a receiver has not taken anything for long
)

// Config is what the wires are made of. All but File, Printer, Allow, Roots and Say are
// required.
type Config struct {
	Guard   *guard.Guard
	Log     *ledger.Log
	Feeds   *feed.Feeds
	Store   *store.DB
	KEK     *seal.KEK // seals receivers' addresses and secrets
	Now     func() time.Time
	Version string // of the product, as events say it
	Tenant  string // whose findings File and Printer get

	File    string                       // where findings are written as JSON lines; empty: nowhere
	Printer io.Writer                    // gets them as JSON lines too; nil: nobody
	Local   bool                         // webhooks may go to this machine
	Allow   []netip.Prefix               // and to these addresses, although they are never otherwise
	Roots   *x509.CertPool               // who vouches for receivers' certificates; nil: the system's
	Say     func(word string, err error) // tells the operator what goes wrong; nil: nobody
}

// Wires are where findings go. They are safe for concurrent use.
type Wires struct {
	cfg   Config
	reach outbound.Reach
	spell speller

	pause   func(failed int, asked time.Duration) time.Duration // between attempts; never changes
	editing sync.Mutex                                          // held by the verbs that change endpoints, so that each is followed as it is stored

	mu      sync.Mutex       // guards what follows
	ctx     context.Context  // of Run; nil: it does not run
	running map[place]*wire  // those that are followed
	group   sync.WaitGroup   // their goroutines; grows only under mu
	states  map[place]*state // how each fares; kept while the process lives
}

// A place is an endpoint's tenant and name. The name of a file's is empty.
type place struct{ tenant, name string }

// Open returns the wires whose endpoints are in the store. Nothing is told before Run.
func Open(ctx context.Context, cfg Config) (*Wires, error) {
	if err := cfg.Store.Migrate(ctx, "siem", steps); err != nil {
		return nil, err
	}
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	w := &Wires{
		cfg: cfg, reach: outbound.Reach{Loopback: cfg.Local, Allow: cfg.Allow}, spell: speller{cfg.Log.Origin(), cmp.Or(cfg.Version, "unreleased")},
		pause: outbound.Pause, running: map[place]*wire{}, states: map[place]*state{},
	}
	return w, w.forgetFile(ctx)
}

// Cursors of the room's own followers begin with the house's word, so that nobody moves
// them but their owner.
const (
	cursorPrefix = "pavise.siem."
	fileCursor   = "pavise.findings"
)

// forgetFile drops the file's follower when there is no file any more: what nobody reads
// must not keep records from being pruned.
func (w *Wires) forgetFile(ctx context.Context) error {
	if w.cfg.File != "" || w.cfg.Printer != nil {
		return nil
	}
	if err := w.cfg.Feeds.Drop(ctx, w.cfg.Tenant, fileCursor); pavise.KindOf(err) != pavise.NotFound {
		return err
	}
	return nil
}

// Run tells findings until ctx is done. Its caller owns the goroutine.
//
// Unguarded: nobody asks for it; who may put an endpoint was asked then.
func (w *Wires) Run(ctx context.Context) error {
	rows, err := w.rows(ctx, "")
	if ctx.Err() != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.ctx = ctx
	if to := w.local(); to != nil {
		w.start(to)
	}
	for _, r := range rows {
		if r.gone.IsZero() {
			w.start(w.webhook(r))
		}
	}
	w.mu.Unlock()
	<-ctx.Done()
	w.mu.Lock()
	w.ctx = nil
	w.mu.Unlock()
	w.group.Wait()
	return nil
}

// local is the wire to the file or the printer, if there is one.
func (w *Wires) local() *wire {
	to := &wire{place: place{tenant: w.cfg.Tenant}, cursor: fileCursor, from: w.cfg.Log.First()}
	switch {
	case w.cfg.File != "":
		to.sink = &file{path: w.cfg.File, most: maxFile, spell: w.spell}
	case w.cfg.Printer != nil:
		to.sink = &printer{w.cfg.Printer, w.spell}
	default:
		return nil
	}
	return to
}

// webhook is the wire to an endpoint.
func (w *Wires) webhook(r row) *wire {
	return &wire{
		place: r.place, cursor: cursorPrefix + r.place.name, from: w.cfg.Log.First(),
		sink: &webhook{wires: w, row: r},
	}
}

// start follows the log for a wire, unless Run does not run. The caller holds mu.
func (w *Wires) start(to *wire) {
	if w.ctx == nil {
		return
	}
	ctx, cancel := context.WithCancel(w.ctx)
	to.state, to.cancel, to.done = w.state(to.place), cancel, make(chan struct{})
	w.running[to.place] = to
	w.group.Go(func() {
		defer close(to.done)
		defer cancel()
		w.serve(ctx, to)
	})
}

// stop ends the wire to a place, and waits for it. The caller must not hold mu.
func (w *Wires) stop(p place) {
	w.mu.Lock()
	to := w.running[p]
	delete(w.running, p)
	w.mu.Unlock()
	if to != nil {
		to.cancel()
		<-to.done
	}
}

// state is how a place fares. The caller holds mu.
func (w *Wires) state(p place) *state {
	if w.states[p] == nil {
		w.states[p] = &state{}
	}
	return w.states[p]
}

// A state is how a wire fares since the process began.
type state struct {
	mu      sync.Mutex // guards what follows
	told    uint64
	failed  int       // attempts in a row that came to nothing
	since   time.Time // when the first of them was
	problem string    // why the last of them did
	silence bool      // that this has been so for long was said
}

// worked notes that so many were told.
func (s *state) worked(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told += uint64(n)
	s.failed, s.since, s.problem, s.silence = 0, time.Time{}, "", false
}

// failing notes an attempt that came to nothing, and returns how many there were in a
// row, and since when.
func (s *state) failing(why string, now time.Time) (int, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed++; s.failed == 1 {
		s.since = now
	}
	s.problem = why
	return s.failed, s.since
}

// silent reports, once, that nothing has been taken for long.
func (s *state) silent(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silence || s.failed == 0 || now.Sub(s.since) < silentFor {
		return false
	}
	s.silence = true
	return true
}
