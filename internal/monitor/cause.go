package monitor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
)

// A Stage is how sure it is that a model has moved.
type Stage string

// The stages.
const (
	Learning  Stage = "learning"  // there is no baseline yet
	Stable    Stage = "stable"    // nothing has moved
	Suspected Stage = "suspected" // a window found that something has
	Confirmed Stage = "confirmed" // three of the last five windows of one length did
	Dismissed Stage = "dismissed" // people said that it is none
)

// A Cause is why a model has moved.
type Cause = drift.Blame

// A Verdict is what is thought of a model.
type Verdict struct {
	Stage    Stage         `json:"stage"`
	Cause    Cause         `json:"cause,omitempty"`
	Since    time.Time     `json:"since,omitzero"`
	Version  string        `json:"version,omitempty"`  // what answered then
	Former   string        `json:"former,omitempty"`   // and what had before
	Features []string      `json:"features,omitempty"` // those that moved, at most mostFeatures
	More     int           `json:"more,omitempty"`     // so many others did
	Callers  []pavise.Name `json:"callers,omitempty"`  // who make it
	Words    string        `json:"words"`
	Done     string        `json:"done,omitempty"`  // what was done about it
	Change   pavise.Name   `json:"change,omitzero"` // in which people were asked last to decide on it
	// What people said: which of them, what, and why.
	By     pavise.Name `json:"by,omitzero"`
	Person Cause       `json:"person,omitempty"`
	Reason string      `json:"reason,omitempty"`
}

// mostFeatures is how many features a verdict names.
const mostFeatures = 16

// evidence is what the windows of a model say.
type evidence struct {
	suspected []int              // features that a window found to have moved
	inputs    [grouped + 1][]int // that are confirmed, by scale; the last: on a scale without groups
	outputs   [grouped + 1][]int // the same
	walked    []int              // confirmed by the first baseline alone
	lean      bool               // inputs moved by half of what matters
	blind     bool               // some inputs are not looked at, or could be anything
	release   bool               // outputs began to move with the version
	broad     bool               // and do without those callers who make most of it
	callers   []pavise.Name      // who make the inputs move
	elder     drift.Elder
	sample    *sample
}

// some reports whether features are confirmed.
func some(all [grouped + 1][]int) bool {
	return slices.ContainsFunc(all[:], func(fs []int) bool { return len(fs) > 0 })
}

// confirmed reports whether anything is.
func (e *evidence) confirmed() bool { return some(e.inputs) || some(e.outputs) || len(e.walked) > 0 }

// signs are what the cause of what is confirmed is told from.
func (e *evidence) signs() drift.Signs {
	return drift.Signs{Inputs: some(e.inputs), Outputs: some(e.outputs), Lean: e.lean, Blind: e.blind, Release: e.release, Broad: e.broad, Callers: names(e.callers), Elder: e.elder}
}

func names(all []pavise.Name) string {
	texts := make([]string, len(all))
	for i, n := range all {
		texts[i] = n.String()
	}
	return strings.Join(texts, ", ")
}

// verdict is what the windows say, in full. Features are those of the cause first.
func (w *watched) verdict(e *evidence, at time.Time) Verdict {
	v := Verdict{Since: at.UTC(), Version: w.Version, Former: w.Former}
	var features []int
	switch {
	case e.confirmed():
		v.Stage, v.Cause, v.Callers = Confirmed, e.signs().Blame(), e.callers
		for _, part := range [][grouped + 1][]int{e.inputs, e.outputs} {
			for _, fs := range part {
				features = append(features, fs...)
			}
		}
		features = append(features, e.walked...)
		v.Words = e.signs().Words()
	case len(e.suspected) > 0:
		v.Stage = Suspected
		features = e.suspected
	case w.bases[now] == nil:
		v.Stage, v.Since = Learning, time.Time{}
		v.Words = "there is no baseline yet: one is learnt from what is asked"
		return v
	default:
		v.Stage, v.Since, v.Words = Stable, time.Time{}, "nothing has moved"
		return v
	}
	v.name(w, features)
	if v.Stage == Suspected {
		v.Words = fmt.Sprintf("a window found that %s moved; three of five must agree", listed(v.Features, v.More))
	}
	return v
}

// name names features, each once.
func (v *Verdict) name(w *watched, features []int) {
	for _, f := range features {
		key := w.layout.key(f)
		switch {
		case slices.Contains(v.Features, key):
		case len(v.Features) == mostFeatures:
			v.More++
		default:
			v.Features = append(v.Features, key)
		}
	}
}

// listed names the first of some features.
func listed(features []string, more int) string {
	const told = 3
	n := min(len(features), told)
	text := strings.Join(features[:n], ", ")
	if left := len(features) - n + more; left > 0 {
		text += fmt.Sprintf(" and %d more", left)
	}
	return text
}
