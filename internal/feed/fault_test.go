package feed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/store"
)

// TestFollowersSurvivePowerLoss runs life after life of a log and of two followers
// whose effects are rows of a real database, 250 seeds, or as many as PAVISE_CRASHES says.
// The power goes at a random operation of the log's disk; the next life finds that disk as power loss leaves it,
// and the database as it was at that moment, which is sound because what SQLite has
// committed is synced. At any time a follower's rows are the first of the records that
// it wants, in order, each once: none that the log has lost. In the end they are all
// that the log holds, with every one among them that was acknowledged as durable.
func TestFollowersSurvivePowerLoss(t *testing.T) {
	seeds := 250
	if s := os.Getenv("PAVISE_CRASHES"); s != "" {
		var err error
		if seeds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() {
		seeds = 50
	}
	empty := filepath.Join(t.TempDir(), "state.db")
	f := openFeeds(t, openLog(t, disktest.New(), 1), openStore(t, empty))
	if err := errors.Join(f.db.Close(), f.log.Close()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	todo := make(chan uint64)
	for range 8 { // they wait for the disk, mostly
		dir := t.TempDir()
		wg.Go(func() {
			for seed := range todo {
				if err := powerLoss(seed, empty, dir); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	for seed := range uint64(seeds) {
		if todo <- seed; t.Failed() {
			break
		}
	}
	close(todo)
	wg.Wait()
}

// follows are the followers of the storm, by name, and what they want.
var follows = map[string]ledger.Filter{"all": {}, "some": {Kinds: []string{"route.put"}}}

// A storm is what one seed has come to.
type storm struct {
	rng  *rand.Rand
	disk *disktest.Disk
	db   string // path of the database

	mu    sync.Mutex
	acked map[uint64]string // index → id of what was acknowledged there as durable
}

func powerLoss(seed uint64, empty, dir string) error {
	path := func(life int) string { return filepath.Join(dir, fmt.Sprint(seed, "-", life)) }
	s := &storm{rng: rand.New(rand.NewPCG(seed, 1)), disk: disktest.New(), db: path(0), acked: map[uint64]string{}}
	if err := copyStore(empty, s.db); err != nil {
		return err
	}
	for life := range 1 + s.rng.IntN(3) {
		var copied error
		after := s.disk.LosePowerAfter(s.rng.IntN(60), rand.New(rand.NewPCG(seed, uint64(life)+2)), func() { copied = copyStore(s.db, path(life+1)) })
		if err := s.live(life); err != nil && !errors.Is(err, disktest.ErrPowerGone) {
			return fmt.Errorf("life %d: %w", life, err)
		}
		if s.disk = after(); copied != nil {
			return copied
		}
		s.db = path(life + 1)
	}
	if err := s.with(func(f *Feeds) error { return s.end(f) }); err != nil {
		return fmt.Errorf("in the end: %w", err)
	}
	return nil
}

// copyStore copies a database that somebody may be writing to: the log after it.
func copyStore(from, to string) error {
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(from + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(to+suffix, b, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// with opens log and database, looks whether the followers have done what they may
// have, and lets fn work. The log is closed first: the power may still go.
func (s *storm) with(fn func(*Feeds) error) (err error) {
	db, err := store.Open(context.Background(), s.db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	l, err := ledger.Open(ledger.Options{Disk: s.disk, Origin: "example.test/log", Key: testKey, Tenant: "local", SegmentSize: 1})
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := Open(context.Background(), l, db, time.Now)
	if err != nil {
		return err
	}
	for name, filter := range follows {
		if done, wanted, err := compare(f, name, filter); err != nil || len(done) > len(wanted) || !slices.Equal(done, wanted[:len(done)]) {
			return fmt.Errorf("%s has done %v, and the log holds %v, error %w", name, done, wanted, err)
		}
	}
	return fn(f)
}

// compare returns what a follower has done, and what the log holds for it.
func compare(f *Feeds, name string, filter ledger.Filter) (done, wanted []seen, err error) {
	if done, err = notedIn(f.db, name); err != nil {
		return nil, nil, err
	}
	wanted, err = matchingIn(f.log, filter)
	return done, wanted, err
}

// live follows and appends until the power goes, or for a while.
func (s *storm) live(life int) error {
	return s.with(func(f *Feeds) error {
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, len(follows))
		for name, filter := range follows {
			go func() { ended <- f.Follow(ctx, "acme", name, filter, noting(name)) }()
		}
		var writers sync.WaitGroup
		for w := range 2 {
			writers.Go(func() { s.write(f.log, 1000*life+100*w) })
		}
		writers.Wait()
		stop()
		var errs []error
		for range follows {
			errs = append(errs, <-ended)
		}
		return errors.Join(errs...)
	})
}

// write appends a few records until one fails.
func (s *storm) write(l *ledger.Log, from int) {
	for i := from; i < from+8; i++ {
		r, how := testRecord("acme", []string{"model.infer", "route.put"}[i%2], i), ledger.Durability(i/2%2)
		receipt, err := l.Append(context.Background(), r, how)
		if err != nil {
			return
		}
		if how == ledger.Durable {
			s.mu.Lock()
			s.acked[receipt.Index] = r.On.ID
			s.mu.Unlock()
		}
	}
}

// end has the followers catch up, and holds what they have done in all against the log
// and against what was acknowledged.
func (s *storm) end(f *Feeds) error {
	for name, filter := range follows {
		if err := f.CatchUp(context.Background(), "acme", name, filter, noting(name)); err != nil {
			return err
		}
		done, wanted, err := compare(f, name, filter)
		if err != nil || !slices.Equal(done, wanted) {
			return fmt.Errorf("%s has done %v, and the log holds %v, error %w", name, done, wanted, err)
		}
	}
	all, err := notedIn(f.db, "all")
	for index, id := range s.acked {
		if err != nil || !slices.Contains(all, seen{index, id}) {
			return fmt.Errorf("record %d, %s, was acknowledged, and is not in %v, error %w", index, id, all, err)
		}
	}
	return nil
}
