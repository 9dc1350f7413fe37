// Package screen is how what verbs return reads in a terminal: tables and sentences for
// people, and a terminal that obeys nothing of what others wrote. It owns no state.
package screen

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/verbs"
)

// printers show a verb's answer to people; --json, and every verb without a
// printer, shows the answer itself.
var printers = map[string]printer{
	"ledger.list":   asked(printRecords),
	"ledger.status": answered(printStatus),
	"ledger.prove": written(func(w io.Writer, req *evidence.ProveRequest, p evidence.ProofFile) error {
		return writeProof(w, req.Out, p)
	}),
	"ledger.followers": answered(printFollowers),
	"witness.list":     answered(printWitnessed),
	"witness.prove": written(func(w io.Writer, req *evidence.FleetRequest, p evidence.ProofFile) error {
		return writeProof(w, req.Out, p)
	}),
	"witness.trust":  done("the witness cosigns that log's checkpoints from now on"),
	"witness.forget": done("the witness cosigns nothing of that log any more"),
	"archive.list":   answered(printArchive),
	"archive.keep": answered(func(w io.Writer, l evidence.SegmentList) {
		fmt.Fprintln(w, Count(len(l.Segments), "segment"), "archived")
	}),
	"archive.prune":  answered(printPruned),
	"archive.retain": answered(printChange),
	"subject.list": answered(func(w io.Writer, c evidence.SubjectCount) {
		fmt.Fprintf(w, "%s with a key, %d forgotten\n", Count(c.Keys, "subject"), c.Shredded)
	}),
	"subject.find": answered(func(w io.Writer, f evidence.SubjectFound) {
		fmt.Fprintf(w, "%s, in %s\n", f.ID, Count(f.Records, "record"))
	}),
	"subject.shred":      answered(printChange),
	"change.list":        answered(printChanges),
	"change.show":        answered(printWholeChange),
	"change.propose":     answered(printChange),
	"change.approve":     answered(printChange),
	"change.deny":        answered(printChange),
	"change.withdraw":    answered(printChange),
	"change.rule":        answered(printChange),
	"change.rules":       answered(printRules),
	"finding.list":       answered(printFindings),
	"siem.put":           answered(printGiven),
	"siem.rotate":        answered(printGiven),
	"siem.list":          answered(printReceivers),
	"siem.test":          answered(printTried),
	"siem.delete":        done("the receiver is sent no more findings"),
	"ticket.put":         answered(printTicketGiven),
	"ticket.list":        answered(printTools),
	"ticket.show":        answered(printShownTool),
	"ticket.test":        answered(printToolTried),
	"ticket.remove":      done("the tool is told of no more changes"),
	"ticket.map":         answered(printChange),
	"ticket.pass":        answered(printChange),
	"ticket.unmap":       done("what the account says is nobody's vote any more"),
	"ledger.acknowledge": done("acknowledged"),
	"ledger.unfollow":    done("the follower is forgotten"),
	"policy.list":        answered(printPolicies),
	"policy.put":         answered(printChange),
	"policy.delete":      answered(printChange),
	"policy.schema":      answered(func(w io.Writer, s verbs.PolicySchema) { fmt.Fprintln(w, strings.TrimSpace(s.Schema)) }),
	"policy.explain":     answered(printExplanation),
	"policy.who-can":     asked(printWhoCan),
	"policy.diff":        answered(printDiff),
	"policy.matrix":      asked(printMatrix),
	"policy.check":       asked(printChecked),
	"grant.give":         answered(printChange),
	"grant.revoke":       done("the role is taken back: the next request meets it"),
	"grant.list":         answered(printGrants),
	"caller.list":        answered(printCallers),
	"tier.hold":          answered(printHeld),
	"tier.list":          answered(printTiers),
	"tier.show":          answered(printTier),
	"tier.lift":          answered(printLifted),
	"watermark.export":   answered(printMarks),
	"ingest.put":         answered(printSource),
	"ingest.revise":      answered(printChange),
	"ingest.list":        answered(printSources),
	"ingest.show":        answered(printSource),
	"ingest.held":        written(writeHeld),
	"ingest.release":     answered(printChange),
	"ingest.receive":     answered(printReceiving),
	"ingest.stop":        done("nothing is fetched for the source any more"),
	"ingest.receivers":   answered(printStandings),
	"ingest.discard":     answered(printDiscarded),
	"ingest.delete":      done("nothing is let in for the source any more"),
	"change.break":       answered(printChange),
	"drift.baseline":     answered(printChange),
	"drift.list":         answered(printDrifts),
	"drift.show":         answered(printDrift),
	"drift.verdict":      answered(printDriftView),
	"drift.dismiss":      answered(printDriftView),
	"dataset.watch":      answered(printWatched),
	"dataset.check":      answered(printDataset),
	"dataset.accept":     answered(printChange),
	"dataset.list":       answered(printDatasets),
	"dataset.show":       answered(printShownDataset),
	"dataset.report":     answered(printScreening),
	"dataset.compare":    answered(printComparedDataset),
	"dataset.unwatch": answered(func(w io.Writer, v catalog.View) {
		fmt.Fprintf(w, "nobody looks at %s any more; its %s are kept\n", v.Name.ID, versionsOf(v))
	}),
	"target.put":         answered(printChange),
	"target.list":        answered(printTargets),
	"target.show":        answered(printTarget),
	"target.remove":      done("the target is forgotten: nobody looks at it any more"),
	"deploy.release":     answered(printChange),
	"deploy.promote":     answered(printChange),
	"deploy.rollback":    answered(printChange),
	"deploy.list":        answered(printDeployments),
	"deploy.show":        answered(printDeployment),
	"deploy.check":       answered(printDeployment),
	"model.create":       answered(printModel),
	"model.propose":      answered(printVersion),
	"model.evidence":     answered(printVersion),
	"model.review":       answered(printVersion),
	"model.reject":       answered(printVersion),
	"model.publish":      answered(printChange),
	"model.alias":        answered(printChange),
	"model.unalias":      answered(printChange),
	"model.quarantine":   answered(printVersion),
	"model.release":      answered(printChange),
	"model.retire":       answered(printChange),
	"model.tag":          done("described"),
	"model.list":         answered(printModels),
	"model.show":         asked(printShownModel),
	"model.history":      answered(printHistory),
	"model.bom":          answered(printBill),
	"route.list":         answered(printRoutes),
	"route.put":          answered(printRoute),
	"route.delete":       asked(printDeleted),
	"route.release":      answered(printChange),
	"route.rollback":     answered(printChange),
	"route.quarantine":   answered(printChange),
	"node.list":          answered(printHolders),
	"node.invite":        answered(printInvitation),
	"node.revoke":        done("the certificate is good no more, and an invitation that was open is taken back"),
	"node.roles":         answered(printChange),
	"person.invite":      answered(printChange),
	"ca.list":            answered(printRoots),
	"ca.rotate":          answered(printChange),
	"bundle.list":        answered(printBundleKeys),
	"bundle.rotate":      answered(printChange),
	"bundle.revoke":      answered(printChange),
	"issuer.mint":        answered(printToken),
	"issuer.whoami":      answered(printWhoami),
	"issuer.revoke":      answered(printRevoked),
	"issuer.revocations": answered(printRevocations),
	"console.link":       answered(func(w io.Writer, l verbs.ConsoleLink) { fmt.Fprintln(w, l.Link) }),
	"clock.accept": answered(func(w io.Writer, _ api.Empty) {
		fmt.Fprintln(w, "the clock is accepted as it is now; if it was behind the log, the step is recorded")
	}),
}

// asides say on stderr what people should know of an answer beside what a program
// takes from stdout.
var asides = map[string]printer{
	"issuer.mint": answered(func(w io.Writer, t issuer.Token) {
		fmt.Fprintf(w, "the token is good until %s\n", Second(t.Expires))
	}),
	"node.invite": answered(joinHint),
}

// warnings say on stderr what was wrong with an act that went well, if anything was.
var warnings = map[string]printer{
	"route.put": answered(func(w io.Writer, p route.Placed) { warn(w, p.Warning) }),
	"route.release": answered(func(w io.Writer, c api.ChangeView) {
		plan, _ := c.Plan.Detail.(map[string]any) // of another server it says nothing
		text, _ := plan["warning"].(string)
		warn(w, text)
	}),
}

func warn(w io.Writer, text string) {
	if text != "" {
		fmt.Fprintf(w, "pavise: warning: %s\n", strings.Map(shown, text))
	}
}

// Answer shows the answer to a request, which is a pointer to the request of its verb,
// and says on aside what people should know beside it. It reports whether the verb has
// such words; one that has none is shown as it is.
func Answer(w, aside io.Writer, verb string, request any, answer json.RawMessage) (shown bool, err error) {
	print, ok := printers[verb]
	if !ok {
		return false, nil
	}
	if err := print(w, request, answer); err != nil {
		return true, err
	}
	for _, also := range []map[string]printer{asides, warnings} {
		if print, ok := also[verb]; ok {
			return true, print(aside, request, answer)
		}
	}
	return true, nil
}

// HasAside reports whether there is something to know beside a verb's answer.
func HasAside(verb string) bool { return asides[verb] != nil }

// A printer prints the answer to a request, which is a pointer to the request of
// its verb.
type printer func(w io.Writer, request any, answer json.RawMessage) error

// asked makes a printer that needs the request, too.
func asked[R, T any](print func(io.Writer, *R, T)) printer {
	return written(func(w io.Writer, request *R, v T) error {
		print(w, request, v)
		return nil
	})
}

// written makes a printer that may fail, for it writes a file.
func written[R, T any](write func(io.Writer, *R, T) error) printer {
	return func(w io.Writer, request any, answer json.RawMessage) error {
		var v T
		if err := json.Unmarshal(answer, &v); err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		return write(w, request.(*R), v)
	}
}

// answered makes a printer of what needs the answer alone.
func answered[T any](print func(io.Writer, T)) printer {
	return func(w io.Writer, _ any, answer json.RawMessage) error {
		var v T
		if err := json.Unmarshal(answer, &v); err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		print(w, v)
		return nil
	}
}

// done makes a printer of a verb that answers nothing.
func done(words string) printer {
	return func(w io.Writer, _ any, _ json.RawMessage) error {
		_, err := fmt.Fprintln(w, words)
		return err
	}
}

func printRecords(w io.Writer, req *evidence.ListRequest, a evidence.ListAnswer) {
	if len(a.Events) == 0 {
		fmt.Fprintln(w, "no records")
		for _, kind := range req.Kind {
			if !verbs.Known(kind) {
				fmt.Fprintf(w, "%q is neither a verb, nor a room, nor a kind of note\n", kind)
			}
		}
	} else {
		printEvents(w, a.Events)
	}
	switch {
	case a.More && req.After != nil:
		fmt.Fprintf(w, "--after %d goes on\n", a.Events[len(a.Events)-1].Index+1)
	case a.More:
		fmt.Fprintf(w, "--before %d shows earlier ones\n", a.Events[0].Index)
	case a.First > 0 && req.After == nil:
		fmt.Fprintf(w, "records before %d were pruned; pavise archive list says where they are\n", a.First)
	}
}

func printEvents(w io.Writer, events []evidence.Event) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "RECORD", "TIME", "WHO", "WHAT", "ON", "OUTCOME", "REASON")
	for _, e := range events {
		row(tw, e.Index, milli(e.Record.At),
			who(e.Record), e.Record.Kind, e.Record.On, Outcome(e.Record), Reason(e.Record))
	}
	tw.Flush()
}

// The kinds of the guard's notes that count refusals: of callers nobody could
// name, and of those it had no slot, no clock or no record for.
const (
	noteStranger = "identity.refused"
	noteRefused  = "guard.refused"
)

// A knock is the detail of a note that counts refusals.
type knock struct {
	Source string `json:"source"`
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// knockOf returns what a note that counts refusals says. A detail that cannot be
// read is shown empty; ledger read shows it raw.
func knockOf(r record.Record) (k knock, ok bool) {
	if r.Phase != record.Note || r.Kind != noteStranger && r.Kind != noteRefused {
		return k, false
	}
	if json.Unmarshal(r.Detail, &k) != nil {
		k = knock{}
	}
	return k, true
}

// who is who acted, or where somebody came from whom nobody could name.
func who(r record.Record) string {
	if r.Who != nil {
		return r.Who.Kind + "/" + r.Who.ID
	}
	k, _ := knockOf(r)
	return clip(k.Source)
}

// Outcome is how a record ended, in a word. The console says the same.
func Outcome(r record.Record) string {
	_, knocked := knockOf(r)
	switch {
	case knocked || r.Outcome == pavise.Deny:
		return "deny"
	case r.Phase == record.Note:
		return "note"
	case r.Phase == record.Interrupted:
		return "interrupted"
	case r.Policy != nil && r.Policy.Observed || slices.ContainsFunc(r.Verdicts, observed):
		return "would deny"
	case r.Error != nil:
		return "failed"
	case r.Phase == record.Enter:
		return "begun"
	}
	return string(r.Outcome)
}

// observed reports whether observe mode let a denial pass.
func observed(v pavise.Verdict) bool { return v.Outcome == pavise.Deny && v.Observed }

// Reason is why, in a line: the check that stopped it or would have, or how it
// failed.
func Reason(r record.Record) string {
	if k, knocked := knockOf(r); knocked {
		if k.Count > 1 {
			return clip(fmt.Sprintf("%s (%d times in a second)", k.Reason, k.Count))
		}
		return clip(k.Reason)
	}
	for _, tells := range []func(pavise.Verdict) bool{pavise.Verdict.Stops, observed} {
		if i := slices.IndexFunc(r.Verdicts, tells); i >= 0 {
			return clip(r.Verdicts[i].Check + ": " + r.Verdicts[i].Reason)
		}
	}
	if r.Error != nil {
		return clip(r.Error.Msg)
	}
	return ""
}

// Count says how many there are of something whose plural takes an s.
func Count[N int | uint64](n N, what string) string { return figure.Count(n, what) }

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

// standing is the mode of a route in a list. That nobody may ask comes first: the rest
// is of no account until that ends.
func standing(r route.Standing) string {
	if r.Quarantined {
		return "in quarantine, " + mode(r.Route)
	}
	return mode(r.Route)
}

func printToken(w io.Writer, t issuer.Token) { fmt.Fprintln(w, t.Value) }

// At is an instant to the minute, in the zone of this machine, which it names: records, errors
// and the console have UTC, and who compares them must not guess. "" is no instant.
func At(t time.Time) string { return local(t, "2006-01-02 15:04 MST") }

// Second is At, to the second.
func Second(t time.Time) string { return local(t, "2006-01-02 15:04:05 MST") }

// milli is At, to the millisecond.
func milli(t time.Time) string { return local(t, "2006-01-02 15:04:05.000 MST") }

func local(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(layout)
}
