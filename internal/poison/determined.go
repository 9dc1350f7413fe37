package poison

import (
	"fmt"
	"math"
	"slices"

	"github.com/pavise/pavise/internal/anomaly"
)

// A code is how the values of a column are told apart: a grid of intervals as of an item, 0 for
// the values themselves, or inBins.
type code struct{ column, grid int }

const inBins = -1

// A ledger numbers what the rows of a miner hold in sets of columns, and keeps the numbers.
type ledger struct {
	m     *miner
	cells map[string][]int32
}

// ledgerSets is how many sets of columns are kept: 64 MiB.
const ledgerSets = 1 << 11

// of returns for each row the number of what it holds in some columns, the same for the same.
func (l *ledger) of(set []code) []int32 {
	name := fmt.Sprint(set)
	if cells, ok := l.cells[name]; ok {
		return cells
	}
	if len(l.cells) >= ledgerSets {
		clear(l.cells)
	}
	cells := make([]int32, len(l.m.rows))
	var before []int32
	if len(set) > 1 {
		before = l.of(set[:len(set)-1])
	}
	number := map[[2]int64]int32{}
	for k, i := range l.m.rows {
		both := [2]int64{0, l.m.v.coded(i, set[len(set)-1])}
		if before != nil {
			both[0] = int64(before[k])
		}
		at, ok := number[both]
		if !ok {
			at = int32(len(number))
			number[both] = at
		}
		cells[k] = at
	}
	l.cells[name] = cells
	return cells
}

// coded returns what a row holds in a column.
func (v *View) coded(i int32, as code) int64 {
	f := &v.features[as.column]
	switch {
	case as.grid > 0:
		b, _ := f.onGrid(i, as.grid)
		return b
	case as.grid == inBins:
		return int64(f.fine[i])
	}
	return int64(f.code[i])
}

// tells is how far some columns tell what another one holds, from 0 to 1, in the rows that are not
// left out.
func (l *ledger) tells(columns []code, of code, out []bool) float64 {
	return anomaly.Tells(l.of(columns), l.of([]code{of}), l.of(append(slices.Clip(columns), of)), out)
}

// natural is how much more often the items of a pattern go together, in nats, than if they had
// nothing to do with each other, by what their columns tell of each other in the other rows of the
// class: items are taken away one by one, first the one that follows most from those that are left.
// What was planted in some rows is not in the others: columns that have nothing else to do with each
// other tell nothing there.
func (m *miner) natural(h *hunt) (sum float64) {
	out := make([]bool, len(m.rows))
	for _, k := range h.at {
		out[k] = true
	}
	items := slices.Clone(h.items)
	for len(items) > 1 {
		best, at := -1.0, 0
		for k := range items {
			rest := slices.Delete(slices.Clone(items), k, k+1)
			if x := m.follows(items[k], rest, out, len(h.at)); x > best {
				best, at = x, k
			}
		}
		sum += best
		items = slices.Delete(items, at, at+1)
	}
	return sum
}

// follows is how much more often than alone an item is beside others by nature, in nats: as much as
// their columns tell of its own, if most of the rows with the others have it. If not it is not what
// follows from them, whatever their columns tell.
func (m *miner) follows(it int32, from []int32, out []bool, all int) float64 {
	with := m.holders[from[0]]
	tied := m.tied(it, from[0], all)
	for _, b := range from[1:] {
		with = shared(with, m.holders[b])
		tied = max(tied, m.tied(it, b, all))
	}
	both := len(shared(with, m.holders[it]))
	if 2*both < len(with) {
		return tied
	}
	var exact, coarse []code
	for _, b := range from {
		j := m.items[b].column
		exact, coarse = append(exact, code{j, 0}), append(coarse, code{j, inBins})
	}
	of := code{m.items[it].column, m.items[it].grid}
	told := m.book.tells(exact, of, out)
	if told < 0.95 {
		told = max(told, m.book.tells(coarse, of, out))
	}
	share := float64(m.items[it].rows) / float64(len(m.rows))
	most := math.Log(float64(both) / float64(len(with)) / share)
	return max(tied, min(-told*math.Log(share), most))
}
