package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/pavise/pavise/bench/asked"
	"github.com/pavise/pavise/internal/policy"
)

// A translation turns Cedar policies into Rego that decides the same. What a scope asks
// for becomes equalities and memberships of the input, which is what OPA's rule index
// is built on; they come first in each body.
type translation struct {
	verbs   map[string][]string // by action group
	helpers map[string]string   // name by the text of what it holds
	rules   strings.Builder     // of the helpers
	locals  int                 // variables made up
}

// A clause is one policy as Rego.
type clause struct {
	id     string
	forbid bool
	scope  []string // expressions, all of which must hold
	body   []string // and those of its conditions
	policy *ast.Policy
}

func newTranslation(actions []policy.Action) *translation {
	t := &translation{verbs: map[string][]string{}, helpers: map[string]string{}}
	for _, a := range actions {
		for _, group := range asked.Groups(a) {
			t.verbs[group] = append(t.verbs[group], a.Verb)
		}
	}
	return t
}

// clauses translates policies, or says which of them speaks of something that this
// translation does not know.
func (t *translation) clauses(policies []named) ([]clause, error) {
	all := make([]clause, len(policies))
	for i, p := range policies {
		tree := (*ast.Policy)(p.policy.AST())
		c := clause{id: p.id, forbid: p.policy.Effect() == cedar.Forbid, policy: tree}
		c.scope = slices.Concat(action(tree.Action), principal(tree.Principal), resource(tree.Resource))
		for _, cond := range tree.Conditions {
			lines, err := t.condition(cond)
			if err != nil {
				return nil, fmt.Errorf("policy %s: %w", p.id, err)
			}
			c.body = append(c.body, lines...)
		}
		all[i] = c
	}
	return all, nil
}

func (t *translation) condition(c ast.ConditionType) ([]string, error) {
	if c.Condition == ast.ConditionWhen {
		return t.holds(c.Body)
	}
	return t.fails(c.Body)
}

// action translates an action's scope. The input has the verb, and its groups.
func action(scope ast.IsActionScopeNode) []string {
	of := func(uid types.EntityUID) string {
		if strings.Contains(string(uid.ID), ".") {
			return "input.action == " + quote(uid.ID)
		}
		return quote(uid.ID) + " in input.groups"
	}
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return []string{of(s.Entity)}
	case ast.ScopeTypeIn:
		return []string{of(s.Entity)}
	case ast.ScopeTypeInSet:
		verbs := make([]string, len(s.Entities))
		for i, uid := range s.Entities {
			verbs[i] = quote(uid.ID)
		}
		return []string{"input.action in {" + strings.Join(verbs, ", ") + "}"}
	}
	return nil
}

// covered returns every verb that an action's scope matches.
func (t *translation) covered(scope ast.IsActionScopeNode) []string {
	of := func(uid types.EntityUID) []string {
		if verbs, group := t.verbs[string(uid.ID)]; group {
			return verbs
		}
		return []string{string(uid.ID)}
	}
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return of(s.Entity)
	case ast.ScopeTypeIn:
		return of(s.Entity)
	case ast.ScopeTypeInSet:
		var all []string
		for _, uid := range s.Entities {
			all = append(all, of(uid)...)
		}
		return all
	}
	return append(slices.Clone(t.verbs["pooled"]), t.verbs["control"]...)
}

// scopeKey spells what a principal's or resource's scope asks for, as the keys of the
// input are spelled.
func scopeKey(scope ast.IsScopeNode) string {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return "== " + string(s.Entity.Type) + "::" + string(s.Entity.ID)
	case ast.ScopeTypeIn:
		return "in " + string(s.Entity.ID)
	case ast.ScopeTypeIs:
		return "is " + string(s.Type)
	case ast.ScopeTypeIsIn:
		return "is " + string(s.Type) + " in " + string(s.Entity.ID)
	}
	return "*"
}

// principal translates a principal's scope. The only parents are roles.
func principal(scope ast.IsPrincipalScopeNode) []string {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return []string{"input.principal.uid == " + uid(s.Entity)}
	case ast.ScopeTypeIn:
		return []string{quote(s.Entity.ID) + " in input.principal.roles"}
	case ast.ScopeTypeIs:
		return []string{"input.principal.kind == " + quote(s.Type)}
	case ast.ScopeTypeIsIn:
		return []string{"input.principal.kind == " + quote(s.Type), quote(s.Entity.ID) + " in input.principal.roles"}
	}
	return nil
}

func resource(scope ast.IsResourceScopeNode) []string {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return []string{"input.resource.uid == " + uid(s.Entity)}
	case ast.ScopeTypeIs:
		return []string{"input.resource.kind == " + quote(s.Type)}
	}
	return nil
}

func quote[T ~string](s T) string { return strconv.Quote(string(s)) }

// uid spells an entity as the input does. Actions are spelled by their verb alone.
func uid(e types.EntityUID) string {
	if e.Type == "Action" {
		return quote(e.ID)
	}
	return strconv.Quote(string(e.Type) + "::" + string(e.ID))
}

// holds returns expressions that hold together exactly when the node does.
func (t *translation) holds(n ast.IsNode) ([]string, error) {
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		return t.both(n.Left, n.Right)
	case ast.NodeTypeOr:
		name, err := t.helper(n.Left, n.Right)
		return []string{name}, err
	case ast.NodeTypeNot:
		return t.fails(n.Arg)
	}
	line, err := t.plain(n)
	return []string{line}, err
}

func (t *translation) both(left, right ast.IsNode) ([]string, error) {
	a, err := t.holds(left)
	if err != nil {
		return nil, err
	}
	b, err := t.holds(right)
	return append(a, b...), err
}

// opposites are what holds instead of a comparison that does not, given that both sides
// are always there.
var opposites = map[string]string{"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}

// fails returns expressions that hold together exactly when the node does not.
func (t *translation) fails(n ast.IsNode) ([]string, error) {
	switch n := n.(type) {
	case ast.NodeTypeNot:
		return t.holds(n.Arg)
	case ast.NodeTypeOr:
		a, err := t.fails(n.Left)
		if err != nil {
			return nil, err
		}
		b, err := t.fails(n.Right)
		return append(a, b...), err
	case ast.NodeTypeAnd, ast.NodeTypeContainsAll, ast.NodeTypeContainsAny:
		name, err := t.helper(n)
		return []string{"not " + name}, err
	}
	if pair, op, ok := compared(n); ok {
		line, err := infix(pair.Left, opposites[op], pair.Right)
		return []string{line}, err
	}
	line, err := t.plain(n)
	return []string{"not " + line}, err
}

// compared takes apart what compares two values.
func compared(n ast.IsNode) (pair ast.BinaryNode, op string, ok bool) {
	switch n := n.(type) {
	case ast.NodeTypeEquals:
		return n.BinaryNode, "==", true
	case ast.NodeTypeNotEquals:
		return n.BinaryNode, "!=", true
	case ast.NodeTypeLessThan:
		return n.BinaryNode, "<", true
	case ast.NodeTypeLessThanOrEqual:
		return n.BinaryNode, "<=", true
	case ast.NodeTypeGreaterThan:
		return n.BinaryNode, ">", true
	case ast.NodeTypeGreaterThanOrEqual:
		return n.BinaryNode, ">=", true
	}
	return pair, "", false
}

// helper returns the name of a rule that holds when one of the nodes does.
func (t *translation) helper(nodes ...ast.IsNode) (string, error) {
	bodies := make([]string, len(nodes))
	for i, n := range nodes {
		lines, err := t.holds(n)
		if err != nil {
			return "", err
		}
		bodies[i] = strings.Join(lines, "; ")
	}
	key := strings.Join(bodies, " | ")
	name, known := t.helpers[key]
	if !known {
		name = fmt.Sprintf("h%d", len(t.helpers))
		t.helpers[key] = name
		for _, body := range bodies {
			fmt.Fprintf(&t.rules, "%s if { %s }\n", name, body)
		}
	}
	return name, nil
}

// plain translates what is one expression.
func (t *translation) plain(n ast.IsNode) (string, error) {
	if pair, op, ok := compared(n); ok {
		return infix(pair.Left, op, pair.Right)
	}
	switch n := n.(type) {
	case ast.NodeTypeContains:
		return infix(n.Right, "in", n.Left)
	case ast.NodeTypeContainsAll:
		return each("every x in %[2]s { x in %[1]s }", n.Left, n.Right)
	case ast.NodeTypeContainsAny:
		t.locals++
		x := fmt.Sprintf("x%d", t.locals)
		return each("some "+x+" in %[2]s; "+x+" in %[1]s", n.Left, n.Right)
	case ast.NodeTypeIs:
		value, err := term(n.Left)
		return strings.Replace(value, ".uid", ".kind", 1) + " == " + quote(n.EntityType), err
	case ast.NodeTypeIn:
		return in(n)
	case ast.NodeTypeLike:
		value, err := term(n.Arg)
		return fmt.Sprintf("glob.match(%s, null, %s)", n.Value.MarshalCedar(), value), err
	case ast.NodeTypeAccess, ast.NodeValue:
		return term(n)
	}
	return "", fmt.Errorf("%T has no translation", n)
}

// in translates membership in a role or in a group of actions.
func in(n ast.NodeTypeIn) (string, error) {
	who, _ := n.Left.(ast.NodeTypeVariable)
	what, ok := n.Right.(ast.NodeValue)
	if !ok {
		return "", fmt.Errorf("in %T has no translation", n.Right)
	}
	e, ok := what.Value.(types.EntityUID)
	switch {
	case ok && who.Name == "principal":
		return principal(ast.Scope{}.In(e))[0], nil
	case ok && who.Name == "action":
		return action(ast.Scope{}.In(e))[0], nil
	}
	return "", fmt.Errorf("%s in %v has no translation", who.Name, what.Value)
}

func infix(left ast.IsNode, op string, right ast.IsNode) (string, error) {
	return each("%s "+op+" %s", left, right)
}

func each(format string, left, right ast.IsNode) (string, error) {
	a, err := term(left)
	if err != nil {
		return "", err
	}
	b, err := term(right)
	return fmt.Sprintf(format, a, b), err
}

// term translates a value.
func term(n ast.IsNode) (string, error) {
	switch n := n.(type) {
	case ast.NodeTypeVariable:
		if n.Name == "action" {
			return "input.action", nil
		}
		return "input." + string(n.Name) + ".uid", nil
	case ast.NodeTypeAccess:
		of, ok := n.Arg.(ast.NodeTypeVariable)
		if !ok {
			return "", fmt.Errorf("attribute %s of %T has no translation", n.Value, n.Arg)
		}
		return fmt.Sprintf("input.%s.%s", of.Name, n.Value), nil
	case ast.NodeTypeSet:
		return terms(n.Elements)
	case ast.NodeTypeExtensionCall:
		if n.Name != "datetime" {
			return "", fmt.Errorf("%s has no translation", n.Name)
		}
		return datetime(n.Args[0])
	case ast.NodeValue:
		return value(n.Value)
	}
	return "", fmt.Errorf("%T as a value has no translation", n)
}

func terms(nodes []ast.IsNode) (string, error) {
	list := make([]string, len(nodes))
	for i, n := range nodes {
		var err error
		if list[i], err = term(n); err != nil {
			return "", err
		}
	}
	return "[" + strings.Join(list, ", ") + "]", nil
}

// datetime translates a date into the milliseconds that the input has.
func datetime(n ast.IsNode) (string, error) {
	text, ok := n.(ast.NodeValue)
	if !ok {
		return "", fmt.Errorf("datetime of %T has no translation", n)
	}
	d, err := types.ParseDatetime(string(text.Value.(types.String)))
	return fmt.Sprint(d.Milliseconds()), err
}

func value(v types.Value) (string, error) {
	switch v := v.(type) {
	case types.String:
		return quote(v), nil
	case types.Boolean, types.Long:
		return fmt.Sprint(v), nil
	case types.Datetime:
		return fmt.Sprint(v.Milliseconds()), nil
	case types.EntityUID:
		return uid(v), nil
	case types.Set:
		list := make([]ast.IsNode, 0, v.Len())
		for e := range v.All() {
			list = append(list, ast.NodeValue{Value: e})
		}
		return terms(list)
	}
	return "", fmt.Errorf("value %v has no translation", v)
}
