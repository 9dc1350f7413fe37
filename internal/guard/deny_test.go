package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// tallies returns the notes that count refusals, by source and reason.
func tallies(t *testing.T, log *fakeLog) map[string]uint64 {
	t.Helper()
	found := map[string]uint64{}
	for _, r := range log.records {
		if r.Kind != noteRefused {
			continue
		}
		var detail tally
		if err := json.Unmarshal(r.Detail, &detail); err != nil {
			t.Fatal(err)
		}
		found[detail.Source+" "+detail.Reason] += detail.Count
	}
	return found
}

// TestDenialsCannotFillTheDisk: a principal without permission is recorded one
// by one at first, then counted, and answered the same throughout. Another's
// denials are still recorded, and its own again a second later.
func TestDenialsCannotFillTheDisk(t *testing.T) {
	now := epoch
	foreign := analyst
	foreign.Tenant = "acme"
	improper := pavise.Principal{Tenant: "local", Kind: "god", ID: "ze us"}
	for _, test := range []struct {
		what   string
		who    pavise.Principal
		verb   string
		on     pavise.Name
		kind   pavise.Kind
		source string
		reason string
	}{
		{"pooled verb", analyst, "model.infer", model, pavise.Denied, "local/human/ana", "model.infer on local/model/threat-detector: no policy permits it"},
		{"control verb", analyst, "route.put", route, pavise.Denied, "local/human/ana", "route.put on local/route/main: no policy permits it"},
		{"stranger from another tenant", foreign, "model.infer", model, pavise.Denied, "acme/human/ana", "model.infer on local/model/threat-detector: denied by policy guardrail/tenant-isolation"},
		{"verb on the wrong kind", operator, "route.put", model, pavise.Denied, "local/human/olga", "route.put on local/model/threat-detector: the verb does not apply to it"},
		{"unknown verb", operator, strings.Repeat("x", 1<<16), model, pavise.Internal, "local/human/olga", strings.Repeat("x", 40) + " on local/model/threat-detector: no such verb"},
		{"zero name", operator, "route.put", pavise.Name{}, pavise.Denied, "local/human/olga", "route.put on a thing without a name: the thing has no proper name"},
		{"endless name", operator, "route.put", pavise.Name{Tenant: strings.Repeat("t", 1<<16)}, pavise.Denied, "local/human/olga", "route.put on " + strings.Repeat("t", 160) + ": the thing"},
		{"improper principal", improper, "route.put", route, pavise.Denied, "callers without a proper name", "route.put on local/route/main: the caller has no proper name"},
	} {
		t.Run(test.what, func(t *testing.T) {
			g, log := newGuard(t, func(c *Config) { c.Now = func() time.Time { return now } })
			const knocks = 500
			said := ""
			for i := range knocks {
				_, err := g.Enter(t.Context(), test.who, test.verb, test.on)
				e, ok := errors.AsType[*pavise.Error](err)
				if !ok || e.Kind != test.kind || said != "" && e.Msg+e.Hint != said {
					t.Fatalf("refusal %d: %v, want one of kind %v like those before", i+1, err, test.kind)
				}
				said = e.Msg + e.Hint
				if _, named := errors.AsType[*Denial](err); named != (i < patience) {
					t.Fatalf("refusal %d names a record: %v", i+1, named)
				}
			}
			if log.Size() != patience {
				t.Fatalf("%d of %d refusals are recorded one by one, want %d", log.Size(), knocks, patience)
			}
			other := analyst
			other.ID = "bob"
			if _, err := g.Enter(t.Context(), other, "model.infer", model); log.Size() != patience+1 {
				t.Errorf("another pays for the first: %v", err)
			}
			if err := g.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			found := tallies(t, log)
			for k, n := range found {
				if len(found) != 1 || n != knocks-patience || !strings.HasPrefix(k, test.source+" "+test.reason) {
					t.Errorf("counted %d of %q", n, k)
				}
			}
			if r := log.last(t); len(found) != 1 || r.Tenant != "local" {
				t.Errorf("counted in %d notes, the last %+v", len(found), r)
			}
			now = now.Add(time.Second)
			before := log.Size()
			if _, err := g.Enter(t.Context(), test.who, test.verb, test.on); log.Size() != before+1 {
				t.Errorf("a second later it is not recorded again: %v", err)
			}
		})
	}
}

// TestDeniedOverManyThings: who varies the thing, so that no two refusals are
// the same, gets a few notes a second, and no count is lost. Neither do the
// notes of others suffer.
func TestDeniedOverManyThings(t *testing.T) {
	g, log := newGuard(t, nil)
	const knocks = 10_000
	for i := range knocks {
		on := pavise.Name{Tenant: fmt.Sprint("victim", i%7), Kind: "model", ID: fmt.Sprint("m", i)}
		if _, err := g.Enter(t.Context(), analyst, "model.infer", on); pavise.KindOf(err) != pavise.Denied {
			t.Fatal(err)
		}
	}
	g.Refuse("192.0.2.1", "expired")
	if err := g.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := log.Size(); n > patience+maxPerSource+2 {
		t.Fatalf("%d records in a second", n)
	}
	if !strings.Contains(string(log.last(t).Detail), `"source":"192.0.2.1","reason":"expired","count":1`) {
		t.Errorf("a stranger's refusal was recorded as %s", log.last(t).Detail)
	}
	total := uint64(0)
	for _, n := range tallies(t, log) {
		total += n
	}
	if total != knocks-patience {
		t.Errorf("%d refusals are counted, want %d", total, knocks-patience)
	}
}

// TestDeniedPrincipalsAreBounded: however many principals are denied, so many
// are remembered, and what they did is counted all the same.
func TestDeniedPrincipalsAreBounded(t *testing.T) {
	g, log := newGuard(t, nil)
	const knocks = 3 * maxSources
	for i := range knocks {
		who := analyst
		who.ID = fmt.Sprint("ana", i)
		if _, err := g.Enter(t.Context(), who, "model.infer", model); pavise.KindOf(err) != pavise.Denied {
			t.Fatal(err)
		}
	}
	if n := len(g.denials.counts); n > maxSources+1 {
		t.Errorf("%d principals are remembered", n)
	}
	recorded := log.Size()
	if err := g.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	total := recorded
	for _, n := range tallies(t, log) {
		total += n
	}
	if total != knocks || recorded > maxSources+patience {
		t.Errorf("%d recorded, and with those counted %d, want %d", recorded, total, knocks)
	}
}

// TestAttempt refuses what no policy could have permitted, with that reason and what was
// attempted in the record; beyond what is recorded one by one the caller gets the reason
// all the same. Whoever is let in begins as by any Enter.
func TestAttempt(t *testing.T) {
	g, log := newGuard(t, nil)
	a := Attempt{Detail: map[string]string{"path": "/x"}, Check: "profile", Why: &pavise.Error{Kind: pavise.NotFound, Msg: "/x is no route", Hint: "none"}}
	for range patience + 2 {
		if _, err := a.Enter(t.Context(), g, analyst, "model.infer", model); pavise.KindOf(err) != pavise.NotFound || !strings.Contains(err.Error(), "/x is no route") {
			t.Fatal(err)
		}
	}
	r := log.records[0]
	if string(r.Detail) != `{"path":"/x"}` || r.Outcome != pavise.Deny || r.Error.Msg != "/x is no route" || len(r.Verdicts) != 2 || r.Verdicts[0].Check != "profile" || r.Verdicts[1].Check != checkPolicy {
		t.Errorf("the record is %+v, %s", r, r.Detail)
	}
	e, err := a.Enter(t.Context(), g, caller, "model.infer", model)
	if err != nil {
		t.Fatal(err)
	}
	if e.Exit(&err); len(log.records[len(log.records)-1].Detail) > 0 || err != nil {
		t.Errorf("%v, a detail that nobody set: %s", err, log.records[len(log.records)-1].Detail)
	}
}

// TestHintAcrossTenants does not send somebody to policy explain where no policy helps.
func TestHintAcrossTenants(t *testing.T) {
	g, _ := newGuard(t, nil)
	_, err := g.Enter(t.Context(), caller, "model.infer", pavise.Name{Tenant: "rival", Kind: "model", ID: "m"})
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok || e.Kind != pavise.Denied || strings.Contains(e.Hint, "policy explain") || !strings.Contains(e.Hint, "across tenants") {
		t.Errorf("%+v", e)
	}
	_, err = g.Enter(t.Context(), analyst, "model.infer", model)
	if e, ok := errors.AsType[*pavise.Error](err); !ok || !strings.Contains(e.Hint, "policy explain") {
		t.Errorf("%+v", e)
	}
}
