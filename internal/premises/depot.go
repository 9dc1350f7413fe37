package premises

import (
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/mlflow"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/store/blob"
)

// OpenDepot opens where the files of models are kept: below the data directory, unless
// somebody says where.
func (h *House) OpenDepot(ctx context.Context, k installation.Keys, cfg *config.Models) error {
	if cfg == nil {
		cfg = &config.Models{}
	}
	bucket, err := blob.Open(ctx, cmp.Or(cfg.Kept, h.Data.Path("depot")))
	if err != nil {
		return err
	}
	keeps, can := bucket.(depot.Bucket)
	if !can {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "files of models cannot be taken away again from " + bucket.Place().URL, Hint: "name a directory, or s3://BUCKET/PREFIX"}
	}
	stage := disk.Dir{Path: h.Data.Path("depot-stage")}
	if err := os.MkdirAll(stage.Path, 0o700); err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "files of models cannot come in: " + err.Error(), Hint: "check the owner, the mode and the disk of the data directory", Err: err}
	}
	h.Depot, err = depot.Open(ctx, depot.Config{Bucket: keeps, Stage: stage, Store: h.DB, KEK: k.KEK, Quota: cfg.Bytes(), Now: h.Now, Say: h.Say})
	return err
}

// shelf are the files of the house's tenant, as the registry looks at them. It implements
// registry.Files.
type shelf struct {
	depot  *depot.Depot
	tenant string
}

// Files are the files of models that the depot keeps, which is open.
func (h *House) Files() registry.Files { return shelf{h.Depot, h.Tenant} }

// Open implements registry.Files.
func (s shelf) Open(ctx context.Context, digest registry.Digest) (io.ReadCloser, error) {
	return s.depot.Open(ctx, s.tenant, depot.Digest(digest))
}

// Has implements registry.Files.
func (s shelf) Has(ctx context.Context, digest registry.Digest) (size int64, has bool) {
	size, has, err := s.depot.Has(ctx, s.tenant, depot.Digest(digest))
	return size, has && err == nil
}

// OpenMLflow opens the API of MLflow over the registry, the depot and the changes, which are
// open. at is the address of the console.
func (h *House) OpenMLflow(ctx context.Context, cfg *config.Models, at string) (err error) {
	var roots []string
	if cfg != nil {
		for _, root := range cfg.Roots {
			real, err := h.foreignRoot(root, "models cannot be read")
			if err != nil {
				return err
			}
			given, _ := filepath.Abs(root) // foreignRoot has asked
			roots = append(roots, given, real)
		}
	}
	h.MLflow, err = mlflow.Open(ctx, mlflow.Config{
		Guard: h.Guard, Store: h.DB, Registry: h.Models, Depot: h.Depot, Changes: h.Changes, Roots: roots, Now: h.Now, Say: h.Say,
		Address: func(change pavise.Name) string { return at + "/changes/" + change.ID },
	})
	return err
}
