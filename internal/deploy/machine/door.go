package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/store"
)

// The verbs of machines at the edge.
const (
	verbPull   = "target.pull"
	verbReport = "target.report"
)

// Path is below which a machine fetches its orders and reports: the id of the target
// comes behind it.
const Path = "/v1/edge/"

// maxReport bounds a report, and maxProblem what it says is wrong, in bytes.
const (
	maxReport  = 16 << 10
	maxProblem = 500
)

// NewDoor serves GET /v1/edge/{target}/v1/bundle, the parts of files below it, and POST
// /v1/edge/{target}/report, to the one agent that each target names. admit says who calls,
// and refuse writes why a request came to nothing. Which parts are fetched is recorded, and
// what is reported whenever it is something else; that somebody waits for orders is not.
func (e *Machines) NewDoor(admit func(*http.Request) (pavise.Principal, error), refuse func(http.ResponseWriter, error)) http.Handler {
	mux := http.NewServeMux()
	door := func(verb string, serve func(http.ResponseWriter, *http.Request, pavise.Principal, *machine) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			who, err := admit(r)
			if err != nil {
				if pavise.KindOf(err) == pavise.Unverified {
					w.Header().Set("WWW-Authenticate", identity.Challenge(err))
				}
				refuse(w, err)
				return
			}
			at, err := e.agentOf(r.Context(), who, verb, pavise.Name{Tenant: who.Tenant, Kind: deploy.KindTarget, ID: r.PathValue("target")})
			if err == nil {
				err = serve(w, r, who, at)
			}
			if err != nil {
				refuse(w, err)
			}
		}
	}
	mux.Handle("GET "+Path+"{target}/v1/bundle", door(verbPull, func(w http.ResponseWriter, r *http.Request, _ pavise.Principal, at *machine) error {
		return at.serve(w, r)
	}))
	mux.Handle("GET "+Path+"{target}/v1/bundle/blob/{digest}", door(verbPull, func(w http.ResponseWriter, r *http.Request, who pavise.Principal, at *machine) (err error) {
		entry, err := e.cfg.Guard.Enter(r.Context(), who, verbPull, at.name)
		if err != nil {
			return err
		}
		defer entry.Exit(&err)
		entry.Detail(map[string]string{"part": r.PathValue("digest")})
		return at.serve(w, r)
	}))
	mux.Handle("POST "+Path+"{target}/report", door(verbReport, func(w http.ResponseWriter, r *http.Request, who pavise.Principal, at *machine) error {
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
		if err != nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: "the report broke off, or is too long", Err: err}
		}
		if err := at.take(r.Context(), who, text); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}))
	return mux
}

// agentOf returns a target at the edge, to its agent alone. A refusal is recorded.
func (e *Machines) agentOf(ctx context.Context, who pavise.Principal, verb string, name pavise.Name) (at *machine, err error) {
	if err := name.Validate(); err != nil {
		return nil, err
	}
	if !e.cfg.Guard.May(who, verb, name) {
		return nil, e.refused(ctx, who, verb, name, &pavise.Error{Kind: pavise.Unavailable, Msg: "ask again"}) // unless policies changed in between
	}
	var p *deploy.Place
	if err := e.cfg.Store.View(ctx, func(tx *store.Tx) (err error) { p, err = deploy.PlaceOf(tx, name); return err }); err != nil {
		return nil, err
	}
	if p.Kind == "edge" {
		t, err := e.Driver().Open(name, p.Settings)
		if err != nil {
			return nil, err
		}
		at = t.(*machine)
	}
	if at == nil || at.agent != who.Name() {
		return nil, e.refused(ctx, who, verb, name, &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s is not the agent of %s", who.Name(), name.ID), Hint: "pavise target show " + name.ID + " says who is"})
	}
	return at, nil
}

// refused records a refusal, and returns it: the guard's own, or why somebody is refused whom
// the guard would let in.
func (e *Machines) refused(ctx context.Context, who pavise.Principal, verb string, name pavise.Name, why error) error {
	entry, err := e.cfg.Guard.Enter(ctx, who, verb, name)
	if err != nil {
		return err
	}
	err = why
	entry.Exit(&err)
	return err
}

// serve serves what the publisher of the target does.
func (e *machine) serve(w http.ResponseWriter, r *http.Request) error {
	p, err := e.publisher()
	if err != nil {
		return err
	}
	if p.Serial() == 0 {
		if _, err := p.Publish(r.Context()); err != nil {
			return err
		}
	}
	http.StripPrefix(Path+e.name.ID, p.Handler()).ServeHTTP(w, r)
	return nil
}

// take takes a report. It is kept, and recorded, if it is another than the last.
func (e *machine) take(ctx context.Context, who pavise.Principal, text []byte) (err error) {
	r, err := plainjson.ReadKnown[Report](text)
	if err != nil || r.Target != e.name || !spelled(r.Running) || !spelled(r.Before) {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "this is no report of " + e.name.ID, Err: err}
	}
	r.Problem = r.Problem[:min(len(r.Problem), maxProblem)]
	now := e.cfg.Now().UTC()
	e.mu.Lock()
	e.heard[e.name] = now
	e.mu.Unlock()
	k, err := e.read(ctx)
	if err != nil {
		return err
	}
	if k.Report != nil && sameReport(*k.Report, r) {
		return nil
	}
	entry, err := e.cfg.Guard.Enter(ctx, who, verbReport, e.name)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	entry.Detail(r)
	return e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var k kept
		if _, err := deploy.Recall(tx, e.name, &k); err != nil {
			return err
		}
		k.Report, k.At = &r, now
		return deploy.Remember(tx, e.name, k)
	})
}

// spelled reports whether a text could be a digest that a machine says it runs: it stands in
// findings, and on screens.
func spelled(digest string) bool {
	return len(digest) <= 100 && !strings.ContainsFunc(digest, func(c rune) bool { return c <= ' ' || c > '~' })
}

// sameReport reports whether two say the same.
func sameReport(a, b Report) bool {
	one, _ := json.Marshal(a)
	other, _ := json.Marshal(b)
	return string(one) == string(other)
}
