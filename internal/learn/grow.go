package learn

import (
	"math/rand/v2"
	"slices"
)

// maxBins is the most values that are told apart in a column.
const maxBins = 256

// sampled is the most rows whose values are looked at to place the bins.
const sampled = 1 << 15

// maxKept is the most memory, in numbers, that the histograms of leaves may take
// together; beyond, they are not kept.
const maxKept = 1 << 24

// bins are the columns of a set as the numbers of the bins that their values
// lie in.
type bins struct {
	cuts  [][]float32 // of a column: bin b holds the values up to cuts[b], the last bin all others
	codes [][]uint8   // of a column, by row
	usual []int       // the bin that most rows of a column lie in; -1 if none has half of them
	start []int       // where a column's bins begin among all
	all   int         // bins of all columns
}

func newBins(x Matrix, most int) *bins {
	b := &bins{}
	step := (x.Rows + sampled - 1) / sampled
	for j := range x.Cols {
		var values []float32
		for i := 0; i < x.Rows; i += step {
			values = append(values, x.Data[i*x.Cols+j])
		}
		slices.Sort(values)
		cuts := cut(values, most)
		codes := make([]uint8, x.Rows)
		for i := range codes {
			at, _ := slices.BinarySearch(cuts, x.Data[i*x.Cols+j])
			codes[i] = uint8(at)
		}
		b.cuts, b.codes, b.start = append(b.cuts, cuts), append(b.codes, codes), append(b.start, b.all)
		b.usual = append(b.usual, usual(codes))
		b.all += len(cuts) + 1
	}
	return b
}

// usual returns the code of more than half of the rows, or -1.
func usual(codes []uint8) int {
	var rows [maxBins]int
	for _, c := range codes {
		rows[c]++
	}
	for c, n := range rows {
		if 2*n > len(codes) {
			return c
		}
	}
	return -1
}

// cut returns thresholds between sorted values, for at most the given number of
// bins: one between any two that differ, or, if there are too many, such that
// the bins hold about as many values each.
func cut(values []float32, most int) []float32 {
	distinct := 1
	for i := 1; i < len(values); i++ {
		if values[i] != values[i-1] {
			distinct++
		}
	}
	var cuts []float32
	last := 0
	for i := 1; i < len(values); i++ {
		if values[i] == values[i-1] {
			continue
		}
		left := most - len(cuts) // bins, with the one that ends here
		if distinct > most && (i-last)*left < len(values)-last {
			continue
		}
		if cuts = append(cuts, between(values[i-1], values[i])); len(cuts) == most-1 {
			break
		}
		last = i
	}
	return cuts
}

// between returns a number of [a, b), the middle if float32 has it.
func between(a, b float32) float32 {
	if middle := float32(float64(a) + (float64(b)-float64(a))/2); middle < b {
		return middle
	}
	return a
}

// A grower grows trees on the bins of the training set. A histogram has, for
// each bin, a cell: its rows, their second derivatives, and the first ones in
// the sums' columns.
type grower struct {
	cfg    TreeConfig
	bins   *bins
	y      []int     // class of each row
	sums   int       // first derivatives kept apart: one, or one to a class
	column []int     // of the sums that a row counts in
	first  []float64 // derivative of the loss by the score, by row
	second []float64
	width  int          // numbers to a cell
	leaf   [2][]float64 // derivatives of the rows of one leaf, side by side
	keep   bool         // histograms of leaves, to subtract from
	free   [][]float64  // histograms that no leaf needs
}

func newGrower(cfg TreeConfig, train Set) *grower {
	n := len(train.Y)
	g := &grower{
		cfg: cfg, bins: newBins(train.X, cfg.Bins), y: train.Y, sums: 1,
		column: make([]int, n), first: make([]float64, n), second: make([]float64, n),
	}
	if cfg.Single {
		g.sums = cfg.Classes
	}
	g.width = 2 + g.sums
	g.keep = cfg.Leaves*g.bins.all*g.width <= maxKept
	return g
}

// growShares grows a tree whose leaves hold the shares of the classes. With the
// weight of its class as the first and second derivative of a row, each class
// in a sum of its own, the gain of a split is what it takes off the Gini
// impurity.
func (g *grower) growShares() tree {
	for i, y := range g.y {
		w := weightOf(g.cfg.Weights, y)
		g.column[i], g.first[i], g.second[i] = y, w, w
	}
	return g.grow(g.draw(nil, 0), drawColumns(nil, len(g.bins.codes), 0))
}

// draw returns the share of the rows that a round sees, at least one.
func (g *grower) draw(rng *rand.Rand, share float64) []int32 {
	rows := make([]int32, 0, len(g.y))
	for i := range g.y {
		if share == 0 || share == 1 || rng.Float64() < share {
			rows = append(rows, int32(i))
		}
	}
	if len(rows) == 0 {
		rows = append(rows, int32(rng.IntN(len(g.y))))
	}
	return rows
}

// An end is a leaf of a tree that may still become a branch.
type end struct {
	node, depth int
	rows        []int32
	sums        []float64 // the cell of all its rows
	histogram   []float64 // nil if it is not kept
	best        split
}

// A split divides the rows of a leaf: bins up to bin to one side.
type split struct {
	gain        float64 // 0 if there is none
	column, bin int
}

// grow grows a tree on some rows and columns, the leaf that gains most first.
func (g *grower) grow(rows []int32, columns []int) tree {
	t := tree{nodes: []node{{}}}
	root := &end{rows: slices.Clone(rows)} // which divide moves about
	g.measure(root, columns, nil)
	ends := []*end{root}
	for len(ends) < g.cfg.Leaves {
		at := 0
		for i, e := range ends {
			if e.best.gain > ends[at].best.gain {
				at = i
			}
		}
		e := ends[at]
		if e.best.gain <= 0 {
			break
		}
		yes, no := g.divide(e)
		yes.node, no.node = len(t.nodes), len(t.nodes)+1
		t.nodes[e.node] = node{
			column: e.best.column, threshold: g.bins.cuts[e.best.column][e.best.bin],
			yes: yes.node, no: no.node, leaf: -1,
		}
		t.nodes = append(t.nodes, node{}, node{})
		if small := min(len(yes.rows), len(no.rows)); small == len(yes.rows) {
			g.measure(yes, columns, nil)
			g.measure(no, columns, g.rest(e, yes))
		} else {
			g.measure(no, columns, nil)
			g.measure(yes, columns, g.rest(e, no))
		}
		ends[at] = yes
		ends = append(ends, no)
	}
	for i, e := range ends {
		t.nodes[e.node].leaf = i
		t.values = append(t.values, g.value(e)...)
		g.release(e)
	}
	return t
}

// divide parts the rows of e by its best split, each part in the old order.
func (g *grower) divide(e *end) (yes, no *end) {
	codes := g.bins.codes[e.best.column]
	yes, no = &end{depth: e.depth + 1}, &end{depth: e.depth + 1}
	at := 0
	for _, r := range e.rows {
		if int(codes[r]) > e.best.bin {
			no.rows = append(no.rows, r)
			continue
		}
		e.rows[at] = r // what stood here was looked at already
		at++
	}
	yes.rows = e.rows[:at:at]
	return yes, no
}

// rest returns the histogram of the rows of e that are not in part, made of
// that of e, or nil if they were not kept.
func (g *grower) rest(e, part *end) []float64 {
	if e.histogram == nil || part.histogram == nil {
		g.release(e)
		return nil
	}
	h := e.histogram
	for i, v := range part.histogram {
		h[i] -= v
	}
	e.histogram = nil
	return h
}

// measure finds the best split of e. Its histogram is given, or made.
func (g *grower) measure(e *end, columns []int, histogram []float64) {
	e.sums = make([]float64, g.width)
	for _, r := range e.rows {
		e.sums[0]++
		e.sums[1] += g.second[r]
		e.sums[2+g.column[r]] += g.first[r]
	}
	if g.cfg.Depth > 0 && e.depth >= g.cfg.Depth || len(e.rows) < 2*g.cfg.MinRows {
		g.give(histogram)
		return
	}
	if histogram == nil {
		histogram = g.histogram(e, columns)
	}
	left := make([]float64, g.width)
	for _, j := range columns {
		g.search(e, j, histogram[g.bins.start[j]*g.width:], left)
	}
	if e.histogram = histogram; !g.keep {
		g.release(e)
	}
}

// histogram adds up the derivatives of the rows of e by column and bin. Where most
// rows of a column lie in one bin, as zeros do, that bin gets what the others
// leave of the sums.
func (g *grower) histogram(e *end, columns []int) []float64 {
	h := g.take()
	first, second := g.leaf[0][:0], g.leaf[1][:0]
	for _, r := range e.rows {
		first, second = append(first, g.first[r]), append(second, g.second[r])
	}
	g.leaf = [2][]float64{first, second}
	for _, j := range columns {
		bins := len(g.bins.cuts[j]) + 1
		if bins == 1 {
			continue
		}
		cells, skip := h[g.bins.start[j]*g.width:][:bins*g.width], g.bins.usual[j]
		if g.sums == 1 {
			tally(cells, g.bins.codes[j], e.rows, first, second, skip)
		} else {
			g.tallyClasses(cells, g.bins.codes[j], e.rows, skip)
		}
		if skip >= 0 {
			g.complete(cells, skip, e.sums)
		}
	}
	return h
}

// tally adds rows to the cells of a column, but for those in the bin to skip.
func tally(cells []float64, codes []uint8, rows []int32, first, second []float64, skip int) {
	first, second = first[:len(rows)], second[:len(rows)]
	for i, r := range rows {
		code := int(codes[r])
		if code == skip {
			continue
		}
		cell := cells[3*code : 3*code+3]
		cell[0]++
		cell[1] += second[i]
		cell[2] += first[i]
	}
}

// tallyClasses is tally where each class has a sum of its own.
func (g *grower) tallyClasses(cells []float64, codes []uint8, rows []int32, skip int) {
	for _, r := range rows {
		code := int(codes[r])
		if code == skip {
			continue
		}
		cell := cells[code*g.width : (code+1)*g.width]
		cell[0]++
		cell[1] += g.second[r]
		cell[2+g.column[r]] += g.first[r]
	}
}

// complete sets one cell to the sums less all other cells.
func (g *grower) complete(cells []float64, at int, sums []float64) {
	cell := cells[at*g.width : (at+1)*g.width]
	copy(cell, sums)
	for b := 0; b < len(cells); b += g.width {
		if cells[b] == 0 || b == at*g.width {
			continue
		}
		for i, v := range cells[b : b+g.width] {
			cell[i] -= v
		}
	}
}

// search looks for a better split of e in column j, whose cells are given.
func (g *grower) search(e *end, j int, cells, left []float64) {
	clear(left)
	whole := g.score(e.sums, nil)
	least := e.best.gain + float64(1e-10*whole) // what is less is rounding
	for b := range g.bins.cuts[j] {
		if cells[b*g.width] == 0 {
			continue // no row lies here: the split would be the last one again
		}
		for i, v := range cells[b*g.width : (b+1)*g.width] {
			left[i] += v
		}
		if int(left[0]) < g.cfg.MinRows {
			continue
		}
		if int(e.sums[0]-left[0]) < g.cfg.MinRows {
			break
		}
		if gain := g.score(left, nil) + g.score(e.sums, left) - whole; gain > least {
			e.best = split{gain: gain, column: j, bin: b}
			least = gain
		}
	}
}

// score is what a cell, less another, takes off the loss: the squares of the
// first derivatives by the second ones (formula 7 of the XGBoost paper).
func (g *grower) score(cell, less []float64) float64 {
	curve, squares := cell[1], 0.0
	if less == nil {
		for _, v := range cell[2:] {
			squares += float64(v * v)
		}
	} else {
		curve -= less[1]
		for i, v := range cell[2:] {
			v -= less[2+i]
			squares += float64(v * v)
		}
	}
	if curve += g.cfg.L2; curve < 1e-12 {
		return 0
	}
	return squares / curve
}

// value returns what a leaf says: how far it moves its score, or the shares of
// the classes.
func (g *grower) value(e *end) []float32 {
	if g.cfg.Single {
		shares := make([]float32, g.sums)
		for k, v := range e.sums[2:] {
			shares[k] = float32(v / e.sums[1])
		}
		return shares
	}
	curve := e.sums[1] + g.cfg.L2
	if curve < 1e-12 {
		return []float32{0}
	}
	return []float32{float32(g.cfg.Rate * max(-maxStep, min(maxStep, -e.sums[2]/curve)))}
}

// take returns an empty histogram, and give and release take one back.
func (g *grower) take() []float64 {
	n := len(g.free)
	if n == 0 {
		return make([]float64, g.bins.all*g.width)
	}
	h := g.free[n-1]
	g.free = g.free[:n-1]
	clear(h)
	return h
}

func (g *grower) give(h []float64) {
	if h != nil {
		g.free = append(g.free, h)
	}
}

func (g *grower) release(e *end) {
	g.give(e.histogram)
	e.histogram = nil
}
