package drift

import (
	"math"
	"slices"
)

// MaxBins is how many bins a histogram has at most.
const MaxBins = 68

const (
	maxEdges = MaxBins - 1
	cells    = 512
	fine     = 62 // quantiles of a column that has no value often
	coarse   = 31 // and of one that has
	fewest   = 31 // values that are few enough for a bin each
)

// A Histogram counts what came, by the bins of a baseline. The zero value has counted nothing.
type Histogram struct {
	Bins  [MaxBins]uint32 // the first and the last: outside of all that the baseline had; of categories see Categories
	Nulls uint32          // nothing there, or no finite number
	Odd   uint32          // of another kind than the baseline's: words for a number
}

// Add adds what another one counted, by the same bins. Histograms of several places, or of
// several windows, add up exactly.
func (h *Histogram) Add(o *Histogram) {
	for i, n := range o.Bins {
		h.Bins[i] += n
	}
	h.Nulls += o.Nulls
	h.Odd += o.Odd
}

// Held is how many values are in bins.
func (h *Histogram) Held() (n uint64) {
	for _, c := range h.Bins {
		n += uint64(c)
	}
	return n
}

// Rows is how many there were of everything.
func (h *Histogram) Rows() uint64 { return h.Held() + uint64(h.Nulls) + uint64(h.Odd) }

// A Reference is where the quantiles of a baseline's numbers lie. A number belongs to the first
// bin whose edge is not below it; a value that is there often has a bin of its own.
type Reference struct {
	edges [maxEdges + 1]float64 // ascending; those behind the last are +Inf
	start [cells]uint8          // by cell: the first edge that may be in it
	n     int                   // edges
	byKey bool                  // cells are of equal width in the bits of numbers, and not in their value
	low   float64               // by value: where cells begin
	scale float64               // and how many there are in 1
	key   uint64                // by bits: where cells begin
	shift uint                  // and how many bits a cell has
}

// NewReference makes the bins for a sample of a baseline, which it sorts. Numbers that are not
// finite are passed over; of no numbers at all everything is outside.
func NewReference(sample []float64) *Reference {
	sample = slices.DeleteFunc(sample, func(x float64) bool { return x-x != 0 })
	slices.Sort(sample)
	r := &Reference{}
	edges := valueEdges(sample)
	if edges == nil && len(sample) > 0 {
		if edges = quantileEdges(sample, fine); len(edges) > maxEdges {
			edges = quantileEdges(sample, coarse)
		}
	}
	r.n = copy(r.edges[:], edges)
	r.index()
	return r
}

// valueEdges gives each value a bin, where there are few; otherwise nil.
func valueEdges(sorted []float64) (edges []float64) {
	values := 0
	for i, x := range sorted {
		if i > 0 && x == sorted[i-1] {
			continue
		}
		if values++; values > fewest {
			return nil
		}
		edges = append(edges, below(x), x)
	}
	return slices.Compact(edges)
}

// quantileEdges lays edges at n quantiles, at the ends of the sample, and around what is there
// often.
func quantileEdges(sorted []float64, n int) (edges []float64) {
	last := len(sorted) - 1
	edges = append(edges, below(sorted[0]))
	for i := 1; i < n; i++ {
		x := sorted[i*len(sorted)/n]
		from, _ := slices.BinarySearch(sorted, x)
		to, _ := slices.BinarySearch(sorted, math.Nextafter(x, math.Inf(1)))
		if 2*n*(to-from) >= len(sorted) {
			edges = append(edges, below(x))
		}
		edges = append(edges, x)
	}
	edges = append(edges, sorted[last])
	slices.Sort(edges)
	return slices.Compact(edges)
}

func below(x float64) float64 { return math.Nextafter(x, math.Inf(-1)) }

// index makes the table by which a number finds its bin: by value or by bits, from end to end or,
// since the ends may be far out, over the edges between: whichever takes the fewest steps.
func (r *Reference) index() {
	for i := range r.edges {
		if r.edges[i] += 0; i >= r.n { // which leaves one 0: in bits there are two
			r.edges[i] = math.Inf(1)
		}
	}
	if r.n == 0 {
		return
	}
	type way struct {
		byKey bool
		apart int // edges at either end that are left out
	}
	ways := []way{{false, 0}, {false, 2}, {true, 0}, {true, 2}}
	best, least := way{}, math.MaxInt
	for _, w := range ways {
		if 2*w.apart+4 > r.n && w.apart > 0 {
			continue
		}
		if cost := r.lay(w.byKey, w.apart); cost < least {
			best, least = w, cost
		}
	}
	r.lay(best.byKey, best.apart)
}

// lay lays the table over the edges but some at either end, and returns how many steps it takes.
func (r *Reference) lay(byKey bool, apart int) (cost int) {
	first, last := r.edges[apart], r.edges[r.n-1-apart]
	r.byKey, r.low, r.scale, r.key, r.shift = byKey, first, (cells-1)/(last-first), key(first), 0
	if r.scale-r.scale != 0 { // one edge, or a width beyond numbers
		r.scale = 0
	}
	for (key(last)-r.key)>>r.shift >= cells {
		r.shift++
	}
	return r.fill()
}

// outside is how many steps it costs that a number is beside the table.
const outside = 4

// fill fills the table, and returns how many steps there are to the edges, over all that there
// are, beyond the first one, which is taken without a branch.
func (r *Reference) fill() (cost int) {
	at := 0
	for c := range r.start {
		for at < r.n && r.cell(r.edges[at]) < c {
			at++
		}
		r.start[c] = uint8(at)
	}
	for i, x := range r.edges[:r.n] {
		c, in := r.find(x)
		if cost += max(i-int(r.start[c&(cells-1)])-1, 0); !in {
			cost += outside
		}
	}
	return cost
}

// key is a number's bits, in the order of numbers.
func key(x float64) uint64 {
	b := math.Float64bits(x)
	return b ^ (uint64(int64(b)>>63) | 1<<63)
}

// find returns the cell that a number is in, if it is in any.
func (r *Reference) find(x float64) (c int, in bool) {
	if r.byKey {
		k := key(x)
		c := (k - r.key) >> r.shift
		return int(c), k >= r.key && c < cells && x-x == 0
	}
	t := (x - r.low) * r.scale
	return int(t), t >= 0 && t < cells
}

// cell is where a finite number is looked for. It never falls while numbers rise: that makes the
// table right, whatever is rounded.
func (r *Reference) cell(x float64) int {
	switch c, in := r.find(x); {
	case in:
		return c
	case x > r.low:
		return cells - 1
	}
	return 0
}

// step returns the bin of a number that is in a cell: one step without a branch, which is enough
// but where a cell has two edges.
func (r *Reference) step(c int, x float64) int {
	i, over := int(r.start[c&(cells-1)]), 0
	if x > r.edges[i] {
		over = 1
	}
	for i += over; i < maxEdges && x > r.edges[i]; {
		i++
	}
	return i
}

// Bin returns the bin of a finite number.
func (r *Reference) Bin(x float64) int { return r.step(r.cell(x), x) }

// Bins is how many bins there are.
func (r *Reference) Bins() int { return r.n + 1 }

// Edges returns the upper edges of all bins but the last.
func (r *Reference) Edges() []float64 { return slices.Clone(r.edges[:r.n]) }

// Count counts a number.
func (r *Reference) Count(h *Histogram, x float64) {
	if c, in := r.find(x); in { // nearly always
		h.Bins[r.step(c, x)]++
		return
	}
	if x-x != 0 { // NaN or without end
		h.Nulls++
		return
	}
	h.Bins[r.Bin(x)]++
}

// CountAll counts numbers, which is quicker than one by one.
func (r *Reference) CountAll(h *Histogram, values []float64) {
	if r.byKey {
		r.countByKey(h, values)
		return
	}
	low, scale, edges, start := r.low, r.scale, &r.edges, &r.start
	for _, x := range values {
		t := (x - low) * scale
		if !(t >= 0 && t < cells) {
			r.Count(h, x)
			continue
		}
		i, over := uint(start[int(t)&(cells-1)]), uint(0)
		if x > edges[i] {
			over = 1
		}
		if i += over; x > edges[i] {
			r.Count(h, x)
			continue
		}
		h.Bins[i]++
	}
}

// countByKey is CountAll where cells are of equal width in bits.
func (r *Reference) countByKey(h *Histogram, values []float64) {
	low, shift, edges, start := r.key, r.shift&63, &r.edges, &r.start
	for _, x := range values {
		k := key(x)
		c := (k - low) >> shift
		if k < low || c >= cells || x-x != 0 {
			r.Count(h, x)
			continue
		}
		i, over := uint(start[c]), uint(0)
		if x > edges[i] {
			over = 1
		}
		if i += over; x > edges[i] {
			r.Count(h, x)
			continue
		}
		h.Bins[i]++
	}
}
