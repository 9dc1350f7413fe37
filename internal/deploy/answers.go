package deploy

import (
	"context"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// An At is where a version answers behind a route.
type At struct {
	Model pavise.Name // whose route it is
	URL   string
}

// Answers are by what a data plane knows a version: the digest of what runs in a gateway, and
// the addresses at which it is served.
type Answers struct {
	Models []string
	At     []At
}

// Served is a Router whose versions may be served at addresses of their own.
type Served interface {
	Router
	Addresses(version int) []string // none: versions run in the gateway
}

// Asked says by what data planes know some versions of models, by their place in versions: what
// targets ran of each, and where those that have addresses for versions would ask it.
//
// Unguarded: a room of the house asks, to say which of them nobody asks any more.
func (d *Deployments) Asked(ctx context.Context, versions []Version) ([]Answers, error) {
	if len(versions) == 0 {
		return nil, nil
	}
	var deps []Deployment
	targets := map[pavise.Name]Target{}
	err := d.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if deps, err = all[Deployment](tx, "deploy_deployments", ""); err != nil {
			return err
		}
		places, err := all[Place](tx, "deploy_targets", "")
		for i := range places {
			if t, _, err := d.open(&places[i]); err == nil { // one that nobody can steer asks nobody
				targets[places[i].Name] = t
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	found := make([]Answers, len(versions))
	for i, v := range versions {
		for j := range deps {
			if deps[j].Model() != v.Model {
				continue
			}
			for k := range deps[j].Spots {
				s := &deps[j].Spots[k]
				found[i].add(s, targets[s.Target], v)
			}
		}
	}
	return found, nil
}

// add adds by what a spot knows a version.
func (a *Answers) add(s *Spot, t Target, v Version) {
	served, routes := t.(Served)
	if !routes {
		return
	}
	for _, url := range served.Addresses(v.Number) {
		if at := (At{served.Steers(), url}); !slices.Contains(a.At, at) {
			a.At = append(a.At, at)
		}
	}
	for _, h := range s.ever() {
		if h.Digest == v.Digest && strings.HasPrefix(h.Artefact, "sha256:") && !slices.Contains(a.Models, h.Artefact) {
			a.Models = append(a.Models, h.Artefact)
		}
	}
}

// ever are the versions that are, or were, to run at the spot.
func (s *Spot) ever() []Held {
	list := slices.Clone(s.Before)
	for _, h := range []*Held{s.Main, s.Beside} {
		if h != nil {
			list = append(list, *h)
		}
	}
	return list
}
