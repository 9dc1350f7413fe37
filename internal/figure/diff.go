package figure

import "strings"

// How much of what stays as it is a difference shows around what does not, and how
// many cells the table may have by which it is found: beyond that, all is shown as
// taken away and put there anew.
const (
	diffContext = 3
	diffCells   = 1 << 20
)

// The signs of a line in a difference.
const (
	Same = ""
	Out  = "−"
	In   = "+"
)

// A DiffLine is one line of a difference between two texts, or, with Skipped, that
// many lines which are the same in both and are not shown.
type DiffLine struct {
	Sign    string
	Text    string
	Skipped int
}

// Diff returns the difference between two texts, line by line: what is taken away
// before what comes in its place. A text that is empty has no lines.
func Diff(before, after string) []DiffLine {
	// A text that breaks off is not the same as one that does not: only where both
	// end with their last line do they end alike.
	both := whole(before) && whole(after)
	a, b := lines(before, both), lines(after, both)
	var head, tail []DiffLine
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head = append(head, DiffLine{Text: a[0]})
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append(tail, DiffLine{Text: a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	all := append(head, between(a, b)...)
	for i := len(tail) - 1; i >= 0; i-- {
		all = append(all, tail[i])
	}
	return all
}

// whole reports whether a text ends with the end of its last line.
func whole(text string) bool { return text == "" || strings.HasSuffix(text, "\n") }

// lines returns a text's lines: without the empty one behind the last line's end, if
// the text is whole.
func lines(text string, whole bool) []string {
	if text == "" {
		return nil
	}
	if whole {
		text = strings.TrimSuffix(text, "\n")
	}
	return strings.Split(text, "\n")
}

// between finds a longest run of common lines by the table of all their lengths, and
// returns what lies between.
func between(a, b []string) []DiffLine {
	var all []DiffLine
	width := len(b) + 1
	common := []int32{}
	if (len(a)+1)*width <= diffCells {
		common = make([]int32, (len(a)+1)*width)
		for i := len(a) - 1; i >= 0; i-- {
			for j := len(b) - 1; j >= 0; j-- {
				if a[i] == b[j] {
					common[i*width+j] = common[(i+1)*width+j+1] + 1
				} else {
					common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
				}
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case len(common) > 0 && i < len(a) && j < len(b) && a[i] == b[j]:
			all = append(all, DiffLine{Text: a[i]})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || len(common) == 0 || common[(i+1)*width+j] >= common[i*width+j+1]):
			all = append(all, DiffLine{Sign: Out, Text: a[i]})
			i++
		default:
			all = append(all, DiffLine{Sign: In, Text: b[j]})
			j++
		}
	}
	return all
}

// Fold leaves out what is far from every line that is not the same in both.
func Fold(all []DiffLine) []DiffLine {
	near := make([]bool, len(all))
	for i, l := range all {
		if l.Sign == Same {
			continue
		}
		for k := max(0, i-diffContext); k <= min(len(all)-1, i+diffContext); k++ {
			near[k] = true
		}
	}
	var folded []DiffLine
	for i := 0; i < len(all); {
		end := i
		for end < len(all) && !near[end] {
			end++
		}
		if end-i > 1 { // leaving out a single line would save none
			folded = append(folded, DiffLine{Skipped: end - i})
		} else {
			end = i + 1
			folded = append(folded, all[i])
		}
		i = end
	}
	return folded
}
