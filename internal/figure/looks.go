package figure

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The measures of looks, in their own units.
const (
	looksWidth  = 320
	looksHeight = 120
	looksTop    = 18  // above the tallest bar, for what it says
	looksFoot   = 100 // where bars stand
	looksRoom   = 1.15
	looksGap    = 12 // between bars
)

// Looks are the scores that somebody had at each look, beside the threshold that all are held
// to, as they are drawn: a bar for each, and a line across them.
type Looks struct {
	Width, Height, Foot int
	Bars                []LookBar
	Line                int    // how high the threshold is
	Words               string // the same for who does not see it
}

// A LookBar is one look.
type LookBar struct {
	X, Y, Width, Height int
	Middle              int    // of the bar, where its labels have theirs
	After               string // how many rows
	Foot                string // the same, as short as the bar is narrow: 1.5k
	Score               string // "" where nobody looked yet
	Over                bool
}

// NewLooks draws the scores at looks after so many rows, of which the first looked were. What
// is no number, or below nothing, is drawn as nothing; what has no end, to the top.
func NewLooks(after []int, scores []float64, looked int, threshold float64) *Looks {
	looked = max(0, min(looked, len(after), len(scores)))
	most := drawn(threshold)
	for _, v := range scores[:looked] {
		most = max(most, drawn(v))
	}
	high := func(v float64) int {
		if most == 0 {
			return 0
		}
		return int((looksFoot - looksTop) * (drawn(v) / (most * looksRoom)))
	}
	l := &Looks{Width: looksWidth, Height: looksHeight, Foot: looksFoot, Line: looksFoot - high(threshold)}
	step := looksWidth / max(1, len(after))
	said := make([]string, 0, len(after))
	for i, n := range after {
		bar := LookBar{X: i*step + looksGap/2, Y: looksFoot, Width: step - looksGap, Middle: i*step + step/2, After: Thousands(uint64(max(n, 0))), Foot: thousandth(n)}
		if i < looked {
			bar.Height, bar.Score, bar.Over = high(scores[i]), fmt.Sprintf("%.2f", scores[i]), drawn(scores[i]) > drawn(threshold)
			bar.Y -= bar.Height
			said = append(said, fmt.Sprintf("%s after %s rows", bar.Score, bar.After))
		}
		l.Bars = append(l.Bars, bar)
	}
	l.Words = fmt.Sprintf("scores: %s; the most of honest clients is %.2f", strings.Join(said, ", "), threshold)
	return l
}

// thousandth writes a number in four signs or so: 750, 1.5k.
func thousandth(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return strconv.FormatFloat(math.Round(float64(n)/100)/10, 'f', -1, 64) + "k"
}

// drawn is how much of a score is drawn: of what is no number, or below nothing, nothing.
func drawn(v float64) float64 {
	if math.IsNaN(v) || v < 0 {
		return 0
	}
	return min(v, math.MaxFloat64/4)
}
