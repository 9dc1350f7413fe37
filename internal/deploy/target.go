package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// A PlacePlan is what a target would be.
type PlacePlan struct {
	Was    *Spec  `json:"was,omitempty"` // nil: there is none yet
	Will   Spec   `json:"will"`
	Before string `json:"before"` // hex SHA-256 of the target as it is
	In     string `json:"in,omitempty"`
}

// PlanPut says what target.put would come to. Errors are of kind Invalid and Conflict.
//
// Unguarded: it is the plan of a change, whose proposer has entered.
func (d *Deployments) PlanPut(ctx context.Context, name pavise.Name, spec Spec) (plan PlacePlan, err error) {
	if _, _, err := d.open(&Place{Name: name, Spec: spec}); err != nil {
		return plan, err
	}
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error { plan, err = d.planPut(tx, name, spec); return err })
	return plan, err
}

func (d *Deployments) planPut(tx *store.Tx, name pavise.Name, spec Spec) (plan PlacePlan, err error) {
	was := &Place{}
	found, err := get(tx, "deploy_targets", name, was)
	if err != nil {
		return plan, err
	}
	plan.Will = spec
	if found {
		plan.Was = &was.Spec
		if was.Deployment != (pavise.Name{}) {
			plan.In = was.Deployment.ID
		}
	}
	list, err := all[Place](tx, "deploy_targets", name.Tenant)
	if err != nil {
		return plan, err
	}
	if !found && len(list) >= maxTargets {
		return plan, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there are %d targets, and no more are kept", len(list)), Hint: "pavise target remove"}
	}
	if err := d.sole(&Place{Name: name, Spec: spec}, list); err != nil {
		return plan, err
	}
	plan.Before, err = sumOf(plan.Was)
	if after, _ := sumOf(&spec); err == nil && after == plan.Before {
		err = &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is that already", name)}
	}
	return plan, err
}

// sole refuses, with kind Conflict, a target that steers what another one does.
func (d *Deployments) sole(p *Place, list []Place) error {
	thing := func(p *Place) string {
		t, _, err := d.open(p)
		if s, ok := t.(Sole); ok && err == nil {
			return s.Thing()
		}
		return ""
	}
	mine := thing(p)
	for i := range list {
		if o := &list[i]; mine != "" && o.Name != p.Name && o.Kind == p.Kind && thing(o) == mine {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is steered by the target %s already", mine, o.Name.ID), Hint: "release to that one; two would undo each other"}
		}
	}
	return nil
}

// sumOf is the hex SHA-256 of something as JSON.
func sumOf(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// Put makes a target: the verb target.put on tenant/target/id, done as a change. before is
// the digest of the target as it was approved to be replaced. What is to run there is
// brought there anew. mark is part of the same transaction. Errors are of kind Invalid and
// Conflict.
func (d *Deployments) Put(ctx context.Context, who pavise.Principal, name pavise.Name, spec Spec, before string, mark func(*store.Tx) error) (err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "target.put", name)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	if _, _, err := d.open(&Place{Name: name, Spec: spec}); err != nil {
		return err
	}
	entry.Detail(spec)
	defer d.lock(name)()
	err = d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		plan, err := d.planPut(tx, name, spec)
		if err != nil {
			return err
		}
		if plan.Before != before {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is no longer the target that was to be replaced", name), Hint: "look at it, and propose anew: pavise target show " + name.ID}
		}
		p := &Place{}
		if _, err := get(tx, "deploy_targets", name, p); err != nil {
			return err
		}
		*p = Place{Name: name, Spec: spec, By: who.Name(), Since: d.cfg.Now().UTC(), Change: who.Change, Deployment: p.Deployment}
		if err := put(tx, "deploy_targets", name, p); err != nil {
			return err
		}
		if err := d.anew(tx, p); err != nil {
			return err
		}
		return mark(tx)
	})
	if err == nil {
		d.soon()
	}
	return err
}

// anew has what is wanted at a target brought there once more: it may be another place now.
func (d *Deployments) anew(tx *store.Tx, p *Place) error {
	if p.Deployment == (pavise.Name{}) {
		return nil
	}
	dep, err := known(tx, p.Deployment)
	if err != nil {
		return err
	}
	s := dep.spot(p.Name)
	if s == nil {
		return nil
	}
	dep.Revision++
	s.Revision, s.Applied, s.Seen, s.Next = dep.Revision, 0, nil, d.cfg.Now()
	return put(tx, "deploy_deployments", dep.Name, dep)
}

// Targets lists the targets of a tenant: the verb target.list.
func (d *Deployments) Targets(ctx context.Context, who pavise.Principal) (list Places, err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "target.list", pavise.Name{Tenant: who.Tenant, Kind: KindTarget, ID: "all"})
	if err != nil {
		return list, err
	}
	defer entry.Exit(&err)
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		list.Targets, err = all[Place](tx, "deploy_targets", who.Tenant)
		return err
	})
	if list.Targets == nil {
		list.Targets = []Place{}
	}
	return list, err
}

// A Shown is a target, with what is wanted there and what was seen.
type Shown struct {
	Place
	Spot *Spot `json:"spot,omitempty"`
	// Trust is what a machine that fetches there must know beforehand: whose word to take.
	Trust any `json:"trust,omitempty"`
	// Admission is what the cluster where the target is can be given, as YAML, so that it
	// refuses by itself what is not pinned.
	Admission string `json:"admission,omitempty"`
}

// Target shows a target: the verb target.show. The error is of kind NotFound.
func (d *Deployments) Target(ctx context.Context, who pavise.Principal, name pavise.Name) (s Shown, err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "target.show", name)
	if err != nil {
		return s, err
	}
	defer entry.Exit(&err)
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		p, err := PlaceOf(tx, name)
		if err != nil {
			return err
		}
		s.Place = *p
		if p.Deployment == (pavise.Name{}) {
			return nil
		}
		dep, err := known(tx, p.Deployment)
		if err == nil {
			s.Spot = dep.spot(name)
		}
		return err
	})
	if err != nil {
		return s, err
	}
	t, _, err := d.open(&s.Place)
	if err != nil {
		return s, err
	}
	if e, ok := t.(interface{ Trust() (any, error) }); ok {
		s.Trust, err = e.Trust()
	}
	if a, ok := t.(interface{ Admission() string }); ok {
		s.Admission = a.Admission()
	}
	return s, err
}

// Remove forgets a target: the verb target.remove. What runs there stays there, and nobody
// looks at it any more, which is a finding. The error is of kind NotFound.
func (d *Deployments) Remove(ctx context.Context, who pavise.Principal, name pavise.Name, reason string) (err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "target.remove", name)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	entry.Detail(map[string]string{"reason": reason})
	defer d.lock(name)()
	var left *Spot
	err = d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		p, err := PlaceOf(tx, name)
		if err != nil {
			return err
		}
		for _, table := range []string{"deploy_targets", "deploy_kept"} {
			if _, err := tx.Exec(`DELETE FROM `+table+` WHERE tenant = ? AND id = ?`, name.Tenant, name.ID); err != nil {
				return err
			}
		}
		if p.Deployment == (pavise.Name{}) {
			return nil
		}
		dep, err := known(tx, p.Deployment)
		if err != nil {
			return err
		}
		left = dep.spot(name)
		dep.Spots = slices.DeleteFunc(dep.Spots, func(s Spot) bool { return s.Target == name })
		return put(tx, "deploy_deployments", dep.Name, dep)
	})
	if err != nil || left == nil || left.Main == nil {
		return err
	}
	return d.note(context.WithoutCancel(ctx), KindUnwatched, pavise.Warning, name,
		fmt.Sprintf("%s was forgotten while it ran version %d: nobody looks any more at what runs there", name.ID, left.Main.Version),
		noted{Target: name, Version: left.Main.Version, Digest: left.Main.Digest})
}
