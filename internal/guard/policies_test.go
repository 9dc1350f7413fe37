package guard

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// openStore opens a store in a file that lives as long as the test.
func openStore(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// amender is the operator as whom an approved change acts.
var amender = changing(operator)

// changing is somebody as whom an approved change acts.
func changing(who pavise.Principal) pavise.Principal {
	who.Change = approvedChange
	return who
}

// approvedChange is the change that approvedOnly knows.
var approvedChange = pavise.Name{Tenant: "local", Kind: "change", ID: "c-1"}

func approvedOnly(change pavise.Name, _ string, _ pavise.Name) bool { return change == approvedChange }

// newPolicies returns the seeded policies of tenant local.
func newPolicies(t *testing.T) (*Policies, *Guard, *fakeLog) {
	t.Helper()
	log := &fakeLog{}
	g, err := New(Config{Actions: testActions(), Log: log, DemoIssuer: "pavise-local", Approved: approvedOnly})
	if err != nil {
		t.Fatal(err)
	}
	db := openStore(t, filepath.Join(t.TempDir(), "db"))
	t.Cleanup(func() { db.Close() })
	p, err := OpenPolicies(t.Context(), g, db)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Seed(t.Context(), "local", Defaults()); err != nil {
		t.Fatal(err)
	}
	return p, g, log
}

func TestPutTakesEffect(t *testing.T) {
	p, g, log := newPolicies(t)
	if n := len(Defaults()); len(log.records) != n || log.last(t).Kind != "policy.seeded" || log.hows[n-1] != ledger.Durable {
		t.Fatalf("seeding left %d records, the last %+v", len(log.records), log.last(t))
	}
	if _, err := g.Enter(t.Context(), analyst, "model.infer", model); pavise.KindOf(err) != pavise.Denied {
		t.Fatalf("before: %v", err)
	}
	before := g.Digest("local")
	const text = `permit (principal in Role::"analyst", action == Action::"model.infer", resource);`
	if err := p.Put(t.Context(), amender, "local", "ana-too", text, nil); err != nil {
		t.Fatal(err)
	}
	r := log.last(t)
	if r.Phase != record.Exit || r.Error != nil || !strings.Contains(string(r.Detail), before) || !strings.Contains(string(r.Detail), g.Digest("local")) {
		t.Errorf("recorded as %+v", r)
	}
	if _, err := g.Enter(t.Context(), analyst, "model.infer", model); err != nil {
		t.Errorf("after: %v", err)
	}
	if err := p.Delete(t.Context(), amender, "local", "ana-too", nil); err != nil || g.Digest("local") != before {
		t.Errorf("deleting: %v, digest %s, want %s", err, g.Digest("local"), before)
	}
	if err := p.Delete(t.Context(), amender, "local", "ana-too", nil); pavise.KindOf(err) != pavise.NotFound || err == nil {
		t.Errorf("deleting twice: %v", err)
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	const all = `permit (principal, action, resource);`
	for what, test := range map[string]struct {
		act  func(p *Policies) error
		kind pavise.Kind
	}{
		"analyst puts": {func(p *Policies) error { return p.Put(t.Context(), changing(analyst), "local", "x", all, nil) }, pavise.Denied},
		"program puts": {func(p *Policies) error {
			program := amender
			program.Kind = pavise.Workload
			return p.Put(t.Context(), program, "local", "x", all, nil)
		}, pavise.Denied},
		"other tenant's": {func(p *Policies) error { return p.Put(t.Context(), amender, "acme", "x", all, nil) }, pavise.Denied},
		"bad id":         {func(p *Policies) error { return p.Put(t.Context(), amender, "local", `x", y`, all, nil) }, pavise.Denied},
		"no Cedar":       {func(p *Policies) error { return p.Put(t.Context(), amender, "local", "x", "let me in", nil) }, pavise.Invalid},
		"huge": {func(p *Policies) error {
			return p.Put(t.Context(), amender, "local", "x", strings.Repeat(" ", 1<<20), nil)
		}, pavise.Invalid},
		"lock out by delete": {func(p *Policies) error { return p.Delete(t.Context(), amender, "local", "operator-runs", nil) }, pavise.Conflict},
		"lock out by forbid": {func(p *Policies) error {
			return p.Put(t.Context(), amender, "local", "x", `forbid (principal, action == Action::"policy.put", resource);`, nil)
		}, pavise.Conflict},
		"lock out by narrowing": {func(p *Policies) error {
			return p.Put(t.Context(), amender, "local", "operator-runs", `permit (principal is Workload in Role::"operator", action, resource);`, nil)
		}, pavise.Conflict},
		"seed twice": {func(p *Policies) error { return p.Seed(t.Context(), "local", Defaults()) }, pavise.Conflict},
		"seed a lock-out": {func(p *Policies) error {
			return p.Seed(t.Context(), "acme", map[string]string{"x": `permit (principal in Role::"caller", action in Action::"pooled", resource);`})
		}, pavise.Conflict},
	} {
		p, g, log := newPolicies(t)
		before := g.Digest("local")
		err := test.act(p)
		if err == nil || pavise.KindOf(err) != test.kind {
			t.Errorf("%s: error %v, want kind %v", what, err, test.kind)
		}
		if e, _ := errors.AsType[*pavise.Error](err); e != nil && e.Hint == "" {
			t.Errorf("%s: %q has no hint", what, e.Msg)
		}
		if g.Digest("local") != before || len(listed(t, p)) != len(Defaults()) {
			t.Errorf("%s: refused, and yet something changed", what)
		}
		if left := leftOpen(t, log.records); len(left) > 0 {
			t.Errorf("%s: left open %d", what, left)
		}
	}
}

// listed returns the stored policies as an operator sees them.
func listed(t *testing.T, p *Policies) []TenantPolicy {
	t.Helper()
	policies, err := p.List(t.Context(), amender, "local")
	if err != nil {
		t.Fatal(err)
	}
	return policies
}

// TestChangesAtOnce: whatever the order, the guard ends with what is stored.
func TestChangesAtOnce(t *testing.T) {
	p, g, _ := newPolicies(t)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			if err := p.Put(t.Context(), amender, "local", fmt.Sprint("p", i), `permit (principal in Role::"analyst", action == Action::"model.infer", resource);`, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	stored := map[string]string{}
	for _, policy := range listed(t, p) {
		stored[policy.ID] = policy.Text
	}
	if len(stored) != 16+len(Defaults()) || g.Digest("local") != policy.Digest(stored) {
		t.Errorf("%d policies are stored, with digest %s; in force is %s", len(stored), policy.Digest(stored), g.Digest("local"))
	}
}

// TestOneOperatorMayRemain: a policy for a named person keeps the way open.
func TestOneOperatorMayRemain(t *testing.T) {
	p, _, _ := newPolicies(t)
	if err := p.Put(t.Context(), amender, "local", "olga", `permit (principal == Human::"olga", action in [Action::"policy", Action::"change"], resource);`, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Delete(t.Context(), amender, "local", "operator-runs", nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Delete(t.Context(), amender, "local", "olga", nil); pavise.KindOf(err) != pavise.Conflict || err == nil {
		t.Errorf("removing the last way: %v", err)
	}
}

func TestPoliciesOutliveTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	open := func(actions []Action) (*Policies, *Guard, error) {
		g, err := New(Config{Actions: actions, Log: &fakeLog{}, Approved: approvedOnly})
		if err != nil {
			t.Fatal(err)
		}
		db := openStore(t, path)
		t.Cleanup(func() { db.Close() })
		p, err := OpenPolicies(t.Context(), g, db)
		return p, g, err
	}
	p, g, err := open(testActions())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Seed(t.Context(), "local", Defaults()); err != nil {
		t.Fatal(err)
	}
	if err := p.Put(t.Context(), amender, "local", "x", `forbid (principal, action == Action::"route.put", resource);`, nil); err != nil {
		t.Fatal(err)
	}
	want := g.Digest("local")
	p.db.Close()
	if p, g, err = open(testActions()); err != nil || g.Digest("local") != want {
		t.Errorf("reopened: error %v, digest %s, want %s", err, g.Digest("local"), want)
	}
	p.db.Close()

	// A build that no longer knows a verb leaves the tenant closed and says so.
	p, g, err = open([]Action{{Verb: "ledger.read", On: []string{"ledger"}}})
	if err == nil || !strings.Contains(err.Error(), "tenant local stays closed") || p == nil {
		t.Errorf("error %v", err)
	}
	if _, err := g.Enter(t.Context(), caller, "model.infer", model); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("closed tenant: %v", err)
	}
}

// TestChangeThatCannotBeRecorded: what cannot be written down does not happen.
func TestChangeThatCannotBeRecorded(t *testing.T) {
	p, g, log := newPolicies(t)
	before := g.Digest("local")
	log.fail = func(*record.Record) error { return errors.New("disk full") }
	err := p.Put(t.Context(), amender, "local", "x", `permit (principal, action, resource);`, nil)
	if pavise.KindOf(err) != pavise.Unavailable || g.Digest("local") != before {
		t.Errorf("error %v", err)
	}
	if err := p.Seed(t.Context(), "acme", Defaults()); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("seeding: %v", err)
	}
	log.fail = nil
	if n := len(listed(t, p)); n != len(Defaults()) {
		t.Errorf("%d policies stored, want %d", n, len(Defaults()))
	}
}

// TestRenew opens an installation of an earlier build, and one whose operator had
// touched a policy: the first gets the new defaults, with a note of each; what was
// touched stays, and so does all else.
func TestRenew(t *testing.T) {
	for name, touched := range map[string]bool{"untouched": false, "touched": true} {
		t.Run(name, func(t *testing.T) {
			p, g, log := newPolicies(t)
			old := map[string]string{}
			for _, r := range slices.Backward(policy.Former()) { // the oldest of each counts
				old[r.ID] = r.Text
			}
			if touched {
				old["operator-runs"] += "\n// ours"
			}
			if err := p.db.Update(t.Context(), func(tx *store.Tx) error { return write(tx, "local", Defaults(), old) }); err != nil {
				t.Fatal(err)
			}
			renewals := len(Defaults()) // three were other policies, the rest are new
			before, want, kind := len(log.records), Defaults(), pavise.Internal
			if touched {
				want, kind = old, pavise.Conflict
			}
			for range 2 { // and the second time there is nothing to do
				if err := p.Renew(t.Context(), "local"); touched != (err != nil) || err != nil && pavise.KindOf(err) != kind {
					t.Fatal(err)
				}
			}
			if err := g.Load("local", want); err != nil {
				t.Fatal(err)
			}
			have := map[string]string{}
			all, err := p.List(t.Context(), operator, "local")
			for _, p := range all {
				have[p.ID] = p.Text
			}
			if err != nil || !maps.Equal(have, want) {
				t.Errorf("the policies are %v, %v", have, err)
			}
			notes := 0
			for _, r := range log.records[before:] {
				if r.Kind == "policy.renewed" {
					notes++
				}
			}
			if !touched && notes != renewals {
				t.Errorf("%d notes, want %d", notes, renewals)
			}
		})
	}
}
