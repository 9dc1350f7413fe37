package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/pavise/pavise"
)

// Bounds of tenant policies. A text fits a record even when every byte of it
// is escaped, so the log holds each policy that ever was in force.
const (
	MaxPolicies = 16384   // in one tenant
	MaxText     = 8 << 10 // bytes of one policy
	maxDepth    = 64      // brackets within brackets: what it takes to validate grows with the square
)

// guardrailPrefix marks the ids of guardrails. Tenant ids cannot contain a
// slash, so no tenant policy can take a guardrail's name.
const guardrailPrefix = "guardrail/"

// maxSaid bounds what an error repeats of a policy, in bytes.
const maxSaid = 512

// A rule is one policy.
type rule struct {
	id     string
	text   string
	policy *cedar.Policy
	timed  bool // may look at the context: its text has the word, which is how Cedar spells it
	at     int  // its place in the set's rules
}

// newRule returns the rule of a parsed policy.
func newRule(id, text string, policy *cedar.Policy) *rule {
	return &rule{id: id, text: text, policy: policy, timed: strings.Contains(text, "context")}
}

// guardrail reports whether the rule is one that no tenant can remove.
func (r *rule) guardrail() bool { return strings.HasPrefix(r.id, guardrailPrefix) }

// forbids reports whether the rule is a forbid.
func (r *rule) forbids() bool { return r.policy.Effect() == cedar.Forbid }

// A Set is what decides for one tenant: the guardrails and its own policies. It
// never changes once compiled.
type Set struct {
	schema  *Schema
	digest  string
	rules   scan                      // guardrails in file order, then tenant policies by id
	byID    map[string]*rule          // the tenant's own
	shelves map[cedar.EntityUID]shelf // all of them, by what their scopes ask for: the verb or group first
	loaded  bool                      // false for the guardrails alone
	kept    cache[choice, *answer]
}

// Loaded reports whether the tenant has policies of its own. Without any it is closed.
func (s *Set) Loaded() bool { return s.loaded }

// Digest returns the hex SHA-256 of what decides: the guardrails and the policies.
func (s *Set) Digest() string { return s.digest }

// Len returns how many policies the tenant has.
func (s *Set) Len() int { return len(s.byID) }

// Compile parses and validates a tenant's policies and puts them behind the
// guardrails. With no texts it returns the guardrails alone. Policies that stand in the
// set before with the same text, nil for none, are not read again. The error is of kind
// Invalid and says which policy, on which line and column, and why.
func (s *Schema) Compile(tenant string, texts map[string]string, before *Set) (*Set, error) {
	if len(texts) > MaxPolicies {
		return nil, &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("tenant %s would have %d policies, more than %d", tenant, len(texts), MaxPolicies),
			Hint: "join policies that differ only in their action or role",
		}
	}
	set := &Set{schema: s, digest: Digest(texts), byID: make(map[string]*rule, len(texts)), loaded: len(texts) > 0}
	for _, r := range s.guardrails {
		set.add(*r)
	}
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		r, err := s.rule(tenant, id, texts[id], before)
		if err != nil {
			return nil, err
		}
		set.byID[id] = set.add(*r)
	}
	set.index()
	return set, nil
}

// rule returns a policy, read before or now.
func (s *Schema) rule(tenant, id, text string, before *Set) (*rule, error) {
	if before != nil && before.schema == s {
		if r, ok := before.byID[id]; ok && r.text == text {
			return r, nil
		}
	}
	r, err := parse(pavise.Name{Tenant: tenant, Kind: KindPolicy, ID: id}, text)
	if err != nil {
		return nil, err
	}
	if err := s.validate(r); err != nil {
		return nil, err
	}
	return r, nil
}

// add appends a copy of a rule, which has a place of its own in this set.
func (s *Set) add(r rule) *rule {
	r.at = len(s.rules)
	s.rules = append(s.rules, &r)
	return &r
}

// covers reports whether the rule's action scope can match the action.
func (r *rule) covers(a *Act) bool {
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

// Digest is SHA-256 over the guardrails and the texts sorted by id, each part
// preceded by its length, so that no two sets run together into one.
func Digest(texts map[string]string) string {
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
		panic(fmt.Sprintf("policy: embedded policies: %v", err))
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
	if len(text) > MaxText {
		return nil, refuse(1, 1, fmt.Sprintf("text of %d bytes is longer than %d", len(text), MaxText))
	}
	if at := tooDeep(text); at >= 0 {
		line, column := lineOf(text, at)
		return nil, refuse(line, column, fmt.Sprintf("brackets nest deeper than %d", maxDepth))
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
		line, column := lineOf(text, at[0])
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
func (s *Schema) fence() error {
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
	return line, column, clip(strings.Replace(why, "parse error at ", "near ", 1), maxSaid)
}

// sound remembers which policies hold against which schema, since that is a matter of their
// texts alone and takes milliseconds for each.
var sound verdicts

// maxSound is how many verdicts are remembered; then it begins anew.
const maxSound = 4096

// verdicts are digests of a schema and a policy that holds against it.
type verdicts struct {
	mu  sync.Mutex // guards all
	all map[[sha256.Size]byte]bool
}

func (v *verdicts) has(sum [sha256.Size]byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.all[sum]
}

func (v *verdicts) add(sum [sha256.Size]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all == nil || len(v.all) >= maxSound {
		v.all = map[[sha256.Size]byte]bool{}
	}
	v.all[sum] = true
}

// validate checks the rule against the schema.
func (s *Schema) validate(r *rule) error {
	sum := sha256.Sum256(fmt.Appendf(nil, "%x %d %s %s", s.digest, len(r.id), r.id, r.text))
	if sound.has(sum) {
		return nil
	}
	err := s.validator.Policy("", r.ast())
	if err == nil {
		sound.add(sum)
		return nil
	}
	why, _, _ := strings.Cut(err.Error(), "\n")
	line, column := r.locate(why)
	return &pavise.Error{
		Kind: pavise.Invalid,
		Msg:  fmt.Sprintf("policy %s, line %d, column %d: %s", r.id, line, column, clip(why, maxSaid)),
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
	return lineOf(r.text, at)
}

// lineOf returns the line and the column, in characters, of a byte of a text.
func lineOf(text string, at int) (line, column int) {
	before := text[:at]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[start:]) + 1
}

// aside are the parts of a text in which brackets are none: comments and strings.
var aside = regexp.MustCompile(`//[^\n]*|"(?:[^"\\]|\\.)*"`)

// tooDeep returns where brackets nest deeper than maxDepth, or -1.
func tooDeep(text string) int {
	depth, skipped := 0, append(aside.FindAllStringIndex(text, -1), []int{len(text), len(text)})
	at := 0
	for _, part := range skipped {
		for ; at < part[0]; at++ {
			switch text[at] {
			case '(', '[', '{':
				if depth++; depth > maxDepth {
					return at
				}
			case ')', ']', '}':
				depth--
			}
		}
		at = part[1]
	}
	return -1
}
