package embedding

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestThiefWithoutPairs is a limit, measured: who has many vectors of two tenants, of
// different texts and with no pair among them, lays the principal axes of the two clouds
// on each other, for a rotation keeps the shape of a cloud. Where the axes differ in
// length, as those of embeddings do, that finds the rotation. It is no defence against
// somebody who sits in two tenants; what parts tenants is that nobody does.
func TestThiefWithoutPairs(t *testing.T) {
	const dim = 32
	rng := rand.New(rand.NewPCG(5, 5))
	draw := func(n int) [][]float64 {
		all := make([][]float64, n)
		for i := range all {
			all[i] = make([]float64, dim)
			for j := range all[i] {
				all[i][j] = (0.5 + rng.ExpFloat64()) / math.Pow(float64(j+1), 0.8)
			}
		}
		return all
	}
	held := draw(200)
	ours, theirs := rotated(t, key(1), 1, held), rotated(t, key(2), 1, held)
	from, to := axes(rotated(t, key(1), 1, draw(20_000))), axes(rotated(t, key(2), 1, draw(20_000)))
	sum := 0.0
	for i := range held {
		guess := make([]float64, dim)
		for k := range from {
			along := dot(ours[i], from[k])
			for j := range guess {
				guess[j] += along * to[k][j]
			}
		}
		sum += dot(guess, theirs[i]) / norm(guess) / norm(theirs[i])
	}
	mean := sum / float64(len(held))
	t.Logf("without pairs: mean cosine %.3f", mean)
	if mean < 0.9 {
		t.Errorf("the thief without pairs reaches a mean cosine of %.3f only: LIMITATIONS.md says more", mean)
	}
}

// axes are the principal axes of a cloud, the longest first, each turned to where the
// cloud's mean lies.
func axes(all [][]float64) [][]float64 {
	dim := len(all[0])
	mean, cov := make([]float64, dim), make([][]float64, dim)
	for _, v := range all {
		for j, x := range v {
			mean[j] += x / float64(len(all))
		}
	}
	for i := range cov {
		cov[i] = make([]float64, dim)
	}
	for _, v := range all {
		for i := range cov {
			for j := range cov[i] {
				cov[i][j] += (v[i] - mean[i]) * (v[j] - mean[j])
			}
		}
	}
	vectors := jacobi(cov)
	slices.SortFunc(vectors, func(a, b axis) int {
		if a.length > b.length {
			return -1
		}
		return 1
	})
	var list [][]float64
	for _, a := range vectors {
		if dot(a.v, mean) < 0 {
			for j := range a.v {
				a.v[j] = -a.v[j]
			}
		}
		list = append(list, a.v)
	}
	return list
}

type axis struct {
	length float64
	v      []float64
}

// jacobi finds the eigenvectors of a symmetric matrix (Jacobi, 1846).
func jacobi(a [][]float64) (list []axis) {
	n := len(a)
	v := make([][]float64, n) // rows are the vectors
	for i := range v {
		v[i] = make([]float64, n)
		v[i][i] = 1
	}
	for range 12 {
		for p := range n {
			for q := p + 1; q < n; q++ {
				angle := 0.5 * math.Atan2(2*a[p][q], a[q][q]-a[p][p])
				sin, cos := math.Sincos(angle)
				for k := range n {
					a[k][p], a[k][q] = cos*a[k][p]-sin*a[k][q], sin*a[k][p]+cos*a[k][q]
				}
				for k := range n {
					a[p][k], a[q][k] = cos*a[p][k]-sin*a[q][k], sin*a[p][k]+cos*a[q][k]
					v[p][k], v[q][k] = cos*v[p][k]-sin*v[q][k], sin*v[p][k]+cos*v[q][k]
				}
			}
		}
	}
	for i := range v {
		list = append(list, axis{a[i][i], v[i]})
	}
	return list
}
