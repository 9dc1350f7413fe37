package verbs

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/registry"
)

// A shelf is files of models by their digests.
type shelf map[registry.Digest]string

func (s shelf) Has(_ context.Context, d registry.Digest) (int64, bool) {
	text, ok := s[d]
	return int64(len(text)), ok
}

func (s shelf) Open(_ context.Context, d registry.Digest) (io.ReadCloser, error) {
	text, ok := s[d]
	if !ok {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "there is no such file"}
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

// file is a file with a text, which is on the shelf then.
func (s shelf) file(path, text string) registry.File {
	d := registry.Digest(sha256.Sum256([]byte(text)))
	s[d] = text
	return registry.File{Path: path, Size: int64(len(text)), Digest: d}
}

// version brings a version of a new model to a state, or as far as published, by as many
// people as that takes.
func (w *world) version(t *testing.T, risk registry.Risk, to registry.State) *registry.Version {
	t.Helper()
	w.made++
	name := pavise.Name{Tenant: "local", Kind: registry.Kind, ID: fmt.Sprint("m", w.made)}
	v := &registry.Version{}
	call := func(who, verb string, request any) {
		t.Helper()
		if err := w.person(t, who, "operator").Call(t.Context(), verb, request, v); err != nil {
			t.Fatal(err)
		}
	}
	call("mia", "model.create", ModelCreate{Name: name, Risk: string(risk)})
	call("mia", "model.add", ModelAdd{Name: name, Files: []registry.File{w.shelf.file("w.json", fmt.Sprintf(`{"w": %d}`, w.made))}})
	taken, err := w.Models.Take(t.Context(), "local", v.Ref)
	if err != nil || taken.Intake != registry.Ready {
		t.Fatalf("%+v, %v", taken, err)
	}
	on := VersionRef{v.Ref.String()}
	for _, kind := range []string{"evaluation", "attack"} {
		call("mia", "model.evidence", ModelEvidence{VersionRef: on, Kind: kind, Digest: v.Digest.String(), Result: "pass", Summary: "it passed"})
	}
	if to == registry.Draft {
		return v
	}
	call("mia", "model.propose", VersionStep{on, "better"})
	if to == registry.Proposed {
		return v
	}
	call("ray", "model.review", ModelReview{VersionStep{on, "good"}, v.Digest.String()})
	if to == registry.Reviewed {
		return v
	}
	w.approved(t, "pat", "model.publish", VersionStep{on, ""}, "amy", "abe")
	if to == registry.Quarantined {
		call("ray", "model.quarantine", VersionStep{on, "it leaks"})
	}
	if v, err = w.Models.Resolve(t.Context(), "local", v.Ref); err != nil || v.State != to {
		t.Fatalf("%+v, %v", v, err)
	}
	return v
}

// approved has somebody propose a change, and others approve it until it is run.
func (w *world) approved(t *testing.T, who, verb string, request any, by ...string) (ch api.ChangeView) {
	t.Helper()
	if err := w.person(t, who, "operator").Call(t.Context(), verb, request, &ch); err != nil {
		t.Fatal(err)
	}
	for _, id := range by {
		if ch.State != "open" {
			break
		}
		if err := w.person(t, id, "operator").Call(t.Context(), "change.approve", VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, &ch); err != nil {
			t.Fatal(err)
		}
	}
	return ch
}

// modelRequests are a request for each verb on models, before which all that it takes is done.
func (w *world) modelRequests(t *testing.T) map[string]func() any {
	on := func(s registry.State, with func(*registry.Version) any) func() any {
		return func() any { return with(w.version(t, registry.Low, s)) }
	}
	always := func(v any) func() any { return func() any { return v } }
	stepOf := func(v *registry.Version) any { return VersionStep{VersionRef{v.Ref.String()}, "as agreed"} }
	return map[string]func() any{
		"model.create":  always(ModelCreate{Name: pavise.Name{Tenant: "local", Kind: registry.Kind, ID: "fresh"}, Risk: "low"}),
		"model.propose": on(registry.Draft, stepOf),
		"model.evidence": on(registry.Draft, func(v *registry.Version) any {
			return ModelEvidence{VersionRef: VersionRef{v.Ref.String()}, Kind: "attack", Digest: v.Digest.String(), Result: "fail", Summary: "it falls for noise"}
		}),
		"model.review": on(registry.Proposed, func(v *registry.Version) any {
			return ModelReview{stepOf(v).(VersionStep), v.Digest.String()[:20]}
		}),
		"model.reject":  on(registry.Proposed, stepOf),
		"model.publish": on(registry.Reviewed, stepOf),
		"model.alias": on(registry.Published, func(v *registry.Version) any {
			return ModelAlias{Name: v.Ref.Of("local"), Alias: "champion", Version: 1}
		}),
		"model.unalias": on(registry.Published, func(v *registry.Version) any {
			w.approved(t, "pat", "model.alias", ModelAlias{Name: v.Ref.Of("local"), Alias: "champion", Version: 1}, "amy", "abe")
			return ModelUnalias{Name: v.Ref.Of("local"), Alias: "champion"}
		}),
		"model.quarantine": on(registry.Published, stepOf),
		"model.release":    on(registry.Quarantined, stepOf),
		"model.retire":     on(registry.Published, stepOf),
		"model.tag": on(registry.Draft, func(v *registry.Version) any {
			return ModelTag{Model: v.Ref.String(), Tag: map[string]string{"framework": "onnx"}}
		}),
		"model.list":    always(ModelList{State: "draft"}),
		"model.show":    on(registry.Draft, func(v *registry.Version) any { return ModelShow{Model: v.Ref.String()} }),
		"model.history": on(registry.Draft, func(v *registry.Version) any { return ModelHistory{Name: v.Ref.Of("local")} }),
		"model.bom":     on(registry.Draft, func(v *registry.Version) any { return VersionRef{v.Ref.String()} }),
	}
}

// TestModelsByOthersWord: over the wire a version is published by the word of people who had
// no hand in it, who looked at exactly what it is; who publishes does not approve; and the bill
// that is printed is the one that was approved.
func TestModelsByOthersWord(t *testing.T) {
	w := newWorld(t)
	v := w.version(t, registry.High, registry.Reviewed)
	on := VersionStep{VersionRef{v.Ref.String()}, ""}
	var ch api.ChangeView
	if err := w.person(t, "pat", "operator").Call(t.Context(), "model.publish", on, &ch); err != nil || ch.Rule.Need != 2 {
		t.Fatalf("%+v, %v", ch, err)
	}
	vote := func(who string, roles ...string) error {
		return w.person(t, who, roles...).Call(t.Context(), "change.approve", VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, &ch)
	}
	for _, who := range []string{"pat", "mia", "ray"} { // who publishes, who made it, who reviewed it
		if err := vote(who, "operator"); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("%s approves: %v", who, err)
		}
	}
	if err := vote("amy", "operator"); err != nil || ch.State != "open" {
		t.Fatalf("%s, %v", ch.State, err)
	}
	// what was approved is no longer what it is
	var now registry.Version
	evidence := ModelEvidence{VersionRef: on.VersionRef, Kind: "attack", Digest: v.Digest.String(), Result: "pass", Summary: "<b>again & again</b>", Metric: map[string]float64{"queries": 1e6}}
	if err := w.person(t, "red", "operator").Call(t.Context(), "model.evidence", evidence, &now); err != nil {
		t.Fatal(err)
	}
	if err := vote("abe", "operator"); pavise.KindOf(err) != pavise.Conflict || !strings.Contains(err.Error(), "bill of materials changed") {
		t.Errorf("a dead change is approved: %v", err)
	}
	if ch := w.approved(t, "pat", "model.publish", on, "amy", "abe"); ch.State != "done" {
		t.Fatalf("%+v", ch)
	}
	if err := vote("abe", "operator"); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("the dead one is approved again: %v", err)
	}
	kept, err := w.Models.Resolve(t.Context(), "local", v.Ref)
	if err != nil || kept.State != registry.Published || len(kept.Approvers) != 2 {
		t.Fatalf("%+v, %v", kept, err)
	}
	var bill ModelBill
	if err := w.person(t, "kim", "operator").Call(t.Context(), "model.bom", on.VersionRef, &bill); err != nil || registry.Digest(sha256.Sum256(append(bill.Bill, '\n'))) != kept.BOM {
		t.Errorf("another bill was approved: %s, %v", bill.Bill, err)
	}
	for verb, request := range map[string]any{"model.show": ModelShow{Model: "absent/1"}, "model.history": ModelHistory{Name: pavise.Name{Tenant: "local", Kind: "model", ID: "absent"}}, "model.alias": ModelAlias{Name: pavise.Name{Tenant: "local", Kind: "model", ID: "absent"}, Alias: "a", Version: 1}} {
		if err := w.person(t, "kim", "operator").Call(t.Context(), verb, request, nil); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("%s of what there is not: %v", verb, err)
		}
	}
	if err := w.person(t, "kim", "operator").Call(t.Context(), "model.show", ModelShow{Model: "other/model/fraud/1"}, nil); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("another tenant's: %v", err)
	}
}
