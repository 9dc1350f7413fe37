package figure

// The measures of a gauge, in its own units.
const (
	gaugeWidth  = 320
	gaugeHeight = 34
	gaugeRoom   = 1.15 // how much of the scale is beyond the larger of the two
	gaugeEdge   = 34   // for half a label at either end
)

// A Gauge is a score beside the threshold that it is held to, as it is drawn: a bar, and a
// mark across it.
type Gauge struct {
	Width, Height int
	Bar           int // how long the bar is
	Mark          int // where the mark is
	Label         int // where the mark's label has its middle, inside the picture
	Over          bool
}

// NewGauge draws a score and its threshold. What is no number, or below nothing, is drawn
// as nothing; what has no end, to the edge.
func NewGauge(score, threshold float64) *Gauge {
	s, t := drawn(score), drawn(threshold)
	g := &Gauge{Width: gaugeWidth, Height: gaugeHeight, Over: s > t}
	if most := max(s, t) * gaugeRoom; most > 0 {
		g.Bar, g.Mark = int(gaugeWidth*(s/most)), int(gaugeWidth*(t/most))
	}
	g.Label = min(max(g.Mark, gaugeEdge), gaugeWidth-gaugeEdge)
	return g
}
