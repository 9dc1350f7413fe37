package watermark

import (
	"math"
	"math/big"
	"testing"
)

// exactTail sums a distribution in fractions.
func exactTail(least, most int, term func(int) *big.Rat) float64 {
	sum := new(big.Rat)
	for i := least; i <= most; i++ {
		sum.Add(sum, term(i))
	}
	f := new(big.Float).SetRat(sum)
	mant := new(big.Float)
	exp := f.MantExp(mant)
	m, _ := mant.Float64()
	return math.Log2(m) + float64(exp)
}

func bigChoose(n, k int) *big.Int { return new(big.Int).Binomial(int64(n), int64(k)) }

// TestBinomialTail holds the tail to sums of fractions, down to where floats end and below.
func TestBinomialTail(t *testing.T) {
	for _, c := range []struct {
		trials int
		chance [2]int64
	}{{1, [2]int64{1, 2}}, {46, [2]int64{1, 9}}, {46, [2]int64{1, 99999}}, {120, [2]int64{1, 3}}, {120, [2]int64{7, 8}}, {150, [2]int64{1, 1000}}} {
		p := big.NewRat(c.chance[0], c.chance[1])
		q := new(big.Rat).Sub(big.NewRat(1, 1), p)
		pow := func(r *big.Rat, n int) *big.Rat {
			e := big.NewInt(int64(n))
			return new(big.Rat).SetFrac(new(big.Int).Exp(r.Num(), e, nil), new(big.Int).Exp(r.Denom(), e, nil))
		}
		for hits := 0; hits <= c.trials; hits += 1 + c.trials/5 {
			want := exactTail(hits, c.trials, func(i int) *big.Rat {
				term := new(big.Rat).SetInt(bigChoose(c.trials, i))
				return term.Mul(term, pow(p, i)).Mul(term, pow(q, c.trials-i))
			})
			chance, _ := p.Float64()
			if got := binomialTail(hits, c.trials, chance); math.Abs(got-want) > 1e-9*(1+math.Abs(want)) {
				t.Errorf("%d or more of %d at %v: 2^%v, want 2^%v", hits, c.trials, p, got, want)
			}
		}
	}
	for _, c := range []struct {
		hits, trials int
		chance, want float64
	}{{0, 0, 0.5, 0}, {0, 10, 0, 0}, {1, 10, 0, math.Inf(-1)}, {3, 2, 0.5, math.Inf(-1)}, {2, 2, 1, 0}, {2_000_000, 4_000_000, 0.5, math.Log2(0.5)}} {
		if got := binomialTail(c.hits, c.trials, c.chance); math.Abs(got-c.want) > 1e-3 && got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestFisherTail does the same for draws without putting back.
func TestFisherTail(t *testing.T) {
	for _, c := range []struct{ marked, hits, all int }{{5, 5, 10}, {46, 55, 9246}, {50, 36, 250}, {10, 90, 100}, {3, 0, 50}, {40, 40, 2000}} {
		for k := 0; k <= min(c.marked, c.hits); k += 1 + c.marked/6 {
			want := exactTail(max(k, 0, c.marked+c.hits-c.all), min(c.marked, c.hits), func(i int) *big.Rat {
				n := new(big.Int).Mul(bigChoose(c.hits, i), bigChoose(c.all-c.hits, c.marked-i))
				return new(big.Rat).SetFrac(n, bigChoose(c.all, c.marked))
			})
			if got := markTail(k, c.marked, c.hits, c.all, 1); math.Abs(got-want) > 1e-8*(1+math.Abs(want)) {
				t.Errorf("%d or more of %d marked, %d hits among %d: 2^%v, want 2^%v", k, c.marked, c.hits, c.all, got, want)
			}
		}
	}
}

// TestMarkTail holds the probability of hits to sums of fractions over both of its draws.
func TestMarkTail(t *testing.T) {
	for _, c := range []struct{ marked, off, all, others int }{{5, 6, 20, 3}, {12, 14, 60, 9}, {30, 25, 150, 9}, {10, 10, 10, 4}, {20, 60, 80, 2}, {25, 12, 130, 999}} {
		q := big.NewRat(1, int64(c.others))
		miss := new(big.Rat).Sub(big.NewRat(1, 1), q)
		pow := func(r *big.Rat, n int) *big.Rat {
			e := big.NewInt(int64(n))
			return new(big.Rat).SetFrac(new(big.Int).Exp(r.Num(), e, nil), new(big.Int).Exp(r.Denom(), e, nil))
		}
		for hits := 1; hits <= min(c.marked, c.off); hits += 2 {
			want := exactTail(max(0, c.marked+c.off-c.all), min(c.marked, c.off), func(m int) *big.Rat {
				n := new(big.Int).Mul(bigChoose(c.off, m), bigChoose(c.all-c.off, c.marked-m))
				blindly := new(big.Rat).SetFrac(n, bigChoose(c.all, c.marked))
				tail := new(big.Rat)
				for i := hits; i <= m; i++ {
					one := new(big.Rat).SetInt(bigChoose(m, i))
					tail.Add(tail, one.Mul(one, pow(q, i)).Mul(one, pow(miss, m-i)))
				}
				return blindly.Mul(blindly, tail)
			})
			chance, _ := q.Float64()
			if got := markTail(hits, c.marked, c.off, c.all, chance); math.Abs(got-want) > 1e-8*(1+math.Abs(want)) {
				t.Errorf("%d hits, %+v: 2^%v, want 2^%v", hits, c, got, want)
			}
		}
	}
	if got := markTail(40_000, 200_000, 300_000, 1_000_000, 0.5); !(got < -2700 && got > -3000) {
		t.Errorf("of many: 2^%v", got)
	}
}
