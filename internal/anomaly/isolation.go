package anomaly

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Settings of isolation forests (Liu, Ting and Zhou, "Isolation Forest", 2008, section 5).
const (
	isolationRows  = 256
	isolationTrees = 100
)

// An isolator is one tree, in a list: branches with the column and threshold, leaves with
// column -1 and the length of the path to them.
type isolator struct {
	column  int32
	at      float32
	yes, no int32
}

// Isolation returns the scores of an isolation forest, grown on some rows of points, for those
// rows in their order: from 0 to 1, the higher the sooner a row is alone. Of each tree 256 rows
// are drawn.
func Isolation(points [][]float32, rows []int32, rng *rand.Rand) []float64 {
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
		isolate(&tree, points, sample[:size], limit, 0, rng)
		for k, i := range rows {
			n := &tree[0]
			for n.column >= 0 {
				if points[i][n.column] < n.at {
					n = &tree[n.yes]
				} else {
					n = &tree[n.no]
				}
			}
			depth[k] += float64(n.at)
		}
	}
	for k, d := range depth {
		depth[k] = math.Exp2(-d / isolationTrees / expectedPath(size))
	}
	return depth
}

// isolate grows a tree; leaves hold the length of the path, with what a tree on the rows
// that are left would add.
func isolate(tree *[]isolator, points [][]float32, rows []int32, limit, depth int, rng *rand.Rand) int32 {
	at := int32(len(*tree))
	leaf := isolator{column: -1, at: float32(float64(depth) + expectedPath(len(rows)))}
	*tree = append(*tree, leaf)
	if depth == limit || len(rows) < 2 {
		return at
	}
	for range 8 {
		column := rng.IntN(len(points[0]))
		low, high := points[rows[0]][column], points[rows[0]][column]
		for _, i := range rows {
			low, high = min(low, points[i][column]), max(high, points[i][column])
		}
		if low == high {
			continue
		}
		n := isolator{column: int32(column), at: low + (high-low)*float32(rng.Float64())}
		cut := 0
		for k, i := range rows {
			if points[i][column] < n.at {
				rows[k], rows[cut] = rows[cut], i
				cut++
			}
		}
		n.yes = isolate(tree, points, rows[:cut], limit, depth+1, rng)
		n.no = isolate(tree, points, rows[cut:], limit, depth+1, rng)
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
