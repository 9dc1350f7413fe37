package monitor

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/drift/book"
	"github.com/pavise/pavise/internal/figure"
)

// A View is how a model stands.
type View struct {
	Model    pavise.Name `json:"model"`
	Verdict  Verdict     `json:"verdict"`
	Version  string      `json:"version"`          // what answers
	Former   string      `json:"former,omitempty"` // what did before
	Switched time.Time   `json:"switched,omitzero"`
	Baseline string      `json:"baseline,omitempty"` // digest of the one in force
	First    string      `json:"first,omitempty"`    // of the first one, where that is another
	Original string      `json:"original,omitempty"` // of the first that there ever was, where that is another still
	Features int         `json:"features"`           // that are held to it
	Passed   []string    `json:"passed,omitempty"`   // inputs and outputs that are not looked at: their rows have no one form
	Learning int         `json:"learning,omitempty"` // rows that came of those that a baseline is learnt from
	Wanted   int         `json:"wanted,omitempty"`   // and how many it takes
	Counted  uint64      `json:"counted"`            // exchanges, since the start
	Missed   uint64      `json:"missed,omitempty"`   // that nobody counted: there was too much at once
	Last     time.Time   `json:"last,omitzero"`      // something came
}

// A List holds views.
type List struct {
	Models    []View `json:"models"`
	Unwatched uint64 `json:"unwatched,omitempty"` // exchanges with models for which there is no room
}

func (l *List) sort() {
	rank := func(v View) int {
		return slices.Index([]Stage{Broken, Confirmed, Suspected, Dismissed, Learning, Stable}, v.Verdict.Stage)
	}
	slices.SortFunc(l.Models, func(a, b View) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Model.String(), b.Model.String()))
	})
}

// A Shown is all that is known of a model.
type Shown struct {
	View
	Window   string        `json:"window"`           // how long the shortest is
	Serial   uint64        `json:"serial,omitempty"` // of the signed book that says which version is held to what
	Versions []book.Page   `json:"versions"`         // its pages, the one put last last
	Held     int           `json:"held"`             // so many features are held to the baseline: in JSON the list of them hides View's number
	Features []FeatureView `json:"features"`         // none after a start, until something is asked
	Past     []Window      `json:"past"`             // the shortest windows, the newest last
}

// A FeatureView is a feature with what windows found of it.
type FeatureView struct {
	Name      string     `json:"name"`
	Side      Side       `json:"side"`
	Kind      drift.Kind `json:"kind,omitempty"` // empty: it is held to nothing
	Moved     bool       `json:"moved"`          // it is confirmed
	Suspected bool       `json:"suspected"`      // one of the last five windows of a length said that it moved
	Windows   []Measure  `json:"windows"`        // the last of each length
	Labels    []string   `json:"labels,omitempty"`
	Was       []float64  `json:"was,omitempty"` // shares of the baseline, in at most 16 steps from low to high, or by category
	Is        []float64  `json:"is,omitempty"`  // and of the longest window that is under way
}

// A Measure is what the last window of a length found of a feature.
type Measure struct {
	Length string `json:"length"`
	Agree  int    `json:"agree"` // of the last five windows
	First  bool   `json:"first"` // it is held to the first baseline, not to the one in force
	drift.Outcome
}

// A Window is what one of the shortest windows came to.
type Window struct {
	At      time.Time `json:"at"` // its end
	Rows    int       `json:"rows"`
	Version string    `json:"version"`
	// By is how many of the rows each of several models answered that share the calls.
	By      map[string]int `json:"by,omitempty"`
	Inputs  Summary        `json:"inputs"`
	Outputs Summary        `json:"outputs"`
}

// A Summary is what a window found of some features.
type Summary struct {
	Moved   int     `json:"moved"`
	Effect  float64 `json:"effect"` // the largest, in units of what matters
	Feature string  `json:"feature,omitempty"`
}

// view shows a model. m.mu is held.
func (m *Monitor) view(w *watched) View {
	v := View{Model: w.model, Verdict: w.Verdict, Version: w.Version, Former: w.Former, Switched: w.Switched, Last: w.last.UTC()}
	v.Counted, v.Missed = m.queue.counted(w.model)
	if w.layout != nil {
		v.Passed = w.layout.passed
	}
	if b := w.bases[now]; b != nil {
		v.Baseline = b.Digest
		v.Features = len(b.Features)
	} else if v.Verdict.Stage != Broken {
		v.Verdict = Verdict{Stage: Learning, Words: "there is no baseline yet: one is learnt from what is asked"}
	}
	if origin := w.bases[first]; origin != nil {
		v.First = origin.Digest
	}
	if w.book != nil && w.book.Original != w.book.First {
		v.Original = w.book.Original
	}
	if w.learn != nil {
		v.Learning, v.Wanted = w.learn.rows, w.learn.want
	}
	return v
}

// shown shows all of a model. m.mu is held.
func (m *Monitor) shown(w *watched) Shown {
	s := Shown{View: m.view(w), Window: figure.Span(m.cfg.Window), Versions: []book.Page{}, Features: []FeatureView{}, Past: append([]Window{}, w.past...)}
	s.Held = s.View.Features
	if w.book != nil {
		s.Serial, s.Versions = w.book.Serial, slices.Clone(w.book.Pages)
	}
	if w.layout == nil {
		return s
	}
	for i, t := range w.layout.titles {
		f := FeatureView{Name: t.name, Side: t.side, Windows: []Measure{}}
		for base, b := range w.bases {
			if b == nil || b.held[i].Base == nil {
				continue
			}
			for scale := range scales {
				f.Suspected = f.Suspected || b.votes[i].Moved[scale] != 0
				o := w.moved[base][i][scale]
				if o.Enough {
					f.Windows = append(f.Windows, Measure{m.length(scale), bits.OnesCount8(b.votes[i].Moved[scale]), base == first, o})
				}
			}
			f.Moved = f.Moved || b.votes[i].Confirmed() >= 0
		}
		if b := w.bases[now]; b != nil && b.held[i].Base != nil {
			f.Kind = b.held[i].kind
			is := w.windows[long].Total(i, 0)
			is.Add(new(w.windows[short].Total(i, 0)))
			f.Labels, f.Was, f.Is = b.held[i].Picture(b.held[i].bins, &is)
		}
		s.Features = append(s.Features, f)
	}
	slices.SortStableFunc(s.Features, func(a, b FeatureView) int { return cmp.Compare(worst(b), worst(a)) })
	return s
}

// worst is the largest effect of a feature, above all others where it is confirmed, or else
// suspected.
func worst(f FeatureView) (size float64) {
	for _, m := range f.Windows {
		size = max(size, m.Effect)
	}
	switch {
	case f.Moved:
		size += 1e6
	case f.Suspected:
		size += 1e3
	}
	return size
}

// length is how long windows of a scale are.
func (m *Monitor) length(scale int) string {
	return figure.Span(time.Duration(drift.Scales[scale]) * m.cfg.Window)
}

// A Bad is a version that is confirmed to be bad, and of which nobody said otherwise.
type Bad struct {
	Model   pavise.Name
	Version string // what answers for the model
}

// BadVersions are those that are confirmed to be bad and answer still, by the names of their models.
// What moved while another version answered is no word on the one that answers now.
func (m *Monitor) BadVersions() (all []Bad) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.models {
		if v := w.Verdict; v.Stage == Confirmed && v.Cause == drift.BadVersion && v.Person == "" && v.Version == w.Version {
			all = append(all, Bad{w.model, w.Version})
		}
	}
	slices.SortFunc(all, func(a, b Bad) int { return cmp.Compare(a.Model.String(), b.Model.String()) })
	return all
}

// Found is sent to when a version was found to be bad, and the log has it: BadVersions says which.
// One reader gets each; what nobody has read yet is one.
func (m *Monitor) Found() <-chan struct{} { return m.found }
