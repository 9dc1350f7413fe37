package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
)

// verifyCommand is pavise ledger verify: it reads files, needs no server, and
// records nothing.
type verifyCommand struct {
	Dir        string `arg:"" help:"The ledger directory."`
	Key        string `help:"The log's key as you know it: its fingerprint or the key itself." placeholder:"FINGERPRINT"`
	Checkpoint string `help:"A checkpoint that you keep from earlier." type:"existingfile" placeholder:"FILE"`
}

// verified is what the command prints as JSON.
type verified struct {
	audit.Report
	Recorded bool `json:"recorded"` // this command leaves no record
}

func (v *verifyCommand) run(_ context.Context, c *cli) error {
	opts := audit.Options{Key: v.Key}
	if v.Checkpoint != "" {
		kept, err := os.ReadFile(v.Checkpoint)
		if err != nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the checkpoint: %v", err), Err: err}
		}
		opts.Checkpoint = kept
	}
	start := time.Now()
	if !c.JSON {
		opts.Progress = func(n uint64) { fmt.Fprintf(c.stderr.w, "\r%d records …", n) }
	}
	report, err := verifySettled(v.Dir, opts)
	if !c.JSON && report.Records >= 65536 {
		fmt.Fprint(c.stderr.w, "\r\033[K")
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(verified{Report: report})
	}
	v.print(c, report, time.Since(start))
	return nil
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

func (v *verifyCommand) print(c *cli, r audit.Report, took time.Duration) {
	fmt.Fprintf(c.stdout, "%s\n\n", r.Conclusion)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(c.stdout, "  %-12s%s\n", name, fmt.Sprintf(format, args...))
	}
	row("log", "%s", r.Origin)
	row("records", "%d under the signed checkpoint", r.Signed)
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
	row("fingerprint", "%s", r.Keys[0].Fingerprint)
	if len(r.Open) > 0 {
		row("unended", "%d acts were entered and have no ending: the log was not closed", len(r.Open))
	}
	row("took", "%s", took.Round(time.Millisecond))
	row("recorded", "false (this command leaves no record)")
	if advice := v.advice(r); advice != "" {
		fmt.Fprintf(c.stdout, "\n%s\n", advice)
	}
}

// advice says what would prove more.
func (v *verifyCommand) advice(r audit.Report) string {
	switch {
	case !r.Known && r.Since == 0:
		return "The directory vouches for itself: whoever can write it could have made all of it. Give --key with the\n" +
			"fingerprint that you noted when the log began, or --checkpoint with one that you keep."
	case r.Since == 0:
		return "That nothing newer was removed is for somebody to say who keeps a checkpoint: copy the file\n" +
			"\"checkpoint\" elsewhere from time to time, and give it as --checkpoint."
	}
	return ""
}
