package screen

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pavise/pavise/internal/ticket"
	"github.com/pavise/pavise/internal/verbs"
)

func printTicketGiven(w io.Writer, g ticket.Given) {
	if strings.HasSuffix(g.Kind, "-deployments") {
		fmt.Fprintf(w, "%s: deployments of %s wait until others have decided here\n", g.Name, g.Place)
	} else {
		fmt.Fprintf(w, "%s: changes are told to %s\n", g.Name, g.Place)
	}
	if g.Secret != "" {
		fmt.Fprintf(w, "\n  %s\n\ngive that to the tool, which verifies messages with it, or signs with it what it says: it is shown once\n", g.Secret)
	}
}

func printTools(w io.Writer, l verbs.ToolList) {
	if len(l.Tools) == 0 {
		fmt.Fprintln(w, "changes are told to no tool; pavise ticket put NAME does that")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "TOOL", "KIND", "WHERE", "STATE", "OPEN", "BEHIND", "ACCOUNTS", "PROBLEM")
	for _, t := range l.Tools {
		row(tw, t.Name, t.Kind, t.Place, toolState(t), t.Open, t.Behind, t.Known, clip(t.Problem))
	}
	tw.Flush()
}

func toolState(t ticket.Tool) string {
	if t.Since.IsZero() {
		return t.State
	}
	return t.State + " since " + At(t.Since)
}

func printShownTool(w io.Writer, s ticket.Shown) {
	fmt.Fprintf(w, "%s is a %s at %s: %s\n", s.Name, s.Kind, s.Place, toolState(s.Tool))
	if s.Problem != "" {
		fmt.Fprintf(w, "  %s\n", strings.Map(shown, s.Problem))
	}
	fmt.Fprintf(w, "  %s, %s not told yet\n", Count(s.Open, "open ticket"), Count(s.Behind, "step"))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(s.Accounts) > 0 {
		row(tw, "ACCOUNT", "PERSON", "ROLES", "UNTIL", "CHANGE")
		for _, m := range s.Accounts {
			row(tw, m.Account, m.Person.ID, strings.Join(m.Roles, ", "), At(m.Until), m.Change.ID)
		}
		tw.Flush()
	}
	if len(s.Deployments) > 0 {
		row(tw, "DEPLOYMENT", "TO", "COMMIT", "STATE", "CHANGE", "WHERE")
		for _, d := range s.Deployments {
			row(tw, d.ID, clip(d.Environment), d.SHA[:min(len(d.SHA), 12)], d.State, d.Change.ID, d.URL)
		}
		tw.Flush()
	}
	if len(s.Tickets) == 0 {
		return
	}
	row(tw, "CHANGE", "TICKET", "ENDED", "WHERE")
	for _, t := range s.Tickets {
		row(tw, t.Change.ID, t.Name, yesNo(t.Ended), t.URL)
		for _, h := range t.Words {
			row(tw, "  "+h.Word, clip(h.CameTo), "", "")
		}
	}
	tw.Flush()
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func printToolTried(w io.Writer, t ticket.Tried) {
	if t.Works {
		fmt.Fprintf(w, "it works: it answered after %s\n", t.Took.Round(time.Millisecond))
		return
	}
	fmt.Fprintf(w, "it does not work: %s\n", t.Why)
}
