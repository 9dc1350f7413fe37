package registry

import (
	"context"
	"fmt"
	"math"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// The kinds of evidence.
const (
	EvidenceEvaluation = "evaluation"
	EvidenceAttack     = "attack"
)

// An EvidenceSpec hands in a result.
type EvidenceSpec struct {
	Kind    string // evaluation or attack
	Digest  string // of the version that it is of, or the first digits, eight at least
	Result  Result
	Summary string
	Metrics map[string]float64
	Tool    string
	Report  Digest
}

// Evidence keeps the result of an evaluation, or of an attack, of exactly one digest: the
// verb model.evidence on the version. Errors are of kind Invalid, NotFound, and Conflict for
// a digest that is not the version's.
func (r *Registry) Evidence(ctx context.Context, who pavise.Principal, tenant string, ref Ref, spec EvidenceSpec) (v *Version, err error) {
	entry, err := r.cfg.Guard.Enter(ctx, who, "model.evidence", ref.Name(tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	if err := spec.validate(); err != nil {
		return nil, err
	}
	e := Evidence{Result: spec.Result, Summary: spec.Summary, Metrics: spec.Metrics, Tool: spec.Tool, Report: spec.Report, By: who.Name(), Root: who.Root(), At: r.now()}
	e.Record, _ = entry.Record()
	v, err = r.change(ctx, tenant, ref, func(_ *store.Tx, v *Version) error {
		if err := looked(v, spec.Digest); err != nil {
			return err
		}
		if v.State.Ends() {
			return conflict(v, "and nothing is said of it any more")
		}
		e.Digest = v.Digest
		of := &v.Evaluations
		if spec.Kind == EvidenceAttack {
			of = &v.Attacks
		}
		if len(*of) >= maxEvidence {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s has %d results of this kind, and no more are kept", v.Ref, maxEvidence), Hint: "add another version"}
		}
		said := 0
		for _, other := range *of {
			if other.Root == e.Root {
				said++
			}
		}
		if said >= maxSaid { // else they could leave nobody else a word
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s handed in %d results of this kind for %s, and no more are kept of one person", e.Root, said, v.Ref), Hint: "add another version"}
		}
		*of = append(*of, e)
		return nil
	})
	if err == nil {
		entry.Detail(struct {
			Kind    string `json:"kind"`
			Version Ref    `json:"version"`
			Evidence
		}{spec.Kind, v.Ref, e})
	}
	return v, err
}

// validate refuses what is no result.
func (s EvidenceSpec) validate() error {
	bad := func(format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: "for example: --kind evaluation --result pass --summary 'AUC 0.97 on the held-out quarter' --metric auc=0.97"}
	}
	switch {
	case s.Kind != EvidenceEvaluation && s.Kind != EvidenceAttack:
		return bad("evidence is an evaluation or an attack, and not %.40q", s.Kind)
	case s.Result != Pass && s.Result != Fail:
		return bad("a result is pass or fail, and not %.40q", s.Result)
	case s.Summary == "" || len(s.Summary) > maxWords || len(s.Tool) > maxKey:
		return bad("a result is said in 1 to %d bytes", maxWords)
	case len(s.Metrics) > maxMetrics:
		return bad("%d metrics, more than %d", len(s.Metrics), maxMetrics)
	}
	for name, value := range s.Metrics {
		if name == "" || len(name) > maxKey || math.IsNaN(value) || math.IsInf(value, 0) {
			return bad("the metric %.40q has no name or no value", name)
		}
	}
	return nil
}
