package openlineage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/store"
)

// The verbs of the room, and the kind of note that it leaves.
const (
	VerbEmit    = "lineage.emit"    // tell of runs, as OpenLineage's clients call it
	VerbLineage = "dataset.lineage" // ask what is behind a dataset
	VerbExposed = "dataset.exposed" // ask what saw a row

	KindRefuted = "dataset.refuted" // somebody told of a state of a dataset that there never was
)

// KindLineage is the kind of thing that the room's verbs are on: all that a tenant was told.
const KindLineage = "lineage"

// Seals are the seals that an installation keeps itself. Their errors refuse what needs them.
type Seals interface {
	// Seals returns those of a tenant's datasets, under the names that events call them by.
	Seals(ctx context.Context, tenant string) ([]lineage.Seal, error)
	// Holdings looks for a row in them, by the digest that seals know it by. It returns those
	// that have it, and those of which it cannot tell, whose Unsure says why.
	Holdings(ctx context.Context, tenant string, row [32]byte) ([]lineage.Holding, error)
}

// Bounds are how much is kept.
type Bounds struct {
	Events int64         // of one tenant
	Bytes  int64         // of one tenant's events
	Uses   int64         // datasets that one tenant's events name, each as often as one does
	Age    time.Duration // since it was received
}

// Default are the bounds of an installation: in memory, a tenant that is full takes some
// hundreds of megabytes.
var Default = Bounds{Events: 100_000, Bytes: 256 << 20, Uses: 300_000, Age: 400 * 24 * time.Hour}

// half is the part of a tenant's bounds that one teller may have: one in so many.
const half = 2

// Config is what claims are made of. All but Seals, Bounds and Say are required.
type Config struct {
	Guard  *guard.Guard
	Store  *store.DB
	Seals  Seals  // nil: the installation keeps none
	Bounds Bounds // zero: Default
	Now    func() time.Time
	Say    func(word string, err error) // tells the operator what goes wrong; nil: nobody
}

// Claims are what pipelines told. They are safe for concurrent use.
type Claims struct {
	cfg Config

	mu     sync.Mutex         // guards what follows
	graphs map[string]*corpus // by tenant: those that somebody asked about
}

// A corpus is what one tenant was told, as a graph.
type corpus struct {
	mu      sync.Mutex // guards what follows, and is held while the graph is asked
	next    int64      // the number of the first event that is not in it
	graph   *lineage.Graph
	reading lineage.Reading
	since   time.Time // when the first of its events was received
	retired int64     // so many ended by age
	turned  int64     // so many were turned away
}

// Open returns the claims that are in the store.
func Open(ctx context.Context, cfg Config) (*Claims, error) {
	if cfg.Bounds == (Bounds{}) {
		cfg.Bounds = Default
	}
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	if err := cfg.Store.Migrate(ctx, "openlineage", steps); err != nil {
		return nil, err
	}
	return &Claims{cfg: cfg, graphs: map[string]*corpus{}}, nil
}

// thing is all that a tenant was told.
func thing(tenant string) pavise.Name {
	return pavise.Name{Tenant: tenant, Kind: KindLineage, ID: "events"}
}

// lookEvery is how often events that are too old are looked for.
const lookEvery = 6 * time.Hour

// Run ends events by age until ctx is done, and has the graphs made before somebody asks. Its
// caller owns the goroutine.
//
// Unguarded: nobody asks for it.
func (c *Claims) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	tenants, err := c.tenants(ctx)
	for {
		var retired []string
		if err == nil {
			retired, err = c.retire(ctx)
		}
		for _, tenant := range slices.Compact(slices.Sorted(slices.Values(append(tenants, retired...)))) {
			if err == nil {
				err = c.renew(ctx, tenant)
			}
		}
		if err != nil && ctx.Err() == nil { // events stay a while longer
			c.cfg.Say("warning", fmt.Errorf("end old events of lineage: %w", err))
		}
		tenants, err = nil, nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// renew makes a tenant's graph anew, beside the one that is asked meanwhile.
func (c *Claims) renew(ctx context.Context, tenant string) error {
	fresh := &corpus{graph: &lineage.Graph{}, next: 1}
	err := c.read(ctx, tenant, fresh)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.graphs[tenant] = fresh; err != nil {
		delete(c.graphs, tenant) // the next question makes it
	}
	return err
}

// corpus returns what a tenant was told, up to now, locked.
func (c *Claims) corpus(ctx context.Context, tenant string) (*corpus, error) {
	c.mu.Lock()
	kept := c.graphs[tenant]
	if kept == nil {
		kept = &corpus{graph: &lineage.Graph{}, next: 1}
		c.graphs[tenant] = kept
	}
	c.mu.Unlock()
	kept.mu.Lock()
	if err := c.read(ctx, tenant, kept); err != nil {
		kept.mu.Unlock()
		return nil, err
	}
	return kept, nil
}
