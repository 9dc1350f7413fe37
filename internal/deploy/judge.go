package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// judge holds the versions of a deployment to the registry: one that it bars goes back, of
// one that nobody can trace that is told, and the registry is told how far each has come.
func (d *Deployments) judge(ctx context.Context, name pavise.Name) error {
	var dep *Deployment
	err := d.cfg.Store.View(ctx, func(tx *store.Tx) (err error) { dep, err = deployment(tx, name); return err })
	if err != nil || dep == nil {
		return err
	}
	for _, h := range dep.held() {
		v, err := d.cfg.Versions.Resolve(ctx, dep.Model(), h.Version)
		if err != nil {
			return err
		}
		if v.Untraced != "" && !slices.Contains(dep.Untraced, v.Number) {
			summary := fmt.Sprintf("version %d of %s is deployed, and nobody can say what it was trained on: %s", v.Number, name.ID, v.Untraced)
			if err := d.note(ctx, KindUntraced, pavise.Warning, name, summary, noted{Version: v.Number, Digest: v.Digest, Problem: v.Untraced}); err != nil {
				return err
			}
			if err := d.revise(ctx, name, func(dep *Deployment) { dep.Untraced = append(dep.Untraced, v.Number) }); err != nil {
				return err
			}
		}
		if barred(v) {
			err := d.Automatic(ctx, name, v.Number, fmt.Sprintf("version %d is %s", v.Number, v.State))
			if kind := pavise.KindOf(err); err == nil || kind != pavise.Conflict && kind != pavise.Throttled {
				return err
			}
			if _, told := dep.Told[v.Number]; told { // it is wanted still: once it is let out, it begins to serve anew
				return d.revise(ctx, name, func(now *Deployment) { delete(now.Told, v.Number) })
			}
			return nil
		}
	}
	return d.tell(ctx, name)
}

// barred reports whether the registry bars a version that was deployed: one that was only
// taken back, or is out of use, is nobody's danger.
func barred(v Version) bool {
	return Deployable(v) != nil && v.State != "rolled_back" && v.State != "retired"
}

// held are the versions that are to run somewhere, each once.
func (d *Deployment) held() (list []Held) {
	for _, s := range d.Spots {
		for _, h := range []*Held{s.Main, s.Beside} {
			if h != nil && !slices.ContainsFunc(list, func(o Held) bool { return o.Version == h.Version }) {
				list = append(list, *h)
			}
		}
	}
	return list
}

// tell tells the registry how far the versions have come, as far as it has not been told.
func (d *Deployments) tell(ctx context.Context, name pavise.Name) error {
	d.telling.Lock() // or two would tell the same
	defer d.telling.Unlock()
	var dep *Deployment
	err := d.cfg.Store.View(ctx, func(tx *store.Tx) (err error) { dep, err = deployment(tx, name); return err })
	if err != nil || dep == nil {
		return err
	}
	standing := dep.standing()
	for _, version := range slices.Sorted(maps.Keys(standing)) {
		state := standing[version]
		if dep.Told[version] == state {
			continue
		}
		why := "deployed to " + dep.Name.ID
		if at := slices.IndexFunc(dep.Barred, func(t Taken) bool { return t.Version == version }); at >= 0 && state == "rolled_back" {
			why = dep.Barred[at].Why
		}
		// A version that somebody moved elsewhere meanwhile, to quarantine, stays there.
		if err := d.cfg.Versions.Moved(ctx, dep.Model(), version, state, why); err != nil && pavise.KindOf(err) != pavise.Conflict {
			return err
		}
		err := d.revise(ctx, dep.Name, func(now *Deployment) {
			if now.Told == nil {
				now.Told = map[int]string{}
			}
			now.Told[version] = state
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// revise changes what is kept of a deployment, and nothing of what is wanted.
func (d *Deployments) revise(ctx context.Context, name pavise.Name, with func(*Deployment)) error {
	return d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		dep, err := deployment(tx, name)
		if err != nil || dep == nil {
			return err
		}
		with(dep)
		return put(tx, "deploy_deployments", name, dep)
	})
}
