package registry

import (
	"slices"
	"time"

	"github.com/pavise/pavise"
)

// A State is how far a version has come in its life.
type State string

// The states.
const (
	Draft       State = "draft"
	Proposed    State = "proposed"
	Reviewed    State = "reviewed"
	Approved    State = "approved"  // passed through: it is published by the same change
	Published   State = "published" // may be deployed, and serves nobody
	Canary      State = "canary"    // serves some
	Live        State = "live"
	Degraded    State = "degraded"    // serves, and not as it should
	RolledBack  State = "rolled_back" // was taken back; another version is the way on
	Accepted    State = "accepted"    // was degraded, and people took that as it is: it serves
	Retired     State = "retired"
	Rejected    State = "rejected"
	Quarantined State = "quarantined"
)

// States are all of them, in the order of a life.
var States = []State{Draft, Proposed, Reviewed, Approved, Published, Canary, Live, Degraded, RolledBack, Accepted, Retired, Rejected, Quarantined}

// Serves reports whether a version in the state answers somebody.
func (s State) Serves() bool {
	return s == Canary || s == Live || s == Degraded || s == Accepted
}

// Ends reports whether nothing leads on from the state.
func (s State) Ends() bool { return s == Retired || s == Rejected }

// leads are the states that each leads to, but for quarantine, to which every state leads
// that does not end, and from which a release alone leads back.
var leads = map[State][]State{
	Draft:      {Proposed, Retired},
	Proposed:   {Reviewed, Rejected, Draft},
	Reviewed:   {Approved, Rejected, Draft},
	Approved:   {Published},
	Published:  {Canary, Live, Retired},
	Canary:     {Live, Degraded, RolledBack, Published},
	Live:       {Degraded, RolledBack, Published},
	Degraded:   {RolledBack, Accepted, Published},
	Accepted:   {Degraded, RolledBack, Published},
	RolledBack: {Retired},

	Quarantined: {Retired},
}

// Leads reports whether a version may go from one state to another.
func (s State) Leads(to State) bool {
	if to == Quarantined {
		return !s.Ends() && s != Quarantined
	}
	return slices.Contains(leads[s], to)
}

// movable are the states that deployments move a version to.
var movable = []State{Published, Canary, Live, Degraded, RolledBack, Accepted, Quarantined}

// Timeouts is how long a version may be in a state until somebody is told that nothing came
// of it. A state that is not there has no end.
var Timeouts = map[State]time.Duration{
	Draft: 90 * day, Proposed: 3 * day, Reviewed: 7 * day, Approved: day, Published: 90 * day, Canary: 7 * day,
	Live: 365 * day, Degraded: day, Accepted: 90 * day, RolledBack: 30 * day, Quarantined: 7 * day,
}

const day = 24 * time.Hour

// wants says what somebody is to do about a version that has been in a state for too long.
var wants = map[State]string{
	Draft:       "propose it, or retire it",
	Proposed:    "a reviewer looks at it, and reviews or rejects it",
	Reviewed:    "somebody proposes to publish it and others approve, or it is rejected",
	Approved:    "look at the change that published it",
	Published:   "deploy it, or retire it",
	Canary:      "let it serve all, or roll it back",
	Live:        "evaluate and attack it anew, and say that it is still fit",
	Degraded:    "roll it back, or accept it as it is",
	Accepted:    "evaluate it anew, or put a better version in its place",
	RolledBack:  "retire it, and add what was mended as another version",
	Quarantined: "find out what is wrong, and release or retire it",
}

// A Risk says what a wrong answer of a model may do.
type Risk string

// The risks.
const (
	Low    Risk = "low"
	Medium Risk = "medium"
	High   Risk = "high"
)

// Risks are all of them, the least first.
var Risks = []Risk{Low, Medium, High}

// Approvals is how many people approve that a version of the risk is published, beside those
// who had a hand in it.
func (r Risk) Approvals() int {
	if r == High {
		return 2
	}
	return 1
}

// Tested reports whether a version of the risk is evaluated and attacked before its review.
func (r Risk) Tested() bool { return r != Low }

// validate refuses what is no risk.
func (r Risk) validate() error {
	if !slices.Contains(Risks, r) {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the risk of a model is low, medium or high", Hint: "say what a wrong answer of it may do: --risk medium"}
	}
	return nil
}

// worse is the greater of two risks.
func worse(a, b Risk) Risk {
	return Risks[max(slices.Index(Risks, a), slices.Index(Risks, b))]
}

// An Intake is how far the files of a version are.
type Intake string

// The intakes.
const (
	Pending Intake = "pending" // they were not all hashed and looked at
	Ready   Intake = "ready"
	Failed  Intake = "failed" // they are not what was said, or do harm to whoever loads them
)
