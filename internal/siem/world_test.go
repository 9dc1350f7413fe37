package siem

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// testKey is a log key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise siem test key, of 32 byte"))

// A world is a log with a guard before it, and the wires that follow it.
type world struct {
	*Wires
	dir  string
	log  *ledger.Log
	cfg  Config
	stop func() // ends Run and waits for it
}

// actions are the verbs of the room, as the table of verbs has them, and one of each room
// that the default policies name.
func actions() []guard.Action {
	var all []guard.Action
	for _, verb := range []string{"siem.put", "siem.delete", "siem.rotate", "siem.test"} {
		all = append(all, guard.Action{Verb: verb, On: []string{KindEndpoint}})
	}
	for _, kind := range []string{"ledger", "route", "issuer", "console", "archive", "subject"} {
		all = append(all, guard.Action{Verb: kind + ".try", On: []string{kind}})
	}
	return append(all, guard.Action{Verb: "route.list", On: []string{"route"}, Class: guard.Pooled})
}

// newWorld opens wires that may send to this machine, whose receivers are asked again at
// once.
func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
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
	db, err := store.Open(t.Context(), filepath.Join(w.dir, "db"))
	must(err)
	t.Cleanup(func() { db.Close() })
	g, err := guard.New(guard.Config{Actions: actions(), Log: w.log})
	must(err)
	policies, err := guard.OpenPolicies(t.Context(), g, db)
	must(err)
	for _, tenant := range []string{"local", "acme"} {
		must(policies.Seed(t.Context(), tenant, guard.Defaults()))
	}
	feeds, err := feed.Open(t.Context(), w.log, db, time.Now)
	must(err)
	kek, err := seal.OpenFileKEK(filepath.Join(w.dir, "kek"))
	must(err)
	w.cfg = Config{Guard: g, Log: w.log, Feeds: feeds, Store: db, KEK: kek, Now: time.Now, Version: "1.2.3", Tenant: "local", Local: true}
	for _, c := range change {
		c(&w.cfg)
	}
	w.open(t)
	t.Cleanup(func() {
		if w.stop != nil {
			w.stop()
		}
	})
	return w
}

// open opens the wires anew, as the next process does.
func (w *world) open(t *testing.T) {
	t.Helper()
	var err error
	if w.Wires, err = Open(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	w.pause = func(int, time.Duration) time.Duration { return time.Millisecond }
}

// run tells findings until stop is called.
func (w *world) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	until(t, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.ctx != nil })
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.stop = nil
	}
}

// until waits for something to come true.
func until(t *testing.T, true func() bool) {
	t.Helper()
	for range 2000 {
		if true() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it does not come true")
}

// operatorOf is an operator of a tenant.
func operatorOf(tenant string) pavise.Principal {
	return pavise.Principal{Tenant: tenant, Kind: pavise.Human, ID: "olga", Roles: []string{"operator"}, Proof: "test"}
}

var operator = operatorOf("local")

// finding leaves a finding of a tenant in the log, and returns its index.
func (w *world) finding(t *testing.T, tenant, summary string) uint64 {
	t.Helper()
	return w.append(t, &record.Record{
		Kind: "change.overdue", Phase: record.Note, Tenant: tenant, At: time.Now().UTC(), On: pavise.Name{Tenant: tenant, Kind: "change", ID: "c1"},
		Detail: detail(map[string]any{"finding": pavise.Finding{Kind: "change.overdue", Severity: pavise.Warning, Summary: summary, On: pavise.Name{Tenant: tenant, Kind: "route", ID: "m"}}}),
	})
}

// refusal is the record of a request that a check refused.
func refusal(tenant, who, check, why string, at time.Time) *record.Record {
	return &record.Record{
		Kind: "model.infer", Phase: record.Act, Tenant: tenant, At: at.UTC(), On: pavise.Name{Tenant: tenant, Kind: "model", ID: "m"},
		Who:     &pavise.Principal{Tenant: tenant, Kind: pavise.Workload, ID: who, Proof: "bearer"},
		Outcome: pavise.Deny, Verdicts: []pavise.Verdict{{Check: check, Outcome: pavise.Deny, Reason: why}},
		Error: &record.Failure{Kind: "invalid", Msg: why},
	}
}

func (w *world) append(t *testing.T, r *record.Record) uint64 {
	t.Helper()
	receipt, err := w.log.Append(context.Background(), r, ledger.Durable)
	if err != nil {
		t.Fatal(err)
	}
	return receipt.Index
}

func detail(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// A receiver is a server that takes messages, and keeps those whose signature is good.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	answer   int    // what it says; 0: 204
	verify   []byte // the shared secret; nil: it believes everything
	messages []received
	bad      []string // what was wrong with others
	asked    int
}

// A received is a message as its receiver has it.
type received struct {
	ID   string
	Type string    `json:"type"`
	Data ocsfEvent `json:"data"`
	body []byte
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if why := checkMessage(r.verify, req.Header, body); r.verify != nil && why != "" {
		r.bad = append(r.bad, why)
	}
	if r.answer != 0 && r.answer != http.StatusOK {
		if r.answer/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(r.answer)
		return
	}
	m := received{ID: req.Header.Get("webhook-id"), body: body}
	if err := json.Unmarshal(body, &m); err != nil {
		r.bad = append(r.bad, err.Error())
	}
	r.messages = append(r.messages, m)
	w.WriteHeader(http.StatusNoContent)
}

// say makes the receiver answer with a status from now on.
func (r *receiver) say(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = status
}

// got are the messages so far.
func (r *receiver) got() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.messages...)
}

// count is how often it was asked.
func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// summaries are what a receiver was told, in order.
func (r *receiver) summaries() (all []string) {
	for _, m := range r.got() {
		all = append(all, m.Data.Message)
	}
	return all
}

// put makes an endpoint at a receiver, which verifies from then on.
func (w *world) put(t *testing.T, r *receiver, tenant, name string) Given {
	t.Helper()
	given, err := w.Put(t.Context(), operatorOf(tenant), Put{Name: name, URL: r.URL + "/hook/" + name})
	if err != nil {
		t.Fatal(err)
	}
	if given.Secret != "" {
		r.mu.Lock()
		r.verify = secretOf(t, given.Secret)
		r.mu.Unlock()
	}
	return given
}

// shown is an endpoint as it is listed.
func (w *world) endpoint(t *testing.T, tenant, name string) Endpoint {
	t.Helper()
	all, err := w.List(t.Context(), operatorOf(tenant))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.Name == name {
			return e
		}
	}
	t.Fatal(fmt.Sprint("no endpoint ", name, " in ", all))
	return Endpoint{}
}
