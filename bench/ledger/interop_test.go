package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise/internal/ledger"
)

// TestInterop lets tessera and transparency-dev/merkle read logs of many sizes:
// around the edges of a tile, and one long enough for a second segment and for
// a third level of tiles.
func TestInterop(t *testing.T) {
	sizes := []int{1, 2, 255, 256, 257, 512, 1000}
	if !testing.Short() {
		sizes = append(sizes, tileWidth*tileWidth+300)
	}
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir := t.TempDir()
			fill(t, dir, size)
			n, err := checkLog(t.Context(), options(dir))
			if err != nil {
				t.Fatal(err)
			}
			if n != uint64(size) {
				t.Errorf("the log holds %d records, want %d", n, size)
			}
		})
	}
}

// TestConsistency lets tessera follow a log from one checkpoint to the next.
func TestConsistency(t *testing.T) {
	dir := t.TempDir()
	key := fill(t, dir, 300)
	verifier, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	early, err := openTiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := early.ReadCheckpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fill(t, dir, 700)
	late, err := openTiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	tracker, err := client.NewLogStateTracker(t.Context(), late.ReadTile, checkpoint, verifier, origin, client.UnilateralConsensus(late.ReadCheckpoint))
	if err != nil {
		t.Fatal(err)
	}
	before := tracker.Latest()
	if _, path, _, err := tracker.Update(t.Context()); err != nil {
		t.Fatal(err)
	} else if after := tracker.Latest(); before.Size != 300 || after.Size != 1000 {
		t.Errorf("tessera went from %d to %d records, want 300 to 1000", before.Size, after.Size)
	} else if err := proof.VerifyConsistency(rfc6962.DefaultHasher, before.Size, after.Size, path, before.Hash, after.Hash); err != nil {
		t.Error(err)
	}
}

// TestTampering makes sure that tessera's eyes are open: what is changed in our
// files it must refuse.
func TestTampering(t *testing.T) {
	for _, file := range []string{"entries-000000000000000.seg", "hash.0", "hash.1", "checkpoint"} {
		t.Run(file, func(t *testing.T) {
			dir := t.TempDir()
			key := fill(t, dir, 600)
			if err := checkTiles(t.Context(), dir, key); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			flip(t, filepath.Join(dir, file))
			if err := checkTiles(t.Context(), dir, key); err == nil {
				t.Errorf("tessera accepts the log with a bit changed in %s", file)
			}
		})
	}
}

// flip changes one bit in the second half of the file's first kilobyte.
func flip(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[min(len(b), 1024)*3/4-1] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// fill appends records to the log in dir, closes it, and returns its key.
func fill(t *testing.T, dir string, records int) (key string) {
	t.Helper()
	log, err := ledger.Open(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	const producers = 16
	l := newLoad(producers)
	var group errgroup.Group
	for p := range producers {
		group.Go(func() error {
			for i := p; i < records; i += producers {
				if _, err := log.Append(context.Background(), l.records[p], ledger.Written); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	key = log.Keys()[0].String()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return key
}

// TestLoad makes sure that all engines are given entries of the same length.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 3)
	tiles, err := openTiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := tiles.ReadEntryBundle(t.Context(), 0, 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(bundle) != 3*(2+entrySize) {
		t.Errorf("three entries of the log take %d bytes, want %d", len(bundle), 3*(2+entrySize))
	}
	for p, entry := range newLoad(maxProducers).entries {
		if len(entry) != entrySize {
			t.Errorf("producer %d gives the peers %d bytes, want %d", p, len(entry), entrySize)
		}
	}
}

func TestProduce(t *testing.T) {
	const each = 2 * time.Millisecond
	s, err := produce(t.Context(), 4, 10*time.Millisecond, 100*time.Millisecond, func(context.Context, int) error {
		time.Sleep(each)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.p50 < each || s.p99 < s.p50 || s.perSecond <= 0 || s.perSecond > 4/each.Seconds() {
		t.Errorf("4 producers of %v each gave %v", each, s)
	}
	if _, err := produce(t.Context(), 4, 0, time.Minute, func(context.Context, int) error { return os.ErrClosed }); err == nil {
		t.Error("an append's error was not reported")
	}
}
