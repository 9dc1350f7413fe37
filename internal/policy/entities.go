package policy

import (
	"encoding/binary"
	"sync"

	"github.com/pavise/pavise"
)

// Entities builds what questions are made of, and keeps it for the next one: to build
// an entity takes longer than to decide. It is safe for concurrent use.
type Entities struct {
	schema     *Schema
	demoIssuer string
	subjects   cache[string, *Subject]
	things     cache[thingKey, *Thing]
}

// NewEntities returns the entities of a schema. Who is vouched for by the demo issuer
// is a demo principal; "" if there is none.
func NewEntities(s *Schema, demoIssuer string) *Entities {
	return &Entities{schema: s, demoIssuer: demoIssuer}
}

// Subject returns a principal with its own roles and those granted. Its key holds every
// field that the entity depends on, each with its length: two principals that differ
// never share one.
func (e *Entities) Subject(who *pavise.Principal, granted []string) *Subject {
	var buf [256]byte
	key := buf[:0]
	for _, s := range [...]string{who.Tenant, who.Kind, who.ID, who.Issuer, who.Environment} {
		key = append(binary.AppendUvarint(key, uint64(len(s))), s...)
	}
	for _, list := range [...][]string{who.Roles, granted} {
		key = binary.AppendUvarint(key, uint64(len(list)))
		for _, s := range list {
			key = append(binary.AppendUvarint(key, uint64(len(s))), s...)
		}
	}
	e.subjects.mu.RLock()
	s, ok := e.subjects.m[string(key)] // which copies no key, as a call of get would
	e.subjects.mu.RUnlock()
	if ok {
		return s
	}
	s = e.Imagined(*who, granted)
	e.subjects.put(string(key), s)
	return s
}

// Imagined returns a principal as Subject does, and keeps nothing: it is for somebody who
// does not ask, and of whom there may be many.
func (e *Entities) Imagined(who pavise.Principal, granted []string) *Subject {
	return NewSubject(who, granted, who.Issuer != "" && who.Issuer == e.demoIssuer)
}

// A thingKey is everything that a thing's entity depends on.
type thingKey struct {
	name  pavise.Name
	facts Facts
}

// Thing returns a thing with the facts known about it now: others make another one.
func (e *Entities) Thing(name pavise.Name, facts Facts) *Thing {
	key := thingKey{name, facts}
	if t, ok := e.things.get(key); ok {
		return t
	}
	t := e.schema.Thing(name, facts)
	e.things.put(key, t)
	return t
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
