package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

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
	fmt.Fprintln(tw, "RECORD\tTIME\tWHO\tWHAT\tON\tOUTCOME\tREASON")
	for _, e := range a.Events {
		who := ""
		if e.Record.Who != nil {
			who = e.Record.Who.Kind + "/" + e.Record.Who.ID
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Index, e.Record.At.Local().Format("15:04:05.000"),
			who, e.Record.Kind, e.Record.On, outcome(e.Record), reason(e.Record))
	}
	tw.Flush()
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

// clip makes a text, which a caller may have chosen, fit for one line of a
// terminal: no control characters, and not long.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 72 {
		return string(r[:71]) + "…"
	}
	return s
}

func printStatus(w io.Writer, s ledger.Status) {
	fmt.Fprintf(w, "log          %s\nrecords      %d written, %d signed, %d published\nsegments     %d, %d bytes\nkey          %s\nfingerprint  %s\n",
		s.Origin, s.Size, s.Signed, s.Published, s.Segments, s.Bytes, s.Key, s.Fingerprint)
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
	fmt.Fprintln(tw, "MODEL\tBEHIND IT\tANSWERS\tEACH CALLER\tBUDGET\tMODE")
	for _, r := range l.Routes {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Model, behind(r), r.Shape, r.Terms.Rate, r.Terms.Budget, mode(r))
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
