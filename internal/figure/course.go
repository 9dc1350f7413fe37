package figure

import (
	"fmt"
	"strings"
)

// The measures of a course, in its own units.
const (
	courseWidth  = 360
	courseHeight = 84
	courseTop    = 10
	courseFoot   = 72
	courseRoom   = 1.15
)

// A Course is a value over time beside the threshold that it is held to, as it is drawn: a
// line through points, and a line across.
type Course struct {
	Width, Height, Foot int
	Path                string // of the line, as SVG writes it
	Points              []CoursePoint
	Line                int    // how high the threshold is
	Words               string // the same for who does not see it
}

// A CoursePoint is the value at one time.
type CoursePoint struct {
	X, Y  int
	Over  bool
	Words string
}

// NewCourse draws values, the oldest first, each under its name. What is no number, or below
// nothing, is drawn as nothing.
func NewCourse(names []string, values []float64, threshold float64) *Course {
	n := min(len(names), len(values))
	most := drawn(threshold)
	for _, v := range values[:n] {
		most = max(most, drawn(v))
	}
	high := func(v float64) int {
		if most == 0 {
			return courseFoot
		}
		return courseFoot - int((courseFoot-courseTop)*(drawn(v)/(most*courseRoom)))
	}
	c := &Course{Width: courseWidth, Height: courseHeight, Foot: courseFoot, Line: high(threshold)}
	var path strings.Builder
	over := 0
	for i, v := range values[:n] {
		p := CoursePoint{X: courseWidth / 2, Y: high(v), Over: drawn(v) > drawn(threshold), Words: fmt.Sprintf("%s: %.2f", names[i], drawn(v))}
		if n > 1 {
			p.X = 4 + i*(courseWidth-8)/(n-1)
		}
		if p.Over {
			over++
		}
		letter := "L"
		if i == 0 {
			letter = "M"
		}
		fmt.Fprintf(&path, "%s%d %d", letter, p.X, p.Y)
		c.Points = append(c.Points, p)
	}
	c.Path = path.String()
	c.Words = fmt.Sprintf("%d values, %d of them above %.2f", n, over, threshold)
	if n > 0 {
		c.Words += "; the last is " + c.Points[n-1].Words
	}
	return c
}
