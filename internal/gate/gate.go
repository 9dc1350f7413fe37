package gate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/contract"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

// The kinds of note that the room leaves.
const (
	KindHeld    = "ingest.quarantined" // a batch went into quarantine
	KindOdd     = "ingest.odd"         // a source brings something else than it did
	KindExpired = "ingest.expired"     // a batch was in quarantine for too long, and is gone
)

// What the quarantine of one source has room for, unless Config says otherwise.
const (
	mostHeld      = 1_000
	mostHeldBytes = 1 << 30
	keepHeld      = 30 * 24 * time.Hour
	remember      = 90 * 24 * time.Hour // how long it is known what became of a batch
	lookEvery     = time.Minute
	maxLeap       = time.Hour // of the clock between two looks
)

// Config is what a gate is made of. All but Now and the bounds are required.
type Config struct {
	Guard  *guard.Guard
	Store  *store.DB
	KEK    *seal.KEK        // seals what is in quarantine
	Dir    string           // where the quarantine lies; made when it is not there
	Output blob.Bucket      // where admitted batches go, as TENANT/SOURCE/POSITION-SHA256.FORM
	Now    func() time.Time // time.Now if nil

	MostHeld  int           // batches in the quarantine of one source; 0: 1,000
	MostBytes int           // bytes of them; 0: 1 GiB
	KeepHeld  time.Duration // how long they stay there; 0: 30 days
}

// A Gate lets records in. It is safe for concurrent use.
type Gate struct {
	cfg    Config
	held   blob.Bucket   // what is in quarantine, sealed
	bodies intake.Bodies // that arrive at the push door

	mu      sync.RWMutex // guards sources, and whoever puts or takes one away
	sources map[pavise.Name]*source

	// tend alone uses these, once the gate is open.
	tended time.Time     // when it last was there, as the clock on the wall has it
	leapt  time.Duration // what that clock leapt ahead since the start: time that did not pass
}

// A source is one that is declared.
type source struct {
	name  pavise.Name
	terms atomic.Pointer[terms]

	mu       sync.Mutex // guards what follows, and all that becomes of its batches
	gone     bool
	made     time.Time
	by       pavise.Name
	position uint64
	// unsettled: a batch may lie in the output and not count, or the other way round.
	unsettled bool
	learner   *learner // nil: no templates are known
	watcher   *watcher
}

// Open opens the gate with the sources that are in the store, and brings to an end what
// the last process was cut off in: a batch that reached the output counts, and one that did
// not never came.
func Open(ctx context.Context, cfg Config) (*Gate, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.MostHeld, cfg.MostBytes = cmp.Or(cfg.MostHeld, mostHeld), cmp.Or(cfg.MostBytes, mostHeldBytes)
	cfg.KeepHeld = cmp.Or(cfg.KeepHeld, keepHeld)
	if err := cfg.Store.Migrate(ctx, "gate", steps); err != nil {
		return nil, err
	}
	g := &Gate{cfg: cfg, sources: map[pavise.Name]*source{}, tended: cfg.Now().Round(0)}
	var err error
	if g.held, err = blob.Open(ctx, cfg.Dir); err != nil {
		return nil, err
	}
	if err := g.load(ctx); err != nil {
		return nil, err
	}
	for _, s := range g.all() {
		s.unsettled = true
		if err := g.settle(ctx, s); err != nil && pavise.KindOf(err) != pavise.Unavailable { // nobody else has it yet
			return nil, err // an output that is away is asked again
		}
	}
	return g, g.sweep(ctx)
}

// load reads the sources.
func (g *Gate) load(ctx context.Context) error {
	now := hourOf(g.cfg.Now())
	return g.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT tenant, id, spec, made, by, position, learnt FROM gate_sources WHERE gone = 0`)
		if err != nil {
			return err
		}
		defer rows.Close()
		type kept struct {
			*source
			learnt int
		}
		var all []kept
		for rows.Next() {
			s, text, made, by, learnt := &source{}, "", int64(0), "", 0
			s.name.Kind = KindSource
			if err := rows.Scan(&s.name.Tenant, &s.name.ID, &text, &made, &by, &s.position, &learnt); err != nil {
				return err
			}
			t, err := readTerms(text)
			if err == nil {
				err = s.by.UnmarshalText([]byte(by))
			}
			if err != nil {
				return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the terms of %s in the state database cannot be read: %v", s.name, err), Hint: "restore the database from a backup", Err: err}
			}
			s.made = time.Unix(made, 0).UTC()
			s.begin(t)
			all = append(all, kept{s, learnt})
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, s := range all {
			if s.learner != nil {
				if err := loadTemplates(tx, s.learner, s.name.Tenant, s.name.ID, s.learnt); err != nil {
					return err
				}
			}
			if err := s.watcher.load(tx, s.name.Tenant, s.name.ID, now); err != nil {
				return err
			}
			g.sources[s.name] = s.source
		}
		return nil
	})
}

func readTerms(text string) (*terms, error) {
	var spec Spec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return nil, err
	}
	return spec.read(contract.Kept)
}

// begin has a source be held to terms, and forgets what it knew of others. The caller holds
// mu, or nobody else has the source yet.
func (s *source) begin(t *terms) {
	was := s.terms.Swap(t)
	if was == nil || was.spec.Distinct != t.spec.Distinct || was.spec.Sequence != t.spec.Sequence {
		s.watcher = newWatcher(t)
	}
	switch {
	case t.spec.Templates == "":
		s.learner = nil
	case s.learner == nil || was == nil || was.spec.Templates != t.spec.Templates || was.spec.Form != t.spec.Form:
		s.learner = newLearner(t)
	default:
		s.learner.hold(t)
	}
}

// all are the sources that are declared.
func (g *Gate) all() []*source {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return slices.Collect(maps.Values(g.sources))
}

// find finds a source.
func (g *Gate) find(name pavise.Name) (*source, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if s := g.sources[name]; s != nil {
		return s, nil
	}
	return nil, noSource(name)
}

func noSource(name pavise.Name) error {
	return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s is no source", name), Hint: "pavise ingest list shows those that there are, and pavise ingest put declares one"}
}

// Run ends hours, takes out of quarantine what was there for too long, and settles what an
// output that was away left open, until ctx is done. Its caller owns the goroutine.
//
// Unguarded: nobody asks for it; what it does is a note.
func (g *Gate) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			g.tend(ctx)
		}
	}
}

// passed is the present for what ends with time: a clock that leapt ahead by more than
// maxLeap between two looks, because it was set or because the machine slept, ends nothing
// before its time, and one that is set back afterwards makes up for it.
func (g *Gate) passed() time.Time {
	now := g.cfg.Now().Round(0) // without the monotonic reading, which does not leap
	if step := now.Sub(g.tended); step > maxLeap || step < -maxLeap {
		g.leapt = max(0, g.leapt+step)
	}
	g.tended = now
	return now.Add(-g.leapt)
}

// tend does what is due. What cannot be done now is done a minute later.
func (g *Gate) tend(ctx context.Context) {
	now := g.passed()
	for _, s := range g.all() {
		s.mu.Lock()
		_ = g.turn(ctx, s)
		if s.unsettled {
			_ = g.settle(ctx, s)
		}
		_ = g.expire(ctx, s.name, now)
		s.mu.Unlock()
	}
	_ = g.forget(ctx, now)
}

// turn ends the hours of a source, and tells what was odd about them. The caller holds the
// source's mu.
func (g *Gate) turn(ctx context.Context, s *source) error {
	for _, words := range s.watcher.turn(s.terms.Load(), hourOf(g.cfg.Now())) {
		if err := g.finding(ctx, KindOdd, pavise.Warning, s.name, pavise.Name{}, words, nil); err != nil {
			return err
		}
	}
	return nil
}

// finding leaves a finding in the log.
func (g *Gate) finding(ctx context.Context, kind, severity string, on, who pavise.Name, words string, more map[string]any) error {
	detail := map[string]any{"finding": pavise.Finding{Kind: kind, Severity: severity, On: on, Who: who, Summary: words, At: g.cfg.Now().UTC()}}
	for key, value := range more {
		detail[key] = value
	}
	return g.cfg.Guard.Note(ctx, kind, nil, on, detail)
}

// heldName is where the bytes of a batch lie in quarantine: those of all batches with the
// same bytes, until the last of them has left.
func heldName(source pavise.Name, sum string) string {
	return source.Tenant + "/" + source.ID + "/" + sum
}

// sweep removes what lies in quarantine and belongs to no batch: a process that was killed
// left it before anybody was told, or after it had gone on.
func (g *Gate) sweep(ctx context.Context) error {
	known := map[string]bool{}
	held, err := g.rows(ctx, `state IN ('held', 'releasing')`)
	if err != nil {
		return err
	}
	for _, r := range held {
		known[heldName(r.source, r.sum)] = true
	}
	for o, err := range g.held.List(ctx, "") {
		if err != nil {
			return err
		}
		if !known[o.Name] {
			if err := g.drop(o.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// drop removes the bytes of a batch from quarantine.
func (g *Gate) drop(name string) error {
	if err := os.Remove(filepath.Join(g.cfg.Dir, filepath.FromSlash(name))); err != nil && !os.IsNotExist(err) {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("take %s out of quarantine: %v", name, err), Hint: "check the owner and the mode of " + g.cfg.Dir, Err: err}
	}
	return nil
}
