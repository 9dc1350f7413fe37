package openlineage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/lineage"
)

// Emitted says what became of events that were told, in the words of OpenLineage's API for
// batches.
type Emitted struct {
	Status  string        `json:"status"` // success, or partial_success
	Summary Summary       `json:"summary"`
	Failed  []FailedEvent `json:"failed_events,omitempty"`
}

// A Summary counts events.
type Summary struct {
	Received     int `json:"received"`
	Successful   int `json:"successful"` // those that were told before with them
	Failed       int `json:"failed"`
	Retriable    int `json:"retriable"`
	NonRetriable int `json:"non_retriable"`
}

// A FailedEvent is one that is not kept.
type FailedEvent struct {
	Index     int    `json:"index"` // in the batch, from 0
	Reason    string `json:"reason"`
	Retriable bool   `json:"retriable"` // it may be taken another time
}

// An emitDetail is what the record of an act says beside who did it.
type emitDetail struct {
	Events  int      `json:"events"`
	Known   int      `json:"known,omitempty"`   // told before, and kept
	Failed  int      `json:"failed,omitempty"`  // not kept
	Refuted int      `json:"refuted,omitempty"` // claims in new events that seals refute
	SHA256  []string `json:"sha256,omitempty"`  // of the new events that are kept, without white space between their words
}

// fullHint says what to do when there is no room.
const fullHint = "what is kept ends by age; tell less often of runs that go on (RUNNING), or have another identity tell of other pipelines"

// Emit keeps events, each as a claim of who tells it: the verb lineage.emit. What cannot be
// read, and what there is no room for, is told in the answer, and the others are kept. An
// event that the same teller told before counts once.
//
// The error is of kind Invalid where there is no event at all.
func (c *Claims) Emit(ctx context.Context, who pavise.Principal, texts []json.RawMessage) (done Emitted, err error) {
	entry, err := c.cfg.Guard.Enter(ctx, who, VerbEmit, thing(who.Tenant))
	if err != nil {
		return done, err
	}
	defer entry.Exit(&err)
	if len(texts) == 0 {
		return done, &pavise.Error{Kind: pavise.Invalid, Msg: "there is no event in what was sent", Hint: "send an OpenLineage event, or a list of them to " + PathBatch}
	}
	detail := &emitDetail{Events: len(texts)}
	entry.Detail(detail)
	events := done.parse(texts)
	if err := c.know(ctx, who.Name(), events); err != nil {
		return done, err
	}
	if detail.Refuted, err = c.refute(ctx, who, events); err != nil {
		return done, err
	}
	record, _ := entry.Record()
	if err := c.keep(ctx, who.Name(), record, events); err != nil {
		return done, err
	}
	for i := range events {
		switch e := &events[i]; {
		case e.turned:
			done.fail(e.index, "there is no room for more of "+who.Name().String()+"'s events, or of its tenant's: "+fullHint, true)
		case e.known:
			detail.Known++
		default:
			detail.SHA256 = append(detail.SHA256, hex.EncodeToString(e.digest[:]))
		}
	}
	done.count(len(texts))
	detail.Failed = done.Summary.Failed
	return done, nil
}

// parse reads the events. Those that cannot be read have failed.
func (d *Emitted) parse(texts []json.RawMessage) []event {
	events := make([]event, 0, len(texts))
	for i, text := range texts {
		parsed, err := lineage.ParseEvent(text)
		if err != nil {
			d.fail(i, message(err), false)
			continue
		}
		var compact bytes.Buffer
		_ = json.Compact(&compact, text) // cannot fail: it was read
		events = append(events, event{Event: parsed, text: compact.Bytes(), digest: sha256.Sum256(compact.Bytes()), index: i})
	}
	return events
}

// message is an error's, with its hint.
func message(err error) string {
	if e, ok := errors.AsType[*pavise.Error](err); ok && e.Hint != "" {
		return e.Msg + "; " + e.Hint
	}
	return err.Error()
}

func (d *Emitted) fail(index int, reason string, retriable bool) {
	d.Failed = append(d.Failed, FailedEvent{index, reason, retriable})
	if retriable {
		d.Summary.Retriable++
	} else {
		d.Summary.NonRetriable++
	}
}

// count fills in the summary, once all that failed has.
func (d *Emitted) count(received int) {
	d.Status = "success"
	if len(d.Failed) > 0 {
		d.Status = "partial_success"
	}
	d.Summary.Received, d.Summary.Failed, d.Summary.Successful = received, len(d.Failed), received-len(d.Failed)
}

// A refutation is a claim that seals refute, as a finding has it.
type refutation struct {
	Event   string `json:"event"` // SHA-256 of its text
	Run     string `json:"run"`
	Dataset string `json:"dataset"` // as far as there is room
	Root    string `json:"root"`
	Why     string `json:"why"`
}

// What one finding names: all of it has to fit into a record, however it is spelt there.
const (
	maxRefutations = 5   // claims
	maxWords       = 300 // bytes of a name, or of why
)

// refute holds what is new to the seals that the installation keeps, counts the claims that
// they refute, and leaves a finding if there is one. It does so before the events are kept: a
// process that is killed between leaves the finding, and finds it again when the event comes
// again.
func (c *Claims) refute(ctx context.Context, who pavise.Principal, events []event) (refuted int, err error) {
	if c.cfg.Seals == nil {
		return 0, nil
	}
	seals, err := c.cfg.Seals.Seals(ctx, who.Tenant)
	if err != nil {
		return 0, err
	}
	sealed := new(lineage.Graph).Sealed(seals)
	var found []refutation
	for i := range events {
		e := &events[i]
		if e.known || e.Run == "" {
			continue
		}
		for _, uses := range [][]lineage.Use{e.Inputs, e.Outputs} {
			for _, u := range uses {
				standing, why := sealed.Judge(u)
				if standing != lineage.Refuted {
					continue
				}
				if refuted++; len(found) < maxRefutations {
					found = append(found, refutation{hex.EncodeToString(e.digest[:]), e.Run, clip(u.Dataset.String()), u.Root, clip(why)})
				}
			}
		}
	}
	if refuted == 0 {
		return 0, nil
	}
	summary := fmt.Sprintf("%s says that run %s used a state of %s that there never was: %s", who.Name(), found[0].Run, found[0].Dataset, found[0].Why)
	if refuted > 1 {
		summary += fmt.Sprintf("; and so of %d more", refuted-1)
	}
	return refuted, c.cfg.Guard.Note(ctx, KindRefuted, nil, thing(who.Tenant), struct {
		Finding pavise.Finding `json:"finding"`
		Claims  []refutation   `json:"claims"`
		Refuted int            `json:"refuted"`
	}{pavise.Finding{Kind: KindRefuted, Severity: pavise.Warning, On: thing(who.Tenant), Who: who.Name(), Summary: summary, At: c.cfg.Now().UTC()}, found, refuted})
}
