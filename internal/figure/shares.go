package figure

import (
	"fmt"
	"math"
)

// The measures of shares, in their own units.
const (
	sharesWidth  = 360
	sharesHeight = 120
	sharesTop    = 8
	sharesFoot   = 100 // where bars stand
)

// Shares are how rows fall into bins, once and now, as they are drawn: for each bin two bars,
// one before the other, that of once the wider.
type Shares struct {
	Width, Height, Foot int
	Bars                []ShareBar
	From, To            string // what the first and the last bin are called
	Words               string // the same for who does not see it
}

// A ShareBar is one bin.
type ShareBar struct {
	X, Width       int
	Once, OnceY    int // how high the bar of once is, and where it begins
	NowX, NowWidth int
	Now, NowY      int
	Words          string // what the bin is called, and both shares
	More           bool   // it holds much more than once
}

// NewShares draws the shares of rows in each bin, of once and of now, under the bins' names.
// What has no name, or is no number, is drawn as nothing.
func NewShares(names []string, once, now []float64) *Shares {
	n := min(len(names), len(once), len(now))
	s := &Shares{Width: sharesWidth, Height: sharesHeight, Foot: sharesFoot}
	if n == 0 {
		s.Words = "no rows"
		return s
	}
	var most, moved float64
	worst := 0
	for i := range n {
		most = max(most, drawn(once[i]), drawn(now[i]))
		if by := math.Abs(drawn(now[i]) - drawn(once[i])); by > moved {
			moved, worst = by, i
		}
	}
	step := float64(sharesWidth) / float64(n)
	for i := range n {
		x, end := int(float64(i)*step), int(float64(i+1)*step)
		bar := ShareBar{X: x, Width: max(1, end-x-1), Once: height(once[i], most), Now: height(now[i], most),
			Words: fmt.Sprintf("%s: %s, was %s", names[i], percent(now[i]), percent(once[i])), More: drawn(now[i]) > 2*drawn(once[i]) && drawn(now[i]) > 0.01}
		inset := bar.Width / 4
		bar.NowX, bar.NowWidth = bar.X+inset, max(1, bar.Width-2*inset)
		bar.OnceY, bar.NowY = sharesFoot-bar.Once, sharesFoot-bar.Now
		s.Bars = append(s.Bars, bar)
	}
	s.From, s.To = names[0], names[n-1]
	s.Words = fmt.Sprintf("shares of rows in %d bins; the one that moved most is %s", n, s.Bars[worst].Words)
	return s
}

func height(share, most float64) int {
	if most == 0 {
		return 0
	}
	return int(math.Round((sharesFoot - sharesTop) * (drawn(share) / most)))
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*min(drawn(share), 1)) }
