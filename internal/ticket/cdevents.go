package ticket

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/pavise/pavise"
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

// urn names a thing of ours in an event.
func urn(name pavise.Name) string { return "urn:pavise:" + name.String() }

// spellEvents are a step as CDEvents: an approval, and what else it is as the newest release
// has it. Each has an id of its own, that of the approval the step's.
func spellEvents(source, id string, s step) (all []message) {
	add := func(kind cdevents.Kind, subject pavise.Name, content map[string]any) {
		e := cdevents.Event{Kind: kind, ID: id, Source: source, Subject: subject.String(), Chain: s.Change.String(), At: s.At, Content: content, Custom: s}
		if kind.Subject != "approval" {
			e.ID += "." + kind.Subject
		}
		all = append(all, message{e.ID, e.Message()})
	}
	if s.Sort != stepServed {
		kind, content := approvalOf(s)
		add(kind, s.Change, content)
	}
	if s.Sort != stepServed && s.Sort != stepTested {
		kind, content := ticketOf(s)
		add(kind, s.Change, content)
	}
	switch {
	case s.Sort == stepOpened:
		add(cdevents.ChangeCreated, s.Change, map[string]any{"description": s.Summary})
	case s.Sort == stepVoted:
		add(cdevents.ChangeReviewed, s.Change, map[string]any{})
	case s.Sort == stepEnded && (s.State == change.Done || s.State == change.Contested): // it was done, whatever was said of it later
		add(cdevents.ChangeMerged, s.Change, map[string]any{})
	case s.Sort == stepEnded:
		add(cdevents.ChangeAbandoned, s.Change, map[string]any{})
	case s.Sort == stepServed:
		kind, content := serviceOf(s)
		add(kind, s.On, content)
	}
	if kind, content, ok := incidentOf(s); ok {
		add(kind, s.Change, content)
	}
	return all
}

// approvalOf is a step as an approval that was created, updated or closed.
func approvalOf(s step) (cdevents.Kind, map[string]any) {
	kind, content := cdevents.ApprovalUpdated, map[string]any{"approvalDetailsUrl": urn(s.Change), "resourceTargetUrl": urn(s.On)}
	decision := "deferred" // nobody has decided
	switch {
	case s.Sort == stepOpened:
		content["requestor"] = urn(s.Proposer)
		return cdevents.ApprovalCreated, content
	case s.Sort == stepUnseen:
		decision = "escalated"
	case s.Sort == stepVoted:
		decision = map[bool]string{true: "approved", false: "rejected"}[s.Decision == saidYes]
	case s.Sort == stepEnded:
		status := approvalStatus(s.State)
		kind, content["status"] = cdevents.ApprovalClosed, status
		if status == "approved" || status == "rejected" {
			decision = status
		}
	}
	by := s.By
	if by == (pavise.Name{}) {
		by = s.Change // the house itself says it
	}
	content["responder"], content["decision"] = urn(by), decision
	return kind, content
}

// approvalStatus is how a change ended, in the words of CDEvents.
func approvalStatus(state change.State) string {
	switch state {
	case change.Done, change.Failed: // the approval was given; what came of it is in the custom data
		return "approved"
	case change.Denied, change.Contested:
		return "rejected"
	case change.Expired:
		return "expired"
	}
	return "cancelled"
}

// ticketOf is a step as a ticket: work that waits for people.
func ticketOf(s step) (cdevents.Kind, map[string]any) {
	content := map[string]any{"summary": s.Summary, "ticketType": "task", "creator": s.Proposer.String(), "uri": urn(s.Change), "labels": []string{s.Verb}}
	if s.By != (pavise.Name{}) {
		content["updatedBy"] = s.By.String()
	}
	switch s.Sort {
	case stepOpened:
		return cdevents.TicketCreated, content
	case stepEnded:
		content["resolution"] = string(s.State)
		switch s.State {
		case change.Done:
			content["resolution"] = "completed"
		case change.Withdrawn:
			content["resolution"] = "withdrawn"
		}
		return cdevents.TicketClosed, content
	}
	return cdevents.TicketUpdated, content
}

// serviceOf is that a model is answered for by another version, or by none. Its environment
// is all gateways of the tenant.
func serviceOf(s step) (cdevents.Kind, map[string]any) {
	content := map[string]any{"environment": gateways(s)}
	if s.Service == "removed" {
		return cdevents.ServiceRemoved, content
	}
	content["artifactId"] = cdevents.Model(s.On.ID, s.Model)
	switch s.Service {
	case "deployed":
		return cdevents.ServiceDeployed, content
	case "rolledback":
		return cdevents.ServiceRolledBack, content
	}
	return cdevents.ServiceUpgraded, content
}

// incidentOf is a step that somebody should look at now as an incident, if it is one: a
// change that nobody looks at, that was run before its approval, or that is contested. It
// is resolved when such a change ends, unless it is contested.
func incidentOf(s step) (cdevents.Kind, map[string]any, bool) {
	content := map[string]any{"description": s.Text, "environment": gateways(s), "service": map[string]string{"id": s.On.String(), "source": "/pavise/" + s.On.Tenant}}
	if slices.Contains([]string{"route", "model", "deployment"}, s.On.Kind) {
		content["artifactId"] = cdevents.Model(s.On.ID, "")
	}
	switch {
	case s.Sort == stepBroken:
		content["ticketURI"] = "urn:pavise:incident:" + url.PathEscape(s.Incident)
		return cdevents.IncidentReported, content, true
	case s.Sort == stepUnseen, s.Sort == stepEnded && s.State == change.Contested:
		return cdevents.IncidentDetected, content, true
	case s.Sort == stepEnded && s.Trouble:
		return cdevents.IncidentResolved, content, true
	}
	return cdevents.Kind{}, nil, false
}

// gateways is where a model is answered for.
func gateways(s step) map[string]string {
	return map[string]string{"id": s.On.Tenant + "/gateways", "source": "/pavise/" + s.On.Tenant}
}
