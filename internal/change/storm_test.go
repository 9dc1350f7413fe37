package change

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// A memory keeps, across all lives, what was answered before the power went.
type memory struct {
	proposed []*Change
	done     map[string]bool // ids of changes that were answered as done
}

// heard notes an answer, unless the power had gone by then: nobody got that one.
func (k *memory) heard(ch *Change, err error, dead *atomic.Bool) {
	if err != nil || dead.Load() {
		return
	}
	if !slices.ContainsFunc(k.proposed, func(p *Change) bool { return p.Name == ch.Name }) {
		k.proposed = append(k.proposed, ch)
	}
	if ch.State == Done {
		k.done[ch.Name.ID] = true
	}
}

// ordinary is the house in which lamp.set and bell.ring take two approvals, as it lies
// on its disks after a good end.
func ordinary(t testing.TB) *house {
	t.Helper()
	w := newWorld(t)
	w.rule(t, "lamp.set", Rule{Need: 2, Days: 3})
	w.rule(t, "bell.ring", Rule{Need: 2, Days: 3})
	w.end()
	return w.house
}

// copy returns the house as it is, with its database in another directory.
func (h *house) copy(dir string) (*house, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := &house{
		disk: h.disk, path: filepath.Join(dir, "db"), now: h.now, digests: maps.Clone(h.digests), rings: maps.Clone(h.rings),
	}
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(h.path + suffix)
		if err == nil {
			err = os.WriteFile(next.path+suffix, content, 0o600)
		}
		if err != nil && !(suffix != "" && errors.Is(err, os.ErrNotExist)) {
			return nil, err
		}
	}
	return next, nil
}

// storm lives in the house until the power goes at the n-th operation of the log's
// disk, and returns the house as the next life finds it. What SQLite has committed is
// synced, and what it has not is in no file whole, so that a copy of its files taken at
// that moment is what power loss leaves.
func (h *house) storm(dir string, n int, rng *rand.Rand, k *memory, live func(*world, *memory, *atomic.Bool)) (*house, error) {
	var next *house
	var failure error
	var dead atomic.Bool
	crashed := h.disk.LosePowerAfter(n, rng, func() {
		dead.Store(true)
		next, failure = h.copy(dir)
	})
	w, err := h.open()
	if err == nil {
		if err = w.Resume(context.Background()); err == nil {
			live(w, k, &dead)
		}
		w.end()
	}
	d := crashed()
	if err != nil && !dead.Load() {
		return nil, fmt.Errorf("begin a life: %w", err)
	}
	if failure != nil {
		return nil, failure
	}
	next.disk = d
	return next, nil
}

// act does a verb by its road, and those that an earlier life left open. What goes
// wrong goes wrong: the power is gone.
func act(w *world, k *memory, dead *atomic.Bool, verb string) {
	ctx := context.Background()
	ch, err := w.Propose(ctx, alice, Proposal{Verb: verb, On: lamp, Request: red})
	k.heard(ch, err, dead)
	waiting, _ := w.List(ctx, alice, "acme", true)
	for _, ch := range waiting {
		for _, who := range []pavise.Principal{bob, carol} {
			now, err := w.Approve(ctx, who, ch.Name, ch.Digest, "")
			k.heard(now, err, dead)
		}
	}
}

// everything does every verb, in an order that differs from seed to seed.
func everything(rng *rand.Rand) func(*world, *memory, *atomic.Bool) {
	return func(w *world, k *memory, dead *atomic.Bool) {
		verbs := []string{"lamp.set", "bell.ring", "lamp.off"}
		for _, i := range rng.Perm(len(verbs)) {
			act(w, k, dead, verbs[i])
		}
	}
}

// check begins one more life, in which nothing goes wrong, and holds what it finds
// against what was answered and against the log.
func (h *house) check(k *memory) error {
	w, err := h.open()
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer w.end()
	ctx := context.Background()
	if err := w.Resume(ctx); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if n, err := w.log.Count(ledger.Filter{Kinds: []string{"change.unproven"}}, 0, w.log.Size()); err != nil || n > 0 {
		return fmt.Errorf("%d alarms of a database that nobody changed, %v", n, err)
	}
	all, err := w.List(ctx, alice, "acme", false)
	if err != nil {
		return err
	}
	for _, ch := range k.proposed {
		if !slices.ContainsFunc(all, func(now *Change) bool { return now.Name == ch.Name }) {
			return fmt.Errorf("change %s was proposed, and is gone", ch.Name)
		}
	}
	for _, ch := range all {
		if ch.Verb == verbRule {
			continue // made before anything went wrong
		}
		if err := w.sound(ch, k.done[ch.Name.ID]); err != nil {
			return fmt.Errorf("change %s (%s, %s: %s): %w", ch.Name.ID, ch.Verb, ch.State, ch.Outcome, err)
		}
	}
	return nil
}

// sound holds one change against the log: it was done at most once, and only with its
// approvals in the log before the act; it waits for something or is at its end; and
// what was answered as done is done.
func (w *world) sound(ch *Change, answered bool) error {
	n, err := w.count(ch.Name.ID)
	if err != nil {
		return err
	}
	if n += w.house.rang(ch.Name.ID); n > 1 {
		return fmt.Errorf("done %d times", n)
	}
	if answered && (n != 1 || ch.State != Done) {
		return fmt.Errorf("answered as done, and done %d times", n)
	}
	people, entered := w.approvals(ch)
	need := ch.Rule.Need
	if w.runners()[ch.Verb].Safe {
		need = 0
	}
	if n == 1 && (people < need || !entered) {
		return fmt.Errorf("done with %d approvals in the log; entered: %t", people, entered)
	}
	switch ch.State {
	case Approved, Running:
		return errors.New("stuck on its way")
	case Open:
		if all := w.everApproved(ch); n > 0 || all >= ch.Rule.Need {
			return fmt.Errorf("open, with %d approvals and done %d times", all, n)
		}
	case Done, Ran:
		if n != 1 {
			return fmt.Errorf("done %d times", n)
		}
	default:
		if n != 0 {
			return errors.New("done all the same")
		}
	}
	return nil
}

// approvals counts in the log, in its own way, the people who approved a change before
// its act was entered, and says whether it was.
func (w *world) approvals(ch *Change) (people int, entered bool) {
	seen := map[string]bool{}
	for found, err := range w.log.Select(context.Background(), ledger.Filter{}, 0, w.log.Size()) {
		if err != nil {
			return 0, false
		}
		var d decided
		switch {
		case found.Who == nil:
		case found.Phase == record.Enter && found.Who.Change == ch.Name:
			return len(seen), true
		case found.Kind == "change.approve" && found.Phase == record.Exit && found.Error == nil && found.On == ch.Name:
			if json.Unmarshal(found.Detail, &d) == nil && d.Digest == ch.Digest && found.Who.ID != ch.Proposer.ID {
				seen[found.Who.ID] = true
			}
		}
	}
	return len(seen), false
}

// everApproved counts the people who approved a change, whenever.
func (w *world) everApproved(ch *Change) int {
	people, _ := w.approvals(ch)
	return people
}

// TestCrashStorm lives one life after another in a house that loses power at a random
// operation of the log's disk, and checks it after each: no act is done twice, none
// without its approvals, and none that was answered is lost or stuck. PAVISE_CRASHES
// says with how many seeds.
func TestCrashStorm(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 10
	}
	if s := os.Getenv("PAVISE_CRASHES"); s != "" {
		seeds, _ = strconv.Atoi(s)
	}
	template := ordinary(t)
	var next, crashes, done atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for seed := next.Add(1); seed <= int64(seeds) && !t.Failed(); seed = next.Add(1) {
				k := &memory{done: map[string]bool{}}
				lives, err := template.weather(uint64(seed), k)
				if err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
				crashes.Add(int64(lives))
				done.Add(int64(len(k.done)))
			}
		})
	}
	wg.Wait()
	if done.Load() == 0 {
		t.Error("nothing was ever done: the storm is none")
	}
	t.Logf("%d seeds, %d lives, %d acts answered as done", seeds, crashes.Load(), done.Load())
}

// weather is one seed of the storm.
func (h *house) weather(seed uint64, k *memory) (lives int, err error) {
	dir, err := inMemory()
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	rng := rand.New(rand.NewPCG(seed, 1))
	below := func(life int) string {
		sub := filepath.Join(dir, strconv.Itoa(life))
		os.Mkdir(sub, 0o700)
		return sub
	}
	disk := h.disk.Frozen()
	if h, err = h.copy(below(0)); err != nil {
		return 0, err
	}
	h.disk = disk
	for lives = 1; lives <= 3; lives++ {
		// Sooner or later: a start alone takes some forty operations.
		if h, err = h.storm(below(lives), 1+rng.IntN(150), rand.New(rand.NewPCG(rng.Uint64(), 2)), k, everything(rng)); err != nil {
			return lives, fmt.Errorf("life %d: %w", lives, err)
		}
	}
	return lives, h.check(k)
}

// stride is how far apart the steps are at which things go wrong: each in turn, or, when
// time is short, one in five.
func stride() int {
	if testing.Short() {
		return 5
	}
	return 1
}

// TestPowerLossAtEveryStep loses power at the first operation of the log's disk, then
// at the second, and so on until the act is through.
func TestPowerLossAtEveryStep(t *testing.T) {
	for _, verb := range []string{"lamp.set", "bell.ring"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			template, acted := ordinary(t), 0
			for n := 1; ; n += stride() {
				if n > 400 {
					t.Fatal("it never came to an end")
				}
				k := &memory{done: map[string]bool{}}
				alive := false
				dir := place(t)
				h, err := template.copy(dir)
				if err != nil {
					t.Fatal(err)
				}
				h.disk = template.disk.Frozen()
				next := filepath.Join(dir, "next")
				os.Mkdir(next, 0o700)
				h, err = h.storm(next, n, rand.New(rand.NewPCG(uint64(n), 7)), k, func(w *world, k *memory, dead *atomic.Bool) {
					act(w, k, dead, verb)
					alive = !dead.Load()
				})
				if err == nil {
					err = h.check(k)
				}
				if err != nil {
					t.Fatalf("power lost at operation %d: %v", n, err)
				}
				acted += len(k.done)
				if alive {
					t.Logf("%d operations", n)
					break
				}
			}
			if acted == 0 {
				t.Error("the act was never through")
			}
		})
	}
}

// TestADiskThatFailsAtEveryStep has one operation of the log's disk fail, each in turn:
// a full disk, and one with an error. What is answered is of kind Unavailable, or that
// the change is done; nothing is run unrecorded, and the next start sets all right.
func TestADiskThatFailsAtEveryStep(t *testing.T) {
	for name, fault := range map[string]error{"full": syscall.ENOSPC, "broken": syscall.EIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			template := ordinary(t)
			for n := 1; ; n += stride() {
				if n > 400 {
					t.Fatal("it never came to an end")
				}
				h, err := template.copy(place(t))
				if err != nil {
					t.Fatal(err)
				}
				h.disk = template.disk.Frozen()
				k := &memory{done: map[string]bool{}}
				failed, err := h.failAt(n, fault, k)
				if err == nil {
					err = h.check(k)
				}
				if err != nil {
					t.Fatalf("operation %d: %v", n, err)
				}
				if !failed {
					t.Logf("%d operations", n)
					break
				}
			}
		})
	}
}

// failAt begins a life, makes one operation of the log's disk fail from then on, and
// does an act.
func (h *house) failAt(n int, fault error, k *memory) (failed bool, err error) {
	w, err := h.open()
	if err != nil {
		return false, err
	}
	var left, failures atomic.Int64
	left.Store(int64(n))
	h.disk.Fail(func(op, name string) error {
		if left.Add(-1) == 0 {
			failures.Add(1)
			return fault
		}
		return nil
	})
	var dead atomic.Bool
	ctx := context.Background()
	ch, err := w.Propose(ctx, alice, Proposal{Verb: "lamp.set", On: lamp, Request: red})
	k.heard(ch, err, &dead)
	if err == nil {
		for _, who := range []pavise.Principal{bob, carol} {
			if ch, err = w.Approve(ctx, who, ch.Name, ch.Digest, ""); err != nil {
				break
			}
			k.heard(ch, err, &dead)
		}
	}
	w.end()
	h.disk.Fail(nil)
	if err != nil && pavise.KindOf(err) != pavise.Unavailable {
		return true, fmt.Errorf("the error is of kind %s: %w", pavise.KindOf(err), err)
	}
	return failures.Load() > 0, nil
}

// TestADatabaseThatGoesAway closes the database before each step: every answer is of
// kind Unavailable, and nothing is run.
func TestADatabaseThatGoesAway(t *testing.T) {
	ctx := context.Background()
	for what, step := range map[string]func(w *world, ch *Change) error{
		"propose": func(w *world, ch *Change) error {
			_, err := w.Propose(ctx, alice, Proposal{Verb: "lamp.set", On: lamp, Request: red})
			return err
		},
		"approve":  func(w *world, ch *Change) error { _, err := w.Approve(ctx, bob, ch.Name, ch.Digest, ""); return err },
		"deny":     func(w *world, ch *Change) error { _, err := w.Deny(ctx, bob, ch.Name, ch.Digest, "no"); return err },
		"withdraw": func(w *world, ch *Change) error { _, err := w.Withdraw(ctx, alice, ch.Name); return err },
		"list":     func(w *world, ch *Change) error { _, err := w.List(ctx, alice, "acme", false); return err },
		"show":     func(w *world, ch *Change) error { _, err := w.Show(ctx, alice, ch.Name); return err },
		"rules":    func(w *world, ch *Change) error { _, err := w.Rules(ctx, alice, "acme"); return err },
		"resume":   func(w *world, ch *Change) error { return w.Resume(ctx) },
		"sweep":    func(w *world, ch *Change) error { return w.sweep(ctx) },
		"settle": func(w *world, ch *Change) error {
			_, err := w.settle(ctx, ch.Name)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			ch := w.propose(t, alice, "lamp.set")
			w.db.Close()
			wantKind(t, step(w, ch), pavise.Unavailable)
			w.end()
			again := w.house.begin(t)
			again.expect(t, ch, Open, 0)
		})
	}
}

// TestADatabaseThatGoesAwayMidway closes the database while the act is under way,
// before its effect and after it: the next start finds out which, and it is done once.
func TestADatabaseThatGoesAwayMidway(t *testing.T) {
	for _, what := range []string{"before", "after"} {
		t.Run(what+" the effect", func(t *testing.T) {
			w := newWorld(t)
			ch := w.propose(t, alice, "lamp.set")
			gone := func() error { return w.db.Close() }
			w.house.hook(map[string]hooks{"before": {before: gone}, "after": {after: gone}}[what])
			_, err := w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
			wantKind(t, err, pavise.Unavailable)
			w.end()
			w.house.hook(hooks{})
			w.house.begin(t).expect(t, ch, Done, 1)
		})
	}
}
