package guard

import (
	"slices"
	"sync"
	"time"

	"github.com/pavise/pavise"
)

// maxCallers bounds the callers that are remembered. When there are more, those who
// have not asked for the longest time are forgotten: the log knows them all.
const maxCallers = 2048

// A Caller is somebody who has asked since the start.
type Caller struct {
	Name        pavise.Name `json:"name"`
	Issuer      string      `json:"issuer,omitempty"`
	Proof       string      `json:"proof,omitempty"` // of their last request
	Roles       []string    `json:"roles"`           // of their proof
	Granted     []string    `json:"granted,omitempty"`
	Environment string      `json:"environment,omitempty"`
	By          pavise.Name `json:"by,omitzero"`      // who had the identity made
	Expires     time.Time   `json:"expires,omitzero"` // when the last proof ends
	First       time.Time   `json:"first"`
	Last        time.Time   `json:"last"`
	Allowed     uint64      `json:"allowed"`
	Refused     uint64      `json:"refused"`
}

// A person is told apart by name and by who vouches for it.
type person struct {
	name   pavise.Name
	issuer string
}

// callers remembers who asked.
type callers struct {
	mu   sync.Mutex // guards what follows
	seen map[person]*Caller
}

// note remembers that somebody was let in or refused.
func (c *callers) note(who *pavise.Principal, at time.Time, allowed bool) {
	key := person{who.Name(), who.Issuer}
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen[key]
	if seen == nil {
		if len(c.seen) >= maxCallers {
			c.forget()
		}
		if c.seen == nil {
			c.seen = map[person]*Caller{}
		}
		seen = &Caller{Name: key.name, Issuer: who.Issuer, First: at}
		c.seen[key] = seen
	}
	seen.Proof, seen.Roles, seen.Environment, seen.By, seen.Expires, seen.Last = who.Proof, who.Roles, who.Environment, who.By, who.Expires, at
	if allowed {
		seen.Allowed++
	} else {
		seen.Refused++
	}
}

// rolesOf returns the roles with which somebody was last seen, whoever vouched for them.
func (c *callers) rolesOf(name pavise.Name) (roles []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, seen := range c.seen {
		if key.name == name {
			roles = append(roles, seen.Roles...)
		}
	}
	return roles
}

// forget drops the half that has not asked for the longest time. The caller holds mu.
func (c *callers) forget() {
	var lasts []time.Time
	for _, seen := range c.seen {
		lasts = append(lasts, seen.Last)
	}
	slices.SortFunc(lasts, time.Time.Compare)
	median := lasts[len(lasts)/2]
	for key, seen := range c.seen {
		if !seen.Last.After(median) {
			delete(c.seen, key)
		}
	}
}

// Callers returns who of a tenant has asked since the start, the most recent first.
func (g *Guard) Callers(tenant string) []Caller {
	g.callers.mu.Lock()
	list := []Caller{}
	for _, seen := range g.callers.seen {
		if seen.Name.Tenant == tenant {
			list = append(list, *seen)
		}
	}
	g.callers.mu.Unlock()
	held, now := g.grants.Load(), g.clock.stamp()
	for i, c := range list {
		who := pavise.Principal{Tenant: c.Name.Tenant, Kind: c.Name.Kind, ID: c.Name.ID, By: c.By}
		list[i].Granted = rolesOf(held.of(&who, now))
		list[i].Roles = slices.Clone(append([]string{}, c.Roles...))
	}
	slices.SortFunc(list, func(a, b Caller) int { return b.Last.Compare(a.Last) })
	return list
}
