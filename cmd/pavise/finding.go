package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/screen"
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
	fmt.Fprintf(c.stderr, "%s, of %s: %s\n", screen.Count(out.Told(), "event"), holding(report), report.Conclusion)
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
