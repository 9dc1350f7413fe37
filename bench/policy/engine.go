package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/pavise/pavise"
)

// An engine answers the questions that it was made with, by number.
type engine interface {
	Name() string
	Decide(i int) (allow bool, err error)
}

// named is a policy with its id.
type named struct {
	id     string
	policy *cedar.Policy
}

// guardrails are the policies that stand before every tenant's, read from where they
// are compiled in.
func guardrails() ([]named, error) {
	const file = "internal/guard/guardrails.cedar"
	text, err := os.ReadFile("../" + file)
	if os.IsNotExist(err) {
		text, err = os.ReadFile("../../" + file)
	}
	if err != nil {
		return nil, fmt.Errorf("read guardrails: %w (run this from the bench directory)", err)
	}
	list, err := cedar.NewPolicyListFromBytes(file, text)
	if err != nil {
		return nil, err
	}
	all := make([]named, len(list))
	for i, p := range list {
		all[i] = named{"guardrail/" + string(p.Annotations()["id"]), p}
	}
	return all, nil
}

// everything is the guardrails and a corpus, parsed.
func everything(sources []source) ([]named, error) {
	all, err := guardrails()
	if err != nil {
		return nil, err
	}
	for _, s := range sources {
		var p cedar.Policy
		if err := p.UnmarshalCedar([]byte(s.text)); err != nil {
			return nil, fmt.Errorf("policy %s: %w", s.id, err)
		}
		all = append(all, named{s.id, &p})
	}
	return all, nil
}

// principalTypes are the kinds of principal as Cedar's entity types.
var principalTypes = map[string]cedar.EntityType{pavise.Human: "Human", pavise.Workload: "Workload", pavise.Node: "Node"}

// A scan is cedar-go over every policy, with entities that were built beforehand.
type scan struct {
	policies *cedar.PolicySet
	entities []cedar.EntityMap
	requests []cedar.Request
}

func newScan(policies []named, asks []question) *scan {
	s := &scan{policies: cedar.NewPolicySet()}
	for _, p := range policies {
		s.policies.Add(cedar.PolicyID(p.id), p.policy)
	}
	for _, q := range asks {
		entities := q.entities()
		s.entities = append(s.entities, entities)
		s.requests = append(s.requests, q.request())
	}
	return s
}

// request is the question in Cedar's words.
func (q question) request() cedar.Request {
	return cedar.Request{
		Principal: cedar.NewEntityUID(principalTypes[q.who.Kind], cedar.String(q.who.ID)),
		Action:    cedar.NewEntityUID("Action", cedar.String(q.verb)),
		Resource:  cedar.NewEntityUID(cedar.EntityType(title(q.on.Kind)), cedar.String(q.on.ID)),
		Context:   cedar.NewRecord(cedar.RecordMap{"now": cedar.NewDatetime(asked), "approved": cedar.True}),
	}
}

// title spells a kind as its entity type. All of this corpus are single words.
func title(kind string) string { return strings.ToUpper(kind[:1]) + kind[1:] }

// entities are the three entities that a question is about.
func (q question) entities() cedar.EntityMap {
	var roles []cedar.EntityUID
	var names []cedar.Value
	for _, role := range q.who.Roles {
		roles = append(roles, cedar.NewEntityUID("Role", cedar.String(role)))
		names = append(names, cedar.String(role))
	}
	r := q.request()
	var groups []cedar.EntityUID
	for _, group := range q.groups() {
		groups = append(groups, cedar.NewEntityUID("Action", cedar.String(group)))
	}
	return cedar.EntityMap{
		r.Principal: {UID: r.Principal, Parents: cedar.NewEntityUIDSet(roles...), Attributes: cedar.NewRecord(cedar.RecordMap{
			"tenant": cedar.String(q.who.Tenant), "issuer": cedar.String(q.who.Issuer),
			"roles": cedar.NewSet(names...), "demo": cedar.False,
		})},
		r.Action: {UID: r.Action, Parents: cedar.NewEntityUIDSet(groups...)},
		r.Resource: {UID: r.Resource, Attributes: cedar.NewRecord(cedar.RecordMap{
			"tenant": cedar.String(q.on.Tenant), "quarantined": cedar.Boolean(quarantined(q.on)),
		})},
	}
}

// groups are the groups that the question's action is in.
func (q question) groups() []string {
	for _, a := range actions() {
		if a.Verb == q.verb {
			room, _, _ := strings.Cut(q.verb, ".")
			return []string{room, a.Class.String()}
		}
	}
	return nil
}

func (*scan) Name() string { return "cedar-go, every policy" }

func (s *scan) Decide(i int) (bool, error) {
	answer, _ := cedar.Authorize(s.policies, s.entities[i], s.requests[i])
	return answer == cedar.Allow, nil
}

// reasons returns the decision with the policies that decided, sorted.
func (s *scan) reasons(i int) (bool, []string) {
	answer, diagnostic := cedar.Authorize(s.policies, s.entities[i], s.requests[i])
	var ids []string
	for _, r := range diagnostic.Reasons {
		ids = append(ids, string(r.PolicyID))
	}
	slices.Sort(ids)
	return answer == cedar.Allow, ids
}

// clockNow is the guard's clock here: it stands still, so that all engines are asked at
// the same time.
func clockNow() time.Time { return asked }
