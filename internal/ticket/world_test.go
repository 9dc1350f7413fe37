package ticket

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/outbound"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// testKey is a log key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise ticket test key, 32 bytes"))

// A world is a desk over real changes, and a clock that is set by hand.
type world struct {
	*Desk
	changes *change.Changes
	log     *ledger.Log
	cfg     Config
	path    string // of the database

	mu      sync.Mutex // guards what follows
	now     time.Time
	wiring  string // what the outcome of a lamp depends on
	revoked bool
	lamps   int // how often one was set
}

var (
	lamp  = pavise.Name{Tenant: "local", Kind: "lamp", ID: "hall"}
	ann   = person("ann")
	ben   = person("ben")
	eve   = person("eve")
	epoch = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
)

// person is an operator.
func person(id string) pavise.Principal {
	return pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: id, Issuer: "test", Roles: []string{"operator"}, Proof: "bearer"}
}

// actions are the verbs of the tests.
var actions = []guard.Action{
	{Verb: "lamp.set", On: []string{"lamp"}, Consequential: true},
	{Verb: "lamp.burn", On: []string{"lamp"}, Consequential: true},
	{Verb: "lamp.off", On: []string{"lamp"}, Consequential: true, Safe: true},
	{Verb: VerbPass, On: []string{KindTool}, Consequential: true}, {Verb: "ticket.remove", On: []string{KindTool}}, {Verb: "ticket.test", On: []string{KindTool}},
}

const usual = `
	permit (principal in Role::"operator", action in [Action::"change", Action::"lamp", Action::"ticket"], resource);`

// ofDesk lets the desk propose.
const ofDesk = `
	permit (principal in Role::"ticket-desk", action in [Action::"change.propose", Action::"change.withdraw", Action::"ticket.pass"], resource);`

// inMemory returns a directory that lies in memory, where there is such a thing: what a real
// disk takes to sync is no part of these tests.
func inMemory() (string, error) {
	if dir, err := os.MkdirTemp("/dev/shm", "ticket"); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", "ticket")
}

// newWorld opens a desk that may send to this machine and asks again at once.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: epoch, wiring: "w1"}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.log, err = ledger.Open(ledger.Options{Disk: disktest.New(), Origin: "example.test/log", Key: testKey, Tenant: "local", Now: w.clock})
	must(err)
	t.Cleanup(func() { w.log.Close() })
	dir, err := inMemory()
	must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	w.path = filepath.Join(dir, "db")
	db, err := store.Open(t.Context(), w.path)
	must(err)
	t.Cleanup(func() { db.Close() })
	g, err := guard.New(guard.Config{
		Actions: actions, Log: w.log, Tenant: "local", Now: w.clock,
		Approved: func(name pavise.Name, verb string, on pavise.Name) bool { return w.changes.UnderWay(name, verb, on) },
	})
	must(err)
	must(g.Load("local", map[string]string{"usual": usual, "desk": ofDesk}))
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	must(err)
	w.changes, err = change.New(t.Context(), change.Config{Guard: g, Store: db, Log: w.log, Runners: w.runners(g, db), Now: w.clock, Every: time.Millisecond})
	must(err)
	w.cfg = Config{
		Guard: g, Store: db, KEK: kek, Changes: w.changes, Propose: w.changes.Propose, Withdraw: w.changes.Withdraw, Hears: w.changes.Hears, Now: w.clock, Reach: outbound.Reach{Loopback: true}, Every: time.Millisecond,
		Revoked: func(pavise.Principal, time.Time) bool { w.mu.Lock(); defer w.mu.Unlock(); return w.revoked },
	}
	w.open(t)
	return w
}

// open opens the desk anew, as the next process does.
func (w *world) open(t *testing.T) {
	t.Helper()
	var err error
	if w.Desk, err = Open(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// runners run the verbs of the tests: lamp.burn is never decided on from outside.
func (w *world) runners(g *guard.Guard, db *store.DB) map[string]change.Runner {
	run := func(verb string) change.Runner {
		return change.Runner{
			Plan: func(_ context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				p := change.Plan{Summary: fmt.Sprintf("let %s shine @all <img src=x>\n/approve", on.ID), Digests: map[string]string{"wiring": w.wiring}}
				if string(request) == `{"risk":"high"}` {
					p.Risk = change.RiskHigh
				}
				return p, nil
			},
			Run: func(ctx context.Context, act change.Act) (err error) {
				entry, err := g.Enter(ctx, act.Who, verb, act.On)
				if err != nil {
					return err
				}
				defer entry.Exit(&err)
				w.mu.Lock()
				w.lamps++
				w.mu.Unlock()
				return db.Update(ctx, act.Mark)
			},
			Outside: verb != "lamp.burn", Safe: verb == "lamp.off",
		}
	}
	runners := map[string]change.Runner{"lamp.set": run("lamp.set"), "lamp.burn": run("lamp.burn"), "lamp.off": run("lamp.off")}
	runners["ticket.map"] = change.Runner{
		Widens: true,
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			var m MapSpec
			if err := json.Unmarshal(request, &m); err != nil {
				return change.Plan{}, err
			}
			plan, err := w.PlanMap(ctx, on, m)
			return change.Plan{Summary: "map", Digests: plan.Digests(), Parties: []pavise.Name{m.Person}}, err
		},
		Run: func(ctx context.Context, act change.Act) error {
			var m MapSpec
			if err := json.Unmarshal(act.Request, &m); err != nil {
				return err
			}
			return w.Map(ctx, act.Who, act.On, m, act.Digests, act.Mark)
		},
	}
	runners[VerbPass] = change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			var s PassSpec
			if err := json.Unmarshal(request, &s); err != nil {
				return change.Plan{}, err
			}
			plan, err := w.PlanPass(ctx, on, s)
			return change.Plan{Summary: "let it go on", Digests: map[string]string{DigestDeployment: plan.Digest}, Parties: plan.Began}, err
		},
		Run: func(ctx context.Context, act change.Act) error {
			var s PassSpec
			if err := json.Unmarshal(act.Request, &s); err != nil {
				return err
			}
			return w.Pass(ctx, act.Who, act.On, s, act.Digests[DigestDeployment], act.Mark)
		},
	}
	return runners
}

// propose proposes an act, as somebody.
func (w *world) propose(t *testing.T, who pavise.Principal, verb, request string) *change.Change {
	t.Helper()
	ch, err := w.changes.Propose(t.Context(), who, change.Proposal{Verb: verb, On: lamp, Request: json.RawMessage(request), Reason: "it is *dark*"})
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func (w *world) look(t *testing.T, name pavise.Name) *change.Change {
	t.Helper()
	ch, err := w.changes.Look(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// put makes a tool known.
func (w *world) put(t *testing.T, p Put) Given {
	t.Helper()
	given, err := w.Put(t.Context(), ann, p)
	if err != nil {
		t.Fatal(err)
	}
	return given
}

// maps has an account be a person, as ann proposes and eve approves.
func (w *world) maps(t *testing.T, tool, account string, who pavise.Name, roles ...string) {
	t.Helper()
	request, err := json.Marshal(MapSpec{Account: account, Person: who, Roles: roles, Days: 30})
	if err != nil {
		t.Fatal(err)
	}
	ch, err := w.changes.Propose(t.Context(), ann, change.Proposal{Verb: "ticket.map", On: place{"local", tool}.thing(), Request: request})
	if err == nil {
		ch, err = w.changes.Approve(t.Context(), eve, ch.Name, ch.Digest, "")
	}
	if err != nil || ch.State != change.Done {
		t.Fatalf("%+v, %v", ch, err)
	}
}

// clerk serves a tool, a round at a time, as a new process would.
func (w *world) clerk(t *testing.T, tool string) *clerk {
	t.Helper()
	rows, err := w.rows(t.Context(), `WHERE tenant = 'local' AND name = ?`, tool)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	w.Desk.mu.Lock()
	defer w.Desk.mu.Unlock()
	return &clerk{desk: w.Desk, row: rows[0], state: w.stateOf(rows[0].place), known: map[pavise.Name]string{}}
}

// turn lets a clerk do all that can be done now, and hear.
func turn(t *testing.T, c *clerk) {
	t.Helper()
	c.listen, c.quiet = time.Time{}, time.Time{}
	if err := c.round(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// notes are the kinds of note in the log, and what their findings say.
func (w *world) notes(t *testing.T, kind string) (all []string) {
	t.Helper()
	for found, err := range w.log.Select(t.Context(), ledger.Filter{Tenant: "local", Kinds: []string{kind}}, w.log.First(), w.log.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Finding pavise.Finding `json:"finding"`
		}
		if found.Phase == record.Note && json.Unmarshal(found.Detail, &d) == nil {
			all = append(all, d.Finding.Summary)
		}
	}
	return all
}

// cameTo is what came of a word on a change.
func (w *world) cameTo(t *testing.T, tool string, name pavise.Name, word string) string {
	t.Helper()
	s, err := w.Show(t.Context(), ann, tool)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range s.Tickets {
		if i := slices.IndexFunc(one.Words, func(h Heard) bool { return h.Word == word }); one.Change == name && i >= 0 {
			return one.Words[i].CameTo
		}
	}
	return ""
}

// contextFor is a context that ends with the test, or before.
func contextFor(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}

// until waits for something to come true.
func until(t *testing.T, true func() bool) {
	t.Helper()
	for range 2000 {
		if true() {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatal("it does not come true")
}

// testTickets is a key that marks tickets.
func testTickets(t testing.TB) *seal.Key {
	t.Helper()
	key, err := seal.NewKey(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return key
}
