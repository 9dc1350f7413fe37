package policy

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/pavise/pavise"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// newTestSchema returns the schema of the catalogue and what is named.
func newTestSchema(t testing.TB) *Schema {
	t.Helper()
	s, err := NewSchema([]Action{{Verb: "route.put", On: []string{"route"}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A world is what questions are drawn from: few names, so that policies meet them.
type world struct {
	schema *Schema
	rng    *rand.Rand
	verbs  []string
}

func newWorld(s *Schema, seed uint64) *world {
	return &world{schema: s, rng: rand.New(rand.NewPCG(seed, 7)), verbs: slices.Sorted(maps.Keys(s.actions))}
}

func pick[T any](w *world, list ...T) T { return list[w.rng.IntN(len(list))] }

// policy draws a policy that fits the schema: scopes of every form, and conditions of
// which some cannot be evaluated.
func (w *world) policy() string {
	typ := pick(w, "Human", "Workload", "Node")
	who := pick(w, "principal", "principal is "+typ, fmt.Sprintf("principal == %s::%q", typ, pick(w, "ana", "bob", "", `a\"b`)),
		fmt.Sprintf("principal in %s::%q", typ, pick(w, "ana", "bob")), fmt.Sprintf("principal is %s in %s::%q", typ, typ, pick(w, "ana", "eve")),
		fmt.Sprintf("principal == %s::%s", typ, pick(w, `"\u{61}na"`, `"b\u{6f}b"`, `"\u{430}\u{43d}\u{430}"`)),
		fmt.Sprintf("principal in Role::%q", pick(w, "caller", "operator", "labeler", "ml-engineer", "", "роль")),
		fmt.Sprintf("principal is %s in Role::%q", typ, pick(w, "operator", "publisher")))
	verb := pick(w, w.verbs...)
	act := w.schema.actions[verb]
	kind := act.On[0]
	action := pick(w, "action", "action in []", fmt.Sprintf("action in [Action::%q, Action::%q, Action::%q]", verb, verb, room(verb)), fmt.Sprintf("action == Action::%q", verb), fmt.Sprintf("action in Action::%q", room(verb)),
		fmt.Sprintf("action in [Action::%q, Action::%q]", verb, pick(w, "control", "pooled", "consequential")))
	thing := string(w.schema.types[kind])
	on := pick(w, "resource", "resource is "+thing, fmt.Sprintf("resource == %s::%q", thing, pick(w, "x", "y", "")), fmt.Sprintf("resource in %s::%s", thing, pick(w, `"x"`, `"\u{79}"`)), fmt.Sprintf("resource is %s in %s::%q", thing, thing, "x"))
	return fmt.Sprintf("%s (%s, %s, %s)%s;", pick(w, "permit", "permit", "permit", "forbid"), who, action, on, w.condition())
}

func (w *world) condition() string {
	return pick(w, "", "", "", " when { resource.quarantined }", " unless { principal.tenant == resource.tenant }",
		` when { principal.roles.contains("operator") }`, ` when { context.now < datetime("2026-02-01") }`, " when { context.approved }",
		` when { 9223372036854775807 + 1 == 0 }`, ` when { Human::"nobody".tenant == "acme" }`, ` unless { context has now && principal.environment == "prod" }`,
		` when { context["now"] < datetime("2026-02-01") }`, " when { context\n.\nnow < datetime(\"2026-02-01\") } // context.approved", ` when { if context.approved then true else context["now"] > datetime("2026-02-01") }`,
		` when { principal in [Human::"ana", Role::"operator", Workload::"eve"] }`, ` when { principal.issuer != "context.approved context.approved" && context["approved"] }`)
}

// texts draws a set of policies. What does not fit together (an action that never meets
// the thing) is drawn again.
func (w *world) texts(n int) map[string]string {
	texts := map[string]string{}
	for len(texts) < n {
		text := w.policy()
		if r, err := parse(pavise.Name{Tenant: "local", Kind: KindPolicy, ID: "p"}, text); err != nil || w.schema.validate(r) != nil {
			continue
		}
		texts[fmt.Sprintf("p%04d", len(texts))] = text
	}
	return texts
}

// question draws a question.
func (w *world) question(e *Entities) *Question {
	verb := pick(w, w.verbs...)
	act := w.schema.actions[verb]
	who := pavise.Principal{
		Tenant: pick(w, "local", "local", "acme"), Kind: pick(w, pavise.Human, pavise.Workload, pavise.Node), ID: pick(w, "ana", "bob", "eve"),
		Issuer: pick(w, "", "demo"), Environment: pick(w, "", "prod"),
	}
	for range w.rng.IntN(3) {
		who.Roles = append(who.Roles, pick(w, "caller", "operator", "labeler", "publisher", "model-approver", "роль"))
	}
	var granted []string
	if w.rng.IntN(3) == 0 {
		granted = []string{pick(w, "ml-engineer", "operator")}
	}
	kind := pick(w, act.On...)
	on := pavise.Name{Tenant: "local", Kind: kind, ID: pick(w, "x", "y", "z")}
	return &Question{Who: e.Subject(&who, granted), Act: act, On: e.Thing(on, pick(w, w.schema.conditions(kind)...)), At: epoch, Approved: w.rng.IntN(3) == 0}
}

// indexEqualsScan asks questions both of the index, kept and fresh, and of all the rules.
func indexEqualsScan(t *testing.T, w *world, set *Set, questions int) {
	t.Helper()
	e := NewEntities(w.schema, "demo")
	same := func(a, b Decision) bool {
		return a.Allow == b.Allow && a.Guardrail == b.Guardrail && a.Doc == b.Doc && slices.Equal(a.Reasons, b.Reasons) && slices.Equal(a.Errors, b.Errors)
	}
	for range questions {
		q := w.question(e)
		full := set.Scan(q)
		for _, way := range []struct {
			name string
			got  Decision
		}{{"fresh", set.Fresh(q)}, {"first", set.Decide(q)}, {"kept", set.Decide(q)}} {
			if !same(way.got, full) {
				t.Fatalf("%s on %v by %v: %s %+v, scan %+v", q.Act.Verb, q.On.entity.UID, q.Who.entity.UID, way.name, way.got, full)
			}
		}
		late := *q
		late.At = epoch.AddDate(0, 2, 0)
		if got, full := set.Decide(&late), set.Scan(&late); !same(got, full) {
			t.Fatalf("%s later: kept %+v, scan %+v", q.Act.Verb, got, full)
		}
	}
}

// TestIndexEqualsScan holds the index, and what it keeps, to the full scan: decisions,
// reasons and errors.
func TestIndexEqualsScan(t *testing.T) {
	s, seeds := newTestSchema(t), uint64(20)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		w := newWorld(s, seed)
		texts := w.texts(1 + w.rng.IntN(120))
		if seed%4 == 0 {
			maps.Copy(texts, Defaults())
		}
		set, err := s.Compile("local", texts, nil)
		if err != nil {
			t.Fatal(err)
		}
		indexEqualsScan(t, w, set, 1500)
	}
}

// FuzzIndex does so for as many worlds as there is time.
func FuzzIndex(f *testing.F) {
	s := newTestSchema(f)
	f.Add(uint64(1), byte(40))
	f.Add(uint64(99), byte(255))
	f.Fuzz(func(t *testing.T, seed uint64, n byte) {
		w := newWorld(s, seed)
		set, err := s.Compile("local", w.texts(int(n)+1), nil)
		if err != nil {
			t.Fatal(err)
		}
		indexEqualsScan(t, w, set, 200)
	})
}

// FuzzCompile feeds texts to the loader. Whatever it accepts must be decided
// the same with and without the index, and must come out of its own text.
func FuzzCompile(f *testing.F) {
	for _, text := range []string{
		`permit (principal, action, resource);`,
		`forbid (principal, action, resource) unless { principal in Role::"operator" };`,
		`permit (principal in Role::"caller", action in Action::"pooled", resource is Model);`,
		`permit (principal == Human::"olga", action in [Action::"ledger", Action::"route.put"], resource == Route::"main");`,
		`permit (principal is Node in Role::"edge", action in [], resource);`,
		`forbid (principal, action == Action::"model.infer", resource) when { context.now > datetime("2026-01-01") };`,
		`permit (principal, action, resource) when { if principal.demo then resource.tenant like "loc*" else [1,2].contains(2) };`,
		`permit (principal, action, resource) when { 9223372036854775807 + 1 == 0 };`,
		`permit (principal, action, resource) when { context has approved && context["approved"] };`,
		`@id("p") @doc("\u{1F6E1}") permit (principal, action, resource) when { ip("10.0.0.1").isLoopback() };`,
		"permit (principal, action, resource) when { " + strings.Repeat("!", 100) + "true };",
	} {
		f.Add(text)
	}
	s := newTestSchema(f)
	f.Fuzz(func(t *testing.T, text string) {
		set, err := s.Compile("local", map[string]string{"p": text, "q": `permit (principal in Role::"caller", action in Action::"model", resource);`}, nil)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatalf("error %v is not of kind invalid", err)
			}
			return
		}
		indexEqualsScan(t, newWorld(s, 1), set, 100)
		again, err := cedar.NewPolicyListFromBytes("", set.find("p").policy.MarshalCedar())
		if err != nil || len(again) != 1 {
			t.Fatalf("policy does not come out of its own text: %v", err)
		}
	})
}

// TestIndexIsNarrow: of ten thousand policies about others, a question meets those
// alone that can match, and Cedar evaluates no more.
func TestIndexIsNarrow(t *testing.T) {
	s := newTestSchema(t)
	texts := Defaults()
	for i := range 10_000 {
		texts[fmt.Sprint("unit", i)] = fmt.Sprintf(`permit (principal in Role::"unit-%d", action == Action::"model.infer", resource);`, i/4)
	}
	set, err := s.Compile("local", texts, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := NewEntities(s, "")
	who := pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "x", Roles: []string{"unit-7"}}
	q := &Question{Who: e.Subject(&who, nil), Act: s.actions["model.infer"], On: e.Thing(pavise.Name{Tenant: "local", Kind: "model", ID: "m"}, Facts{}), At: epoch}
	fences := 0
	for _, r := range s.guardrails {
		if r.covers(s.actions["model.infer"]) && r.who() == (cedar.EntityUID{}) {
			fences++
		}
	}
	if n := len(set.matching(q)); n != 4+fences {
		t.Errorf("a question meets %d policies, want the 4 of its role and %d guardrails", n, fences)
	}
	if d := set.Decide(q); !d.Allow || len(d.Reasons) != 4 {
		t.Errorf("decided %+v", d)
	}
}

// TestOtherFactsAreAnotherAnswer: what was kept for a thing is not the answer once the
// thing is another, nor for somebody who was granted a role meanwhile.
func TestOtherFactsAreAnotherAnswer(t *testing.T) {
	s := newTestSchema(t)
	set, err := s.Compile("local", Defaults(), nil)
	if err != nil {
		t.Fatal(err)
	}
	e := NewEntities(s, "")
	app := pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "app", Roles: []string{"caller"}}
	model := pavise.Name{Tenant: "local", Kind: "model", ID: "m"}
	ask := func(verb string, granted []string, f Facts) bool {
		return set.Decide(&Question{Who: e.Subject(&app, granted), Act: s.actions[verb], On: e.Thing(model, f), At: epoch}).Allow
	}
	for range 2 {
		if !ask(VerbInfer, nil, Facts{}) || ask(VerbInfer, nil, Facts{Quarantined: true}) || ask(VerbInfer, nil, Facts{State: "retired"}) || !ask(VerbInfer, nil, Facts{State: "live"}) {
			t.Fatal("an answer of other facts came back")
		}
		if ask("model.explain", nil, Facts{}) || !ask("model.explain", []string{"model-reviewer"}, Facts{}) {
			t.Fatal("an answer of other roles came back")
		}
	}
}

// TestDigest computes the digest as its comment says, by other means.
func TestDigest(t *testing.T) {
	const text = `permit (principal, action, resource);`
	var plain []byte
	for _, part := range []string{"pavise policies v1", guardrails, "a", text, "b", text + "\n"} {
		plain = fmt.Appendf(plain, "%s%s", string([]byte{0, 0, 0, 0, 0, 0, byte(len(part) >> 8), byte(len(part))}), part)
	}
	if want, got := fmt.Sprintf("%x", sha256.Sum256(plain)), Digest(map[string]string{"b": text + "\n", "a": text}); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

// TestConflictsAreForbidden: the list that grants are held to and the guardrail that
// bars who holds both anyway name the same pairs.
func TestConflictsAreForbidden(t *testing.T) {
	for _, pair := range Conflicts {
		if want := fmt.Sprintf("(principal in Role::%q && principal in Role::%q)", pair[0], pair[1]); !strings.Contains(guardrails, want) || pair[0] >= pair[1] {
			t.Errorf("the guardrail lacks %s", want)
		}
		if got, bad := Conflicting([]string{"x", pair[1], pair[0]}); !bad || got != pair {
			t.Errorf("%v is no conflict: %v", pair, got)
		}
	}
	if n := strings.Count(guardrails, `" && principal in Role::`); n != len(Conflicts) {
		t.Errorf("the guardrail names %d pairs, the list %d", n, len(Conflicts))
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		s := newTestSchema(b)
		if _, err := s.Compile("local", Defaults(), nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompileMany(b *testing.B) {
	s := newTestSchema(b)
	texts := Defaults()
	for i := range 10_000 {
		texts[fmt.Sprint("unit", i)] = fmt.Sprintf(`permit (principal in Role::"unit-%d", action == Action::"model.infer", resource) when { resource.risk == "low" };`, i/4)
	}
	for b.Loop() {
		if _, err := s.Compile("local", texts, nil); err != nil {
			b.Fatal(err)
		}
	}
}
