package oci

import (
	"context"
	"fmt"
	"io"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/depot"
)

// put keeps a content, which goes after a day unless somebody holds it.
func (r *Registry) put(ctx context.Context, tenant string, content io.Reader) (digest string, size int64, err error) {
	sum, size, err := r.cfg.Depot.Put(ctx, tenant, content)
	return sum.String(), size, err
}

// open reads a content, and yields no byte of another.
func (r *Registry) open(ctx context.Context, tenant, digest string) (io.ReadCloser, error) {
	sum, err := depot.ParseDigest(digest)
	if err != nil {
		return nil, err
	}
	return r.cfg.Depot.Open(ctx, tenant, sum)
}

// holder is the name under which the contents of a manifest are held.
func holder(model pavise.Name, digest string) string { return "oci/" + model.ID + "/" + digest }

// hold has the contents of a manifest kept. The error is of kind NotFound where one is not
// there.
func (r *Registry) hold(ctx context.Context, model pavise.Name, manifest string, contents []string) error {
	sums := make([]depot.Digest, len(contents))
	for i, digest := range contents {
		sum, err := depot.ParseDigest(digest)
		if err != nil {
			return err
		}
		sums[i] = sum
	}
	return r.cfg.Depot.Hold(ctx, model.Tenant, holder(model, manifest), sums...)
}

// letGo lets go of what was held for a manifest that is none. Where that cannot be done, the
// operator is told: the bytes stay.
func (r *Registry) letGo(ctx context.Context, model pavise.Name, manifest string) {
	if err := r.cfg.Depot.Release(context.WithoutCancel(ctx), model.Tenant, holder(model, manifest)); err != nil {
		r.cfg.Say("warning", fmt.Errorf("let go of the blobs of %s: %w", manifest, err))
	}
}
