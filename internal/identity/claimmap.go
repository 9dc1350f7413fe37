package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/pavise/pavise"
)

// A ClaimMap says in CEL (cel.dev) what is made of the claims of an issuer's tokens.
// Each expression sees the payload as claims, and has the function escape, which is
// [Escape]. An empty one leaves what stands beside it. An expression that cannot be
// evaluated, that takes too long or that yields something else refuses the token.
type ClaimMap struct {
	ID          string `json:"id,omitempty"`          // a string: claims.sub, which then must be an id already
	Kind        string `json:"kind,omitempty"`        // "human", "workload" or "node": claims.pavise_kind, which is a workload's if absent
	Roles       string `json:"roles,omitempty"`       // a list of strings: claims.pavise_roles
	Environment string `json:"environment,omitempty"` // a string: Issuer.Environment
	// Organisation is a string, the one that the subject belongs to: none. Callers of one
	// are linked, which may give them one budget (package sybil).
	Organisation string `json:"organisation,omitempty"`
	Require      string `json:"require,omitempty"` // a bool, without which the token is refused: true
}

// The bounds of a claim map.
const (
	maxExpression = 4096    // bytes of one expression
	maxCost       = 100_000 // units of CEL's own for one evaluation
	maxRoles      = 64
)

// A claimReader is a compiled claim map. A program that is nil has its default.
type claimReader struct {
	id, kind, roles, environment, organisation, require cel.Program

	fixed string // environment without a program
	nodes bool   // pavise_kind may be node
}

// A saying is what a token says about its subject, as its record reads it.
type saying struct {
	id, kind, environment, organisation string
	roles                               []string
}

// newClaimReader compiles and type-checks the map of a record.
func newClaimReader(i Issuer) (*claimReader, error) {
	r := &claimReader{fixed: i.Environment, nodes: i.Ours}
	if i.Claims == (ClaimMap{}) {
		return r, nil
	}
	env, err := cel.NewEnv(
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Function("escape", cel.Overload("escape_string", []*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(escapeCEL))),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(64),
	)
	if err != nil {
		return nil, fmt.Errorf("make the language of claim maps: %w", err)
	}
	for _, e := range []struct {
		name, text string
		program    *cel.Program
		yields     []*cel.Type
	}{
		{"ID", i.Claims.ID, &r.id, []*cel.Type{cel.StringType}},
		{"Kind", i.Claims.Kind, &r.kind, []*cel.Type{cel.StringType}},
		{"Roles", i.Claims.Roles, &r.roles, []*cel.Type{cel.ListType(cel.StringType), cel.ListType(cel.DynType)}},
		{"Environment", i.Claims.Environment, &r.environment, []*cel.Type{cel.StringType}},
		{"Organisation", i.Claims.Organisation, &r.organisation, []*cel.Type{cel.StringType}},
		{"Require", i.Claims.Require, &r.require, []*cel.Type{cel.BoolType}},
	} {
		if *e.program, err = compile(env, e.text, e.yields); err != nil {
			return nil, i.fault("Claims."+e.name, err.Error(), "claims.NAME is a claim; it must yield "+e.yields[0].String()+"; docs/identity.md has examples")
		}
	}
	return r, nil
}

func escapeCEL(v ref.Val) ref.Val {
	s, ok := v.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(v)
	}
	return types.String(Escape(string(s)))
}

// compile makes a program of an expression that yields one of the types, or what only
// a token can show to be one. No text has no program.
func compile(env *cel.Env, text string, yields []*cel.Type) (cel.Program, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxExpression {
		return nil, fmt.Errorf("is longer than %d bytes", maxExpression)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, errors.New("cannot be compiled: " + strings.Join(strings.Fields(issues.Err().Error()), " "))
	}
	if out := ast.OutputType(); !out.IsExactType(cel.DynType) && !slices.ContainsFunc(yields, out.IsExactType) {
		return nil, fmt.Errorf("yields %s", out)
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, errors.New("cannot be compiled: " + err.Error())
	}
	return program, nil
}

// read evaluates the map over a token. Causes quote claims, so they end here.
func (r *claimReader) read(t *parsed) (saying, error) {
	says := saying{id: t.claims.subject, kind: t.claims.kind, environment: r.fixed, roles: t.claims.roles}
	var input map[string]any
	if *r != (claimReader{fixed: r.fixed, nodes: r.nodes}) {
		claims, ok := values(t.payload)
		if !ok {
			return saying{}, refuse(BadClaims)
		}
		input = map[string]any{"claims": claims}
	}
	if r.require != nil {
		met, ok := evaluate[types.Bool](r.require, input)
		if !ok {
			return saying{}, refuse(BadClaims)
		}
		if !met {
			return saying{}, refuse(Condition)
		}
	}
	for _, text := range []struct {
		program cel.Program
		to      *string
	}{{r.id, &says.id}, {r.kind, &says.kind}, {r.environment, &says.environment}, {r.organisation, &says.organisation}} {
		if text.program == nil {
			continue
		}
		s, ok := evaluate[types.String](text.program, input)
		if !ok {
			return saying{}, refuse(BadClaims)
		}
		*text.to = string(s)
	}
	if r.roles != nil {
		list, ok := evaluate[traits.Lister](r.roles, input)
		if !ok {
			return saying{}, refuse(BadClaims)
		}
		if says.roles, ok = listed(list); !ok {
			return saying{}, refuse(BadClaims)
		}
	}
	return says, r.check(&says)
}

// check sees that what was read can be a caller's, and completes the kind.
func (r *claimReader) check(says *saying) error {
	if says.kind == "" && r.kind == nil {
		says.kind = pavise.Workload // whom nobody called a person is none
	}
	switch {
	case !isKind(says.kind) || says.kind == pavise.Node && r.kind == nil && !r.nodes:
		return refuse(BadKind)
	case len(says.roles) > maxRoles || !plainWord(says.environment) || !plainWord(says.organisation):
		return refuse(BadClaims)
	}
	return nil
}

// evaluate runs a program and reports whether it yields a T.
func evaluate[T any](p cel.Program, input map[string]any) (T, bool) {
	out, _, err := p.Eval(input)
	if err != nil {
		var none T
		return none, false
	}
	v, ok := out.(T)
	return v, ok
}

// listed reads a CEL list of strings.
func listed(list traits.Lister) ([]string, bool) {
	if n, ok := list.Size().(types.Int); !ok || n > maxRoles {
		return nil, false
	}
	native, err := list.ConvertToNative(reflect.TypeFor[[]any]())
	items, ok := native.([]any)
	if err != nil || !ok {
		return nil, false
	}
	var out []string
	for _, item := range items {
		s, ok := item.(string)
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}

// values reads a payload that was found to be a JSON object, with whole numbers as
// such: as floats, two large ones could be equal. One that is too large for that is
// refused for the same reason.
func values(payload []byte) (map[string]any, bool) {
	d := json.NewDecoder(strings.NewReader(string(payload)))
	d.UseNumber()
	var m map[string]any
	if d.Decode(&m) != nil {
		return nil, false
	}
	return m, whole(m)
}

// whole replaces the numbers in a value, of bounded depth, by int64 and float64, and
// reports whether that loses none.
func whole(v any) bool {
	ok := true
	replaced := func(item any) any {
		n, is := item.(json.Number)
		if !is {
			ok = ok && whole(item)
			return item
		}
		if !strings.ContainsAny(string(n), ".eE") {
			i, err := n.Int64()
			ok = ok && err == nil
			return i
		}
		f, err := n.Float64()
		ok = ok && err == nil
		return f
	}
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			v[k] = replaced(item)
		}
	case []any:
		for i, item := range v {
			v[i] = replaced(item)
		}
	}
	return ok
}
