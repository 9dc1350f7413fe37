package guard

import (
	"crypto/sha256"
	_ "embed" // for the policies compiled in
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/pavise/pavise"
)

// Bounds of tenant policies. A text fits a record even when every byte of it
// is escaped, so the log holds each policy that ever was in force.
const (
	maxPolicies   = 256     // in one tenant
	maxPolicyText = 8 << 10 // bytes
)

// guardrailPrefix marks the ids of guardrails. Tenant ids cannot contain a
// slash, so no tenant policy can take a guardrail's name.
const guardrailPrefix = "guardrail/"

var (
	//go:embed guardrails.cedar
	guardrails string
	//go:embed default.cedar
	defaults string
)

// Defaults returns the tenant policies of a local install, by id: callers use
// models, analysts read, operators run the house.
func Defaults() map[string]string {
	texts := map[string]string{}
	for _, r := range mustSplit(defaults) {
		texts[r.id] = r.text
	}
	return texts
}

// A rule is one policy.
type rule struct {
	id     string
	text   string
	policy *cedar.Policy
	timed  bool // may look at the context: its text has the word, which is how Cedar spells it
}

// newRule returns the rule of a parsed policy.
func newRule(id, text string, policy *cedar.Policy) *rule {
	return &rule{id: id, text: text, policy: policy, timed: strings.Contains(text, "context")}
}

// guardrail reports whether the rule is one that no tenant can remove.
func (r *rule) guardrail() bool { return strings.HasPrefix(r.id, guardrailPrefix) }

// forbids reports whether the rule is a forbid.
func (r *rule) forbids() bool { return r.policy.Effect() == cedar.Forbid }

// A ruleset is what decides for one tenant: the guardrails and its own
// policies. It never changes once compiled.
type ruleset struct {
	digest string
	rules  scan            // guardrails in file order, then tenant policies by id
	byVerb map[string]scan // the rules whose action scope can match the verb
	loaded bool            // false for the guardrails alone
}

// A scan is the rules that Cedar evaluates for one question.
type scan []*rule

// All yields the rules in order; it makes a scan a cedar.PolicyIterator.
func (s scan) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, r := range s {
			if !yield(cedar.PolicyID(r.id), r.policy) {
				return
			}
		}
	}
}

// compile parses and validates a tenant's policies and puts them behind the
// guardrails. With no texts it returns the guardrails alone.
func (s *schema) compile(tenant string, texts map[string]string) (*ruleset, error) {
	if len(texts) > maxPolicies {
		return nil, &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("tenant %s would have %d policies, more than %d", tenant, len(texts), maxPolicies),
			Hint: "join policies that differ only in their action or role",
		}
	}
	set := &ruleset{
		digest: digest(texts), rules: slices.Clone(s.guardrails),
		byVerb: map[string]scan{}, loaded: len(texts) > 0,
	}
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		r, err := parse(pavise.Name{Tenant: tenant, Kind: kindPolicy, ID: id}, texts[id])
		if err != nil {
			return nil, err
		}
		if err := s.validate(r); err != nil {
			return nil, err
		}
		set.rules = append(set.rules, r)
	}
	for verb, a := range s.actions {
		for _, r := range set.rules {
			if r.covers(a) {
				set.byVerb[verb] = append(set.byVerb[verb], r)
			}
		}
	}
	return set, nil
}

// covers reports whether the rule's action scope can match the action. It is
// the whole of the index: whatever else a rule says is left to Cedar.
func (r *rule) covers(a *action) bool {
	matches := func(uid cedar.EntityUID) bool { return uid == a.entity.UID || a.entity.Parents.Contains(uid) }
	switch scope := r.ast().Action.(type) {
	case ast.ScopeTypeEq:
		return scope.Entity == a.entity.UID
	case ast.ScopeTypeIn:
		return matches(scope.Entity)
	case ast.ScopeTypeInSet:
		return slices.ContainsFunc(scope.Entities, matches)
	}
	return true
}

// ast returns the policy's syntax tree, which must not be changed.
func (r *rule) ast() *ast.Policy { return (*ast.Policy)(r.policy.AST()) }

// digest is SHA-256 over the guardrails and the texts sorted by id, each part
// preceded by its length, so that no two sets run together into one.
func digest(texts map[string]string) string {
	h := sha256.New()
	part := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		io.WriteString(h, s)
	}
	part("pavise policies v1")
	part(guardrails)
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		part(id)
		part(texts[id])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// mustSplit splits a file of the binary's own into its policies, each with its
// @id. What is compiled in and does not parse is a bug that every test sees.
func mustSplit(file string) []*rule {
	list, err := cedar.NewPolicyListFromBytes("", []byte(file))
	if err != nil {
		panic(fmt.Sprintf("guard: embedded policies: %v", err))
	}
	rules := make([]*rule, len(list))
	for i, p := range list {
		end := len(file)
		if i+1 < len(list) {
			end = list[i+1].Position().Offset
		}
		rules[i] = newRule(string(p.Annotations()["id"]), strings.TrimSpace(file[p.Position().Offset:end]), p)
	}
	return rules
}

// parse reads one tenant policy: exactly one Cedar statement.
func parse(name pavise.Name, text string) (*rule, error) {
	if err := name.Validate(); err != nil {
		return nil, err
	}
	refuse := func(line, column int, why string) error {
		return &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("policy %s, line %d, column %d: %s", name, line, column, why),
			Hint: "a policy is one Cedar statement: permit or forbid (principal, action, resource) when { … };",
		}
	}
	if len(text) > maxPolicyText {
		return nil, refuse(1, 1, fmt.Sprintf("text of %d bytes is longer than %d", len(text), maxPolicyText))
	}
	list, err := cedar.NewPolicyListFromBytes(name.String(), []byte(text))
	if err != nil {
		line, column, why := position(err.Error())
		return nil, refuse(line, column, why)
	}
	if len(list) != 1 {
		line, column := 1, 1
		if len(list) > 1 {
			line, column = list[1].Position().Line, list[1].Position().Column
		}
		return nil, refuse(line, column, fmt.Sprintf("%d statements, not 1", len(list)))
	}
	if id, ok := list[0].Annotations()["id"]; ok && string(id) != name.ID {
		p := list[0].Position()
		return nil, refuse(p.Line, p.Column, fmt.Sprintf("@id(%.80q) is not the policy's id", string(id)))
	}
	if at := fullName.FindStringIndex(text); at != nil {
		line := strings.Count(text[:at[0]], "\n") + 1
		column := len([]rune(text[strings.LastIndexByte(text[:at[0]], '\n')+1:at[0]])) + 1
		return nil, &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("policy %s, line %d, column %d: %.120s holds for nothing", name, line, column, text[at[0]:at[1]]),
			Hint: "in a policy, an entity's id is the last part of its name alone, as in Model::\"threat-detector\"; the tenant is that of the policy",
		}
	}
	return newRule(name.ID, text, list[0]), nil
}

// fullName finds an entity named by a full name, tenant/kind/id. No entity's id
// has a slash, so a rule about one would be accepted and never hold.
var fullName = regexp.MustCompile(`\b[A-Z][A-Za-z]*::"[^"\\]*/[^"\\]*"`)

// inputPosition is how cedar-go writes where in the text an error is.
var inputPosition = regexp.MustCompile(`<input>:(\d+):(\d+):? ?`)

// fence makes the guardrails ready to stand before every tenant's policies.
func (s *schema) fence() error {
	for _, r := range mustSplit(guardrails) {
		r.id = guardrailPrefix + r.id
		if err := s.validate(r); err != nil {
			return err
		}
		s.guardrails = append(s.guardrails, r)
	}
	return nil
}

// position takes line and column out of a parser's message.
func position(msg string) (line, column int, why string) {
	m := inputPosition.FindStringSubmatch(msg)
	if m == nil {
		return 1, 1, msg
	}
	line, _ = strconv.Atoi(m[1])
	column, _ = strconv.Atoi(m[2])
	why = strings.TrimPrefix(msg, "parser error: ")
	why = strings.Replace(why, m[0], "", 1)
	return line, column, clip(strings.Replace(why, "parse error at ", "near ", 1), maxText)
}

// validate checks the rule against the schema.
func (s *schema) validate(r *rule) error {
	err := s.validator.Policy("", r.ast())
	if err == nil {
		return nil
	}
	why, _, _ := strings.Cut(err.Error(), "\n")
	line, column := r.locate(why)
	return &pavise.Error{
		Kind: pavise.Invalid,
		Msg:  fmt.Sprintf("policy %s, line %d, column %d: %s", r.id, line, column, clip(why, maxText)),
		Hint: "name only the actions, types and attributes that the schema declares, and compare like with like; pavise policy schema prints it",
	}
}

// locate finds what a validator's message quotes in the policy's text: the
// validator itself knows no positions. It falls back to the statement.
func (r *rule) locate(why string) (line, column int) {
	at := r.policy.Position().Offset
	if r.guardrail() {
		at = 0
	}
	for i, quoted := range strings.Split(why, "`") {
		if i%2 == 0 || quoted == "" {
			continue
		}
		last := quoted[strings.LastIndexByte(quoted, '.')+1:]
		if found := strings.Index(r.text[at:], quoted); found >= 0 {
			at += found
			break
		} else if found := strings.Index(r.text[at:], last); found >= 0 {
			at += found
			break
		}
	}
	before := r.text[:at]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, len([]rune(before[start:])) + 1
}

// Load puts a tenant's policies in force, all at once, in place of those before;
// nil takes the tenant's policies away and so closes it. If one of them does
// not parse or speaks of what the schema does not declare, nothing changes and
// the error, of kind Invalid, says which, on which line and column, and why.
func (g *Guard) Load(tenant string, texts map[string]string) error {
	set, err := g.schema.compile(tenant, texts)
	if err != nil {
		return err
	}
	g.install(tenant, set)
	return nil
}

// install makes a compiled set the one in force.
func (g *Guard) install(tenant string, set *ruleset) {
	g.change(func(r *ruling) { r.tenants[tenant] = set })
}

// change replaces the ruling by one that edit has changed.
func (g *Guard) change(edit func(*ruling)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.rules.Load()
	next := &ruling{bare: old.bare, tenants: maps.Clone(old.tenants), observe: maps.Clone(old.observe)}
	edit(next)
	g.rules.Store(next)
}

// Loaded reports whether the tenant has policies in force. Without any, it is closed.
func (g *Guard) Loaded(tenant string) bool { return g.rules.Load().set(tenant).loaded }

// Digest returns the hex SHA-256 of what decides for the tenant: the guardrails
// and its policies in force.
func (g *Guard) Digest(tenant string) string { return g.rules.Load().set(tenant).digest }
