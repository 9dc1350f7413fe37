package story

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/record"
)

// The states a record is shown in. Each has an icon, a colour and a word, so
// that none depends on the colour. They are also names of CSS classes.
const (
	Allow       = "allow"
	Alter       = "alter"
	Deny        = "deny"
	Observed    = "observed" // would have been denied
	Failed      = "failed"   // allowed, and ended badly
	Begun       = "begun"    // an Enter
	Interrupted = "interrupted"
	Note        = "note"
)

// Words are the states, for people.
var Words = map[string]string{
	Allow: "Allowed", Alter: "Altered", Deny: "Denied", Observed: "Observed",
	Failed: "Failed", Begun: "Begun", Interrupted: "Interrupted", Note: "Note",
}

// The kinds of the guard's notes that count refusals: of callers nobody could
// name, and of those it had no slot, no clock or no record for.
const (
	noteStranger = "identity.refused"
	noteRefused  = "guard.refused"
)

// Knocked reports whether the record counts refusals.
func Knocked(r record.Record) bool {
	return r.Phase == record.Note && (r.Kind == noteStranger || r.Kind == noteRefused)
}

// The longest texts of a row, in characters. The trail shows them whole.
const (
	MaxReason = 120
	MaxName   = 64
)

// A Row is one record in a list, as the page and the live feed show it.
type Row struct {
	Index  uint64    `json:"index"`
	At     time.Time `json:"at"`
	Clock  string    `json:"clock"` // time of day, UTC
	State  string    `json:"state"`
	Word   string    `json:"word"` // the state, for people
	Who    string    `json:"who"`
	Sort   string    `json:"sort"` // of caller: human, workload, node, stranger
	Verb   string    `json:"verb"`
	Thing  string    `json:"thing"`
	Reason string    `json:"reason"`
	Took   string    `json:"took"`
}

// NewRow says a record in one line.
func NewRow(e evidence.Event) Row {
	r := e.Record
	state := StateOf(r)
	w := Row{
		Index: e.Index, At: r.At.UTC(), Clock: r.At.UTC().Format("15:04:05.000"),
		State: state, Word: Words[state], Verb: figure.OneLine(r.Kind, MaxName), Thing: thing(r),
		Reason: figure.OneLine(reason(r, state), MaxReason), Took: figure.Lasted(r.Took),
	}
	switch {
	case r.Who != nil:
		w.Who, w.Sort = figure.OneLine(r.Who.ID, MaxName), figure.OneLine(r.Who.Kind, MaxName)
	case Knocked(r):
		w.Who = figure.OneLine(knockOf(r).Source, MaxName)
		if r.Kind == noteStranger {
			w.Sort = "stranger"
		}
	default:
		w.Who = "pavise"
	}
	return w
}

// thing is what a record is about, without the tenant when that is the record's.
func thing(r record.Record) string {
	name := r.On.String()
	if r.On.Tenant == r.Tenant {
		name = strings.TrimPrefix(name, r.Tenant+"/")
	}
	return figure.OneLine(name, 2*MaxName)
}

// StateOf classifies a record.
func StateOf(r record.Record) string {
	switch {
	case Knocked(r) || r.Outcome == pavise.Deny:
		return Deny
	case r.Phase == record.Note:
		return Note
	case r.Phase == record.Interrupted:
		return Interrupted
	case r.Error != nil:
		return Failed
	case wouldDeny(r) != nil || r.Policy != nil && r.Policy.Observed:
		return Observed
	case r.Phase == record.Enter:
		return Begun
	case r.Outcome == pavise.Alter:
		return Alter
	}
	return Allow
}

// wouldDeny returns the first denial that observe mode let pass, or nil.
func wouldDeny(r record.Record) *pavise.Verdict {
	for i, v := range r.Verdicts {
		if v.Outcome == pavise.Deny && v.Observed {
			return &r.Verdicts[i]
		}
	}
	return nil
}

// reason says in one phrase why a record is in its state.
func reason(r record.Record, state string) string {
	switch state {
	case Deny:
		return whyDenied(r)
	case Observed:
		if v := wouldDeny(r); v != nil {
			return "would be denied: " + v.Reason
		}
		return "would be denied by policy"
	case Failed:
		return r.Error.Kind + ": " + r.Error.Msg
	case Interrupted:
		return "how it ended is not known: the process stopped"
	case Note:
		return noteText(r)
	}
	if t, ok := Inference(r); ok && t.API != "" {
		return spokenTo(r, &t)
	} else if ok && t.Rows > 0 {
		return rowsText(t.Rows) + shapeText(t)
	}
	if r.Policy != nil && len(r.Policy.Reasons) > 0 {
		return "permitted by " + strings.Join(r.Policy.Reasons, ", ")
	}
	return ""
}

// whyDenied is the reason of the verdict that stopped the request. The guard's
// own Words begin with who asked for what, which the row says already.
func whyDenied(r record.Record) string {
	if Knocked(r) {
		k := knockOf(r)
		if k.Count > 1 {
			return fmt.Sprintf("%s (%d times in a second)", k.Reason, k.Count)
		}
		return k.Reason
	}
	for _, v := range r.Verdicts {
		if !v.Stops() {
			continue
		}
		said := v.Reason
		if r.Who != nil {
			said = strings.TrimPrefix(said, fmt.Sprintf("%s may not do %s on %s: ", r.Who.Name(), r.Kind, r.On))
		}
		return said
	}
	if r.Error != nil {
		return r.Error.Msg
	}
	return ""
}

// A knock is the detail of a note that counts refusals.
type knock struct {
	Source string `json:"source"`
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// knockOf reads a note's detail. One that cannot be read is shown empty here,
// and raw on its own page.
func knockOf(r record.Record) knock {
	var k knock
	if json.Unmarshal(r.Detail, &k) != nil {
		return knock{}
	}
	return k
}

// notes say what the house's own notes mean, by kind.
var notes = map[string]string{
	"guard.clock":      "the clock was set back, and its new time was accepted",
	"issuer.bootstrap": "the token that the operator began with",
	"policy.seeded":    "put in force with the new installation",
}

// noteText is the finding's sentence where a note holds one. Of a kind unknown
// here the trail shows the detail.
func noteText(r record.Record) string {
	var d struct {
		Finding pavise.Finding `json:"finding"`
	}
	if json.Unmarshal(r.Detail, &d) == nil && d.Finding.Summary != "" {
		return d.Finding.Summary
	}
	return notes[r.Kind]
}

// Inference returns what the record of a model's answer says about it.
func Inference(r record.Record) (gateway.ChatTrail, bool) {
	t := gateway.ChatTrail{Trail: &gateway.Trail{}}
	ok := r.Kind == "model.infer" && len(r.Detail) > 0 && json.Unmarshal(r.Detail, &t) == nil && t.ID != ""
	return t, ok
}

// spokenTo says what of an exchange with a language model was altered, else how much
// there was of it.
func spokenTo(r record.Record, t *gateway.ChatTrail) string {
	for _, v := range r.Verdicts {
		if v.Outcome == pavise.Alter {
			return fmt.Sprintf("%s caller, fields %s", t.Tier, v.Reason)
		}
	}
	return strings.TrimRight(string(t.API)+" "+spoken(t), " ")
}

func rowsText(n int) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}

func shapeText(t gateway.ChatTrail) string {
	if t.Shape == "" {
		return ""
	}
	return ", " + t.Shape
}
