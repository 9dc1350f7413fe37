package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A cost is what is drawn of a stage: the less, the better.
type cost struct {
	name, color string
	of          func(stage) float64
}

var costs = []cost{
	{"appending a record", "#0969da", func(s stage) float64 { return 1 / s.appends }},
	{"bytes on disk, each", "#8250df", func(s stage) float64 { return float64(s.segments+s.hashes+s.indexes) / float64(s.records) }},
	{"opening the log", "#cf222e", func(s stage) float64 { return s.open.Seconds() }},
	{"verifying a record", "#1a7f37", func(s stage) float64 { return 1 / s.verified }},
	{"finding 50 of a caller", "#bc4c00", func(s stage) float64 { return s.find.Seconds() }},
	{"proving a record", "#bf3989", func(s stage) float64 { return s.prove.Seconds() }},
}

// The picture, in pixels.
const (
	width, height         = 760, 380
	left, right           = 60, 560 // of the plot
	top, bottom           = 40, 330
	labelStep, labelShift = 17, 4
)

// curve draws, on two logarithmic scales, how many times what it cost in the smallest
// log each thing costs in the larger ones.
func curve(stages []stage, entry int) string {
	least, most := 0.0, 1.0 // powers of ten
	for _, c := range costs {
		for _, s := range stages {
			power := math.Log10(c.of(s) / c.of(stages[0]))
			least, most = min(least, math.Floor(power)), max(most, math.Ceil(power))
		}
	}
	first, last := math.Log10(float64(stages[0].records)), math.Log10(float64(stages[len(stages)-1].records))
	x := func(records uint64) float64 {
		return left + (right-left)*(math.Log10(float64(records))-first)/max(last-first, 1e-9)
	}
	y := func(times float64) float64 {
		return bottom - (bottom-top)*(math.Log10(times)-least)/(most-least)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><g fill="#57606a">`+"\n")
	fmt.Fprintf(&b, `<text x="%d" y="20" font-size="14" fill="#1f2328">Times the cost in a log of %d records, entries of %d bytes</text>`+"\n", left, stages[0].records, entry)
	for power := least; power <= most; power++ {
		at := y(math.Pow(10, power))
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#d0d7de"/><text x="%d" y="%.1f" text-anchor="end">%g ×</text>`+"\n", left, at, right, left-8, at+labelShift, math.Pow(10, power))
	}
	for _, s := range stages {
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#d0d7de"/><text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", x(s.records), top, bottom, x(s.records), bottom+20, s.records)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">records in the log</text></g>`+"\n", (left+right)/2, bottom+38)
	drawCosts(&b, stages, x, y)
	return b.String() + "</svg>\n"
}

// drawCosts draws the lines, and names each at its end, below the name before it where
// they would overlap.
func drawCosts(b *strings.Builder, stages []stage, x func(uint64) float64, y func(float64) float64) {
	end := func(c cost) float64 { return c.of(stages[len(stages)-1]) / c.of(stages[0]) }
	sorted := slices.SortedFunc(slices.Values(costs), func(p, q cost) int { return int(math.Copysign(1, end(q)-end(p))) })
	lowest := -math.MaxFloat64
	for _, c := range sorted {
		var points []string
		for _, s := range stages {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(s.records), y(c.of(s)/c.of(stages[0]))))
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), c.color)
		lowest = max(lowest+labelStep, y(end(c)))
		fmt.Fprintf(b, `<text x="%d" y="%.1f" fill="%s">%s, %.3g ×</text>`+"\n", right+10, lowest+labelShift, c.color, c.name, end(c))
	}
}
