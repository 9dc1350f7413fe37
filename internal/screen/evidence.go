package screen

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/verbs"
)

func printStatus(w io.Writer, s evidence.LogStatus) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("log", "%s", s.Origin)
	line("records", "%d written, %d signed, %d published", s.Records, s.Signed, s.Published)
	if s.First > 0 {
		line("", "those before %d were pruned here", s.First)
	}
	line("segments", "%d, %d bytes", s.Segments, s.Bytes)
	for i, k := range s.Keys {
		name := "key"
		if i > 0 {
			name = "also"
		}
		line(name, "%s, kept in %s", k.Algorithm, s.Protection)
		line("", "%s", keyText(k.Key))
		line("fingerprint", "%s", k.Fingerprint)
	}
	if s.Witnessed == nil {
		line("witnesses", "none are asked: that nothing was rolled back rests on who keeps a checkpoint")
	} else {
		printQuorum(line, *s.Witnessed)
	}
	if s.Archive != "" {
		line("archive", "%s", s.Archive)
	}
	if s.Problem != "" {
		line("problem", "%s", s.Problem)
	}
}

// keyText is a key for people to look at: one of ML-DSA-44 would fill the screen.
func keyText(key string) string {
	const enough = 120
	if len(key) <= enough {
		return key
	}
	return key[:enough] + "… (--json prints all of it)"
}

func printQuorum(line func(string, string, ...any), q evidence.Witnessed) {
	if q.Records == 0 {
		line("witnessed", "nothing yet")
	} else {
		line("witnessed", "%s, by %s", Count(q.Records, "record"), q.At.Format(time.RFC3339))
	}
	for _, s := range q.Witnesses {
		switch {
		case s.Problem != "":
			line("", "%s: %s", s.Name, s.Problem)
		case !s.Counts:
			line("", "%s: does not count, for it is this installation's own", s.Name)
		default:
			line("", "%s: %s at %s%s", s.Name, Count(s.Size, "record"), s.At.Format(time.RFC3339), skew(s.Skew))
		}
	}
}

// skew says how far a witness's clock is from ours, if it is far.
func skew(d time.Duration) string {
	if d.Abs() < 5*time.Second {
		return ""
	}
	return fmt.Sprintf("; its clock is %v from this one", d)
}

// writeProof writes a proof file, and says what to do with it.
func writeProof(w io.Writer, out string, p evidence.ProofFile) error {
	if out == "" {
		_, err := io.WriteString(w, p.File)
		return err
	}
	if err := os.WriteFile(out, []byte(p.File), 0o644); err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("write the proof: %v", err), Hint: "name another file with --out", Err: err}
	}
	seen := "signed by the log; no quorum of witnesses has seen it"
	if p.Witnessed {
		seen = "signed by the log, and cosigned by a quorum of witnesses"
	}
	_, err := fmt.Fprintf(w, "%s proves record %d: %s\nanybody checks it with: %s ledger verify %s --key FINGERPRINT\n", out, p.Index, seen, installation.Program(), installation.Quote(out))
	return err
}

func printFollowers(w io.Writer, l evidence.FollowerList) {
	if len(l.Followers) == 0 {
		fmt.Fprintln(w, "nobody follows under a name; pavise ledger follow --name NAME does")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "FOLLOWER", "NEXT", "BEHIND", "LAG", "MOVED", "WANTS")
	for _, f := range l.Followers {
		wants := slices.DeleteFunc(append(slices.Clone(f.Filter.Kinds), f.Filter.Who, f.Filter.On, f.Filter.Subject, f.Filter.Ending), func(s string) bool { return s == "" })
		if len(wants) == 0 {
			wants = []string{"everything"}
		}
		row(tw, f.Name, f.Next, f.Behind, f.Lag.Round(time.Millisecond), Second(f.Moved), strings.Join(wants, " "))
	}
	tw.Flush()
}

func printWitnessed(w io.Writer, l evidence.WitnessList) {
	if len(l.Logs) == 0 {
		fmt.Fprintln(w, "this installation is a witness of no log yet: pavise witness trust KEY")
	} else {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		row(tw, "LOG", "RECORDS", "COSIGNED", "STATE")
		for _, log := range l.Logs {
			state, at := "good", "never"
			if log.Forked {
				state = "TWO HISTORIES"
			}
			if !log.At.IsZero() {
				at = Second(log.At)
			}
			row(tw, log.Origin, log.Size, at, state)
		}
		tw.Flush()
	}
	fmt.Fprint(w, "\nFor the policy of a log that is to be watched from here:\n\n")
	keys := make([]string, len(l.Keys))
	for i, k := range l.Keys {
		keys[i] = k.Key
	}
	Policy(w, keys, l.URL)
}

// Policy prints the lines of a tlog-policy that ask for a witness's word, by the
// key that lasts longest where there are two.
func Policy(w io.Writer, keys []string, url string) {
	quorum := ""
	for _, text := range keys {
		name := "classic"
		if key, err := proof.ParseKey(text); err == nil && key.Algorithm() == proof.CosignatureMLDSA {
			name = "quantum"
		}
		if quorum != "quantum" {
			quorum = name
		}
		fmt.Fprintf(w, "witness %s %s %s\n", name, text, url)
	}
	fmt.Fprintf(w, "quorum %s\n", quorum)
}

func printArchive(w io.Writer, l evidence.ArchiveList) {
	if l.Place == "" {
		fmt.Fprintln(w, "there is no archive; start with one: pavise up --archive DIRECTORY, or s3://BUCKET/PREFIX")
	} else {
		lock := "nothing there keeps objects from being deleted"
		if l.Lock != "none" {
			lock = "object lock in " + l.Lock + " mode"
		}
		fmt.Fprintf(w, "archive  %s (%s)\n", l.Place, lock)
	}
	if l.Problem != "" {
		fmt.Fprintf(w, "problem  %s\n", l.Problem)
	}
	printClasses(w, l.Classes)
	if len(l.Segments) == 0 {
		return
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "SEGMENT", "BYTES", "ARCHIVED", "")
	for _, s := range l.Segments {
		here := "here too"
		if !s.Here {
			here = "pruned here"
		}
		row(tw, fmt.Sprintf("%d to %d", s.First, s.First+s.Count-1), s.Bytes, Second(s.At), here)
	}
	tw.Flush()
}

// printClasses says how long records are kept. Those that no class claims are in the
// default one, whether anybody has made that or not.
func printClasses(w io.Writer, classes []archive.Class) {
	if !slices.ContainsFunc(classes, func(c archive.Class) bool { return c.Name == archive.Default }) {
		classes = append(slices.Clone(classes), archive.Class{Name: archive.Default})
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "CLASS", "RECORDS OF", "KEPT HERE", "IN THE ARCHIVE")
	for _, c := range classes {
		what, here, there := strings.Join(c.Kinds, " "), "for ever", "without a lock"
		if c.Name == archive.Default {
			what = "everything else"
		}
		if c.Online > 0 {
			here = archive.Days(c.Online)
		}
		if c.Keep > 0 {
			there = archive.Days(c.Keep)
		}
		row(tw, c.Name, what, here, there)
	}
	tw.Flush()
}

func printPruned(w io.Writer, p evidence.Pruned) {
	if len(p.Segments) == 0 {
		fmt.Fprintf(w, "nothing was pruned: %s\n", p.Why)
		return
	}
	if len(p.Segments) == 1 {
		fmt.Fprintf(w, "1 segment was taken away here: records before %d are in the archive alone\n", p.Below)
		return
	}
	fmt.Fprintf(w, "%s taken away here: records before %d are in the archive alone\n", Count(len(p.Segments), "segment"), p.Below)
}

// printChange says where a change stands, and what leads on.
func printChange(w io.Writer, c api.ChangeView) {
	stands := "is " + string(c.State)
	if c.State == change.Ran {
		stands = "was run first, and waits for approval"
	}
	fmt.Fprintf(w, "%s %s: %s\n", c.Name.ID, stands, c.Plan.Summary)
	if c.Outcome != "" {
		fmt.Fprintf(w, "  %s\n", c.Outcome)
	}
	if c.State.Waits() {
		fmt.Fprintf(w, "  %d of %s, until %s; the proposer does not count\n", c.Have, Count(c.Need, "approval"), At(c.Until))
		fmt.Fprintf(w, "  another person approves it with: %s change approve %s %.8s\n", installation.Program(), c.Name.ID, c.Digest)
	}
}

func printWholeChange(w io.Writer, c api.ChangeView) {
	printChange(w, c)
	fmt.Fprintf(w, "\n  proposed  %s by %s\n", Second(c.Proposed), c.Proposer.Name())
	if c.Reason != "" {
		fmt.Fprintf(w, "  because   %s\n", c.Reason)
	}
	fmt.Fprintf(w, "  act       %s on %s\n  digest    %s\n  record    %d\n", c.Verb, c.On, c.Digest, c.Record)
	for _, v := range c.Votes {
		word := "no"
		if v.Yes {
			word = "yes"
		}
		fmt.Fprintf(w, "  vote      %s: %s, %s %s\n", v.By, word, Second(v.At), v.Reason)
		if o := v.Origin; o != nil {
			fmt.Fprintf(w, "            on %s in %s, by the account %s\n", clip(o.Ticket), o.Tool, clip(o.Account))
		}
	}
	if len(c.Plan.Digests) > 0 {
		fmt.Fprintln(w, "\nIt depends on these; when one of them changes, its approvals are dead:")
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, what := range slices.Sorted(maps.Keys(c.Plan.Digests)) {
		row(tw, "  "+what, c.Plan.Digests[what])
	}
	tw.Flush()
	if c.Plan.Detail != nil {
		fmt.Fprint(w, "\nWhat it does:\n\n")
		printDetail(w, c)
	}
}

// printDetail prints what a change does: of policies, the texts and the decisions that
// would turn.
func printDetail(w io.Writer, c api.ChangeView) {
	body, err := json.Marshal(c.Plan.Detail)
	var p guard.Preview
	if !strings.HasPrefix(c.Verb, "policy.") || err != nil || json.Unmarshal(body, &p) != nil {
		_ = WriteJSON(w, c.Plan.Detail, "  ") // plain data from a JSON answer
		return
	}
	for _, half := range [...]struct{ what, text string }{{"before", p.Was}, {"after", p.Text}} {
		fmt.Fprintf(w, "%s:\n%s\n\n", half.what, cmp.Or(strings.TrimSpace(half.text), "(no such policy)"))
	}
	fmt.Fprintln(w, "Decisions that would turn:")
	printFlips(w, p.Difference)
}

func printChanges(w io.Writer, l verbs.ChangeList) {
	if len(l.Changes) == 0 {
		fmt.Fprintln(w, "no changes")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "CHANGE", "STATE", "VOTES", "WHAT", "BY", "UNTIL", "DIGEST")
	for _, c := range l.Changes {
		until := ""
		if c.State == change.Open || c.State == change.Ran {
			until = At(c.Until)
		}
		row(tw, c.Name.ID, c.State, fmt.Sprintf("%d/%d", c.Have, c.Need), clip(c.Plan.Summary), c.Proposer.ID, until, c.Digest[:min(8, len(c.Digest))])
	}
	tw.Flush()
}

func printRules(w io.Writer, l verbs.RuleList) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "VERB", "TAKES", "OF", "WITHIN", "")
	for _, r := range l.Rules {
		of, safe := "all who may do it", ""
		if len(r.Of) > 0 {
			of = strings.Join(r.Of, " ")
		}
		if r.Safe {
			safe = "runs first, approved afterwards"
		}
		row(tw, r.Verb, Count(r.Need, "approval"), of, Count(r.Days, "day"), safe)
	}
	tw.Flush()
}
