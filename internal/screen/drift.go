package screen

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/monitor"
)

func printDrifts(w io.Writer, l monitor.List) {
	if len(l.Models) == 0 {
		fmt.Fprintln(w, "no model was asked yet that is watched")
	} else {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		row(tw, "MODEL", "STAGE", "CAUSE", "SINCE", "FEATURES", "WHY")
		for _, v := range l.Models {
			row(tw, v.Model.ID, v.Verdict.Stage, v.Verdict.Cause, At(v.Verdict.Since), v.Features, v.Verdict.Words)
		}
		tw.Flush()
	}
	if l.Unwatched > 0 {
		fmt.Fprintf(w, "%s with models that nobody watches: there is room for no more\n", Count(l.Unwatched, "exchange"))
	}
}

func printDriftView(w io.Writer, v monitor.View) {
	fmt.Fprintf(w, "%s is %s", v.Model, v.Verdict.Stage)
	if v.Verdict.Cause != "" {
		fmt.Fprintf(w, ", by %s", v.Verdict.Cause)
	}
	fmt.Fprintf(w, ": %s\n", clip(v.Verdict.Words))
	if v.Verdict.Done != "" {
		fmt.Fprintf(w, "  done      %s\n", clip(v.Verdict.Done))
	}
	if v.Verdict.Reason != "" {
		fmt.Fprintf(w, "  %s says %s: %s\n", v.Verdict.By, said(v.Verdict), clip(v.Verdict.Reason))
	}
	fmt.Fprintf(w, "  answers   %s", clip(v.Version))
	if v.Former != "" {
		fmt.Fprintf(w, ", since %s; before: %s", At(v.Switched), clip(v.Former))
	}
	fmt.Fprintln(w)
	if v.Baseline != "" {
		fmt.Fprintf(w, "  held to   %s, %s", v.Baseline, Count(v.Features, "feature"))
		if v.First != "" {
			fmt.Fprintf(w, "; and to the first baseline, %s", v.First)
		}
		fmt.Fprintln(w)
		if v.Original != "" {
			fmt.Fprintf(w, "  original  %s, which is kept, and nothing is held to\n", v.Original)
		}
	}
	if v.Wanted > 0 {
		fmt.Fprintf(w, "  learning  %d of %s\n", v.Learning, Count(v.Wanted, "row"))
	}
	fmt.Fprintf(w, "  counted   %s since the start, and %d that there was no time for\n", Count(v.Counted, "exchange"), v.Missed)
	for _, name := range v.Passed {
		fmt.Fprintf(w, "  %s is not looked at: its rows have no one form\n", clip(name))
	}
}

// said is what a person said of a verdict.
func said(v monitor.Verdict) string {
	if v.Person == "" {
		return "that it is no drift"
	}
	return "that it is " + string(v.Person)
}

// driftsShown is how many features are shown that did not move.
const driftsShown = 5

func printDrift(w io.Writer, s monitor.Shown) {
	s.View.Features = s.Held
	printDriftView(w, s.View)
	for _, p := range s.Versions {
		own := ""
		if p.Inherited {
			own = ", as the one before"
		}
		fmt.Fprintf(w, "  version   %s is held to %s%s, since %s\n", clip(p.Version), p.Baseline, own, At(p.At))
	}
	rest := 0
	for _, f := range s.Features {
		if !f.Moved && !f.Suspected {
			if rest++; rest > driftsShown {
				continue
			}
		}
		printFeature(w, f)
	}
	if more := rest - driftsShown; more > 0 {
		fmt.Fprintf(w, "\n  and %d more that did not move\n", more)
	}
	if n := len(s.Past); n > 0 {
		last := s.Past[n-1]
		fmt.Fprintf(w, "\nthe last window of %s ended %s: %s\n", s.Window, At(last.At), Count(last.Rows, "row"))
	}
}

// printFeature prints how a feature stands, both distributions, and what windows found of it.
func printFeature(w io.Writer, f monitor.FeatureView) {
	state := "as it was"
	switch {
	case f.Kind == "":
		state = "held to nothing"
	case f.Moved:
		state = "moved"
	case f.Suspected:
		state = "suspected"
	}
	fmt.Fprintf(w, "\n  %-9s  %s (%s)\n", state, clip(f.Name), f.Side)
	most := 0.0
	for i := range f.Was {
		most = max(most, f.Was[i], f.Is[i])
	}
	if most > 0 {
		fmt.Fprintf(w, "             was │%s│\n             is  │%s│\n", figure.Spark(f.Was, most), figure.Spark(f.Is, most))
	}
	for _, m := range f.Windows {
		to := ""
		if m.First {
			to = ", to the first baseline"
		}
		fmt.Fprintf(w, "             %-4s effect %.2f of what matters, p %.2g, q %.2g, %d of 5 windows%s\n", m.Length, m.Effect, m.P, m.Q, m.Agree, to)
	}
}
