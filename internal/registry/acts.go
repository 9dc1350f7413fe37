package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// The bounds of words.
const (
	maxWords    = 4096 // bytes of a description, a summary or a reason
	maxTags     = 200  // of a model or version
	maxKey      = 250  // bytes of a tag's key
	maxValue    = 8192 // bytes of its value
	maxDatasets = 1000
	maxEvidence = 200 // of a kind and version
	maxSaid     = 50  // of them by one person
	maxMetrics  = 100
)

// A ModelSpec asks for a model to be known.
type ModelSpec struct {
	Name        pavise.Name
	Risk        Risk
	Description string
	Tags        map[string]string
}

// Create has the installation know a model: the verb model.create on it. Errors are of kind
// Invalid, and Conflict for one that is known.
func (r *Registry) Create(ctx context.Context, who pavise.Principal, spec ModelSpec) (m *Model, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.create", spec.Name)
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	if err := validModel(spec.Name); err != nil {
		return nil, err
	}
	if err := spec.Risk.validate(); err != nil {
		return nil, err
	}
	m = &Model{Name: spec.Name, Risk: spec.Risk, By: who.Name(), Created: r.now(), Aliases: map[string]int{}}
	m.Changed = m.Created
	if m.Description, m.Tags, err = describe("", nil, Words{&spec.Description, valued(spec.Tags)}); err != nil {
		return nil, err
	}
	err = r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		n, err := counted(tx, `registry_models WHERE tenant = ?`, spec.Name.Tenant)
		if err == nil && n >= maxModels {
			err = &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there are %d models, and no more are kept", n), Hint: "add versions to those that there are"}
		}
		if err != nil {
			return err
		}
		if _, err := readModel(tx, spec.Name); pavise.KindOf(err) != pavise.NotFound {
			if err == nil {
				err = &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("there is a model %s already", spec.Name), Hint: "pavise model add " + spec.Name.ID + " DIR adds a version to it"}
			}
			return err
		}
		return writeModel(tx, m)
	})
	if err != nil {
		return nil, err
	}
	entry.Detail(m)
	return m, nil
}

// A FileSpec says what the files of a version are.
type FileSpec struct {
	Files     []File
	Scan      *Scan  // what the caller's own look at them found; nil: they did not look
	Signature []byte // an OMS bundle over them; nil: nobody signed them
}

// An AddSpec asks for a version.
type AddSpec struct {
	Model pavise.Name
	FileSpec
	Risk        Risk // empty: the model's. A version is no less of a risk than its model
	Datasets    []Seal
	Run         string
	Source      string
	Description string
	Tags        map[string]string
}

// Add adds a version to a model, as a draft: the verb model.add on the model. Without files it
// is to get them by Fill. Errors are of kind Invalid, NotFound for the model, Conflict, and
// Unverified for a signature or the root of a dataset that does not hold.
func (r *Registry) Add(ctx context.Context, who pavise.Principal, spec AddSpec) (v *Version, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.add", spec.Model)
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	v = &Version{
		Ref: Ref{Model: spec.Model.ID}, Tenant: spec.Model.Tenant, Risk: spec.Risk, Intake: Pending, Problem: noFiles,
		Run: spec.Run, Source: spec.Source, Creator: who.Name(), Created: r.now(),
	}
	if len(spec.Run) > maxWords || len(spec.Source) > maxWords {
		return nil, tooLong("the run or the source", maxWords)
	}
	if v.Description, v.Tags, err = describe("", nil, Words{&spec.Description, valued(spec.Tags)}); err != nil {
		return nil, err
	}
	if v.Datasets, err = r.sealed(ctx, spec.Model.Tenant, spec.Datasets); err != nil {
		return nil, err
	}
	if len(spec.Files) > 0 {
		if err := r.fill(ctx, v, who, spec.FileSpec); err != nil {
			return nil, err
		}
	}
	v.Hand(who)
	err = r.keep(ctx, r.cfg.Store.Update, func(tx *store.Tx) ([]*Version, error) {
		m, err := readModel(tx, spec.Model)
		if err != nil {
			return nil, err
		}
		if m.Newest++; m.Newest > maxVersions {
			return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s has %d versions, and no more are kept", m.Name, maxVersions), Hint: "go on under another name"}
		}
		v.Ref.Version = m.Newest
		if v.Risk == "" {
			v.Risk = m.Risk
		}
		if err := v.Risk.validate(); err != nil {
			return nil, err
		}
		v.Risk = worse(v.Risk, m.Risk)
		if err := let(tx, v); err != nil {
			return nil, err
		}
		if err := r.vouch(v); err != nil {
			return nil, err
		}
		s := step(who, entry, spec.Description)
		s.At, s.Version, s.To, s.Digest = r.now(), v.Ref.Version, Draft, v.Digest
		r.enter(v, Draft, s.At)
		m.Changed = s.At
		if err := writeModel(tx, m); err != nil {
			return nil, err
		}
		if err := writeVersion(tx, v); err != nil {
			return nil, err
		}
		return []*Version{v}, writeStep(tx, m.Name, s)
	})
	if err != nil {
		return nil, err
	}
	entry.Detail(summary(v, ""))
	return v, nil
}

// Fill gives a version its files, or others than it has: the verb model.add on the version.
// One that was proposed is a draft again, and nothing counts for it any more that was said of
// another digest. Errors are of kind Invalid, NotFound, Unverified, and Conflict for one that
// was published.
func (r *Registry) Fill(ctx context.Context, who pavise.Principal, tenant string, ref Ref, spec FileSpec) (v *Version, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.add", ref.Name(tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	made := &Version{}
	if err := r.fill(ctx, made, who, spec); err != nil {
		return nil, err
	}
	v, err = r.change(ctx, tenant, ref, func(tx *store.Tx, v *Version) error {
		if v.State != Draft && v.State != Proposed && v.State != Reviewed {
			return conflict(v, "and its files stand")
		}
		v.Digest, v.Bytes, v.Count, v.Files, v.Scan, v.Signature, v.bundle, v.Intake, v.Problem = made.Digest, made.Bytes, made.Count, made.Files, made.Scan, made.Signature, made.bundle, made.Intake, made.Problem
		v.Hand(who)
		v.Change = pavise.Name{}
		err := let(tx, v)
		if err == nil {
			err = r.vouch(v)
		}
		if err != nil || v.State == Draft {
			return err
		}
		v.Proposer, v.Reviewers = pavise.Name{}, nil
		return r.move(tx, v, Draft, step(who, entry, "it was given other files"))
	})
	if err == nil {
		entry.Detail(summary(v, ""))
	}
	return v, err
}

// let refuses files that are in quarantine as another version: what nobody gets as the one is
// not to be had as the other.
func let(tx *store.Tx, v *Version) error {
	if v.Digest == (Digest{}) {
		return nil
	}
	same, err := selected(tx, `tenant = ? AND digest = ? AND state IN ('quarantined', 'retired')`, v.Tenant, v.Digest.String())
	if err != nil {
		return err
	}
	for _, s := range same {
		if s.Barred() && s.Ref != v.Ref {
			return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("these files are in quarantine, as %s", s.Ref), Hint: "pavise model show " + s.Ref.String() + " says why"}
		}
	}
	return nil
}

// change changes one version in a transaction.
func (r *Registry) change(ctx context.Context, tenant string, ref Ref, with func(*store.Tx, *Version) error) (*Version, error) {
	return r.changeBy(ctx, r.cfg.Store.Update, tenant, ref, with)
}

func (r *Registry) changeBy(ctx context.Context, update func(context.Context, func(*store.Tx) error) error, tenant string, ref Ref, with func(*store.Tx, *Version) error) (v *Version, err error) {
	err = r.keep(ctx, update, func(tx *store.Tx) ([]*Version, error) {
		if v, err = readVersion(tx, tenant, ref); err != nil {
			return nil, err
		}
		if err := with(tx, v); err != nil {
			return nil, err
		}
		return []*Version{v}, writeVersion(tx, v)
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// A changed is the detail of the record of a step.
type changed struct {
	Version Ref         `json:"version"`
	State   State       `json:"state"`
	Risk    Risk        `json:"risk"`
	Digest  Digest      `json:"digest,omitzero"`
	Intake  Intake      `json:"intake"`
	Scan    *Scan       `json:"scan,omitempty"`
	Signed  *Signature  `json:"signature,omitempty"`
	House   *House      `json:"house,omitempty"`
	Sealed  []Seal      `json:"datasets,omitempty"`
	Run     string      `json:"run,omitempty"`
	Why     string      `json:"why,omitempty"`
	Change  pavise.Name `json:"change,omitzero"`
}

// summary is what the record of a step says of a version, and why somebody took it.
func summary(v *Version, why string) changed {
	return changed{v.Ref, v.State, v.Risk, v.Digest, v.Intake, v.Scan, v.Signature, v.House, v.Datasets, v.Run, clip(why, maxWords), v.Change}
}

// Propose proposes a draft for review: the verb model.propose on the version. Errors are of
// kind NotFound and Conflict.
func (r *Registry) Propose(ctx context.Context, who pavise.Principal, tenant string, ref Ref, why string) (v *Version, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.propose", ref.Name(tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	v, err = r.change(ctx, tenant, ref, func(tx *store.Tx, v *Version) error {
		if v.Intake != Ready {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the files of %s are %s: %s", v.Ref, v.Intake, v.Problem), Hint: "pavise model show " + v.Ref.String() + " says what is there of it"}
		}
		if err := let(tx, v); err != nil {
			return err
		}
		v.Hand(who)
		v.Proposer = who.Name()
		return r.move(tx, v, Proposed, step(who, entry, why))
	})
	if err == nil {
		entry.Detail(summary(v, why))
	}
	return v, err
}

// Review says that somebody looked at a proposed version and found it good: the verb
// model.review on the version. digest is that of the version, or its first digits, eight at
// least: people review a content. Errors are of kind NotFound, Conflict for evidence that is
// missing too, and Denied for who had a hand in it.
func (r *Registry) Review(ctx context.Context, who pavise.Principal, tenant string, ref Ref, digest, why string) (v *Version, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.review", ref.Name(tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	v, err = r.change(ctx, tenant, ref, func(tx *store.Tx, v *Version) error {
		err := MayReview(v, who, digest)
		if err == nil {
			err = let(tx, v)
		}
		if err != nil {
			return err
		}
		v.Reviewers = append(v.Reviewers, who.Root())
		return r.move(tx, v, Reviewed, step(who, entry, why))
	})
	if err == nil {
		entry.Detail(summary(v, why))
	}
	return v, err
}

// MayReview refuses a review that does not count: of another content than digest says, by who
// had a hand in the version, or before it was tested. Errors are of kind Conflict and Denied.
func MayReview(v *Version, who pavise.Principal, digest string) error {
	if err := looked(v, digest); err != nil {
		return err
	}
	if slices.Contains(v.Hands, who.Root()) {
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s had a hand in %s, and nobody reviews their own", who.Root(), v.Ref), Hint: "let somebody else review it"}
	}
	return tested(v)
}

// minDigest is how many digits of a digest people repeat.
const minDigest = 8

// looked refuses a word on another content than the version's.
func looked(v *Version, digest string) error {
	digits := strings.TrimPrefix(strings.ToLower(digest), digestPrefix)
	if len(digits) < minDigest || !strings.HasPrefix(v.Digest.String(), digestPrefix+digits) {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%.80q is not the digest of %s: what was looked at is not what it is", digest, v.Ref), Hint: "look at it: pavise model show " + v.Ref.String() + ", and give the digest that it shows"}
	}
	return nil
}

// tested refuses a version that was not evaluated and attacked as its risk asks for: what counts
// of each is the last result on exactly its digest, but for who had a hand in the version:
// nobody passes their own after somebody else failed it.
func tested(v *Version) error {
	if !v.Risk.Tested() {
		return nil
	}
	for _, want := range []struct {
		what, kind string
		of         []Evidence
	}{{"evaluation", EvidenceEvaluation, v.Evaluations}, {"attack", EvidenceAttack, v.Attacks}} {
		e := v.counting(want.of)
		hint := fmt.Sprintf("pavise model evidence %s --kind %s --digest %.20s --result pass --summary TEXT hands one in", v.Ref, want.kind, v.Digest)
		switch {
		case e == nil:
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is of %s risk, and has no %s of exactly the digest %s", v.Ref, v.Risk, want.what, v.Digest), Hint: hint}
		case e.Result != Pass:
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the last %s of %s did not pass: %.200s", want.what, v.Ref, e.Summary), Hint: "reject it, or " + hint}
		}
	}
	return nil
}

// Reject says that a proposed version is not to be: the verb model.reject on the version.
// Errors are of kind NotFound and Conflict.
func (r *Registry) Reject(ctx context.Context, who pavise.Principal, tenant string, ref Ref, why string) (v *Version, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.reject", ref.Name(tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	v, err = r.change(ctx, tenant, ref, func(tx *store.Tx, v *Version) error {
		return r.move(tx, v, Rejected, step(who, entry, why))
	})
	if err == nil {
		entry.Detail(summary(v, why))
	}
	return v, err
}

// Quarantine takes a version out, at once, from whatever state it is in: the verb
// model.quarantine on the version. Nothing of it is pulled, published or deployed until it is
// released, and where it is what serves, nobody asks the model until another version does.
// Errors are of kind NotFound and Conflict.
func (r *Registry) Quarantine(ctx context.Context, who pavise.Principal, tenant string, ref Ref, why string) (v *Version, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.quarantine", ref.Name(tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	v, err = r.changeBy(ctx, r.cfg.Store.UpdateSafe, tenant, ref, func(tx *store.Tx, v *Version) error {
		return r.move(tx, v, Quarantined, step(who, entry, why))
	})
	if err == nil {
		entry.Detail(summary(v, why))
	}
	return v, err
}

// Words say something about a model or version to people.
type Words struct {
	Description *string            // nil: it stays
	Tags        map[string]*string // nil: the tag is taken away
}

// Tag describes a version, or the model where the number of ref is 0: the verb model.tag.
// Nothing rests on it. Errors are of kind Invalid and NotFound.
func (r *Registry) Tag(ctx context.Context, who pavise.Principal, tenant string, ref Ref, words Words) (err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.tag", ref.on(tenant))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	entry.Detail(words)
	if ref.Version != 0 {
		_, err = r.change(ctx, tenant, ref, func(_ *store.Tx, v *Version) (err error) {
			v.Description, v.Tags, err = describe(v.Description, v.Tags, words)
			return err
		})
		return err
	}
	return r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		m, err := readModel(tx, ref.Of(tenant))
		if err == nil {
			was := m.Tags[TagSigned]
			if m.Description, m.Tags, err = describe(m.Description, m.Tags, words); was == "true" && m.Tags[TagSigned] != was {
				err = &pavise.Error{Kind: pavise.Denied, Msg: "that versions of " + m.Name.ID + " are signed is not taken back", Hint: "go on under another name"}
			}
		}
		if err != nil {
			return err
		}
		m.Changed = r.now()
		return writeModel(tx, m)
	})
}

// describe is a description and tags with what words say of them.
func describe(description string, tags map[string]string, words Words) (string, map[string]string, error) {
	if words.Description != nil {
		description = *words.Description
	}
	if len(description) > maxWords {
		return "", nil, tooLong("the description", maxWords)
	}
	all := maps.Clone(tags)
	if all == nil {
		all = map[string]string{}
	}
	for key, value := range words.Tags {
		switch {
		case value == nil:
			delete(all, key)
		case key == "" || len(key) > maxKey || len(*value) > maxValue:
			return "", nil, tooLong(fmt.Sprintf("the tag %.40q", key), maxValue)
		default:
			all[key] = *value
		}
	}
	if len(all) > maxTags {
		return "", nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d tags, more than %d", len(all), maxTags), Hint: "take some away"}
	}
	return description, all, nil
}

// valued are tags to be set.
func valued(tags map[string]string) map[string]*string {
	set := map[string]*string{}
	for key, value := range tags {
		set[key] = &value
	}
	return set
}

func tooLong(what string, most int) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is empty, or has more than %d bytes", what, most), Hint: "keep the rest elsewhere, and say where"}
}
