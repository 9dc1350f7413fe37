package gate

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
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
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

// testKey is a log key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise gate test key, of 32 byte"))

var (
	operator = pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "olga", Roles: []string{"operator"}, Proof: "test"}
	pusher   = pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "ci", Roles: []string{"producer"}, Proof: "test"}
	stranger = pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "nobody", Roles: []string{"caller"}, Proof: "test"}
	rows     = pavise.Name{Tenant: "local", Kind: KindSource, ID: "rows"}
)

// A world is a log with a guard before it, and a gate.
type world struct {
	*Gate
	log *ledger.Log
	cfg Config

	mu  sync.Mutex
	now time.Time
}

// actions are the verbs of the room, and one of each room that the default policies name.
func actions() []guard.Action {
	var all []guard.Action
	for _, kind := range []string{"ledger", "route", "issuer", "console", "archive", "subject", "siem"} {
		all = append(all, guard.Action{Verb: kind + ".try", On: []string{kind}})
	}
	return append(all, guard.Action{Verb: "route.list", On: []string{"route"}, Class: guard.Pooled})
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

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 11, 27, 12, 30, 0, 0, time.UTC)}
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
	dir := t.TempDir()
	db, err := store.Open(t.Context(), filepath.Join(dir, "db"))
	must(err)
	t.Cleanup(func() { db.Close() })
	approved := func(c pavise.Name, _ string, _ pavise.Name) bool { return c.ID == "yes" }
	g, err := guard.New(guard.Config{Actions: actions(), Log: w.log, Now: w.clock, Approved: approved})
	must(err)
	policies, err := guard.OpenPolicies(t.Context(), g, db)
	must(err)
	for _, tenant := range []string{"local", "acme"} {
		must(policies.Seed(t.Context(), tenant, guard.Defaults()))
	}
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	must(err)
	output, err := blob.Open(t.Context(), filepath.Join(dir, "out"))
	must(err)
	w.cfg = Config{Guard: g, Store: db, KEK: kek, Dir: filepath.Join(dir, "held"), Output: output, Now: w.clock}
	for _, c := range change {
		c(&w.cfg)
	}
	w.open(t)
	return w
}

// open opens the gate anew, as the next process does.
func (w *world) open(t *testing.T) {
	t.Helper()
	var err error
	if w.Gate, err = Open(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
}

// put declares a source, rows unless the spec names another.
func (w *world) put(t *testing.T, spec Spec) Source {
	t.Helper()
	if spec.Source == (pavise.Name{}) {
		spec.Source = rows
	}
	s, err := w.Put(t.Context(), operator, spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// push pushes a body under an id, in the form of the source.
func (w *world) push(t *testing.T, id, body string) Receipt {
	t.Helper()
	r, err := w.Admit(t.Context(), pusher, rows, Batch{ID: id, Form: w.form(), Body: []byte(body), Writer: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) form() string {
	s, err := w.find(rows)
	if err != nil {
		return FormNDJSON
	}
	return s.terms.Load().spec.Form
}

// approved is who proposed a change that was approved, while it runs.
func approved(who pavise.Principal) pavise.Principal {
	who.Change = pavise.Name{Tenant: who.Tenant, Kind: "change", ID: "yes"}
	return who
}

// output is what lies in the output, in order.
func (w *world) output(t *testing.T) (bodies []string) {
	t.Helper()
	for o, err := range w.cfg.Output.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		from, err := w.cfg.Output.Get(t.Context(), o.Name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(from)
		from.Close()
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(text))
	}
	return bodies
}

// digests are the SHA-256 of what is in quarantine, the oldest first.
func (w *world) digests(t *testing.T) (all []string) {
	t.Helper()
	list, err := w.Held(t.Context(), operator, rows, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range list.Held {
		all = append(all, h.SHA256)
	}
	return all
}

// wantVerdict holds a receipt to a verdict and to words of its reasons.
func wantVerdict(t *testing.T, r Receipt, verdict string, words ...string) {
	t.Helper()
	if r.Verdict != verdict {
		t.Fatalf("verdict %s, want %s: %q", r.Verdict, verdict, r.Reasons)
	}
	for _, word := range words {
		if !strings.Contains(strings.Join(r.Reasons, "\n"), word) {
			t.Errorf("reasons %q do not say %q", r.Reasons, word)
		}
	}
}

// wantKind holds an error to a kind and to words.
func wantKind(t *testing.T, err error, kind pavise.Kind, words ...string) {
	t.Helper()
	if err == nil || pavise.KindOf(err) != kind {
		t.Fatalf("error %v, want kind %s", err, kind)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

// records are the records of a kind and a phase.
func (w *world) records(t *testing.T, kind, phase string) (all []ledger.Found) {
	t.Helper()
	for r, err := range w.log.Select(context.Background(), ledger.Filter{Tenant: "local", Kinds: []string{kind}, Phase: phase}, w.log.First(), w.log.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// findings are the summaries of the findings of a kind.
func (w *world) findings(t *testing.T, kind string) (all []string) {
	t.Helper()
	for _, r := range w.records(t, kind, record.Note) {
		var d struct {
			Finding pavise.Finding `json:"finding"`
		}
		if err := json.Unmarshal(r.Detail, &d); err != nil {
			t.Fatal(err)
		}
		all = append(all, d.Finding.Summary)
	}
	return all
}

// promise is a contract of two columns.
const promise = `apiVersion: v3.1.0
kind: DataContract
id: rows
version: 1.0.0
status: active
schema:
  - name: rows
    properties:
      - {name: id, logicalType: integer, required: true, unique: true}
      - {name: amount, logicalType: number, required: true, logicalTypeOptions: {minimum: 0, maximum: 1000}}
`

// good are n rows that keep it, beginning with an id.
func good(from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"id":%d,"amount":%d.5}`+"\n", from+i, i%999)
	}
	return b.String()
}
