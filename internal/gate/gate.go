package gate

import (
	"context"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

// Config is what a gate is made of.
type Config struct {
	Guard  *guard.Guard
	Store  *store.DB
	KEK    *seal.KEK        // seals what is in quarantine
	Dir    string           // where the quarantine lies; made when it is not there
	Output blob.Bucket      // where admitted batches go, as TENANT/SOURCE/POSITION-SHA256.FORM
	Now    func() time.Time // time.Now if nil
}

// A Gate lets records in. It is safe for concurrent use.
type Gate struct {
	cfg Config
}

// Open opens the gate with the sources that are in the store, and brings to an end what
// the last process was cut off in.
func Open(ctx context.Context, cfg Config) (*Gate, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Gate{cfg: cfg}, nil
}

// Admit judges a batch that somebody brings for a source, and keeps it in the output or in
// quarantine before it returns: the verb ingest.push on tenant/source/id. A verdict is no
// error. The error is of kind NotFound if there is no such source, Invalid for a batch that
// cannot be one of the source, Throttled beyond the source's quota, and Unavailable where
// the quarantine or the disk is full.
func (g *Gate) Admit(ctx context.Context, who pavise.Principal, source pavise.Name, b Batch) (receipt Receipt, err error) {
	entry, err := g.cfg.Guard.Enter(ctx, who, "ingest.push", source)
	if err != nil {
		return receipt, err
	}
	defer entry.Exit(&err)
	return receipt, &pavise.Error{Kind: pavise.NotFound, Msg: source.String() + " is no source"}
}
