package siem

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// A Severity is how bad a finding is, as OCSF counts it.
type Severity int

// The severities.
const (
	Informational Severity = 1 + iota
	Low
	Medium
	High
	Critical
)

// severities are the captions of OCSF.
var severities = [...]string{1: "Informational", "Low", "Medium", "High", "Critical"}

// String returns OCSF's word for it.
func (s Severity) String() string {
	if s < Informational || s > Critical {
		return "Unknown"
	}
	return severities[s]
}

// A Finding is what one record, or several of one sort, give a person to look at.
type Finding struct {
	Record   uint64      `json:"record"`   // index of the record, of several the first
	Kind     string      `json:"kind"`     // what sort, as room.what: the verb that was refused, or the finding's own
	Severity Severity    `json:"severity"` // 1 informational to 5 critical
	At       time.Time   `json:"at"`
	Who      pavise.Name `json:"who,omitzero"`
	Source   string      `json:"source,omitempty"` // where a caller came from whom nobody could name
	On       pavise.Name `json:"on,omitzero"`
	Title    string      `json:"title"`            // what sort of thing happened, the same for all of the sort
	Summary  string      `json:"summary"`          // what happened here, in a sentence
	Check    string      `json:"check,omitempty"`  // which check stopped it
	Policy   string      `json:"policy,omitempty"` // which policy, if one did
	Blocked  bool        `json:"blocked"`          // it was stopped
	Count    uint64      `json:"count"`            // how often; of a finding that was told before, how often since
	Last     time.Time   `json:"last,omitzero"`    // when the last of several was

	tenant string
	reason string // of strangers' refusals, the word of package identity: another is another sort

	failing string // of a model server that failed, which
}

// The lengths that a text of a record may have in a finding, in characters.
const (
	maxSummary = 512
	maxWord    = 300
)

// guardrail begins the name of a policy that no tenant can remove.
const guardrail = "guardrail/"

// wanted are the records of which findings are made: each filter names some of them,
// and [worth] judges.
func wanted(tenant string) []ledger.Filter {
	return []ledger.Filter{
		{Tenant: tenant, Phase: record.Note},
		{Tenant: tenant, Ending: "failed"},
		{Tenant: tenant, Phase: record.Exit, Kinds: []string{"change.emergency", "siem.put", "siem.delete", "siem.rotate", "ticket.put", "ticket.remove", "ticket.map", "tier.hold", "tier.lift", "dataset.unwatch", "dataset.watch", "drift.dismiss"}},
	}
}

// Worth makes the finding of a record, if there is something to look at.
func Worth(index uint64, r *record.Record) (f Finding, ok bool) {
	f = Finding{Record: index, Kind: r.Kind, At: r.At.UTC(), On: r.On, Count: 1, tenant: r.Tenant}
	if r.Who != nil {
		f.Who = r.Who.Name()
	}
	switch {
	case r.Phase == record.Note:
		ok = f.noted(r)
	case r.Phase == record.Interrupted:
		f.Severity, f.Title, f.Summary = Low, "An act was cut off", "the process stopped while "+r.Kind+" was under way; how far it got is not recorded"
		ok = true
	case r.Outcome == pavise.Deny || r.Error != nil && r.Error.Kind == pavise.Denied.String():
		ok = f.refused(r)
	case r.Phase == record.Exit && r.Error == nil:
		ok = f.done(r)
	case r.Phase == record.Act && r.Error != nil && r.Error.Kind == unavailable && strings.HasPrefix(r.Error.Msg, ofServer):
		if ok = f.failed(r, strings.TrimPrefix(r.Error.Msg, ofServer)); ok {
			f.Severity = Low // that it is away is for who looks at its health, too
		}
	}
	f.Kind, f.Source = show(f.Kind, maxWord), show(f.Source, maxWord)
	f.Title, f.Summary, f.Check, f.Policy = show(f.Title, maxWord), show(f.Summary, maxSummary), show(f.Check, maxWord), show(f.Policy, maxWord)
	return f, ok
}

// show makes a text fit for one line: others chose much of it.
func show(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, strings.Join(strings.Fields(s), " "))
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

// noted fills in what a note of the house says.
func (f *Finding) noted(r *record.Record) bool {
	var d struct {
		Finding pavise.Finding `json:"finding"`
		Source  string         `json:"source"`
		Reason  string         `json:"reason"`
		Count   uint64         `json:"count"`
	}
	if len(r.Detail) > 0 && json.Unmarshal(r.Detail, &d) != nil {
		return false
	}
	switch {
	case d.Finding.Kind != "":
		f.Kind, f.Summary = d.Finding.Kind, d.Finding.Summary
		f.Severity, f.Title = grave(d.Finding.Severity), titleOf(d.Finding.Kind)
		if d.Finding.On != (pavise.Name{}) {
			f.On = d.Finding.On
		}
		if d.Finding.Who != (pavise.Name{}) {
			f.Who = d.Finding.Who
		}
	case r.Kind == "identity.refused":
		f.Severity, f.Blocked, f.Check = Low, true, "identity"
		f.Title, f.Source, f.Count, f.reason = "Callers without a good proof were refused", d.Source, max(d.Count, 1), d.Reason
		f.Summary = fmt.Sprintf("%s from %s: %s", times(f.Count, "caller", "callers"), cmp.Or(d.Source, "an unknown address"), d.Reason)
	case r.Kind == "guard.refused":
		f.Severity, f.Blocked, f.Check = Low, true, "guard"
		f.Title, f.Source, f.Count = "A caller was refused faster than each can be recorded", d.Source, max(d.Count, 1)
		f.Summary = fmt.Sprintf("%s: %s, %s within a second", d.Source, d.Reason, times(f.Count, "time", "times"))
		if who, err := pavise.ParseName(d.Source); err == nil {
			f.Who = who
		}
	case r.Kind == "guard.clock":
		f.Severity, f.Title = Medium, "The clock was set back"
		f.Summary = "the clock was set back, and somebody accepted its new time"
	default:
		return false
	}
	return true
}

// grave is the severity that a room's finding has.
func grave(severity string) Severity {
	switch severity {
	case pavise.Critical:
		return Critical
	case pavise.Warning:
		return Medium
	}
	return Informational
}

// titles are of the findings that rooms leave, by their kind.
var titles = map[string]string{
	"change.broken":       "A change was run before anybody approved it",
	"change.void":         "A change lost its approvals",
	"change.unproven":     "The evidence log does not bear out a change",
	"change.expired":      "Nobody decided on a change in time",
	"change.overdue":      "Nobody looked at an emergency act in time",
	"change.contested":    "An emergency act is contested",
	"change.unseen":       "Half of the time for a change is over, and nobody has voted",
	"ticket.unreachable":  "A tool that changes are told to takes nothing",
	"ticket.lost":         "A tool does not take what became of a change",
	"ticket.refused":      "What somebody said on a ticket is no vote",
	"ledger.recovered":    "The end of the evidence log was torn and has been cut off",
	"ledger.damaged":      "A record of the evidence log is damaged",
	"witness.forked":      "A log has signed two histories",
	"dataset.refuted":     "A pipeline tells of data that there never were",
	"issuer.reinvited":    "Whoever holds the host of the control plane invited a person anew",
	"firewall.drifted":    "A model is asked about other things than it was made for",
	"firewall.suspected":  "A caller asks as one does who studies a model",
	"firewall.alerted":    "A request to a language model, or its answer, met a rule that is an alert",
	"firewall.overlooked": "Detectors saw a part of what a model was asked",
	"firewall.unwatched":  "Nobody looks for those who copy a model",
	"drift.learned":       "What a model is held to was learnt",
	"drift.suspected":     "A model may have moved away from its baseline",
	"drift.confirmed":     "A model has moved away from its baseline",
	"drift.acted":         "Something was done, or has to be, about a model that moved",
	"drift.ended":         "A model is as its baseline has it again",
	"drift.swapped":       "What is kept of the baselines of a model is not what was signed",
	"dataset.unindexed":   "Rows of an old version of a dataset can be asked about no more",
	"dataset.screened":    "Rows of a dataset look poisoned",
	"dataset.unscreened":  "A dataset was not screened for poison",
	"dataset.changed":     "What lies at the place of a dataset is not the dataset",
	"dataset.unreachable": "A dataset cannot be looked at",
	"model.altered":       "A version is not as this installation signed it",
	"model.harmful":       "The files of a model do harm, or are not what was said",
	"model.moved":         "A version moved on in its life by itself",
	"model.overdue":       "Nothing came of a version of a model in time",
	"model.unsigned":      "A signature for a model does not hold",
	"deploy.partial":      "A target does not have the version that it should have",
	"deploy.strayed":      "A target ran another version than was wanted there",
	"deploy.unapproved":   "Something ran that nobody approved",
	"deploy.untraced":     "A version runs of which nobody can say what it was trained on",
	"deploy.changed":      "A version is no longer what was approved",
	"deploy.rolled-back":  "A model went back to the version before by itself",
	"deploy.paged":        "A model should go back, and waits for somebody",
	"deploy.unwatched":    "Nobody looks any more at what runs somewhere",
	"ingest.quarantined":  "A batch was held at the gate",
	"ingest.odd":          "A source brings something else than it did",
	"ingest.expired":      "A batch was in quarantine for too long, and is gone",
	"ingest.silent":       "Nothing comes for a source",
	"ingest.unreachable":  "What a source is fetched from cannot be reached",
	"ingest.replaced":     "What was taken in already was replaced where it lies",
	"ingest.truncated":    "A file became shorter, or went, before it was read to its end",
	"ingest.gone":         "Objects that were taken in are not there any more",
	"ingest.lost":         "Messages were thrown away before they were fetched",
	"ingest.contradicted": "A feed contradicts itself",
	"ingest.refused":      "What came for a source cannot be taken at all",
	"ingest.terms":        "Who may do what with a bucket was changed",
	KindDisabled:          "A receiver of findings does not want any more",
	KindUnreachable:       "A receiver of findings does not answer",
}

func titleOf(kind string) string { return cmp.Or(titles[kind], "A finding of "+record.Room(kind)) }

// done fills in what is worth knowing of an act that was allowed and went well.
func (f *Finding) done(r *record.Record) bool {
	switch r.Kind {
	case "change.emergency":
		var d struct {
			Verb    string      `json:"verb"`
			On      pavise.Name `json:"on"`
			Summary string      `json:"summary"`
		}
		if json.Unmarshal(r.Detail, &d) != nil {
			return false
		}
		f.Severity, f.Title = Medium, "Something was ordered to be done at once, and approved afterwards"
		f.Summary = fmt.Sprintf("%s ordered %s on %s, to be done before anybody approves it: %s", f.Who, d.Verb, d.On, d.Summary)
	case "siem.put", "siem.delete", "siem.rotate":
		f.Severity, f.Title = Medium, "Where findings go was changed"
		f.Summary = fmt.Sprintf("%s did %s on %s", f.Who, r.Kind, r.On)
	case "ticket.put", "ticket.remove":
		f.Severity, f.Title = Medium, "Where changes are told was changed"
		f.Summary = fmt.Sprintf("%s did %s on %s", f.Who, r.Kind, r.On)
	case "ticket.map":
		f.Severity, f.Title = Medium, "Somebody votes from a tool"
		f.Summary = fmt.Sprintf("an account of %s is a person's since %s, whom %s proposed", r.On, r.Who.Change, f.Who)
	case "tier.hold", "tier.lift":
		return f.moved(r)
	case "dataset.watch":
		var d struct {
			Loosened []string `json:"loosened"`
		}
		if json.Unmarshal(r.Detail, &d) != nil || len(d.Loosened) == 0 {
			return false
		}
		f.Severity, f.Title = Medium, "A dataset is watched less than before, or elsewhere"
		f.Summary = fmt.Sprintf("%s set another watch on %s: %s", f.Who, f.On, strings.Join(d.Loosened, "; "))
	case "drift.dismiss":
		var d struct {
			Model  pavise.Name `json:"model"`
			Reason string      `json:"reason"`
		}
		if json.Unmarshal(r.Detail, &d) != nil {
			return false
		}
		f.Severity, f.On, f.Title = Medium, d.Model, "What was found of a model was dismissed"
		f.Summary = fmt.Sprintf("%s says that %s does not drift: %s", f.Who, d.Model, d.Reason)
	case "dataset.unwatch":
		var d struct {
			Reason string `json:"reason"`
		}
		if json.Unmarshal(r.Detail, &d) != nil {
			return false
		}
		f.Severity, f.Title = Medium, "A dataset is not looked at any more"
		f.Summary = fmt.Sprintf("%s had %s watched no more: %s", f.Who, f.On, d.Reason)
	default:
		return false
	}
	return true
}

// moved fills in that a person said how far a caller is trusted at a model.
func (f *Finding) moved(r *record.Record) bool {
	var d struct {
		Model  pavise.Name `json:"model"`
		Caller pavise.Name `json:"caller"`
		Tier   string      `json:"tier"`
		Reason string      `json:"reason"`
	}
	if json.Unmarshal(r.Detail, &d) != nil {
		return false
	}
	f.Severity, f.On = Medium, d.Model
	if r.Kind == "tier.lift" {
		f.Title, f.Summary = "A caller was let be green again", fmt.Sprintf("%s lifted what held %s at %s: %s", f.Who, d.Caller, d.Model, d.Reason)
		return true
	}
	f.Title, f.Summary = "A caller was held to a tier", fmt.Sprintf("%s holds %s to %s at %s: %s", f.Who, d.Caller, d.Tier, d.Model, d.Reason)
	return true
}

// sorts say what a refusal by a check means, and how much a person should care.
var sorts = map[string]struct {
	severity Severity
	title    string
}{
	"codec":      {Low, "A request that is not well-formed was refused"},
	"profile":    {Low, "A path that is not served was asked for"},
	"gate":       {Low, "A request that no real input can be was refused"},
	"drift":      {Medium, "A request was refused because the inputs of late are unlike the model's baseline"},
	"rate":       {Low, "A caller asked for rows faster than its terms allow"},
	"budget":     {Medium, "A caller's budget of rows is used up"},
	"memory":     {Low, "A request was refused for want of memory"},
	"shape":      {Medium, "An answer could not be shaped as its route demands"},
	"policy":     {Low, "A policy refused a caller"},
	"prompts":    {Medium, "A request to a language model was refused for what it says"},
	"answers":    {Medium, "An answer of a language model was withheld for what it says"},
	"classifier": {Medium, "A request to a language model was refused by its route's classifier"},
	"guard":      {Low, "A question that is none was refused"},
	"change":     {Medium, "Somebody could not decide on a change"},
}

// refused fills in what a refusal says.
func (f *Finding) refused(r *record.Record) bool {
	f.Blocked = true
	i := slices.IndexFunc(r.Verdicts, pavise.Verdict.Stops)
	why := ""
	switch {
	case i >= 0:
		f.Check, why = r.Verdicts[i].Check, r.Verdicts[i].Reason
	default: // a room refused, once the guard had let the caller in
		f.Check = record.Room(r.Kind)
	}
	if r.Policy != nil && len(r.Policy.Reasons) > 0 && f.Check == "policy" {
		f.Policy = r.Policy.Reasons[0]
	}
	if r.Error != nil {
		why = cmp.Or(why, r.Error.Msg)
	}
	if r.Error != nil && r.Error.Kind == unavailable && slices.Contains(ofAnswers, f.Check) {
		return f.failed(r, why)
	}
	sort, known := sorts[f.Check]
	f.Severity, f.Title, f.Summary = sort.severity, sort.title, why
	if !known {
		f.Severity, f.Title = Low, "A caller was refused by the check "+f.Check
	}
	if strings.HasPrefix(f.Policy, guardrail) {
		f.Severity, f.Title = Medium, "A guardrail refused a caller"
	}
	return true
}

// ofAnswers are the checks that refuse, with the error that nobody can be served, what a
// model server answered.
var ofAnswers = []string{"codec", "gate", "stream"}

// What the records of failed exchanges have in common: their kind of error, and how those
// begin that are a model server's doing.
const (
	unavailable = "unavailable"
	ofServer    = "the model server "
	goneAway    = "the caller went away" // in the error of an exchange that its own caller broke off
)

// failed fills in that a model or its server failed a caller, who is not named: they did
// nothing. A caller who goes away in the middle of an answer is nothing to look at.
func (f *Finding) failed(r *record.Record, why string) bool {
	var d struct {
		Model string `json:"model"`
	}
	if strings.Contains(r.Error.Msg, goneAway) || len(r.Detail) > 0 && json.Unmarshal(r.Detail, &d) != nil {
		return false
	}
	f.Severity, f.Title, f.Who, f.failing = Medium, "A model server failed, and its callers got an error", nobody, cmp.Or(d.Model, "unnamed")
	f.Summary = fmt.Sprintf("the model server of %s failed (%s): %s", r.On, f.failing, why)
	if digest, native := strings.CutPrefix(f.failing, "sha256:"); native {
		f.Title = "A model failed, and its callers got an error"
		f.Summary = fmt.Sprintf("the model of %s failed (ONNX %.12s): %s", r.On, digest, why)
	}
	return true
}

// sort tells refusals of the same sort from others: what a caller can vary at will, the
// words of the refusal, is not in it. Other findings are each of their own sort.
func (f *Finding) sort() (string, bool) {
	if !f.Blocked && f.failing == "" {
		return "", false
	}
	return strings.Join([]string{f.Kind, f.Who.String(), f.Source, f.On.String(), f.Check, f.Policy, f.reason, f.failing}, "\n"), true
}

// times says how many there are.
func times(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
