package extraction

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/pavise/pavise/internal/learn"
)

// paths finds the leaves of a decision tree (Tramèr and others, 2016, section 4.2,
// algorithm 1). Rows with the same scores are taken to be in the same leaf, whose region is
// a box: so where both ends of a line lie in one leaf, all of it does, and where they do
// not, halving finds each threshold between them. What lies behind a threshold is explored
// in turn.
//
// Sums of many trees have boxes, too, and very many of them: a budget runs out first.
type paths struct {
	seen   []int        // leaves that are explored or to be, each by its mark
	todo   learn.Matrix // a row in each leaf that is to be explored
	doing  phase
	at     learn.Matrix // the row whose leaf is being explored
	lines  []line       // to be halved
	cuts   []line       // that are short enough
	idle   int          // looks for new leaves in a row that found none
	low    learn.Matrix // explored leaves: the lower end of each, exclusive
	high   learn.Matrix // the upper ends, inclusive
	scores learn.Matrix // what each says
	closed []int        // rows that were asked, cover with them, when each was explored
}

// A phase is what the rows last asked were for.
type phase int

const (
	looking phase = iota // rows of the data, for leaves that are not known
	ending               // both ends of each column, of the row being explored
	halving              // the middle of each line
	phases
)

// A line is a piece of a column, between values whose rows are in different leaves.
type line struct {
	column        int
	low, high     float32
	before, after int // marks of the leaves at its ends
}

const (
	looks    = 32
	maxIdle  = 3
	halvable = 22 // how often a column's range is halved
)

// mark tells leaves apart by their scores.
func mark(scores []float32) int {
	h := uint64(14695981039346656037) // FNV-1a, 64 bits
	var b [4]byte
	for _, v := range scores {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		for _, x := range b {
			h = (h ^ uint64(x)) * 1099511628211
		}
	}
	return int(h >> 1)
}

func (t *paths) plan(a *Attack, room int) (learn.Matrix, error) {
	if a.asked.Rows == 0 && t.doing == looking {
		return t.look(a), nil
	}
	if a.asked.Rows < t.awaited(a) {
		return learn.Matrix{}, errNothing // a state that somebody made up
	}
	switch t.doing {
	case looking:
		t.found(a)
	case ending:
		t.ended(a)
	case halving:
		t.halved(a)
	}
	for {
		switch {
		case len(t.lines) > 0:
			t.doing = halving
			return t.middles(a), nil
		case t.at.Rows > 0:
			t.close(a)
		case t.todo.Rows > 0:
			t.doing = ending
			return t.ends(a), nil
		case t.idle >= maxIdle:
			return learn.Matrix{}, nil
		default:
			t.doing = looking
			return t.look(a), nil
		}
	}
}

// awaited is how many rows were asked last, all for one thing.
func (t *paths) awaited(a *Attack) int {
	switch t.doing {
	case ending:
		n := 1
		for _, c := range a.column {
			if !c.negligible {
				n += 2
			}
		}
		return n
	case halving:
		return len(t.lines)
	}
	return looks
}

func (t *paths) look(a *Attack) learn.Matrix {
	m := learn.NewMatrix(looks, a.data.Rows.Cols)
	for i := range m.Rows {
		copy(m.Row(i), a.some())
	}
	return m
}

// found notes the leaves that a look came upon.
func (t *paths) found(a *Attack) {
	known := len(t.seen)
	x, y := tail(a.asked, looks), tail(a.answers, looks)
	for i := range x.Rows {
		t.note(mark(y.Row(i)), x.Row(i))
	}
	if t.idle++; len(t.seen) > known {
		t.idle = 0
	}
}

// note keeps a row for exploring if its leaf is new.
func (t *paths) note(leaf int, row []float32) {
	if at, known := slices.BinarySearch(t.seen, leaf); !known {
		t.seen = slices.Insert(t.seen, at, leaf)
		t.todo.Cols = len(row)
		grow(&t.todo, row)
	}
}

// ends begins with the next leaf: its row, and the row with each column at either end.
func (t *paths) ends(a *Attack) learn.Matrix {
	last := t.todo.Rows - 1
	row := slices.Clone(t.todo.Row(last))
	t.todo = head(t.todo, last)
	t.at = learn.Matrix{Rows: 1, Cols: len(row), Data: row}
	m := learn.Matrix{Cols: len(row)}
	grow(&m, row)
	for j, c := range a.column {
		if !c.negligible {
			grow(&m, with(row, j, float32(c.min)))
			grow(&m, with(row, j, float32(c.max)))
		}
	}
	return m
}

// with is a row with another value in a column.
func with(row []float32, j int, v float32) []float32 {
	moved := slices.Clone(row)
	moved[j] = v
	return moved
}

func (t *paths) ended(a *Attack) {
	y, k := tail(a.answers, t.awaited(a)), 1
	here := mark(y.Row(0))
	t.scores.Cols = y.Cols
	grow(&t.scores, y.Row(0))
	for j, c := range a.column {
		if c.negligible {
			continue
		}
		v := t.at.Row(0)[j]
		t.split(a, line{j, float32(c.min), v, mark(y.Row(k)), here})
		t.split(a, line{j, v, float32(c.max), here, mark(y.Row(k + 1))})
		k += 2
	}
}

// split keeps a line that a threshold crosses: to be halved, or as a cut.
func (t *paths) split(a *Attack, l line) {
	if l.before == l.after {
		return
	}
	if middle, ok := t.middle(a, l); ok && middle != l.low && middle != l.high {
		t.lines = append(t.lines, l)
		return
	}
	t.cuts = append(t.cuts, l)
}

// middle is where a line is halved, unless it is short enough.
func (t *paths) middle(a *Attack, l line) (float32, bool) {
	c := a.column[l.column]
	middle := (float64(l.low) + float64(l.high)) / 2
	if c.whole {
		return float32(math.Floor(middle)), l.high-l.low > 1
	}
	return float32(middle), float64(l.high)-float64(l.low) > math.Ldexp(c.span(), -halvable)
}

func (t *paths) middles(a *Attack) learn.Matrix {
	m := learn.Matrix{Cols: t.at.Cols}
	for _, l := range t.lines {
		v, _ := t.middle(a, l)
		grow(&m, with(t.at.Row(0), l.column, v))
	}
	return m
}

func (t *paths) halved(a *Attack) {
	lines, y := t.lines, tail(a.answers, len(t.lines))
	t.lines = nil
	for i, l := range lines {
		v, _ := t.middle(a, l)
		leaf := mark(y.Row(i))
		t.split(a, line{l.column, l.low, v, l.before, leaf})
		t.split(a, line{l.column, v, l.high, leaf, l.after})
	}
}

// close ends the exploring of a leaf: its box goes as far as the nearest cuts, and what
// lies behind cuts is to be explored.
func (t *paths) close(a *Attack) {
	row := t.at.Row(0)
	low, high := make([]float32, len(row)), make([]float32, len(row))
	for j := range row {
		low[j], high[j] = float32(math.Inf(-1)), float32(math.Inf(1))
	}
	for _, l := range t.cuts {
		cut := float32((float64(l.low) + float64(l.high)) / 2)
		if l.high <= row[l.column] {
			low[l.column] = max(low[l.column], cut)
		} else {
			high[l.column] = min(high[l.column], cut)
		}
		t.note(l.before, with(row, l.column, l.low))
		t.note(l.after, with(row, l.column, l.high))
	}
	t.low.Cols, t.high.Cols = len(row), len(row)
	grow(&t.low, low)
	grow(&t.high, high)
	t.closed = append(t.closed, len(a.entries))
	t.at, t.cuts = learn.Matrix{}, nil
}

func (t *paths) code(c *coder, a *Attack) {
	cols, most := a.data.Rows.Cols, a.cfg.Budget
	doing := int(t.doing)
	c.counts(&t.seen, most, math.MaxInt)
	c.count(&doing, int(phases)-1)
	c.matrix(&t.todo, cols, most)
	c.matrix(&t.at, cols, 1)
	c.count(&t.idle, maxIdle)
	c.edges(&t.low, cols, most)
	c.edges(&t.high, cols, most)
	c.matrix(&t.scores, a.cfg.Classes, most)
	c.counts(&t.closed, most, most)
	t.doing = phase(doing)
	for _, list := range []*[]line{&t.lines, &t.cuts} {
		n := len(*list)
		c.count(&n, c.most(most, 40))
		if c.reading && c.err == nil && n > 0 {
			*list = make([]line, n)
		}
		for i := range *list {
			(*list)[i].code(c, a)
		}
	}
	pending := t.scores.Rows - t.low.Rows // the leaf being explored says what it says before its box is known
	c.check(t.low.Rows == t.high.Rows && len(t.closed) == t.low.Rows && slices.IsSorted(t.closed) && (pending == 0 || pending == 1 && t.at.Rows == 1) && slices.IsSorted(t.seen))
	c.check(t.at.Rows == 1 || len(t.lines) == 0 && len(t.cuts) == 0 && t.doing == looking)
}

func (l *line) code(c *coder, a *Attack) {
	c.count(&l.column, a.data.Rows.Cols-1)
	for _, v := range []*float32{&l.low, &l.high} {
		wide := float64(*v)
		c.float(&wide)
		*v = float32(wide)
	}
	c.count(&l.before, math.MaxInt)
	c.count(&l.after, math.MaxInt)
}

// own is the tree as far as it was found when so many rows were asked. For rows in leaves
// that were not, boosted trees guess, from all that was asked.
func (t *paths) own(a *Attack, rows int) (Surrogate, error) {
	n, _ := slices.BinarySearch(t.closed, rows+1)
	x, y := a.gathered(rows)
	rest, err := a.growTrees(x, y)
	if err != nil {
		return nil, err
	}
	return &Boxes{column: a.column, low: head(t.low, n), high: head(t.high, n), scores: head(t.scores, n), rest: rest}, nil
}

// Boxes is a tree as its leaves: what each says, and where it is.
type Boxes struct {
	column            []column
	low, high, scores learn.Matrix
	rest              Surrogate // of rows in no leaf
}

// Leaves is how many there are.
func (b *Boxes) Leaves() int { return b.low.Rows }

// Thresholds returns the values at which the leaves found part a column, sorted, each once.
func (b *Boxes) Thresholds(col int) (list []float64) {
	for _, m := range []learn.Matrix{b.low, b.high} {
		for i := range m.Rows {
			if v := float64(m.Row(i)[col]); !math.IsInf(v, 0) {
				list = append(list, v)
			}
		}
	}
	slices.Sort(list)
	return slices.CompactFunc(list, func(a, c float64) bool {
		return math.Abs(a-c) <= math.Ldexp(b.column[col].span(), 2-halvable)
	})
}

// Predict returns what the leaf of each row says, or else a guess.
func (b *Boxes) Predict(x learn.Matrix) learn.Matrix {
	p := b.rest.Predict(x)
	for i := range x.Rows {
		for leaf := range b.low.Rows {
			if b.holds(leaf, x.Row(i)) {
				copy(p.Row(i), b.scores.Row(leaf))
				break
			}
		}
	}
	return p
}

// holds reports whether a row is in a leaf.
func (b *Boxes) holds(leaf int, row []float32) bool {
	for j, v := range row {
		if v <= b.low.Row(leaf)[j] || v > b.high.Row(leaf)[j] {
			return false
		}
	}
	return true
}
