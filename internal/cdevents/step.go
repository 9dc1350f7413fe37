package cdevents

import (
	"net/url"
	"slices"
	"time"

	"github.com/pavise/pavise"
)

// The sorts of step.
const (
	Opened = "opened"
	Voted  = "voted"
	Ran    = "ran"    // was run first, and waits for approval afterwards
	Broken = "broken" // was run before anybody approved it
	Unseen = "unseen" // half of its time is over, and nobody has voted
	Ended  = "ended"
	Served = "served" // what answers for a model is another
	Tested = "tested" // somebody asks whether events arrive
)

// A Step is one thing that happened to a change.
type Step struct {
	Change   pavise.Name
	Sort     string // one of the sorts of step
	At       time.Time
	Text     string // one sentence
	Verb     string
	On       pavise.Name
	Summary  string
	Proposer pavise.Name
	State    string      // of the change
	By       pavise.Name // who voted
	Yes      bool        // what they said
	Trouble  bool        // it was run before its approval, or nobody looked at it in half of its time
	Incident string      // of Broken: the ticket that it was run for
	Service  string      // of Served: deployed, upgraded, rolledback or removed
	Model    string      // of Served: the digest of what answers, where that is known
	Custom   any         // all that is told of it
}

// urn names a thing of ours in an event.
func urn(name pavise.Name) string { return "urn:pavise:" + name.String() }

// Events are the step as events of a source: an approval, and what else it is as the newest
// release has it. Each has an id of its own, that of the approval is id.
func (s Step) Events(source, id string) (all []Event) {
	add := func(kind Kind, subject pavise.Name, content map[string]any) {
		e := Event{Kind: kind, ID: id, Source: source, Subject: subject.String(), Chain: s.Change.String(), At: s.At, Content: content, Custom: s.Custom}
		if kind.Subject != "approval" {
			e.ID += "." + kind.Subject
		}
		all = append(all, e)
	}
	if s.Sort != Served {
		kind, content := s.approval()
		add(kind, s.Change, content)
	}
	if s.Sort != Served && s.Sort != Tested {
		kind, content := s.ticket()
		add(kind, s.Change, content)
	}
	switch {
	case s.Sort == Opened:
		add(ChangeCreated, s.Change, map[string]any{"description": s.Summary})
	case s.Sort == Voted:
		add(ChangeReviewed, s.Change, map[string]any{})
	case s.Sort == Ended && (s.State == "done" || s.State == "contested"): // it was done, whatever was said of it later
		add(ChangeMerged, s.Change, map[string]any{})
	case s.Sort == Ended:
		add(ChangeAbandoned, s.Change, map[string]any{})
	case s.Sort == Served:
		kind, content := s.service()
		add(kind, s.On, content)
	}
	if kind, content, ok := s.incident(); ok {
		add(kind, s.Change, content)
	}
	return all
}

// approval is a step as an approval that was created, updated or closed.
func (s Step) approval() (Kind, map[string]any) {
	kind, content := ApprovalUpdated, map[string]any{"approvalDetailsUrl": urn(s.Change), "resourceTargetUrl": urn(s.On)}
	decision := "deferred" // nobody has decided
	switch {
	case s.Sort == Opened:
		content["requestor"] = urn(s.Proposer)
		return ApprovalCreated, content
	case s.Sort == Unseen:
		decision = "escalated"
	case s.Sort == Voted:
		decision = map[bool]string{true: "approved", false: "rejected"}[s.Yes]
	case s.Sort == Ended:
		status := approvalStatus(s.State)
		kind, content["status"] = ApprovalClosed, status
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
func approvalStatus(state string) string {
	switch state {
	case "done", "failed": // the approval was given; what came of it is in the custom data
		return "approved"
	case "denied", "contested":
		return "rejected"
	case "expired":
		return "expired"
	}
	return "cancelled"
}

// ticket is a step as a ticket: work that waits for people.
func (s Step) ticket() (Kind, map[string]any) {
	content := map[string]any{"summary": s.Summary, "ticketType": "task", "creator": s.Proposer.String(), "uri": urn(s.Change), "labels": []string{s.Verb}}
	if s.By != (pavise.Name{}) {
		content["updatedBy"] = s.By.String()
	}
	switch s.Sort {
	case Opened:
		return TicketCreated, content
	case Ended:
		content["resolution"] = s.State
		switch s.State {
		case "done":
			content["resolution"] = "completed"
		case "withdrawn":
			content["resolution"] = "withdrawn"
		}
		return TicketClosed, content
	}
	return TicketUpdated, content
}

// service is that a model is answered for by another version, or by none. Its environment
// is all gateways of the tenant.
func (s Step) service() (Kind, map[string]any) {
	content := map[string]any{"environment": s.gateways()}
	if s.Service == "removed" {
		return ServiceRemoved, content
	}
	content["artifactId"] = Model(s.On.ID, s.Model)
	switch s.Service {
	case "deployed":
		return ServiceDeployed, content
	case "rolledback":
		return ServiceRolledBack, content
	}
	return ServiceUpgraded, content
}

// incident is a step that somebody should look at now as an incident, if it is one: a
// change that nobody looks at, that was run before its approval, or that is contested. It
// is resolved when such a change ends, unless it is contested.
func (s Step) incident() (Kind, map[string]any, bool) {
	content := map[string]any{"description": s.Text, "environment": s.gateways(), "service": map[string]string{"id": s.On.String(), "source": "/pavise/" + s.On.Tenant}}
	if slices.Contains([]string{"route", "model", "deployment"}, s.On.Kind) {
		content["artifactId"] = Model(s.On.ID, "")
	}
	switch {
	case s.Sort == Broken:
		content["ticketURI"] = "urn:pavise:incident:" + url.PathEscape(s.Incident)
		return IncidentReported, content, true
	case s.Sort == Unseen, s.Sort == Ended && s.State == "contested":
		return IncidentDetected, content, true
	case s.Sort == Ended && s.Trouble:
		return IncidentResolved, content, true
	}
	return Kind{}, nil, false
}

// gateways is where a model is answered for.
func (s Step) gateways() map[string]string {
	return map[string]string{"id": s.On.Tenant + "/gateways", "source": "/pavise/" + s.On.Tenant}
}
