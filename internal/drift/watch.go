package drift

import "math/bits"

// A Feature is what a Watch holds values to: the bins of a baseline, and what it had in them.
// One of Numbers and Categories is set.
type Feature struct {
	Numbers    *Reference
	Categories *Categories
	Base       *Histogram
}

func (f *Feature) kind() (Kind, int) {
	if f.Numbers != nil {
		return Number, f.Numbers.Bins()
	}
	return Category, MaxBins
}

// Scales are how many windows each scale of a Watch spans: of windows of five minutes, five
// minutes, an hour and a day. Small shifts need long windows.
var Scales = [3]int{1, 12, 288}

// confirm is how many of the last five windows of a scale must find that a feature moved.
const (
	confirm = 3
	recent  = 1<<5 - 1
)

// A State is what is known of a feature.
type State struct {
	Suspected bool // a window that just ended found that it moved
	Confirmed bool // three of the last five windows of one scale did
}

// gathered is how many numbers of a feature are counted at once.
const gathered = 64

// A Feed takes the numbers of one feature of a Watch, value by value: the first n of its values are
// not counted yet.
type Feed struct {
	values [gathered]float64
	n      uint
	by     *Reference // nil: the feature has no numbers
	into   *Histogram
}

// Number counts a number. What is not finite counts as nothing.
func (f *Feed) Number(x float64) {
	f.values[f.n] = x
	if f.n++; f.n == gathered {
		f.count()
	}
}

// count counts what is gathered. It stays a call, so that Number, which nearly always makes none, is
// none itself.
//
//go:noinline
func (f *Feed) count() {
	f.by.CountAll(f.into, f.values[:f.n])
	f.n = 0
}

// A Watch counts the features of a model as they come, window by window, and says which moved.
// It takes under 5 KB a feature with what it is held to. It is for one goroutine; those of
// several places are added up by their histograms.
type Watch struct {
	features []Feature
	now      [][len(Scales)]Histogram // by feature
	history  [][len(Scales)]uint8     // by feature: the last windows, newest in the lowest bit
	states   []State
	ended    int    // windows
	heard    []Feed // by feature

	outcomes []Outcome
	p, q     []float64
	order    []int
}

// NewWatch begins to count features.
func NewWatch(features []Feature) *Watch {
	n := len(features)
	w := &Watch{
		heard: make([]Feed, n), features: features, now: make([][len(Scales)]Histogram, n), history: make([][len(Scales)]uint8, n), states: make([]State, n),
		outcomes: make([]Outcome, n), p: make([]float64, n), q: make([]float64, n), order: make([]int, n),
	}
	for i := range features {
		w.heard[i].by, w.heard[i].into = features[i].Numbers, &w.now[i][0]
	}
	return w
}

// Number counts a number of a feature that has numbers. What is not finite counts as nothing. Some
// are gathered before they are counted, so that the bins of a feature stay near meanwhile.
func (w *Watch) Number(feature int, x float64) { w.heard[feature].Number(x) }

// Feed is what takes the numbers of a feature, for who counts one often: it is quicker than Number.
func (w *Watch) Feed(feature int) *Feed { return &w.heard[feature] }

// Column counts numbers of one feature, which is quicker than one by one.
func (w *Watch) Column(feature int, values []float64) {
	w.features[feature].Numbers.CountAll(&w.now[feature][0], values)
}

// Rows counts rows of features that all have numbers, row after row, or one row, which is quicker
// than value by value. What is beyond the last whole row is not counted.
func (w *Watch) Rows(values []float64) {
	width := len(w.heard)
	for ; len(values) >= width && width > 0; values = values[width:] {
		for f, x := range values[:width] {
			w.heard[f].Number(x)
		}
	}
}

// Text counts a text of a feature that has categories.
func (w *Watch) Text(feature int, text []byte) {
	w.features[feature].Categories.Count(&w.now[feature][0], text)
}

// Null counts that a feature had nothing.
func (w *Watch) Null(feature int) { w.now[feature][0].Nulls++ }

// End ends a window, and returns what is known of each feature. It is good until the next call.
func (w *Watch) End() []State {
	w.ended++
	for i := range w.states {
		if w.heard[i].n > 0 {
			w.heard[i].count()
		}
		w.states[i].Suspected = false
		for s := 1; s < len(Scales); s++ {
			w.now[i][s].Add(&w.now[i][0])
		}
	}
	for s, span := range Scales {
		if w.ended%span == 0 {
			w.judge(s)
		}
	}
	for i := range w.states {
		w.states[i].Confirmed = false
		for _, h := range w.history[i] {
			w.states[i].Confirmed = w.states[i].Confirmed || bits.OnesCount8(h&recent) >= confirm
		}
	}
	return w.states
}

// judge judges the windows of a scale, and begins new ones. A window in which too little came
// says nothing, and is no vote for either side.
func (w *Watch) judge(scale int) {
	for i := range w.features {
		kind, bins := w.features[i].kind()
		w.outcomes[i] = Hold(kind, bins, w.features[i].Base, &w.now[i][scale])
		w.now[i][scale] = Histogram{}
	}
	judge(w.outcomes, w.p, w.q, w.order)
	for i := range w.outcomes {
		if !w.outcomes[i].Enough {
			continue
		}
		w.history[i][scale] = w.history[i][scale] << 1 & recent
		if w.outcomes[i].Moved() {
			w.history[i][scale] |= 1
			w.states[i].Suspected = true
		}
	}
}

// Outcome is what the window that ended last of all scales came to, for a feature.
func (w *Watch) Outcome(feature int) Outcome { return w.outcomes[feature] }
