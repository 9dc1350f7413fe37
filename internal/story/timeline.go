package story

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/record"
)

// A Step is one station of the timeline.
type Step struct {
	State string // its icon and colour
	Title string
	Text  string
}

// A Proof is how a record stands in the log.
type Proof struct {
	Size  uint64 // of the checkpoint that covers it, in records
	Holds bool   // the path leads to the checkpoint's root
}

// Told is a record that is told in order.
type Told struct {
	Event evidence.Event
	Infer *gateway.ChatTrail // of a model's answer; nil: it is another act
	Proof *Proof             // nil: it is not signed yet

	row Row
}

// stations name the checks on the timeline, as they are met.
var stations = map[string]string{
	"policy": "Policy", "guard": "Guard", "quarantine": "Quarantine", "codec": "Strict codec", "gate": "Request gate",
	"change": "Change", "rate": "Rate", "budget": "Rate and budget", "shape": "Answer shape", "fields": "Fields of the exchange",
	"stream": "Stream", "drift": "Drift of the inputs", "tier": "Standing of the caller", "memory": "Memory", "profile": "Path", "facts": "Facts", "grant": "Granted role",
}

// passed is what a check that has nothing to say did.
var passed = map[string]string{
	"gate": "form and bounds are those of the model", "budget": "within the caller's and the model's terms",
	"shape": "nothing to change", "codec": "read without doubt", "fields": "as asked and as answered",
}

// Timeline tells a record's story in order.
func Timeline(t *Told) []Step {
	t.row = NewRow(t.Event)
	r := t.Event.Record
	if r.Phase == record.Note {
		title := t.row.Verb
		if Knocked(r) {
			title = "Turned away"
		}
		return append([]Step{{t.row.State, title, noteSaid(r)}}, written(t)...)
	}
	var steps []Step
	if r.Who != nil {
		steps = append(steps, Step{Allow, "Known by proof", known(*r.Who)})
	}
	steps = append(steps, asked(r)...)
	gates := 0
	for _, v := range r.Verdicts {
		if v.Check == "gate" {
			gates++
		}
		if v.Check == "gate" && gates == 2 {
			steps = append(steps, answered(t))
		}
		steps = append(steps, checked(v, gates))
		if v.Check == "budget" && t.Infer != nil && t.Infer.API != "" && t.Infer.Input != "" { // it is the last before a language model
			steps = append(steps, answered(t))
		}
	}
	return append(append(steps, ended(t, gates)...), written(t)...)
}

// noteSaid is a note's text, and of counted refusals also whose.
func noteSaid(r record.Record) string {
	if !Knocked(r) {
		return noteText(r)
	}
	k := knockOf(r)
	text := fmt.Sprintf("%s: %s, %d within this second. ", k.Source, k.Reason, k.Count)
	if r.Kind == noteStranger {
		return text + "Nobody could say who it was, so no policy was asked."
	}
	return text + "No policy was asked."
}

func known(who pavise.Principal) string {
	text := who.Name().String()
	if who.Proof != "" {
		text += ", by " + who.Proof
	}
	if who.Issuer != "" {
		text += " of " + who.Issuer
	}
	return text
}

// asked is the policy's word when it was yes; its no is among the verdicts.
func asked(r record.Record) []Step {
	denied := slices.ContainsFunc(r.Verdicts, func(v pavise.Verdict) bool { return v.Check == "policy" || v.Check == "guard" })
	if r.Policy == nil || denied || r.Phase == record.Exit || r.Phase == record.Interrupted {
		return nil
	}
	return []Step{{Allow, "Policy", "permitted by " + strings.Join(r.Policy.Reasons, ", ")}}
}

// checked is one verdict's station.
func checked(v pavise.Verdict, gates int) Step {
	s := Step{State: string(v.Outcome), Title: stations[v.Check], Text: v.Reason}
	switch {
	case s.Title == "":
		s.Title = strings.ToUpper(v.Check[:min(len(v.Check), 1)]) + v.Check[min(len(v.Check), 1):]
	case v.Check == "gate" && gates > 1:
		s.Title = "Answer gate"
	}
	if Words[s.State] == "" {
		s.State = Note
	}
	if s.State == Deny && v.Observed {
		s.State, s.Text = Observed, "would be denied, and was let pass: "+v.Reason
	}
	if s.Text == "" {
		s.Text = passed[v.Check]
	}
	return s
}

// answered is the model's own station.
func answered(t *Told) Step {
	s := Step{State: Allow, Title: "Model"}
	switch by := t.Infer; {
	case by == nil:
	case by.API == "":
		s.Text = rowsText(by.Rows) + " answered by " + figure.Clip(by.Model, MaxName/2)
	case by.Output == "":
		s.State, s.Text = Failed, figure.Clip(by.Model, MaxName)+" was asked, and nothing of an answer came"
	default:
		s.Text = figure.Clip(by.Model, MaxName) + " answered" + strings.TrimRight(" "+spoken(by), " ")
	}
	return s
}

// spoken says how much a language model said, as far as it is known.
func spoken(t *gateway.ChatTrail) string {
	var parts []string
	if t.Events > 0 {
		parts = append(parts, fmt.Sprintf("in %d events", t.Events))
	}
	if t.TokensIn+t.TokensOut > 0 {
		parts = append(parts, fmt.Sprintf("%d tokens read, %d written", t.TokensIn, t.TokensOut))
	}
	return strings.Join(parts, ", ")
}

// ended is how the act came out.
func ended(t *Told, gates int) []Step {
	r := t.Event.Record
	switch {
	case r.Phase == record.Interrupted:
		return []Step{{Interrupted, "Interrupted", "the process stopped before this act ended; whether it took effect is for its own room to say"}}
	case r.Phase == record.Enter:
		return []Step{{Begun, "Begun", "this question was on disk before the act began"}}
	case t.row.State == Deny:
		return []Step{{Deny, "Refused", refused(r)}}
	case r.Error != nil && gates == 1:
		return []Step{{Failed, "Model", r.Error.Msg}}
	case r.Error != nil:
		return []Step{{Failed, "Failed", r.Error.Kind + ": " + r.Error.Msg}}
	case t.Infer != nil && t.Infer.Altered:
		return []Step{{Alter, "Answered", strings.TrimSuffix("altered; the model's own answer is kept, sealed "+after(r), " ")}}
	case r.Took > 0:
		return []Step{{Allow, "Done", after(r)}}
	}
	return []Step{{Allow, "Done", ""}}
}

// refused is what the caller was told instead of an answer.
func refused(r record.Record) string {
	if r.Error == nil {
		return "the caller got no answer"
	}
	return strings.TrimSuffix("the caller was told that it is "+r.Error.Kind+", "+after(r), ", ")
}

func after(r record.Record) string {
	if r.Took <= 0 {
		return ""
	}
	return "after " + figure.Lasted(r.Took)
}

// written is what happened to the record itself.
func written(t *Told) []Step {
	steps := []Step{{Allow, "Written down", fmt.Sprintf("record %d of the evidence log", t.Event.Index)}}
	if t.Proof == nil {
		return append(steps, Step{Begun, "Not yet signed", "the next checkpoint will cover it"})
	}
	if !t.Proof.Holds {
		return append(steps, Step{Deny, "Proof does not hold", "the path does not lead to the root that the log gave"})
	}
	return append(steps, Step{Allow, "Signed", fmt.Sprintf("under a checkpoint over %s records", figure.Thousands(t.Proof.Size))})
}
