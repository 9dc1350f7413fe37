package guard

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
)

// newGrants returns grants over a clock that the test sets.
func newGrants(t *testing.T, now *time.Time) (*Grants, *Guard, *fakeLog) {
	t.Helper()
	g, log := newGuard(t, func(c *Config) { c.Now = func() time.Time { return *now } })
	db := openStore(t, filepath.Join(t.TempDir(), "db"))
	t.Cleanup(func() { db.Close() })
	s, err := OpenGrants(t.Context(), g, db)
	if err != nil {
		t.Fatal(err)
	}
	return s, g, log
}

// ana is somebody whom the issuer knows and gave no role.
var ana = pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ana", Issuer: "https://issuer.example"}

// grantTo names the grant of a role to ana.
func grantTo(t *testing.T, who pavise.Principal, role string) pavise.Name {
	t.Helper()
	name, err := GrantName(who.Name(), role)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// TestGrantCountsForItsTime: a role that was granted lets somebody do what it permits,
// from the next request on, until its time is up or it is taken back; the record says
// by which grant, and the decision can be computed again from it.
func TestGrantCountsForItsTime(t *testing.T) {
	now := epoch
	s, g, log := newGrants(t, &now)
	dataset := pavise.Name{Tenant: "local", Kind: "dataset", ID: "may"}
	may := func(who pavise.Principal) bool {
		e, err := g.Enter(t.Context(), who, "dataset.read", dataset)
		if err == nil {
			e.Exit(&err)
		}
		return err == nil
	}
	if may(ana) {
		t.Fatal("ana may without a role")
	}
	name := grantTo(t, ana, "labeler")
	if err := s.Give(t.Context(), amender, name, GrantSpec{Minutes: 30, Reason: "May data"}, nil); err != nil {
		t.Fatal(err)
	}
	given := log.last(t)
	if given.Kind != policy.VerbGive || given.Phase != record.Exit || !strings.Contains(string(given.Detail), "May data") || !strings.Contains(string(given.Detail), approvedChange.String()) {
		t.Errorf("recorded as %+v", given)
	}
	if !may(ana) {
		t.Fatal("ana may not with the grant")
	}
	r := log.last(t)
	if i := slices.IndexFunc(r.Verdicts, func(v pavise.Verdict) bool { return v.Check == checkGrant }); i < 0 || r.Verdicts[i].Reason != name.String() {
		t.Errorf("the record says %+v", r.Verdicts)
	}
	if x := g.ExplainRecord(t.Context(), r, nil); x.Status != Recomputed || !slices.Equal(x.Granted, []string{"labeler"}) {
		t.Errorf("explained as %+v", x)
	}
	minted := ana
	minted.By = operator.Name()
	if may(minted) {
		t.Error("an identity that an operator had made uses ana's grant")
	}
	now = now.Add(30*time.Minute - time.Second)
	if !may(ana) {
		t.Error("the grant ended early")
	}
	now = now.Add(time.Second)
	if may(ana) || len(g.Held("local")) != 0 {
		t.Error("the grant outlives its time")
	}
	if x := g.ExplainRecord(t.Context(), r, nil); x.Status != Recomputed {
		t.Errorf("afterwards explained as %+v", x)
	}
	if err := s.Give(t.Context(), amender, name, GrantSpec{Minutes: 30}, nil); err != nil || !may(ana) {
		t.Fatalf("given again: %v", err)
	}
	if err := s.Revoke(t.Context(), operator, name); err != nil || may(ana) {
		t.Errorf("revoked: %v", err)
	}
	if err := s.Revoke(t.Context(), operator, name); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("revoked twice: %v", err)
	}
}

// TestGrantsThatAreRefused tries grants that nobody should get.
func TestGrantsThatAreRefused(t *testing.T) {
	now := epoch
	s, g, _ := newGrants(t, &now)
	if err := s.Give(t.Context(), amender, grantTo(t, ana, "model-approver"), GrantSpec{Minutes: 60}, nil); err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		name    pavise.Name
		minutes int
		kind    pavise.Kind
	}{
		"a role that checks the other": {grantTo(t, ana, "publisher"), 60, pavise.Conflict},
		"a role that no policy knows":  {grantTo(t, ana, "emperor"), 60, pavise.NotFound},
		"for ever":                     {grantTo(t, ana, "labeler"), 91 * 24 * 60, pavise.Invalid},
		"longer than numbers go":       {grantTo(t, ana, "labeler"), 1 << 62, pavise.Invalid},
		"for no time":                  {grantTo(t, ana, "labeler"), 0, pavise.Invalid},
		"a name of another form":       {pavise.Name{Tenant: "local", Kind: "grant", ID: "labeler"}, 60, pavise.Invalid},
		"to a model":                   {pavise.Name{Tenant: "local", Kind: "grant", ID: "labeler@model:x"}, 60, pavise.Invalid},
	} {
		if err := s.Give(t.Context(), amender, test.name, GrantSpec{Minutes: test.minutes}, nil); pavise.KindOf(err) != test.kind {
			t.Errorf("%s: %v", what, err)
		}
	}
	if held := g.Held("local"); len(held) != 1 {
		t.Errorf("held: %+v", held)
	}
	for what, who := range map[string]pavise.Principal{"as no change": operator, "a program": bot(amender)} {
		if err := s.Give(t.Context(), who, grantTo(t, ana, "labeler"), GrantSpec{Minutes: 60}, nil); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// bot is a program that acts as the same change.
func bot(who pavise.Principal) pavise.Principal {
	who.Kind = pavise.Workload
	return who
}

// TestConflictingRolesBarEverything: who holds two roles that check each other, by
// whatever way, changes nothing until one is gone.
func TestConflictingRolesBarEverything(t *testing.T) {
	now := epoch
	s, g, log := newGrants(t, &now)
	publisher := ana
	publisher.Roles = []string{"publisher"} // says the issuer
	if err := s.Give(t.Context(), amender, grantTo(t, ana, "model-approver"), GrantSpec{Minutes: 60}, nil); err != nil {
		t.Fatal(err)
	}
	model := pavise.Name{Tenant: "local", Kind: "model", ID: "fraud"}
	_, err := g.Enter(t.Context(), publisher, "model.approve", model)
	denial, ok := errors.AsType[*Denial](err)
	if !ok || !slices.Contains(denial.Policies, "guardrail/conflicting-roles") {
		t.Errorf("%v; recorded as %+v", err, log.last(t))
	}
}

// TestGrantBesideARoleOfTheirIssuer is refused for somebody who was seen with a role that
// it would check; and who holds both all the same can take one back.
func TestGrantBesideARoleOfTheirIssuer(t *testing.T) {
	now := epoch
	s, g, _ := newGrants(t, &now)
	if e, err := g.Enter(t.Context(), operator, "route.list", route); err == nil {
		e.Exit(&err)
	}
	err := s.Give(t.Context(), amender, grantTo(t, operator, "auditor"), GrantSpec{Minutes: 60}, nil)
	if pavise.KindOf(err) != pavise.Conflict {
		t.Fatalf("an operator becomes an auditor: %v", err)
	}
	name := grantTo(t, ana, "auditor")
	if err := s.Give(t.Context(), amender, name, GrantSpec{Minutes: 60}, nil); err != nil {
		t.Fatal(err)
	}
	both := ana
	both.Roles = []string{"operator"}
	if _, err := g.Enter(t.Context(), both, "route.put", route); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("both roles: %v", err)
	}
	if err := s.Revoke(t.Context(), both, name); err != nil {
		t.Errorf("taking one back: %v", err)
	}
}

// TestGrantsOutliveTheProcess opens the store again.
func TestGrantsOutliveTheProcess(t *testing.T) {
	now := epoch
	s, g, _ := newGrants(t, &now)
	if err := s.Give(t.Context(), amender, grantTo(t, ana, "labeler"), GrantSpec{Minutes: 60, Reason: "r"}, nil); err != nil {
		t.Fatal(err)
	}
	want := g.Held("local")
	again, _ := newGuard(t, func(c *Config) { c.Now = func() time.Time { return now } })
	if _, err := OpenGrants(t.Context(), again, s.db); err != nil {
		t.Fatal(err)
	}
	if got := again.Held("local"); !slices.Equal(got, want) || len(got) != 1 {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestARevocationThatNobodyWaitsFor: wherever the caller goes away, what is in force is
// what the table holds.
func TestARevocationThatNobodyWaitsFor(t *testing.T) {
	now, tick := epoch, func() {}
	g, _ := newGuard(t, func(c *Config) { c.Now = func() time.Time { tick(); return now } })
	db := openStore(t, filepath.Join(t.TempDir(), "db"))
	t.Cleanup(func() { db.Close() })
	s, err := OpenGrants(t.Context(), g, db)
	if err != nil {
		t.Fatal(err)
	}
	name, revoked := grantTo(t, ana, "labeler"), 0
	for gone := 1; gone < 16; gone++ {
		if err := s.Give(t.Context(), amender, name, GrantSpec{Minutes: 60}, nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := gone
		tick = func() {
			if left--; left == 0 {
				cancel()
			}
		}
		s.Revoke(ctx, operator, name)
		tick = func() {}
		cancel()
		again, _ := newGuard(t, func(c *Config) { c.Now = func() time.Time { return now } })
		if _, err := OpenGrants(t.Context(), again, db); err != nil {
			t.Fatal(err)
		}
		if held, kept := g.Held("local"), again.Held("local"); !slices.Equal(held, kept) {
			t.Errorf("gone at tick %d: in force is %+v, and the table holds %+v", gone, held, kept)
		} else if len(kept) == 0 {
			revoked++
		}
	}
	if revoked == 0 {
		t.Error("nothing was ever revoked: the test tests nothing")
	}
}

// TestProdKeysStayInProduction: no role of a development identity, an operator's
// neither, uses a key of production, or one of which nobody knows where it belongs.
func TestProdKeysStayInProduction(t *testing.T) {
	where := ""
	g, _ := newGuard(t, func(c *Config) {
		c.Facts = func(pavise.Name) policy.Facts { return policy.Facts{Environment: where} }
	})
	key := pavise.Name{Tenant: "local", Kind: "key", ID: "k"}
	for _, test := range []struct {
		key, caller string
		may         bool
	}{{"prod", "prod", true}, {"prod", "dev", false}, {"prod", "", false}, {"", "dev", false}, {"", "prod", true}, {"dev", "dev", true}, {"dev", "", true}} {
		where = test.key
		who := pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "w", Roles: []string{"key-user"}, Environment: test.caller}
		_, err := g.Enter(t.Context(), who, "key.use", key)
		if (err == nil) != test.may {
			t.Errorf("a key of %q in %q: %v", test.key, test.caller, err)
		}
		who.Kind, who.Roles = pavise.Human, []string{"operator"}
		if _, err := g.Enter(t.Context(), who, "key.use", key); err == nil {
			t.Errorf("an operator uses a key of %q in %q", test.key, test.caller)
		}
	}
}

// TestCallersAreRemembered: the most recent first, each once, and no more than there is
// room for.
func TestCallersAreRemembered(t *testing.T) {
	now := epoch
	g, _ := newGuard(t, func(c *Config) { c.Now = func() time.Time { return now } })
	ask := func(who pavise.Principal) {
		if e, err := g.Enter(t.Context(), who, "model.infer", model); err == nil {
			e.Exit(&err)
		}
		now = now.Add(time.Second)
	}
	ask(caller)
	ask(analyst)
	ask(caller)
	seen := g.Callers("local")
	if len(seen) != 2 || seen[0].Name != caller.Name() || seen[0].Allowed != 2 || seen[1].Refused != 1 || seen[1].Allowed != 0 {
		t.Errorf("%+v", seen)
	}
	for i := range maxCallers + 10 {
		who := caller
		who.ID = "c" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		ask(who)
	}
	if n := len(g.Callers("local")); n > maxCallers {
		t.Errorf("%d callers are remembered", n)
	}
}
