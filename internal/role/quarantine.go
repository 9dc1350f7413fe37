package role

import (
	"context"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/route"
)

// The notes of a gateway on the versions that its control plane has in quarantine.
const (
	noteWithdrawn = "model.withdrawn" // nobody is answered by the version here any more
	noteRestored  = "model.restored"  // the version is in quarantine no more
)

// standings are the routes as gateways are told of them: a model whose version in service is in
// quarantine stands there as one that nobody may ask, so that a gateway of a build before it
// knew versions bars it, too. Each has what a rollback of it would need.
func (s *Serve) standings(ctx context.Context) ([]route.Standing, error) {
	all := s.Gateway.Routes.Standings()
	former, err := s.Gateway.Routes.FormerBlobs(ctx)
	for i := range all {
		all[i].Former = former[all[i].Model]
		all[i].Quarantined = all[i].Quarantined || s.Facts(all[i].Model).Quarantined
	}
	return all, err
}

// withdrawn are the versions in quarantine, with what data planes know them by: the newest, as
// far as gateways are told of so many.
func (s *Serve) withdrawn(ctx context.Context) ([]fleet.Withdrawn, error) {
	if s.Models == nil {
		return []fleet.Withdrawn{}, nil
	}
	gone, err := s.Models.Withdrawn(ctx)
	if err != nil {
		return nil, err
	}
	asked := make([]deploy.Version, len(gone))
	for i, w := range gone {
		asked[i] = deploy.Version{Model: w.Ref.Of(w.Name.Tenant), Number: w.Ref.Version, Digest: w.Digest.String()}
	}
	answers, err := s.Deployments.Asked(ctx, asked)
	if err != nil {
		return nil, err
	}
	return toldOf(s.Tenant, gone, answers), nil
}

// maxModels bounds by how many digests gateways are told to know one version, those first that a
// deployment ran: one of thousands of files would else take the room of all others.
const maxModels = 256

// toldOf is what gateways are told of versions in quarantine, with what deployments know them by.
func toldOf(tenant string, gone []registry.Withdrawn, answers []deploy.Answers) []fleet.Withdrawn {
	all, size := []fleet.Withdrawn{}, 0
	for i, w := range gone {
		if w.Name.Tenant != tenant {
			continue
		}
		told := fleet.Withdrawn{Version: w.Name, Digest: w.Digest.String(), Models: answers[i].Models}
		for _, digest := range w.Models {
			if len(told.Models) >= maxModels {
				break
			}
			if !slices.Contains(told.Models, digest.String()) {
				told.Models = append(told.Models, digest.String())
			}
		}
		for _, at := range answers[i].At {
			told.At = append(told.At, fleet.Place(at))
		}
		if size += 1 + len(told.Models) + len(told.At); size > fleet.MaxWithdrawn {
			break
		}
		all = append(all, told)
	}
	return all
}

// words are what each gateway said last of the route to a model.
func (s *Serve) words(model pavise.Name) []deploy.Word {
	return s.nodes.Words(model, s.publisher.Serial())
}

// facts are what policies may ask of a thing at a gateway: of a model, whether what answers for
// it is in quarantine at the control plane, too.
func (g *Gateway) facts(name pavise.Name) policy.Facts {
	facts := g.Facts(name)
	if barred := g.barred.Load(); barred != nil && (*barred)[name] {
		facts.Quarantined = true
	}
	return facts
}

// withdraw has nobody ask a version that is in quarantine, by the routes as they are here now:
// it waits for no new route, and for no model that is on its way. What is new is recorded first.
func (g *Gateway) withdraw(ctx context.Context, serial uint64, all []fleet.Withdrawn) error {
	type noted struct {
		Serial uint64 `json:"serial"`
		fleet.Withdrawn
	}
	held := map[pavise.Name]fleet.Withdrawn{}
	for _, w := range all {
		held[w.Version] = w
		if _, known := g.withdrawn[w.Version]; known {
			continue
		}
		if err := g.Guard.Note(ctx, noteWithdrawn, nil, w.Version, noted{serial, w}); err != nil {
			return err
		}
	}
	for name, w := range g.withdrawn {
		if _, stays := held[name]; stays {
			continue
		}
		if err := g.Guard.Note(ctx, noteRestored, nil, name, noted{serial, w}); err != nil {
			return err
		}
	}
	g.withdrawn = held
	g.bar(all)
	return nil
}

// bar notes which models nobody may ask, for what their routes lead to now. What answers beside
// others bars its model, too, until the route without it is here.
func (g *Gateway) bar(all []fleet.Withdrawn) {
	barred := map[pavise.Name]bool{}
	for _, s := range g.Gateway.Routes.Standings() {
		servers, versions := len(s.Replicas), len(s.Versions)
		if fleet.Hold(all, &s) != nil || len(s.Replicas) < servers || len(s.Versions) < versions {
			barred[s.Model] = true
		}
	}
	g.barred.Store(&barred)
}

// runs are what it asks behind its routes.
func (g *Gateway) runs() []fleet.Run {
	return fleet.Runs(g.Gateway.Routes.Standings(), func(model pavise.Name) bool { return g.facts(model).Quarantined })
}
