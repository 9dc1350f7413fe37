package embedding

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// key is a key of tests.
func key(n byte) [32]byte { return [32]byte{n} }

// cloud is vectors of length 1 in a narrow cone, as embeddings are.
func cloud(rng *rand.Rand, n, dim int) [][]float64 {
	all := make([][]float64, n)
	for i := range all {
		all[i] = make([]float64, dim)
		for j := range all[i] {
			all[i][j] = rng.NormFloat64()
			if j%8 == 0 {
				all[i][j] += 2
			}
		}
		length := norm(all[i])
		for j := range all[i] {
			all[i][j] /= length
		}
	}
	return all
}

// rotated is what a tenant gets of vectors.
func rotated(t testing.TB, key [32]byte, epoch uint32, all [][]float64) [][]float64 {
	t.Helper()
	r, err := NewRotation(key, epoch, len(all[0]))
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]float64, len(all))
	for i, v := range all {
		out[i] = slices.Clone(v)
		r.Apply(out[i])
	}
	return out
}

func dot(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

func TestRotationKeepsDistancesAndAngles(t *testing.T) {
	for _, dim := range []int{1, 2, 3, 7, 63, 64, 384, 768, 1000, 1536, 3072, 8191, 8192} {
		t.Run(fmt.Sprint(dim), func(t *testing.T) {
			own := cloud(rand.New(rand.NewPCG(1, uint64(dim))), 12, dim)
			got := rotated(t, key(1), 1, own)
			for i := range own {
				for j := range own {
					if away := math.Abs(dot(own[i], own[j]) - dot(got[i], got[j])); away > 1e-12 {
						t.Fatalf("the product of %d and %d changes by %g", i, j, away)
					}
				}
			}
		})
	}
	for _, dim := range []int{-1, 0, MaxDim + 1} {
		if _, err := NewRotation(key(1), 1, dim); err == nil {
			t.Errorf("there is a rotation of %d numbers", dim)
		}
	}
}

// TestNeighbours asks for the ten nearest of each of 1,000 vectors, as a search does: in
// the numbers of float32 that callers get they are the same, all of them.
func TestNeighbours(t *testing.T) {
	own := cloud(rand.New(rand.NewPCG(2, 2)), 1000, 384)
	got := rotated(t, key(1), 1, own)
	for _, v := range got {
		for j := range v {
			v[j] = float64(float32(v[j]))
		}
	}
	nearest := func(all [][]float64, of int) (top []int) {
		for i := range all {
			top = append(top, i)
		}
		near := make([]float64, len(all))
		for i, v := range all {
			near[i] = dot(all[of], v)
		}
		slices.SortFunc(top, func(a, b int) int {
			if near[a] > near[b] {
				return -1
			}
			return 1
		})
		return top[:10]
	}
	for i := range 200 {
		if a, b := nearest(own, i), nearest(got, i); !slices.Equal(a, b) {
			t.Fatalf("near %d are %v, and rotated %v", i, a, b)
		}
	}
}

// TestTenantsCannotBeJoined looks for each vector of one tenant among those of another,
// who embedded the same texts: the nearest is the right one about as often as by chance.
func TestTenantsCannotBeJoined(t *testing.T) {
	own := cloud(rand.New(rand.NewPCG(3, 3)), 400, 256)
	for what, other := range map[string][][]float64{"another tenant": rotated(t, key(2), 1, own), "another epoch": rotated(t, key(1), 2, own), "the model": own} {
		hits := 0
		for i, v := range rotated(t, key(1), 1, own) {
			best := 0
			for j, w := range other {
				if dot(v, w) > dot(v, other[best]) {
					best = j
				}
			}
			if best == i {
				hits++
			}
		}
		if hits > 8 { // chance finds 1 of 400
			t.Errorf("%s: %d of 400 vectors were found", what, hits)
		}
	}
}

// TestEntriesAreSpread compares the matrix of a rotation with a random orthogonal one,
// whose entries have the fourth moment 3/(d(d+2)).
func TestEntriesAreSpread(t *testing.T) {
	for _, dim := range []int{48, 64, 100, 257, 1536} {
		r, err := NewRotation(key(3), 1, dim)
		if err != nil {
			t.Fatal(err)
		}
		fourth, most, n := 0.0, 0.0, min(dim, 100)
		for i := range n {
			v := make([]float64, dim)
			v[i] = 1
			r.Apply(v)
			for _, x := range v {
				fourth += x * x * x * x / float64(n*dim)
				most = max(most, math.Abs(x))
			}
		}
		d := float64(dim)
		if ratio := fourth * d * (d + 2) / 3; ratio < 0.9 || ratio > 1.1 {
			t.Errorf("%d: the fourth moment is %.3f of a random matrix's", dim, ratio)
		}
		if bound := 7 / math.Sqrt(d); most > bound {
			t.Errorf("%d: an entry is %.3f", dim, most)
		}
	}
}

// TestRotationStays holds the first numbers to what they were: an index that was made
// yesterday must be good tomorrow.
func TestRotationStays(t *testing.T) {
	v := make([]float64, 6)
	v[0] = 1
	r, err := NewRotation(key(1), 1, len(v))
	if err != nil {
		t.Fatal(err)
	}
	r.Apply(v)
	want := []float64{0.076673841522, -0.515857186920, 0.588732124702, 0.213319978388, 0.492181273546, -0.306037825873}
	for i := range v {
		if math.Abs(v[i]-want[i]) > 1e-9 {
			t.Fatalf("the first axis becomes %.12f", v)
		}
	}
}

// TestThief lets somebody who has both sides of some vectors, the model's and a tenant's,
// or those of two tenants, map others: on what the pairs span they are right, and with as
// many as a vector has numbers they have the map. With fewer it is the least that a linear
// map leaves open, and what orthogonal Procrustes (Schönemann, 1966) finds there, too.
func TestThief(t *testing.T) {
	const dim = 128
	rng := rand.New(rand.NewPCG(4, 4))
	all := make([][]float64, dim+100)
	for i := range all {
		all[i] = make([]float64, dim)
		for j := range all[i] {
			all[i][j] = rng.NormFloat64()
		}
	}
	ours, theirs := rotated(t, key(1), 1, all), rotated(t, key(2), 1, all)
	for _, c := range []struct {
		pairs     int
		low, high float64 // mean cosine between what the thief makes and what is true
	}{{8, 0.2, 0.3}, {32, 0.45, 0.55}, {64, 0.65, 0.75}, {120, 0.94, 0.99}, {128, 0.999999, 1.000001}} {
		from, to := bases(ours[:c.pairs], theirs[:c.pairs])
		sum := 0.0
		for i := dim; i < len(all); i++ {
			guess := make([]float64, dim)
			for k := range from {
				along := dot(ours[i], from[k])
				for j := range guess {
					guess[j] += along * to[k][j]
				}
			}
			sum += dot(guess, theirs[i]) / norm(guess) / norm(theirs[i])
		}
		mean := sum / 100
		t.Logf("%d pairs of %d numbers: mean cosine %.4f", c.pairs, dim, mean)
		if mean < c.low || mean > c.high {
			t.Errorf("with %d pairs the mean cosine is %.4f, not in %v..%v", c.pairs, mean, c.low, c.high)
		}
	}
}

// bases makes orthonormal vectors of both sides of pairs, which belong together as the
// pairs do: a rotation changes no coefficient of Gram and Schmidt.
func bases(a, b [][]float64) (u, v [][]float64) {
	for i := range a {
		x, y := slices.Clone(a[i]), slices.Clone(b[i])
		for range 2 { // the second time for the rounding
			for k := range u {
				along := dot(x, u[k])
				for j := range x {
					x[j] -= along * u[k][j]
					y[j] -= along * v[k][j]
				}
			}
		}
		length := norm(x)
		for j := range x {
			x[j] /= length
			y[j] /= length
		}
		u, v = append(u, x), append(v, y)
	}
	return u, v
}

func BenchmarkRotation(b *testing.B) {
	for _, dim := range []int{384, 1536, 8192} {
		b.Run(fmt.Sprint(dim), func(b *testing.B) {
			r, err := NewRotation(key(1), 1, dim)
			if err != nil {
				b.Fatal(err)
			}
			v := cloud(rand.New(rand.NewPCG(1, 1)), 1, dim)[0]
			for b.Loop() {
				r.Apply(v)
			}
		})
	}
}
