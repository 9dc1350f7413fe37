package ticket

import (
	"encoding/json"
	"strings"

	"github.com/pavise/pavise/internal/cdevents"
	"github.com/pavise/pavise/internal/change"
)

// serves is what of a service changes when a verb was done on a route.
var serves = map[string]string{"route.release": "upgraded", "route.rollback": "rolledback", "route.quarantine": "removed"}

// withServed adds, before the end, that what answers for a model is another, if the change
// has come so far that it is.
func withServed(all []step, ch *change.Change) []step {
	service, ok := serves[ch.Verb]
	if !ok || ch.State != change.Ran && ch.State != change.Done && ch.State != change.Contested {
		return all
	}
	var plan struct {
		Was struct {
			Quarantined bool `json:"quarantined"`
			Deleted     bool `json:"deleted"`
		} `json:"was"`
	}
	if text, err := json.Marshal(ch.Plan.Detail); err == nil && service == "upgraded" && json.Unmarshal(text, &plan) == nil && (plan.Was.Quarantined || plan.Was.Deleted) {
		service = "deployed" // nobody answered before
	}
	s := all[0]
	s.Sort, s.Key, s.Service, s.Text = stepServed, stepServed, service, "it was done: "+s.Summary
	if digest := ch.Plan.Digests["model"]; strings.HasPrefix(digest, "sha256:") {
		s.Model = digest
	}
	switch { // the other two are in the safe direction, and were done when they were proposed
	case ch.Glass != nil:
		s.At = ch.Glass.At
	case ch.Verb == "route.release":
		s.At = ch.Ended
	}
	if ch.Ended.IsZero() {
		return append(all, s)
	}
	return append(all[:len(all)-1:len(all)-1], s, all[len(all)-1])
}

// spellEvents are a step as CDEvents.
func spellEvents(source, id string, s step) (all []message) {
	told := cdevents.Step{
		Change: s.Change, Sort: s.Sort, At: s.At, Text: s.Text, Verb: s.Verb, On: s.On, Summary: s.Summary, Proposer: s.Proposer, State: string(s.State),
		By: s.By, Yes: s.Decision == saidYes, Trouble: s.Trouble, Incident: s.Incident, Service: s.Service, Model: s.Model, Custom: s,
	}
	for _, e := range told.Events(source, id) {
		all = append(all, message{e.ID, e.Message()})
	}
	return all
}
