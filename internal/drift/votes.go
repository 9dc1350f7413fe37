package drift

import "math/bits"

// Votes are how the last windows of each scale found a feature, the newest in the lowest bit.
type Votes struct {
	Moved [len(Scales)]uint8 `json:"moved"`
	Lean  [len(Scales)]uint8 `json:"lean"` // moved by half of what matters
}

// Take takes the vote of a window.
func (v *Votes) Take(scale int, o *Outcome) {
	if !o.Enough {
		return // too little came: it says nothing, and is no vote for either side
	}
	put := func(to *uint8, is bool) {
		if *to = *to << 1 & recent; is {
			*to |= 1
		}
	}
	put(&v.Moved[scale], o.Moved())
	put(&v.Lean[scale], o.Q <= Rate && o.Effect >= 0.5)
}

// Confirmed is the first scale on which the feature is confirmed to have moved; -1: none.
func (v *Votes) Confirmed() int {
	for s, h := range v.Moved {
		if bits.OnesCount8(h) >= confirm {
			return s
		}
	}
	return -1
}

// MostVotes is how many of the last five windows of a scale found it, of the scale where most did.
func MostVotes(history [len(Scales)]uint8) (n int) {
	for _, h := range history {
		n = max(n, bits.OnesCount8(h))
	}
	return n
}
