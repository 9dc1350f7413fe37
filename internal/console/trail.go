package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/verbs"
)

// maxRefresh is how often a page waits for its proof by itself.
const maxRefresh = 3

// A trail is the body of one record's page.
type trail struct {
	evidence.ReadAnswer
	Row       row
	Steps     []step
	Infer     *gateway.ChatTrail // of a model's answer; without an API if it is one of tensors
	Detail    string             // of any other act, as JSON
	Explain   *guard.Explanation
	Unexplain string // why Explain is nil
	Other     *other
	Picture   *figure.Tree    // of the proof; nil while there is none
	Shredded  *evidence.Event // the receipt for the key of whose data it keeps, if that was shredded
	Prove     string          // the command that writes the record's proof to a file
	Verify    string
	Raw       string
}

// A step is one station of the timeline.
type step struct {
	State string // its icon and colour
	Title string
	Text  string
}

// An other is the record that holds the rest of a control act.
type other struct {
	Index uint64
	Text  string
}

// trail shows one record whole, with its proof.
func (c *Console) trail(w http.ResponseWriter, r *http.Request, s *visitor) {
	index, err := strconv.ParseUint(r.PathValue("index"), 10, 64)
	if err != nil {
		c.fail(w, s, http.StatusNotFound, "Not found", "A record is known by its index, a number.", "the live view at / lists the newest")
		return
	}
	t := trail{Verify: c.cfg.Verify, Prove: c.cfg.Command(fmt.Sprintf("ledger prove %d", index))}
	if err := s.client.Call(r.Context(), "ledger.read", evidence.ReadRequest{Index: index}, &t.ReadAnswer); err != nil {
		c.refuse(w, s, err)
		return
	}
	t.Row = newRow(t.Event)
	t.explain(r.Context(), s.client)
	t.join(r.Context(), s.client)
	t.forgotten(r.Context(), s.client)
	t.read()
	if t.Proof != nil {
		t.Picture = figure.NewTree(index, t.Proof.Size, t.Proof.Leaf, t.Proof.Root, t.Proof.Path)
	}
	t.Steps = timeline(t)
	p := page{Title: fmt.Sprintf("Record %d", index), Body: t}
	if tries, _ := strconv.Atoi(r.URL.Query().Get("try")); t.Proof == nil && tries < maxRefresh {
		p.Refresh = fmt.Sprintf("1; url=/trail/%d?try=%d", index, tries+1)
	}
	c.show(w, s, http.StatusOK, "trail", p)
}

// explain asks why the decision came out as it did, of a record that holds one.
// Not knowing keeps nobody from seeing the record.
func (t *trail) explain(ctx context.Context, client *api.Client) {
	if t.Record.Phase != record.Act && t.Record.Phase != record.Enter {
		return
	}
	var x guard.Explanation
	if err := client.Call(ctx, "policy.explain", verbs.ExplainRequest{Record: &t.Index}, &x); err != nil {
		t.Unexplain = err.Error()
		return
	}
	t.Explain = &x
}

// join finds the other half of a control act.
func (t *trail) join(ctx context.Context, client *api.Client) {
	r := t.Record
	if r.Enter != nil {
		t.Other = &other{*r.Enter, "the question, as it was written down before the act"}
		return
	}
	if r.Phase != record.Enter {
		return
	}
	after := t.Index + 1
	var later evidence.ListAnswer
	if client.Call(ctx, "ledger.list", evidence.ListRequest{After: &after, Limit: window, Conditions: evidence.Conditions{Kind: []string{r.Kind}, On: r.On.String()}}, &later) != nil {
		return
	}
	for _, e := range later.Events {
		if e.Record.Enter != nil && *e.Record.Enter == t.Index {
			t.Other = &other{e.Index, "how the act ended"}
			return
		}
	}
}

// receipts is how many records about a subject's shredding are looked through: one
// shredding leaves two, and a few may have failed.
const receipts = 16

// forgotten finds out whether the key of whose data the record keeps was shredded.
func (t *trail) forgotten(ctx context.Context, client *api.Client) {
	if t.Record.Subject == "" {
		return
	}
	on := pavise.Name{Tenant: t.Record.Tenant, Kind: "subject", ID: t.Record.Subject}
	var list evidence.ListAnswer
	if client.Call(ctx, "ledger.list", evidence.ListRequest{Limit: receipts, Conditions: evidence.Conditions{Kind: []string{"subject.shred"}, On: on.String()}}, &list) != nil {
		return
	}
	for i, e := range list.Events {
		if _, _, ok := subject.Shredded(&e.Record); ok {
			t.Shredded = &list.Events[i]
			return
		}
	}
}

// read takes the record's own JSON apart for people.
func (t *trail) read() {
	if infer, ok := inference(t.Record); ok {
		t.Infer = &infer
	} else if len(t.Record.Detail) > 0 {
		t.Detail = indent(t.Record.Detail)
	}
	var raw bytes.Buffer
	out := json.NewEncoder(&raw)
	out.SetEscapeHTML(false) // the template escapes
	if out.Encode(t.Event) == nil {
		t.Raw = indent(raw.Bytes())
	}
}

func indent(b []byte) string {
	var text bytes.Buffer
	if json.Indent(&text, bytes.TrimSpace(b), "", "  ") != nil {
		return string(b)
	}
	return text.String()
}

// OnChange is the id of the change that the record is about, or "".
func (t trail) OnChange() string {
	if on := t.Record.On; on.Kind == "change" && strings.HasPrefix(on.ID, "c-") {
		return on.ID
	}
	return ""
}

// Before returns the index below the record's.
func (t trail) Before() uint64 { return t.Index - 1 }

// After returns the index above the record's.
func (t trail) After() uint64 { return t.Index + 1 }

// Columns returns the tensors of the answer as people write them.
func (t trail) Columns() []string {
	var all []string
	for _, o := range t.Infer.Answer {
		all = append(all, fmt.Sprintf("%s %s %s", o.Name, o.Datatype, dims(o.Shape)))
	}
	return all
}

// dims writes a shape as "8 × 2"; any size is "n".
func dims(shape []int64) string {
	var sizes []string
	for _, n := range shape {
		if n < 0 {
			sizes = append(sizes, "n")
			continue
		}
		sizes = append(sizes, strconv.FormatInt(n, 10))
	}
	return strings.Join(sizes, " × ")
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

// timeline tells a record's story in order.
func timeline(t trail) []step {
	r := t.Record
	if r.Phase == record.Note {
		title := t.Row.Verb
		if knocked(r) {
			title = "Turned away"
		}
		return append([]step{{t.Row.State, title, noteSaid(r)}}, written(t)...)
	}
	var steps []step
	if r.Who != nil {
		steps = append(steps, step{stateAllow, "Known by proof", known(*r.Who)})
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
	if !knocked(r) {
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
func asked(r record.Record) []step {
	denied := slices.ContainsFunc(r.Verdicts, func(v pavise.Verdict) bool { return v.Check == "policy" || v.Check == "guard" })
	if r.Policy == nil || denied || r.Phase == record.Exit || r.Phase == record.Interrupted {
		return nil
	}
	return []step{{stateAllow, "Policy", "permitted by " + strings.Join(r.Policy.Reasons, ", ")}}
}

// checked is one verdict's station.
func checked(v pavise.Verdict, gates int) step {
	s := step{State: string(v.Outcome), Title: stations[v.Check], Text: v.Reason}
	switch {
	case s.Title == "":
		s.Title = strings.ToUpper(v.Check[:min(len(v.Check), 1)]) + v.Check[min(len(v.Check), 1):]
	case v.Check == "gate" && gates > 1:
		s.Title = "Answer gate"
	}
	if words[s.State] == "" {
		s.State = stateNote
	}
	if s.State == stateDeny && v.Observed {
		s.State, s.Text = stateObserved, "would be denied, and was let pass: "+v.Reason
	}
	if s.Text == "" {
		s.Text = passed[v.Check]
	}
	return s
}

// answered is the model's own station.
func answered(t trail) step {
	s := step{State: stateAllow, Title: "Model"}
	switch by := t.Infer; {
	case by == nil:
	case by.API == "":
		s.Text = rowsText(by.Rows) + " answered by " + figure.Clip(by.Model, maxName/2)
	case by.Output == "":
		s.State, s.Text = stateFailed, figure.Clip(by.Model, maxName)+" was asked, and nothing of an answer came"
	default:
		s.Text = figure.Clip(by.Model, maxName) + " answered" + strings.TrimRight(" "+spoken(by), " ")
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
func ended(t trail, gates int) []step {
	r := t.Record
	switch {
	case r.Phase == record.Interrupted:
		return []step{{stateInterrupted, "Interrupted", "the process stopped before this act ended; whether it took effect is for its own room to say"}}
	case r.Phase == record.Enter:
		return []step{{stateBegun, "Begun", "this question was on disk before the act began"}}
	case t.Row.State == stateDeny:
		return []step{{stateDeny, "Refused", refused(r)}}
	case r.Error != nil && gates == 1:
		return []step{{stateFailed, "Model", r.Error.Msg}}
	case r.Error != nil:
		return []step{{stateFailed, "Failed", r.Error.Kind + ": " + r.Error.Msg}}
	case t.Infer != nil && t.Infer.Altered:
		return []step{{stateAlter, "Answered", strings.TrimSuffix("altered; the model's own answer is kept, sealed "+after(r), " ")}}
	case r.Took > 0:
		return []step{{stateAllow, "Done", after(r)}}
	}
	return []step{{stateAllow, "Done", ""}}
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
func written(t trail) []step {
	steps := []step{{stateAllow, "Written down", fmt.Sprintf("record %d of the evidence log", t.Index)}}
	if t.Proof == nil {
		return append(steps, step{stateBegun, "Not yet signed", "the next checkpoint will cover it"})
	}
	if !t.Picture.Holds {
		return append(steps, step{stateDeny, "Proof does not hold", "the path does not lead to the root that the log gave"})
	}
	return append(steps, step{stateAllow, "Signed", fmt.Sprintf("under a checkpoint over %s records", figure.Thousands(t.Proof.Size))})
}
