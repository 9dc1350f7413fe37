// Package cdevents spells what happened to a change as events of CDEvents, in CloudEvents
// 1.0 (structured JSON), for pipelines and tools that listen for them. It owns which of the
// specification's events each is, and in which version. It has no clock and no network.
//
// Changes, tickets, services and incidents are spelt as CDEvents 0.5.1 has them, the newest
// release; approvals are in no release yet, and are spelt as in the draft of 0.6.0.
package cdevents

import (
	"net/url"
	"strings"
	"time"
)

// The versions of the specification.
const (
	Released = "0.5.1"
	Draft    = "0.6.0-draft" // of 2026-03-24, which has approvals
)

// Media is the type of a message that holds an event.
const Media = "application/cloudevents+json"

// A Kind is what happened to what: a subject and a predicate, with the version of the event.
type Kind struct{ Subject, Predicate, Version string }

// The kinds of event that are sent.
var (
	ApprovalCreated   = Kind{"approval", "created", "0.1.0"}
	ApprovalUpdated   = Kind{"approval", "updated", "0.1.0"}
	ApprovalClosed    = Kind{"approval", "closed", "0.1.0"}
	ChangeCreated     = Kind{"change", "created", "0.4.0"}
	ChangeReviewed    = Kind{"change", "reviewed", "0.3.0"}
	ChangeMerged      = Kind{"change", "merged", "0.3.0"}
	ChangeAbandoned   = Kind{"change", "abandoned", "0.3.0"}
	TicketCreated     = Kind{"ticket", "created", "0.2.0"}
	TicketUpdated     = Kind{"ticket", "updated", "0.2.0"}
	TicketClosed      = Kind{"ticket", "closed", "0.2.0"}
	ServiceDeployed   = Kind{"service", "deployed", "0.3.0"}
	ServiceUpgraded   = Kind{"service", "upgraded", "0.3.0"}
	ServiceRolledBack = Kind{"service", "rolledback", "0.3.0"}
	ServiceRemoved    = Kind{"service", "removed", "0.3.0"}
	IncidentDetected  = Kind{"incident", "detected", "0.3.0"}
	IncidentReported  = Kind{"incident", "reported", "0.3.0"}
	IncidentResolved  = Kind{"incident", "resolved", "0.3.0"}
)

// Type is the kind as events name it.
func (k Kind) Type() string {
	return "dev.cdevents." + k.Subject + "." + k.Predicate + "." + k.Version
}

// An Event is one that happened.
type Event struct {
	Kind    Kind
	ID      string // unique within Source; the same whenever it is sent
	Source  string // a reference to who says it, such as /pavise/local
	Subject string // what it happened to
	Chain   string // what belongs together
	At      time.Time
	Content map[string]any // of the subject, as the kind has it
	Custom  any            // an object: what CDEvents has no field for
}

// Message is the event as it is sent: a CloudEvent, to be encoded as JSON.
func (e Event) Message() map[string]any {
	version, at := Released, e.At.UTC().Format(time.RFC3339Nano)
	if e.Kind.Subject == "approval" {
		version = Draft
	}
	context := map[string]string{"specversion": version, "id": e.ID, "source": e.Source, "type": e.Kind.Type(), "timestamp": at, "chainId": e.Chain}
	return map[string]any{
		"specversion": "1.0", "id": e.ID, "source": e.Source, "type": e.Kind.Type(), "subject": e.Subject, "time": at, "datacontenttype": "application/json",
		"data": map[string]any{
			"context":    context,
			"subject":    map[string]any{"id": e.Subject, "source": e.Source, "content": e.Content},
			"customData": e.Custom, "customDataContentType": "application/json",
		},
	}
}

// Model is the package URL of a model that a service serves: by the digest of its content,
// or by its name alone where nobody knows that.
func Model(name, digest string) string {
	purl := "pkg:generic/" + url.PathEscape(name)
	if hex, ok := strings.CutPrefix(digest, "sha256:"); ok {
		purl += "?checksum=sha256:" + url.QueryEscape(hex)
	}
	return purl
}
