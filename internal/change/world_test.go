package change

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// A house is what outlives a process: the two disks, the clock on the wall, and the
// world outside, in which bells ring.
type house struct {
	disk *disktest.Disk // the log's
	path string         // the database's

	mu      sync.Mutex // guards what follows
	now     time.Time
	tick    func() time.Time  // instead of now, if not nil
	digests map[string]string // what the outcome of a lamp depends on
	parties []pavise.Name     // who gains by it
	risk    string            // of what is planned
	policy  string            // of tenant acme, instead of the usual one
	rings   map[string]int    // how often the bell rang, by change
	hooks   hooks
	hear    func(*record.Record) // what the guard is about to write down, if not nil
}

// An overheard log tells the house of what is written into it.
type overheard struct {
	*ledger.Log
	house *house
}

func (o overheard) Append(ctx context.Context, r *record.Record, how ledger.Durability) (ledger.Receipt, error) {
	if o.house.hear != nil {
		o.house.hear(r)
	}
	return o.Log.Append(ctx, r, how)
}

// hooks go wrong while a runner is at work.
type hooks struct {
	before, after func() error // the effect
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// The verbs that the tests do as changes. lamp.off is in the safe direction, and
// bell.ring has its effect outside of the store.
var actions = []guard.Action{
	{Verb: "lamp.set", On: []string{"lamp"}, Consequential: true},
	{Verb: "lamp.off", On: []string{"lamp"}, Consequential: true},
	{Verb: "bell.ring", On: []string{"lamp"}, Consequential: true},
	{Verb: "change.rule", On: []string{"change"}, Consequential: true},
	{Verb: "change.withdraw", On: []string{"change"}},
}

// usual lets operators do everything, and clerks vote on what they could not do.
const usual = `
	permit (principal in Role::"operator", action in [Action::"change", Action::"lamp", Action::"bell", Action::"clock"], resource);`

const clerks = `
	permit (principal in Role::"clerk", action in [Action::"change.propose", Action::"change.approve", Action::"change.deny"], resource);`

// person is somebody of tenant acme.
func person(id string, roles ...string) pavise.Principal {
	return pavise.Principal{Tenant: "acme", Kind: pavise.Human, ID: id, Issuer: "test", Roles: roles, Proof: "bearer"}
}

var (
	alice = person("alice", "operator")
	bob   = person("bob", "operator")
	carol = person("carol", "operator")
	dave  = person("dave", "operator")
	lamp  = pavise.Name{Tenant: "acme", Kind: "lamp", ID: "hall"}
	red   = json.RawMessage(`{"color":"red"}`)
)

// inMemory returns a directory that lies in memory, where there is such a thing: what
// a real disk takes to sync is no part of these tests.
func inMemory() (string, error) {
	if dir, err := os.MkdirTemp("/dev/shm", "change"); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", "change")
}

// place returns a new directory of the test's.
func place(t testing.TB) string {
	t.Helper()
	dir, err := inMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newHouse returns a house with empty disks.
func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{
		disk: disktest.New(), path: filepath.Join(place(t), "db"), now: epoch,
		digests: map[string]string{"wiring": "w1"}, rings: map[string]int{},
	}
	if err := os.WriteFile(h.path, emptyDatabase(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// emptyDatabase returns the file of a database in which all tables are, made once:
// making one takes longer than most of what the tests do with it.
func emptyDatabase(t testing.TB) []byte {
	t.Helper()
	made, err := makeEmpty()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

var makeEmpty = sync.OnceValues(func() ([]byte, error) {
	dir, err := inMemory()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "db")
	db, err := store.Open(context.Background(), path)
	if err != nil {
		return nil, err
	}
	effects := []string{`CREATE TABLE lamp_effects (change TEXT NOT NULL) STRICT`}
	err = errors.Join(db.Migrate(context.Background(), "change", steps), db.Migrate(context.Background(), "lamp", effects), db.Close())
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tick != nil {
		return h.tick()
	}
	return h.now
}

// pass lets time pass.
func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// rewire changes what lamps depend on.
func (h *house) rewire(what, digest string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.digests[what] = digest
}

func (h *house) hook(what hooks) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hooks = what
}

func (h *house) hooked() hooks {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hooks
}

// A world is one life of a process in the house.
type world struct {
	*Changes
	house *house
	log   *ledger.Log
	db    *store.DB
}

// newWorld returns the first life in a new house.
func newWorld(t testing.TB) *world {
	t.Helper()
	return newHouse(t).begin(t)
}

// begin begins a life, as a start does: what the last one left open is closed and
// gone on with.
func (h *house) begin(t testing.TB) *world {
	t.Helper()
	w, err := h.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.end)
	if err := w.Resume(context.Background()); err != nil {
		t.Fatal(err)
	}
	return w
}

// rounds lets so many rounds of Run pass.
func (w *world) rounds(t testing.TB, n int) {
	t.Helper()
	for range n {
		if err := errors.Join(w.Resume(context.Background()), w.sweep(context.Background()), w.remind(context.Background())); err != nil {
			t.Fatal(err)
		}
	}
}

// open opens everything, and resumes nothing yet.
func (h *house) open() (w *world, err error) {
	ctx := context.Background()
	w = &world{house: h}
	defer func() {
		if err != nil {
			w.end()
		}
	}()
	key := ed25519.NewKeyFromSeed([]byte("change test, a log's key, 32 byt"))
	if w.log, err = ledger.Open(ledger.Options{Disk: h.disk, Origin: "test/change", Key: key, Tenant: "acme", SegmentSize: 1, Now: h.clock}); err != nil {
		return w, err
	}
	if w.db, err = store.Open(ctx, h.path); err != nil {
		return w, err
	}
	g, err := guard.New(guard.Config{
		Actions: actions, Log: overheard{w.log, h}, Tenant: "acme", Now: h.clock,
		Approved: func(name pavise.Name, verb string, on pavise.Name) bool { return w.Changes.UnderWay(name, verb, on) },
	})
	if err != nil {
		return w, err
	}
	texts := map[string]string{"usual": usual, "clerks": clerks}
	if h.policy != "" {
		texts["usual"] = h.policy
	}
	if err := errors.Join(g.Load("acme", texts), g.Load("other", texts)); err != nil {
		return w, err
	}
	if _, err := g.Recover(ctx); err != nil {
		return w, err
	}
	w.Changes, err = New(ctx, Config{Guard: g, Store: w.db, Log: w.log, Runners: w.runners(), Now: h.clock})
	return w, err
}

// end ends a life.
func (w *world) end() {
	if w.log != nil {
		w.log.Close()
	}
	if w.db != nil {
		w.db.Close()
	}
}

// runners run the tests' verbs.
func (w *world) runners() map[string]Runner {
	return map[string]Runner{
		"lamp.set": {
			Plan: w.plan, Run: func(ctx context.Context, act Act) error { return w.shine(ctx, "lamp.set", act) },
			Breakable: func(_ pavise.Name, request json.RawMessage) error {
				if strings.Contains(string(request), "white") {
					return &pavise.Error{Kind: pavise.Denied, Msg: "never white at once"}
				}
				return nil
			},
		},
		"lamp.off": {Outside: true, Plan: w.plan, Run: func(ctx context.Context, act Act) error { return w.shine(ctx, "lamp.off", act) }, Safe: true},
		"bell.ring": {Outside: true, Plan: w.plan, Run: w.ring, Ran: func(_ context.Context, name pavise.Name) (bool, error) {
			return w.house.rang(name.ID) > 0, nil
		}},
	}
}

func (w *world) plan(_ context.Context, on pavise.Name, request json.RawMessage) (Plan, error) {
	var r struct{ Color string }
	if err := json.Unmarshal(request, &r); err != nil || r.Color == "" {
		return Plan{}, &pavise.Error{Kind: pavise.Invalid, Msg: "this is no color", Err: err}
	}
	w.house.mu.Lock()
	defer w.house.mu.Unlock()
	digests := map[string]string{}
	for what, digest := range w.house.digests {
		digests[what] = digest
	}
	return Plan{Summary: fmt.Sprintf("let %s shine %.20s", on.ID, r.Color), Digests: digests, Parties: w.house.parties, Risk: w.house.risk}, nil
}

// shine is an act whose effect is in the store: a row that nothing keeps from being
// written twice, but the mark.
func (w *world) shine(ctx context.Context, verb string, act Act) (err error) {
	entry, err := w.guard.Enter(ctx, act.Who, verb, act.On)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	hook := w.house.hooked()
	if hook.before != nil {
		if err := hook.before(); err != nil {
			return err
		}
	}
	err = w.db.Update(ctx, func(tx *store.Tx) error {
		if err := act.Mark(tx); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO lamp_effects (change) VALUES (?)`, act.Who.Change.ID)
		return err
	})
	if err == nil && hook.after != nil {
		err = hook.after()
	}
	return err
}

// ring is an act whose effect is outside: it is heard, whatever becomes of us.
func (w *world) ring(ctx context.Context, act Act) (err error) {
	entry, err := w.guard.Enter(ctx, act.Who, "bell.ring", act.On)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	hook := w.house.hooked()
	if hook.before != nil {
		if err := hook.before(); err != nil {
			return err
		}
	}
	w.house.mu.Lock()
	w.house.rings[act.Who.Change.ID]++
	w.house.mu.Unlock()
	if hook.after != nil {
		return hook.after()
	}
	return nil
}

func (h *house) rang(id string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rings[id]
}

// effects returns how often a change took effect.
func (w *world) effects(t testing.TB, ch *Change) int {
	t.Helper()
	n, err := w.count(ch.Name.ID)
	if err != nil {
		t.Fatal(err)
	}
	return n + w.house.rang(ch.Name.ID)
}

func (w *world) count(id string) (n int, err error) {
	err = w.db.View(context.Background(), func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT count(*) FROM lamp_effects WHERE change = ?`, id).Scan(&n)
	})
	return n, err
}

// propose proposes a verb on the lamp.
func (w *world) propose(t testing.TB, who pavise.Principal, verb string) *Change {
	t.Helper()
	ch, err := w.Propose(t.Context(), who, Proposal{Verb: verb, On: lamp, Request: red, Reason: "it is dark"})
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// approve approves a change as it is.
func (w *world) approve(t testing.TB, who pavise.Principal, ch *Change) *Change {
	t.Helper()
	now, err := w.Approve(t.Context(), who, ch.Name, ch.Digest, "")
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// look returns a change as it is now.
func (w *world) look(t testing.TB, ch *Change) *Change {
	t.Helper()
	now, err := w.get(t.Context(), ch.Name)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// expect wants a change in a state, with so many effects.
func (w *world) expect(t testing.TB, ch *Change, state State, effects int) {
	t.Helper()
	if now := w.look(t, ch); now.State != state {
		t.Errorf("change is %s (%s), want %s", now.State, now.Outcome, state)
	}
	if n := w.effects(t, ch); n != effects {
		t.Errorf("the act was done %d times, want %d", n, effects)
	}
}

// rule gives a verb a rule, by the road of everybody.
func (w *world) rule(t testing.TB, verb string, r Rule) {
	t.Helper()
	request, err := json.Marshal(VerbRule{Verb: verb, Rule: r})
	if err != nil {
		t.Fatal(err)
	}
	on := pavise.Name{Tenant: "acme", Kind: "change", ID: verb}
	ch, err := w.Propose(t.Context(), alice, Proposal{Verb: verbRule, On: on, Request: request})
	if err != nil {
		t.Fatal(err)
	}
	now := ch
	for _, who := range []pavise.Principal{bob, carol, dave} { // as many as the rule before asked for
		if now.State == Open {
			now = w.approve(t, who, ch)
		}
	}
	if now.State != Done {
		t.Fatalf("the rule is %s: %s", now.State, now.Outcome)
	}
}

// records returns the records of a kind.
func (w *world) records(t testing.TB, kind, phase string) (all []record.Record) {
	t.Helper()
	for found, err := range w.log.Select(t.Context(), ledger.Filter{Kinds: []string{kind}, Phase: phase}, 0, w.log.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found.Record)
	}
	return all
}

// exec changes the database behind everybody's back.
func (w *world) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	err := w.db.Update(t.Context(), func(tx *store.Tx) error {
		result, err := tx.Exec(query, args...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(errors.New("no row was changed"), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantKind wants an error of a kind.
func wantKind(t testing.TB, err error, want pavise.Kind) {
	t.Helper()
	if err == nil || pavise.KindOf(err) != want {
		t.Errorf("the error is of kind %s: %v; want %s", pavise.KindOf(err), err, want)
	}
}
