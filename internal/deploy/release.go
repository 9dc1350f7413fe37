package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// A Release asks for a version to run at targets: the request of deploy.release.
type Release struct {
	Version int           `json:"version"`
	To      []pavise.Name `json:"to,omitempty"`     // none: every target of the deployment
	Canary  int           `json:"canary,omitempty"` // calls in a hundred that it answers first; 0: all
	Shadow  bool          `json:"shadow,omitempty"` // it hears the calls first, and answers none
}

// A Move is what an act would do at one target.
type Move struct {
	Target   pavise.Name `json:"target"`
	Kind     string      `json:"kind"`
	Was      string      `json:"was"`
	Will     string      `json:"will"`
	Artefact string      `json:"artefact,omitempty"` // what would answer, or hear, by its digest
	Stays    string      `json:"stays,omitempty"`    // why nothing is done there
}

// A Plan is what an act would come to.
type Plan struct {
	Version  int               `json:"version,omitempty"`
	Digest   string            `json:"digest,omitempty"`
	Risk     string            `json:"risk,omitempty"`
	Need     int               `json:"need"` // approvals that it takes at least
	Moves    []Move            `json:"moves"`
	Untraced string            `json:"untraced,omitempty"` // why nobody can say what the version was trained on
	digests  map[string]string // what was approved depends on
}

// Digests are what the outcome depends on: the version, its artefact at each target, what
// each target is, and what runs there before.
func (p *Plan) Digests() map[string]string { return p.digests }

// Words say what is done, for people.
func (p *Plan) Words() string {
	var all []string
	for _, m := range p.Moves {
		if m.Stays == "" {
			all = append(all, m.Target.ID+" ("+m.Will+")")
		}
	}
	return strings.Join(all, ", ")
}

// highRisk is how many approvals a version of high risk takes.
const highRisk = 2

// Needs is how many approvals a version takes at least.
func Needs(v Version) int {
	if v.Risk == "low" || v.Risk == "medium" {
		return 1
	}
	return highRisk // nobody said how much is at stake
}

// maxTo is how many targets one act names at most.
const maxTo = 64

// A draft is a deployment as an act would make it.
type draft struct {
	was, will *Deployment
	places    map[pavise.Name]*Place
	plan      Plan
}

// begin reads a deployment and its targets, and those of to, for an act.
func (d *Deployments) begin(tx *store.Tx, name pavise.Name, to []pavise.Name) (*draft, error) {
	was, err := deployment(tx, name)
	if err != nil {
		return nil, err
	}
	if was == nil {
		was = &Deployment{Name: name}
	}
	will := *was
	will.Spots = slices.Clone(was.Spots)
	dr := &draft{was: was, will: &will, places: map[pavise.Name]*Place{}}
	for _, s := range was.Spots {
		if !slices.Contains(to, s.Target) {
			to = append(slices.Clip(to), s.Target)
		}
	}
	for _, target := range to {
		p, err := PlaceOf(tx, target)
		if err != nil {
			return nil, err
		}
		if p.Deployment != (pavise.Name{}) && p.Deployment != name {
			return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s runs versions of %s", target.ID, p.Deployment.ID), Hint: "a target is for one model: pavise target put makes another"}
		}
		dr.places[target] = p
	}
	return dr, nil
}

// finish gives what will be its revision, and the plan what it depends on.
func (dr *draft) finish(changed []pavise.Name) (err error) {
	dr.will.Revision = dr.was.Revision + 1
	before := struct {
		Revision uint64
		Spots    []Spot
	}{Revision: dr.was.Revision}
	for _, s := range dr.was.Spots {
		before.Spots = append(before.Spots, Spot{Target: s.Target, Main: s.Main, Beside: s.Beside, Weight: s.Weight, Shadow: s.Shadow, Revision: s.Revision})
	}
	sum, err := sumOf(before)
	if err != nil {
		return err
	}
	dr.plan.digests = map[string]string{"deployment before": sum}
	if dr.plan.Digest != "" {
		dr.plan.digests["version"] = dr.plan.Digest
	}
	for _, name := range changed {
		s := dr.will.spot(name)
		s.Revision, s.Problem, s.Tries, s.Told = dr.will.Revision, "", 0, false
		s.Since, s.Next, s.Leaving = time.Time{}, dr.will.At, nil
		if was := dr.was.spot(name); was != nil {
			s.Leaving = was.artefacts()
		}
		what, err := sumOf(struct {
			Spec
			Main, Beside *Held
		}{dr.places[name].Spec, bare(s.Main), bare(s.Beside)})
		if err != nil {
			return err
		}
		dr.plan.digests["target "+name.ID] = what
	}
	return nil
}

// bare is a version at a target without when it came there.
func bare(h *Held) *Held {
	if h == nil {
		return nil
	}
	return &Held{Version: h.Version, Digest: h.Digest, Artefact: h.Artefact}
}

// published are the states of a version in which it may be brought anywhere.
var published = []string{"published", "canary", "live", "degraded", "accepted"}

// releasable refuses a version that may not be brought to where it does not run.
func releasable(v Version) error {
	if err := Deployable(v); err != nil {
		return err
	}
	if v.Unsigned != "" {
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("version %d of %s is not signed: %s", v.Number, v.Model.ID, v.Unsigned), Hint: "pavise model show says who signed what"}
	}
	return unaltered(v)
}

// unaltered refuses a version that is not what was published.
func unaltered(v Version) error {
	if v.Altered == "" {
		return nil
	}
	return &pavise.Error{Kind: pavise.Unverified, Msg: v.Altered, Hint: "nothing of it is deployed: compare the state database with the log, and restore it, or add the files anew"}
}

// Deployable refuses a version that may not be brought anywhere. The error is of kind Denied.
func Deployable(v Version) error {
	if slices.Contains(published, v.State) {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Denied, Msg: fmt.Sprintf("version %d of %s is %s, and only what is published is deployed", v.Number, v.Model.ID, v.State),
		Hint: "pavise model show says what it lacks",
	}
}

// PlanRelease says what deploy.release would come to. Errors are of kind Invalid, Denied
// for a version that is not published, NotFound and Conflict.
//
// Unguarded: it is the plan of a change, whose proposer has entered.
func (d *Deployments) PlanRelease(ctx context.Context, name pavise.Name, r Release) (*Plan, error) {
	dr, err := d.release(ctx, name, r)
	if err != nil {
		return nil, err
	}
	return &dr.plan, nil
}

// release drafts deploy.release.
func (d *Deployments) release(ctx context.Context, name pavise.Name, r Release) (dr *draft, err error) {
	switch {
	case r.Version < 1 || len(r.To) > maxTo:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "a release is of a version, from 1, to at most 64 targets", Hint: "pavise deploy release fraud/3 --to gateway"}
	case r.Canary < 0 || r.Canary > 99 || r.Canary > 0 && r.Shadow:
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "a version answers 1 to 99 in a hundred calls first, or hears them, or answers all at once", Hint: "--canary 10, or --shadow"}
	}
	v, err := d.cfg.Versions.Resolve(ctx, (&Deployment{Name: name}).Model(), r.Version)
	if err == nil {
		err = releasable(v)
	}
	if err != nil {
		return nil, err
	}
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error { dr, err = d.begin(tx, name, r.To); return err })
	if err != nil {
		return nil, err
	}
	if len(dr.places) == 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("no version of %s runs anywhere yet, and a first release names its targets", name.ID), Hint: "--to TARGET; pavise target list shows them"}
	}
	dr.plan.Version, dr.plan.Digest, dr.plan.Risk, dr.plan.Need, dr.plan.Untraced = v.Number, v.Digest, v.Risk, Needs(v), v.Untraced
	to := r.To
	if len(to) == 0 {
		for _, s := range dr.was.Spots {
			to = append(to, s.Target)
		}
	}
	return dr, d.place(dr, v, r, to)
}

// place puts a version in a draft.
func (d *Deployments) place(dr *draft, v Version, r Release, to []pavise.Name) error {
	dr.will.At, dr.will.Alarm = d.cfg.Now().UTC(), nil
	dr.will.Barred = slices.DeleteFunc(slices.Clone(dr.will.Barred), func(t Taken) bool { return t.Digest == v.Digest })
	for i, target := range to {
		if slices.Contains(to[:i], target) {
			return &pavise.Error{Kind: pavise.Invalid, Msg: target.ID + " is named twice"}
		}
		p := dr.places[target]
		t, driver, err := d.open(p)
		if err != nil {
			return fmt.Errorf("release to %s: %w", target.ID, err)
		}
		if u, ok := t.(Undivided); ok && u.Whole() {
			driver.Parts, driver.Shadows = false, false
		}
		held := Held{Version: v.Number, Digest: v.Digest, Since: dr.will.At}
		if held.Artefact, err = t.Takes(v); err != nil {
			return err
		}
		if dr.will.spot(target) == nil {
			dr.will.Spots = append(dr.will.Spots, Spot{Target: target})
			slices.SortFunc(dr.will.Spots, func(a, b Spot) int { return strings.Compare(a.Target.ID, b.Target.ID) })
		}
		s := dr.will.spot(target)
		m := Move{Target: target, Kind: p.Kind, Was: s.words(), Artefact: held.Artefact}
		if err := s.take(held, r, driver, p.Kind); err != nil {
			return err
		}
		m.Will = s.words()
		dr.plan.Moves = append(dr.plan.Moves, m)
	}
	return dr.finish(to)
}

// take puts a version at a spot, beside what runs there or in its place.
func (s *Spot) take(v Held, r Release, driver Driver, kind string) error {
	refuse := func(kind pavise.Kind, hint, format string, args ...any) error {
		return &pavise.Error{Kind: kind, Msg: s.Target.ID + ": " + fmt.Sprintf(format, args...), Hint: hint}
	}
	s.Safe = false
	if r.Canary == 0 && !r.Shadow {
		if s.Main != nil && *bare(s.Main) == *bare(&v) && s.Beside == nil {
			return refuse(pavise.Conflict, "pavise deploy check looks whether it does", "version %d is to run there already", v.Version)
		}
		s.succeed(v)
		return nil
	}
	switch {
	case r.Canary > 0 && !driver.Parts:
		return refuse(pavise.Invalid, "release to some targets first, and to the others later", "a target of kind %s gives no version a share of its calls", kind)
	case r.Shadow && !driver.Shadows:
		return refuse(pavise.Invalid, "leave --shadow out for it", "a target of kind %s lets no version hear its calls", kind)
	case s.Main == nil:
		return refuse(pavise.Invalid, "release the first version without --canary and --shadow", "nothing runs there that a version could be beside")
	case s.Main.Artefact == v.Artefact:
		return refuse(pavise.Conflict, "", "version %d answers all calls there", s.Main.Version)
	}
	s.Beside, s.Weight, s.Shadow = &v, r.Canary, r.Shadow
	return nil
}

// succeed puts a version in the place of what runs at a spot.
func (s *Spot) succeed(v Held) {
	if s.Main != nil && *bare(s.Main) != *bare(&v) {
		s.Before = append([]Held{*s.Main}, s.Before...)
		s.Before = s.Before[:min(len(s.Before), maxBefore)]
	}
	s.Main, s.Beside, s.Weight, s.Shadow = &v, nil, 0, false
}

// Release brings a version to targets: the verb deploy.release on tenant/deployment/id of
// the model, done as a change. digests are those that were approved: when the version, a
// target or what runs is no longer what it was, nothing is done, and the error is of kind
// Conflict. What it comes to at the targets, Run does. mark is part of the same transaction.
func (d *Deployments) Release(ctx context.Context, who pavise.Principal, name pavise.Name, r Release, digests map[string]string, mark func(*store.Tx) error) (err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "deploy.release", name)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	dr, err := d.release(ctx, name, r)
	if err != nil {
		return err
	}
	entry.Detail(dr.plan)
	return d.keep(ctx, d.cfg.Store.Update, who, dr, digests, mark)
}

// keep keeps a draft, if it is still of what was approved.
func (d *Deployments) keep(ctx context.Context, update func(context.Context, func(*store.Tx) error) error, who pavise.Principal, dr *draft, digests map[string]string, mark func(*store.Tx) error) error {
	name := dr.will.Name
	for what, digest := range dr.plan.digests {
		if digests[what] != digest {
			return &pavise.Error{Kind: pavise.Conflict, Msg: "the " + what + " changed since it was approved", Hint: "look at it, and propose anew: pavise deploy show " + name.ID}
		}
	}
	dr.will.By, dr.will.Change = who.Name(), who.Change
	err := update(ctx, func(tx *store.Tx) error {
		now, err := deployment(tx, name)
		if err != nil {
			return err
		}
		if now != nil && now.Revision != dr.was.Revision {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the deployment of %s changed meanwhile", name.ID), Hint: "propose anew: pavise deploy show " + name.ID}
		}
		if now != nil { // what was seen meanwhile is kept
			dr.will.take(now)
		}
		for target, p := range dr.places {
			if p.Deployment == name {
				continue
			}
			again, err := PlaceOf(tx, target)
			if err != nil {
				return err
			}
			if again.Deployment != (pavise.Name{}) {
				return &pavise.Error{Kind: pavise.Conflict, Msg: target.ID + " was taken for another model meanwhile"}
			}
			again.Deployment = name
			if err := put(tx, "deploy_targets", target, again); err != nil {
				return err
			}
		}
		if err := put(tx, "deploy_deployments", name, dr.will); err != nil {
			return err
		}
		return mark(tx)
	})
	if err == nil {
		d.soon()
	}
	return err
}

// take takes over what was seen of a deployment since it was read.
func (d *Deployment) take(now *Deployment) {
	d.Told, d.Untraced, d.Paged = now.Told, now.Untraced, now.Paged
	d.Automatic = slices.MaxFunc([]time.Time{d.Automatic, now.Automatic}, time.Time.Compare)
	for i := range d.Spots {
		s := &d.Spots[i]
		if is := now.spot(s.Target); is != nil {
			s.Applied, s.Seen = is.Applied, is.Seen
		}
	}
}
