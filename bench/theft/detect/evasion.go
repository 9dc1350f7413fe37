package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// An evader looks for a row like a given one that the model takes for something else. All
// its rows are counted, and it stops when it has asked enough.
type evader struct {
	w    *world
	rng  *rand.Rand
	left int
	ask  func([]float32) []float32
}

// scores asks a row, of which each column is kept in its range; nil when enough was asked.
func (e *evader) scores(row []float32) []float32 {
	if e.left == 0 {
		return nil
	}
	e.left--
	row = slices.Clone(row)
	for j, v := range row {
		row[j] = min(e.w.high[j], max(e.w.low[j], v))
	}
	return e.ask(row)
}

// evades reports whether the model takes the row for another class.
func (e *evader) evades(row []float32, class int) bool {
	said := e.scores(row)
	return said != nil && top(said) != class
}

func top[F float32 | float64](scores []F) int { return slices.Index(scores, slices.Max(scores)) }

// hopSkipJump evades by the class that is answered alone (Chen, Jordan and Wainwright,
// "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack", 2020; algorithm 2 for L2,
// with its defaults: 100 rows for the first direction, and the step halved until it evades).
// Columns are measured in their ranges.
func hopSkipJump(w *world, rng *rand.Rand, rows int, ask func([]float32) []float32) error {
	e := &evader{w, rng, rows, ask}
	for e.left > 0 {
		goal := w.real(rng)
		said := e.scores(goal)
		if said == nil {
			return nil
		}
		class := top(said)
		at := w.real(rng)
		for !e.evades(at, class) {
			if at = w.real(rng); e.left == 0 {
				return nil
			}
		}
		theta := 1 / (math.Sqrt(float64(len(goal))) * float64(len(goal)))
		at = e.border(goal, at, class, theta)
		for round := 1; round <= 20 && e.left > 0; round++ {
			at = e.hop(goal, at, class, round, theta)
		}
	}
	return nil
}

// border halves the way from goal to at until it is shorter than theta of all of it.
func (e *evader) border(goal, at []float32, class int, theta float64) []float32 {
	low, high := 0.0, 1.0
	for high-low > max(theta, 1e-4) && e.left > 0 {
		if mid := (low + high) / 2; e.evades(along(goal, at, mid), class) {
			high = mid
		} else {
			low = mid
		}
	}
	return along(goal, at, high)
}

func along(from, to []float32, part float64) []float32 {
	out := slices.Clone(from)
	for j := range out {
		out[j] += float32(part) * (to[j] - from[j])
	}
	return out
}

// hop estimates which way the border faces, goes there, and comes back to it.
func (e *evader) hop(goal, at []float32, class, round int, theta float64) []float32 {
	d := len(goal)
	far := e.distance(goal, at)
	size := theta * math.Sqrt(float64(d)) * far
	if round == 1 {
		size = 0.1
	}
	n := int(100 * math.Sqrt(float64(round)))
	signs, directions, mean := make([]float64, 0, n), make([][]float64, 0, n), 0.0
	for range n {
		if e.left == 0 {
			return at
		}
		u, sign := e.direction(d), -1.0
		if e.evades(e.moved(at, u, size), class) {
			sign = 1
		}
		signs, directions, mean = append(signs, sign), append(directions, u), mean+sign/float64(n)
	}
	way := make([]float64, d)
	for i, u := range directions {
		for j, v := range u {
			if math.Abs(mean) == 1 {
				way[j] += mean * v
			} else {
				way[j] += (signs[i] - mean) * v
			}
		}
	}
	unit(way)
	for step := far / math.Sqrt(float64(round)); e.left > 0 && step > 1e-6; step /= 2 {
		if row := e.moved(at, way, step); e.evades(row, class) {
			return e.border(goal, row, class, theta)
		}
	}
	return at
}

// moved is a row that went so far some way, each column in its range.
func (e *evader) moved(at []float32, way []float64, far float64) []float32 {
	row := slices.Clone(at)
	for j := range row {
		row[j] += float32(far*way[j]) * e.w.span(j)
	}
	return row
}

func (e *evader) direction(d int) []float64 {
	u := make([]float64, d)
	for j := range u {
		u[j] = e.rng.NormFloat64()
	}
	return unit(u)
}

func unit(u []float64) []float64 {
	var sum float64
	for _, v := range u {
		sum += v * v
	}
	for j := range u {
		u[j] /= math.Sqrt(sum) + 1e-30
	}
	return u
}

func (e *evader) distance(a, b []float32) float64 {
	var sum float64
	for j := range a {
		v := float64((a[j] - b[j]) / e.w.span(j))
		sum += v * v
	}
	return math.Sqrt(sum)
}

// span is how far a column reaches.
func (w *world) span(j int) float32 { return max(w.high[j]-w.low[j], 1e-6) }

// square evades by scores (Andriushchenko, Croce, Flammarion and Hein, "Square Attack", 2020;
// algorithm 2 for L∞, with its p of 0.05 and its schedule for few rows): squares of an image,
// or runs of columns, are moved to the edge of what is allowed, 0.15 of a column's range.
func square(w *world, rng *rand.Rand, rows int, ask func([]float32) []float32) error {
	const allowed, tries = 0.15, 500
	e := &evader{w, rng, rows, ask}
	for e.left > 0 {
		goal := w.real(rng)
		said := e.scores(goal)
		if said == nil {
			return nil
		}
		class := top(said)
		at := slices.Clone(goal)
		for j := range at { // stripes, or each column by itself
			if j < w.side || w.side == 0 {
				at[j] = goal[j] + e.edge(j, allowed)
			} else {
				at[j] = goal[j] + (at[j%w.side] - goal[j%w.side])
			}
		}
		best := margin(e.scores(at), class)
		for i := 1; i < tries && best > 0 && e.left > 0; i++ {
			row := slices.Clone(at)
			e.patch(row, goal, allowed, shrinking(i, tries))
			if said := e.scores(row); said != nil && margin(said, class) < best {
				at, best = row, margin(said, class)
			}
		}
	}
	return nil
}

func (e *evader) edge(j int, allowed float32) float32 {
	return allowed * e.w.span(j) * float32(2*e.rng.IntN(2)-1)
}

// patch moves a square, or a run of columns, that covers a share of all.
func (e *evader) patch(row, goal []float32, allowed float32, share float64) {
	columns := e.covered(len(row), share)
	by := allowed * float32(2*e.rng.IntN(2)-1)
	for _, j := range columns {
		row[j] = goal[j] + by*e.w.span(j)
	}
}

// covered draws the columns of a patch.
func (e *evader) covered(width int, share float64) (columns []int) {
	side, n := e.w.side, max(1, int(share*float64(width)))
	if side == 0 {
		from := e.rng.IntN(width - n + 1)
		for j := from; j < from+n; j++ {
			columns = append(columns, j)
		}
		return columns
	}
	n = max(1, int(math.Sqrt(share*float64(width))))
	x, y := e.rng.IntN(side-n+1), e.rng.IntN(width/side-n+1)
	for i := range n * n {
		columns = append(columns, (y+i/n)*side+x+i%n)
	}
	return columns
}

// shrinking is the share that is moved in a try: halved at the places of the paper, scaled to
// so many tries.
func shrinking(i, tries int) float64 {
	share := 0.05
	for _, at := range []float64{0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8} {
		if float64(i) > at*float64(tries) {
			share /= 2
		}
	}
	return share
}

// margin is how far the class is above all others.
func margin(scores []float32, class int) float32 {
	if scores == nil {
		return 0
	}
	other := float32(math.Inf(-1))
	for k, v := range scores {
		if k != class {
			other = max(other, v)
		}
	}
	return scores[class] - other
}
