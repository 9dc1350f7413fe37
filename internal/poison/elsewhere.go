package poison

import (
	"math"
	"math/bits"
)

// An elsewhere is the rows in which a trigger of one class should not be: those of the other
// classes, and what is trusted of the class itself. Values that go together there go together
// by nature, however frequent each of them is.
type elsewhere struct {
	part []int    // the first word of each class's rows, and the end
	size []int    // by part: its rows
	has  []uint64 // by item: which rows have it, a bit to each
	of   map[[2]int32]tie
}

// A tie is what two items have to do with each other elsewhere.
type tie struct {
	odds  float64 // logarithm of the odds ratio
	share float64 // of the rows of the class in which both are most frequent
}

// elsewhereRows is how many rows are asked, of all classes together.
const elsewhereRows = 1 << 12

// elsewhere gathers rows for the class of a miner, whose items are known.
func (m *miner) elsewhere() *elsewhere {
	e := &elsewhere{of: map[[2]int32]tie{}}
	rng := m.v.rng("elsewhere")
	var rows []int32 // by bit; -1: none, at the end of a part
	for y, members := range m.v.members {
		var some []int32
		for _, i := range members {
			if y != m.class || int(i) >= m.v.rows {
				some = append(some, i)
			}
		}
		most := max(elsewhereRows*len(some)/max(m.v.all, 1), min(256, elsewhereRows/len(m.v.members)))
		for k := range min(most, len(some)) {
			j := k + rng.IntN(len(some)-k)
			some[k], some[j] = some[j], some[k]
		}
		some = some[:min(most, len(some))]
		e.part, e.size = append(e.part, len(rows)/64), append(e.size, len(some))
		rows = append(rows, some...)
		for len(rows)%64 > 0 {
			rows = append(rows, -1)
		}
	}
	e.part = append(e.part, len(rows)/64)
	e.mark(m, rows)
	return e
}

// mark finds which rows have which items.
func (e *elsewhere) mark(m *miner, rows []int32) {
	type kind struct {
		column, grid int
		active       bool
	}
	words := len(rows) / 64
	e.has = make([]uint64, words*len(m.items))
	index := map[kind]map[int64]int{}
	for k, it := range m.items {
		of := kind{it.column, it.grid, it.active}
		if index[of] == nil {
			index[of] = map[int64]int{}
		}
		index[of][it.code] = k
	}
	for of, byCode := range index {
		f := &m.v.features[of.column]
		for bit, i := range rows {
			if i < 0 || of.active && !m.odd.is(of.column, i) {
				continue
			}
			code, ok := int64(f.code[i]), true
			if of.grid > 0 {
				code, ok = f.onGrid(i, of.grid)
			}
			if k, known := byCode[code]; ok && known {
				e.has[k*words+bit/64] |= 1 << (bit % 64)
			}
		}
	}
}

// tie returns what ties two items: the odds ratio over all parts (Mantel and Haenszel,
// "Statistical aspects of the analysis of data from retrospective studies of disease", 1959),
// with half a row added to either side, so that few rows say little.
func (e *elsewhere) tie(a, b int32) tie {
	if a > b {
		a, b = b, a
	}
	if t, ok := e.of[[2]int32{a, b}]; ok {
		return t
	}
	words := e.part[len(e.part)-1]
	x, y := e.has[int(a)*words:int(a+1)*words], e.has[int(b)*words:int(b+1)*words]
	t := tie{}
	with, against := 0.5, 0.5
	for p, n := range e.size {
		if n == 0 {
			continue
		}
		both, one, other := 0, 0, 0
		for w := e.part[p]; w < e.part[p+1]; w++ {
			both += bits.OnesCount64(x[w] & y[w])
			one += bits.OnesCount64(x[w] &^ y[w])
			other += bits.OnesCount64(y[w] &^ x[w])
		}
		with += float64(both) * float64(n-both-one-other) / float64(n)
		against += float64(one) * float64(other) / float64(n)
		t.share = max(t.share, float64(both)/float64(n))
	}
	t.odds = math.Log(with / against)
	e.of[[2]int32{a, b}] = t
	return t
}

// asOften is how much rarer than in the class the two may be elsewhere for what ties them there
// to count. A backdoor is of one class: whoever plants its trigger in the others nearly as
// often, as a decoy, has none.
const asOften = 2

// natural is how much more often two items go together, in nats, if they are as much tied to
// each other as elsewhere: shares of the class have one, the other, and both.
func (t tie) natural(one, other, both float64) float64 {
	if t.odds <= 0 || asOften*t.share < both {
		return 0
	}
	// The share x that has both solves x (1 - one - other + x) = odds (one - x) (other - x).
	odds := math.Exp(min(t.odds, 20))
	a, b, c := odds-1, -(1 + (odds-1)*(one+other)), odds*one*other
	if a < 1e-9 {
		return 0
	}
	x := (-b - math.Sqrt(max(b*b-4*a*c, 0))) / (2 * a)
	return max(math.Log(max(x, 1e-12)/(one*other)), 0)
}
