package main

import (
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/role"
)

// deployExamples have the versions 1 and 2 of the sample model published, and targets for
// them: its own route, and one that leads nowhere.
func (r *running) deployExamples(t *testing.T, x *examples) {
	do := func(verb string, on pavise.Name, request string) {
		t.Helper()
		r.proposal(t, r.person("dora"), change.Proposal{Verb: verb, On: on, Request: json.RawMessage(request)})
		r.approve(t, verb)
	}
	target := func(id, settings string) {
		t.Helper()
		do("target.put", pavise.Name{Tenant: role.Tenant, Kind: deploy.KindTarget, ID: id}, `{"kind":"gateway","settings":`+settings+`}`)
	}
	x.before["deploy.release"] = func() {
		target("gateway", `{"model":"threat-detector"}`)
		r.published(t, do)
	}
	x.before["deploy.promote"] = func() {
		target("served", `{"model":"fraud","server":"http://127.0.0.1:9/v{version}"}`)
		sample := pavise.Name{Tenant: role.Tenant, Kind: deploy.Kind, ID: "threat-detector"}
		do("deploy.release", sample, `{"version":1,"to":["served"]}`)
		do("deploy.release", sample, `{"version":2,"to":["served"],"canary":10}`)
	}
}

// published publishes versions 1 and 2 of the sample model, which are the model that runs.
func (r *running) published(t *testing.T, do func(verb string, on pavise.Name, request string)) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	rooms, dora := r.Rooms(), r.person("dora")
	name := pavise.Name{Tenant: role.Tenant, Kind: "model", ID: "threat-detector"}
	route, ok := rooms.Routes.Get(name)
	if !ok {
		t.Fatal("the sample model has no route")
	}
	onnx, err := rooms.Routes.Model(t.Context(), route.ONNX)
	must(err)
	sum := sha256.Sum256(onnx)
	signer, err := oms.NewSigner(modelKey(), nil, time.Now())
	must(err)
	signature, err := signer.Sign(&oms.Manifest{Name: name.ID, Hash: "sha256", Files: []oms.File{{Path: "model.onnx", Parts: []oms.Part{{Digest: sum[:]}}}}})
	must(err)
	_, err = rooms.Models.Create(t.Context(), dora, registry.ModelSpec{Name: name, Risk: registry.Low})
	must(err)
	for range 2 {
		v, err := rooms.Models.Add(t.Context(), dora, registry.AddSpec{Model: name, FileSpec: registry.FileSpec{
			Files: []registry.File{{Path: "model.onnx", Size: int64(len(onnx)), Digest: sum}}, Scan: &registry.Scan{Verdict: "clean"}, Signature: signature,
		}})
		must(err)
		for _, kind := range []string{registry.EvidenceEvaluation, registry.EvidenceAttack} {
			_, err := rooms.Models.Evidence(t.Context(), dora, role.Tenant, v.Ref, registry.EvidenceSpec{Kind: kind, Digest: v.Digest.String(), Result: registry.Pass, Summary: "it passed"})
			must(err)
		}
		_, err = rooms.Models.Propose(t.Context(), dora, role.Tenant, v.Ref, "")
		must(err)
		_, err = rooms.Models.Review(t.Context(), r.person("eve"), role.Tenant, v.Ref, v.Digest.String(), "")
		must(err)
		do("model.publish", v.Name(), `{}`)
	}
}
