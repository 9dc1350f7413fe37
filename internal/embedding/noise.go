package embedding

import (
	"encoding/binary"
	"math"
)

const (
	// The noise that a whole coverage brings, as a share of a vector's length, and where
	// the curve begins: alpha and lambda of Dubiński et al.
	strongest = 0.8
	weakest   = 1e-6
	// levels is how many strengths there are. One input has one noise at each.
	levels = 16
)

// A Noise says how much of a vector is noise, by how much of the space its caller has
// covered: nothing up to Quiet, the most from Full on.
type Noise struct {
	Quiet float64 `json:"quiet"` // share of all buckets, 0 to 1: what callers who mean no harm cover
	Full  float64 `json:"full"`  // likewise; more than Quiet
}

// level is the strength for a coverage, 0 to levels.
func (n Noise) level(coverage float64) int {
	if !(coverage > n.Quiet) { // NaN, too
		return 0
	}
	return min(levels, int(math.Ceil(levels*(coverage-n.Quiet)/(n.Full-n.Quiet))))
}

// Strength is how long the noise is beside a vector for a coverage: 0 up to Quiet, and
// behind it lambda·(exp(ln(alpha/lambda)·u)-1), where u grows from 0 to 1 at Full.
func (n Noise) Strength(coverage float64) float64 {
	u := float64(n.level(coverage)) / levels
	return weakest * (math.Exp(math.Log(strongest/weakest)*u) - 1)
}

// Add adds the noise for a coverage to a vector, whose length stays, and reports whether
// there was any. The noise belongs to the key, the input and the strength: who asks again
// gets the same, and averaging over accounts that are alike gains nothing. A vector of
// another length has another. input is a
// digest of what the vector is of.
func (n Noise) Add(v []float64, key, input [32]byte, coverage float64) bool {
	level := n.level(coverage)
	length := norm(v)
	if level == 0 || length == 0 {
		return false
	}
	// The length is part of it: else the noise of one text at two lengths would cancel out.
	chance := stream(key, "noise", binary.BigEndian.AppendUint32(append(input[:], byte(level)), uint32(len(v))))
	each := n.Strength(coverage) * length / math.Sqrt(float64(len(v)))
	for i := range v {
		v[i] += each * normal(chance)
	}
	if now := norm(v); now > 0 {
		for i := range v {
			v[i] *= length / now
		}
	}
	return true
}

func norm(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}
