package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/screen"
	"github.com/pavise/pavise/internal/store/blob"
)

// doctorCommand is pavise ledger doctor.
type doctorCommand struct {
	Dir    string `arg:"" help:"The ledger directory."`
	Key    string `help:"The log's key as you know it: its fingerprint or the key itself." placeholder:"FINGERPRINT"`
	Repair bool   `help:"Make files that are derived from the records anew. No pavise may run there."`
}

// Help says what is looked at. It is kong's hook for a command's help.
func (*doctorCommand) Help() string {
	return `Everything that verify does, and beyond: every record is decoded, every index compared with its
records, and what else lies in the directory is named. --repair touches derived files alone: hashes
and indexes. Exit code 7 means that something was found.
For example: pavise ledger doctor pavise-data/ledger`
}

func (d *doctorCommand) run(_ context.Context, c *cli) error {
	opts := audit.Options{Key: d.Key}
	found, err := audit.Examine(disk.Dir{Path: d.Dir, ReadOnly: true}, c.counting(opts))
	c.counted()
	if err != nil {
		return err
	}
	if d.Repair && !found.Healthy() {
		if err := d.repair(opts); err != nil {
			return err
		}
		if found, err = audit.Examine(disk.Dir{Path: d.Dir, ReadOnly: true}, opts); err != nil {
			return err
		}
		found.Repaired = true
	}
	if c.JSON {
		err = c.printJSON(found)
	} else {
		d.print(c, found)
	}
	if err == nil && !found.Healthy() {
		err = &pavise.Error{Kind: pavise.Unverified, Msg: "the log is not as it should be", Hint: "what to do stands beside each finding"}
	}
	return err
}

// repair makes derived files anew, under the directory's lock.
func (d *doctorCommand) repair(opts audit.Options) error {
	lock, err := disk.Lock(d.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	return audit.Repair(disk.Dir{Path: d.Dir}, opts)
}

func (d *doctorCommand) print(c *cli, found audit.Diagnosis) {
	if found.Repaired {
		fmt.Fprintln(c.stdout, "derived files were made anew; the next start makes the indexes")
	}
	for _, f := range found.Findings {
		fmt.Fprintf(c.stdout, "%-9s %s\n", f.Severity, f.What)
		if f.Do != "" {
			fmt.Fprintf(c.stdout, "          %s\n", f.Do)
		}
	}
}

// backupCommand is pavise ledger backup.
type backupCommand struct {
	Dir string `arg:"" help:"The ledger directory; pavise may be running there."`
	To  string `arg:"" help:"Where the copy goes: a directory that is empty or not there."`
	trust
}

// Help says what a backup is. It is kong's hook for a command's help.
func (*backupCommand) Help() string {
	return `A copy of the log as of its newest checkpoint, proved once it is there. The keys are not part of a
log: keep a copy of them apart. For example: pavise ledger backup pavise-data/ledger /mnt/backup/ledger`
}

func (b *backupCommand) run(ctx context.Context, c *cli) error {
	opts, err := b.options()
	if err != nil {
		return err
	}
	report, err := archive.Backup(ctx, b.Dir, b.To, opts, c.progress())
	c.counted()
	return c.kept("backed up to "+b.To, report, err)
}

// restoreCommand is pavise ledger restore.
type restoreCommand struct {
	From   string `arg:"" help:"A backup's directory, or the archive: a directory or s3://BUCKET/PREFIX."`
	Dir    string `arg:"" help:"The ledger directory to make: empty or not there."`
	Origin string `help:"Which log, where the archive holds several." placeholder:"ORIGIN"`
	trust
}

// Help says what becomes of a log that was restored. It is kong's hook for a
// command's help.
func (*restoreCommand) Help() string {
	return `What comes is proved before it counts. A log that was restored to an older point goes on from there
only where nobody has seen more of it: witnesses that have will not cosign it, and stop it. Then what
was restored is evidence, and a new log begins. For example: pavise ledger restore /mnt/backup/ledger pavise-data/ledger`
}

func (r *restoreCommand) run(ctx context.Context, c *cli) error {
	opts, err := r.options()
	if err != nil {
		return err
	}
	if info, err := os.Stat(r.From + "/origin"); err == nil && info.Mode().IsRegular() {
		report, err := archive.Backup(ctx, r.From, r.Dir, opts, c.progress())
		c.counted()
		return c.kept("restored to "+r.Dir, report, err)
	}
	bucket, err := blob.Find(ctx, r.From)
	if err != nil {
		return err
	}
	report, err := archive.Restore(ctx, bucket, r.Origin, r.Dir, opts, c.progress())
	c.counted()
	return c.kept("restored to "+r.Dir, report, err)
}

// longCopy is how many bytes are worth being counted aloud.
const longCopy = 16 << 20

// progress counts bytes on the terminal.
func (c *cli) progress() archive.Progress {
	if c.JSON {
		return nil
	}
	return func(done, of int64) {
		if of < longCopy {
			return
		}
		fmt.Fprintf(c.stderr.Progress, "\r%d of %d MiB …", done>>20, of>>20)
		c.counts = true
	}
}

// kept says what was copied.
func (c *cli) kept(what string, report audit.Report, err error) error {
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(verified{Report: report})
	}
	fmt.Fprintf(c.stdout, "%s: %s, %s\n", what, holding(report), report.Conclusion)
	return nil
}

// holding says how many records a log holds: of one that was pruned not all it ever had.
func holding(r audit.Report) string {
	if r.First > 0 {
		return fmt.Sprintf("%s from %d on (those before it were pruned)", screen.Count(r.Signed-r.First, "record"), r.First)
	}
	return screen.Count(r.Signed, "record")
}

// followCommand is pavise ledger follow.
type followCommand struct {
	After uint64 `help:"Begin with the record at this index."`
	Name  string `help:"Go on where the follower of this name was acknowledged, and acknowledge what is printed."`
	evidence.FollowConditions
}

// Help says what a name does. It is kong's hook for a command's help.
func (*followCommand) Help() string {
	return `One record a line, as JSON, as they become durable; Ctrl-C ends it. A follower with a name goes on
where it stopped, also after a crash: each record comes at least once. A new one begins at --after, or
at the first record. For example, what models were asked, for whoever collects it:

  pavise ledger follow --kind model --name siem`
}

// acknowledgeEvery is how often a follower with a name says how far it has come.
const acknowledgeEvery = time.Second

func (f *followCommand) run(ctx context.Context, c *cli) error {
	client, err := c.client(ctx)
	if err != nil {
		return err
	}
	var next uint64
	var told time.Time
	acknowledge := func(ctx context.Context) error {
		if f.Name == "" || next == 0 {
			return nil
		}
		told = time.Now()
		return client.Call(ctx, "ledger.acknowledge", evidence.AcknowledgeRequest{Name: f.Name, Next: next}, nil)
	}
	for e, err := range evidence.Follow(ctx, client, evidence.Following{After: f.After, Name: f.Name, FollowConditions: f.FollowConditions}) {
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return errors.Join(err, acknowledge(context.WithoutCancel(ctx)))
		}
		if err := screen.WriteJSON(c.stdout, e, ""); err != nil {
			return err
		}
		if next = e.Index + 1; time.Since(told) > acknowledgeEvery {
			if err := acknowledge(ctx); err != nil {
				return err
			}
		}
	}
	return acknowledge(context.WithoutCancel(ctx))
}
