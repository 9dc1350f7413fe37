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

	"github.com/pavise/pavise/bench/asked"
	"github.com/pavise/pavise/internal/policy"
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

func newOPA(ctx context.Context, s style, actions []policy.Action, policies []named, asks []asked.Question) (*opa, error) {
	t := newTranslation(actions)
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
		input, err := ast.InterfaceToValue(input(q))
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
func input(q asked.Question) map[string]any {
	r := q.Request()
	who, on := r.Principal, r.Resource
	keys := []any{"*", "is " + string(who.Type), "== " + string(who.Type) + "::" + string(who.ID)}
	for _, role := range q.Who.Roles {
		keys = append(keys, "in "+role, "is "+string(who.Type)+" in "+role)
	}
	resource := q.Known()
	resource["uid"], resource["kind"] = string(on.Type)+"::"+string(on.ID), string(on.Type)
	return map[string]any{
		"action": q.Act.Verb, "groups": list(asked.Groups(q.Act)),
		"principal": map[string]any{
			"uid": string(who.Type) + "::" + string(who.ID), "kind": string(who.Type), "tenant": q.Who.Tenant, "issuer": q.Who.Issuer,
			"environment": q.Who.Environment, "roles": list(q.Who.Roles), "asserted": list(q.Who.Roles), "demo": q.Demo, "keys": keys,
		},
		"resource": resource,
		"context":  map[string]any{"now": q.At.UnixMilli(), "approved": q.Approved},
		"keys":     []any{"*", "is " + string(on.Type), "== " + string(on.Type) + "::" + string(on.ID)},
	}
}

func list(all []string) []any {
	values := make([]any, len(all))
	for i, s := range all {
		values[i] = s
	}
	return values
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

// tabled keeps the scopes of permits as data, found by what they ask for, and has a rule
// for each of their conditions: policies that differ in their scopes alone are no rules at
// all. Forbids are few, and most of them are about everybody: they stay rules.
func tabled(t *translation, clauses []clause) (string, map[string]any) {
	var b strings.Builder
	b.WriteString(decision)
	b.WriteString("permit if {\n\tsome r in input.keys\n\tsome p in input.principal.keys\n" +
		"\tsome c in data.permits[input.action][r][p]\n\tholds(c)\n}\n")
	permits := map[string]any{}
	conditions := map[string]string{}
	for _, c := range clauses {
		if c.forbid {
			fmt.Fprintf(&b, "forbid if { %s }\n", c.lines())
			continue
		}
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
			place := below(below(permits, verb), scopeKey(c.policy.Resource))
			key := scopeKey(c.policy.Principal)
			names, _ := place[key].([]any)
			place[key] = append(names, name)
		}
	}
	return b.String() + t.rules.String(), map[string]any{"permits": permits}
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
