package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// An Expectation is what a set of policies is to answer to somebody.
type Expectation struct {
	Who      pavise.Principal
	Verb     string
	On       pavise.Name
	Facts    Facts
	At       time.Time
	Approved bool   // it is a change that others have approved
	Allow    bool   // what is expected
	By       string // a policy that has to be among those that decide; "": whichever
}

// Check decides what an expectation asks and reports whether it holds. The error, of
// kind Invalid, says that nobody could ever ask it: there is no such verb, it does not
// apply to the thing, or nothing like the facts is ever known of it.
func (s *Set) Check(e Expectation) (d Decision, holds bool, err error) {
	act, known := s.schema.Act(e.Verb)
	if !known {
		return d, false, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("no such verb: %.80q", e.Verb), Hint: "pavise policy matrix shows all there are"}
	}
	if !slices.Contains(act.On, e.On.Kind) {
		return d, false, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s does not apply to a %.80s", e.Verb, e.On.Kind), Hint: "it applies to: " + strings.Join(act.On, ", ")}
	}
	if err := e.Facts.fit(e.On.Kind); err != nil {
		return d, false, err
	}
	d = s.Fresh(&Question{Who: NewSubject(e.Who, nil, false), Act: act, On: s.schema.Thing(e.On, e.Facts), At: e.At, Approved: e.Approved})
	return d, d.Allow == e.Allow && (e.By == "" || slices.Contains(d.Reasons, e.By)), nil
}

// fit refuses facts that things of a kind never have.
func (f Facts) fit(kind string) error {
	for _, fact := range []struct {
		name  string
		given bool
	}{{"state", f.State != ""}, {"risk", f.Risk != ""}, {"environment", f.Environment != ""}, {"scrubbed", f.Scrubbed}} {
		if fact.given && !slices.Contains(extras[kind], fact.name) {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("nobody knows the %s of a %s", fact.name, kind), Hint: "of a " + kind + " is known: " + strings.Join(append([]string{"quarantined"}, extras[kind]...), ", ")}
		}
	}
	if states := States[kind]; len(states) > 0 && !slices.Contains(states, f.State) {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a %s is never %.80q", kind, f.State), Hint: "its states are: " + strings.Join(states[1:], ", ")}
	}
	if risks := []string{"", "low", "medium", "high"}; !slices.Contains(risks, f.Risk) {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no risk", f.Risk), Hint: "it is low, medium or high"}
	}
	return nil
}

// Untouched returns the verbs that there are, and the roles that policies speak of, that
// no expectation is about.
func (s *Set) Untouched(list []Expectation) (verbs, roles []string) {
	touched := map[string]bool{}
	for _, e := range list {
		touched["verb "+e.Verb] = true
		for _, role := range e.Who.Roles {
			touched["role "+role] = true
		}
	}
	verbs = slices.DeleteFunc(slices.Sorted(maps.Keys(s.schema.actions)), func(verb string) bool { return touched["verb "+verb] })
	roles = slices.DeleteFunc(s.Roles(), func(role string) bool { return touched["role "+role] })
	return verbs, roles
}
