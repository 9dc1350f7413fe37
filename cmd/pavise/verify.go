package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/screen"
	"github.com/pavise/pavise/internal/witness"
)

// A trust is what a verifier knows from elsewhere.
type trust struct {
	Key        string `help:"The log's key as you know it: its fingerprint or the key itself." placeholder:"FINGERPRINT"`
	Checkpoint string `help:"A checkpoint that you keep from earlier." type:"existingfile" placeholder:"FILE"`
	Policy     string `help:"Logs and witnesses to believe (C2SP tlog-policy): a quorum must have cosigned." type:"existingfile" placeholder:"FILE"`
	Fleet      string `help:"A proof that another log, which --key names, has cosigned this one's checkpoint (pavise witness prove)." type:"existingfile" placeholder:"FILE"`
}

// options reads what the verifier knows.
func (t trust) options() (opts audit.Options, err error) {
	opts.Key = t.Key
	if t.Checkpoint != "" {
		if opts.Checkpoint, err = readGiven("checkpoint", t.Checkpoint); err != nil {
			return opts, err
		}
	}
	if t.Policy != "" {
		text, err := readGiven("policy", t.Policy)
		if err != nil {
			return opts, err
		}
		if opts.Policy, err = proof.ParsePolicy(text); err != nil {
			return opts, err
		}
	}
	if t.Fleet == "" {
		return opts, nil
	}
	return t.fleet(opts)
}

// fleet lets another log vouch for this one: what it has cosigned is a checkpoint
// known from elsewhere.
func (t trust) fleet(opts audit.Options) (audit.Options, error) {
	text, err := readGiven("proof of the fleet's log", t.Fleet)
	if err != nil {
		return opts, err
	}
	report, err := audit.VerifyProof(text, opts)
	if err != nil {
		return opts, err
	}
	if !report.Known && report.Since == 0 {
		e := &pavise.Error{Kind: pavise.Invalid, Msg: "nothing is known of the log that vouches in " + t.Fleet, Hint: "give its fingerprint with --key, or a policy that lists it"}
		if namesNoLog(opts.Policy) {
			e.Msg, e.Hint = e.Msg+": the policy names no log", "add the line \"log KEY\" with that log's key to the policy, or give its fingerprint with --key"
		}
		return opts, e
	}
	cp, err := witness.Cosigned(&report.Record)
	return audit.Options{Checkpoint: cp.Note, VouchedBy: report.Origin}, err
}

// namesNoLog reports whether there is a policy, and it lists no log: then nobody's
// log is known by it, whoever has witnessed it.
func namesNoLog(p *proof.Policy) bool { return p != nil && len(p.Logs) == 0 }

// noLogInPolicy is the advice then.
const noLogInPolicy = "The policy names no log, so whose log this is was not verified. Add a line \"log KEY\" to it, with the\n" +
	"log's key as you know it from elsewhere, or give --key with its fingerprint."

func readGiven(what, path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the %s: %v", what, err), Err: err}
	}
	return text, nil
}

// verifyCommand is pavise ledger verify: it reads files, needs no server, and
// records nothing.
type verifyCommand struct {
	Path string `arg:"" name:"log" help:"The ledger directory, for example pavise-data/ledger, or a proof file. Exit code 0: it is as it was written, as far as --key, --checkpoint or --policy can tell; 7: it is not."`
	trust
}

// verified is what the command prints as JSON.
type verified struct {
	audit.Report
	Recorded bool `json:"recorded"` // this command leaves no record
}

// proved is what it prints of a proof file.
type proved struct {
	audit.ProofReport
	Recorded bool `json:"recorded"`
}

func (v *verifyCommand) run(_ context.Context, c *cli) error {
	opts, err := v.options()
	if err != nil {
		return err
	}
	info, err := os.Stat(v.Path)
	if errors.Is(err, os.ErrNotExist) {
		return &pavise.Error{Kind: pavise.NotFound, Msg: "there is no file or directory " + v.Path, Hint: "name a ledger directory, for example pavise-data/ledger, or a proof file", Err: err}
	}
	if err == nil && info.Mode().IsRegular() {
		return v.proof(c, opts)
	}
	start := time.Now()
	report, err := verifySettled(v.Path, c.counting(opts))
	c.counted()
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(verified{Report: report})
	}
	v.print(c, opts, report, time.Since(start))
	return nil
}

// counting lets a verification count on the terminal.
func (c *cli) counting(opts audit.Options) audit.Options {
	if !c.JSON {
		opts.Progress = func(n uint64) { fmt.Fprintf(c.stderr.Progress, "\r%d records …", n); c.counts = true }
	}
	return opts
}

// counted clears what counting wrote.
func (c *cli) counted() {
	if c.counts {
		fmt.Fprint(c.stderr.Progress, "\r\033[K")
	}
}

// verifySettled verifies a log, and when a running pavise has written records
// behind its checkpoint, looks again: the checkpoint follows within a fraction of
// a second, unless records keep coming.
func verifySettled(dir string, opts audit.Options) (audit.Report, error) {
	for try := 0; ; try++ {
		report, err := audit.Verify(dir, opts)
		if try == 3 || report.Records == report.Signed && report.Trailing == 0 || !disk.Locked(dir) {
			return report, err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (v *verifyCommand) print(c *cli, opts audit.Options, r audit.Report, took time.Duration) {
	fmt.Fprintf(c.stdout, "%s\n\n", r.Conclusion)
	row := c.fact
	row("log", "%s", r.Origin)
	row("records", "%d under the signed checkpoint", r.Signed)
	if r.First > 0 {
		row("", "those before %d were pruned, as a record says; their hashes are proved", r.First)
	}
	if newer := r.Records - r.Signed; newer > 0 {
		row("", "%d newer, not signed yet: they prove nothing", newer)
	}
	if r.Trailing > 0 {
		row("", "%d bytes behind the last record that are no record", r.Trailing)
	}
	if !r.From.IsZero() {
		row("from", "%s", r.From.Format(time.RFC3339))
		row("to", "%s", r.To.Format(time.RFC3339))
	}
	row("root", "%s", r.Root)
	c.printKeys(r.Keys)
	c.printWitnesses(r.Witnessed)
	c.printVoucher(r.VouchedBy, r.Since)
	if len(r.Open) > 0 {
		row("unended", "%d acts were entered and have no ending: the log was not closed", len(r.Open))
	}
	row("took", "%s", took.Round(time.Millisecond))
	row("recorded", "false (this command leaves no record)")
	if advice := advice(opts, r); advice != "" {
		fmt.Fprintf(c.stdout, "\n%s\n", advice)
	}
}

// fact prints one line of a report.
func (c *cli) fact(name, format string, args ...any) {
	fmt.Fprintf(c.stdout, "  %-12s%s\n", name, fmt.Sprintf(format, args...))
}

func (c *cli) printKeys(keys []audit.KeyReport) {
	for i, k := range keys {
		name := "fingerprint"
		if i > 0 {
			name = "also"
		}
		c.fact(name, "%s (%s)", k.Fingerprint, k.Algorithm)
	}
}

func (c *cli) printWitnesses(w *audit.Witnessed) {
	if w != nil {
		by := slices.Compact(slices.Sorted(slices.Values(w.By))) // a witness may sign with two keys
		c.fact("witnessed", "%d records, by %s, by %s", w.Records, w.At.Format(time.RFC3339), strings.Join(by, " and "))
	}
}

// printVoucher names the log that has cosigned a checkpoint of this one.
func (c *cli) printVoucher(log string, size uint64) {
	if log != "" {
		c.fact("vouched", "%d records, by the log %s", size, log)
	}
}

// advice says what would prove more.
func advice(opts audit.Options, r audit.Report) string {
	switch {
	case !r.Known && r.Since == 0 && namesNoLog(opts.Policy):
		return noLogInPolicy
	case !r.Known && r.Since == 0:
		return "The directory vouches for itself: whoever can write it could have made all of it. Give --key with the\n" +
			"fingerprint that you noted when the log began, or --checkpoint with one that you keep."
	case r.Since == 0 && r.Witnessed == nil:
		return "That nothing newer was removed is for somebody to say who keeps a checkpoint: copy the file\n" +
			"\"checkpoint\" elsewhere from time to time, and give it as --checkpoint; or have witnesses, and give --policy."
	}
	return ""
}

// proof verifies a proof file.
func (v *verifyCommand) proof(c *cli, opts audit.Options) error {
	text, err := readGiven("proof file", v.Path)
	if err != nil {
		return err
	}
	report, err := audit.VerifyProof(text, opts)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(proved{ProofReport: report})
	}
	fmt.Fprintf(c.stdout, "%s\n\n", report.Conclusion)
	c.fact("log", "%s", report.Origin)
	c.fact("record", "%d, under a checkpoint of %d records", report.Index, report.Size)
	r := report.Record
	c.fact("at", "%s, by the log's own clock", r.At.Format(time.RFC3339))
	if r.Who != nil {
		c.fact("who", "%s", r.Who.Name())
	}
	c.fact("what", "%s on %s: %s", r.Kind, r.On, screen.Outcome(r))
	if why := screen.Reason(r); why != "" {
		c.fact("because", "%s", why)
	}
	c.printKeys(report.Keys)
	c.printWitnesses(report.Witnessed)
	c.printVoucher(report.VouchedBy, report.Since)
	c.fact("recorded", "false (this command leaves no record)")
	fmt.Fprintf(c.stdout, "\n%s shows the record whole.\n", "--json")
	switch {
	case report.Known || report.Since > 0:
	case namesNoLog(opts.Policy):
		fmt.Fprintln(c.stdout, noLogInPolicy)
	default:
		fmt.Fprint(c.stdout, "Whoever made this file could have made the log. Give --key with the fingerprint of the log's key\nas you know it from elsewhere, or --policy with logs and witnesses that you believe.\n")
	}
	return nil
}
