package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/siem"
)

// readPrefixes reads networks, or single addresses.
func readPrefixes(texts []string) (all []netip.Prefix, err error) {
	for _, text := range texts {
		p, err := config.Network(text)
		if err != nil {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--send-to: %.60q is no network", text), Hint: "for example 169.254.7.0/24 or 169.254.7.1"}
		}
		all = append(all, p)
	}
	return all, nil
}

// exportCommand is pavise finding export: it reads files, needs no server, and records
// nothing.
type exportCommand struct {
	Dir string `arg:"" name:"log" help:"The ledger directory."`
	trust
}

// Help says what is printed. It is kong's hook for a command's help.
func (*exportCommand) Help() string {
	return `The log is proved first, as by ledger verify; nothing is printed of one that is not as it should be.
Then each finding is an event of OCSF ` + siem.Schema + ` (Detection Finding), one a line, of all tenants:

  pavise finding export pavise-data/ledger --key FINGERPRINT > findings.jsonl`
}

func (e *exportCommand) run(ctx context.Context, c *cli) error {
	opts, err := e.options()
	if err != nil {
		return err
	}
	report, err := verifySettled(e.Dir, c.counting(opts))
	c.counted()
	if err != nil {
		return err
	}
	out := siem.NewExport(c.stdout, report.Origin, installation.Version())
	if err := eachRecord(ctx, disk.Dir{Path: e.Dir, ReadOnly: true}, report.Signed, out.Add); err != nil {
		return err
	}
	if err := out.End(); err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "%s, of %s: %s\n", count(out.Told(), "event"), holding(report), report.Conclusion)
	return nil
}

// eachRecord reads the records below an index out of a log's directory, in order.
func eachRecord(ctx context.Context, dir disk.Directory, below uint64, each func(uint64, *record.Record) error) error {
	segments, err := disk.Segments(dir)
	if err != nil {
		return err
	}
	for _, seg := range segments {
		if err := eachOf(ctx, dir, seg, below, each); err != nil {
			return err
		}
	}
	return nil
}

func eachOf(ctx context.Context, dir disk.Directory, seg disk.Segment, below uint64, each func(uint64, *record.Record) error) error {
	f, err := dir.Open(seg.Name(), false)
	if err != nil {
		return disk.Fault("open "+seg.Name(), err)
	}
	defer f.Close()
	frames := disk.NewFrames(io.NewSectionReader(f, 0, seg.Size))
	for index := seg.First; index < below && ctx.Err() == nil; index++ {
		entry, err := frames.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return disk.Fault("read "+seg.Name(), err)
		}
		r, err := record.Decode(entry)
		if err != nil {
			return fmt.Errorf("read record %d: %w", index, err)
		}
		if err := each(index, &r); err != nil {
			return err
		}
	}
	return ctx.Err()
}

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
		row(tw, f.Record, f.At.Local().Format("2006-01-02 15:04:05"), f.Severity, clip(who), what, clip(f.Summary))
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

func printReceivers(w io.Writer, l api.ReceiverList) {
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
			state += " since " + e.Since.Local().Format("2006-01-02 15:04")
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
