package policy

import (
	"cmp"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/pavise/pavise"
)

// A Row says who may do a verb on things of a kind of which certain facts are known.
type Row struct {
	Verb   string `json:"verb"`
	On     string `json:"on"`               // the kind of thing
	Facts  string `json:"facts,omitempty"`  // as Facts.String; "" if nothing is known
	Change bool   `json:"change,omitempty"` // only as a change that others have approved
	// Declared: no room serves the verb yet.
	Declared bool `json:"declared,omitempty"`
	// Who are the roles with which somebody may, by kind of principal; a role "" is
	// anybody of that kind. A kind with which nobody may is not there.
	Who map[string][]string `json:"who"`
}

// Has reports whether somebody with the role may.
func (r Row) Has(role string) bool {
	for _, roles := range r.Who {
		if slices.Contains(roles, role) {
			return true
		}
	}
	return false
}

// A Part says which of the matrix is wanted.
type Part struct {
	Verb string // only this verb, or this room; "": all
	Role string // only what somebody with this role may do; "": whatever role
}

// has reports whether the part has rows of the verb.
func (p Part) has(verb string) bool {
	return p.Verb == "" || verb == p.Verb || strings.HasPrefix(verb, p.Verb+".")
}

// Matrix returns who may do what: a row for each verb, kind of thing and facts that
// policies tell apart, in that order. Principals and things that policies name, and
// conditions on anything else, are not in it. Partial is true when that took more
// questions than are asked, and rows are missing at the end.
func (s *Set) Matrix(at time.Time, part Part) (rows []Row, partial bool) {
	roles, asked := s.Roles(), 0
	for _, verb := range slices.Sorted(maps.Keys(s.schema.actions)) {
		act := s.schema.actions[verb]
		for _, kind := range act.On {
			for _, facts := range s.schema.conditions(kind) {
				if !part.has(verb) {
					continue
				}
				row := Row{Verb: verb, On: kind, Facts: facts.String(), Change: act.Consequential, Declared: act.Declared, Who: map[string][]string{}}
				on := s.schema.Thing(pavise.Name{Tenant: anyTenant, Kind: kind, ID: "any"}, facts)
				if asked += len(kinds); part.Role != "" && !s.whoMay(act, on, at, []string{part.Role}, nil) {
					continue
				}
				if asked += len(kinds) * (len(roles) + 1); asked > maxAsked {
					return rows, true
				}
				s.whoMay(act, on, at, append([]string{""}, roles...), row.Who)
				if part.Role == "" || row.Has(part.Role) {
					rows = append(rows, row)
				}
			}
		}
	}
	return rows, false
}

// whoMay reports whether anybody with one of the roles may do an act, and notes all who
// may by their kind, unless who is nil.
func (s *Set) whoMay(act *Act, on *Thing, at time.Time, roles []string, who map[string][]string) (may bool) {
	for c := range candidatesOf(roles, nil) {
		if s.Fresh(&Question{Who: c.subject, Act: act, On: on, At: at, Approved: true}).Allow {
			if may = true; who != nil {
				who[c.kind] = append(who[c.kind], c.role)
			}
		}
	}
	return may
}

// anyTenant is the tenant of principals and things that stand for all of them.
const anyTenant = "tenant"

// A candidate is a principal that stands for all who are like it.
type candidate struct {
	kind, role, name string
	environment      string
	subject          *Subject
}

// candidatesOf yields, for each kind of principal, anybody with one of the roles, of which
// "" is none; and whoever the rules name. Where a rule looks at the environment, there is
// each of them in production, too. They are made one by one: there may be very many.
func candidatesOf(roles []string, rules scan) iter.Seq[candidate] {
	environments := []string{""}
	if slices.ContainsFunc(rules, func(r *rule) bool { return strings.Contains(r.text, "environment") }) {
		environments = append(environments, "prod")
	}
	one := func(kind, name, role, environment string) candidate {
		who := pavise.Principal{Tenant: anyTenant, Kind: kind, ID: cmp.Or(name, anybody), Environment: environment}
		if role != "" {
			who.Roles = []string{role}
		}
		return candidate{kind, role, name, environment, NewSubject(who, nil, false)}
	}
	return func(yield func(candidate) bool) {
		for _, kind := range kinds {
			for _, name := range append([]string{""}, named(rules, principalTypes[kind], (*rule).who)...) {
				for _, role := range roles {
					for _, environment := range environments {
						if !yield(one(kind, name, role, environment)) {
							return
						}
					}
				}
			}
		}
	}
}

// concerned returns the roles whose holders rules may tell from others: those that they
// name, or all of the sets as soon as one of the rules asks for no role.
func concerned(rules scan, sets ...*Set) (roles []string) {
	for _, r := range rules {
		if role, ok := r.roleOf(); ok {
			roles = append(roles, role)
			continue
		}
		if r.who().ID == "" {
			for _, s := range sets {
				roles = append(roles, s.Roles()...)
			}
			break
		}
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// named returns the ids of a type that a half of the rules' scopes names, or anything that
// they say: a condition can be about one person as well as a scope can.
func named(rules scan, typ cedar.EntityType, half func(*rule) cedar.EntityUID) (ids []string) {
	for _, r := range rules {
		if uid := half(r); uid.Type == typ && uid.ID != "" {
			ids = append(ids, string(uid.ID))
		}
		for _, found := range entity.FindAllSubmatch(r.policy.MarshalCedar(), -1) { // as Cedar itself spells it, whatever the text does
			if string(found[1]) == string(typ) && len(found[2]) > 0 {
				ids = append(ids, string(found[2]))
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// entity finds the entities in a policy's own spelling. Names of ours need no escape.
var entity = regexp.MustCompile(`\b([A-Z][A-Za-z]*)::"([^"\\]*)"`)

// A Flip is a decision that another set of policies turns.
type Flip struct {
	Kind        string         `json:"kind"`                  // of principal
	Role        string         `json:"role,omitempty"`        // "": whatever role they have, or none
	Name        string         `json:"name,omitempty"`        // "": whoever they are
	Environment string         `json:"environment,omitempty"` // "": wherever they run
	Verb        string         `json:"verb"`
	On          string         `json:"on"`             // the kind of thing, or kind/id for one that policies name
	When        []string       `json:"when,omitempty"` // under which facts; none: under all that policies tell apart
	Was         pavise.Outcome `json:"was"`
	Will        pavise.Outcome `json:"will"`
	Policy      string         `json:"policy,omitempty"` // the first that decides afterwards; "": none permits it any more
}

// Bounds of a Diff, and of a Matrix.
const (
	MaxFlips = 500     // that are listed; all are counted
	maxAsked = 200_000 // questions of one Diff or Matrix, which take a second or two
)

// A Difference is what another set of policies turns.
type Difference struct {
	Flips []Flip `json:"flips"` // the first MaxFlips
	Total int    `json:"total"` // how many there are
	// Partial: there were more questions than are asked, and there may be more flips.
	Partial bool `json:"partial,omitempty"`
	// Conditions: a policy that differs has conditions, and turns more than is listed where
	// they are on anything that is not tried.
	Conditions bool `json:"conditions,omitempty"`
}

// Diff returns the decisions that come out otherwise under another set than under s, at
// a time: of anybody with each role, and of whoever the policies that differ name, on
// any thing and on those that they name, in every state that policies tell apart. A
// verb that takes an approved change is taken as approved. What differs only under
// conditions on anything else (an issuer, a time of day) is not seen.
func (s *Set) Diff(other *Set, at time.Time) Difference {
	changed := differing(s, other)
	candidates := candidatesOf(append([]string{""}, concerned(changed, s, other)...), changed)
	d, asked := Difference{Flips: []Flip{}}, 0
	d.Conditions = slices.ContainsFunc(changed, func(r *rule) bool { return len(r.ast().Conditions) > 0 })
	for _, verb := range s.schema.verbsOf(changed) {
		act := s.schema.actions[verb]
		for _, kind := range act.On {
			ids := append([]string{""}, named(changed, s.schema.types[kind], (*rule).on)...)
			for c := range candidates {
				if asked += len(ids) * len(s.schema.conditions(kind)); asked > maxAsked {
					d.Partial = true
					return d
				}
				flips := s.flipsOf(other, act, kind, ids, c, at)
				d.Total += len(flips)
				d.Flips = append(d.Flips, flips[:min(len(flips), MaxFlips-len(d.Flips))]...)
			}
		}
	}
	return d
}

// flipsOf returns what turns for one candidate and one kind of thing.
func (s *Set) flipsOf(other *Set, act *Act, kind string, ids []string, c candidate, at time.Time) (flips []Flip) {
	all := s.schema.conditions(kind)
	for _, id := range ids {
		found := map[pavise.Outcome]*Flip{}
		for _, facts := range all {
			on := s.schema.Thing(pavise.Name{Tenant: anyTenant, Kind: kind, ID: cmp.Or(id, "any")}, facts)
			q := Question{Who: c.subject, Act: act, On: on, At: at, Approved: true}
			was, will := s.Fresh(&q), other.Fresh(&q)
			if was.Allow == will.Allow {
				continue
			}
			f := found[outcome(will.Allow)]
			if f == nil {
				f = &Flip{
					Kind: c.kind, Role: c.role, Name: c.name, Environment: c.environment, Verb: act.Verb, On: strings.TrimSuffix(kind+"/"+id, "/"),
					Was: outcome(was.Allow), Will: outcome(will.Allow),
				}
				if len(will.Reasons) > 0 {
					f.Policy = will.Reasons[0]
				}
				found[f.Will] = f
			}
			f.When = append(f.When, cmp.Or(facts.String(), "nothing known"))
		}
		for _, will := range []pavise.Outcome{pavise.Allow, pavise.Deny} {
			if f := found[will]; f != nil {
				if len(f.When) == len(all) {
					f.When = nil
				}
				flips = append(flips, *f)
			}
		}
	}
	return flips
}

func outcome(allow bool) pavise.Outcome {
	if allow {
		return pavise.Allow
	}
	return pavise.Deny
}

// differing returns the rules of two sets that are not in both.
func differing(a, b *Set) scan {
	var list scan
	for _, half := range [...][2]*Set{{a, b}, {b, a}} {
		for _, id := range slices.Sorted(maps.Keys(half[0].byID)) {
			r := half[0].byID[id]
			if twin, ok := half[1].byID[id]; !ok || twin.text != r.text {
				list = append(list, r)
			}
		}
	}
	return list
}

// verbsOf returns the verbs that rules may decide on, in order.
func (s *Schema) verbsOf(rules scan) (verbs []string) {
	for _, verb := range slices.Sorted(maps.Keys(s.actions)) {
		if slices.ContainsFunc(rules, func(r *rule) bool { return r.covers(s.actions[verb]) }) {
			verbs = append(verbs, verb)
		}
	}
	return verbs
}
