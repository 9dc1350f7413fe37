package tier

import (
	"fmt"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/theft"
)

// A Tier is how far a caller is trusted at a model. The zero Tier is Green.
type Tier uint8

// The tiers, each stricter than the one before.
const (
	Green Tier = iota // answered as the route says
	Amber             // answered less exactly where the owner lets answers be altered, elsewhere on a tighter budget
	Red               // refused
)

var tierNames = [...]string{Green: "green", Amber: "amber", Red: "red"}

// String returns green, amber or red.
func (t Tier) String() string {
	if int(t) < len(tierNames) {
		return tierNames[t]
	}
	return fmt.Sprintf("tier %d", uint8(t))
}

// Parse reads what String wrote. The error is of kind Invalid.
func Parse(s string) (Tier, error) {
	if i := slices.Index(tierNames[:], s); i >= 0 {
		return Tier(i), nil
	}
	return Green, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("unknown tier %.40q", s), Hint: "known are green, amber and red"}
}

// MarshalText writes the tier as String does.
func (t Tier) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *Tier) UnmarshalText(b []byte) (err error) {
	*t, err = Parse(string(b))
	return err
}

// A Standing is how one caller stands at one model, and why.
type Standing struct {
	Model pavise.Name `json:"model"`
	Who   pavise.Name `json:"who"`
	Tier  Tier        `json:"tier"`
	Since time.Time   `json:"since"`
	// Until is when it ends by itself, as the clock of now has it, to the second; zero: not
	// before somebody says so.
	Until time.Time `json:"until,omitzero"`
	// Evidence is what the detector last saw; nil: nothing. It is there beside an
	// operator's word, too.
	Evidence *theft.Sighting `json:"evidence,omitempty"`
	By       pavise.Name     `json:"by,omitzero"`      // the operator whose word it is; zero: the detector's
	Reason   string          `json:"reason,omitempty"` // that the operator gave
}

// A Word is what an operator says of a caller at a model.
type Word struct {
	Model  pavise.Name `json:"model"`
	Who    pavise.Name `json:"who"`
	Tier   Tier        `json:"tier"`
	Until  time.Time   `json:"until,omitzero"` // when it ends; zero: not by itself. Green has an end
	By     pavise.Name `json:"by"`
	Reason string      `json:"reason"` // for people: 1 to 1,000 bytes
}

const maxReason = 1000

// Validate reports, as an error of kind Invalid, what of the word has no meaning at now.
func (w Word) Validate(now time.Time) error {
	bad := func(hint, format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	for _, n := range []pavise.Name{w.Model, w.Who, w.By} {
		if err := n.Validate(); err != nil {
			return err
		}
	}
	switch {
	case w.Model.Kind != "model":
		return bad("write it as tenant/model/id", "%s is a %s, and callers stand at models", w.Model, w.Model.Kind)
	case w.Tier > Red:
		return bad("known are green, amber and red", "the %v", w.Tier)
	case w.Reason == "" || len(w.Reason) > maxReason:
		return bad(fmt.Sprintf("say why, in 1 to %d bytes", maxReason), "a word about %s with a reason of %d bytes", w.Who, len(w.Reason))
	case w.Tier == Green && w.Until.IsZero():
		return bad("say until when; or lift what holds now", "trust in %s without an end", w.Who)
	case !w.Until.IsZero() && !w.Until.After(now):
		return bad("name a time to come", "a word about %s that ended at %s", w.Who, w.Until.UTC().Format(time.RFC3339))
	case w.Until.Sub(now) > maxHold:
		return bad("name a time within ten years, or none", "a word about %s until %s", w.Who, w.Until.UTC().Format(time.RFC3339))
	}
	return nil
}

// maxHold keeps all sums of times far from overflowing.
const maxHold = 10 * 366 * 24 * time.Hour

// A Filter picks standings. What is zero picks all.
type Filter struct {
	Tenant string      // of the model
	Model  pavise.Name // the model
	Who    pavise.Name // the caller
}

func (f Filter) picks(k key) bool {
	return (f.Tenant == "" || f.Tenant == k.model.Tenant) &&
		(f.Model == pavise.Name{} || f.Model == k.model) &&
		(f.Who == pavise.Name{} || f.Who == k.who)
}
