package oracle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	cedarschema "github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/pavise/pavise"
	"github.com/pavise/pavise/bench/asked"
	"github.com/pavise/pavise/internal/policy"
)

const tenant = "test"

// A testCase is policies and questions about them, as check.py reads it.
type testCase struct {
	Name     string         `json:"name"`
	Policies [][2]string    `json:"policies"`          // id and text
	Refused  [][2]string    `json:"refused,omitempty"` // what the house did not accept
	Schema   string         `json:"schema,omitempty"`  // what the policies must be valid under; empty: they need not
	Entities []cedar.Entity `json:"entities"`
	Requests []request      `json:"requests"`
}

// A request is a question with the answer of cedar-go over every policy.
type request struct {
	Principal uid          `json:"principal"`
	Action    uid          `json:"action"`
	Resource  uid          `json:"resource"`
	Context   cedar.Record `json:"context"`
	Allow     bool         `json:"allow"`
	Reasons   []string     `json:"reasons"` // ids of the policies that decided, sorted
	Errors    []string     `json:"errors"`  // and of those that could not be evaluated
}

type uid struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

func spelled(e cedar.EntityUID) uid { return uid{string(e.Type), string(e.ID)} }

// A bench is policies that questions are put to.
type bench struct {
	*testCase
	scan     *cedar.PolicySet
	entities cedar.EntityMap
}

func newBench(name string, policies [][2]string) (*bench, error) {
	b := &bench{&testCase{Name: name, Policies: policies}, cedar.NewPolicySet(), cedar.EntityMap{}}
	for _, p := range policies {
		var parsed cedar.Policy
		if err := parsed.UnmarshalCedar([]byte(p[1])); err != nil {
			return nil, fmt.Errorf("policy %s: %w: %s", p[0], err, p[1])
		}
		b.scan.Add(cedar.PolicyID(p[0]), &parsed)
	}
	return b, nil
}

// ask puts a question to cedar-go, and keeps it with the answer.
func (b *bench) ask(q asked.Question) request {
	maps.Copy(b.entities, q.Entities())
	r := q.Request()
	answer, diagnostic := cedar.Authorize(b.scan, b.entities, r)
	got := request{
		Principal: spelled(r.Principal), Action: spelled(r.Action), Resource: spelled(r.Resource), Context: r.Context, Allow: answer == cedar.Allow,
	}
	for _, reason := range diagnostic.Reasons {
		got.Reasons = append(got.Reasons, string(reason.PolicyID))
	}
	for _, e := range diagnostic.Errors {
		got.Errors = append(got.Errors, string(e.PolicyID))
	}
	slices.Sort(got.Reasons)
	slices.Sort(got.Errors)
	b.Requests = append(b.Requests, got)
	return got
}

// finished is the case with the entities of all its questions.
func (b *bench) finished() *testCase {
	for _, id := range slices.SortedFunc(maps.Keys(b.entities), func(a, b cedar.EntityUID) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
	}) {
		b.Entities = append(b.Entities, b.entities[id])
	}
	return b.testCase
}

// ours is what the house has to answer where Cedar answers r: the same, but that a
// forbid which cannot be evaluated forbids.
func (b *bench) ours(r request) (allow bool, reasons []string) {
	var broken []string
	for _, id := range r.Errors {
		if b.scan.Get(cedar.PolicyID(id)).Effect() == cedar.Forbid {
			broken = append(broken, id)
		}
	}
	switch {
	case len(broken) == 0:
		return r.Allow, r.Reasons
	case r.Allow:
		return false, broken
	}
	return false, slices.Sorted(slices.Values(slices.Concat(r.Reasons, broken)))
}

// A house is package policy, asked in each of its ways.
type house struct {
	schema   *policy.Schema
	set      *policy.Set
	entities *policy.Entities
}

// agree fails the test unless the index, what was kept and the house's own scan all
// answer as they have to.
func (h *house) agree(t *testing.T, b *bench, q asked.Question, r request) {
	t.Helper()
	act, _ := h.schema.Act(q.Act.Verb)
	asks := &policy.Question{Who: h.entities.Subject(&q.Who, q.Granted), Act: act, On: h.entities.Thing(q.On, q.Facts), At: q.At, Approved: q.Approved}
	allow, reasons := b.ours(r)
	for name, decide := range map[string]func(*policy.Question) policy.Decision{
		"the index": h.set.Fresh, "the full scan": h.set.Scan, "what was kept": h.set.Decide, "what was kept, again": h.set.Decide,
	} {
		d := decide(asks)
		if got := slices.Sorted(slices.Values(d.Reasons)); d.Allow != allow || !slices.Equal(got, reasons) {
			t.Errorf("case %s: %+v: %s says %t for %q, and has to say %t for %q", b.Name, q, name, d.Allow, got, allow, reasons)
		}
		if len(d.Errors) != min(len(r.Errors), 16) {
			t.Errorf("case %s: %+v: %s has errors %q, cedar-go of %q", b.Name, q, name, d.Errors, r.Errors)
		}
	}
}

// fenced are guardrails and then other policies, in the order in which they are compiled.
func fenced(rails []policy.Rule, texts map[string]string) [][2]string {
	var all [][2]string
	for _, r := range rails {
		all = append(all, [2]string{r.ID, r.Text})
	}
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		all = append(all, [2]string{id, texts[id]})
	}
	return all
}

// goldenMatrix is what was reviewed: who may do what under the policies compiled in.
const goldenMatrix = "../../internal/policy/testdata/matrix.golden"

// A row is a verb on things of which something is known, and the roles with which one
// may, by kind of principal.
type row struct {
	act   policy.Action
	kind  string
	facts policy.Facts
	who   map[string][]string
}

// readMatrix reads the golden matrix: lines "verb kind (facts) as a change", of which the
// last two parts may be missing, each followed by indented lines "kind: role role". A role
// that is empty is anybody of the kind.
func readMatrix(t *testing.T, schema *policy.Schema) []row {
	text, err := os.ReadFile(goldenMatrix)
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for line := range strings.Lines(string(text)) {
		if kind, roles, ok := strings.Cut(strings.Trim(line, "\t\n"), ": "); ok && line[0] == '\t' {
			rows[len(rows)-1].who[kind] = strings.Split(roles, " ")
			continue
		}
		r := row{who: map[string][]string{}}
		words := strings.Fields(line)
		if r.act, r.kind = action(schema, words[0]), words[1]; r.act.Verb == "" {
			t.Fatalf("%s has a row for %q, which is no verb", goldenMatrix, words[0])
		}
		if len(words) > 2 && words[2][0] == '(' {
			if r.facts, err = policy.ParseFacts(strings.Trim(words[2], "()")); err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// matrix asks for every role and kind of principal all that the golden matrix answers,
// and what takes an approved change once more without one. It fails the test where
// cedar-go does not say what the golden matrix does.
func matrix(t *testing.T, schema *policy.Schema) []*testCase {
	texts, rows := policy.Defaults(), readMatrix(t, schema)
	set, err := schema.Compile(tenant, texts, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{schema, set, policy.NewEntities(schema, demoIssuer)}
	var all []*testCase
	for i, role := range append(set.Roles(), "") {
		b, err := newBench("the role "+role, fenced(policy.Guardrails(), texts))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			b.Schema = schema.Text() // the policies are the same for all roles
		}
		for n, r := range rows {
			for _, kind := range []string{pavise.Human, pavise.Workload, pavise.Node} {
				who := pavise.Principal{Tenant: tenant, Kind: kind, ID: "somebody"}
				if role != "" {
					who.Roles = []string{role}
				}
				q := asked.Question{Who: who, Act: r.act, On: pavise.Name{Tenant: tenant, Kind: r.kind, ID: fmt.Sprint("any-", n)}, Facts: r.facts, At: noon, Approved: true}
				got := b.ask(q)
				if want := slices.Contains(r.who[kind], role); got.Allow != want {
					t.Errorf("%s %s %+v by a %s with role %q: cedar-go says %t, the golden matrix %t", r.act.Verb, r.kind, r.facts, kind, role, got.Allow, want)
				}
				h.agree(t, b, q, got)
				if q.Approved = false; r.act.Consequential {
					h.agree(t, b, q, b.ask(q))
				}
			}
		}
		all = append(all, b.finished())
	}
	return all
}

const demoIssuer = "https://demo.example"

var (
	noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	// times are on both sides of what policies compare with.
	times = []time.Time{noon, noon.Add(-time.Millisecond), noon.Add(time.Millisecond), noon.Add(time.Hour), noon.AddDate(0, 7, 0)}
)

// randomCases are sets of random policies, numbered from a first one, with random
// questions. Wild ones are of policies that no validator saw, so only cedar-go and the
// Rust Cedar can be compared.
func randomCases(t *testing.T, schema *policy.Schema, first, cases, asks int, wild bool) []*testCase {
	words := newVocabulary(t, schema)
	var all []*testCase
	for n := first; n < first+cases; n++ {
		w := &writer{rand.New(rand.NewPCG(uint64(n), map[bool]uint64{true: 1}[wild])), words, wild}
		w.narrow()
		texts, set, refused := w.policies(schema, 1+w.IntN(20))
		before := policy.Guardrails()
		if wild {
			before = nil
		}
		b, err := newBench(fmt.Sprintf("random-%d", n), fenced(before, texts))
		if err != nil {
			t.Fatal(err)
		}
		h := &house{schema, set, policy.NewEntities(schema, demoIssuer)}
		if !wild {
			b.Schema, b.Refused = schema.Text(), refused
		}
		people, things := w.people(), w.things()
		for range asks / 2 {
			q := w.question(schema, people, things)
			for range 2 { // at another time nothing that was kept may speak
				r := b.ask(q)
				if !wild {
					h.agree(t, b, q, r)
				}
				q.At = pick(w, times)
			}
		}
		all = append(all, b.finished())
	}
	return all
}

// narrow leaves a writer a few of the verbs and roles, so that its policies are about its
// questions.
func (w *writer) narrow() {
	few := *w.words
	few.verbs = nil
	for range 8 {
		few.verbs = append(few.verbs, pick(w, w.words.verbs))
	}
	few.roles = []string{"täst"}
	for range 4 {
		few.roles = append(few.roles, pick(w, w.words.roles))
	}
	w.words = &few
}

// policies writes n policies that the house accepts, and compiles them; apart from them
// it returns some that the house refused. A wild writer's are only parsed.
func (w *writer) policies(schema *policy.Schema, n int) (texts map[string]string, set *policy.Set, refused [][2]string) {
	texts = map[string]string{}
	for i := 0; len(texts) < n; i++ {
		id, text := fmt.Sprint("p", i), w.policy()
		if w.wild {
			var parsed cedar.Policy
			if parsed.UnmarshalCedar([]byte(text)) == nil {
				texts[id] = text
			}
			continue
		}
		texts[id] = text
		next, err := schema.Compile(tenant, texts, set)
		if err == nil {
			set = next
			continue
		}
		delete(texts, id)
		if len(refused) < 3 { // each is one more look for check.py
			refused = append(refused, [2]string{id, text})
		}
	}
	return texts, set, refused
}

// people are a principal of each kind and id, with any of the roles.
func (w *writer) people() []asked.Question {
	var all []asked.Question
	for _, kind := range []string{pavise.Human, pavise.Workload, pavise.Node} {
		for _, id := range w.words.ids {
			who := pavise.Principal{
				Tenant: tenant, Kind: kind, ID: id, Issuer: pick(w, []string{"https://issuer.example", "https://issuer.example", demoIssuer, ""}),
				Environment: pick(w, []string{"prod", "dev", ""}),
			}
			if w.one(8) {
				who.Tenant = "other"
			}
			roles := func(n int) (list []string) {
				for range w.IntN(n) {
					list = append(list, pick(w, w.words.roles))
				}
				return list
			}
			who.Roles = roles(4)
			all = append(all, asked.Question{Who: who, Granted: roles(3), Demo: who.Issuer == demoIssuer})
		}
	}
	return all
}

// things are facts for each id: a thing of one name has the same facts in a case.
func (w *writer) things() map[string]policy.Facts {
	all := map[string]policy.Facts{}
	for _, id := range w.words.ids {
		all[id] = policy.Facts{
			Quarantined: w.one(4), Scrubbed: w.one(2), State: pick(w, append(policy.States["model"], "täst")),
			Risk: pick(w, []string{"low", "medium", "high", ""}), Environment: pick(w, []string{"prod", "dev", ""}),
		}
	}
	return all
}

func (w *writer) question(schema *policy.Schema, people []asked.Question, things map[string]policy.Facts) asked.Question {
	q := pick(w, people)
	q.Act = action(schema, pick(w, w.words.verbs))
	id := pick(w, w.words.ids)
	q.On = pavise.Name{Tenant: tenant, Kind: pick(w, q.Act.On), ID: id}
	q.Facts, q.At, q.Approved = things[id], pick(w, times), !w.one(4)
	return q
}

// action is the one of a verb, or none.
func action(schema *policy.Schema, verb string) policy.Action {
	a, known := schema.Act(verb)
	if !known {
		return policy.Action{}
	}
	return a.Action
}

// newVocabulary reads a schema's text.
func newVocabulary(t *testing.T, schema *policy.Schema) *vocabulary {
	var parsed cedarschema.Schema
	if err := parsed.UnmarshalCedar([]byte(schema.Text())); err != nil {
		t.Fatal(err)
	}
	s, err := parsed.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	v := &vocabulary{
		schema: s, principals: []string{"Human", "Workload", "Node"}, roles: []string{"nobody", "täst"},
		ids: []string{"a", "b", "c"},
	}
	set, err := schema.Compile(tenant, policy.Defaults(), nil)
	if err != nil {
		t.Fatal(err)
	}
	v.roles = append(v.roles, set.Roles()...)
	seen := map[string]bool{}
	for _, a := range schema.Actions() {
		v.verbs = append(v.verbs, a.Verb)
		for _, group := range asked.Groups(a) {
			seen["Action "+group] = true
		}
		for _, kind := range a.On {
			seen[string(asked.Type(kind))] = true
		}
	}
	for _, name := range sortedKeys(seen) {
		if group, ok := strings.CutPrefix(name, "Action "); ok {
			v.groups = append(v.groups, group)
		} else {
			v.kinds = append(v.kinds, name)
		}
	}
	return v
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// typeName spells an attribute's type as policies' readers do.
func typeName(t resolved.IsType) string {
	switch t := t.(type) {
	case resolved.StringType:
		return "String"
	case resolved.LongType:
		return "Long"
	case resolved.BoolType:
		return "Bool"
	case resolved.ExtensionType:
		return string(t)
	case resolved.SetType:
		return "Set<" + typeName(t.Element) + ">"
	}
	return ""
}

// encode writes cases as lines.
func encode(t *testing.T, to *json.Encoder, cases []*testCase) (requests int) {
	for _, c := range cases {
		if err := to.Encode(c); err != nil {
			t.Fatal(err)
		}
		requests += len(c.Requests)
	}
	return requests
}
