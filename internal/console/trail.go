package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/story"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/verbs"
)

// maxRefresh is how often a page waits for its proof by itself.
const maxRefresh = 3

// A trail is the body of one record's page.
type trail struct {
	evidence.ReadAnswer
	Row       story.Row
	Steps     []story.Step
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
	t.Row = story.NewRow(t.Event)
	t.explain(r.Context(), s.client)
	t.join(r.Context(), s.client)
	t.forgotten(r.Context(), s.client)
	t.read()
	if t.Proof != nil {
		t.Picture = figure.NewTree(index, t.Proof.Size, t.Proof.Leaf, t.Proof.Root, t.Proof.Path)
	}
	t.Steps = t.told()
	p := page{Title: fmt.Sprintf("Record %d", index), Body: t}
	if tries, _ := strconv.Atoi(r.URL.Query().Get("try")); t.Proof == nil && tries < maxRefresh {
		p.Refresh = fmt.Sprintf("1; url=/trail/%d?try=%d", index, tries+1)
	}
	c.show(w, s, http.StatusOK, "trail", p)
}

// told is the record in order.
func (t *trail) told() []story.Step {
	told := story.Told{Event: t.Event, Infer: t.Infer}
	if t.Proof != nil {
		told.Proof = &story.Proof{Size: t.Proof.Size, Holds: t.Picture.Holds}
	}
	return story.Timeline(&told)
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
	if infer, ok := story.Inference(t.Record); ok {
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

// OnChange is the id of the change that the record is about, or "". A proposal that came to
// nothing left none.
func (t trail) OnChange() string {
	if t.Record.Kind == "change.propose" && (t.Row.State == story.Failed || t.Row.State == story.Deny) {
		return ""
	}
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
