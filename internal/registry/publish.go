package registry

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/store"
)

// A Plan says what a change of a version, or of an alias, would come to.
type Plan struct {
	Version *Version `json:"version,omitempty"` // without its files; nil: an alias is taken away
	To      State    `json:"to,omitempty"`
	Alias   string   `json:"alias,omitempty"`
	Was     int      `json:"was,omitempty"` // the version that the alias means now; 0: it means none
	// Need is how many people approve it, at least.
	Need int `json:"need"`
	// Parties are the people whose approval does not count.
	Parties []pavise.Name `json:"parties"`

	digests map[string]string
}

// Digests are what the outcome depends on.
func (p Plan) Digests() map[string]string { return p.digests }

// planBy is a plan on a version: it depends on the state, on the files, and on all that its
// bill of materials says, such as the evidence, but for the description: that is words for
// people, nothing rests on it, and whoever may write it could else end every approval.
func planBy(v *Version, due func(*Version) (Plan, error)) (Plan, error) {
	p, err := due(v)
	if err != nil {
		return Plan{}, err
	}
	judged := *v
	judged.Description = ""
	bill, err := billOf(&judged)
	if err != nil {
		return Plan{}, err
	}
	shown := *v
	shown.Files = nil
	p.Version = &shown
	p.digests = map[string]string{
		"state": string(v.State) + " since " + v.Since.Format("2006-01-02T15:04:05.000000000Z"), "files": v.Digest.String(),
		"bill of materials": Digest(sha256.Sum256(bill)).String(),
	}
	return p, nil
}

// depends refuses to do what no longer depends on what was approved.
func (p Plan) depends(digests map[string]string) error {
	for what, is := range p.digests {
		if digests[what] != is {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the %s changed since it was approved: %s", what, is), Hint: "propose it anew"}
		}
	}
	return nil
}

// Counts refuses to do what too few people approved, beside those whose word does not count.
// The error is of kind Denied.
func (p Plan) Counts(approvers []pavise.Name) error {
	people := slices.DeleteFunc(slices.Clone(approvers), func(n pavise.Name) bool { return slices.Contains(p.Parties, n) })
	slices.SortFunc(people, func(a, b pavise.Name) int { return strings.Compare(a.String(), b.String()) })
	if people = slices.Compact(people); len(people) < p.Need {
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%d people approve this, beside those who had a hand in it, and %d did", p.Need, len(people)), Hint: "let others approve it"}
	}
	return nil
}

// An Act is a change that was approved, as it is done.
type Act struct {
	Who       pavise.Principal      // who proposed it, acting as the change
	Digests   map[string]string     // of the plan that was approved
	Approvers []pavise.Name         // the people who did
	Mark      func(*store.Tx) error // called in the transaction
}

// plan makes a plan outside of a transaction that writes.
func (r *Registry) plan(ctx context.Context, make func(tx *store.Tx) (Plan, error)) (p Plan, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		p, err = make(tx)
		return err
	})
	return p, err
}

// PlanPublish says what it would come to that a version is published. Errors are of kind
// NotFound and Conflict.
//
// Unguarded: it changes nothing; who asks is a change that is proposed, looked at or run,
// whose caller was let in.
func (r *Registry) PlanPublish(ctx context.Context, tenant string, ref Ref) (p Plan, err error) {
	var v *Version
	if p, err = r.plan(ctx, func(tx *store.Tx) (_ Plan, err error) {
		if v, err = readVersion(tx, tenant, ref); err != nil {
			return Plan{}, err
		}
		return r.planPublish(tx, v)
	}); v != nil && v.State == Reviewed && err != nil {
		r.alarm(ctx, v, r.held(v))
	}
	return p, err
}

func (r *Registry) planPublish(tx *store.Tx, v *Version) (Plan, error) {
	p, err := planBy(v, DuePublish)
	if err == nil {
		err = let(tx, v)
	}
	if err == nil {
		err = r.fit(tx, v)
	}
	return p, err
}

// DuePublish says where a version goes that is published, and whose word on that counts. The
// error is of kind Conflict.
func DuePublish(v *Version) (p Plan, err error) {
	if v.State != Reviewed {
		return p, conflict(v, "and only a reviewed version is published")
	}
	p = Plan{To: Published, Need: v.Risk.Approvals(), Parties: slices.Clone(v.Hands)}
	if v.Risk == High {
		p.Parties = append(p.Parties, v.Reviewers...)
	}
	return p, tested(v)
}

// Publish approves and publishes a reviewed version, as the change that act.Who acts as: the
// verb model.publish on the version. Who had a hand in it does not count among those who
// approved it, nor, where the risk is high, who reviewed it. Errors are of kind NotFound,
// Conflict, and Denied for too few approvals.
func (r *Registry) Publish(ctx context.Context, tenant string, ref Ref, act Act) (err error) {
	entry, err := r.cfg.Guard.Enter(ctx, act.Who, "model.publish", ref.Name(tenant))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	v, err := r.change(ctx, tenant, ref, func(tx *store.Tx, v *Version) error {
		p, err := r.planPublish(tx, v)
		if err == nil {
			err = act.may(p)
		}
		if err != nil {
			return err
		}
		bill, err := billOf(v)
		if err != nil {
			return err
		}
		v.BOM, v.Approvers, v.Change = sha256.Sum256(bill), act.Approvers, act.Who.Change
		if err := r.vouch(v); err != nil {
			return err
		}
		s := step(act.Who, entry, "")
		if err := r.move(tx, v, Approved, s); err != nil {
			return err
		}
		if err := r.move(tx, v, Published, s); err != nil {
			return err
		}
		return act.Mark(tx)
	})
	if err == nil {
		entry.Detail(struct {
			changed
			BOM       Digest        `json:"bom"`
			Approvers []pavise.Name `json:"approvers"`
		}{summary(v, ""), v.BOM, v.Approvers})
	}
	return err
}

// may refuses an act that is not what was approved, or that too few approved.
func (a Act) may(p Plan) error {
	if err := p.depends(a.Digests); err != nil {
		return err
	}
	return p.Counts(a.Approvers)
}

// planStep is a plan on a version by one of the changes that follow.
func (r *Registry) planStep(ctx context.Context, tenant string, ref Ref, plan func(*Version) (Plan, error)) (Plan, error) {
	return r.plan(ctx, func(tx *store.Tx) (Plan, error) {
		v, err := readVersion(tx, tenant, ref)
		if err != nil {
			return Plan{}, err
		}
		return plan(v)
	})
}

// takeStep takes a version one step on, as a change that was approved.
func (r *Registry) takeStep(ctx context.Context, tenant string, ref Ref, act Act, plan func(*Version) (Plan, error), s Step) (*Version, error) {
	return r.change(ctx, tenant, ref, func(tx *store.Tx, v *Version) error {
		p, err := plan(v)
		if err == nil {
			err = act.may(p)
		}
		if err == nil {
			err = r.bring(tx, v, p.To, s)
		}
		if err != nil {
			return err
		}
		if p.To != Retired { // who is retired out of quarantine is not let out of it
			v.Was, v.Withdrawn = "", time.Time{}
		}
		return act.Mark(tx)
	})
}

// PlanRelease says what it would come to that a version is let out of quarantine: it is what
// it was, and serves nobody. Two people approve it. Errors are of kind NotFound and Conflict.
//
// Unguarded: it changes nothing; who asks is a change whose caller was let in.
func (r *Registry) PlanRelease(ctx context.Context, tenant string, ref Ref) (Plan, error) {
	return r.planStep(ctx, tenant, ref, planRelease)
}

func planRelease(v *Version) (Plan, error) { return planBy(v, DueRelease) }

// DueRelease says where a version goes that leaves quarantine, and whose word on that counts.
// The error is of kind Conflict.
func DueRelease(v *Version) (Plan, error) {
	if v.State != Quarantined {
		return Plan{}, conflict(v, "and only what is in quarantine is released")
	}
	to := v.Was
	if to.Serves() {
		to = Published
	}
	return Plan{To: to, Need: 2, Parties: slices.Clone(v.Hands)}, nil
}

// Release lets a version out of quarantine, as the change that act.Who acts as: the verb
// model.release on the version. Errors are of kind NotFound, Conflict and Denied.
func (r *Registry) Release(ctx context.Context, tenant string, ref Ref, act Act) (err error) {
	entry, err := r.cfg.Guard.Enter(ctx, act.Who, "model.release", ref.Name(tenant))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	v, err := r.takeStep(ctx, tenant, ref, act, planRelease, step(act.Who, entry, "released from quarantine"))
	if err == nil {
		entry.Detail(summary(v, ""))
	}
	return err
}

// PlanRetire says what it would come to that a version is retired. Errors are of kind
// NotFound, and Conflict for one that serves or that an alias means.
//
// Unguarded: it changes nothing; who asks is a change whose caller was let in.
func (r *Registry) PlanRetire(ctx context.Context, tenant string, ref Ref) (Plan, error) {
	return r.planStep(ctx, tenant, ref, planRetire)
}

func planRetire(v *Version) (Plan, error) { return planBy(v, DueRetire) }

// DueRetire says where a version goes whose life ends, and that it takes one person. The error
// is of kind Conflict.
func DueRetire(v *Version) (Plan, error) {
	if !v.State.Leads(Retired) {
		return Plan{}, conflict(v, "and is not retired from there")
	}
	if len(v.Aliases) > 0 {
		return Plan{}, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is what the alias %s means", v.Ref, v.Aliases[0]), Hint: "give the alias to another version, or take it away: pavise model unalias " + v.Ref.Model + " " + v.Aliases[0]}
	}
	return Plan{To: Retired, Need: 1, Parties: []pavise.Name{}}, nil // whoever made it may agree that it goes
}

// Retire ends the life of a version that serves nobody, as the change that act.Who acts as:
// the verb model.retire on the version. Errors are of kind NotFound, Conflict and Denied.
func (r *Registry) Retire(ctx context.Context, tenant string, ref Ref, act Act) (err error) {
	entry, err := r.cfg.Guard.Enter(ctx, act.Who, "model.retire", ref.Name(tenant))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	v, err := r.takeStep(ctx, tenant, ref, act, planRetire, step(act.Who, entry, ""))
	if err == nil {
		entry.Detail(summary(v, ""))
	}
	return err
}

// An AliasSpec gives an alias of a model to a version, or takes it away.
type AliasSpec struct {
	Alias   string
	Version int // 0: nobody has it any more
}

// aliased are the states in which a version may have an alias.
var aliased = []State{Published, Canary, Live, Degraded, Accepted}

// PlanAlias says what it would come to that an alias means another version, or none. Errors
// are of kind Invalid, NotFound and Conflict.
//
// Unguarded: it changes nothing; who asks is a change whose caller was let in.
func (r *Registry) PlanAlias(ctx context.Context, model pavise.Name, spec AliasSpec) (Plan, error) {
	return r.plan(ctx, func(tx *store.Tx) (Plan, error) { return planAlias(tx, model, spec) })
}

func planAlias(tx *store.Tx, model pavise.Name, spec AliasSpec) (Plan, error) {
	if (pavise.Name{Tenant: "t", Kind: "alias", ID: spec.Alias}).Validate() != nil {
		return Plan{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.60q is no alias", spec.Alias), Hint: "an alias is a word such as champion"}
	}
	m, err := readModel(tx, model)
	if err != nil {
		return Plan{}, err
	}
	was := m.Aliases[spec.Alias]
	before := map[string]string{"alias before": strconv.Itoa(was)}
	switch {
	case was == spec.Version && was == 0:
		return Plan{}, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s has no alias %s", model, spec.Alias), Hint: "pavise model show " + model.ID + " shows those that it has"}
	case was == spec.Version:
		return Plan{}, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s of %s is version %d already", spec.Alias, model, was), Hint: "there is nothing to do"}
	case was == 0 && len(m.Aliases) >= maxAliases:
		return Plan{}, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s has %d aliases, and no more are kept", model, maxAliases), Hint: "take one away"}
	case spec.Version == 0:
		return Plan{Alias: spec.Alias, Was: was, Need: m.Risk.Approvals(), Parties: []pavise.Name{}, digests: before}, nil
	}
	v, err := readVersion(tx, model.Tenant, Ref{model.ID, spec.Version})
	if err != nil {
		return Plan{}, err
	}
	p, err := planBy(v, DueAlias)
	if err != nil {
		return Plan{}, err
	}
	p.Alias, p.Was = spec.Alias, was
	for what, is := range before {
		p.digests[what] = is
	}
	delete(p.digests, "state") // whether it serves meanwhile changes nothing
	return p, nil
}

// DueAlias says whose word counts on an alias that is to mean a version. The error is of kind
// Conflict.
func DueAlias(v *Version) (Plan, error) {
	if !slices.Contains(aliased, v.State) {
		return Plan{}, conflict(v, "and only what is published has an alias")
	}
	return Plan{Need: v.Risk.Approvals(), Parties: slices.Clone(v.Hands)}, nil
}

// Alias gives an alias to a version, as the change that act.Who acts as: the verb model.alias
// on the model. Errors are of kind Invalid, NotFound, Conflict and Denied.
func (r *Registry) Alias(ctx context.Context, model pavise.Name, spec AliasSpec, act Act) (err error) {
	entry, err := r.cfg.Guard.Enter(ctx, act.Who, "model.alias", model)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	if spec.Version == 0 {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "an alias is given to a version", Hint: "pavise model unalias takes it away"}
	}
	return r.alias(ctx, entry, model, spec, act)
}

// Unalias takes an alias away, as the change that act.Who acts as: the verb model.unalias on
// the model. Errors are of kind NotFound, Conflict and Denied.
func (r *Registry) Unalias(ctx context.Context, model pavise.Name, alias string, act Act) (err error) {
	entry, err := r.cfg.Guard.Enter(ctx, act.Who, "model.unalias", model)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	return r.alias(ctx, entry, model, AliasSpec{Alias: alias}, act)
}

func (r *Registry) alias(ctx context.Context, entry *guard.Entry, model pavise.Name, spec AliasSpec, act Act) (err error) {
	var p Plan
	s := step(act.Who, entry, "")
	err = r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if p, err = planAlias(tx, model, spec); err != nil {
			return err
		}
		if err := act.may(p); err != nil {
			return err
		}
		s.At, s.Version, s.Alias = r.now(), spec.Version, spec.Alias
		if p.Version != nil {
			s.Digest = p.Version.Digest
		}
		if err := writeStep(tx, model, s); err != nil {
			return err
		}
		if spec.Version == 0 {
			_, err = tx.Exec(`DELETE FROM registry_aliases WHERE tenant = ? AND id = ? AND alias = ?`, model.Tenant, model.ID, spec.Alias)
		} else {
			_, err = tx.Exec(`INSERT INTO registry_aliases (tenant, id, alias, number) VALUES (?, ?, ?, ?) ON CONFLICT (tenant, id, alias) DO UPDATE SET number = excluded.number`,
				model.Tenant, model.ID, spec.Alias, spec.Version)
		}
		if err != nil {
			return err
		}
		return act.Mark(tx)
	})
	if err == nil {
		entry.Detail(struct {
			Alias     string        `json:"alias"`
			Version   int           `json:"version"` // 0: it was taken away
			Was       int           `json:"was"`
			Digest    Digest        `json:"digest,omitzero"`
			Approvers []pavise.Name `json:"approvers"`
		}{spec.Alias, spec.Version, p.Was, s.Digest, act.Approvers})
	}
	return err
}
