package screen

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/pavise/pavise/internal/catalog"
)

// suspectsShown is how many rows are printed.
const suspectsShown = 20

// screened says how a screening stands, in a line.
func screened(s *catalog.Screening, said string) string {
	what := "what was found"
	if s.Version > 0 {
		what = fmt.Sprintf("version %d", s.Version)
	}
	what += ", " + s.Root.String()[:12]
	switch s.State {
	case catalog.ScreenWaiting:
		what += " waits for its turn since " + At(s.Asked)
		if s.Stopped > 0 {
			what += ", to be begun anew"
		}
	case catalog.ScreenUnderWay:
		what += " is under way since " + At(s.Begun)
		if s.Begins > 1 {
			what += fmt.Sprintf(", begun anew %s", Count(s.Begins-1, "time"))
		}
		if said != "" {
			what += ": " + strings.Map(shown, said)
		}
	case catalog.ScreenUnscreened:
		what += " could not be, " + At(s.Ended) + ": " + strings.Map(shown, s.Problem)
	default:
		what += fmt.Sprintf(" %s: %d of %s to quarantine", At(s.Ended), s.Judged.Quarantine, Count(s.Judged.Rows, "row"))
		if n := s.Judged.Apart + s.Judged.Untrusted; n > 0 {
			what += fmt.Sprintf("; %s not looked at, or not trusted", Count(n, "file"))
		}
		if s.Baseline > 0 {
			what += fmt.Sprintf("; %d are of version %d, and trusted", s.Judged.Trusted, s.Baseline)
		}
	}
	return what
}

// printScreening prints what came of a screening for people.
func printScreening(w io.Writer, r catalog.Reported) {
	s := &r.Screening
	fmt.Fprintf(w, "%s: %s\n", r.Name.ID, screened(s, r.Said))
	if r.Report == nil {
		return
	}
	fmt.Fprintf(w, "  by the class in %.80q, of %s; what is said is of the bytes with the root %s\n\n", s.Label, Count(s.Judged.Columns, "column"), s.Root)
	for _, o := range s.Judged.Screens {
		if o.Silence != "" {
			fmt.Fprintf(w, "  %-12s did not look: %s\n", o.Screen, strings.Map(shown, o.Silence))
			continue
		}
		fmt.Fprintf(w, "  %-12s %7d rows\n", o.Screen, o.Found)
		for _, remark := range o.Remarks {
			fmt.Fprintf(w, "  %-12s %s\n", "", strings.Map(shown, remark))
		}
	}
	printSuspects(w, r)
	for _, n := range r.Report.Notes {
		fmt.Fprintf(w, "\nnote: %s", strings.Map(shown, n))
	}
	fmt.Fprintln(w, "\n\nwhat this cannot see:")
	for _, b := range r.Report.Blind {
		fmt.Fprintf(w, "  - %s\n", b)
	}
	if n := len(s.Judged.Dropped); n > 0 {
		fmt.Fprintf(w, "\nof the baseline, %s NOT looked at\n", Count(n, "column"))
	}
	if n := s.Judged.Apart; n > 0 {
		fmt.Fprintf(w, "\n%s NOT looked at: no rows are sealed of them\n", Count(n, "file"))
	}
	if n := s.Judged.Untrusted; n > 0 {
		fmt.Fprintf(w, "\n%s NOT trusted: the columns may be others than in the baseline\n", Count(n, "file"))
	}
	fmt.Fprintf(w, "\nto quarantine: %d of %s; nothing was deleted\n", s.Judged.Quarantine, Count(s.Judged.Rows, "row"))
}

func printSuspects(w io.Writer, r catalog.Reported) {
	if len(r.Report.Rows) == 0 {
		fmt.Fprintln(w, "\nno row is bad enough for quarantine")
		return
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "FILE", "ROW", "SCORE", "WHY")
	for _, one := range r.Report.Rows[:min(len(r.Report.Rows), suspectsShown)] {
		why := ""
		if len(one.Reasons) > 0 {
			why = strings.Map(shown, one.Reasons[0].Words)
		}
		row(tw, fileShown(one.File), one.Row, fmt.Sprintf("%.2f", one.Score), why)
	}
	tw.Flush()
	if more := r.Screening.Judged.Quarantine - suspectsShown; more > 0 {
		fmt.Fprintf(w, "and %d more; --json lists %d, and digests of %d\n", more, len(r.Report.Rows), len(r.Report.Quarantine))
	}
	told := false
	for _, p := range r.Report.Patterns[:min(len(r.Report.Patterns), suspectsShown)] {
		if p.Strength < 1 {
			break
		}
		if !told {
			fmt.Fprintln(w, "\n  triggers")
			told = true
		}
		fmt.Fprintf(w, "  %6.2f  %s called %q: %s\n", p.Strength, Count(p.Rows, "row"), p.Class, strings.Map(shown, p.Text))
	}
}

// A Screening is what came of a screening, as it reads in a terminal.
type Screening struct{ catalog.Reported }

// Print prints it for people.
func (s Screening) Print(w io.Writer) { printScreening(w, s.Reported) }
