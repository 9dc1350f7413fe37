package deploy

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// testKey is a log key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise deploy test, 32 bytes ok!"))

// fraud is a deployment, and ana a person who may do everything.
var (
	fraud = pavise.Name{Tenant: "local", Kind: Kind, ID: "fraud"}
	ana   = pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ana", Roles: []string{"operator"}}
)

// as is ana, acting as a change that was approved.
func as(change string) pavise.Principal {
	who := ana
	who.Change = pavise.Name{Tenant: "local", Kind: "change", ID: change}
	return who
}

func target(id string) pavise.Name { return pavise.Name{Tenant: "local", Kind: KindTarget, ID: id} }

// A register is a registry of versions of fraud.
type register struct {
	mu       sync.Mutex
	versions map[int]Version
	moved    []string
	fail     error
}

func (r *register) Resolve(_ context.Context, model pavise.Name, number int) (Version, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.versions[number]
	if r.fail != nil {
		return v, r.fail
	}
	if !ok {
		return v, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s has no version %d", model.ID, number)}
	}
	return v, nil
}

func (r *register) Moved(_ context.Context, _ pavise.Name, number int, state, _ string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moved = append(r.moved, fmt.Sprintf("%d %s", number, state))
	return r.fail
}

// edit changes a version behind everybody's back.
func (r *register) edit(number int, with func(*Version)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.versions[number]
	with(&v)
	r.versions[number] = v
}

// away has the registry answer nothing but an error; nil: it is back.
func (r *register) away(err error) { r.mu.Lock(); defer r.mu.Unlock(); r.fail = err }

// words are what the registry was told, and forgets.
func (r *register) words() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, r.moved = r.moved, nil
	return list
}

// A site is where something runs, whoever looks at it.
type site struct {
	mu       sync.Mutex
	state    State
	revision uint64
	fail     error // of every call
	lazy     bool  // it takes what it is told, and does nothing
	applied  int
	slow     time.Duration
	hangs    time.Duration // how long it is looked at
	inApply  func()
}

func (s *site) set(with func(*site)) { s.mu.Lock(); defer s.mu.Unlock(); with(s) }

func (s *site) is() State { s.mu.Lock(); defer s.mu.Unlock(); return s.state }

func artefactOf(v Version) string { return "sha256:" + v.Digest + "-artefact" }

func (s *site) Takes(v Version) (string, error) {
	if len(v.Files) == 0 {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: "it has no files"}
	}
	return artefactOf(v), nil
}

func (s *site) Observe(context.Context) (State, error) {
	s.mu.Lock()
	hangs := s.hangs
	s.mu.Unlock()
	time.Sleep(hangs)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.fail
}

func (s *site) Apply(_ context.Context, d Desired) error {
	s.mu.Lock()
	slow, hook := s.slow, s.inApply
	s.mu.Unlock()
	if hook != nil {
		hook()
	}
	time.Sleep(slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if d.Revision < s.revision {
		return &pavise.Error{Kind: pavise.Conflict, Msg: "it has seen a higher revision"}
	}
	s.revision = d.Revision
	s.applied++
	if s.lazy {
		return nil
	}
	s.state = State{Healthy: true, Weight: d.Weight, Shadow: d.Shadow}
	if d.Main != nil {
		s.state.Main = artefactOf(*d.Main)
	}
	if d.Beside != nil {
		s.state.Beside = artefactOf(*d.Beside)
	}
	return nil
}

// A world is a log with a guard before it, and deployments to sites.
type world struct {
	*Deployments
	reg   *register
	sites map[string]*site
	cfg   Config
	log   *ledger.Log
	skew  atomic.Int64 // of the clock, in nanoseconds
	stop  func()       // ends Run, and waits for it
}

// inMemory returns a directory that lies in memory, where there is such a thing: what a real
// disk takes to sync is no part of these tests.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "deploy")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newWorld has the targets gw, where calls are sent, fn and edge.
func newWorld(t *testing.T) *world {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{reg: &register{versions: map[int]Version{}}, sites: map[string]*site{}}
	for n := 1; n <= 4; n++ {
		w.reg.versions[n] = Version{
			Model: pavise.Name{Tenant: "local", Kind: "model", ID: "fraud"}, Number: n, State: "published", Risk: "low", Digest: fmt.Sprint("v", n),
			Files: []File{{Path: "model.onnx", Size: 3, Digest: fmt.Sprint("f", n)}},
		}
	}
	var err error
	w.log, err = ledger.Open(ledger.Options{Disk: disktest.New(), Origin: "example.test/log", Key: testKey, Tenant: "local"})
	must(err)
	t.Cleanup(func() { w.log.Close() })
	db, err := store.Open(t.Context(), filepath.Join(inMemory(t), "db"))
	must(err)
	t.Cleanup(func() { db.Close() })
	g, err := guard.New(guard.Config{Log: w.log, Actions: actions(), Approved: func(c pavise.Name, _ string, _ pavise.Name) bool { return c.ID == "approved" }})
	must(err)
	policies, err := guard.OpenPolicies(t.Context(), g, db)
	must(err)
	must(policies.Seed(t.Context(), "local", guard.Defaults()))
	open := func(name pavise.Name, _ map[string]string) (Target, error) {
		if w.sites[name.ID] == nil {
			w.sites[name.ID] = &site{state: State{Healthy: true}}
		}
		return w.sites[name.ID], nil
	}
	w.cfg = Config{
		Guard: g, Store: db, Versions: w.reg, Now: func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) },
		Drivers: map[string]Driver{
			"gate":  {Open: open, First: true, Parts: true, Shadows: true, Keys: []Setting{{Key: "at", About: "where"}}},
			"place": {Open: open, Parts: true, Keys: []Setting{{Key: "at", About: "where"}, {Key: "must", About: "what", Required: true}}},
			"whole": {Open: open, Empties: true},
		},
	}
	w.Deployments, err = Open(t.Context(), w.cfg)
	must(err)
	for id, spec := range map[string]Spec{"gw": {Kind: "gate"}, "fn": {Kind: "place", Settings: map[string]string{"must": "x"}}, "edge": {Kind: "whole"}} {
		w.putTarget(t, id, spec)
	}
	return w
}

// actions are one of each room that the default policies name and nothing here serves.
func actions() (all []guard.Action) {
	for _, room := range []string{"ledger", "route", "issuer", "console", "archive", "subject"} {
		all = append(all, guard.Action{Verb: room + ".try", On: []string{room}})
	}
	return all
}

func (w *world) putTarget(t *testing.T, id string, spec Spec) {
	t.Helper()
	plan, err := w.PlanPut(t.Context(), target(id), spec)
	if err == nil {
		err = w.Put(t.Context(), as("approved"), target(id), spec, plan.Before, unmarked)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func unmarked(*store.Tx) error { return nil }

// run has the deployments run, as another process does, until stop.
func (w *world) run(t *testing.T) {
	t.Helper()
	var err error
	if w.Deployments, err = Open(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	d := w.Deployments
	go func() { done <- d.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.stop = func() {}
	}
	t.Cleanup(func() { w.stop() })
}

// release proposes and does a release.
func (w *world) release(t *testing.T, r Release) {
	t.Helper()
	plan, err := w.PlanRelease(t.Context(), fraud, r)
	if err == nil {
		err = w.Release(t.Context(), as("approved"), fraud, r, plan.Digests(), unmarked)
	}
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func (w *world) promote(t *testing.T) {
	t.Helper()
	plan, err := w.PlanPromote(t.Context(), fraud)
	if err == nil {
		err = w.Promote(t.Context(), as("approved"), fraud, plan.Digests(), unmarked)
	}
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func (w *world) rollback(t *testing.T) {
	t.Helper()
	plan, err := w.PlanRollback(t.Context(), fraud)
	if err == nil {
		err = w.Rollback(t.Context(), as("approved"), fraud, "it is bad", plan.Digests(), unmarked)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// now is how the deployment stands.
func (w *world) now(t *testing.T) View {
	t.Helper()
	v, err := w.Show(t.Context(), ana, fraud)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wantRuns fails unless the sites run so.
func (w *world) wantRuns(t *testing.T, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for id, s := range w.sites {
		got[id] = runs(s.is())
	}
	if !maps.Equal(got, want) {
		t.Errorf("there run %v, want %v", got, want)
	}
}

// runs are the versions of a state: "2", "2+3@10" or "2+3?".
func runs(s State) string {
	number := func(a string) string {
		for n := range 9 {
			if a == artefactOf(Version{Digest: fmt.Sprint("v", n)}) {
				return fmt.Sprint(n)
			}
		}
		return a
	}
	switch {
	case s.Beside == "":
		return number(s.Main)
	case s.Shadow:
		return number(s.Main) + "+" + number(s.Beside) + "?"
	}
	return fmt.Sprintf("%s+%s@%d", number(s.Main), number(s.Beside), s.Weight)
}

// notes are the room's notes, by kind.
func (w *world) notes(t *testing.T) map[string][]noted {
	t.Helper()
	got := map[string][]noted{}
	for r, err := range w.log.Select(t.Context(), ledger.Filter{Kinds: []string{"deploy"}, Phase: record.Note}, w.log.First(), w.log.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		var n noted
		if err := json.Unmarshal(r.Detail, &n); err != nil {
			t.Fatal(err)
		}
		got[r.Kind] = append(got[r.Kind], n)
	}
	return got
}

// wantNotes fails unless there are so many findings of each kind.
func (w *world) wantNotes(t *testing.T, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	for kind, list := range w.notes(t) {
		if kind != KindSettled {
			got[kind] = len(list)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the log has %v, want %v", got, want)
	}
}

func (w *world) wantWords(t *testing.T, want ...string) {
	t.Helper()
	if got := w.reg.words(); !slices.Equal(got, want) {
		t.Errorf("the registry was told %q, want %q", got, want)
	}
}
