package extraction

import (
	"fmt"
	"math"

	"github.com/pavise/pavise/internal/learn"
)

// A Share is how many of some rows, with the interval that holds the true share in 95 of
// 100 cases: Wilson's score interval (1927).
type Share struct {
	Count int     `json:"count"`
	Of    int     `json:"of"`
	Share float64 `json:"share"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// NewShare returns count of so many, of which there is one at least.
func NewShare(count, of int) Share {
	const z = 1.959963984540054 // of a normal distribution, 95 of 100 within
	n, p := float64(of), float64(count)/float64(of)
	middle := (p + z*z/(2*n)) / (1 + z*z/n)
	reach := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	s := Share{Count: count, Of: of, Share: p, Low: max(middle-reach, 0), High: min(middle+reach, 1)}
	if count == 0 {
		s.Low = 0
	}
	if count == of {
		s.High = 1
	}
	return s
}

// String says the share with its interval, in per cent.
func (s Share) String() string {
	return fmt.Sprintf("%.1f %% (%.1f–%.1f)", 100*s.Share, 100*s.Low, 100*s.High)
}

// A Held is rows that no attack asked about, with what the victim says of them.
type Held struct {
	X      learn.Matrix
	Victim []int // its top class of each row
	Labels []int // the truth, if known; nil, or as long as Victim
}

// A Fidelity is how like the victim a copy is, on rows held back.
type Fidelity struct {
	Agreement Share  `json:"agreement"`          // rows that get the same top class
	Accuracy  *Share `json:"accuracy,omitempty"` // rows that get the true one
}

// Compare returns how like the victim a copy is. There must be rows.
func Compare(s Surrogate, held Held) Fidelity {
	same, right := 0, 0
	for i, top := range s.Predict(held.X).ArgMax() {
		if top == held.Victim[i] {
			same++
		}
		if held.Labels != nil && top == held.Labels[i] {
			right++
		}
	}
	f := Fidelity{Agreement: NewShare(same, held.X.Rows)}
	if held.Labels != nil {
		accuracy := NewShare(right, held.X.Rows)
		f.Accuracy = &accuracy
	}
	return f
}

// Ladder returns the numbers of rows at which a copy is measured: 100, 300, 1,000, 3,000
// and so on, and the number given, with which it ends.
func Ladder(rows int) (rungs []int) {
	for n, next := 100, 300; n < rows; n, next = next, 10*n {
		rungs = append(rungs, n)
	}
	return append(rungs, rows)
}

// A Point is a copy of one number of rows.
type Point struct {
	Rows int     `json:"rows"` // asked, cover with them
	Own  int     `json:"own"`  // of those, the attack's own, repeated ones counted once
	Bits float64 `json:"bits"` // disclosed by the answers to all of them, at most
	Fidelity
}

// Measure makes a copy of the first rows asked, compares it, and returns both.
func (a *Attack) Measure(t Theft, rows int, held Held) (Point, Surrogate, error) {
	s, err := a.Steal(t, rows)
	if err != nil {
		return Point{}, nil, err
	}
	own, _ := a.gathered(rows)
	return Point{Rows: rows, Own: own.Rows, Bits: a.Bits(rows), Fidelity: Compare(s, held)}, s, nil
}

// A Recommendation is how much may be answered before a copy passes a bound.
type Recommendation struct {
	Bound float64 `json:"bound"`
	// Of the points measured, the last before any copy could be like the victim in more
	// than the bound's share, by the upper end of its interval; 0: the first one was already.
	Rows int     `json:"rows"`
	Bits float64 `json:"bits"`
	// Reached is the first point at which one was, or nil.
	Reached *Point `json:"reached,omitempty"`
}

// Recommend reads a budget off curves, each of which rises in rows.
func Recommend(bound float64, curves ...[]Point) Recommendation {
	r := Recommendation{Bound: bound}
	for _, curve := range curves {
		for _, p := range curve {
			if p.Agreement.High > bound {
				if r.Reached == nil || p.Rows < r.Reached.Rows {
					r.Reached = &p
				}
				break
			}
		}
	}
	for _, curve := range curves {
		for _, p := range curve {
			if (r.Reached == nil || p.Rows < r.Reached.Rows) && p.Rows >= r.Rows && (p.Rows > r.Rows || p.Bits < r.Bits) {
				r.Rows, r.Bits = p.Rows, p.Bits
			}
		}
	}
	return r
}
