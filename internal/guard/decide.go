package guard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/pavise/pavise"
)

// A question is what Cedar is asked. It answers for the three entities that a
// policy can reach, so that no map of entities is built per request; roles have
// neither attributes nor parents and need no entity.
type question struct {
	who    *person
	action *action
	on     *thing
	at     time.Time
	// approved: the act is a change that was approved and is under way.
	approved bool
}

// Get returns the entity with the id; it makes a question a cedar.EntityGetter.
func (q *question) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	switch uid {
	case q.who.entity.UID:
		return q.who.entity, true
	case q.on.entity.UID:
		return q.on.entity, true
	case q.action.entity.UID:
		return q.action.entity, true
	}
	return cedar.Entity{}, false
}

// request is the question in Cedar's words. The context is a third of what a
// decision costs, so it is built only for rules that can look at it.
func (q *question) request(timed bool) cedar.Request {
	r := cedar.Request{Principal: q.who.entity.UID, Action: q.action.entity.UID, Resource: q.on.entity.UID}
	if timed {
		r.Context = cedar.NewRecord(cedar.RecordMap{"now": cedar.NewDatetime(q.at), "approved": cedar.Boolean(q.approved)})
	}
	return r
}

// A person is a principal as Cedar sees it.
type person struct{ entity cedar.Entity }

// A thing is a named thing as Cedar sees it.
type thing struct {
	name        pavise.Name
	quarantined bool
	entity      cedar.Entity
}

// A thingKey is everything that a thing's entity depends on.
type thingKey struct {
	name        pavise.Name
	quarantined bool
}

// person returns the principal as an entity, or why it is not a proper one.
// Its key holds every field that the entity depends on, each with its length:
// two principals that differ never share one.
func (g *Guard) person(who pavise.Principal) (*person, error) {
	var buf [256]byte
	key := buf[:0]
	for _, s := range [...]string{who.Tenant, who.Kind, who.ID, who.Issuer} {
		key = append(append(strconv.AppendInt(key, int64(len(s)), 10), ':'), s...)
	}
	for _, s := range who.Roles {
		key = append(append(strconv.AppendInt(key, int64(len(s)), 10), ':'), s...)
	}
	if p, ok := g.people.get(string(key)); ok && len(who.Proof) <= maxText {
		return p, nil
	}
	if err := checkPrincipal(who); err != nil {
		return nil, err
	}
	p := g.newPerson(who)
	g.people.put(string(key), p)
	return p, nil
}

// newPerson builds the entity of a principal.
func (g *Guard) newPerson(who pavise.Principal) *person {
	parents := make([]cedar.EntityUID, len(who.Roles))
	roles := make([]cedar.Value, len(who.Roles))
	for i, role := range who.Roles {
		parents[i] = cedar.NewEntityUID(roleType, cedar.String(role))
		roles[i] = cedar.String(role)
	}
	return &person{entity: cedar.Entity{
		UID:     cedar.NewEntityUID(principalTypes[who.Kind], cedar.String(who.ID)),
		Parents: cedar.NewEntityUIDSet(parents...),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"tenant": cedar.String(who.Tenant),
			"issuer": cedar.String(who.Issuer),
			"roles":  cedar.NewSet(roles...),
			"demo":   cedar.Boolean(who.Issuer != "" && who.Issuer == g.demoIssuer),
		}),
	}}
}

// thing returns the named thing as an entity, or why its name is not one.
func (g *Guard) thing(on pavise.Name) (*thing, error) {
	key := thingKey{name: on, quarantined: g.quarantined != nil && g.quarantined(on)}
	if t, ok := g.things.get(key); ok {
		return t, nil
	}
	if err := on.Validate(); err != nil {
		return nil, err
	}
	t := g.newThing(key)
	g.things.put(key, t)
	return t, nil
}

// newThing builds the entity of a thing. One of a kind that no verb applies to
// has no type; it is refused before anything is decided.
func (g *Guard) newThing(key thingKey) *thing {
	return &thing{name: key.name, quarantined: key.quarantined, entity: cedar.Entity{
		UID: cedar.NewEntityUID(g.schema.types[key.name.Kind], cedar.String(key.name.ID)),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"tenant":      cedar.String(key.name.Tenant),
			"quarantined": cedar.Boolean(key.quarantined),
		}),
	}}
}

// A cache keeps what was built for recent keys. It is emptied when full, which
// costs an attacker's neighbours one rebuild and never a wrong answer.
type cache[K comparable, V any] struct {
	mu sync.RWMutex // guards m
	m  map[K]V
}

// maxCache bounds the entries of a cache.
const maxCache = 4096

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.m[k]
	return v, ok
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxCache {
		c.m = map[K]V{}
	}
	c.m[k] = v
}

// A decision is the answer to a question, with what led to it.
type decision struct {
	allow     bool
	guardrail bool // a guardrail forbids it
	loaded    bool // the tenant has policies
	digest    string
	reasons   []string // ids of the policies that decided; none for a default deny
	errors    []string // policies that could not be evaluated, and why
	doc       string   // the @doc of the first of the reasons that forbids
}

// set returns what decides for the tenant.
func (r *ruling) set(tenant string) *ruleset {
	if set, ok := r.tenants[tenant]; ok {
		return set
	}
	return r.bare
}

// decide answers under the policies of the tenant that owns the thing.
func (r *ruling) decide(q *question) decision { return r.set(q.on.name.Tenant).decide(q) }

// observes reports whether a denial is recorded and let through.
func (r *ruling) observes(q *question, d decision) bool {
	_, on := r.observe[q.on.name]
	return on && d.loaded && !d.guardrail && q.action.Class == Pooled
}

// decide evaluates the rules that the action's scope lets through.
func (s *ruleset) decide(q *question) decision {
	rules := s.byVerb[q.action.Verb]
	return s.conclude(rules, q, slices.ContainsFunc(rules, func(r *rule) bool { return r.timed }))
}

// maxError bounds what a record keeps of a policy's error, in bytes.
const maxError = 128

// conclude evaluates the rules with Cedar. Cedar skips a policy that cannot be
// evaluated; here a forbid that cannot be evaluated forbids.
func (s *ruleset) conclude(rules scan, q *question, timed bool) decision {
	answer, diagnostic := cedar.Authorize(rules, q, q.request(timed))
	d := decision{allow: answer == cedar.Allow, loaded: s.loaded, digest: s.digest}
	for _, e := range diagnostic.Errors[:min(len(diagnostic.Errors), 16)] {
		d.errors = append(d.errors, clip(fmt.Sprintf("%s: %s", e.PolicyID, e.Message), maxError))
	}
	broken := rules.brokenForbids(diagnostic.Errors)
	if d.allow && len(broken) > 0 {
		d.allow, diagnostic.Reasons = false, nil
	}
	d.reasons = make([]string, 0, len(diagnostic.Reasons)+len(broken))
	for _, reason := range diagnostic.Reasons {
		d.reasons = append(d.reasons, string(reason.PolicyID))
	}
	d.reasons = append(d.reasons, broken...)
	if d.allow || len(d.reasons) == 0 {
		return d
	}
	d.guardrail = slices.ContainsFunc(d.reasons, func(id string) bool { return strings.HasPrefix(id, guardrailPrefix) })
	if first := rules.find(d.reasons[0]); first != nil {
		d.doc = string(first.policy.Annotations()["doc"])
	}
	return d
}

// brokenForbids returns the ids of the forbids that could not be evaluated.
func (s scan) brokenForbids(errors []cedar.DiagnosticError) []string {
	var ids []string
	for _, e := range errors {
		if r := s.find(string(e.PolicyID)); r != nil && r.forbids() {
			ids = append(ids, r.id)
		}
	}
	return ids
}

// find returns the rule with the id, or nil.
func (s scan) find(id string) *rule {
	for _, r := range s {
		if r.id == id {
			return r
		}
	}
	return nil
}

// why says in a few words what denied.
func (d decision) why() string {
	switch {
	case len(d.reasons) > 0 && d.doc != "":
		return fmt.Sprintf("denied by policy %s (%s)", d.reasons[0], d.doc)
	case len(d.reasons) > 0:
		return "denied by policy " + d.reasons[0]
	case !d.loaded:
		return "no policy is loaded for its tenant"
	}
	return "no policy permits it"
}

// roleOf returns the role that the rule's principal scope asks for.
func (r *rule) roleOf() (string, bool) {
	switch scope := r.ast().Principal.(type) {
	case ast.ScopeTypeIn:
		return string(scope.Entity.ID), scope.Entity.Type == roleType
	case ast.ScopeTypeIsIn:
		return string(scope.Entity.ID), scope.Entity.Type == roleType
	}
	return "", false
}
