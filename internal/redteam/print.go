package redteam

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/pavise/pavise/internal/extraction"
)

// Print prints the result for people.
func (r *Extracted) Print(w io.Writer) {
	how := []string{"using " + r.Answers}
	for _, part := range []struct {
		said bool
		text string
	}{
		{r.Defence != "full", "defended by " + r.Defence}, {r.Repeat > 1, fmt.Sprintf("each row %d times", r.Repeat)},
		{r.Sybils > 1, fmt.Sprintf("%d identities", r.Sybils)}, {r.Share < 100, fmt.Sprintf("%d %% of the rows are the attack's", r.Share)},
	} {
		if part.said {
			how = append(how, part.text)
		}
	}
	fmt.Fprintf(w, "%s against %s, %s\n\n", r.Attack, r.Target, strings.Join(how, ", "))
	printPoints(w, r.Points)
	if r.Unmeasured != "" {
		fmt.Fprintf(w, "  not measured: %s\n", r.Unmeasured)
	}
	fmt.Fprintln(w)
	fact(w, "asked", "%d of %d rows, which disclosed %s at most", r.Rows, r.Budget, bits(r.Bits))
	switch {
	case r.Refusal != nil:
		fact(w, "refused", "after %d rows, with status %d: %s", r.Refusal.Rows, r.Refusal.Status, r.Refusal.Message)
	case r.Ended == "exhausted":
		fact(w, "ended", "the attack had nothing more to ask")
	}
	if r.Unchanged > 0 {
		fact(w, "unchanged", "%d rows, to which the defence could do nothing", r.Unchanged)
	}
	if r.Paused > 0 {
		fact(w, "paused", "%.0f s in all, as the server asked", r.Paused)
	}
	if r.Found != nil && r.Found.Weights != nil {
		fact(w, "found", "the weights of %d classes; --json shows them", len(r.Found.Weights))
	} else if r.Found != nil {
		n := 0
		for _, list := range r.Found.Thresholds {
			n += len(list)
		}
		fact(w, "found", "%d leaves, %d thresholds; --json shows them", r.Found.Leaves, n)
	}
	r.Detection.print(w)
	if r.Victim != nil {
		fact(w, "model", "right on %s of the held-back rows", r.Victim)
	}
	if r.HeldAsked {
		fact(w, "held back", "%d rows, which the target was asked beside the budget", r.Held)
	} else {
		fact(w, "held back", "%d rows", r.Held)
	}
	fact(w, "ledger", "%s", r.Ledger)
	fact(w, "recorded", "false (this command leaves no record)")
}

func printPoints(w io.Writer, points []extraction.Point) {
	right := slices.ContainsFunc(points, func(p extraction.Point) bool { return p.Accuracy != nil })
	if len(points) > 0 {
		fmt.Fprintf(w, "  %9s %12s  %-24s%s\n", "rows", "disclosed", "copy and model agree", map[bool]string{true: "copy is right"}[right])
	}
	for _, p := range points {
		accuracy := ""
		if p.Accuracy != nil {
			accuracy = p.Accuracy.String()
		}
		fmt.Fprintf(w, "  %9d %12s  %-24s%s\n", p.Rows, bits(p.Bits), p.Agreement, accuracy)
	}
}

// bits says an amount in words.
func bits(n float64) string {
	for _, unit := range []struct {
		of   float64
		name string
	}{{8 << 30, "GiB"}, {8 << 20, "MiB"}, {8 << 10, "KiB"}} {
		if n >= unit.of {
			return fmt.Sprintf("%.1f %s", n/unit.of, unit.name)
		}
	}
	return fmt.Sprintf("%.0f bits", n)
}

// Print prints the curves for people.
func (r *Curves) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %d columns, %d classes, %d rows held back\n", r.Target, r.Columns, r.Classes, r.Held)
	if r.Victim != nil {
		fmt.Fprintf(w, "the model is right on %s of them\n", r.Victim)
	}
	rungs := extraction.Ladder(r.Budget)
	defence := ""
	for _, one := range r.Curves {
		if one.Defence != defence {
			defence = one.Defence
			var heads strings.Builder
			for _, n := range rungs {
				fmt.Fprintf(&heads, " %15d", n)
			}
			fmt.Fprintf(w, "\n%-28s%s rows\n", defence, heads.String())
		}
		fmt.Fprintf(w, "  %-26s%s%s\n", one.Attack+", "+one.Answers, cells(one.Points, rungs), seen(one.Detection))
	}
	fmt.Fprintln(w)
	for _, b := range r.Budgets {
		fmt.Fprintf(w, "%s: %s\n", b.Defence, b.Words)
	}
	fmt.Fprintf(w, "\n%s\nrecorded: false\n", caveat)
}

// cells are the points of a curve below the rungs of a ladder; an attack that ended early
// has its last point below the next one.
func cells(points []extraction.Point, rungs []int) string {
	var b strings.Builder
	for _, p := range points {
		text := fmt.Sprintf("%.2f ±%.2f", p.Agreement.Share, math.Max(p.Agreement.High-p.Agreement.Share, p.Agreement.Share-p.Agreement.Low))
		if at := p.Rows; !slices.Contains(rungs, at) {
			text = fmt.Sprintf("%s @%d", text, at)
		}
		fmt.Fprintf(&b, " %15s", text)
	}
	return b.String()
}

// fact prints one line of a report.
func fact(w io.Writer, name, format string, args ...any) {
	fmt.Fprintf(w, "  %-12s%s\n", name, fmt.Sprintf(format, args...))
}

// seen is when a thief was found, behind a curve.
func seen(d *Detection) string {
	switch {
	case d == nil:
		return ""
	case d.First == nil:
		return "   not detected"
	}
	return fmt.Sprintf("   detected after %d rows", d.Rows)
}
