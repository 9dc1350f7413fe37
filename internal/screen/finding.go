package screen

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/verbs"
)

func printFindings(w io.Writer, l siem.List) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "RECORD", "TIME", "SEVERITY", "WHO", "WHAT", "WHY")
	for _, f := range l.Findings {
		who := f.Source
		if f.Who != (pavise.Name{}) {
			who = f.Who.Kind + "/" + f.Who.ID
		}
		what := f.Title
		if f.Count > 1 {
			what = fmt.Sprintf("%s (%d times)", what, f.Count)
		}
		row(tw, f.Record, Second(f.At), f.Severity, clip(who), what, clip(f.Summary))
	}
	tw.Flush()
	if len(l.Findings) == 0 {
		fmt.Fprintln(w, "nothing that a person should look at")
	}
	if l.More {
		fmt.Fprintf(w, "there may be older ones: --before %d\n", l.Before)
	}
}

func printGiven(w io.Writer, g siem.Given) {
	fmt.Fprintf(w, "%s: findings go to %s, signed with %s\n", g.Name, g.Host, g.Scheme)
	if g.Secret != "" {
		fmt.Fprintf(w, "\n  %s\n\ngive that to the receiver, which verifies with it", g.Secret)
		if g.Scheme == "ed25519" {
			fmt.Fprintln(w, ": it is public")
		} else {
			fmt.Fprintln(w, ": it is shown once")
		}
	}
}

func printReceivers(w io.Writer, l verbs.ReceiverList) {
	if len(l.Receivers) == 0 {
		fmt.Fprintln(w, "findings are sent to nobody; pavise siem put NAME URL sends them to a webhook")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "RECEIVER", "WHERE", "SIGNED", "STATE", "NEXT RECORD", "PROBLEM")
	for _, e := range l.Receivers {
		signed := e.Scheme
		if e.Keys > 1 {
			signed += fmt.Sprintf(", by %d keys", e.Keys)
		}
		state := e.State
		if !e.Since.IsZero() {
			state += " since " + At(e.Since)
		}
		row(tw, e.Name, e.Host, signed, state, e.Next, clip(e.Problem))
	}
	tw.Flush()
}

func printTried(w io.Writer, t siem.Tried) {
	if t.Taken {
		fmt.Fprintf(w, "taken: it answered %d after %s\n", t.Status, t.Took.Round(time.Millisecond))
		return
	}
	fmt.Fprintf(w, "not taken: %s\n", t.Why)
}
