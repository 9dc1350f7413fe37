package anomaly

import (
	"math"
	"math/rand/v2"
	"slices"
)

const centerRounds = 4 // of k-means

// Centers are points that stand for many, each with the radius of what it stands for.
type Centers struct {
	Points [][]float32 `json:"points"`
	Radius []float32   `json:"radius"` // above 0: nine in ten of its points are nearer
}

// FitCenters places n centres at most among points by k-means, begun at points drawn by
// their distance to those before (Arthur and Vassilvitskii, "k-means++", 2007).
func FitCenters(points [][]float32, n int, rng *rand.Rand) *Centers {
	c := &Centers{Points: spreadOut(points, n, rng)}
	members := make([]int, len(points))
	for range centerRounds {
		for i, p := range points {
			members[i], _ = c.nearest(p)
		}
		c.move(points, members)
	}
	c.Radius = make([]float32, len(c.Points))
	distances := make([][]float32, len(c.Points))
	for _, p := range points {
		k, d := c.nearest(p)
		distances[k] = append(distances[k], d)
	}
	var all []float32
	for _, list := range distances {
		all = append(all, list...)
	}
	slices.Sort(all)
	usual := max(all[len(all)/2], 1e-6)
	for k, list := range distances {
		slices.Sort(list)
		c.Radius[k] = usual / 4
		if len(list) > 0 {
			c.Radius[k] = max(c.Radius[k], list[(len(list)-1)*9/10])
		}
	}
	return c
}

// spreadOut draws n different points at most.
func spreadOut(points [][]float32, n int, rng *rand.Rand) [][]float32 {
	list := [][]float32{slices.Clone(points[rng.IntN(len(points))])}
	far := make([]float64, len(points))
	for i := range far {
		far[i] = math.Inf(1)
	}
	for len(list) < n {
		var sum float64
		for i, p := range points {
			d := float64(Distance(p, list[len(list)-1]))
			far[i] = min(far[i], d*d)
			sum += far[i]
		}
		if sum == 0 {
			break
		}
		at, pick := rng.Float64()*sum, 0
		for pick < len(points)-1 && at >= far[pick] {
			at -= far[pick]
			pick++
		}
		list = append(list, slices.Clone(points[pick]))
	}
	return list
}

// move puts each centre in the middle of its members. One without any stays.
func (c *Centers) move(points [][]float32, members []int) {
	count := make([]float32, len(c.Points))
	sums := make([][]float32, len(c.Points))
	for i, p := range points {
		k := members[i]
		if sums[k] == nil {
			sums[k] = make([]float32, len(p))
		}
		addScaled(sums[k], p, 1)
		count[k]++
	}
	for k, sum := range sums {
		for j := range sum {
			c.Points[k][j] = sum[j] / count[k]
		}
	}
}

// nearest returns the nearest centre and its distance.
func (c *Centers) nearest(p []float32) (int, float32) {
	best, least := 0, float32(math.Inf(1))
	for k, q := range c.Points {
		q = q[:len(p)]
		var sum float32
		for j, v := range p {
			sum += (v - q[j]) * (v - q[j])
		}
		if sum < least {
			best, least = k, sum
		}
	}
	return best, float32(math.Sqrt(float64(least)))
}

// Outside is the distance of a point to its nearest centre, in radii of that centre.
func (c *Centers) Outside(p []float32) float32 {
	k, d := c.nearest(p)
	return d / c.Radius[k]
}

// Misfit says what of the centres does not fit points of that width, or "".
func (c *Centers) Misfit(width int) string {
	if len(c.Points) == 0 || len(c.Radius) != len(c.Points) {
		return "its centres do not fit each other"
	}
	for k, p := range c.Points {
		if len(p) != width || !(c.Radius[k] > 0) {
			return "a centre does not fit its subspace"
		}
	}
	return ""
}
