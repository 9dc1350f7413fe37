package poison

import "math/rand/v2"

// A forest is extremely randomized trees (Geurts, Ernst and Wehenkel, 2006) on the fine bins
// of a view: of a few columns, each with one threshold drawn by chance, the best is taken.
type forest struct {
	view    *View
	target  []int32 // by row: what is told apart
	classes int
	weight  []float64 // of a row of each class
	nodes   []node
	roots   []int32
	shares  []float32 // of leaf i, from i*classes on

	// Of the tree that grows.
	rng         *rand.Rand
	least       int // rows of a branch
	tried       []int
	left, whole []int32
}

// A node is a branch, or a leaf where column is -1.
type node struct {
	column  int32
	texts   bool
	at      uint8     // numbers up to it go left
	mask    [4]uint64 // texts in it go left
	yes, no int32     // of a leaf: yes is its index
}

// Bounds on forests.
const (
	treesHeld   = 50 // judge a row that they never saw
	maxTreeRows = 1 << 14
	maxTreeDeep = 40
)

func newForest(v *View, target []int32, classes int, rng *rand.Rand) *forest {
	f := &forest{view: v, target: target, classes: classes, rng: rng}
	f.left, f.whole = make([]int32, classes), make([]int32, classes)
	f.weight = make([]float64, classes)
	for k := range f.weight {
		f.weight[k] = 1
	}
	f.tried = make([]int, len(v.features))
	for j := range f.tried {
		f.tried[j] = j
	}
	return f
}

// plant grows a tree on rows, which it puts in another order.
func (f *forest) plant(rows []int32) {
	if len(rows) > maxTreeRows {
		for i := range maxTreeRows {
			j := i + f.rng.IntN(len(rows)-i)
			rows[i], rows[j] = rows[j], rows[i]
		}
		rows = rows[:maxTreeRows]
	}
	f.roots = append(f.roots, f.grow(rows, 0))
}

func (f *forest) grow(rows []int32, depth int) int32 {
	clear(f.whole)
	kinds := 0
	for _, i := range rows {
		k := f.target[i]
		if f.whole[k]++; f.whole[k] == 1 {
			kinds++
		}
	}
	if kinds > 1 && len(rows) >= 2*f.least && depth < maxTreeDeep {
		if n, ok := f.split(rows); ok {
			cut := f.part(rows, &n)
			at := int32(len(f.nodes))
			f.nodes = append(f.nodes, n)
			yes := f.grow(rows[:cut], depth+1)
			no := f.grow(rows[cut:], depth+1)
			f.nodes[at].yes, f.nodes[at].no = yes, no
			return at
		}
	}
	clear(f.whole)
	for _, i := range rows {
		f.whole[f.target[i]]++
	}
	sum := 0.0
	for k, n := range f.whole {
		sum += f.weight[k] * float64(n)
	}
	for k, n := range f.whole {
		f.shares = append(f.shares, float32(f.weight[k]*float64(n)/sum))
	}
	f.nodes = append(f.nodes, node{column: -1, yes: int32(len(f.shares)/f.classes - 1)})
	return int32(len(f.nodes) - 1)
}

// split draws thresholds and returns the best of them.
func (f *forest) split(rows []int32) (best node, ok bool) {
	want := 1
	for want*want < len(f.tried) {
		want++
	}
	score := -1.0
	for drawn, good := 0, 0; drawn < len(f.tried) && good < want; drawn++ {
		j := drawn + f.rng.IntN(len(f.tried)-drawn)
		f.tried[drawn], f.tried[j] = f.tried[j], f.tried[drawn]
		n, some := f.draw(f.tried[drawn], rows)
		if !some {
			continue
		}
		good++
		clear(f.left)
		f.count(rows, &n)
		if s := f.purity(); s > score {
			best, score, ok = n, s, true
		}
	}
	return best, ok
}

// draw draws a threshold in a column that tells these rows apart.
func (f *forest) draw(column int, rows []int32) (node, bool) {
	c := &f.view.features[column]
	n := node{column: int32(column), texts: c.texts != nil}
	if !n.texts {
		low, high := uint8(255), uint8(0)
		for _, i := range rows {
			low, high = min(low, c.fine[i]), max(high, c.fine[i])
		}
		if low == high {
			return n, false
		}
		n.at = low + uint8(f.rng.IntN(int(high-low)))
		return n, true
	}
	var seen [4]uint64
	for _, i := range rows {
		b := c.fine[i]
		seen[b>>6] |= 1 << (b & 63)
	}
	some, others := false, false
	for b := range 256 {
		if seen[b>>6]>>(b&63)&1 == 0 {
			continue
		}
		if f.rng.Uint64()&1 == 0 {
			n.mask[b>>6] |= 1 << (b & 63)
			some = true
		} else {
			others = true
		}
	}
	return n, some && others
}

// goes reports whether a bin goes left.
func (n *node) goes(b uint8) bool {
	if n.texts {
		return n.mask[b>>6]>>(b&63)&1 == 1
	}
	return b <= n.at
}

// count counts the classes that go left.
func (f *forest) count(rows []int32, n *node) {
	fine := f.view.features[n.column].fine
	for _, i := range rows {
		if n.goes(fine[i]) {
			f.left[f.target[i]]++
		}
	}
}

// purity is higher the better what goes left is told from what goes right (Gini impurity).
func (f *forest) purity() float64 {
	var l, r, left, right float64
	for k, n := range f.left {
		a, b := f.weight[k]*float64(n), f.weight[k]*float64(f.whole[k]-n)
		l, r, left, right = l+a*a, r+b*b, left+a, right+b
	}
	if left == 0 || right == 0 {
		return (l + r) / (left + right)
	}
	return l/left + r/right
}

// part puts the rows that go left first and returns how many there are.
func (f *forest) part(rows []int32, n *node) int {
	fine, cut := f.view.features[n.column].fine, 0
	for k, i := range rows {
		if n.goes(fine[i]) {
			rows[k], rows[cut] = rows[cut], i
			cut++
		}
	}
	return cut
}

// add adds, for each of some rows, the shares of the leaves that it reaches: tree by tree, so
// that one is near at hand while the rows go by.
func (f *forest) add(rows []int32, to []float32) {
	for _, root := range f.roots {
		for _, row := range rows {
			n := &f.nodes[root]
			for n.column >= 0 {
				if n.goes(f.view.features[n.column].fine[row]) {
					n = &f.nodes[n.yes]
				} else {
					n = &f.nodes[n.no]
				}
			}
			sum := to[int(row)*f.classes : int(row+1)*f.classes]
			for k, s := range f.shares[int(n.yes)*f.classes : int(n.yes+1)*f.classes] {
				sum[k] += s
			}
		}
	}
}

// heldOut returns what trees that never saw a row, nor one that is nearly it, make of it: the
// share of each class, row by row. Rows are parted into folds by their twins. A branch parts
// least rows at the least on either side, about. Rows of a class weigh as told; nil: 1.
func heldOut(v *View, target []int32, classes, least int, weight []float64, rng *rand.Rand) []float32 {
	const folds = 5
	salt := rng.Uint64()
	fold := make([]uint8, v.all)
	for i, g := range v.twin {
		fold[i] = uint8(mix(salt, uint64(g)+1) >> 20 % folds)
	}
	out := make([]float32, v.all*classes)
	for k := range uint8(folds) {
		var rows, held []int32
		for i := range fold {
			if fold[i] != k {
				rows = append(rows, int32(i))
			} else {
				held = append(held, int32(i))
			}
		}
		f := newForest(v, target, classes, rng)
		if f.least = least; weight != nil {
			f.weight = weight
		}
		for range treesHeld {
			if len(rows) > 0 {
				f.plant(rows)
			}
		}
		f.add(held, out)
	}
	for i := range out {
		out[i] /= treesHeld
	}
	return out
}
