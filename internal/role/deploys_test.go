package role

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/device"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/registry"
)

// TestDeploy brings a version from the depot to the gateway and to a machine at the edge, over
// HTTP, and back: the gateway is there when the rollback answers.
func TestDeploy(t *testing.T) {
	r := runUp(t, UpConfig{Data: installation.Data(t.TempDir())})
	w := onnx.NewWriter("product")
	w.Node("MatMul", "y", []string{w.Input("x", 2), w.Floats("w", []int{2, 2}, []float32{1, 2, 3, 4})})
	w.Output("y", 2)
	sample := pavise.Name{Tenant: Tenant, Kind: "model", ID: "threat-detector"}
	first, _ := r.Rooms().Routes.Get(sample)
	was, err := r.Rooms().Routes.Model(t.Context(), first.ONNX)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Models.Create(t.Context(), r.person("dora"), registry.ModelSpec{Name: sample, Risk: registry.Low}); err != nil {
		t.Fatal(err)
	}
	for _, content := range [][]byte{was, w.Bytes()} {
		r.publish(t, sample, content)
	}
	on := pavise.Name{Tenant: Tenant, Kind: deploy.Kind, ID: sample.ID}
	target := func(id string) pavise.Name {
		return pavise.Name{Tenant: Tenant, Kind: deploy.KindTarget, ID: id}
	}
	r.do(t, "target.put", target("gw"), `{"kind":"gateway","settings":{"model":"threat-detector"}}`)
	r.do(t, "target.put", target("edge"), `{"kind":"edge","settings":{"agent":"workload/edge-1"}}`)
	dir := r.edge(t, target("edge"))
	r.do(t, "deploy.release", on, `{"version":1,"to":["gw","edge"]}`)
	runs := func(version int) {
		t.Helper()
		var v deploy.View
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if v, err = r.Deployments.Check(t.Context(), r.person("dora"), on); err == nil && v.Ready == 2 && v.Spots[0].Main.Version == version {
				return
			}
		}
		t.Fatalf("version %d: %+v %v", version, v, err)
	}
	runs(1)
	r.do(t, "deploy.release", on, `{"version":2}`)
	runs(2)
	if route, _ := r.Rooms().Routes.Get(sample); route.ONNX == first.ONNX {
		t.Error("the gateway runs version 1 still")
	}
	if text, err := os.ReadFile(filepath.Join(dir, "current", "model.onnx")); err != nil || !bytes.Equal(text, w.Bytes()) {
		t.Errorf("the machine runs something else: %v", err)
	}
	if v, err := r.Models.Resolve(t.Context(), Tenant, registry.Ref{Model: sample.ID, Version: 2}); err != nil || v.State != registry.Live {
		t.Errorf("%+v %v", v, err)
	}
	began := time.Now()
	if _, err := r.Changes.Propose(t.Context(), r.person("dora"), change.Proposal{Verb: "deploy.rollback", On: on, Request: json.RawMessage(`{"why":"it is bad"}`)}); err != nil {
		t.Fatal(err)
	}
	if route, _ := r.Rooms().Routes.Get(sample); route.ONNX != first.ONNX {
		t.Error("the gateway was not there when the rollback answered")
	}
	t.Logf("the gateway was back after %v", time.Since(began))
	runs(1)
}

// TestMonitorTakesBackWhatIsDeployed has the house's verdict on a bad version bring back the one
// before of a deployment, at once and for good; a model that somebody released past the
// deployment goes back by its route; and what the registry bars does not answer again.
func TestMonitorTakesBackWhatIsDeployed(t *testing.T) {
	r := runUp(t, UpConfig{Data: installation.Data(t.TempDir())})
	model := func(weight float32) []byte {
		w := onnx.NewWriter("product")
		w.Node("MatMul", "y", []string{w.Input("x", 2), w.Floats("w", []int{2, 2}, []float32{weight, 2, 3, 4})})
		w.Output("y", 2)
		return w.Bytes()
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	digest := func(weight float32) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(model(weight))) }
	sample := pavise.Name{Tenant: Tenant, Kind: "model", ID: "threat-detector"}
	on := pavise.Name{Tenant: Tenant, Kind: deploy.Kind, ID: sample.ID}
	_, err := r.Models.Create(t.Context(), r.person("dora"), registry.ModelSpec{Name: sample, Risk: registry.Low})
	must(err)
	r.do(t, "target.put", pavise.Name{Tenant: Tenant, Kind: deploy.KindTarget, ID: "gw"}, `{"kind":"gateway","settings":{"model":"threat-detector"}}`)
	r.publish(t, sample, model(1))
	r.publish(t, sample, model(2))
	r.do(t, "deploy.release", on, `{"version":1,"to":["gw"]}`)
	r.answers(t, sample, digest(1))
	r.do(t, "deploy.release", on, `{"version":2}`)
	r.answers(t, sample, digest(2))

	back, err := r.Verdicts().Rollback(t.Context(), sample, digest(2), "drift: its outputs moved")
	if err != nil || back != digest(1) {
		t.Fatalf("%s %v", back, err)
	}
	v, err := r.Deployments.Check(t.Context(), r.person("dora"), on)
	if err != nil || v.Spots[0].Main.Version != 1 || len(v.Barred) != 1 || v.Barred[0].Version != 2 || v.Stage != deploy.StageLive {
		t.Errorf("%+v %v", v, err)
	}
	r.answers(t, sample, digest(1))
	if _, err := r.Verdicts().Rollback(t.Context(), sample, digest(1), "again"); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("what has nothing before it: %v", err)
	}

	past, err := json.Marshal(map[string]any{"name": sample.String(), "onnx": model(3)})
	must(err)
	r.do(t, "route.release", pavise.Name{Tenant: Tenant, Kind: "route", ID: sample.ID}, string(past))
	r.answers(t, sample, digest(3))
	if back, err := r.Verdicts().Rollback(t.Context(), sample, digest(3), "drift: its outputs moved"); err != nil || back != digest(1) {
		t.Errorf("%s %v", back, err)
	}
	r.answers(t, sample, digest(1))

	for weight, want := range map[float32]error{1: nil, 2: nil, 9: nil} {
		if err := r.Unfit(t.Context(), Tenant, digest(weight)); err != want {
			t.Errorf("%v: %v", weight, err)
		}
	}
	_, err = r.Models.Quarantine(t.Context(), r.person("dora"), Tenant, registry.Ref{Model: sample.ID, Version: 2}, "it was poisoned")
	must(err)
	if err := r.Unfit(t.Context(), Tenant, digest(2)); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("what is in quarantine answers: %v", err)
	}
	barred, err := json.Marshal(map[string]any{"name": sample.String(), "onnx": model(2)})
	must(err)
	_, err = r.Changes.Propose(t.Context(), r.person("dora"), change.Proposal{Verb: "route.release", On: pavise.Name{Tenant: Tenant, Kind: "route", ID: sample.ID}, Request: barred})
	if pavise.KindOf(err) != pavise.Denied {
		t.Errorf("what is in quarantine is released past the registry: %v", err)
	}
}

// answers waits until a model is answered by one with the digest.
func (r *running) answers(t *testing.T, model pavise.Name, digest string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if route, _ := r.Rooms().Routes.Get(model); route.ONNX == digest {
			return
		}
	}
	t.Fatalf("%s is not answered by %s", model, digest)
}

// person is another operator.
func (r *running) person(id string) pavise.Principal {
	who := r.Operator()
	who.ID = id
	return who
}

// do proposes a change as dora, and approves it as ben and cid.
func (r *running) do(t *testing.T, verb string, on pavise.Name, request string) {
	t.Helper()
	ch, err := r.Changes.Propose(t.Context(), r.person("dora"), change.Proposal{Verb: verb, On: on, Request: json.RawMessage(request)})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"ben", "cid"} {
		next, err := r.Changes.Approve(t.Context(), r.person(id), ch.Name, ch.Digest, "")
		if err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
		if next.State == change.Done {
			return
		}
	}
}

// publish adds a version that is one ONNX file, and publishes it.
func (r *running) publish(t *testing.T, model pavise.Name, content []byte) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	digest, size, err := r.Depot.Put(t.Context(), Tenant, bytes.NewReader(content))
	must(err)
	dora := r.person("dora")
	v, err := r.Models.Add(t.Context(), dora, registry.AddSpec{Model: model, Run: "run-1", FileSpec: registry.FileSpec{Files: []registry.File{{Path: "model.onnx", Size: size, Digest: registry.Digest(digest)}}}})
	must(err)
	for end := time.Now().Add(20 * time.Second); v.Intake != registry.Ready && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		_, _ = r.Models.Take(t.Context(), Tenant, v.Ref)
		v, err = r.Models.Resolve(t.Context(), Tenant, v.Ref)
		must(err)
	}
	for _, kind := range []string{registry.EvidenceEvaluation, registry.EvidenceAttack} {
		_, err := r.Models.Evidence(t.Context(), dora, Tenant, v.Ref, registry.EvidenceSpec{Kind: kind, Digest: v.Digest.String(), Result: registry.Pass, Summary: "it passed"})
		must(err)
	}
	_, err = r.Models.Propose(t.Context(), dora, Tenant, v.Ref, "")
	must(err)
	_, err = r.Models.Review(t.Context(), r.person("eve"), Tenant, v.Ref, v.Digest.String(), "")
	must(err)
	r.do(t, "model.publish", v.Name(), `{}`)
}

// edge runs the machine of a target, as the workload edge-1, and returns its directory.
func (r *running) edge(t *testing.T, target pavise.Name) string {
	t.Helper()
	shown, err := r.Deployments.Target(t.Context(), r.person("dora"), target)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(shown.Trust)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	trust := filepath.Join(dir, "trust.json")
	if err := os.WriteFile(trust, text, 0o600); err != nil {
		t.Fatal(err)
	}
	token, err := r.Rooms().Issuer.Bootstrap(issuer.MintRequest{Subject: "edge-1", Kind: pavise.Workload, Roles: []string{"operator"}})
	if err != nil {
		t.Fatal(err)
	}
	machine := &device.Serve{Place: device.Place{Dir: filepath.Join(dir, "machine")}, Trust: trust, Patience: time.Second, Every: 100 * time.Millisecond, Say: func(word string, err error) { t.Log(word, err) }}
	machine.Connect = func(context.Context) (device.Connection, error) {
		return device.Connection{Server: r.url(), Token: token.Value, HTTP: &http.Client{}}, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- machine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return machine.Dir
}
