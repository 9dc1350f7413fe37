package guard

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
)

// fakeLog is a Recorder in memory. Records pass through the log's encoding and
// its limit, so that what cannot be encoded or decoded fails here as it would
// there.
type fakeLog struct {
	mu      sync.Mutex
	records []record.Record
	hows    []ledger.Durability
	fail    func(*record.Record) error // called before each append
}

func (l *fakeLog) Append(ctx context.Context, r *record.Record, how ledger.Durability) (ledger.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return ledger.Receipt{}, err
	}
	body, err := json.Marshal(r)
	if err != nil || len(body) > 1<<16-18 {
		return ledger.Receipt{}, &pavise.Error{Kind: pavise.Invalid, Msg: "record cannot be an entry", Err: err}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		if err := l.fail(r); err != nil {
			return ledger.Receipt{}, err
		}
	}
	stored, err := record.Decode(slices.Concat([]byte{1}, body, make([]byte, 16)))
	if err != nil {
		return ledger.Receipt{}, err
	}
	l.records = append(l.records, stored)
	l.hows = append(l.hows, how)
	return ledger.Receipt{Index: uint64(len(l.records) - 1)}, nil
}

func (l *fakeLog) Size() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.records))
}

func (l *fakeLog) Records(from, to uint64) iter.Seq2[uint64, record.Record] {
	l.mu.Lock()
	records := l.records
	l.mu.Unlock()
	return func(yield func(uint64, record.Record) bool) {
		for i := from; i < min(to, uint64(len(records))); i++ {
			if !yield(i, records[i]) {
				return
			}
		}
	}
}

func (l *fakeLog) last(t *testing.T) record.Record {
	t.Helper()
	if len(l.records) == 0 {
		t.Fatal("nothing was recorded")
	}
	return l.records[len(l.records)-1]
}

// testActions is a table of verbs like the one the house has.
func testActions() []Action {
	return []Action{
		{Verb: "model.infer", On: []string{"model"}, Class: Pooled},
		{Verb: "model.describe", On: []string{"model"}, Class: Pooled},
		{Verb: "ledger.read", On: []string{"ledger"}, Class: Pooled},
		{Verb: "route.put", On: []string{"route"}},
		{Verb: "route.rollback", On: []string{"route"}, Safe: true},
		{Verb: "route.list", On: []string{"route"}, Class: Pooled},
		{Verb: "issuer.mint", On: []string{"token"}},
		{Verb: "console.link", On: []string{"console"}},
	}
}

var (
	model    = pavise.Name{Tenant: "local", Kind: "model", ID: "threat-detector"}
	route    = pavise.Name{Tenant: "local", Kind: "route", ID: "main"}
	caller   = pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "app", Issuer: "pavise-local", Roles: []string{"caller"}}
	analyst  = pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ana", Issuer: "pavise-local", Roles: []string{"analyst"}}
	operator = pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "olga", Issuer: "pavise-local", Roles: []string{"operator"}}
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// newGuard returns a guard of tenant local with the default policies and a
// clock that stands still.
func newGuard(t testing.TB, edit func(*Config)) (*Guard, *fakeLog) {
	t.Helper()
	log := &fakeLog{}
	cfg := Config{Actions: testActions(), Log: log, Now: func() time.Time { return epoch }, DemoIssuer: "pavise-local", Approved: approvedOnly}
	if edit != nil {
		edit(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Load("local", Defaults()); err != nil {
		t.Fatal(err)
	}
	return g, log
}

func TestWhoMayDoWhat(t *testing.T) {
	name := func(kind string) pavise.Name { return pavise.Name{Tenant: "local", Kind: kind, ID: "x"} }
	with := func(p pavise.Principal, edit func(*pavise.Principal)) pavise.Principal {
		p.Roles = slices.Clone(p.Roles)
		edit(&p)
		return p
	}
	for _, test := range []struct {
		what string
		who  pavise.Principal
		verb string
		on   pavise.Name
		deny string // the policy that denies; "default" for none; "" if allowed
	}{
		{"caller infers", caller, "model.infer", model, ""},
		{"caller describes", caller, "model.describe", model, ""},
		{"caller reads the ledger", caller, "ledger.read", name("ledger"), "default"},
		{"caller puts a route", caller, "route.put", route, "guardrail/role-separation"},
		{"analyst reads the ledger", analyst, "ledger.read", name("ledger"), ""},
		{"analyst infers", analyst, "model.infer", model, "default"},
		{"analyst lists routes", analyst, "route.list", route, ""},
		{"analyst puts a route", analyst, "route.put", route, "default"},
		{"operator puts a route", operator, "route.put", route, ""},
		{"operator mints", operator, "issuer.mint", name("token"), ""},
		{"operator puts a policy", operator, "policy.put", name("policy"), "guardrail/through-change"},
		{"operator puts a policy as a change", changing(operator), "policy.put", name("policy"), ""},
		{"operator acts as a change that nobody approved", with(operator, func(p *pavise.Principal) { p.Change = name("change") }), "policy.put", name("policy"), "guardrail/through-change"},
		{"operator approves", operator, "change.approve", name("change"), ""},
		{"program approves", with(operator, func(p *pavise.Principal) { p.Kind = pavise.Workload }), "change.approve", name("change"), "guardrail/decided-by-people"},
		{"operator infers", operator, "model.infer", model, "default"},
		{"program as operator puts a policy", with(changing(operator), func(p *pavise.Principal) { p.Kind = pavise.Workload }), "policy.put", name("policy"), "guardrail/policy-by-human-operator"},
		{"caller and operator in one", with(operator, func(p *pavise.Principal) { p.Roles = append(p.Roles, "caller") }), "route.put", route, "guardrail/role-separation"},
		{"other tenant's caller", with(caller, func(p *pavise.Principal) { p.Tenant = "acme" }), "model.infer", model, "guardrail/tenant-isolation"},
		{"same id and roles, other tenant", with(operator, func(p *pavise.Principal) { p.Tenant = "acme" }), "route.put", route, "guardrail/tenant-isolation"},
		{"on a tenant without policies", caller, "model.infer", pavise.Name{Tenant: "acme", Kind: "model", ID: "m"}, "guardrail/tenant-isolation"},
		{"role with a quote", with(caller, func(p *pavise.Principal) { p.Roles = []string{`caller"`} }), "model.infer", model, "guardrail/demo-roles"},
		{"role that spells Cedar", with(caller, func(p *pavise.Principal) { p.Roles = []string{`x", Role::"caller`}; p.Issuer = "https://idp" }), "model.infer", model, "default"},
		{"role in another case", with(caller, func(p *pavise.Principal) { p.Roles = []string{"Caller"}; p.Issuer = "https://idp" }), "model.infer", model, "default"},
		{"demo principal with a grand role", with(caller, func(p *pavise.Principal) { p.Roles = append(p.Roles, "admin") }), "model.infer", model, "guardrail/demo-roles"},
		{"the same role from a real issuer", with(caller, func(p *pavise.Principal) { p.Roles = append(p.Roles, "admin"); p.Issuer = "https://idp" }), "model.infer", model, ""},
		{"no roles", with(caller, func(p *pavise.Principal) { p.Roles = nil }), "model.infer", model, "default"},
	} {
		t.Run(test.what, func(t *testing.T) {
			g, log := newGuard(t, nil)
			e, err := g.Enter(t.Context(), test.who, test.verb, test.on)
			if test.deny == "" {
				if err != nil {
					t.Fatalf("Enter: %v", err)
				}
				e.Exit(&err)
				if r := log.last(t); err != nil || r.Outcome != pavise.Allow || len(r.Policy.Reasons) == 0 {
					t.Fatalf("record %+v, error %v", r, err)
				}
				return
			}
			checkDenied(t, log, err, test.deny)
		})
	}
}

// checkDenied checks the error of a denial and its record.
func checkDenied(t *testing.T, log *fakeLog, err error, by string) {
	t.Helper()
	denial, ok := errors.AsType[*Denial](err)
	if !ok || pavise.KindOf(err) != pavise.Denied {
		t.Fatalf("error %v is not a denial", err)
	}
	e, _ := errors.AsType[*pavise.Error](err)
	want := "pavise policy explain"
	if slices.Equal(denial.Policies, []string{throughChange}) {
		want = "pavise change propose"
	}
	if slices.Contains(denial.Policies, acrossTenants) {
		want = "across tenants; pavise whoami"
	}
	if !strings.Contains(e.Hint, want) {
		t.Errorf("hint %q names no command", e.Hint)
	}
	if by == "default" {
		if len(denial.Policies) != 0 || !strings.Contains(e.Msg, "no policy permits") {
			t.Errorf("%q by %q is not a default deny", e.Msg, denial.Policies)
		}
	} else if !slices.Contains(denial.Policies, by) || !strings.Contains(e.Msg, denial.Policies[0]) {
		t.Errorf("%q by %q, want %q", e.Msg, denial.Policies, by)
	}
	r := log.last(t)
	if uint64(len(log.records)-1) != denial.Record || r.Phase != record.Act || r.Outcome != pavise.Deny ||
		(log.hows[denial.Record] == ledger.Durable) != (strings.HasSuffix(r.Kind, ".put") || strings.HasPrefix(r.Kind, "change.")) ||
		r.Policy == nil || len(r.Policy.Digest) != 64 || !slices.Equal(r.Policy.Reasons, denial.Policies) {
		t.Errorf("denial %+v recorded as %+v", denial, r)
	}
}

func TestEveryRefusalIsRecorded(t *testing.T) {
	long := strings.Repeat("x", 1<<17)
	for _, test := range []struct {
		what string
		who  pavise.Principal
		verb string
		on   pavise.Name
		kind pavise.Kind
	}{
		{"unknown verb", operator, "model.steal", model, pavise.Internal},
		{"endless verb", operator, long, model, pavise.Internal},
		{"verb on the wrong kind", operator, "route.put", model, pavise.Denied},
		{"kind nobody knows", operator, "route.put", pavise.Name{Tenant: "local", Kind: "goblin", ID: "x"}, pavise.Denied},
		{"zero name", operator, "route.put", pavise.Name{}, pavise.Denied},
		{"name that spells Cedar", operator, "route.put", pavise.Name{Tenant: "local", Kind: "route", ID: `x" || true || "`}, pavise.Denied},
		{"endless name", operator, "route.put", pavise.Name{Tenant: "local", Kind: "route", ID: long}, pavise.Denied},
		{"zero principal", pavise.Principal{}, "route.put", route, pavise.Denied},
		{"principal of no kind", pavise.Principal{Tenant: "local", Kind: "god", ID: "zeus"}, "route.put", route, pavise.Denied},
		{"principal that spells Cedar", pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: `x"; permit(principal,action,resource); //`}, "route.put", route, pavise.Denied},
		{"principal with endless roles", pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "x", Roles: slices.Repeat([]string{"<<<<<<<<"}, 5000)}, "route.put", route, pavise.Denied},
		{"principal with an endless role", pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "x", Roles: []string{long}}, "route.put", route, pavise.Denied},
		{"principal with an endless proof", pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "x", Proof: long}, "route.put", route, pavise.Denied},
	} {
		t.Run(test.what, func(t *testing.T) {
			g, log := newGuard(t, nil)
			_, err := g.Enter(t.Context(), test.who, test.verb, test.on)
			if _, ok := errors.AsType[*Denial](err); !ok || pavise.KindOf(err) != test.kind {
				t.Fatalf("error %v of kind %v, want a denial of kind %v", err, pavise.KindOf(err), test.kind)
			}
			if r := log.last(t); r.Outcome != pavise.Deny || r.Error == nil || len(r.Kind) > maxText || r.Tenant == "" {
				t.Errorf("recorded as %+v", r)
			}
		})
	}
}

func TestProofLongerThanTheCachedOne(t *testing.T) {
	g, _ := newGuard(t, nil)
	if _, err := g.Enter(t.Context(), caller, "model.infer", model); err != nil {
		t.Fatal(err)
	}
	who := caller
	who.Proof = strings.Repeat("x", maxText+1)
	if _, err := g.Enter(t.Context(), who, "model.infer", model); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("error %v, want denied", err)
	}
}

// TestPrincipalsDoNotShareEntities builds principals whose fields run together
// to the same text and sees that the cache tells them apart.
func TestPrincipalsDoNotShareEntities(t *testing.T) {
	g, _ := newGuard(t, nil)
	plain := caller
	plain.Issuer = "https://idp"
	for _, weak := range []pavise.Principal{
		{Issuer: "https://idp", Roles: []string{"x6:caller"}},
		{Issuer: "https://idp", Roles: []string{"xcaller"}},
		{Issuer: "https://idpx", Roles: []string{"Caller"}},
		{Issuer: "https://idpxcaller"},
	} {
		strong := plain
		strong.Roles = []string{"x", "caller"}
		weak.Tenant, weak.Kind, weak.ID = plain.Tenant, plain.Kind, plain.ID
		if _, err := g.Enter(t.Context(), strong, "model.infer", model); err != nil {
			t.Errorf("roles x and caller: %v", err)
		}
		if _, err := g.Enter(t.Context(), weak, "model.infer", model); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("%q of %s: error %v, want denied", weak.Roles, weak.Issuer, err)
		}
	}
}

func TestNoPolicyLoadedIsClosed(t *testing.T) {
	g, log := newGuard(t, nil)
	if err := g.Load("local", nil); err != nil {
		t.Fatal(err)
	}
	g.Observe(model, true)
	_, err := g.Enter(t.Context(), caller, "model.infer", model)
	if pavise.KindOf(err) != pavise.Denied || !strings.Contains(err.Error(), "no policy is loaded") {
		t.Errorf("error %v", err)
	}
	if r := log.last(t); r.Outcome != pavise.Deny {
		t.Errorf("recorded as %+v", r)
	}
}

func TestRefusalThatCannotBeRecordedIsStillOne(t *testing.T) {
	g, log := newGuard(t, nil)
	log.fail = func(*record.Record) error { return errors.New("disk full") }
	e, err := g.Enter(t.Context(), analyst, "model.infer", model)
	if e != nil || pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("entry %v, error %v, want none and unavailable", e, err)
	}
	if e, err := g.Enter(t.Context(), operator, "route.put", route); e != nil || pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("control verb: entry %v, error %v, want none and unavailable", e, err)
	}
}

// TestHangingUpIsRecorded: a caller whose context is gone cannot probe unseen.
func TestHangingUpIsRecorded(t *testing.T) {
	g, log := newGuard(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Enter(ctx, analyst, "model.infer", model); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("error %v, want denied", err)
	}
	e, err := g.Enter(ctx, caller, "model.infer", model)
	if err != nil {
		t.Fatal(err)
	}
	e.Exit(&err)
	if err != nil || len(log.records) != 2 {
		t.Errorf("error %v and %d records, want 2", err, len(log.records))
	}
}

// TestDeniedVerbsSpareTheReserve: only an allowed safe verb may use the disk's
// last room, or refused callers could use it up.
func TestDeniedVerbsSpareTheReserve(t *testing.T) {
	g, log := newGuard(t, nil)
	if _, err := g.Enter(t.Context(), analyst, "route.rollback", route); pavise.KindOf(err) != pavise.Denied {
		t.Fatalf("error %v, want denied", err)
	}
	if log.last(t).Safe {
		t.Error("denied safe verb was recorded as safe")
	}
	if _, err := g.Enter(t.Context(), operator, "route.rollback", route); err != nil || !log.last(t).Safe {
		t.Errorf("allowed safe verb: error %v, record %+v", err, log.last(t))
	}
}

func TestQuarantine(t *testing.T) {
	held := map[pavise.Name]bool{}
	g, log := newGuard(t, func(c *Config) {
		c.Facts = func(n pavise.Name) policy.Facts { return policy.Facts{Quarantined: held[n]} }
	})
	if _, err := g.Enter(t.Context(), caller, "model.infer", model); err != nil {
		t.Fatal(err)
	}
	held[model] = true
	g.Observe(model, true)
	_, err := g.Enter(t.Context(), caller, "model.infer", model)
	checkDenied(t, log, err, "guardrail/quarantine")
	refusal := log.last(t)
	if _, err := g.Enter(t.Context(), caller, "model.describe", model); err != nil {
		t.Errorf("describing a quarantined model: %v", err)
	}
	held[model] = false
	if x := g.ExplainRecord(t.Context(), refusal, nil); x.Status != Recomputed || x.Decision != pavise.Deny {
		t.Errorf("after release the old refusal explains as %+v", x)
	}
}

func TestObserve(t *testing.T) {
	g, log := newGuard(t, nil)
	g.Observe(model, true)
	e, err := g.Enter(t.Context(), analyst, "model.infer", model)
	if err != nil || !e.Observed() {
		t.Fatalf("entry %+v, error %v, want an observed one", e, err)
	}
	e.Exit(&err)
	r := log.last(t)
	if r.Outcome != pavise.Allow || !r.Policy.Observed || len(r.Verdicts) != 1 || !r.Verdicts[0].Observed || r.Verdicts[0].Outcome != pavise.Deny {
		t.Errorf("recorded as %+v", r)
	}
	foreign := analyst
	foreign.Tenant = "acme"
	if _, err := g.Enter(t.Context(), foreign, "model.infer", model); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("a guardrail was only observed: %v", err)
	}
	g.Observe(route, true)
	if _, err := g.Enter(t.Context(), analyst, "route.put", route); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("a control verb was only observed: %v", err)
	}
	g.Observe(model, false)
	if _, err := g.Enter(t.Context(), analyst, "model.infer", model); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("observe mode did not end: %v", err)
	}
}

func TestPoolIsBounded(t *testing.T) {
	g, log := newGuard(t, func(c *Config) { c.Pool = 2 })
	var entries []*Entry
	for _, id := range []string{"app1", "app2"} {
		who := caller
		who.ID = id
		e, err := g.Enter(t.Context(), who, "model.infer", model)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	if _, err := g.Enter(t.Context(), caller, "model.infer", model); pavise.KindOf(err) != pavise.Unavailable {
		t.Fatalf("third of two slots: %v", err)
	}
	if _, err := g.Enter(t.Context(), operator, "route.put", route); err != nil {
		t.Errorf("full slots stop a control verb: %v", err)
	}
	for range 2 {
		entries[0].Exit(nil) // the second Exit must not free a second slot
	}
	if _, err := g.Enter(t.Context(), analyst, "model.infer", model); pavise.KindOf(err) != pavise.Denied {
		t.Fatalf("error %v, want denied", err)
	}
	next := caller
	next.ID = "next"
	if _, err := g.Enter(t.Context(), next, "model.infer", model); err != nil {
		t.Errorf("freed slot is not free: %v", err)
	}
	if _, err := g.Enter(t.Context(), caller, "model.infer", model); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("fourth of two slots: %v", err)
	}
	if err := g.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := log.last(t); r.Kind != "guard.refused" || !strings.Contains(string(r.Detail), `"count":2`) {
		t.Errorf("overload was recorded as %+v", r)
	}
}
