package deploy

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/route"
)

// Routes are the gateway's, as far as they are steered here.
type Routes interface {
	Get(model pavise.Name) (route.Route, bool)
	Steer(ctx context.Context, c route.Course) error
	Barred(model pavise.Name) bool // it is in quarantine
}

// A Word is what a gateway of a fleet last said of the route to a model.
type Word struct {
	Gateway string
	Heard   time.Time    // when it said so
	Away    bool         // nothing was heard of it for a while: it may go on by what it had
	Refuses bool         // it refuses everything, for what it was told is too old
	Newest  bool         // it goes by the newest that gateways are told
	Route   *route.Route // what it asks; nil: it did not say
	Barred  bool         // nobody may ask the model there
}

// maxONNX bounds a model that runs in the gateway, in bytes.
const maxONNX = 32 << 20

// GatewayDriver makes targets of routes. reach returns what each gateway said of one last; nil:
// there is one gateway, and it is this process.
func GatewayDriver(routes Routes, files Files, reach func(model pavise.Name) []Word) Driver {
	return Driver{
		Parts: true, Shadows: true, First: true,
		Keys: []Setting{
			{"model", true, "the model whose route is steered: its id"},
			{"server", false, "the addresses of the servers of a version, with {version} in each where its number stands; several are separated by commas. Without it, the ONNX models of the versions run in the gateway"},
			{"file", false, "which file of a version is its ONNX model, where there are several"},
		},
		Open: func(name pavise.Name, set map[string]string) (Target, error) {
			g := &gateway{routes: routes, files: files, reach: reach, file: set["file"], model: pavise.Name{Tenant: name.Tenant, Kind: "model", ID: set["model"]}}
			if err := g.model.Validate(); err != nil {
				return nil, err
			}
			if set["server"] == "" {
				return g, nil
			}
			for pattern := range strings.SplitSeq(set["server"], ",") {
				s, err := parseServer(pattern)
				if err != nil {
					return nil, err
				}
				g.servers = append(g.servers, s)
			}
			return g, nil
		},
	}
}

// A server is where a version is served, by its number.
type server struct {
	before, behind string
	number         *regexp.Regexp
}

func parseServer(pattern string) (s server, err error) {
	before, behind, ok := strings.Cut(pattern, "{version}")
	if !ok || strings.Contains(behind, "{") {
		return s, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the address %.100q does not say where the number of a version stands", pattern), Hint: "write {version} there, once: http://fraud-v{version}.models:8000"}
	}
	s = server{before, behind, regexp.MustCompile("^" + regexp.QuoteMeta(before) + "([1-9][0-9]{0,8})" + regexp.QuoteMeta(behind) + "$")}
	return s, nil
}

// A gateway is a route that leads to versions of a model.
type gateway struct {
	routes  Routes
	files   Files
	reach   func(model pavise.Name) []Word
	model   pavise.Name
	servers []server // none: ONNX models run in the gateway
	file    string
}

// Thing implements Sole: two that steer one route undo each other.
func (g *gateway) Thing() string { return "the route to " + g.model.ID }

// Steers implements Router.
func (g *gateway) Steers() pavise.Name { return g.model }

// Addresses implements Served.
func (g *gateway) Addresses(version int) []string { return g.at(version) }

// addressed is what a version is known by that answers at addresses.
func addressed(version int) string { return fmt.Sprintf("served:version-%d", version) }

// Takes implements Target.
func (g *gateway) Takes(v Version) (string, error) {
	if len(g.servers) > 0 {
		return addressed(v.Number), nil
	}
	f, err := pick(v, g.file, ".onnx", maxONNX)
	return f.Digest, err
}

// pick finds the file of a version that a target runs: the one with a path, or the only one
// with an ending.
func pick(v Version, name, ending string, most int64) (found File, err error) {
	n := 0
	for _, f := range v.Files {
		if f.Path == name || name == "" && path.Ext(f.Path) == ending {
			found, n = f, n+1
		}
	}
	switch {
	case n != 1 && name != "":
		return found, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("version %d of %s has no file %.100q", v.Number, v.Model.ID, name), Hint: "pavise model show lists its files"}
	case n != 1:
		return found, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("version %d of %s has %d files that end in %s, not one", v.Number, v.Model.ID, n, ending), Hint: "the setting file of the target names one"}
	case found.Size > most:
		return found, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s of version %d has %d bytes, more than the %d that such a target takes", found.Path, v.Number, found.Size, most)}
	}
	return found, nil
}

// Observe implements Target.
func (g *gateway) Observe(context.Context) (State, error) {
	r, ok := g.routes.Get(g.model)
	if !ok {
		return State{}, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no route leads to %s", g.model), Hint: "put it first, with its terms: pavise route put " + g.model.ID + "; a server of a registered model is proposed, with pavise route release"}
	}
	s := g.asks(r)
	if g.routes.Barred(g.model) {
		s.Healthy, s.Problem = false, "the model is in quarantine: nobody may ask it"
	}
	if g.reach != nil && s.Healthy {
		var not []string
		for _, p := range g.parts(s) {
			if s.Of++; p.Has {
				s.Reached++
			} else {
				not = append(not, p.Gateway)
			}
		}
		if s.Reached < s.Of {
			s.Healthy, s.Problem = false, fmt.Sprintf("%d of %d gateways have it; not yet: %s", s.Reached, s.Of, strings.Join(not[:min(len(not), 8)], ", "))
		}
	}
	return s, nil
}

// asks says what a route asks.
func (g *gateway) asks(r route.Route) State {
	s := State{Main: r.ONNX, Healthy: true}
	if r.ONNX == "" {
		s = g.shares(r)
	} else {
		s.Beside, s.Weight = versions(r)
	}
	if s.Shadow = r.Shadow != "" || r.ShadowONNX != ""; s.Shadow { // who hears the calls is seen behind a canary, too
		s.Beside = cmp.Or(r.ShadowONNX, g.version(r.Shadow))
	}
	return s
}

// Parts implements Spread.
func (g *gateway) Parts() []Part {
	r, ok := g.routes.Get(g.model)
	if !ok || g.reach == nil {
		return nil
	}
	return g.parts(g.asks(r))
}

// parts says of each gateway what it last said that it asks, and whether that is what the route
// here says. One that does not say what it asks is taken at its word that it goes by the newest.
func (g *gateway) parts(here State) (all []Part) {
	for _, w := range g.reach(g.model) {
		p := Part{Gateway: w.Gateway, Heard: w.Heard, Away: w.Away, Refuses: w.Refuses, Barred: w.Barred, Has: w.Newest}
		if w.Route != nil {
			asks := g.asks(*w.Route)
			p.Main, p.Beside, p.Weight, p.Shadow = asks.Main, asks.Beside, asks.Weight, asks.Shadow
			p.Has = p.Main == here.Main && p.Beside == here.Beside && p.Weight == here.Weight && p.Shadow == here.Shadow && !p.Barred
		}
		p.Has = p.Has && !p.Away && !p.Refuses
		all = append(all, p)
	}
	return all
}

// versions says which ONNX model answers beside a route's own, and how many in a hundred
// calls. Of several it is the last, which nobody released.
func versions(r route.Route) (beside string, weight int) {
	if len(r.Versions) < 2 {
		return "", 0
	}
	all := 0
	for _, v := range r.Versions {
		all += v.Weight
	}
	last := r.Versions[len(r.Versions)-1]
	return last.ONNX, (last.Weight*100 + all/2) / max(all, 1)
}

// shares says which versions answer at the servers of a route, and for which part.
func (g *gateway) shares(r route.Route) State {
	s := State{Main: g.version(r.Upstream), Healthy: true, Unproven: "the addresses say which version answers there: nobody has looked at its digest"}
	first := 1
	if r.Weight != nil {
		first = *r.Weight
	}
	all, aside := first, 0
	for _, replica := range r.Replicas {
		all += replica.Weight
		switch v := g.version(replica.URL); {
		case v == s.Main:
		case s.Beside == "" || v == s.Beside:
			s.Beside = v
			aside += replica.Weight
		default: // a third one
			s.Beside = replica.URL
		}
	}
	if all > 0 {
		s.Weight = (aside*100 + all/2) / all
	}
	return s
}

// version is which version answers at an address; of an address that is none of ours, the
// address.
func (g *gateway) version(url string) string {
	for _, s := range g.servers {
		if m := s.number.FindStringSubmatch(url); m != nil {
			n, _ := strconv.Atoi(m[1]) // nine digits at most
			return addressed(n)
		}
	}
	return url
}

// at are the addresses of a version.
func (g *gateway) at(version int) (urls []string) {
	for _, s := range g.servers {
		urls = append(urls, s.before+strconv.Itoa(version)+s.behind)
	}
	return urls
}

// Apply implements Target.
func (g *gateway) Apply(ctx context.Context, d Desired) error {
	c := route.Course{Model: g.model, Safe: d.Safe}
	switch {
	case d.Main == nil:
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the route to %s cannot lead nowhere", g.model.ID), Hint: "pavise route quarantine lets nobody ask it"}
	case len(g.servers) == 0:
		return g.runs(ctx, d, c)
	}
	main, aside := 1, 0
	if d.Weight > 0 {
		main, aside = 100-d.Weight, d.Weight
	}
	for _, url := range g.at(d.Main.Number) {
		c.Servers = append(c.Servers, route.Replica{URL: url, Weight: main})
	}
	if d.Beside != nil && d.Shadow {
		c.Shadow = g.at(d.Beside.Number)[0]
	} else if d.Beside != nil {
		for _, url := range g.at(d.Beside.Number) {
			c.Servers = append(c.Servers, route.Replica{URL: url, Weight: aside})
		}
	}
	return g.routes.Steer(ctx, c)
}

// runs has the ONNX models of the versions run in the gateway.
func (g *gateway) runs(ctx context.Context, d Desired, c route.Course) error {
	fetch := func(v *Version) (string, func(context.Context) ([]byte, error), error) {
		f, err := pick(*v, g.file, ".onnx", maxONNX)
		return f.Digest, func(ctx context.Context) ([]byte, error) { return Fetch(ctx, g.files, v.Model.Tenant, f) }, err
	}
	var err error
	if c.Digest, c.ONNX, err = fetch(d.Main); err != nil {
		return err
	}
	if d.Beside != nil {
		if c.Beside, c.BesideONNX, err = fetch(d.Beside); err != nil {
			return err
		}
		if !d.Shadow {
			c.Weight = d.Weight
		}
	}
	return g.routes.Steer(ctx, c)
}
