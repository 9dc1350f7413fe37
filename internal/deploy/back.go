package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// PlanPromote says what deploy.promote would come to. Errors are as those of PlanRelease.
//
// Unguarded: it is the plan of a change, whose proposer has entered.
func (d *Deployments) PlanPromote(ctx context.Context, name pavise.Name) (*Plan, error) {
	dr, err := d.promote(ctx, name)
	if err != nil {
		return nil, err
	}
	return &dr.plan, nil
}

// onward begins a draft of a deployment that there is.
func (d *Deployments) onward(ctx context.Context, name pavise.Name) (dr *draft, err error) {
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if _, err := known(tx, name); err != nil {
			return err
		}
		dr, err = d.begin(tx, name, nil)
		return err
	})
	if err == nil {
		dr.will.At = d.cfg.Now().UTC()
	}
	return dr, err
}

// promote drafts deploy.promote.
func (d *Deployments) promote(ctx context.Context, name pavise.Name) (dr *draft, err error) {
	if dr, err = d.onward(ctx, name); err != nil {
		return nil, err
	}
	if a := dr.was.Alarm; a != nil {
		return nil, &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s ran what nobody approved: %s", a.Target.ID, a.Ran), Hint: "find out how it came there; an approved release ends the alarm"}
	}
	var to []pavise.Name
	for i := range dr.will.Spots {
		s := &dr.will.Spots[i]
		if s.Beside == nil {
			continue
		}
		if dr.plan.Version != 0 && dr.plan.Version != s.Beside.Version {
			return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("versions %d and %d are beside others", dr.plan.Version, s.Beside.Version), Hint: "release one of them to the targets where it should answer"}
		}
		dr.plan.Version, dr.plan.Digest = s.Beside.Version, s.Beside.Digest
		m := Move{Target: s.Target, Kind: dr.places[s.Target].Kind, Was: s.words(), Artefact: s.Beside.Artefact}
		next := *s.Beside
		next.Since = dr.will.At
		s.succeed(next)
		s.Safe, m.Will = false, s.words()
		dr.plan.Moves, to = append(dr.plan.Moves, m), append(to, s.Target)
	}
	if len(to) == 0 {
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("no version of %s is beside another", name.ID), Hint: "pavise deploy release --canary 10 lets one answer a share of the calls first"}
	}
	v, err := d.cfg.Versions.Resolve(ctx, dr.will.Model(), dr.plan.Version)
	if err == nil {
		err = releasable(v)
	}
	if err == nil && v.Digest != dr.plan.Digest {
		err = swapped(v, dr.plan.Digest)
	}
	if err != nil {
		return nil, err
	}
	dr.plan.Risk, dr.plan.Need, dr.plan.Untraced = v.Risk, Needs(v), v.Untraced
	return dr, dr.finish(to)
}

// swapped is the error of a version that is no longer what it was.
func swapped(v Version, was string) error {
	return &pavise.Error{
		Kind: pavise.Unverified, Msg: fmt.Sprintf("version %d of %s is %s now, and %s was approved", v.Number, v.Model.ID, v.Digest, was),
		Hint: "somebody changed the registry: nothing of it is deployed",
	}
}

// Promote lets the version that is beside another answer all calls: the verb deploy.promote
// on tenant/deployment/id, done as a change. digests and mark are as those of Release.
func (d *Deployments) Promote(ctx context.Context, who pavise.Principal, name pavise.Name, digests map[string]string, mark func(*store.Tx) error) (err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "deploy.promote", name)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	dr, err := d.promote(ctx, name)
	if err != nil {
		return err
	}
	entry.Detail(dr.plan)
	return d.keep(ctx, d.cfg.Store.Update, who, dr, digests, mark)
}

// PlanRollback says what deploy.rollback would come to. The error is of kind Conflict when
// there is nothing to go back to.
//
// Unguarded: it is the plan of a change, whose proposer has entered.
func (d *Deployments) PlanRollback(ctx context.Context, name pavise.Name) (*Plan, error) {
	dr, err := d.back(ctx, name, 0, "")
	if err != nil {
		return nil, err
	}
	return &dr.plan, nil
}

// back drafts the way back, at every target that has one: what is beside another goes, else
// the newest version before that the registry does not bar comes. Where bad is not 0, only
// that version goes, wherever it is.
func (d *Deployments) back(ctx context.Context, name pavise.Name, bad int, why string) (dr *draft, err error) {
	if dr, err = d.onward(ctx, name); err != nil {
		return nil, err
	}
	beside := bad == 0 && slices.ContainsFunc(dr.will.Spots, func(s Spot) bool { return s.Beside != nil })
	var to []pavise.Name
	for i := range dr.will.Spots {
		s := &dr.will.Spots[i]
		m := Move{Target: s.Target, Kind: dr.places[s.Target].Kind, Was: s.words()}
		switch {
		case s.Beside != nil && (bad == 0 || s.Beside.Version == bad):
			dr.will.takeBack(*s.Beside, why)
			s.Beside, s.Weight, s.Shadow = nil, 0, false
		case beside: // the version that is tried elsewhere goes; what answers here stays
			m.Stays = "no version is beside the one that answers"
		case bad != 0 && (s.Main == nil || s.Main.Version != bad):
			m.Stays = fmt.Sprintf("version %d is not there", bad)
		default:
			m.Stays = d.predecessor(ctx, dr.will, s, why)
		}
		if m.Will = s.words(); m.Stays == "" {
			s.Safe = true
			if s.Main != nil {
				m.Artefact = s.Main.Artefact
			}
			to = append(to, s.Target)
		}
		dr.plan.Moves = append(dr.plan.Moves, m)
	}
	if len(to) == 0 {
		hint := "pavise route quarantine stops a model at the gateway; pavise deploy release brings another version"
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s has nothing to go back to: %s", name.ID, stays(dr.plan.Moves)), Hint: hint}
	}
	return dr, dr.finish(append(to, d.withdraw(dr)...))
}

// withdraw has nothing run where what was taken back elsewhere is still on its way to a target
// that ran nothing before: it would run there once the target is back. It returns these targets.
// Those that cannot be told so are brought nothing (withheld).
func (d *Deployments) withdraw(dr *draft) (from []pavise.Name) {
	for i := range dr.will.Spots {
		s, m := &dr.will.Spots[i], &dr.plan.Moves[i]
		if m.Stays == "" || !s.never() || !dr.will.tookBack(s.Main.Digest) || !d.cfg.Drivers[m.Kind].Empties {
			continue
		}
		s.Before = append([]Held{*s.Main}, s.Before...)
		s.Main, s.Safe, m.Stays = nil, true, ""
		m.Will = s.words()
		from = append(from, s.Target)
	}
	return from
}

func stays(moves []Move) string {
	for _, m := range moves {
		if m.Stays != "" {
			return m.Target.ID + ": " + m.Stays
		}
	}
	return "nothing runs anywhere"
}

// takeBack notes that a version was taken back.
func (d *Deployment) takeBack(h Held, why string) {
	d.Barred = slices.DeleteFunc(slices.Clone(d.Barred), func(t Taken) bool { return t.Digest == h.Digest })
	d.Barred = append(d.Barred, Taken{Version: h.Version, Digest: h.Digest, Why: why[:min(len(why), maxProblem)], At: d.At})
	d.Barred = d.Barred[max(0, len(d.Barred)-MaxBarred):]
}

// tookBack reports whether a version was taken back, by its digest, and not released since.
func (d *Deployment) tookBack(digest string) bool {
	return slices.ContainsFunc(d.Barred, func(t Taken) bool { return t.Digest == digest })
}

// never reports whether a version is on its way to a spot where nothing was seen yet.
func (s *Spot) never() bool {
	return s.Main != nil && s.Applied == 0 && (s.Seen == nil || s.Seen.Main == "")
}

// predecessor puts the newest version before in the place of what runs at a spot. It
// returns why there is none.
func (d *Deployments) predecessor(ctx context.Context, dep *Deployment, s *Spot, why string) string {
	if s.Main == nil {
		return "nothing runs there"
	}
	none := "no version ran there before"
	for i, h := range s.Before {
		if dep.tookBack(h.Digest) {
			none = fmt.Sprintf("version %d was taken back, too", h.Version)
			continue
		}
		v, err := d.cfg.Versions.Resolve(ctx, dep.Model(), h.Version)
		switch {
		case err != nil:
			none = fmt.Sprintf("version %d cannot be looked up: %s", h.Version, message(err))
		case v.Digest != h.Digest:
			none = fmt.Sprintf("version %d is no longer what ran there", h.Version)
		case Deployable(v) != nil:
			none = fmt.Sprintf("version %d is %s", h.Version, v.State)
		default:
			dep.takeBack(*s.Main, why)
			h.Since = dep.At
			s.Main, s.Before = &h, slices.Clone(s.Before[i+1:])
			s.Beside, s.Weight, s.Shadow = nil, 0, false
			return ""
		}
	}
	return none
}

// Rollback lets the version answer that did before: the verb deploy.rollback on
// tenant/deployment/id, in the safe direction. Gateways have moved when it returns, if they
// can be reached; the other targets follow. digests and mark are as those of Release.
func (d *Deployments) Rollback(ctx context.Context, who pavise.Principal, name pavise.Name, why string, digests map[string]string, mark func(*store.Tx) error) (err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "deploy.rollback", name)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	dr, err := d.back(ctx, name, 0, why)
	if err != nil {
		return err
	}
	entry.Detail(dr.plan)
	if err := d.keep(ctx, d.cfg.Store.UpdateSafe, who, dr, digests, mark); err != nil {
		return err
	}
	d.first(ctx, dr.will)
	return nil
}

// first does what is wanted at the targets where calls are sent, at once, and tells the
// registry. What it does not hear now it hears at the next look.
func (d *Deployments) first(ctx context.Context, dep *Deployment) {
	for _, s := range dep.Spots {
		if s.Revision == dep.Revision && d.sends(ctx, s.Target) {
			d.look(ctx, dep.Name, s.Target)
		}
	}
	_ = d.tell(ctx, dep.Name)
}

// sends reports whether a target is where calls are sent.
func (d *Deployments) sends(ctx context.Context, target pavise.Name) bool {
	var p *Place
	err := d.cfg.Store.View(ctx, func(tx *store.Tx) (err error) { p, err = PlaceOf(tx, target); return err })
	return err == nil && d.cfg.Drivers[p.Kind].First
}

// seldom is how long the house waits until it goes back by itself once more.
const seldom = 30 * time.Minute

// Automatic is the way back that the house takes by itself, from a version that is confirmed
// to be bad, or was quarantined. It does so once in half an hour for a deployment; after
// that it pages somebody, once, and the error is of kind Throttled. That there is nothing to
// go back to is told in the same way, with kind Conflict. Gateways have moved when it
// returns.
//
// Unguarded: a room of the house asks it, and the note that it leaves says why.
func (d *Deployments) Automatic(ctx context.Context, name pavise.Name, version int, why string) error {
	dr, err := d.back(ctx, name, version, why)
	if err != nil {
		return d.page(ctx, name, version, why, err)
	}
	// A clock that was set back shows a rollback of the future: it was a moment ago.
	if now, last := d.cfg.Now(), dr.was.Automatic; !last.IsZero() && now.Before(last.Add(seldom)) {
		return d.page(ctx, name, version, why, &pavise.Error{
			Kind: pavise.Throttled, Msg: fmt.Sprintf("it went back by itself at %s, and does so once in %v", last.Format("15:04:05 UTC"), seldom),
			Hint: "pavise deploy rollback " + name.ID + " goes back all the same",
		})
	}
	dr.will.Automatic = dr.will.At
	summary := fmt.Sprintf("%s goes back by itself from version %d, at %s: %s", name.ID, version, dr.plan.Words(), why)
	if err := d.note(ctx, KindRolledBack, pavise.Critical, name, summary, noted{Version: version, Problem: why}); err != nil {
		return err
	}
	house := pavise.Principal{Tenant: name.Tenant, Kind: pavise.Workload, ID: "pavise"}
	if err := d.keep(ctx, d.cfg.Store.UpdateSafe, house, dr, dr.plan.digests, func(*store.Tx) error { return nil }); err != nil {
		return err
	}
	d.first(ctx, dr.will)
	return nil
}

// A Router is a Target that steers the route to a model.
type Router interface{ Steers() pavise.Name }

// Behind returns the deployment that steers the route to a model, and the version there that is
// the newest to answer: the one that has a share of the calls, else the one that has all. The
// error is of kind NotFound where no deployment does, or the route leads elsewhere than one wants.
//
// Unguarded: a room of the house asks, before it has a version taken back.
func (d *Deployments) Behind(ctx context.Context, model pavise.Name) (name pavise.Name, version int, err error) {
	var deps []Deployment
	places := map[pavise.Name]*Place{}
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		deps, err = all[Deployment](tx, "deploy_deployments", model.Tenant)
		for i := range deps {
			for _, s := range deps[i].Spots {
				if err == nil {
					places[s.Target], err = PlaceOf(tx, s.Target)
				}
			}
		}
		return err
	})
	if err != nil {
		return name, 0, err
	}
	for i := range deps {
		for _, s := range deps[i].Spots {
			t, _, err := d.open(places[s.Target])
			r, routes := t.(Router)
			if err != nil || !routes || r.Steers() != model || s.Main == nil {
				continue
			}
			if seen, err := t.Observe(ctx); err != nil || !s.matches(seen) {
				continue
			}
			if s.Beside != nil && !s.Shadow {
				return deps[i].Name, s.Beside.Version, nil
			}
			return deps[i].Name, s.Main.Version, nil
		}
	}
	return name, 0, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no deployment steers the route to %s as it is", model.ID), Hint: "pavise deploy list shows what runs where"}
}

// page tells somebody, once for each revision, that the house should go back and does not.
func (d *Deployments) page(ctx context.Context, name pavise.Name, version int, why string, because error) error {
	kind := pavise.KindOf(because)
	if kind != pavise.Conflict && kind != pavise.Throttled {
		return because
	}
	v, err := d.view(ctx, name)
	if err != nil || v.Paged == v.Revision {
		return because
	}
	summary := fmt.Sprintf("%s should go back from version %d (%s), and the house does not do it: %s", name.ID, version, why, message(because))
	err = d.note(ctx, KindPaged, pavise.Critical, name, summary, noted{Version: version, Problem: why})
	if err == nil {
		err = d.revise(ctx, name, func(now *Deployment) { now.Paged = v.Revision })
	}
	return errors.Join(because, err)
}
