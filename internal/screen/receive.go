package screen

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/pavise/pavise/internal/receiver"
	"github.com/pavise/pavise/internal/verbs"
)

func printReceiving(w io.Writer, s receiver.Standing) {
	fmt.Fprintf(w, "%s is fetched from %s, every %s\n", s.Source, s.From, s.Every)
	if s.Silence > 0 {
		fmt.Fprintf(w, "that nothing comes for %s is a finding\n", s.Silence)
	}
}

func printStandings(w io.Writer, l verbs.StandingList) {
	if len(l.Receivers) == 0 {
		fmt.Fprintln(w, "nothing is fetched; pavise ingest receive has records of a source fetched")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "SOURCE", "FROM", "STATE", "ADMITTED", "HELD", "REFUSED", "LAST", "WHERE", "PROBLEM")
	for _, s := range l.Receivers {
		state := s.State
		if !s.Since.IsZero() {
			state += " since " + At(s.Since)
		}
		row(tw, s.Source, s.From, state, s.Admitted, s.Held, s.Refused, At(s.Came), s.Where, clip(s.Problem))
	}
	tw.Flush()
}
