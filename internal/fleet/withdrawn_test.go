package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/route"
)

// TestHold takes out of a route what is in quarantine, and bars it where nothing else is left.
func TestHold(t *testing.T) {
	fraud, other := pavise.Name{Tenant: "acme", Kind: "model", ID: "fraud"}, pavise.Name{Tenant: "acme", Kind: "model", ID: "other"}
	all := []Withdrawn{
		{Version: pavise.Name{Tenant: "acme", Kind: "model", ID: "fraud@3"}, Models: []string{"sha256:3"}, At: []Place{{fraud, "http://a/v3"}, {fraud, "http://b/v3"}}},
		{Version: pavise.Name{Tenant: "acme", Kind: "model", ID: "fraud@4"}, Models: []string{"sha256:4"}},
	}
	never := 0
	to := func(urls ...string) (r []route.Replica) {
		for _, url := range urls {
			r = append(r, route.Replica{URL: url, Weight: 1})
		}
		return r
	}
	shared := func(weights ...int) (v []route.Version) {
		for i, weight := range weights {
			v = append(v, route.Version{ONNX: fmt.Sprintf("sha256:%d", i+1), Weight: weight})
		}
		return v
	}
	for name, c := range map[string]struct {
		route  route.Route
		by     string // the version that bars it
		spared string // what is left beside the first server
	}{
		"a canary":                      {route.Route{Model: fraud, ONNX: "sha256:1", Versions: shared(1, 1, 1, 1)}, "", "[] [{sha256:1 1} {sha256:2 1}]"},
		"a canary alone beside it":      {route.Route{Model: fraud, ONNX: "sha256:1", Versions: []route.Version{{ONNX: "sha256:1", Weight: 9}, {ONNX: "sha256:3", Weight: 1}}}, "", "[] []"},
		"a canary that answers all":     {route.Route{Model: fraud, ONNX: "sha256:1", Versions: shared(0, 0, 1)}, "fraud@3", "[] [{sha256:1 0} {sha256:2 0} {sha256:3 1}]"},
		"the first, beside a canary":    {route.Route{Model: fraud, ONNX: "sha256:3", Versions: []route.Version{{ONNX: "sha256:3", Weight: 9}, {ONNX: "sha256:1", Weight: 1}}}, "fraud@3", "[] [{sha256:3 9} {sha256:1 1}]"},
		"a canary that is fit":          {route.Route{Model: fraud, ONNX: "sha256:1", Versions: shared(1, 0)}, "", "[] [{sha256:1 1} {sha256:2 0}]"},
		"a shadow that runs in gateway": {route.Route{Model: fraud, ONNX: "sha256:1", ShadowONNX: "sha256:3"}, "", "[]"},
		"a model that is fit":           {route.Route{Model: fraud, ONNX: "sha256:2"}, "", "[]"},
		"one in quarantine":             {route.Route{Model: fraud, ONNX: "sha256:4"}, "fraud@4", "[]"},
		"behind another name":           {route.Route{Model: other, ONNX: "sha256:3"}, "fraud@3", "[]"},
		"a server":                      {route.Route{Model: fraud, Upstream: "http://a/v3"}, "fraud@3", "[]"},
		"the address, another model":    {route.Route{Model: other, Upstream: "http://a/v3"}, "", "[]"},
		"the first of two":              {route.Route{Model: fraud, Upstream: "http://a/v3", Replicas: to("http://a/v2")}, "fraud@3", "[{http://a/v2 1}]"},
		"beside another":                {route.Route{Model: fraud, Upstream: "http://a/v2", Replicas: to("http://a/v3", "http://b/v2", "http://b/v3")}, "", "[{http://b/v2 1}]"},
		"beside one that is not asked":  {route.Route{Model: fraud, Upstream: "http://a/v2", Weight: &never, Replicas: to("http://a/v3")}, "fraud@3", "[{http://a/v3 1}]"},
		"a shadow":                      {route.Route{Model: fraud, Upstream: "http://a/v2", Shadow: "http://b/v3", ShadowRemote: "x"}, "", "[]"},
	} {
		s := route.Standing{Route: c.route}
		by := Hold(all, &s)
		if (by != nil) != (c.by != "") || s.Quarantined != (by != nil) || by != nil && by.Version.ID != c.by {
			t.Errorf("%s: barred %v by %+v", name, s.Quarantined, by)
		}
		left := fmt.Sprint(s.Replicas)
		if len(c.route.Versions) > 0 {
			left += " " + fmt.Sprint(s.Versions)
		}
		if left != c.spared || s.Shadow != "" || s.ShadowRemote != "" || s.ShadowONNX != "" {
			t.Errorf("%s: %+v", name, s.Route)
		}
	}
	if s := (route.Standing{Route: route.Route{Model: fraud, Upstream: "http://a/v2"}, Quarantined: true}); Hold(nil, &s) != nil || !s.Quarantined {
		t.Error("it lets a route out that people have in quarantine")
	}
}

// TestQuarantineIsToldApart: the section is filled by who knows of it, read back, and may be
// missing in what a build before it says.
func TestQuarantineIsToldApart(t *testing.T) {
	told := []Withdrawn{{Version: pavise.Name{Tenant: "acme", Kind: "model", ID: "fraud@3"}, Digest: "sha256:0", Models: []string{"sha256:3"}}}
	say := func(context.Context) (*Orders, error) { return &Orders{Terms: Terms{Share: 1, Grace: 1}}, nil }
	b := &bundle.Bundle{Serial: 7, Sections: map[string]json.RawMessage{}}
	for name, section := range Sections(say, func(context.Context) ([]Withdrawn, error) { return told, nil }, nil) {
		text, _, err := section(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.Sections[name] = text
	}
	if o, err := ReadOrders(b); err != nil || len(o.Withdrawn) != 1 || o.Withdrawn[0].Models[0] != "sha256:3" {
		t.Errorf("%+v %v", o, err)
	}
	if strings.Contains(string(b.Sections[sectionNeeds]), sectionQuarantine) {
		t.Error("a gateway of a build before it would refuse the bundle")
	}
	delete(b.Sections, sectionQuarantine)
	if o, err := ReadOrders(b); err != nil || len(o.Withdrawn) != 0 {
		t.Errorf("%+v %v", o, err)
	}
}

// TestRunsFit says of as many models as there is room for.
func TestRunsFit(t *testing.T) {
	var all []route.Standing
	for i := range 1500 {
		all = append(all, route.Standing{Route: route.Route{Model: pavise.Name{Tenant: "acme", Kind: "model", ID: fmt.Sprintf("m%04d", i)}, ONNX: "sha256:0"}})
	}
	open := func(pavise.Name) bool { return false }
	if runs := Runs(all, open); len(runs) != maxRuns || !SameRuns(runs, Runs(all, open)) || SameRuns(runs, Runs(all, func(pavise.Name) bool { return true })) {
		t.Errorf("%d", len(runs))
	}
	for i := range all {
		all[i].ONNX, all[i].Upstream = "", "http://a/"+strings.Repeat("&", 1000)
	}
	runs := Runs(all, open)
	text, err := json.Marshal(Report{Runs: runs})
	if err != nil || len(runs) == 0 || len(text) > MaxReport {
		t.Errorf("%d models, %d bytes, %v", len(runs), len(text), err)
	}
}

// TestRunsNameVersions: a gateway says which ONNX models share the calls, and which one hears them,
// or no deployment of a canary would ever be ready there.
func TestRunsNameVersions(t *testing.T) {
	s := route.Standing{Route: route.Route{Model: pavise.Name{Tenant: "acme", Kind: "model", ID: "fraud"}, ONNX: "sha256:1", Versions: []route.Version{{ONNX: "sha256:1", Weight: 90}, {ONNX: "sha256:2", Weight: 10}}}}
	open := func(pavise.Name) bool { return false }
	was := Runs([]route.Standing{s}, open)
	if !slices.Equal(was[0].Versions, s.Versions) {
		t.Errorf("%+v", was)
	}
	s.Versions = []route.Version{{ONNX: "sha256:1", Weight: 50}, {ONNX: "sha256:2", Weight: 50}}
	stepped := Runs([]route.Standing{s}, open)
	s.Versions, s.ShadowONNX = nil, "sha256:2"
	heard := Runs([]route.Standing{s}, open)
	if SameRuns(was, stepped) || SameRuns(stepped, heard) || heard[0].ShadowONNX != "sha256:2" {
		t.Error("what changed is no news")
	}
}
