package receiver

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
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

// testKey is a log key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise receiver test key 32 byte"))

// A gate is one in memory: the same id with the same bytes counts once.
type gate struct {
	mu     sync.Mutex
	form   string
	took   []Batch
	bodies map[string]string // of what it has, by id
	again  int               // batches that it had already
	fail   func(Batch) error // nil: it takes all
	after  func(Batch) error // fails once it has taken; nil: it does not
}

func newGate(form string) *gate { return &gate{form: form, bodies: map[string]string{}} }

func (g *gate) Form(source pavise.Name) (string, error) {
	if source.ID == "unknown" {
		return "", &pavise.Error{Kind: pavise.NotFound, Msg: source.String() + " is no source"}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.form, nil
}

func (g *gate) Admit(_ context.Context, _ pavise.Principal, _ pavise.Name, b Batch) (Receipt, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail != nil {
		if err := g.fail(b); err != nil {
			return Receipt{}, err
		}
	}
	had, twice := g.bodies[b.ID]
	if twice && had != string(b.Body) {
		return Receipt{}, &pavise.Error{Kind: pavise.Conflict, Msg: "batch " + b.ID + " has other bytes than before"}
	}
	r := Receipt{Verdict: admitted, SHA256: digest(b.Body), Rows: strings.Count(string(b.Body), "\n")}
	if twice {
		g.again++
		r.Verdict = "repeated"
		return r, nil
	}
	g.bodies[b.ID] = string(b.Body)
	if g.took = append(g.took, b); b.Doubt != "" {
		r.Verdict, r.Reasons = held, []string{b.Doubt}
	}
	if g.after != nil {
		return Receipt{}, g.after(b)
	}
	return r, nil
}

// text is all that the gate has, in order.
func (g *gate) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all strings.Builder
	for _, b := range g.took {
		all.Write(b.Body)
	}
	return all.String()
}

func (g *gate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// A world is a log with a guard before it, a gate, and receivers.
type world struct {
	*Receivers
	t    testing.TB
	dir  string
	root string
	log  *ledger.Log
	db   *store.DB
	gate *gate
	cfg  Config
}

var operator = pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "olga", Roles: []string{"operator"}, Proof: "test"}

// newWorld opens receivers that do not run yet, of files below root.
func newWorld(t testing.TB, form string, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), root: t.TempDir(), gate: newGate(form)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.log, err = ledger.Open(ledger.Options{Disk: disktest.New(), Origin: "example.test/log", Key: testKey, Tenant: "local"})
	must(err)
	t.Cleanup(func() { w.log.Close() })
	w.db, err = store.Open(t.Context(), filepath.Join(w.dir, "db"))
	must(err)
	t.Cleanup(func() { w.db.Close() })
	var actions []guard.Action
	for _, verb := range []string{"ingest.receive", "ingest.stop", "ingest.receivers"} {
		actions = append(actions, guard.Action{Verb: verb, On: []string{KindSource}})
	}
	g, err := guard.New(guard.Config{Actions: actions, Log: w.log})
	must(err)
	policies, err := guard.OpenPolicies(t.Context(), g, w.db)
	must(err)
	must(policies.Seed(t.Context(), "local", map[string]string{"all": "permit (principal in Role::\"operator\", action, resource);"}))
	w.cfg = Config{Guard: g, Store: w.db, Gate: w.gate, Roots: []string{w.root}, Scratch: filepath.Join(w.dir, "scratch"), Now: time.Now}
	for _, c := range change {
		c(&w.cfg)
	}
	w.open()
	return w
}

// open opens the receivers anew, as the next process does.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.Receivers, err = Open(w.t.Context(), w.cfg); err != nil {
		w.t.Fatal(err)
	}
	w.grace, w.breath = 0, 0
}

// until waits for something to come true.
func until(t testing.TB, true func() bool) {
	t.Helper()
	for range 2000 {
		if true() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it does not come true")
}

// app is the source of most tests.
var app = pavise.Name{Tenant: "local", Kind: KindSource, ID: "app"}

// order orders what a source is fetched from.
func (w *world) order(o Order) Standing {
	w.t.Helper()
	if o.Source.ID == "" {
		o.Source = app
	}
	s, err := w.Receive(w.t.Context(), operator, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// hand is a carrier that a test passes by hand, as the goroutine of its line would.
type hand struct {
	*line
	carrier
	w *world
}

// by opens the carrier of an order, as the next process does; nothing runs beside it.
func (w *world) by(name string) *hand {
	w.t.Helper()
	w.open()
	all, err := w.rows(w.t.Context(), "local")
	if err != nil {
		w.t.Fatal(err)
	}
	at := slices.IndexFunc(all, func(r row) bool { return r.name == name })
	l := &line{room: w.Receivers, row: all[at], told: map[string]*telling{}}
	c, err := l.open(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.close)
	return &hand{l, c, w}
}

// passes has it pass until there is no more, and twice after that.
func (h *hand) passes() error {
	for rest := 3; rest > 0; {
		more, err := h.pass(context.Background())
		if err != nil {
			return err
		}
		if !more {
			rest--
		}
	}
	return nil
}

// must is passes that has to go well.
func (h *hand) must() {
	h.w.t.Helper()
	if err := h.passes(); err != nil {
		h.w.t.Fatal(err)
	}
}

// findings are what the log has, as kind and summary.
func (w *world) findings() (all []pavise.Finding) {
	w.t.Helper()
	for found, err := range w.log.Select(context.Background(), ledger.Filter{Tenant: "local", Phase: record.Note}, 0, w.log.Size()) {
		if err != nil {
			w.t.Fatal(err)
		}
		var d struct{ Finding pavise.Finding }
		if json.Unmarshal(found.Detail, &d) == nil && d.Finding.Kind != "" {
			all = append(all, d.Finding)
		}
	}
	return all
}

// found are the kinds of what was found, each as often as it was.
func (w *world) found() string {
	w.t.Helper()
	var kinds []string
	for _, f := range w.findings() {
		kinds = append(kinds, strings.TrimPrefix(f.Kind, "ingest."))
	}
	return strings.Join(kinds, " ")
}

// wantFound compares what was found so far.
func (w *world) wantFound(want string) {
	w.t.Helper()
	if got := w.found(); got != want {
		w.t.Errorf("found %q, want %q: %+v", got, want, w.findings())
	}
}

// wantText compares what the gate has.
func (w *world) wantText(want string) {
	w.t.Helper()
	if got := w.gate.text(); got != want {
		w.t.Errorf("the gate has %.300q, want %.300q", got, want)
	}
}

// numbered are lines of the numbers from one to another.
func numbered(from, to int) string {
	var all strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&all, "line %d\n", i)
	}
	return all.String()
}
