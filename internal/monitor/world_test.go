package monitor

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tensor"
)

// testKey is a log key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise monitor test, 32 bytes ok"))

var (
	scorer = pavise.Name{Tenant: "local", Kind: "model", ID: "scorer"}
	onIt   = pavise.Name{Tenant: "local", Kind: Kind, ID: "scorer"}
	ana    = pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ana", Roles: []string{"operator"}}
	robot  = pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "robot", Roles: []string{"operator"}}
)

// signature is of a model that takes three numbers and a word, and gives two scores.
var signature = tensor.Signature{
	Inputs: []tensor.Port{
		{Name: "x", Datatype: tensor.FP64, Shape: []int64{-1, 3}, Columns: []tensor.Column{{Name: "a"}, {Name: "b"}, {Name: "c"}}},
		{Name: "word", Datatype: tensor.Bytes, Shape: []int64{-1}},
	},
	Outputs: []tensor.Port{{Name: "scores", Datatype: tensor.FP64, Shape: []int64{-1, 2}}},
}

// A house does what it is told, and remembers.
type house struct {
	mu     sync.Mutex
	fail   error
	former func(x float64) float64 // how the version before answers; nil: it cannot be asked
	back   []string
	slowed []pavise.Name
	asked  int
}

func (h *house) Rollback(_ context.Context, model pavise.Name, version, why string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return "", h.fail
	}
	h.back = append(h.back, version)
	return "the one before", nil
}

func (h *house) Slow(_ context.Context, _, caller pavise.Name, _ string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slowed = append(h.slowed, caller)
	return h.fail
}

func (h *house) Ask(_ context.Context, _ pavise.Name, asked *tensor.Request) (*tensor.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	if h.former == nil {
		return nil, errors.New("its server is gone")
	}
	return answered(asked, h.former), nil
}

// rolled is which versions were rolled back, and held who was slowed down.
func (h *house) rolled() []string { h.mu.Lock(); defer h.mu.Unlock(); return h.back }

func (h *house) held() []pavise.Name { h.mu.Lock(); defer h.mu.Unlock(); return h.slowed }

// A world is a monitor with a guard before it, in a bubble of time.
type world struct {
	*Monitor
	t     *testing.T
	house *house
	log   *ledger.Log
	db    *store.DB
	cfg   Config
	rng   *rand.Rand
	stop  func()

	version string
	by      string
	model   func(x float64) float64      // of the first number: the second score
	shift   func(who int, row []float64) // what a caller does to a row; nil: nothing
	word    func(who int) string         // nil: one of three
	who     int                          // callers
}

// steady is a model whose scores are steady.
func steady(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// worse is another version of it, which scores all higher.
func worse(x float64) float64 { return 1 / (1 + math.Exp(-x-0.7)) }

func newWorld(t *testing.T, edit ...func(*Config)) *world {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, house: &house{}, rng: rand.New(rand.NewPCG(5, 6)), version: "v1", model: steady, who: 8}
	var err error
	w.log, err = ledger.Open(ledger.Options{Disk: disktest.New(), Origin: "example.test/log", Key: testKey, Tenant: "local"})
	must(err)
	t.Cleanup(func() { w.log.Close() })
	w.db, err = store.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	must(err)
	t.Cleanup(func() { w.db.Close() })
	var actions []guard.Action
	for _, room := range []string{"ledger", "route", "issuer", "console", "archive", "subject"} {
		actions = append(actions, guard.Action{Verb: room + ".try", On: []string{room}})
	}
	g, err := guard.New(guard.Config{Log: w.log, Actions: actions, Approved: func(c pavise.Name, verb string, _ pavise.Name) bool {
		return c.ID == "approved" && verb == "drift.baseline"
	}})
	must(err)
	policies, err := guard.OpenPolicies(t.Context(), g, w.db)
	must(err)
	must(policies.Seed(t.Context(), "local", guard.Defaults()))
	kek, err := seal.OpenFileKEK(filepath.Join(t.TempDir(), "kek"))
	must(err)
	w.cfg = Config{Guard: g, Log: w.log, Sign: testKey, Store: w.db, Key: kek.Baselines, House: w.house, Now: time.Now, Learn: 1500, Say: func(_ string, err error) { t.Log(err) }}
	for _, e := range edit {
		e(&w.cfg)
	}
	w.run()
	t.Cleanup(func() { w.stop() })
	return w
}

// run opens the monitor, as another process does, and has it count.
func (w *world) run() {
	w.t.Helper()
	w.open()
	w.begin()
}

// open opens the monitor, which hears, and does nothing yet.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.Monitor, err = Open(w.t.Context(), w.cfg); err != nil {
		w.t.Fatal(err)
	}
}

// begin has it do what it does, until stop.
func (w *world) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	m := w.Monitor
	go func() { done <- m.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		w.stop = func() {}
	}
}

// answered is what a model answers.
func answered(asked *tensor.Request, model func(float64) float64) *tensor.Response {
	x := &asked.Inputs[0]
	rows := x.Rows()
	out := tensor.Tensor{Name: "scores", Datatype: tensor.FP64, Shape: []int64{int64(rows), 2}}
	for i := range rows {
		p := model(x.Data.Floats[3*i])
		out.Data.Floats = append(out.Data.Floats, 1-p, p)
	}
	return &tensor.Response{Outputs: []tensor.Tensor{out}}
}

// ask has a caller ask for rows.
func (w *world) ask(who, rows int) {
	x := tensor.Tensor{Name: "x", Datatype: tensor.FP64, Shape: []int64{int64(rows), 3}}
	word := tensor.Tensor{Name: "word", Datatype: tensor.Bytes, Shape: []int64{int64(rows)}}
	for range rows {
		row := []float64{w.rng.NormFloat64(), w.rng.NormFloat64(), w.rng.Float64()}
		if w.shift != nil {
			w.shift(who, row)
		}
		x.Data.Floats = append(x.Data.Floats, row...)
		text := []string{"tcp", "udp", "icmp"}[w.rng.IntN(3)]
		if w.word != nil {
			text = w.word(who)
		}
		word.Data.Bytes = append(word.Data.Bytes, []byte(text))
	}
	asked := &tensor.Request{Inputs: []tensor.Tensor{x, word}}
	w.Hear(Exchange{
		At: time.Now(), Who: pavise.Name{Tenant: "local", Kind: pavise.Workload, ID: fmt.Sprint("caller-", who)}, Model: scorer, Version: w.version, By: w.by,
		Signature: &signature, Asked: asked, Said: answered(asked, w.model),
	})
}

// windows lets so many windows pass, with 640 rows in each from all callers.
func (w *world) windows(n int) {
	w.t.Helper()
	for range n {
		for range 2 {
			for who := range w.who {
				w.ask(who, 320/w.who)
			}
			time.Sleep(w.Monitor.cfg.Window / 2)
			synctest.Wait()
		}
	}
}

// learn lets a baseline be learnt, and some windows pass by it.
func (w *world) learn() {
	w.t.Helper()
	w.windows(4)
	if v := w.stands(); v.Verdict.Stage != Stable || v.Baseline == "" {
		w.t.Fatalf("after it was learnt: %+v", v)
	}
}

// stands is how the model stands.
func (w *world) stands() View {
	w.t.Helper()
	list, err := w.List(w.t.Context(), ana, "")
	if err != nil || len(list.Models) != 1 {
		w.t.Fatalf("%+v: %v", list, err)
	}
	return list.Models[0]
}

// notes are the findings of a kind.
func (w *world) notes(kind string) (all []pavise.Finding) {
	for _, r := range w.log.Records(0, w.log.Size()) {
		var d struct{ Finding pavise.Finding }
		if r.Phase == record.Note && r.Kind == kind && json.Unmarshal(r.Detail, &d) == nil {
			all = append(all, d.Finding)
		}
	}
	return all
}

// told is the one finding of what was done.
func (w *world) told() pavise.Finding {
	w.t.Helper()
	all := w.notes(KindActed)
	if len(all) != 1 {
		w.t.Fatalf("%d findings of what was done: %+v", len(all), all)
	}
	return all[0]
}

// in runs a test in a bubble of time.
func in(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func contains(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q says nothing of %q", text, part)
	}
}
