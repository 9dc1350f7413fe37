package deploy

import (
	"context"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// List lists the deployments of a tenant: the verb deploy.list.
func (d *Deployments) List(ctx context.Context, who pavise.Principal) (list List, err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "deploy.list", pavise.Name{Tenant: who.Tenant, Kind: Kind, ID: "all"})
	if err != nil {
		return list, err
	}
	defer entry.Exit(&err)
	list.Deployments = []View{}
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		deps, err := all[Deployment](tx, "deploy_deployments", who.Tenant)
		for i := range deps {
			list.Deployments = append(list.Deployments, viewOf(&deps[i]))
		}
		return err
	})
	for i := range list.Deployments {
		d.withhold(ctx, &list.Deployments[i])
	}
	return list, err
}

// withhold says which versions of a deployment the registry bars, and that it is not well with
// one. What the registry cannot say is left out.
func (d *Deployments) withhold(ctx context.Context, v *View) {
	for _, h := range v.held() {
		known, err := d.cfg.Versions.Resolve(ctx, v.Model(), h.Version)
		if err != nil || !barred(known) {
			continue
		}
		if v.Withheld == nil {
			v.Withheld = map[int]string{}
		}
		v.Withheld[h.Version] = known.State
	}
	if v.Withheld != nil && v.Stage != StageAlarm {
		v.Stage = StageDegraded
	}
}

// Show shows a deployment: the verb deploy.show. The error is of kind NotFound.
func (d *Deployments) Show(ctx context.Context, who pavise.Principal, name pavise.Name) (v View, err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "deploy.show", name)
	if err != nil {
		return v, err
	}
	defer entry.Exit(&err)
	return d.shown(ctx, name)
}

func (d *Deployments) view(ctx context.Context, name pavise.Name) (v View, err error) {
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		dep, err := known(tx, name)
		if err == nil {
			v = viewOf(dep)
		}
		return err
	})
	return v, err
}

// shown is a deployment with what the registry and gateways say.
func (d *Deployments) shown(ctx context.Context, name pavise.Name) (v View, err error) {
	places := map[pavise.Name]*Place{}
	if v, err = d.view(ctx, name); err != nil {
		return v, err
	}
	d.withhold(ctx, &v)
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		for _, s := range v.Spots {
			if p, err := PlaceOf(tx, s.Target); err == nil { // or it was removed
				places[s.Target] = p
			} else if pavise.KindOf(err) != pavise.NotFound {
				return err
			}
		}
		return nil
	})
	for i := range v.Spots {
		s := &v.Spots[i]
		if p := places[s.Target]; p != nil {
			t, _, err := d.open(p)
			if spread, ok := t.(Spread); ok && err == nil { // what cannot be opened says why at its spot
				v.Gateways = append(v.Gateways, s.said(spread, d.taken(ctx, &v.Deployment, t))...)
			}
		}
	}
	return v, err
}

// taken are the numbers of the versions of a deployment that were taken back, by what a target
// knows them by: one that is cut off may run them still. Those that the registry cannot say are
// left out.
func (d *Deployments) taken(ctx context.Context, dep *Deployment, t Target) map[string]int {
	known := map[string]int{}
	for _, b := range dep.Barred {
		v, err := d.cfg.Versions.Resolve(ctx, dep.Model(), b.Version)
		if err != nil || v.Digest != b.Digest {
			continue
		}
		if artefact, err := t.Takes(v); err == nil {
			known[artefact] = b.Version
		}
	}
	return known
}

// Check looks at every target of a deployment now, and does what is missing there: the verb
// deploy.check. It returns how the deployment stands then. The error is of kind NotFound.
func (d *Deployments) Check(ctx context.Context, who pavise.Principal, name pavise.Name) (v View, err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "deploy.check", name)
	if err != nil {
		return v, err
	}
	defer entry.Exit(&err)
	if v, err = d.view(ctx, name); err != nil {
		return v, err
	}
	for _, s := range v.Spots {
		d.look(ctx, name, s.Target)
	}
	if err := d.judge(ctx, name); err != nil {
		return v, err
	}
	if v, err = d.shown(ctx, name); err != nil {
		return v, err
	}
	entry.Detail(map[string]any{"stage": v.Stage, "ready": v.Ready, "targets": len(v.Spots)})
	return v, nil
}
