package deploy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/store"
)

// A table is routes that can be steered.
type table struct {
	route  *route.Route
	barred bool
	course route.Course
	onnx   []byte
	beside []byte
	fail   error
}

func (t *table) Get(pavise.Name) (route.Route, bool) {
	if t.route == nil {
		return route.Route{}, false
	}
	return *t.route, true
}

func (t *table) Barred(pavise.Name) bool { return t.barred }

func (t *table) Steer(ctx context.Context, c route.Course) (err error) {
	t.course = c
	if c.ONNX != nil {
		if t.onnx, err = c.ONNX(ctx); err != nil {
			return err
		}
	}
	if c.BesideONNX != nil {
		if t.beside, err = c.BesideONNX(ctx); err != nil {
			return err
		}
	}
	if t.fail != nil {
		return t.fail
	}
	t.route = &route.Route{ONNX: c.Digest, Shadow: c.Shadow}
	switch {
	case c.Weight > 0:
		t.route.Versions = []route.Version{{ONNX: c.Digest, Weight: 100 - c.Weight}, {ONNX: c.Beside, Weight: c.Weight}}
	case c.Beside != "":
		t.route.ShadowONNX = c.Beside
	}
	for i, s := range c.Servers {
		if i == 0 {
			t.route.Upstream, t.route.Weight = s.URL, &c.Servers[0].Weight
		} else {
			t.route.Replicas = append(t.route.Replicas, s)
		}
	}
	return nil
}

// A shelf is files by digest.
type shelf map[string][]byte

func (s shelf) Open(_ context.Context, _, digest string) (io.ReadCloser, error) {
	if text, ok := s[digest]; ok {
		return io.NopCloser(bytes.NewReader(text)), nil
	}
	return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "no such file"}
}

// file puts a file on the shelf.
func (s shelf) file(name, text string) File {
	sum := sha256.Sum256([]byte(text))
	f := File{Path: name, Size: int64(len(text)), Digest: "sha256:" + hex.EncodeToString(sum[:])}
	s[f.Digest] = []byte(text)
	return f
}

var modelName = pavise.Name{Tenant: "local", Kind: "model", ID: "fraud"}

func openGateway(t *testing.T, routes Routes, files Files, reach func(pavise.Name) []Word, set map[string]string) Target {
	t.Helper()
	d := GatewayDriver(routes, files, reach)
	if err := d.check(set); err != nil {
		t.Fatal(err)
	}
	g, err := d.Open(target("gw"), set)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGatewayRunsONNX has the model of a version run in the gateway.
func TestGatewayRunsONNX(t *testing.T) {
	files, routes := shelf{}, &table{}
	v := Version{Model: modelName, Number: 2, Files: []File{files.file("model.onnx", "weights"), files.file("README.md", "words")}}
	g := openGateway(t, routes, files, nil, map[string]string{"model": "fraud"})
	if _, err := g.Observe(t.Context()); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("there is no route: %v", err)
	}
	routes.route = &route.Route{ONNX: "sha256:old"}
	want, err := g.Takes(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Apply(t.Context(), Desired{Main: &v, Revision: 1, Safe: true}); err != nil {
		t.Fatal(err)
	}
	if s, err := g.Observe(t.Context()); err != nil || s.Main != want || !s.Healthy || s.Unproven != "" || string(routes.onnx) != "weights" || !routes.course.Safe {
		t.Errorf("%+v %v", s, err)
	}
	files[v.Files[0].Digest] = []byte("WEIGHTS")
	if err := g.Apply(t.Context(), Desired{Main: &v}); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("other bytes than were approved: %v", err)
	}
	files[v.Files[0].Digest] = []byte("weights and more")
	if err := g.Apply(t.Context(), Desired{Main: &v}); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("more bytes than were approved: %v", err)
	}
	routes.barred = true
	if s, err := g.Observe(t.Context()); err != nil || s.Healthy || !strings.Contains(s.Problem, "quarantine") {
		t.Errorf("%+v %v", s, err)
	}
	for what, v := range map[string]Version{
		"two models": {Files: []File{{Path: "a.onnx"}, {Path: "b.onnx"}}}, "none": {Files: []File{{Path: "a.bin"}}}, "a long one": {Files: []File{{Path: "a.onnx", Size: maxONNX + 1}}},
	} {
		if _, err := g.Takes(v); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	named := openGateway(t, routes, files, nil, map[string]string{"model": "fraud", "file": "b.onnx"})
	if got, err := named.Takes(Version{Files: []File{{Path: "a.onnx", Digest: "a"}, {Path: "b.onnx", Digest: "b"}}}); err != nil || got != "b" {
		t.Errorf("%s %v", got, err)
	}
}

// TestGatewayRunsTwoONNX has a second version in the gateway answer a share of the calls, or
// hear them, and sees what somebody else put there.
func TestGatewayRunsTwoONNX(t *testing.T) {
	files, routes := shelf{}, &table{route: &route.Route{ONNX: "sha256:old"}}
	one := Version{Model: modelName, Number: 1, Files: []File{files.file("model.onnx", "one")}}
	two := Version{Model: modelName, Number: 2, Files: []File{files.file("model.onnx", "two")}}
	g := openGateway(t, routes, files, nil, map[string]string{"model": "fraud"})
	if u, ok := g.(Undivided); ok && u.Whole() {
		t.Error("it says that it cannot be divided")
	}
	main, beside := one.Files[0].Digest, two.Files[0].Digest
	for _, c := range []struct {
		d    Desired
		sees State
	}{
		{Desired{Main: &one, Beside: &two, Weight: 10}, State{Main: main, Beside: beside, Weight: 10}},
		{Desired{Main: &one, Beside: &two, Weight: 33, Safe: true}, State{Main: main, Beside: beside, Weight: 33}},
		{Desired{Main: &one, Beside: &two, Shadow: true}, State{Main: main, Beside: beside, Shadow: true}},
		{Desired{Main: &two}, State{Main: beside}},
	} {
		if err := g.Apply(t.Context(), c.d); err != nil {
			t.Fatal(err)
		}
		if s, err := g.Observe(t.Context()); err != nil || s.Main != c.sees.Main || s.Beside != c.sees.Beside || s.Weight != c.sees.Weight || s.Shadow != c.sees.Shadow || s.Unproven != "" || routes.course.Safe != c.d.Safe {
			t.Errorf("%+v %v, not %+v", s, err, c.sees)
		}
	}
	if string(routes.beside) != "two" || string(routes.onnx) != "two" {
		t.Errorf("%q beside %q", routes.beside, routes.onnx)
	}
	routes.route.Versions = []route.Version{{ONNX: main, Weight: 90}, {ONNX: beside, Weight: 10}, {ONNX: "sha256:evil", Weight: 0}}
	if s, _ := g.Observe(t.Context()); s.Beside != "sha256:evil" {
		t.Errorf("a third version: %+v", s)
	}
	routes.route.ShadowONNX = "sha256:ear"
	if s, _ := g.Observe(t.Context()); s.Beside != "sha256:ear" || !s.Shadow {
		t.Errorf("who hears behind a canary: %+v", s)
	}
	files[beside] = []byte("TWO")
	if err := g.Apply(t.Context(), Desired{Main: &one, Beside: &two, Weight: 10}); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("other bytes than were approved: %v", err)
	}
	delete(files, beside)
	if err := g.Apply(t.Context(), Desired{Main: &one, Beside: &two, Weight: 10}); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("no bytes: %v", err)
	}
	two.Files = append(two.Files, two.Files[0])
	if err := g.Apply(t.Context(), Desired{Main: &one, Beside: &two, Weight: 10}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("two files: %v", err)
	}
}

// TestGatewayAsksServers has versions answer at addresses, in shares and as a shadow.
func TestGatewayAsksServers(t *testing.T) {
	routes := &table{route: &route.Route{Upstream: "http://elsewhere"}}
	words := []Word{{Gateway: "gw-1", Newest: true}, {Gateway: "gw-2", Newest: true}}
	g := openGateway(t, routes, nil, func(pavise.Name) []Word { return words }, map[string]string{"model": "fraud", "server": "http://a/v{version},http://b:8000/{version}/x"})
	one, two := &Version{Model: modelName, Number: 1}, &Version{Model: modelName, Number: 12}
	if s, err := g.Observe(t.Context()); err != nil || s.Main != "http://elsewhere" {
		t.Errorf("%+v %v", s, err)
	}
	for _, c := range []struct {
		d       Desired
		servers []route.Replica
		shadow  string
		sees    State
	}{
		{Desired{Main: one}, []route.Replica{{URL: "http://a/v1", Weight: 1}, {URL: "http://b:8000/1/x", Weight: 1}}, "", State{Main: addressed(1)}},
		{
			Desired{Main: one, Beside: two, Weight: 10}, []route.Replica{{URL: "http://a/v1", Weight: 90}, {URL: "http://b:8000/1/x", Weight: 90}, {URL: "http://a/v12", Weight: 10}, {URL: "http://b:8000/12/x", Weight: 10}}, "",
			State{Main: addressed(1), Beside: addressed(12), Weight: 10},
		},
		{Desired{Main: one, Beside: two, Shadow: true}, []route.Replica{{URL: "http://a/v1", Weight: 1}, {URL: "http://b:8000/1/x", Weight: 1}}, "http://a/v12", State{Main: addressed(1), Beside: addressed(12), Shadow: true}},
		{Desired{Main: two}, []route.Replica{{URL: "http://a/v12", Weight: 1}, {URL: "http://b:8000/12/x", Weight: 1}}, "", State{Main: addressed(12)}},
	} {
		if err := g.Apply(t.Context(), c.d); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(routes.course.Servers, c.servers) || routes.course.Shadow != c.shadow {
			t.Errorf("%+v", routes.course)
		}
		s, err := g.Observe(t.Context())
		if err != nil || s.Main != c.sees.Main || s.Beside != c.sees.Beside || s.Weight != c.sees.Weight || s.Shadow != c.sees.Shadow || !s.Healthy || s.Unproven == "" {
			t.Errorf("%+v %v", s, err)
		}
	}
	routes.route.Replicas = append(routes.route.Replicas, route.Replica{URL: "http://evil/v3", Weight: 1})
	if s, _ := g.Observe(t.Context()); s.Beside != "http://evil/v3" {
		t.Errorf("a server that is none of ours: %+v", s)
	}
	routes.route.Replicas = []route.Replica{{URL: "http://a/v1", Weight: 1}, {URL: "http://evil", Weight: 0}}
	if s, _ := g.Observe(t.Context()); s.Beside != "http://evil" {
		t.Errorf("a server that is none of ours behind a canary: %+v", s)
	}
	words[1].Newest = false
	if s, _ := g.Observe(t.Context()); s.Healthy || s.Reached != 1 || s.Of != 2 || !strings.Contains(s.Problem, "1 of 2 gateways have it; not yet: gw-2") {
		t.Errorf("%+v", s)
	}
	routes.fail = errors.New("away")
	if err := g.Apply(t.Context(), Desired{Main: one}); err == nil {
		t.Error("a route that cannot be steered is no error")
	}
	for _, bad := range []string{"http://a", "http://a/{version}/{version}", "http://a/v{version},", "{digest}"} {
		if _, err := GatewayDriver(routes, nil, nil).Open(target("gw"), map[string]string{"model": "fraud", "server": bad}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestGatewaysSayWhatTheyAsk: a gateway has what is wanted when it says so itself, whatever bundle
// it goes by, and is heard of.
func TestGatewaysSayWhatTheyAsk(t *testing.T) {
	asks := func(version int) *route.Route { return &route.Route{Upstream: fmt.Sprintf("http://a/v%d", version)} }
	routes := &table{route: asks(2)}
	words := map[string]Word{
		"has it":                       {Route: asks(2)},
		"has another":                  {Route: asks(1), Newest: true},
		"has it, and is away":          {Route: asks(2), Newest: true, Away: true},
		"has it, and refuses all":      {Route: asks(2), Newest: true, Refuses: true},
		"has it in quarantine":         {Route: asks(2), Newest: true, Barred: true},
		"has what was taken back":      {Route: asks(9), Newest: true},
		"does not say, and is new":     {Newest: true},
		"does not say, and is old":     {},
		"asks somebody else beside it": {Route: &route.Route{Upstream: "http://a/v2", Replicas: []route.Replica{{URL: "http://evil", Weight: 1}}}},
	}
	g := openGateway(t, routes, nil, func(model pavise.Name) (all []Word) {
		for what, w := range words {
			w.Gateway = what
			all = append(all, w)
		}
		return all
	}, map[string]string{"model": "fraud", "server": "http://a/v{version}"})
	s := &Spot{Target: target("gw"), Main: &Held{Version: 2, Artefact: addressed(2)}, Before: []Held{{Version: 1, Artefact: addressed(1)}}}
	for _, p := range s.said(g.(Spread), map[string]int{addressed(9): 9}) {
		if want := p.Gateway == "has it" || p.Gateway == "does not say, and is new"; p.Has != want || p.Target != s.Target {
			t.Errorf("%s: %+v", p.Gateway, p)
		}
		want := map[string]string{
			"has another": "version 1", "has what was taken back": "version 9", "does not say, and is new": "it does not say which", "does not say, and is old": "it does not say which",
			"asks somebody else beside it": "version 2, and http://evil for 50 in 100 calls",
		}[p.Gateway]
		if want == "" {
			want = "version 2"
		}
		if p.Words != want {
			t.Errorf("%s: it is said to ask %q, not %q", p.Gateway, p.Words, want)
		}
	}
	if s, _ := g.Observe(t.Context()); s.Reached != 2 || s.Of != len(words) {
		t.Errorf("%+v", s)
	}
}

// TestAsked says by what a data plane knows a version: what ran of it, and where it is served.
func TestAsked(t *testing.T) {
	synctest.Test(t, testAsked)
}

func testAsked(t *testing.T) {
	w := newWorld(t)
	files, routes := shelf{}, &table{route: &route.Route{Upstream: "http://a/v1"}}
	w.Deployments.cfg.Drivers["gateway"] = GatewayDriver(routes, files, nil)
	w.putTarget(t, "served", Spec{Kind: "gateway", Settings: map[string]string{"model": "scores", "server": "http://a/v{version},http://b/{version}"}})
	w.release(t, Release{Version: 2, To: []pavise.Name{target("served"), target("fn")}})
	v, err := w.reg.Resolve(t.Context(), modelName, 2)
	if err != nil {
		t.Fatal(err)
	}
	other := v
	other.Model.ID = "other"
	got, err := w.Asked(t.Context(), []Version{v, other})
	scores := pavise.Name{Tenant: "local", Kind: "model", ID: "scores"}
	if err != nil || len(got) != 2 || len(got[0].Models) != 0 || !slices.Equal(got[0].At, []At{{scores, "http://a/v2"}, {scores, "http://b/2"}}) || len(got[1].At) != 0 {
		t.Errorf("%+v %v", got, err)
	}
	err = w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error { // as if it ran in the gateway once
		dep, err := known(tx, fraud)
		if err != nil {
			return err
		}
		s := dep.spot(target("served"))
		s.Before = []Held{{Version: 2, Digest: v.Digest, Artefact: "sha256:ran"}, {Version: 1, Digest: "sha256:of-another", Artefact: "sha256:other"}}
		return put(tx, "deploy_deployments", fraud, dep)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err = w.Asked(t.Context(), []Version{v}); err != nil || !slices.Equal(got[0].Models, []string{"sha256:ran"}) {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := w.Asked(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("%+v %v", got, err)
	}
}
