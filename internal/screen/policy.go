package screen

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/verbs"
)

func printPolicies(w io.Writer, l verbs.PolicyList) {
	for _, p := range l.Policies {
		fmt.Fprintf(w, "# %s\n%s\n\n", p.ID, strings.TrimSpace(p.Text))
	}
	fmt.Fprintf(w, "# digest of all in force, guardrails included: %s\n", l.Digest)
}

func printExplanation(w io.Writer, x guard.Explanation) {
	if x.Decision == "" {
		fmt.Fprintf(w, "%s: %s\n", x.Status, x.Why)
	} else {
		fmt.Fprintf(w, "%s (%s): %s\n", x.Decision, x.Status, x.Why)
	}
	for _, rule := range x.Decided {
		fmt.Fprintf(w, "\n# decided by the %s policy %s\n%s\n", rule.Layer, rule.ID, strings.TrimSpace(rule.Text))
	}
	if len(x.Roles) > 0 {
		fmt.Fprintf(w, "\nany of these roles would turn it: %s\n", strings.Join(x.Roles, ", "))
	}
	for _, e := range x.Errors {
		fmt.Fprintln(w, "could not be evaluated:", e)
	}
}

func printWhoCan(w io.Writer, req *verbs.WhoCanRequest, a verbs.WhoCan) {
	if a.Facts != "" {
		fmt.Fprintf(w, "%s is %s\n", req.On, policy.Words(a.Facts))
	}
	if len(a.Holders) == 0 {
		fmt.Fprintf(w, "nobody may do %s on %s as it is now; pavise policy explain %s %s says why\n", req.Verb, req.On, req.Verb, req.On)
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "WHO", "HOW", "BY POLICY")
	for _, h := range policy.Groups(a.Holders) {
		who := h.Whom()
		switch {
		case h.Name != (pavise.Name{}):
			who = h.Name.String()
		case h.Role != "":
			who += " with the role " + h.Role
		}
		if len(h.Granted) > 0 {
			who += ", granted " + strings.Join(h.Granted, ", ")
		}
		how := "at once"
		if h.Change {
			how = "as an approved change"
		}
		row(tw, who, how, h.Policy)
	}
	tw.Flush()
}

func printDiff(w io.Writer, p guard.Preview) {
	if p.Before == p.After {
		fmt.Fprintln(w, "nothing changes: the policies are as they would be")
		return
	}
	printFlips(w, p.Difference)
}

// printFlips lists decisions that come out otherwise.
func printFlips(w io.Writer, d policy.Difference) {
	if d.Total == 0 && !d.Partial {
		fmt.Fprintln(w, "no decision turns, of any role in any state that policies tell apart; conditions on anything else are not seen")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "WHO", "DOES", "ON", "WHEN", "WAS", "WILL BE", "BY POLICY")
	for _, f := range d.Turns() {
		row(tw, turnWho(f), f.Verb, f.On, cmp.Or(strings.Join(each(f.When, policy.Words), "; "), "always"), f.Was, f.Will, cmp.Or(f.Policy, "none permits it"))
	}
	tw.Flush()
	if d.Total > len(d.Flips) {
		fmt.Fprintf(w, "and %d more\n", d.Total-len(d.Flips))
	}
	if d.Partial {
		fmt.Fprintln(w, "there were more questions than are asked: there may be more")
	}
	if d.Conditions {
		fmt.Fprintln(w, "what turns under a condition on anything else (an issuer, a time) is not listed: read the text")
	}
}

func each(list []string, f func(string) string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = f(s)
	}
	return out
}

// turnWho says whose decisions turn.
func turnWho(t policy.Turn) string {
	who := t.Whom()
	if t.Role != "" {
		who += " with the role " + t.Role
	}
	if t.Environment != "" {
		who += " in " + t.Environment
	}
	return who
}

func printMatrix(w io.Writer, req *verbs.MatrixRequest, m verbs.Matrix) {
	if len(m.Rows) == 0 && !m.Partial {
		fmt.Fprintln(w, "no such verb or role; these roles are known:", strings.Join(m.Roles, ", "))
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "VERB", "ON", "WHEN", "WHO")
	for rows := m.Rows; len(rows) > 0; {
		same := 1 // as many as say the same
		for same < len(rows) && rows[same].Verb == rows[0].Verb && rows[same].On == rows[0].On && maps.EqualFunc(rows[same].Who, rows[0].Who, slices.Equal) {
			same++
		}
		when := []string{}
		for _, r := range rows[:same] {
			when = append(when, cmp.Or(policy.Words(r.Facts), "nothing known"))
		}
		first := len(rows) == len(m.Rows) || m.Rows[len(m.Rows)-len(rows)-1].Verb != rows[0].Verb
		if first && (req.Role == "" || len(when) == 1 && rows[0].Facts == "") && (same == len(rows) || rows[same].Verb != rows[0].Verb) {
			when = nil // whatever is known
		}
		row(tw, verbMark(rows[0]), rows[0].On, strings.Join(when, "; "), cmp.Or(matrixWho(rows[0].Who), "nobody"))
		rows = rows[same:]
	}
	tw.Flush()
	if m.Partial {
		fmt.Fprintln(w, "\nthere are more roles than can be asked about at once: name one verb with --verb for the rest")
	}
	fmt.Fprintln(w, "\n* only as a change that others approved; + not done by Pavise itself: ask with policy check")
}

func verbMark(r policy.Row) string {
	mark := r.Verb
	if r.Change {
		mark += " *"
	}
	if r.Declared {
		mark += " +"
	}
	return mark
}

// matrixWho says who may, kind by kind, or once for all kinds that are alike.
func matrixWho(who map[string][]string) string {
	kinds := map[string][]string{} // by roles
	for _, kind := range slices.Sorted(maps.Keys(who)) {
		roles := strings.Join(who[kind], " ")
		if slices.Contains(who[kind], "") {
			roles = "anybody"
		}
		kinds[roles] = append(kinds[roles], kind)
	}
	var words []string
	for _, roles := range slices.Sorted(maps.Keys(kinds)) {
		if len(kinds) == 1 && len(kinds[roles]) == 3 {
			return roles
		}
		words = append(words, strings.Join(kinds[roles], " and ")+": "+roles)
	}
	return strings.Join(words, "; ")
}

func printChecked(w io.Writer, req *verbs.CheckRequest, c verbs.Checked) {
	words := "may be done"
	if c.Decision == pavise.Deny {
		words = "is denied, and let pass in observe mode"
	}
	fmt.Fprintf(w, "%s on %s %s", req.Verb, req.On, words)
	if c.Record != nil {
		fmt.Fprintf(w, "; recorded as %d", *c.Record)
	}
	fmt.Fprintln(w)
}

func printGrants(w io.Writer, l verbs.GrantList) {
	if len(l.Grants) == 0 {
		fmt.Fprintln(w, "no grants are in force")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "WHO", "ROLE", "UNTIL", "PROPOSED BY", "CHANGE", "BECAUSE")
	for _, g := range l.Grants {
		row(tw, g.Holder, g.Role, At(g.Until), g.By, g.Change.ID, clip(g.Reason))
	}
	tw.Flush()
}

func printCallers(w io.Writer, l verbs.CallerList) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "WHO", "ROLES", "PROOF", "UNTIL", "LAST", "ALLOWED", "REFUSED", "MADE BY")
	for _, c := range l.Callers {
		roles := strings.Join(c.Roles, " ")
		if len(c.Granted) > 0 {
			roles += " (granted: " + strings.Join(c.Granted, " ") + ")"
		}
		until := ""
		if !c.Expires.IsZero() {
			until = At(c.Expires)
		}
		row(tw, c.Name, clip(roles), clip(c.Proof), until, Second(c.Last), c.Allowed, c.Refused, c.By)
	}
	tw.Flush()
}
