package figure

import "strings"

// sparks are the heights of a bar, from nothing to full.
var sparks = []rune(" ▁▂▃▄▅▆▇█")

// Spark draws shares as a row of bars, one for each, the tallest as high as most. What is there
// at all is seen.
func Spark(shares []float64, most float64) string {
	var b strings.Builder
	for _, s := range shares {
		i := 0
		if s > 0 && most > 0 {
			i = min(max(int(s/most*float64(len(sparks)-1)+0.5), 1), len(sparks)-1)
		}
		b.WriteRune(sparks[i])
	}
	return b.String()
}
