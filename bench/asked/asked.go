// Package asked spells questions of authorization for engines that are none of ours:
// as Cedar's request and entities, and as a document. It is written beside package
// policy, from the schema's text and not from its code, so that an entity which the
// house builds wrongly shows as a difference.
package asked

import (
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/policy"
)

// A Question is who would do what to which thing, and all that is known about them.
type Question struct {
	Who      pavise.Principal
	Granted  []string // roles beside those of the proof
	Demo     bool     // the local issuer vouches for the principal
	Act      policy.Action
	On       pavise.Name
	Facts    policy.Facts
	At       time.Time
	Approved bool
}

// types are the kinds of principal as Cedar's entity types.
var types = map[string]cedar.EntityType{pavise.Human: "Human", pavise.Workload: "Workload", pavise.Node: "Node"}

// Type spells the kind of a thing as its entity type: training-run is TrainingRun.
func Type(kind string) cedar.EntityType {
	var b strings.Builder
	for word := range strings.SplitSeq(kind, "-") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return cedar.EntityType(b.String())
}

// Request is the question in Cedar's words.
func (q Question) Request() cedar.Request {
	return cedar.Request{
		Principal: cedar.NewEntityUID(types[q.Who.Kind], cedar.String(q.Who.ID)),
		Action:    action(q.Act.Verb),
		Resource:  cedar.NewEntityUID(Type(q.On.Kind), cedar.String(q.On.ID)),
		Context:   cedar.NewRecord(cedar.RecordMap{"now": cedar.NewDatetime(q.At), "approved": cedar.Boolean(q.Approved)}),
	}
}

func action(id string) cedar.EntityUID { return cedar.NewEntityUID("Action", cedar.String(id)) }

// Groups are the groups that an action is in.
func Groups(a policy.Action) []string {
	room, _, _ := strings.Cut(a.Verb, ".")
	groups := []string{room, a.Class.String()}
	if a.Consequential {
		groups = append(groups, "consequential")
	}
	return groups
}

// Entities are the three entities that the question is about.
func (q Question) Entities() cedar.EntityMap {
	r := q.Request()
	return cedar.EntityMap{r.Principal: q.Principal(), r.Action: Action(q.Act), r.Resource: q.Resource()}
}

// Action is an action as Cedar's entity.
func Action(a policy.Action) cedar.Entity {
	var groups []cedar.EntityUID
	for _, g := range Groups(a) {
		groups = append(groups, action(g))
	}
	return cedar.Entity{UID: action(a.Verb), Parents: cedar.NewEntityUIDSet(groups...)}
}

// Principal is who asks, as Cedar's entity.
func (q Question) Principal() cedar.Entity {
	all := slices.Concat(q.Who.Roles, q.Granted)
	var roles []cedar.EntityUID
	for _, role := range all {
		roles = append(roles, cedar.NewEntityUID("Role", cedar.String(role)))
	}
	return cedar.Entity{
		UID: q.Request().Principal, Parents: cedar.NewEntityUIDSet(roles...),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"tenant": cedar.String(q.Who.Tenant), "issuer": cedar.String(q.Who.Issuer), "environment": cedar.String(q.Who.Environment),
			"roles": strs(all), "asserted": strs(q.Who.Roles), "demo": cedar.Boolean(q.Demo),
		}),
	}
}

func strs(list []string) cedar.Set {
	var values []cedar.Value
	for _, s := range list {
		values = append(values, cedar.String(s))
	}
	return cedar.NewSet(values...)
}

// Resource is what the act is done to, as Cedar's entity.
func (q Question) Resource() cedar.Entity {
	attributes := cedar.RecordMap{}
	for name, value := range q.Known() {
		switch v := value.(type) {
		case string:
			attributes[cedar.String(name)] = cedar.String(v)
		case bool:
			attributes[cedar.String(name)] = cedar.Boolean(v)
		}
	}
	return cedar.Entity{UID: q.Request().Resource, Attributes: cedar.NewRecord(attributes)}
}

// Known is what is known about the thing, by attribute: strings and booleans.
func (q Question) Known() map[string]any {
	known := map[string]any{"tenant": q.On.Tenant, "quarantined": q.Facts.Quarantined}
	switch q.On.Kind {
	case "model", "dataset":
		known["state"], known["risk"] = q.Facts.State, q.Facts.Risk
	case "pipeline", "alert":
		known["state"] = q.Facts.State
	case "key":
		known["environment"] = q.Facts.Environment
	case "gpu":
		known["scrubbed"] = q.Facts.Scrubbed
	}
	return known
}
