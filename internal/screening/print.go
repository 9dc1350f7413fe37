package screening

import (
	"fmt"
	"io"
	"strings"

	"github.com/pavise/pavise/internal/figure"
)

// worstShown is how many rows are printed for people.
const worstShown = 20

// Print prints the report for people.
func (s *Screened) Print(w io.Writer) {
	against := "without a baseline"
	if s.Baseline != "" {
		against = fmt.Sprintf("against %d trusted rows of %s", s.Trusted, s.Baseline)
	}
	fmt.Fprintf(w, "%s: %d rows of %d columns, %s\n\n", s.File, s.Total, s.Columns, against)
	for _, o := range s.Screens {
		if o.Silence != "" {
			fmt.Fprintf(w, "  %-12s did not look: %s\n", o.Screen, o.Silence)
			continue
		}
		fmt.Fprintf(w, "  %-12s %7d rows  %s\n", o.Screen, o.Found, bar(o.Found, s.Total))
		for _, r := range o.Remarks {
			fmt.Fprintf(w, "  %-12s %s\n", "", r)
		}
	}
	s.printWorst(w)
	s.printPatterns(w)
	for _, n := range s.Notes {
		fmt.Fprintf(w, "\nnote: %s", n)
	}
	fmt.Fprintln(w, "\n\nwhat this cannot see:")
	for _, b := range s.Blind {
		fmt.Fprintf(w, "  - %s\n", b)
	}
	if len(s.Dropped) > 0 {
		fmt.Fprintf(w, "\ncolumns of the baseline that were NOT looked at: %s\n", inWords(s.Dropped))
	}
	fmt.Fprintf(w, "\nto quarantine: %d of %d rows; nothing was deleted. recorded: false (this command leaves no record)\n", len(s.Quarantine), s.Total)
}

// bar draws a share of the rows, on a scale on which 10 % fill it.
func bar(n, all int) string {
	const full = 30
	length := min((n*10*full+all-1)/max(all, 1), full)
	return strings.Repeat("█", length)
}

func (s *Screened) printWorst(w io.Writer) {
	order := make([]int, len(s.Rows))
	for i, r := range s.Rows {
		order[r.Rank-1] = i
	}
	if len(order) == 0 || s.Rows[order[0]].Score < 1 {
		fmt.Fprintln(w, "\nno row is bad enough for quarantine")
		return
	}
	fmt.Fprintf(w, "\n  %9s %9s %7s  why\n", "row", "line", "score")
	for _, i := range order[:min(len(order), worstShown)] {
		r := s.Rows[i]
		if r.Score < 1 {
			break
		}
		fmt.Fprintf(w, "  %9d %9d %7.2f  %s\n", r.Row, r.Line, r.Score, r.Reasons[0].Words)
	}
	if more := len(s.Quarantine) - worstShown; more > 0 {
		fmt.Fprintf(w, "  and %d more; --json lists them all\n", more)
	}
}

func (s *Screened) printPatterns(w io.Writer) {
	for k, p := range s.Patterns {
		if p.Strength < 1 || k == worstShown {
			break
		}
		if k == 0 {
			fmt.Fprintln(w, "\n  triggers")
		}
		fmt.Fprintf(w, "  %6.2f  %s called %q: %s\n", p.Strength, figure.Count(p.Rows, "row"), p.Class, p.Text)
	}
}
