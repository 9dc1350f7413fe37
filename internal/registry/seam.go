package registry

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// Noted is the detail of the notes that the room leaves.
type Noted struct {
	Version Ref             `json:"version"`
	Digest  Digest          `json:"digest,omitzero"`
	From    State           `json:"from,omitempty"`
	State   State           `json:"state"`
	Scan    *Scan           `json:"scan,omitempty"`
	Signed  *Signature      `json:"signature,omitempty"`
	House   *House          `json:"house,omitempty"`
	Why     string          `json:"why,omitempty"`
	Finding *pavise.Finding `json:"finding,omitempty"`
}

// Resolve returns a version with its files. The error is of kind NotFound.
//
// Unguarded: a room of the house asks, whose own caller was let in.
func (r *Registry) Resolve(ctx context.Context, tenant string, ref Ref) (v *Version, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		v, err = readVersion(tx, tenant, ref)
		return err
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Outline returns a version without its files, of which there may be many. The error is of kind
// NotFound.
//
// Unguarded: a room of the house asks, whose own caller was let in.
func (r *Registry) Outline(ctx context.Context, tenant string, ref Ref) (v *Version, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		v, err = readOutline(tx, tenant, ref)
		return err
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Aliased returns the version that an alias of a model means, with its files. The error is of
// kind NotFound.
//
// Unguarded: a room of the house asks, whose own caller was let in.
func (r *Registry) Aliased(ctx context.Context, model pavise.Name, alias string) (v *Version, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		ref := Ref{Model: model.ID}
		err := tx.QueryRow(`SELECT number FROM registry_aliases WHERE tenant = ? AND id = ? AND alias = ?`, model.Tenant, model.ID, alias).Scan(&ref.Version)
		if errors.Is(err, sql.ErrNoRows) {
			return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s has no alias %.80q", model, alias), Hint: "pavise model show " + model.ID + " shows those that it has"}
		}
		if err == nil {
			v, err = readVersion(tx, model.Tenant, ref)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Known returns a model. The error is of kind NotFound.
//
// Unguarded: a room of the house asks, whose own caller was let in.
func (r *Registry) Known(ctx context.Context, name pavise.Name) (m *Model, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		m, err = readModel(tx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// ByDigest returns the versions of a tenant with the digest, without their files, the newest
// first. There may be none.
//
// Unguarded: a room of the house asks, whose own caller was let in.
func (r *Registry) ByDigest(ctx context.Context, tenant string, digest Digest) (all []*Version, err error) {
	if digest == (Digest{}) {
		return nil, nil
	}
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err = selected(tx, `tenant = ? AND digest = ? ORDER BY rowid DESC`, tenant, digest.String())
		return err
	})
	return all, err
}

// Unfit says why what answers behind a route, in the words of a release's plan, may not do so: it
// is a model that runs in the gateway, and a file of a version in quarantine or retired out of it,
// or of versions alone that were rejected or retired. The error is of kind Denied. Of a model on a server, and of one
// that is no file of any version, the registry knows nothing.
//
// Unguarded: a room of the house asks, whose own caller was let in.
func (r *Registry) Unfit(ctx context.Context, tenant, version string) error {
	all, err := r.Having(ctx, tenant, version)
	if err != nil {
		return err
	}
	for _, v := range all {
		if v.Barred() {
			return unfit(v)
		}
	}
	if len(all) > 0 && !slices.ContainsFunc(all, func(v *Version) bool { return !v.State.Ends() }) {
		return unfit(all[0])
	}
	return nil
}

// Having returns the versions that have what answers behind a route among their files, the newest
// first; of a model on a server there are none.
//
// Unguarded: as Unfit.
func (r *Registry) Having(ctx context.Context, tenant, version string) (all []*Version, err error) {
	digest, err := ParseDigest(version)
	if err != nil || digest == (Digest{}) {
		return nil, nil
	}
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err = selected(tx, `tenant = ? AND instr(files, ?) > 0 ORDER BY rowid DESC`, tenant, `"`+digest.String()+`"`)
		return err
	})
	return all, err
}

// unfit is the error of a version that may not answer.
func unfit(v *Version) error {
	hint := "another model answers instead: pavise route release, or pavise deploy release; pavise route quarantine lets nobody ask"
	return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("it is a file of version %s, which is %s, and does not answer any more", v.Ref, v.State), Hint: hint}
}

// Moved says that a deployment moved a version on: to canary, live, degraded, rolled_back or
// accepted, to published where it serves nobody any more, or to quarantined. It is noted
// first. Errors are of kind NotFound, Invalid for another state, and Conflict for a state
// that does not lead there; to be where it is already is none.
//
// Unguarded: a room of the house says so, whose own caller was let in; it is noted.
func (r *Registry) Moved(ctx context.Context, tenant string, ref Ref, to State, why string) (err error) {
	if !slices.Contains(movable, to) {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a deployment moves no version to %s", to), Hint: "it is canary, live, degraded, rolled_back, accepted, published or quarantined"}
	}
	r.moving.Lock() // what was noted is what is kept
	defer r.moving.Unlock()
	v, err := r.Resolve(ctx, tenant, ref)
	if err != nil || v.State == to {
		return err
	}
	if !v.State.Leads(to) || !slices.Contains(movable, v.State) && to != Quarantined {
		return conflict(v, "and no deployment moves it from there to "+string(to))
	}
	from, why := v.State, clip(why, maxWords)
	detail := Noted{Version: ref, Digest: v.Digest, From: from, State: to, Why: why}
	severity := map[State]string{Degraded: pavise.Warning, RolledBack: pavise.Warning, Quarantined: pavise.Critical}[to]
	if severity != "" {
		detail.Finding = &pavise.Finding{Kind: KindMoved, Severity: severity, On: v.Name(), At: r.now(), Summary: fmt.Sprintf("%s is %s, and was %s: %.300s", ref, to, from, why)}
	}
	if err := r.cfg.Guard.Note(ctx, KindMoved, nil, v.Name(), detail); err != nil {
		return err
	}
	_, err = r.changeBy(ctx, r.cfg.Store.UpdateSafe, tenant, ref, func(tx *store.Tx, v *Version) error {
		if v.State != from { // somebody put it in quarantine meanwhile
			return conflict(v, "and was "+string(from))
		}
		return r.move(tx, v, to, Step{Why: why})
	})
	return err
}
