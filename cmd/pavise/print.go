package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
)

// printers show a verb's answer to people; --json, and every verb without a
// printer, shows the answer itself.
var printers = map[string]func(io.Writer, json.RawMessage) error{
	"ledger.list":    printer(printRecords),
	"ledger.status":  printer(printStatus),
	"policy.list":    printer(printPolicies),
	"policy.explain": printer(printExplanation),
	"route.list":     printer(printRoutes),
	"issuer.mint":    printer(printToken),
	"console.link":   printer(func(w io.Writer, l api.ConsoleLink) { fmt.Fprintln(w, l.Link) }),
}

func printer[T any](print func(io.Writer, T)) func(io.Writer, json.RawMessage) error {
	return func(w io.Writer, answer json.RawMessage) error {
		var v T
		if err := json.Unmarshal(answer, &v); err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		print(w, v)
		return nil
	}
}

func printRecords(w io.Writer, a api.ListAnswer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "RECORD", "TIME", "WHO", "WHAT", "ON", "OUTCOME", "REASON")
	for _, e := range a.Events {
		who := ""
		if e.Record.Who != nil {
			who = e.Record.Who.Kind + "/" + e.Record.Who.ID
		}
		row(tw, e.Index, e.Record.At.Local().Format("15:04:05.000"),
			who, e.Record.Kind, e.Record.On, outcome(e.Record), reason(e.Record))
	}
	tw.Flush()
	if a.Reached != nil {
		fmt.Fprintf(w, "looked back to record %d; --after shows earlier ones\n", *a.Reached)
	}
	if a.Next != nil {
		fmt.Fprintf(w, "--after %d goes on\n", *a.Next)
	}
}

// outcome is how a record ended, in a word.
func outcome(r ledger.Record) string {
	switch {
	case r.Phase == ledger.Enter:
		return "begun"
	case r.Phase == ledger.Interrupted:
		return "interrupted"
	case r.Phase == ledger.Note:
		return "note"
	case r.Policy != nil && r.Policy.Observed:
		return "would deny"
	case r.Error != nil && r.Outcome == "allow":
		return "failed"
	}
	return string(r.Outcome)
}

// reason is why, in a line: the check that stopped it, or how it failed.
func reason(r ledger.Record) string {
	for _, v := range r.Verdicts {
		if v.Outcome == "deny" {
			return clip(v.Check + ": " + v.Reason)
		}
	}
	if r.Error != nil {
		return clip(r.Error.Msg)
	}
	return ""
}

// row writes one row of a table. A cell that holds an end of line or a tab,
// which the terminal would let through, would make rows and cells of its own.
func row(w io.Writer, cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprint(w, strings.Map(shown, fmt.Sprint(cell)))
	}
	fmt.Fprintln(w)
}

// clip shortens a text, which a caller may have chosen, to what a line has room
// for.
func clip(s string) string {
	if r := []rune(s); len(r) > 72 {
		return string(r[:71]) + "…"
	}
	return s
}

func printStatus(w io.Writer, s api.LogStatus) {
	fmt.Fprintf(w, "log          %s\nrecords      %d written, %d signed, %d published\nsegments     %d, %d bytes\nkey          %s\nfingerprint  %s\n",
		s.Origin, s.Records, s.Signed, s.Published, s.Segments, s.Bytes, s.Key, s.Fingerprint)
	if s.Problem != "" {
		fmt.Fprintf(w, "problem      %s\n", s.Problem)
	}
}

func printPolicies(w io.Writer, l api.PolicyList) {
	for _, p := range l.Policies {
		fmt.Fprintf(w, "# %s\n%s\n\n", p.ID, strings.TrimSpace(p.Text))
	}
	fmt.Fprintf(w, "# digest of all in force, guardrails included: %s\n", l.Digest)
}

func printExplanation(w io.Writer, x guard.Explanation) {
	fmt.Fprintf(w, "%s (%s): %s\n", x.Decision, x.Status, x.Why)
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

func printRoutes(w io.Writer, l api.RouteList) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "MODEL", "BEHIND IT", "ANSWERS", "EACH CALLER", "BUDGET", "MODE")
	for _, r := range l.Routes {
		row(tw, r.Model, behind(r), r.Shape, r.Terms.Rate, r.Terms.Budget, mode(r))
	}
	tw.Flush()
}

func behind(r gateway.Route) string {
	if r.ONNX != "" {
		return "onnx " + r.ONNX[:min(len(r.ONNX), 19)]
	}
	return r.Upstream
}

func mode(r gateway.Route) string {
	words := []string{"enforce"}
	if r.Observe {
		words[0] = "observe"
	}
	if r.Durable {
		words = append(words, "durable")
	}
	if r.Alterable {
		words = append(words, "alterable")
	}
	return strings.Join(words, ", ")
}

func printToken(w io.Writer, t issuer.Token) { fmt.Fprintln(w, t.Value) }
