package policy

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/pavise/pavise"
)

// anybody is the id of a principal that no policy knows by name.
const anybody = "somebody"

// Gains returns the verbs that one more role would let somebody do, in some state of the
// thing, beyond what the roles that they have let them do; what takes an approved change
// counts as approved.
func (s *Set) Gains(holder pavise.Name, have []string, role string) []string {
	who := pavise.Principal{Tenant: holder.Tenant, Kind: holder.Kind, ID: holder.ID}
	without, with := NewSubject(who, have, false), NewSubject(who, append(slices.Clone(have), role), false)
	gains := []string{}
	for _, verb := range slices.Sorted(maps.Keys(s.schema.actions)) {
		act := s.schema.actions[verb]
		may := func(subject *Subject) bool {
			return slices.ContainsFunc(act.On, func(kind string) bool {
				return slices.ContainsFunc(s.schema.conditions(kind), func(f Facts) bool {
					on := s.schema.Thing(pavise.Name{Tenant: holder.Tenant, Kind: kind, ID: "any"}, f)
					return s.Fresh(&Question{Who: subject, Act: act, On: on, Approved: true}).Allow
				})
			})
		}
		if may(with) && !may(without) {
			gains = append(gains, verb)
		}
	}
	return gains
}

// States are those that a thing of a kind goes through, which its policies tell apart.
// Kinds that are not here have none.
var States = map[string][]string{
	"model":   {"", "draft", "proposed", "reviewed", "approved", "published", "canary", "live", "degraded", "rejected", "retired"},
	"dataset": {"", "open", "sealed"},
}

// conditions are the facts about a thing of a kind under which a decision may differ:
// in each state, in quarantine and not, and what else policies of this build look at.
func (s *Schema) conditions(kind string) []Facts {
	list := []Facts{{}}
	if kind == "model" || kind == "dataset" {
		list = append(list, Facts{Quarantined: true})
	}
	for _, state := range States[kind] {
		if state != "" {
			list = append(list, Facts{State: state})
		}
	}
	switch kind {
	case "key":
		list = append(list, Facts{Environment: "prod"}, Facts{Environment: "dev"})
	case "gpu":
		list = append(list, Facts{Scrubbed: true})
	}
	return list
}

// A Holder is somebody that WhoCan answers for.
type Holder struct {
	Kind    string      `json:"kind"`              // human, workload or node
	Role    string      `json:"role,omitempty"`    // anybody of that kind with the role
	Name    pavise.Name `json:"name,omitzero"`     // or one principal
	Granted []string    `json:"granted,omitempty"` // the roles that they were granted for a time
	Policy  string      `json:"policy"`            // the first policy that permits it
	Change  bool        `json:"change,omitempty"`  // only as a change that others have approved
}

// A Known principal is one that is asked for by name.
type Known struct {
	Who     pavise.Principal
	Granted []string
}

// WhoCan returns who may do a verb on a thing, as it is now, at a time: for each kind of
// principal, anybody, anybody with one of the roles that policies speak of, the
// principals that policies name, and those who are known. Conditions on anything else
// (an issuer, an environment) may make one who could look like one who cannot.
func (s *Set) WhoCan(act *Act, on *Thing, at time.Time, known []Known) []Holder {
	holders := []Holder{}
	try := func(h Holder, who pavise.Principal, granted []string) {
		q := Question{Who: NewSubject(who, granted, false), Act: act, On: on, At: at}
		d := s.Fresh(&q)
		if !d.Allow && act.Consequential {
			q.Approved, h.Change = true, true
			d = s.Fresh(&q)
		}
		if d.Allow {
			h.Kind, h.Granted, h.Policy = who.Kind, granted, d.Reasons[0]
			holders = append(holders, h)
		}
	}
	for _, kind := range kinds {
		who := pavise.Principal{Tenant: on.Name.Tenant, Kind: kind, ID: anybody}
		try(Holder{}, who, nil)
		for _, role := range s.Roles() {
			who.Roles = []string{role}
			try(Holder{Role: role}, who, nil)
		}
	}
	for _, who := range s.named(on.Name.Tenant) {
		try(Holder{Name: who.Name()}, who, nil)
	}
	for _, k := range known {
		try(Holder{Name: k.Who.Name()}, k.Who, k.Granted)
	}
	return holders
}

// named returns the principals that scopes of policies name.
func (s *Set) named(tenant string) []pavise.Principal {
	found := map[pavise.Name]pavise.Principal{}
	for _, r := range s.rules {
		of := r.who()
		for kind, typ := range principalTypes {
			if of.Type == typ && of.ID != "" {
				who := pavise.Principal{Tenant: tenant, Kind: kind, ID: string(of.ID)}
				found[who.Name()] = who
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b pavise.Principal) int { return cmp.Compare(a.Name().String(), b.Name().String()) })
}
