package mlflow

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tracked"
)

// The verbs of the room, beside those of the registry.
const (
	VerbLog  = "run.log"    // make a run, say something of it, and put or take away its artifacts
	VerbShow = "run.show"   // read a run and its artifacts
	VerbPull = "model.pull" // read the files of a version that is published

	VerbInspect = "model.inspect" // read those of one that is not
)

// KindRun is the kind of thing that a run is, in names.
const KindRun = "run"

// Changes are where acts are proposed that others approve. *change.Changes are.
type Changes interface {
	// Propose proposes an act. One that takes no approval is done when it returns.
	Propose(ctx context.Context, who pavise.Principal, p change.Proposal) (*change.Change, error)
	// Show returns a change.
	Show(ctx context.Context, who pavise.Principal, name pavise.Name) (*change.Change, error)
}

// Config is what the API is made of. All but Roots and Say is required.
type Config struct {
	Guard    *guard.Guard
	Store    *store.DB
	Registry *registry.Registry
	Depot    *depot.Depot
	Changes  Changes
	// Roots are the directories below which a version may lie: its source is file:// and a
	// path. None: no version does.
	Roots []string
	// Address says where people look at a change.
	Address func(change pavise.Name) string
	Now     func() time.Time
	Say     func(word string, err error) // tells the operator what goes wrong; nil: nobody
}

// A Server serves the API. It is safe for concurrent use.
type Server struct {
	cfg    Config
	bodies intake.Bodies
	life   context.Context                       // of those who bring the files of versions here
	end    func()                                // ends it
	files  sync.WaitGroup                        // counts them
	looks  chan struct{}                         // each of them has one meanwhile
	finds  chan struct{}                         // each search of runs or logged models has one
	newRun func() string                         // the id of the next run
	look   func(tenant string, ref registry.Ref) // has the files of a version be looked at

	// holding is held while files are held for a version that is added, and alone while files
	// are let go.
	holding sync.RWMutex

	placing sync.Mutex // held while an artifact takes the place of another, or goes

	mu    sync.Mutex          // guards what follows
	loads map[pavise.Name]int // of artifacts under way, by caller
}

// The bounds of what is under way.
const (
	maxFetches = 4  // versions whose files are brought here at once
	maxFinds   = 4  // searches at once: each may hold hundreds of MiB
	maxLoads   = 16 // artifacts that one caller sends or gets at once
)

// Open returns the API over what is in the store. Versions whose files were on their way when
// the process before ended have failed.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Say == nil {
		cfg.Say = func(string, error) {}
	}
	if err := cfg.Store.Migrate(ctx, "mlflow", steps); err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{cfg: cfg, life: life, end: end, looks: make(chan struct{}, maxFetches), finds: make(chan struct{}, maxFinds), newRun: tracked.NewID, loads: map[pavise.Name]int{}}
	s.look = s.lookNow
	return s, s.interrupted(ctx)
}

// Close stops bringing files of versions here. The store is closed afterwards.
func (s *Server) Close() error {
	s.end()
	s.files.Wait()
	return nil
}

// now is the time in milliseconds, as MLflow has it.
func (s *Server) now() int64 { return s.cfg.Now().UnixMilli() }

// runName is what policies and the log call a run.
func runName(tenant, run string) pavise.Name {
	return pavise.Name{Tenant: tenant, Kind: KindRun, ID: run}
}

// modelName is what policies and the log call a model. The error is of kind Invalid.
func modelName(tenant, name string) (pavise.Name, error) {
	n := pavise.Name{Tenant: tenant, Kind: registry.Kind, ID: name}
	if name == "" {
		return n, missing("name")
	}
	if err := n.Validate(); err != nil {
		return n, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no name of a model here", name), Hint: "letters, digits and . _ : + - are, and it begins with a letter or digit", Err: err}
	}
	return n, nil
}

func missing(field string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: "the request has no " + field, Hint: "send it: MLflow's clients do"}
}
