package guard

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	cedarschema "github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
	"github.com/pavise/pavise"
)

// The verbs that the guard itself serves or that its guardrails speak of.
const (
	verbPut     = "policy.put"
	verbPropose = "change.propose"
	verbApprove = "change.approve"
	verbDeny    = "change.deny"
	verbDelete  = "policy.delete"
	verbList    = "policy.list"
	verbExplain = "policy.explain"
	verbSchema  = "policy.schema"
	verbClock   = "clock.accept"
	verbInfer   = "model.infer"

	verbExchange = "issuer.exchange"
	verbWhoami   = "issuer.whoami"
)

// Verbs returns the actions that every guard knows because its guardrails or its
// default policies name them or its own methods enter them. An Action of Config with
// the same verb takes precedence.
func Verbs() []Action {
	return []Action{
		{Verb: verbPut, On: []string{kindPolicy}, Consequential: true},
		{Verb: verbDelete, On: []string{kindPolicy}, Consequential: true},
		{Verb: verbPropose, On: []string{kindChange}},
		{Verb: "change.emergency", On: []string{kindChange}, Safe: true},
		{Verb: verbApprove, On: []string{kindChange}},
		{Verb: verbDeny, On: []string{kindChange}},
		{Verb: "change.list", On: []string{kindChange}, Class: Pooled},
		{Verb: "change.show", On: []string{kindChange}, Class: Pooled},
		{Verb: "change.rules", On: []string{kindChange}, Class: Pooled},
		{Verb: "witness.list", On: []string{"log"}, Class: Pooled},
		{Verb: "archive.list", On: []string{"archive"}, Class: Pooled},
		{Verb: "subject.shred", On: []string{"subject"}, Consequential: true},
		{Verb: verbList, On: []string{kindPolicy}, Class: Pooled},
		{Verb: verbExplain, On: []string{kindPolicy}, Class: Pooled},
		{Verb: verbSchema, On: []string{kindPolicy}, Class: Pooled},
		{Verb: verbClock, On: []string{"clock"}, Safe: true},
		{Verb: verbExchange, On: []string{"issuer"}, Class: Pooled},
		{Verb: verbWhoami, On: []string{"issuer"}, Class: Pooled},
		{Verb: verbInfer, On: []string{"model"}, Class: Pooled},
	}
}

// The kinds of thing that the guardrails speak of by name.
const (
	kindPolicy = "policy"
	kindChange = "change"
)

// consequential is the group of actions that are done only as an approved change.
const consequential = "consequential"

// principalTypes maps the kinds of principal to their entity types.
var principalTypes = map[string]cedar.EntityType{
	pavise.Human:    "Human",
	pavise.Workload: "Workload",
	pavise.Node:     "Node",
}

// roleType and actionType are the entity types of roles and actions.
const (
	roleType   cedar.EntityType = "Role"
	actionType cedar.EntityType = "Action"
)

// A schema says what policies may speak of, and checks that they do not speak
// of anything else.
type schema struct {
	text       string
	actions    map[string]*action          // by verb
	types      map[string]cedar.EntityType // entity type of each kind of thing
	validator  *validate.Validator
	guardrails scan
}

// An action is an Action as Cedar sees it.
type action struct {
	Action
	groups []string     // room, class, and consequential if it is
	entity cedar.Entity // with its groups as parents
}

// newSchema generates the schema of the actions and those of Verbs.
func newSchema(actions []Action) (*schema, error) {
	s := &schema{actions: map[string]*action{}, types: map[string]cedar.EntityType{}}
	for _, a := range actions {
		if _, twice := s.actions[a.Verb]; twice {
			return nil, fmt.Errorf("action %q is listed twice", a.Verb)
		}
		if err := s.add(a); err != nil {
			return nil, err
		}
	}
	for _, a := range Verbs() {
		if _, given := s.actions[a.Verb]; given {
			continue
		}
		if err := s.add(a); err != nil {
			return nil, err
		}
	}
	s.text = s.generate()
	var parsed cedarschema.Schema
	if err := parsed.UnmarshalCedar([]byte(s.text)); err != nil {
		return nil, fmt.Errorf("parse the generated policy schema: %w", err)
	}
	resolved, err := parsed.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolve the generated policy schema: %w", err)
	}
	s.validator = validate.New(resolved)
	return s, s.fence()
}

// add takes one action in, with the entity types of what it applies to.
func (s *schema) add(a Action) error {
	room, what, _ := strings.Cut(a.Verb, ".")
	if !isWord(room) || !isWord(what) || slices.Contains([]string{Control.String(), Pooled.String(), consequential}, room) {
		return fmt.Errorf("verb %q is not room.what in lower-case letters and digits", a.Verb)
	}
	if len(a.On) == 0 {
		return fmt.Errorf("verb %q applies to nothing", a.Verb)
	}
	for _, kind := range a.On {
		typ, err := entityType(kind)
		if err != nil {
			return fmt.Errorf("verb %q: %w", a.Verb, err)
		}
		for other, taken := range s.types {
			if taken == typ && other != kind {
				return fmt.Errorf("kinds %q and %q are both entity type %s", other, kind, typ)
			}
		}
		s.types[kind] = typ
	}
	a.On = slices.Clone(a.On)
	act := &action{Action: a, groups: []string{room, a.Class.String()}}
	if a.Consequential {
		act.groups = append(act.groups, consequential)
	}
	parents := make([]cedar.EntityUID, len(act.groups))
	for i, name := range act.groups {
		parents[i] = group(name)
	}
	act.entity = cedar.Entity{UID: cedar.NewEntityUID(actionType, cedar.String(a.Verb)), Parents: cedar.NewEntityUIDSet(parents...)}
	s.actions[a.Verb] = act
	return nil
}

// group returns the action group with the name.
func group(name string) cedar.EntityUID { return cedar.NewEntityUID(actionType, cedar.String(name)) }

// entityType returns the entity type of a kind of thing: training-run becomes
// TrainingRun.
func entityType(kind string) (cedar.EntityType, error) {
	var b strings.Builder
	for word := range strings.SplitSeq(kind, "-") {
		if !isWord(word) {
			return "", fmt.Errorf("kind %q is not of lower-case words joined by -", kind)
		}
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	typ := cedar.EntityType(b.String())
	if typ == roleType || typ == actionType || slices.Contains(slices.Collect(maps.Values(principalTypes)), typ) {
		return "", fmt.Errorf("kind %q takes the entity type %s", kind, typ)
	}
	return typ, nil
}

// isWord reports whether s is a lower-case letter and then letters, digits,
// dots and dashes that end in a letter or digit.
func isWord(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z':
		case i > 0 && '0' <= c && c <= '9':
		case i > 0 && i < len(s)-1 && (c == '.' || c == '-' || c == '_'):
		default:
			return false
		}
	}
	return s != ""
}

// generate writes the schema in Cedar's own notation, in a fixed order.
func (s *schema) generate() string {
	var b strings.Builder
	b.WriteString("// Who asks: a person, a program or a machine, in the roles its issuer names.\nentity Role;\n")
	b.WriteString("entity Human, Workload, Node in [Role] {\n" +
		"  tenant: String,\n  issuer: String,\n  roles: Set<String>,\n  demo: Bool, // vouched for by the local issuer\n};\n\n")
	var things []string
	for _, typ := range s.types {
		things = append(things, string(typ))
	}
	slices.Sort(things)
	fmt.Fprintf(&b, "// What is acted on.\nentity %s {\n  tenant: String,\n  quarantined: Bool,\n};\n\n", strings.Join(things, ", "))
	verbs := slices.Sorted(maps.Keys(s.actions))
	b.WriteString("// Groups: the two classes, what is done only as an approved change, and each room.\n")
	groups := []string{Control.String(), Pooled.String(), consequential}
	for _, verb := range verbs {
		groups = append(groups, room(verb))
	}
	for _, name := range slices.Compact(groups) {
		fmt.Fprintf(&b, "action %q;\n", name)
	}
	for _, verb := range verbs {
		a := s.actions[verb]
		var on []string
		for _, kind := range a.On {
			on = append(on, string(s.types[kind]))
		}
		slices.Sort(on)
		quoted := make([]string, len(a.groups))
		for i, name := range a.groups {
			quoted[i] = strconv.Quote(name)
		}
		fmt.Fprintf(&b, "\naction %q in [%s] appliesTo {\n  principal: [Human, Workload, Node],\n  resource: [%s],\n  context: { now: datetime, approved: Bool },\n};\n",
			verb, strings.Join(quoted, ", "), strings.Join(slices.Compact(on), ", "))
	}
	return b.String()
}

// room returns the part of a verb before its first dot.
func room(verb string) string {
	name, _, _ := strings.Cut(verb, ".")
	return name
}

// Schema returns what policies may speak of, as Cedar schema text: the types of
// principals and things with their attributes, and every action with what it
// applies to.
func (g *Guard) Schema() string { return g.schema.text }
