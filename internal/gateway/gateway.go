package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/telemetry"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/upstream"
)

const (
	// maxAccounts bounds the meter: callers times models in use at one time.
	maxAccounts = 1 << 17
	// snapshotEvery is how often what callers have taken is kept in the store.
	// It bounds the replay at start, not what survives: the records do.
	snapshotEvery = 5 * time.Second
)

// Config is what a gateway is made of. All fields are required but Now, KeyFiles, TLS, Embeddings, Watch, Detectors, KEK and Monitor.
type Config struct {
	Guard    *guard.Guard
	Verifier *identity.Verifier
	Store    *store.DB
	Log      *ledger.Log
	Subjects *subject.Keys           // seal what records keep of a request
	Now      func() time.Time        // the clock; time.Now if nil
	KeyFiles map[string]string       // with what servers of language models let us in, by address
	TLS      map[string]upstream.TLS // options for model servers, by the names that routes have for them
	// Embeddings is the key that alters vectors. nil: routes that say so answer with none.
	Embeddings *seal.Key
	Watch      *telemetry.Meter // counts and times requests; nil: nobody does
	// Detectors look at what was answered. nil: those of the house; none: an empty list.
	Detectors []detect.Detector
	KEK       *seal.KEK        // yields the keys that mark answers; nil: none is marked
	Monitor   *monitor.Monitor // counts what was answered, for drift; nil: nobody does
}

// A Gateway answers requests for models. It is safe for concurrent use.
type Gateway struct {
	Routes *route.Table
	Tiers  *tier.Book // how far callers are trusted, and the detector of those who copy models

	servers  *infer.Servers // behind the routes
	guard    *guard.Guard
	verifier atomic.Pointer[identity.Verifier]
	db       *store.DB
	log      *ledger.Log
	meter    *firewall.Meter
	now      func() time.Time
	watch    *telemetry.Meter
	limits   tensor.Limits
	bodies   intake.Bodies // of the requests under way
	suspects *detect.Queue
	monitor  *monitor.Monitor
	alerts   detect.Alerts // of language models
	hears    bool          // there are detectors that look at all models
	kek      *seal.KEK
	salt     [32]byte // parts the tenants' shares of model servers' caches; drawn at start, written nowhere

	subjects *subject.Keys

	embeddings *seal.Key                // nil: there is none
	altering   sync.Mutex               // guards vectors
	vectors    map[pavise.Name]*vectors // of the models whose routes alter them

	marks    sync.Mutex
	markings map[markedModel]*tier.Marking // guarded by marks
	unmarked map[markedModel]vainMarking   // guarded by marks
	callers  roster                        // what links those who were let in
}

// New opens a gateway: it loads the routes and what callers have taken so far.
func New(ctx context.Context, cfg Config) (*Gateway, error) {
	g := &Gateway{
		guard: cfg.Guard, db: cfg.Store, log: cfg.Log, subjects: cfg.Subjects,
		meter: firewall.NewMeter(maxAccounts), now: cfg.Now, embeddings: cfg.Embeddings, vectors: map[pavise.Name]*vectors{}, watch: cfg.Watch, limits: tensor.DefaultLimits(),
		kek: cfg.KEK, monitor: cfg.Monitor, markings: map[markedModel]*tier.Marking{}, unmarked: map[markedModel]vainMarking{},
	}
	if g.now == nil {
		g.now = time.Now
	}
	rand.Read(g.salt[:])
	g.verifier.Store(cfg.Verifier)
	var err error
	if g.Tiers, err = tier.Open(ctx, tier.Config{Store: g.db, Now: g.now, Facts: g.callers.of}); err != nil {
		return nil, fmt.Errorf("open the book of tiers: %w", err)
	}
	detectors := cfg.Detectors
	if detectors == nil {
		detectors = detect.House(0)
	}
	g.hears = len(detectors) > 0
	g.suspects = detect.NewQueue(g.noteFinding, append(slices.Clip(detectors), g.Tiers))
	if g.servers, err = infer.OpenServers(cfg.KeyFiles, cfg.TLS); err != nil {
		return nil, err
	}
	if g.Routes, err = route.Open(ctx, g.guard, g.db, g.meter, g.servers, g.watch, g.Tiers); err != nil {
		return nil, fmt.Errorf("open the routes: %w", err)
	}
	g.guard.Rewound(g.meter.Rewind)
	if err := g.restoreMeter(ctx); err != nil {
		return nil, fmt.Errorf("restore what callers have taken: %w", err)
	}
	g.tellRoutes()
	return g, nil
}

// Watch is what counts the requests of its doors; it may be nil, and then does nothing.
func (g *Gateway) Watch() *telemetry.Meter { return g.watch }

// Believe has the callers of the next requests known by another verifier.
func (g *Gateway) Believe(v *identity.Verifier) { g.verifier.Store(v) }

// Admit turns what a request proves into a principal. source is the address it came
// from, under which refusals are counted.
//
// Unguarded: it lets nobody do anything; it says who calls.
func (g *Gateway) Admit(ctx context.Context, proof identity.Credentials, source string) (pavise.Principal, error) {
	who, err := g.guard.Admit(ctx, g.verifier.Load(), proof, source)
	if err == nil {
		g.callers.see(who, source)
	}
	return who, err
}

// Run keeps snapshots of the meter and of the tiers until ctx is done, and a last one then,
// notes how shadows do and what detectors missed, and has the detectors look at what was answered. Its caller owns the
// goroutine.
//
// Unguarded: it acts for nobody; it keeps the house's own state.
func (g *Gateway) Run(ctx context.Context) error {
	var detectors sync.WaitGroup
	detectors.Go(func() { g.suspects.Run(ctx) })
	tick := time.NewTicker(snapshotEvery)
	defer tick.Stop()
	shadows := time.NewTicker(shadowEvery)
	defer shadows.Stop()
	for {
		select {
		case <-tick.C:
			// A snapshot that cannot be kept now costs a longer replay only.
			_ = g.snapshotMeter(ctx)
			// And what the detectors saw since the last one, if nothing is kept any more.
			_, _ = g.Tiers.Save(ctx)
		case <-shadows.C:
			g.Routes.TellShadows(ctx)
			g.tellUnseen(ctx)
		case <-ctx.Done():
			g.Routes.TellShadows(ctx)
			detectors.Wait() // who was seen at the end is kept, too
			last := context.WithoutCancel(ctx)
			g.tellUnseen(last)
			return errors.Join(g.snapshotMeter(last), g.Tiers.Close(last))
		}
	}
}

// noteFinding writes down what a detector found. A finding that cannot be written is
// lost with a log that takes nothing, and then nothing is answered either.
func (g *Gateway) noteFinding(ctx context.Context, f pavise.Finding, detector string) {
	_ = g.guard.Note(ctx, f.Kind, nil, f.On, struct {
		Finding  pavise.Finding `json:"finding"`
		Detector string         `json:"detector,omitempty"`
	}{f, detector})
}

// Message returns what a caller may be told about an error.
func Message(err error) (msg, hint string) {
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		return e.Msg, e.Hint
	}
	return "internal error", "the operator finds the cause in the log"
}
