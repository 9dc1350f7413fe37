package policy

import (
	"crypto/sha256"
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

// A Schema says what policies may speak of, and checks that they do not speak
// of anything else. It never changes.
type Schema struct {
	text       string
	digest     [sha256.Size]byte           // of the text
	actions    map[string]*Act             // by verb
	types      map[string]cedar.EntityType // entity type of each kind of thing
	validator  *validate.Validator
	guardrails scan
}

// An Act is an Action as Cedar sees it.
type Act struct {
	Action
	groups []string     // room, class, and consequential if it is
	entity cedar.Entity // with its groups as parents
}

// NewSchema generates the schema of the actions, of those of Named and of the
// Catalogue; of several with one verb, the first of these counts.
func NewSchema(actions []Action) (*Schema, error) {
	s := &Schema{actions: map[string]*Act{}, types: map[string]cedar.EntityType{}}
	for _, a := range actions {
		if _, twice := s.actions[a.Verb]; twice {
			return nil, fmt.Errorf("action %q is listed twice", a.Verb)
		}
		if err := s.add(a); err != nil {
			return nil, err
		}
	}
	for _, a := range slices.Concat(Named(), Catalogue()) {
		if _, given := s.actions[a.Verb]; given {
			continue
		}
		if err := s.add(a); err != nil {
			return nil, err
		}
	}
	s.text = s.generate()
	s.digest = sha256.Sum256([]byte(s.text))
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
func (s *Schema) add(a Action) error {
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
	act := &Act{Action: a, groups: []string{room, a.Class.String()}}
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
func (s *Schema) generate() string {
	var b strings.Builder
	b.WriteString("// Who asks: a person, a program or a machine, in the roles its issuer names.\nentity Role;\n")
	b.WriteString("entity Human, Workload, Node in [Role] {\n" +
		"  tenant: String,\n  issuer: String,\n  environment: String, // where it runs, says its issuer\n" +
		"  roles: Set<String>, // all that it has\n  asserted: Set<String>, // of these, what its issuer says\n" +
		"  demo: Bool, // vouched for by the local issuer\n};\n\n")
	s.generateThings(&b)
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

// generateThings writes the types of things: first those that have nothing of their own.
func (s *Schema) generateThings(b *strings.Builder) {
	b.WriteString("// What is acted on.\n")
	var plain []string
	for kind, typ := range s.types {
		if extras[kind] == nil {
			plain = append(plain, string(typ))
		}
	}
	slices.Sort(plain)
	if len(plain) > 0 {
		fmt.Fprintf(b, "entity %s {\n  tenant: String,\n  quarantined: Bool,\n};\n", strings.Join(plain, ", "))
	}
	for _, kind := range slices.Sorted(maps.Keys(s.types)) {
		if extras[kind] == nil {
			continue
		}
		fmt.Fprintf(b, "entity %s {\n  tenant: String,\n  quarantined: Bool,\n", s.types[kind])
		for _, name := range extras[kind] {
			fmt.Fprintf(b, "  %s: %s,\n", name, attributeType(name))
		}
		b.WriteString("};\n")
	}
	b.WriteByte('\n')
}

// attributeType is the Cedar type of one of the extras.
func attributeType(name string) string {
	if name == "scrubbed" {
		return "Bool"
	}
	return "String"
}

// room returns the part of a verb before its first dot.
func room(verb string) string {
	name, _, _ := strings.Cut(verb, ".")
	return name
}

// Text returns what policies may speak of, as Cedar schema text: the types of
// principals and things with their attributes, and every action with what it
// applies to.
func (s *Schema) Text() string { return s.text }

// Act returns the action of a verb.
func (s *Schema) Act(verb string) (*Act, bool) {
	a, known := s.actions[verb]
	return a, known
}

// Actions returns every action, by verb.
func (s *Schema) Actions() []Action {
	all := make([]Action, 0, len(s.actions))
	for _, verb := range slices.Sorted(maps.Keys(s.actions)) {
		all = append(all, s.actions[verb].Action)
	}
	return all
}
