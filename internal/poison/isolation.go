package poison

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Settings of isolation forests (Liu, Ting and Zhou, "Isolation Forest", 2008, section 5).
const (
	isolationRows  = 256
	isolationTrees = 100
	leastStep      = 0.05 // of scores: rows that are all alike differ by less
)

// An isolator is one tree, in a list: branches with the column and threshold, leaves with
// column -1 and the length of the path to them.
type isolator struct {
	column  int32
	at      float32
	yes, no int32
}

// outliers is the screen of rows that are unlike the others of their class.
func (v *View) outliers() Finding {
	const screen = "outliers"
	if len(v.features) == 0 || v.all < 20 {
		return silent(screen, "it takes 20 rows")
	}
	f := Finding{Screen: screen, Evidence: make([]float32, v.all), Limit: 3}
	f.Words = "it is unlike the other rows of its class"
	rng := v.rng(screen)
	for _, rows := range v.members {
		if len(rows) >= 20 {
			v.isolate(rows, f.Evidence, rng)
		}
	}
	return f
}

// isolate sets the evidence of rows: how far the score of the isolation forest is above the
// usual one, in steps from the median to the ninth decile. Where nearly all rows are the same
// that is no measure, and what the others reach is one.
func (v *View) isolate(rows []int32, evidence []float32, rng *rand.Rand) {
	depth := make([]float64, len(rows))
	sample := slices.Clone(rows)
	size := min(isolationRows, len(rows))
	limit := int(math.Ceil(math.Log2(float64(size))))
	for range isolationTrees {
		for i := range size {
			j := i + rng.IntN(len(sample)-i)
			sample[i], sample[j] = sample[j], sample[i]
		}
		var tree []isolator
		v.isolator(&tree, sample[:size], limit, 0, rng)
		for k, i := range rows {
			n := &tree[0]
			for n.column >= 0 {
				if v.point[i][n.column] < n.at {
					n = &tree[n.yes]
				} else {
					n = &tree[n.no]
				}
			}
			depth[k] += float64(n.at)
		}
	}
	score := make([]float64, len(rows))
	for k := range score {
		score[k] = math.Exp2(-depth[k] / isolationTrees / expectedPath(size))
	}
	sorted := slices.Clone(score)
	slices.Sort(sorted)
	median, high, top := sorted[len(sorted)/2], sorted[len(sorted)*9/10], sorted[len(sorted)*97/100]
	for k, i := range rows {
		evidence[i] = float32((score[k] - median) / max(high-median, (top-median)/2, leastStep))
	}
}

// isolator grows a tree; leaves hold the length of the path, with what a tree on the rows
// that are left would add.
func (v *View) isolator(tree *[]isolator, rows []int32, limit, depth int, rng *rand.Rand) int32 {
	at := int32(len(*tree))
	leaf := isolator{column: -1, at: float32(float64(depth) + expectedPath(len(rows)))}
	*tree = append(*tree, leaf)
	if depth == limit || len(rows) < 2 {
		return at
	}
	for range 8 {
		column := rng.IntN(len(v.point[0]))
		low, high := v.point[rows[0]][column], v.point[rows[0]][column]
		for _, i := range rows {
			low, high = min(low, v.point[i][column]), max(high, v.point[i][column])
		}
		if low == high {
			continue
		}
		n := isolator{column: int32(column), at: low + (high-low)*float32(rng.Float64())}
		cut := 0
		for k, i := range rows {
			if v.point[i][column] < n.at {
				rows[k], rows[cut] = rows[cut], i
				cut++
			}
		}
		n.yes = v.isolator(tree, rows[:cut], limit, depth+1, rng)
		n.no = v.isolator(tree, rows[cut:], limit, depth+1, rng)
		(*tree)[at] = n
		return at
	}
	return at
}

// expectedPath is the mean path of an unsuccessful search in a tree of n rows.
func expectedPath(n int) float64 {
	if n < 2 {
		return 0
	}
	m := float64(n)
	return 2*(math.Log(m-1)+0.5772156649) - 2*(m-1)/m
}
