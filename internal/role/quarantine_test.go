package role

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/registry"
)

// sampled is the sample model in the registry, and on the control plane's routes.
var sampled = pavise.Name{Tenant: "acme", Kind: "model", ID: Sample}

// operator is a person who may do everything at the control plane.
func operator(id string) pavise.Principal {
	return pavise.Principal{Tenant: "acme", Kind: pavise.Human, ID: id, Roles: []string{"operator"}, Issuer: "test", Proof: "none"}
}

// done proposes a change as dora, and approves it as ben and cid.
func (p *party) done(t *testing.T, verb string, on pavise.Name, request string) {
	t.Helper()
	ch, err := p.Changes.Propose(t.Context(), operator("dora"), change.Proposal{Verb: verb, On: on, Request: json.RawMessage(request)})
	for _, id := range []string{"ben", "cid"} {
		if err == nil && ch.State != change.Done {
			ch, err = p.Changes.Approve(t.Context(), operator(id), ch.Name, ch.Digest, "")
		}
	}
	if err != nil || ch.State != change.Done {
		t.Fatalf("%s is %s: %s %v", verb, ch.State, ch.Outcome, err)
	}
}

// variant is the sample model with words in it: it answers the same, and is another file.
func variant(words string) []byte {
	return append(bytes.Clone(threatdetector.Model()), append([]byte{6<<3 | 2, byte(len(words))}, words...)...)
}

// publish adds a version of a model that is one ONNX file, and publishes it.
func (p *party) publish(t *testing.T, model pavise.Name, content []byte) registry.Ref {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dora := operator("dora")
	digest, size, err := p.Depot.Put(t.Context(), "acme", bytes.NewReader(content))
	must(err)
	v, err := p.Models.Add(t.Context(), dora, registry.AddSpec{Model: model, Run: "run-1", FileSpec: registry.FileSpec{Files: []registry.File{{Path: "model.onnx", Size: size, Digest: registry.Digest(digest)}}}})
	must(err)
	for end := time.Now().Add(20 * time.Second); v.Intake != registry.Ready && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		_, _ = p.Models.Take(t.Context(), "acme", v.Ref)
		v, err = p.Models.Resolve(t.Context(), "acme", v.Ref)
		must(err)
	}
	_, err = p.Models.Propose(t.Context(), dora, "acme", v.Ref, "")
	must(err)
	_, err = p.Models.Review(t.Context(), operator("eve"), "acme", v.Ref, v.Digest.String(), "")
	must(err)
	p.done(t, "model.publish", v.Name(), `{}`)
	return v.Ref
}

// deployed has the sample model deployed to the gateways: version 1, and then each further one.
func (p *party) deployed(t *testing.T, versions ...[]byte) {
	t.Helper()
	if _, err := p.Models.Create(t.Context(), operator("dora"), registry.ModelSpec{Name: sampled, Risk: registry.Low}); err != nil {
		t.Fatal(err)
	}
	p.done(t, "target.put", pavise.Name{Tenant: "acme", Kind: deploy.KindTarget, ID: "gws"}, `{"kind":"gateway","settings":{"model":"`+Sample+`"}}`)
	for _, content := range versions {
		v := p.publish(t, sampled, content)
		p.done(t, "deploy.release", deployment, fmt.Sprintf(`{"version":%d,"to":["gws"]}`, v.Version))
	}
}

// deployment is of the sample model.
var deployment = pavise.Name{Tenant: "acme", Kind: deploy.Kind, ID: Sample}

// say waits until deploy show says of each gateway what it asks.
func (p *party) say(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		v, err := p.Deployments.Show(t.Context(), operator("dora"), deployment)
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, g := range v.Gateways {
			got = append(got, fmt.Sprintf("%s: %s, %v", g.Gateway, g.Words, g.Has))
		}
		if slices.Equal(got, want) {
			return
		}
	}
	t.Fatalf("deploy show says %q, want %q", got, want)
}

// A wire is between a gateway and its control plane, and can be cut.
type wire struct {
	net.Listener
	to string

	mu    sync.Mutex
	cut   bool                  // guarded by mu
	conns map[net.Conn]struct{} // guarded by mu
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, to: strings.TrimPrefix(to, "https://"), conns: map[net.Conn]struct{}{}}
	t.Cleanup(func() { l.Close(); w.set(true) })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(near)
		}
	}()
	return w
}

// carry carries what comes in on a connection, until either end or somebody ends it.
func (w *wire) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer far.Close()
	w.mu.Lock()
	if w.cut {
		w.mu.Unlock()
		return
	}
	w.conns[near], w.conns[far] = struct{}{}, struct{}{}
	w.mu.Unlock()
	go func() { _, _ = io.Copy(far, near); far.Close() }()
	_, _ = io.Copy(near, far)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, near)
	delete(w.conns, far)
}

// set cuts the wire, or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for c := range w.conns {
		if cut {
			c.Close()
		}
	}
}

// TestQuarantineReachesGateways: a version in quarantine is asked by no gateway that hears of it,
// and goes back there; one that is cut off goes on by its last bundle within its grace, refuses
// everything after it, and follows when it is back. deploy show says what each last said.
func TestQuarantineReachesGateways(t *testing.T) {
	t.Parallel()
	p := begin(t)
	w := newWire(t, p.FleetURL())
	var later atomic.Int64
	one, _ := p.gateway(t, "gw-1", nil)
	two, _ := p.gateway(t, "gw-2", func(cfg *GatewayConfig) {
		cfg.Server, cfg.Now = "https://"+w.Addr().String(), func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	app := p.caller(t, "app", "caller")
	p.deployed(t, threatdetector.Model(), variant("two"))
	p.say(t, "gw-1: version 2, true", "gw-2: version 2, true")
	w.set(true)

	bad := registry.Ref{Model: Sample, Version: 2}
	p.quarantined(t, bad) // the deployment goes back by itself
	p.say(t, "gw-1: version 1, true", "gw-2: version 2, false")
	until(t, app, one, http.StatusOK)
	until(t, app, two, http.StatusOK)
	v, err := p.Deployments.Check(t.Context(), operator("dora"), deployment)
	if err != nil || v.Spots[0].Seen.Reached != 1 || v.Spots[0].Seen.Of != 2 || !strings.Contains(v.Spots[0].Problem, "1 of 2 gateways have it; not yet: gw-2") {
		t.Errorf("%+v %v", v, err)
	}
	later.Store(int64(59 * time.Minute))
	until(t, app, two, http.StatusOK)
	later.Store(int64(61 * time.Minute))
	until(t, app, two, http.StatusServiceUnavailable)

	w.set(false)
	p.say(t, "gw-1: version 1, true", "gw-2: version 1, true")
	until(t, app, two, http.StatusOK)

	first := registry.Ref{Model: Sample, Version: 1}
	p.quarantined(t, first) // and there is nothing left to go back to
	if all, err := p.standings(t.Context()); err != nil || len(all) != 1 || !all[0].Quarantined {
		t.Errorf("a gateway of an older build is told %+v", all)
	}
	for _, g := range []*Gateway{one, two} {
		until(t, app, g, http.StatusForbidden)
		refused(t, g)
		if got := told(g, noteWithdrawn); !slices.Equal(got, []pavise.Name{bad.Name("acme"), first.Name("acme")}) {
			t.Errorf("%s was told of %v", g.Name().ID, got)
		}
	}
	p.say(t, "gw-1: version 1, false", "gw-2: version 1, false")
	p.done(t, "model.release", first.Name("acme"), `{}`)
	if _, err := p.Deployments.Check(t.Context(), operator("dora"), deployment); err != nil {
		t.Fatal(err)
	}
	for _, g := range []*Gateway{one, two} {
		until(t, app, g, http.StatusOK) // it runs still where it ran, and serves anew
		if r := noted(t, g, noteRestored); r.On != first.Name("acme") {
			t.Errorf("%s was told that %v is out", g.Name().ID, r.On)
		}
	}
}

// quarantined puts a version in quarantine, and has the deployment looked at.
func (p *party) quarantined(t *testing.T, ref registry.Ref) {
	t.Helper()
	_, err := p.Models.Quarantine(t.Context(), operator("eve"), "acme", ref, "it was poisoned")
	if err == nil {
		_, err = p.Deployments.Check(t.Context(), operator("dora"), deployment)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// told are the things of a gateway's notes of a kind.
func told(g *Gateway, kind string) (on []pavise.Name) {
	for _, r := range g.Log.Records(0, g.Log.Size()) {
		if r.Kind == kind {
			on = append(on, r.On)
		}
	}
	return on
}

// refused fails unless the gateway's log says that somebody was refused for a quarantine.
func refused(t *testing.T, g *Gateway) {
	t.Helper()
	for _, r := range g.Log.Records(0, g.Log.Size()) {
		if r.Kind == "model.infer" && r.On == sampled && r.Outcome == pavise.Deny && slices.ContainsFunc(r.Verdicts, func(v pavise.Verdict) bool { return v.Check == "quarantine" }) {
			return
		}
	}
	t.Errorf("the log of %s does not say that somebody was refused", g.Name().ID)
}

// TestWithdrawnBeforeItsSuccessorIsHere: what a gateway runs is barred by its digest, while the
// model that is to answer instead is on its way.
func TestWithdrawnBeforeItsSuccessorIsHere(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", nil)
	app := p.caller(t, "app", "caller")
	until(t, app, g, http.StatusOK)
	withdraw := func(all ...fleet.Withdrawn) {
		t.Helper()
		g.applying.Lock()
		defer g.applying.Unlock()
		if err := g.withdraw(t.Context(), 1, all); err != nil {
			t.Fatal(err)
		}
	}
	runs := g.runs()
	if len(runs) != 1 || runs[0].Barred {
		t.Fatalf("%+v", runs)
	}
	version := registry.Ref{Model: "elsewhere", Version: 7}.Name("acme")
	withdraw(fleet.Withdrawn{Version: version, Models: []string{runs[0].ONNX}})
	until(t, app, g, http.StatusForbidden)
	if runs := g.runs(); !runs[0].Barred {
		t.Error("it does not say that nobody may ask it")
	}
	withdraw()
	until(t, app, g, http.StatusOK)
	if r := noted(t, g, noteRestored); r.On != version {
		t.Errorf("%+v", r)
	}

	other := pavise.Name{Tenant: "acme", Kind: "model", ID: "other"} // another model, of the same file
	if _, err := p.Models.Create(t.Context(), operator("dora"), registry.ModelSpec{Name: other, Risk: registry.Low}); err != nil {
		t.Fatal(err)
	}
	same := p.publish(t, other, threatdetector.Model())
	if _, err := p.Models.Quarantine(t.Context(), operator("eve"), "acme", same, "it was poisoned"); err != nil {
		t.Fatal(err)
	}
	until(t, app, g, http.StatusForbidden)
	for end := time.Now().Add(10 * time.Second); !g.Gateway.Routes.Barred(sampled); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("its routes do not say so")
		}
	}
}

// TestManyFilesHideNoVersion: a version of thousands of models is told of by some of them, and those
// before it are told of all the same.
func TestManyFilesHideNoVersion(t *testing.T) {
	t.Parallel()
	of := func(version int, models ...registry.Digest) registry.Withdrawn {
		ref := registry.Ref{Model: Sample, Version: version}
		return registry.Withdrawn{Name: ref.Name("acme"), Ref: ref, Models: models}
	}
	var many []registry.Digest
	for i := range fleet.MaxWithdrawn {
		many = append(many, registry.Digest{byte(i), byte(i >> 8)})
	}
	ran := "sha256:what a deployment ran"
	all := toldOf("acme", []registry.Withdrawn{of(2, many...), of(1, registry.Digest{31: 1})}, []deploy.Answers{{Models: []string{ran}}, {}})
	if len(all) != 2 || len(all[0].Models) != maxModels || all[0].Models[0] != ran || len(all[1].Models) != 1 {
		t.Errorf("%d versions are told of", len(all))
	}
}
