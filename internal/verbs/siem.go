package verbs

import (
	"context"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/siem"
)

func (rooms *Rooms) siemVerbs() []api.Verb {
	onWire := []string{siem.KindEndpoint}
	return []api.Verb{
		api.Do(api.Verb{
			Name: "finding.list", On: []string{"ledger"}, Class: guard.Pooled,
			Help:    "List what a person should look at, newest first",
			About:   "Refusals, emergencies, and what the rooms found, out of the evidence log: each says which record it is, and pavise ledger prove RECORD proves that. Refusals of one sort within a minute are one line.",
			Example: "pavise finding list --least medium",
		}, func(ctx context.Context, who pavise.Principal, req FindingRequest) (siem.List, error) {
			return rooms.Wires.Findings(ctx, who, siem.Listing{Limit: req.Limit, Before: req.Before, Least: leasts[req.Least]})
		}),
		api.Do(api.Verb{
			Name: "siem.put", On: onWire,
			Help:    "Send findings to a webhook, or give one another address",
			About:   "Each finding is one signed message (Standard Webhooks) whose data is an OCSF event. A new receiver gets what is found from now on, or with --after from a record on. The secret that its messages are signed with is shown once: give it to the receiver. The address is https, except on this machine.",
			Example: "pavise siem put soc http://127.0.0.1:9/pavise",
		}, func(ctx context.Context, who pavise.Principal, req ReceiverPut) (siem.Given, error) {
			return rooms.Wires.Put(ctx, who, siem.Put{Name: req.Name, URL: req.URL, Scheme: req.Scheme, After: req.After})
		}),
		api.Do(api.Verb{
			Name: "siem.list", On: onWire, Class: guard.Pooled,
			Help:    "Show where findings go, and how each receiver fares",
			About:   "Of an address only the host is shown: the rest may be a secret.",
			Example: "pavise siem list",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (ReceiverList, error) {
			all, err := rooms.Wires.List(ctx, who)
			return ReceiverList{all}, err
		}),
		api.Do(api.Verb{
			Name: "siem.test", On: onWire,
			Help:    "Send a receiver a message that says it is a test",
			About:   "Once, signed like others. The answer says whether the receiver took it.",
			Example: "pavise siem test soc",
		}, func(ctx context.Context, who pavise.Principal, req ReceiverName) (siem.Tried, error) {
			return rooms.Wires.Test(ctx, who, req.Name)
		}),
		api.Do(api.Verb{
			Name: "siem.rotate", On: onWire,
			Help:    "Give a receiver another secret",
			About:   "The old one goes on signing beside it for --hours, 24 unless you say otherwise, so that the receiver can change over. With 0 it ends at once.",
			Example: "pavise siem rotate soc",
		}, func(ctx context.Context, who pavise.Principal, req ReceiverRotate) (siem.Given, error) {
			overlap := 24 * time.Hour
			if req.Hours != nil {
				overlap = time.Duration(*req.Hours) * time.Hour
			}
			return rooms.Wires.Rotate(ctx, who, req.Name, overlap)
		}),
		api.Do(api.Verb{
			Name: "siem.delete", On: onWire,
			Help:    "Send a receiver no more findings, and forget its secret",
			About:   "What it was not told of by then it never is. That somebody did this is a finding, which the other receivers are told of.",
			Example: "pavise siem delete soc",
		}, func(ctx context.Context, who pavise.Principal, req ReceiverName) (api.Empty, error) {
			return api.Empty{}, rooms.Wires.Delete(ctx, who, req.Name)
		}),
	}
}

// leasts are the severities by which findings are listed.
var leasts = map[string]siem.Severity{"low": siem.Low, "medium": siem.Medium, "high": siem.High, "critical": siem.Critical}

// FindingRequest asks for findings.
type FindingRequest struct {
	Limit  int     `json:"limit,omitempty" help:"how many (default 50, at most 1000)" doc:"how many; 50 when absent" minimum:"0" maximum:"1000"`
	Before *uint64 `json:"before,omitempty" help:"only of records before this one" doc:"only of records before this one"`
	Least  string  `json:"least,omitempty" enum:"low,medium,high,critical," placeholder:"SEVERITY" default:"" help:"only as bad as this, or worse: low, medium, high or critical" doc:"only as bad as this, or worse"`
}

// ReceiverPut says where findings go.
type ReceiverPut struct {
	Name   string  `json:"name" arg:"" help:"the receiver's name" doc:"the receiver's name"`
	URL    string  `json:"url" arg:"" help:"where it takes messages: https://…" doc:"where it takes messages: https, except on this machine"`
	Scheme string  `json:"scheme,omitempty" enum:"hmac-sha256,ed25519," default:"" placeholder:"SCHEME" help:"how messages are signed: hmac-sha256, the default, or ed25519" doc:"how messages are signed; absent: as before, or hmac-sha256"`
	After  *uint64 `json:"after,omitempty" help:"of a new receiver: begin with the record at this index" doc:"of a new receiver, the first record that it is told of; absent: the next that comes"`
}

// ReceiverName names a receiver.
type ReceiverName struct {
	Name string `json:"name" arg:"" help:"the receiver's name" doc:"the receiver's name"`
}

// ReceiverRotate asks for another secret.
type ReceiverRotate struct {
	Name  string `json:"name" arg:"" help:"the receiver's name" doc:"the receiver's name"`
	Hours *int   `json:"hours,omitempty" minimum:"0" maximum:"720" help:"how long the old secret goes on signing (default 24)" doc:"how many hours the old secret goes on signing; 24 when absent"`
}

// ReceiverList holds receivers.
type ReceiverList struct {
	Receivers []siem.Endpoint `json:"receivers"`
}
