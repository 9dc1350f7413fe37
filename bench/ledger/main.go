// Command ledger measures durable appends of 1 KB entries: the evidence log of
// Pavise beside tessera on POSIX files and single inserts into PostgreSQL, on
// the same disk, one after another, in another order each round.
//
// Every engine gets the same bytes. Pavise encodes and hashes its record within
// the time measured, and answers when a signed tree head covers it; tessera is
// measured twice, with its answer at "sequenced" (durable, no proof yet) and at
// "published" (a checkpoint covers it); PostgreSQL has no tree. Each of our
// logs is checked by audit.Verify, and by tessera's and transparency-dev's own
// code (tiles.go, check.go).
//
// Run it from the bench directory:
//
//	go run ./ledger [--rounds 3] [--seconds 4] [--dir DIR] [--write]
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pavise/pavise/bench/result"
)

func main() { result.Main("ledger", run) }

func run(ctx context.Context) error {
	rounds := flag.Int("rounds", 3, "how often every engine runs")
	seconds := flag.Float64("seconds", 4, "how long it is measured each time, after half a second of warming up")
	dir := flag.String("dir", os.TempDir(), "a directory on the file system to measure")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()

	work, err := os.MkdirTemp(*dir, "bench-ledger-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o711); err != nil { // PostgreSQL enters it as another user
		return err
	}
	engines, skipped, err := engines(ctx, work)
	if err != nil {
		return err
	}
	for _, line := range skipped {
		fmt.Fprintln(os.Stderr, line)
	}
	conditions := result.Observe(work)
	b := &benchmark{
		engines: engines, load: newLoad(maxProducers), rounds: *rounds,
		warm: 500 * time.Millisecond, window: time.Duration(*seconds * float64(time.Second)), dir: work,
	}
	if err := b.run(ctx); err != nil {
		return err
	}
	text := report(b, strings.Join(skipped, "\n"), conditions.String())
	fmt.Print(text)
	if *write {
		return result.Write(result.File, "ledger", text)
	}
	return nil
}

// A benchmark is one run: every engine in every round.
type benchmark struct {
	engines []engine
	load    *load
	rounds  int
	warm    time.Duration
	window  time.Duration
	dir     string

	samples map[string][]sample // by engine name, one per round
	logs    int                 // evidence logs written, and found right
	records uint64              // in them
}

// run measures. Each engine starts on an empty directory and is closed before
// the next begins, so that no two share the machine. The order is another one in each
// round, and the same in each run: what an engine leaves the disk to do weighs on
// whoever comes next.
func (b *benchmark) run(ctx context.Context) error {
	b.samples = map[string][]sample{}
	for round := range b.rounds {
		for _, i := range rand.New(rand.NewPCG(uint64(round), 0)).Perm(len(b.engines)) {
			e := b.engines[i]
			dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", e.name, round))
			s, err := b.measure(ctx, e, dir)
			if err != nil {
				return fmt.Errorf("round %d of %s: %w", round+1, e.name, err)
			}
			fmt.Fprintf(os.Stderr, "round %d: %-16s %s\n", round+1, e.name, s)
			b.samples[e.name] = append(b.samples[e.name], s)
		}
	}
	return nil
}

// measure runs one engine once, has its log checked, and takes it away again: files that
// stay would take the memory that the next engine's are cached in.
func (b *benchmark) measure(ctx context.Context, e engine, dir string) (sample, error) {
	defer os.RemoveAll(dir)
	debug.FreeOSMemory()
	unix.Sync() // what the last engine left behind is not this one's to write
	session, err := e.open(ctx, dir, b.load)
	if err != nil {
		return sample{}, err
	}
	s, err := produce(ctx, e.producers, b.warm, b.window, session.Append)
	if closeErr := session.Close(); err == nil {
		err = closeErr
	}
	if err != nil || e.log == nil {
		return s, err
	}
	records, err := checkLog(ctx, e.log(dir))
	b.logs++
	b.records += records
	return s, err
}
