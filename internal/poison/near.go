package poison

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// neighbours is how many of the nearest rows have a say on a label.
const neighbours = 10

// A thicket finds rows near to a row: trees that part points in two halves along a direction
// drawn by chance, over and over.
type thicket struct {
	point [][]float32
	rows  [][]int32 // by tree: all rows, those of a leaf together
	leaf  [][]int32 // by tree and row: where its leaf begins
	size  [][]int32 // by tree and row: how many its leaf has
}

// Bounds of a thicket.
const (
	thicketTrees = 6
	thicketLeaf  = 24
)

// newThicket parts the rows of each group by themselves: a row finds near ones in its own group.
func newThicket(point [][]float32, groups [][]int32, rng *rand.Rand) *thicket {
	t := &thicket{point: point}
	reach, way := make([]float32, len(point)), make([]float32, len(point[0]))
	for range thicketTrees {
		order := slices.Concat(groups...)
		leaf, size := make([]int32, len(point)), make([]int32, len(point))
		var part func(from, to int)
		part = func(from, to int) {
			if to-from <= thicketLeaf {
				for _, i := range order[from:to] {
					leaf[i], size[i] = int32(from), int32(to-from)
				}
				return
			}
			a, b := point[order[from+rng.IntN(to-from)]], point[order[from+rng.IntN(to-from)]]
			for d := range way {
				way[d] = a[d] - b[d]
			}
			for _, i := range order[from:to] {
				sum := float32(0)
				for d, x := range point[i][:len(way)] {
					sum += x * way[d]
				}
				reach[i] = sum
			}
			halve(order[from:to], reach)
			part(from, (from+to)/2)
			part((from+to)/2, to)
		}
		from := 0
		for _, rows := range groups {
			part(from, from+len(rows))
			from += len(rows)
		}
		t.rows, t.leaf, t.size = append(t.rows, order), append(t.leaf, leaf), append(t.size, size)
	}
	return t
}

// halve puts the half of the rows that reach least before the others (Hoare, "Algorithm 65:
// Find", 1961), those that reach equally far by their numbers.
func halve(rows []int32, reach []float32) {
	before := func(i, k int32) bool { return reach[i] < reach[k] || reach[i] == reach[k] && i < k }
	middle := len(rows) / 2
	for from, to := 0, len(rows)-1; from < to; {
		pivot := rows[(from+to)/2]
		i, k := from, to
		for i <= k {
			for before(rows[i], pivot) {
				i++
			}
			for before(pivot, rows[k]) {
				k--
			}
			if i <= k {
				rows[i], rows[k] = rows[k], rows[i]
				i, k = i+1, k-1
			}
		}
		switch {
		case middle <= k:
			to = k
		case middle >= i:
			from = i
		default:
			return
		}
	}
}

// A close row and its squared distance.
type near struct {
	row  int32
	away float32
}

// find appends the nearest rows of those in the leaves of a row, at most most, nearest first.
// It leaves out the row.
func (t *thicket) find(row int32, most int, into []near) []near {
	return t.within(row, most, math.MaxFloat32, into)
}

// within finds those that are nearer than a squared distance.
func (t *thicket) within(row int32, most int, reach float32, into []near) []near {
	into = into[:0]
	p := t.point[row]
	for k := range t.rows {
		from := t.leaf[k][row]
		for _, i := range t.rows[k][from : from+t.size[k][row]] {
			if i == row || slices.ContainsFunc(into, func(n near) bool { return n.row == i }) {
				continue
			}
			away, far := float32(0), reach
			if len(into) == most {
				far = into[most-1].away
			}
			q := t.point[i]
			for d := 0; d < len(p) && away < far; d++ {
				away += (p[d] - q[d]) * (p[d] - q[d])
			}
			if away >= far {
				continue
			}
			at := len(into)
			for at > 0 && into[at-1].away > away {
				at--
			}
			if into = slices.Insert(into, at, near{i, away}); len(into) > most {
				into = into[:most]
			}
		}
	}
	return into
}

// firstNear returns one row of each group of twins, and what finds near ones among them. They
// are made once for all screens.
func (v *View) firstNear() ([]int32, *thicket) {
	v.near.once.Do(func() {
		v.near.firsts = v.firsts()
		v.near.thicket = newThicket(v.point, [][]int32{v.near.firsts}, v.rng("near"))
	})
	return v.near.firsts, v.near.thicket
}

// firsts returns one row of each group of twins.
func (v *View) firsts() []int32 {
	var rows []int32
	seen := make([]bool, v.all)
	for i, g := range v.twin {
		if !seen[g] {
			seen[g] = true
			rows = append(rows, int32(i))
		}
	}
	return rows
}

// company is the screen of labels by the nearest rows: those that are nearly the same count
// once, or whoever sends a row ten times is its own company.
func (v *View) company() Finding {
	const screen = "neighbours"
	if len(v.classes) < 2 || len(v.features) == 0 || v.all < 3*neighbours {
		return silent(screen, fmt.Sprintf("it takes two classes and %d rows", 3*neighbours))
	}
	firsts, t := v.firstNear()
	classes := len(v.classes)
	votes := make([]float32, v.all*classes) // of a group of twins, by its first row
	first := make([]int32, len(firsts))
	for _, i := range firsts {
		first[v.twin[i]] = i
	}
	for i, y := range v.label {
		votes[int(first[v.twin[i]])*classes+y]++
	}
	f := Finding{Screen: screen, Evidence: make([]float32, v.all), Bounded: true, Odds: true, Limit: 2.9}
	around := make([]float32, len(firsts)*classes)
	var found []near
	for _, i := range firsts {
		sum := around[int(v.twin[i])*classes : int(v.twin[i]+1)*classes]
		found = t.find(i, neighbours, found)
		for _, n := range found {
			total := float32(0)
			mine := votes[int(n.row)*classes : int(n.row+1)*classes]
			for _, c := range mine {
				total += c
			}
			for k, c := range mine {
				sum[k] += c / total
			}
		}
	}
	for i, y := range v.label {
		sum := around[int(v.twin[i])*classes : int(v.twin[i]+1)*classes]
		other := float32(0)
		for k, n := range sum {
			if k != y {
				other = max(other, n)
			}
		}
		f.Evidence[i] = float32(math.Log(float64(other)+0.5) - math.Log(float64(sum[y])+0.5))
	}
	v.fair(f.Evidence)
	f.Reason = func(i int) string {
		same := around[int(v.twin[i])*classes+v.label[i]]
		return fmt.Sprintf("of the %d rows nearest to it, %.0f are %q as it is", neighbours, same, v.classes[v.label[i]])
	}
	return f
}
