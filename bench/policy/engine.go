package main

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/pavise/pavise/bench/asked"
	"github.com/pavise/pavise/internal/policy"
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

// everything is the guardrails and a corpus, parsed.
func everything(sources []source) ([]named, error) {
	var all []named
	for _, r := range policy.Guardrails() {
		sources = append(sources, source{r.ID, r.Text})
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

// A scan is cedar-go over every policy, with entities that were built beforehand.
type scan struct {
	policies *cedar.PolicySet
	entities []cedar.EntityMap
	requests []cedar.Request
}

func newScan(policies []named, asks []asked.Question) *scan {
	s := &scan{policies: cedar.NewPolicySet()}
	for _, p := range policies {
		s.policies.Add(cedar.PolicyID(p.id), p.policy)
	}
	for _, q := range asks {
		s.entities = append(s.entities, q.Entities())
		s.requests = append(s.requests, q.Request())
	}
	return s
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
