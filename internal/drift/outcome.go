package drift

// The rule: a feature moved when chance explains it in less than Rate of such cases and one of
// the sizes is reached. A shift by a seventh of a standard deviation has these sizes.
const (
	Rate        = 0.01 // of false discoveries among what is called drift
	LeastRows   = 30   // on either side, below which nothing is said
	LeastKS     = 0.05 // the largest distance of two distribution functions
	LeastJS     = 0.06 // the distance of Jensen and Shannon
	LeastNulls  = 0.02 // by how much the share of nothing differs
	LeastUnseen = 0.01 // the share of what the baseline never had
)

// A Kind says how a feature is compared.
type Kind string

// The kinds.
const (
	Number   Kind = "number"
	Category Kind = "category"
)

// An Outcome is what holding a histogram to that of a baseline came to. Shares and distances are
// from 0 to 1.
type Outcome struct {
	P      float64 `json:"p"`              // the chance that nothing moved, over all tests of the feature
	Q      float64 `json:"q"`              // the same among all features
	ChiP   float64 `json:"chi_square_p"`   // of Pearson's test
	Chi    float64 `json:"chi_square"`     // its statistic
	DF     int     `json:"df"`             // its degrees of freedom
	KS     float64 `json:"ks,omitempty"`   // the largest distance of the distribution functions; of numbers
	KSP    float64 `json:"ks_p,omitempty"` // and the chance of it
	JS     float64 `json:"js"`             // the distance of Jensen and Shannon, less what chance makes
	PSI    float64 `json:"psi"`            // the population stability index, for who wants it
	Nulls  float64 `json:"nulls"`          // the share of nothing now
	Before float64 `json:"nulls_before"`   // and in the baseline
	NullP  float64 `json:"nulls_p"`
	Odd    float64 `json:"odd"` // the share of what is of another kind
	OddP   float64 `json:"odd_p"`
	Unseen float64 `json:"unseen"` // the share, beyond the baseline's own, of new categories or of numbers outside of its range
	UnseeP float64 `json:"unseen_p"`
	Effect float64 `json:"effect"` // the largest of the sizes, in units of what matters: from 1 on it does
	Cause  Cause   `json:"cause"`  // which of them that is
	Enough bool    `json:"-"`      // there were rows enough on both sides
}

// A Cause is the way in which a feature moved most.
type Cause string

// The causes.
const (
	ByShape  Cause = "distribution"
	ByNulls  Cause = "nulls"
	ByUnseen Cause = "unseen"
	ByKind   Cause = "kind"
)

// Moved reports whether the feature drifted. Q must be known.
func (o *Outcome) Moved() bool { return o.Enough && o.Q <= Rate && o.Effect >= 1 }

// Hold holds counts to those of the baseline, by the same bins. Q is P until features are taken
// together by [Judge].
func Hold(kind Kind, bins int, base, now *Histogram) Outcome {
	o := Outcome{P: 1, Q: 1, ChiP: 1, KSP: 1, NullP: 1, OddP: 1, UnseeP: 1, Cause: ByShape}
	all, rows := float64(base.Rows()), float64(now.Rows())
	if all < LeastRows || rows < LeastRows {
		return o
	}
	o.Enough = true
	o.Nulls, o.Before, o.Odd = float64(now.Nulls)/rows, float64(base.Nulls)/all, float64(now.Odd)/rows
	o.NullP = proportions(float64(base.Nulls), all, float64(now.Nulls), rows)
	o.OddP = proportions(float64(base.Odd), all, float64(now.Odd), rows)
	o.effect(ByNulls, abs(o.Nulls-o.Before)/LeastNulls)
	o.effect(ByKind, abs(o.Odd-float64(base.Odd)/all)/LeastUnseen)
	tests := 2.0
	n, m := float64(base.Held()), float64(now.Held())
	if n >= LeastRows && m >= LeastRows {
		tests += o.shape(kind, bins, base, now, n, m)
	}
	o.P = min(1, tests*min(o.ChiP, o.KSP, o.NullP, o.OddP, o.UnseeP))
	o.Q = o.P
	return o
}

func abs(x float64) float64 { return max(x, -x) }

// effect keeps the largest.
func (o *Outcome) effect(by Cause, size float64) {
	if size > o.Effect {
		o.Effect, o.Cause = size, by
	}
}

// shape compares how values are distributed, and returns in how many tests.
func (o *Outcome) shape(kind Kind, bins int, base, now *Histogram, n, m float64) (tests float64) {
	a, b := base.Bins[:bins], now.Bins[:bins]
	o.Chi, o.DF, o.ChiP = chiSquare(a, b, n, m)
	o.JS, o.PSI = divergences(a, b, n, m)
	o.effect(ByShape, o.JS/LeastJS)
	outside, inside := float64(now.Bins[newBin]), float64(base.Bins[newBin])
	tests = 2
	if kind == Number {
		o.KS, o.KSP = kolmogorov(a, b, n, m)
		o.effect(ByShape, o.KS/LeastKS)
		outside, inside = float64(b[0]+b[bins-1]), float64(a[0]+a[bins-1])
		tests = 3
	}
	o.Unseen = max(0, outside/m-inside/n)
	if kind == Number && inside < n {
		// Bins end where the baseline did: others go further by chance alone, as often as if two
		// more of its own rows had (S. S. Wilks, Ann. Math. Stat. 12, 1941).
		inside++
	}
	o.UnseeP = proportions(inside, n, outside, m)
	o.effect(ByUnseen, o.Unseen/LeastUnseen)
	return tests
}

// Judge takes the outcomes of all features together: it sets their Q.
func Judge(all []Outcome) {
	p, q, order := make([]float64, len(all)), make([]float64, len(all)), make([]int, len(all))
	judge(all, p, q, order)
}

// judge leaves out features of which nothing can be said.
func judge(all []Outcome, p, q []float64, order []int) {
	n := 0
	for i := range all {
		if all[i].Enough {
			p[n] = all[i].P
			n++
		}
	}
	falseDiscoveries(p[:n], q[:n], order[:n])
	n = 0
	for i := range all {
		if all[i].Enough {
			all[i].Q = q[n]
			n++
		}
	}
}
