package pavise

import "time"

// An Outcome is what a check said.
type Outcome string

// The outcomes, from best to worst.
const (
	Allow Outcome = "allow" // pass unchanged
	Alter Outcome = "alter" // pass, but the answer was changed and the record says how
	Deny  Outcome = "deny"  // stop here
)

// A Verdict is one check's word on one request, kept in the request's record.
type Verdict struct {
	Check   string  `json:"check"`   // which check: "policy", "gate", "budget" …
	Outcome Outcome `json:"outcome"` // what it said
	Reason  string  `json:"reason,omitempty"`
	// Observed is true when the check ran in observe mode: a Deny was
	// recorded and shown, and the request went on.
	Observed bool `json:"observed,omitempty"`
}

// Stops reports whether the verdict ends the request.
func (v Verdict) Stops() bool { return v.Outcome == Deny && !v.Observed }

// The severities of a Finding.
const (
	Info     = "info"
	Warning  = "warning"
	Critical = "critical"
)

// A Finding is something a person should look at. Rooms leave findings in the
// ledger; the console shows them.
type Finding struct {
	Kind     string    `json:"kind"`     // what sort, as room.what: "ledger.recovered" …
	Severity string    `json:"severity"` // Info, Warning or Critical
	On       Name      `json:"on"`       // the thing it is about
	Who      Name      `json:"who,omitzero"`
	Summary  string    `json:"summary"` // one sentence for people
	At       time.Time `json:"at"`
}
