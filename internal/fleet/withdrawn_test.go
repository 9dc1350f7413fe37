package fleet

import (
	"context"
	"encoding/json"
	"fmt"
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
	for name, c := range map[string]struct {
		route  route.Route
		by     string // the version that bars it
		spared string // what is left beside the first server
	}{
		"a model that is fit":          {route.Route{Model: fraud, ONNX: "sha256:2"}, "", "[]"},
		"one in quarantine":            {route.Route{Model: fraud, ONNX: "sha256:4"}, "fraud@4", "[]"},
		"behind another name":          {route.Route{Model: other, ONNX: "sha256:3"}, "fraud@3", "[]"},
		"a server":                     {route.Route{Model: fraud, Upstream: "http://a/v3"}, "fraud@3", "[]"},
		"the address, another model":   {route.Route{Model: other, Upstream: "http://a/v3"}, "", "[]"},
		"the first of two":             {route.Route{Model: fraud, Upstream: "http://a/v3", Replicas: to("http://a/v2")}, "fraud@3", "[{http://a/v2 1}]"},
		"beside another":               {route.Route{Model: fraud, Upstream: "http://a/v2", Replicas: to("http://a/v3", "http://b/v2", "http://b/v3")}, "", "[{http://b/v2 1}]"},
		"beside one that is not asked": {route.Route{Model: fraud, Upstream: "http://a/v2", Weight: &never, Replicas: to("http://a/v3")}, "fraud@3", "[{http://a/v3 1}]"},
		"a shadow":                     {route.Route{Model: fraud, Upstream: "http://a/v2", Shadow: "http://b/v3", ShadowRemote: "x"}, "", "[]"},
	} {
		s := route.Standing{Route: c.route}
		by := Hold(all, &s)
		if (by != nil) != (c.by != "") || s.Quarantined != (by != nil) || by != nil && by.Version.ID != c.by {
			t.Errorf("%s: barred %v by %+v", name, s.Quarantined, by)
		}
		if fmt.Sprint(s.Replicas) != c.spared || s.Shadow != "" || s.ShadowRemote != "" {
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
