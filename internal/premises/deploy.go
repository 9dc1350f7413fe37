package premises

import (
	"context"
	"io"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/deploy/function"
	"github.com/pavise/pavise/internal/deploy/kubernetes"
	"github.com/pavise/pavise/internal/deploy/machine"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/route"
)

// OpenDeployments opens what runs where. The routes and the models are open; files is where
// the files of models are kept, nil: nowhere.
func (h *House) OpenDeployments(ctx context.Context, k installation.Keys, files *depot.Depot, fleet Gateways) (err error) {
	content := contents{files}
	h.Edges = machine.New(machine.Config{Guard: h.Guard, Store: h.DB, Files: content, KEK: k.KEK, Dir: h.Data.Path("edge"), Origin: h.Origin, Now: h.Now})
	h.Deployments, err = deploy.Open(ctx, deploy.Config{
		Guard: h.Guard, Store: h.DB, Versions: versions{h.Models}, Now: h.Now, Say: h.Say,
		Drivers: map[string]deploy.Driver{
			"gateway": deploy.GatewayDriver(steered{h.Gateway.Routes, fleet.Moved}, content, fleet.Reach),
			"function": function.Driver(function.Config{Origin: h.Origin, Read: func(ctx context.Context, tenant string, f deploy.File) ([]byte, error) {
				return deploy.Fetch(ctx, content, tenant, f)
			}}),
			"edge":       h.Edges.Driver(),
			"kubernetes": kubernetes.Driver(kubernetes.Config{Origin: h.Origin}),
		},
	})
	return err
}

// heedEvery is how often it is looked whether a version went into quarantine. That is cheap while none does.
const heedEvery = 200 * time.Millisecond

// heed has deployments told of each version that goes into quarantine, or comes out of it, until
// ctx is done: what runs is not to wait until it is looked at again.
func (h *House) heed(ctx context.Context) {
	tick := time.NewTicker(heedEvery)
	defer tick.Stop()
	var known map[pavise.Name]pavise.Name // the models, by version
	var last []registry.Withdrawn
	for {
		gone, err := h.Models.Withdrawn(ctx)
		same := known != nil && len(gone) == len(last) && (len(gone) == 0 || &gone[0] == &last[0])
		if err == nil && !same {
			now := make(map[pavise.Name]pavise.Name, len(gone))
			for _, w := range gone {
				now[w.Name] = w.Ref.Of(w.Name.Tenant)
			}
			for _, pair := range [][2]map[pavise.Name]pavise.Name{{now, known}, {known, now}} {
				for version, model := range pair[0] {
					if _, both := pair[1][version]; !both && known != nil {
						h.Deployments.Stir(model)
					}
				}
			}
			known, last = now, gone
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Gateways are those of a fleet; the zero value: this process is the one.
type Gateways struct {
	Reach func(model pavise.Name) []deploy.Word // what each said of the route to a model last
	Moved func()                                // is called when the routes say something else
}

// steered are the routes, whose gateways are told at once when they are steered.
type steered struct {
	*route.Table
	moved func()
}

// Steer implements deploy.Routes.
//
// Unguarded: deployments ask, whose own caller was let in.
func (s steered) Steer(ctx context.Context, c route.Course) error {
	err := s.Table.Steer(ctx, c)
	if err == nil && s.moved != nil {
		s.moved()
	}
	return err
}

// contents are the files of models, by their digests. It implements deploy.Files.
type contents struct{ kept *depot.Depot }

// Open implements deploy.Files.
func (c contents) Open(ctx context.Context, tenant, digest string) (io.ReadCloser, error) {
	if c.kept == nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "the files of models are not kept here", Hint: "a target to which files are brought needs them: pavise.yaml says where they are kept"}
	}
	d, err := depot.ParseDigest(digest)
	if err != nil {
		return nil, err
	}
	return c.kept.Open(ctx, tenant, d)
}

// versions are those of the registry, as deployments have them. It implements
// deploy.Versions.
type versions struct{ models *registry.Registry }

// Resolve implements deploy.Versions.
//
// Unguarded: deployments ask, whose own caller was let in.
func (v versions) Resolve(ctx context.Context, model pavise.Name, number int) (deploy.Version, error) {
	found, err := v.models.Resolve(ctx, model.Tenant, registry.Ref{Model: model.ID, Version: number})
	if err != nil {
		return deploy.Version{}, err
	}
	is := deploy.Version{
		Model: model, Number: number, State: string(found.State), Risk: string(found.Risk), Untraced: untraced(found), Altered: v.models.Altered(ctx, found),
		Digest: registry.DigestOf(found.Files).String(), Signature: found.Bundle(), // and not as a row of the database has it
	}
	known, err := v.models.Known(ctx, model)
	if err != nil {
		return is, err
	}
	is.Unsigned = v.models.Unsigned(known, found)
	for _, f := range found.Files {
		is.Files = append(is.Files, deploy.File{Path: f.Path, Size: f.Size, Digest: f.Digest.String()})
	}
	return is, nil
}

// untraced says why nobody can say what a version was trained on; empty: that is recorded.
func untraced(v *registry.Version) string {
	switch {
	case v.Run == "":
		return "no run is recorded that made it"
	case len(v.Datasets) == 0:
		return "no seal is recorded of a dataset that it was trained on"
	}
	return ""
}

// Moved implements deploy.Versions.
//
// Unguarded: deployments say so, whose own caller was let in.
func (v versions) Moved(ctx context.Context, model pavise.Name, number int, state, why string) error {
	return v.models.Moved(ctx, model.Tenant, registry.Ref{Model: model.ID, Version: number}, registry.State(state), why)
}
