package poison

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/pavise/pavise"
)

// A Column is one feature of all rows.
type Column struct {
	Name   string
	Texts  []string  // of a column of texts: by code; nil for numbers
	Values []float64 // by row: the number, or the code of the text; NaN where there is none
}

// A Table is training data: features, the class of every row, and who sent it.
type Table struct {
	Columns []Column
	Labels  []int    // by row: an index of Classes
	Classes []string // there is at least one
	Sources []int    // by row: an index of Names; nil where nobody knows
	Names   []string
}

// Rows returns how many rows there are.
func (t *Table) Rows() int { return len(t.Labels) }

// Bounds on what is screened.
const (
	maxCells   = 1 << 27 // features times rows, of file and baseline together
	maxLearned = 64      // classes that are told apart; the rarest beyond count as one
	maxTrusted = 50000   // rows of the baseline that are looked at
)

// A View is a table made ready for the screens: it is only read once it is made, but for what
// the first screen that needs it makes for all.
type View struct {
	rows     int // of the file; those of the baseline follow
	all      int // of both
	features []feature
	label    []int // by row of both: the class, the rare ones as one
	classes  []string
	members  [][]int32 // by class: its rows, of both
	source   []int     // by row of the file; nil without
	sources  []string
	seed     uint64
	point    [][]float32 // by row: on one scale
	twin     []int32     // by row: the group of rows that are nearly it
	near     *nearby
	Notes    []string // what about the table kept a screen from looking, in words
}

// A nearby is what two screens find near rows with; the first that asks makes it.
type nearby struct {
	once    sync.Once
	firsts  []int32
	thicket *thicket
}

// A feature is one column of file and baseline.
type feature struct {
	name  string
	texts []string
	value []float64 // by row; NaN where there is none
	known []float64 // the different values, in order
	code  []int32   // by row: index of known; len(known) where there is none
	fine  []uint8   // by row: one of up to 255 bins, in the order of values
	fines int
	bin   []uint8 // by row: one of few bins
	bins  int
	log   bool // spread over orders of magnitude
}

// Prepare makes a view of a table, and of a baseline or nil, whose columns are those of the
// table. A table that cannot be screened is an error of kind Invalid.
func Prepare(t, baseline *Table, seed uint64) (*View, error) {
	v := &View{rows: t.Rows(), all: t.Rows(), source: t.Sources, sources: t.Names, seed: seed, near: &nearby{}}
	if v.rows == 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "there are no rows to screen"}
	}
	picked := v.trusted(baseline)
	v.all += len(picked)
	if len(t.Columns)*v.all > maxCells {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d rows of %d columns are more than %d cells, which are held at once", v.all, len(t.Columns), maxCells), Hint: "screen a part at a time"}
	}
	for j, c := range t.Columns {
		value := slices.Grow(slices.Clone(c.Values), len(picked))
		for _, i := range picked {
			value = append(value, baseline.Columns[j].Values[i])
		}
		f := newFeature(c, value)
		if len(f.known) > 1 || len(f.known) == 1 && slices.Contains(f.code, 1) {
			v.features = append(v.features, f)
		}
	}
	if n := len(t.Columns) - len(v.features); n > 0 {
		v.note("%d of %d columns hold one value and tell nothing", n, len(t.Columns))
	}
	v.classify(t, baseline, picked)
	v.place()
	return v, nil
}

func (v *View) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

// trusted chooses the rows of the baseline that are looked at.
func (v *View) trusted(baseline *Table) []int {
	if baseline == nil {
		return nil
	}
	picked := v.rng("trusted").Perm(baseline.Rows())
	if len(picked) > maxTrusted {
		picked = picked[:maxTrusted]
		v.note("of the baseline's %d rows, %d were looked at", baseline.Rows(), maxTrusted)
	}
	slices.Sort(picked)
	return picked
}

// rng is the chance of one part of the work, whoever runs beside it.
func (v *View) rng(part string) *rand.Rand {
	h := uint64(14695981039346656037)
	for _, c := range []byte(part) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(v.seed, h))
}

// based reports whether there is a baseline.
func (v *View) based() bool { return v.all > v.rows }

// classify numbers the classes of both tables, and puts the rarest beyond maxLearned together.
func (v *View) classify(t, baseline *Table, picked []int) {
	label := slices.Clone(t.Labels)
	for _, i := range picked {
		label = append(label, baseline.Labels[i])
	}
	count := make([]int, len(t.Classes))
	for _, y := range label {
		count[y]++
	}
	order := make([]int, len(count))
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(a, b int) int { return count[b] - count[a] })
	place := make([]int, len(count))
	for i, k := range order {
		place[k] = min(i, maxLearned-1)
		switch {
		case count[k] == 0:
		case i < maxLearned-1 || len(order) == maxLearned:
			v.classes = append(v.classes, t.Classes[k])
		case i == maxLearned-1:
			v.classes = append(v.classes, "any other")
			v.note("there are %d classes; all but the %d most frequent count as one", len(order), maxLearned-1)
		}
	}
	v.members = make([][]int32, len(v.classes))
	for i, y := range label {
		label[i] = place[y]
		v.members[place[y]] = append(v.members[place[y]], int32(i))
	}
	v.label = label
	if len(v.classes) == 1 {
		v.note("all rows are of the class %q: nothing can be said of labels", v.classes[0])
	}
}

// newFeature learns a column.
func newFeature(c Column, value []float64) feature {
	f := feature{name: c.Name, texts: c.Texts, value: value}
	sorted := make([]float64, 0, len(value))
	for i, x := range value {
		if !math.IsNaN(x) {
			value[i] = min(max(x, -math.MaxFloat64), math.MaxFloat64)
			sorted = append(sorted, value[i])
		}
	}
	slices.Sort(sorted)
	f.log = c.Texts == nil && spread(sorted)
	counts := []int{}
	for i, x := range sorted {
		if i == 0 || x != sorted[i-1] {
			f.known, counts = append(f.known, x), append(counts, 0)
		}
		counts[len(counts)-1]++
	}
	f.code = make([]int32, len(value))
	for i, x := range value {
		f.code[i] = int32(len(f.known))
		if !math.IsNaN(x) {
			at, _ := slices.BinarySearch(f.known, x)
			f.code[i] = int32(at)
		}
	}
	missing := len(value) - len(sorted)
	f.fine, f.fines = f.binned(counts, missing, 64)
	f.bin, f.bins = f.binned(counts, missing, 12)
	return f
}

// spread tells columns whose values are of several orders of magnitude, as sizes and counts
// are: nothing is below zero, and the largest is far beyond the usual. One row in a thousand
// has no say in it.
func spread(sorted []float64) bool {
	few := len(sorted) / 1000
	sorted = sorted[few : len(sorted)-few]
	if len(sorted) == 0 || sorted[0] < 0 {
		return false
	}
	positive := sorted
	for len(positive) > 0 && positive[0] == 0 {
		positive = positive[1:]
	}
	if len(positive) == 0 {
		return false
	}
	return positive[len(positive)-1] > 20*positive[len(positive)/2] && positive[len(positive)-1] > 100
}

// binned puts values into bins: one to each that many rows share, and about parts for the
// others. Texts are in the order of their codes, which says nothing: of theirs only the
// frequent ones have a bin, and all others share one.
func (f *feature) binned(counts []int, missing, parts int) ([]uint8, int) {
	share := max((len(f.value)-missing)/parts, 1)
	of := make([]uint8, len(f.known)+1)
	bins, filled := 0, 0
	if f.texts != nil {
		bins = 1 // of the rare
		for k, n := range counts {
			if n*4 >= share && bins < 4*parts-1 {
				of[k] = uint8(bins)
				bins++
			}
		}
	} else {
		for k, n := range counts {
			if k > 0 && filled > 0 && (n >= share || filled >= share) {
				bins, filled = bins+1, 0
			}
			of[k] = uint8(bins)
			if filled += n; filled >= share {
				bins, filled = bins+1, 0
			}
		}
		if filled > 0 {
			bins++
		}
	}
	if missing > 0 {
		of[len(f.known)] = uint8(bins)
		bins++
	}
	out := make([]uint8, len(f.code))
	for i, c := range f.code {
		out[i] = of[c]
	}
	return out, bins
}

// show says a value as people write it.
func (f *feature) show(code int32) string {
	switch {
	case int(code) == len(f.known):
		return "nothing"
	case f.texts != nil:
		return fmt.Sprintf("%.60q", f.texts[int(f.known[code])])
	}
	return fmt.Sprintf("%.6g", f.known[code])
}
