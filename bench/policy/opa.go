package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// A style is one way of writing the policies in Rego.
type style struct {
	name  string
	query string
	write func(*translation, []clause) (module string, data map[string]any)
	most  int  // policies, beyond which it is not tried
	part  bool // evaluated partially beforehand
}

// styles are the ways tried. The first gives the ids of what decided, as Cedar does; the
// others decide and say no more, so that OPA may stop at the first rule that holds.
var styles = []style{
	{name: "rules, with reasons", query: "data.pavise.answer", write: reasoned, most: 1 << 20},
	{name: "rules", query: "data.pavise.allow", write: ruled, most: 1 << 20},
	{name: "rules, evaluated partially", query: "data.pavise.allow", write: ruled, most: 1000, part: true},
	{name: "tables", query: "data.pavise.allow", write: tabled, most: 1 << 20},
}

// An opa is one prepared query, with the questions parsed. What costs time and is not
// the decision is left out: its transaction stays open, nothing is metered, and no
// goroutine waits for a cancellation.
type opa struct {
	style  string
	query  rego.PreparedEvalQuery
	store  storage.Store
	txn    storage.Transaction
	cancel topdown.Cancel
	inputs []ast.Value
}

func newOPA(ctx context.Context, s style, policies []named, asks []question) (*opa, error) {
	t := newTranslation()
	clauses, err := t.clauses(policies)
	if err != nil {
		return nil, err
	}
	module, data := s.write(t, clauses)
	if data == nil {
		data = map[string]any{}
	}
	o := &opa{style: s.name, cancel: topdown.NewCancel(), store: inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true))}
	if o.txn, err = o.store.NewTransaction(ctx); err != nil {
		return nil, err
	}
	var prepare []rego.PrepareOption
	if s.part {
		prepare = append(prepare, rego.WithPartialEval())
	}
	o.query, err = rego.New(rego.Query(s.query), rego.Module("pavise.rego", module),
		rego.Store(o.store), rego.Transaction(o.txn)).PrepareForEval(ctx, prepare...)
	if err != nil {
		return nil, fmt.Errorf("OPA, %s: %w", s.name, err)
	}
	for _, q := range asks {
		input, err := ast.InterfaceToValue(q.input())
		if err != nil {
			return nil, err
		}
		o.inputs = append(o.inputs, input)
	}
	return o, nil
}

func (o *opa) Name() string { return "OPA, " + o.style }

func (o *opa) eval(i int) (any, error) {
	results, err := o.query.Eval(context.Background(), rego.EvalParsedInput(o.inputs[i]), rego.EvalTransaction(o.txn),
		rego.EvalExternalCancel(o.cancel), rego.EvalMetrics(metrics.NoOp()))
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, fmt.Errorf("%d results", len(results))
	}
	return results[0].Expressions[0].Value, nil
}

func (o *opa) Decide(i int) (bool, error) {
	value, err := o.eval(i)
	if err != nil {
		return false, err
	}
	switch v := value.(type) {
	case bool:
		return v, nil
	case map[string]any:
		return v["allow"] == true, nil
	}
	return false, fmt.Errorf("answered %v", value)
}

// reasons returns the decision with the policies that decided, sorted. Only the first
// style can.
func (o *opa) reasons(i int) (bool, []string, error) {
	value, err := o.eval(i)
	if err != nil {
		return false, nil, err
	}
	answer := value.(map[string]any)
	var ids []string
	for _, id := range answer["reasons"].([]any) {
		ids = append(ids, id.(string))
	}
	slices.Sort(ids)
	return answer["allow"] == true, ids, nil
}

// input is the question as OPA is asked it. keys are for tables: everything that a scope
// can ask of a principal, or of a resource.
func (q question) input() map[string]any {
	r := q.request()
	who, on := r.Principal, r.Resource
	keys := []any{"*", "is " + string(who.Type), "== " + string(who.Type) + "::" + string(who.ID)}
	roles := []any{}
	for _, role := range q.who.Roles {
		roles = append(roles, role)
		keys = append(keys, "in "+role, "is "+string(who.Type)+" in "+role)
	}
	groups := []any{}
	for _, g := range q.groups() {
		groups = append(groups, g)
	}
	return map[string]any{
		"action": q.verb, "groups": groups,
		"principal": map[string]any{
			"uid": string(who.Type) + "::" + string(who.ID), "kind": string(who.Type), "tenant": q.who.Tenant,
			"issuer": q.who.Issuer, "roles": roles, "demo": false, "keys": keys,
		},
		"resource": map[string]any{
			"uid": string(on.Type) + "::" + string(on.ID), "kind": string(on.Type), "tenant": q.on.Tenant,
			"quarantined": quarantined(q.on),
			"keys":        []any{"*", "is " + string(on.Type), "== " + string(on.Type) + "::" + string(on.ID)},
		},
		"context": map[string]any{"now": asked.UnixMilli(), "approved": true},
	}
}

// lines are all that a clause asks for.
func (c clause) lines() string {
	lines := slices.Concat(c.scope, c.body)
	if len(lines) == 0 {
		return "true"
	}
	return strings.Join(lines, "; ")
}

// reasoned has a rule for each policy, which gives its id.
func reasoned(t *translation, clauses []clause) (string, map[string]any) {
	var b strings.Builder
	b.WriteString("package pavise\n")
	for _, c := range clauses {
		fmt.Fprintf(&b, "%ss contains %q if { %s }\n", c.effect(), c.id, c.lines())
	}
	b.WriteString(`
answer := {"allow": false, "reasons": forbids} if { count(forbids) > 0 }
else := {"allow": count(permits) > 0, "reasons": permits}
`)
	return b.String() + t.rules.String(), nil
}

// decision is the rule at the top of those that only decide.
const decision = "package pavise\ndefault allow := false\nallow if { permit; not forbid }\n"

// ruled has a rule for each policy, which says that it holds.
func ruled(t *translation, clauses []clause) (string, map[string]any) {
	var b strings.Builder
	b.WriteString(decision)
	for _, c := range clauses {
		fmt.Fprintf(&b, "%s if { %s }\n", c.effect(), c.lines())
	}
	return b.String() + t.rules.String(), nil
}

// tabled keeps scopes as data, found by what they ask for, and has a rule for each
// condition. Policies that differ in their scopes alone are no rules at all.
func tabled(t *translation, clauses []clause) (string, map[string]any) {
	var b strings.Builder
	b.WriteString(decision)
	for _, effect := range []string{"permit", "forbid"} {
		fmt.Fprintf(&b, "%[1]s if {\n\tsome r in input.resource.keys\n\tsome p in input.principal.keys\n"+
			"\tsome c in data.%[1]ss[input.action][r][p]\n\tholds(c)\n}\n", effect)
	}
	data := map[string]any{"permits": map[string]any{}, "forbids": map[string]any{}}
	conditions := map[string]string{}
	for _, c := range clauses {
		body := "true"
		if len(c.body) > 0 {
			body = strings.Join(c.body, "; ")
		}
		name, known := conditions[body]
		if !known {
			name = fmt.Sprintf("c%d", len(conditions))
			conditions[body] = name
			fmt.Fprintf(&b, "holds(%q) if { %s }\n", name, body)
		}
		for _, verb := range t.covered(c.policy.Action) {
			table := below(below(data, c.effect()+"s"), verb)
			place := below(table, scopeKey(c.policy.Resource))
			key := scopeKey(c.policy.Principal)
			names, _ := place[key].([]any)
			place[key] = append(names, name)
		}
	}
	return b.String() + t.rules.String(), data
}

// effect is the name of the rule that the clause belongs to.
func (c clause) effect() string {
	if c.forbid {
		return "forbid"
	}
	return "permit"
}

// below returns the table under a key, made if need be.
func below(table map[string]any, key string) map[string]any {
	next, ok := table[key].(map[string]any)
	if !ok {
		next = map[string]any{}
		table[key] = next
	}
	return next
}
