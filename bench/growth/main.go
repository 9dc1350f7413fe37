// Command growth measures what a log costs as it grows: for each size, on one log
// that is filled further and further, how fast records come in, what they take on the
// disk, how long opening takes, verifying all of it, finding fifty records of one
// caller, and making a proof.
//
// Every size is measured on a log that was closed and opened again. The page cache is
// left as it is: warm.
//
// Run it from the bench directory:
//
//	go run ./growth [--entry 1024] [--sizes 10000,100000,1000000,10000000] [--dir DIR] [--write]
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench/growth:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	entry := flag.Int("entry", 1024, "length of an entry, in bytes")
	list := flag.String("sizes", "10000,100000,1000000,10000000", "how many records, one size after another")
	dir := flag.String("dir", os.TempDir(), "a directory on the file system to measure")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()
	var sizes []uint64
	for _, text := range strings.Split(*list, ",") {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("--sizes: %w", err)
		}
		sizes = append(sizes, n)
	}
	work, err := os.MkdirTemp(*dir, "bench-growth-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	conditions := result.Observe(work)
	g := &growth{
		log:   ledger.Options{Dir: work, Origin: "bench.pavise.example/growth", Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32)), MLDSA: bytes.Repeat([]byte{9}, 32), Tenant: "bench"},
		entry: *entry,
	}
	for _, size := range sizes {
		s, err := g.grow(ctx, size)
		if err != nil {
			return fmt.Errorf("%d records: %w", size, err)
		}
		g.stages = append(g.stages, s)
		fmt.Fprintf(os.Stderr, "%+v\n", s)
	}
	text := g.report(*list) + "\nConditions:\n\n" + conditions.String()
	fmt.Print(text)
	if !*write {
		return nil
	}
	if err := os.WriteFile(picture(*entry), []byte(curve(g.stages, *entry)), 0o644); err != nil {
		return err
	}
	return result.Write(result.File, fmt.Sprintf("growth-%d", *entry), text)
}

// picture is the name of the file with the curve, beside the results.
func picture(entry int) string { return fmt.Sprintf("growth-%d.svg", entry) }

// A growth is one log, and what it cost at each size.
type growth struct {
	log    ledger.Options
	entry  int // bytes
	stages []stage
}

// A stage is what was measured at one size.
type stage struct {
	records          uint64
	appends          float64 // a second, since the size before
	segments, hashes int64   // bytes on disk
	indexes          int64
	open, find       time.Duration
	prove            time.Duration // median
	verified         float64       // records a second
}

const (
	producers = 256
	callers   = 997 // distinct ones, a prime, so that each is spread evenly
	wanted    = 50  // records that a search is after
	proofs    = 500
)

// grow fills the log up to a size and measures it.
func (g *growth) grow(ctx context.Context, size uint64) (s stage, err error) {
	s.records = size
	if s.appends, err = g.fill(ctx, size); err != nil {
		return s, err
	}
	if err := g.weigh(&s); err != nil {
		return s, err
	}
	began := time.Now()
	report, err := audit.Verify(g.log.Dir, audit.Options{})
	if err != nil || report.Signed != size {
		return s, fmt.Errorf("verify: %d records are signed: %w", report.Signed, err)
	}
	s.verified = float64(size) / time.Since(began).Seconds()
	return s, g.ask(ctx, &s)
}

// fill appends until the log has so many records, and returns how many came in a
// second.
func (g *growth) fill(ctx context.Context, size uint64) (perSecond float64, err error) {
	log, err := ledger.Open(g.log)
	if err != nil {
		return 0, err
	}
	have := log.Size()
	var next atomic.Uint64
	next.Store(have)
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range producers {
		group.Go(func() error {
			for {
				i := next.Add(1) - 1
				if i >= size {
					return nil
				}
				if _, err := log.Append(ctx, g.record(i), ledger.Durable); err != nil {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	perSecond = float64(size-have) / time.Since(began).Seconds()
	return perSecond, log.Close()
}

// record returns the i-th record: an inference of one of many callers, padded to the
// length of an entry.
func (g *growth) record(i uint64) *record.Record {
	r := &record.Record{
		Kind: "model.infer", Phase: record.Act, Tenant: "bench", At: time.Unix(1700000000, 0).Add(time.Duration(i) * time.Millisecond).UTC(),
		Who:     &pavise.Principal{Tenant: "bench", Kind: pavise.Workload, ID: caller(i)},
		On:      pavise.Name{Tenant: "bench", Kind: "model", ID: "threat-detector"},
		Outcome: pavise.Allow, Took: 150 * time.Microsecond,
	}
	const bare = 246 // bytes of such an entry without its detail, about
	if pad := g.entry - bare; pad > 0 {
		r.Detail = append(append([]byte{'"'}, padding[:pad]...), '"')
	}
	return r
}

var padding = bytes.Repeat([]byte("0123456789abcdef"), 4096)

func caller(i uint64) string { return fmt.Sprintf("caller-%03d", i%callers) }

// weigh measures what lies on the disk.
func (g *growth) weigh(s *stage) error {
	files, err := os.ReadDir(g.log.Dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			return err
		}
		switch ext := filepath.Ext(f.Name()); {
		case ext == ".seg":
			s.segments += info.Size()
		case strings.HasPrefix(f.Name(), "hash."):
			s.hashes += info.Size()
		case strings.HasPrefix(f.Name(), "index-"):
			s.indexes += info.Size()
		}
	}
	return nil
}

// ask opens the log, searches it and makes proofs.
func (g *growth) ask(ctx context.Context, s *stage) error {
	began := time.Now()
	log, err := ledger.Open(g.log)
	if err != nil {
		return err
	}
	defer log.Close()
	s.open = time.Since(began)

	began = time.Now()
	who := pavise.Name{Tenant: "bench", Kind: pavise.Workload, ID: caller(0)}
	found := 0
	for _, err := range log.SelectBack(ctx, ledger.Filter{Tenant: "bench", Who: who.String()}, 0, log.Size()) {
		if err != nil {
			return err
		}
		if found++; found == wanted {
			break
		}
	}
	s.find = time.Since(began)
	if found == 0 {
		return fmt.Errorf("no record of %s was found", who)
	}
	took := make([]time.Duration, proofs)
	for i := range took {
		began := time.Now()
		if _, err := log.ProofFile(uint64(i) * 2654435761 % log.Size()); err != nil {
			return err
		}
		took[i] = time.Since(began)
	}
	s.prove = result.Median(took)
	return nil
}

func (g *growth) report(sizes string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## Evidence log: what it costs as it grows, entries of %d bytes\n\n", g.entry)
	fmt.Fprintf(&b, "Made by `cd bench && go run ./growth --entry %d --sizes %s --write`.\n\n", g.entry, sizes)
	t := result.NewTable("records", "appends/s", "bytes each on disk", "of that hashes, index", "bound 1.05 × entry + 33", "open ms", "verify, records/s", "find 50 of a caller, ms", "proof µs")
	for _, s := range g.stages {
		n := float64(s.records)
		t.Row(fmt.Sprint(s.records), fmt.Sprintf("%.0f", s.appends),
			fmt.Sprintf("%.1f", float64(s.segments+s.hashes+s.indexes)/n),
			fmt.Sprintf("%.1f, %.1f", float64(s.hashes)/n, float64(s.indexes)/n),
			fmt.Sprintf("%.1f", 1.05*float64(s.segments)/n+33),
			fmt.Sprintf("%.0f", s.open.Seconds()*1e3), fmt.Sprintf("%.0f", s.verified),
			fmt.Sprintf("%.1f", s.find.Seconds()*1e3), fmt.Sprintf("%.0f", s.prove.Seconds()*1e6))
	}
	fmt.Fprintf(&b, "%s\n![What things cost as the log grows, beside what they cost in the smallest](%s)\n\n", t, picture(g.entry))
	fmt.Fprintf(&b, "%d producers, durable, with search index and both signatures. The newest segment's index is in memory and not counted. "+
		"Opening reads the last segment, which holds up to 64 MiB: it takes as long as that one is full, whatever lies before.\n", producers)
	return b.String()
}
