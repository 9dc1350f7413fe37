// Package edgetest has a whole data plane on a temporary directory, for tests of the
// doors and of what stands behind them.
package edgetest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/runner"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/telemetry"
)

// Tenant is whose the world is.
const Tenant = "local"

// Good is a request of the softmax model, and Answer what it says to it.
const (
	Good   = `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.5,0.25]}]}`
	Answer = `{"model_name":"m","outputs":[{"name":"scores","shape":[1,3],"datatype":"FP32","data":[0.4223,0.4223,0.1554]}]}`
)

var (
	// Operator may put routes.
	Operator = pavise.Principal{Tenant: Tenant, Kind: pavise.Human, ID: "op", Roles: []string{"operator"}, Issuer: issuer.LocalURL("test")}
	// Model is the name that requests ask.
	Model = pavise.Name{Tenant: Tenant, Kind: "model", ID: "m"}
)

// A World is a data plane with its door on loopback.
type World struct {
	*gateway.Gateway
	Edge     *edge.Edge
	Log      *ledger.Log
	Guard    *guard.Guard
	Policies *guard.Policies
	Issuer   *issuer.Local
	Server   *httptest.Server
	Token    string           // of a caller
	Changes  *change.Changes  // by which models are released and rolled back; nil: nobody asked for it
	Monitor  *monitor.Monitor // of what is answered; nil: nobody asked for it

	subjects *subject.Keys
}

// New opens a world, which the test's end closes. The verbs are those of the data
// plane and more, if a test needs more.
func New(t testing.TB, more ...guard.Action) *World {
	t.Helper()
	return NewWatched(t, telemetry.Config{Role: "test"}, more...)
}

// NewWatched opens a world that is watched as cfg says.
func NewWatched(t testing.TB, cfg telemetry.Config, more ...guard.Action) *World {
	t.Helper()
	return open(t, cfg, nil, more)
}

// NewOn opens a world whose evidence log is on a disk of the test's.
func NewOn(t testing.TB, d disk.Directory) *World {
	t.Helper()
	return open(t, telemetry.Config{Role: "test"}, d, nil)
}

// NewMonitored opens a world whose monitor watches what it answers, as cfg says beside what the
// world has, and in which models are released as changes that a second operator approves.
func NewMonitored(t testing.TB, cfg monitor.Config) *World {
	t.Helper()
	return openWith(t, telemetry.Config{Role: "test"}, nil, []guard.Action{
		{Verb: "change.propose", On: []string{"change"}}, {Verb: "change.emergency", On: []string{"change"}, Safe: true}, {Verb: "change.approve", On: []string{"change"}},
		{Verb: "change.rule", On: []string{"change"}, Consequential: true}, {Verb: "drift.baseline", On: []string{monitor.Kind}, Consequential: true},
		{Verb: "model.create", On: []string{"model"}},
	}, &cfg)
}

// underWay is how many requests may be under way, as in the house.
const underWay = 1 << 14

// open opens a world; without a disk, its log is in a directory of the test's.
func open(t testing.TB, cfg telemetry.Config, d disk.Directory, more []guard.Action) *World {
	t.Helper()
	return openWith(t, cfg, d, more, nil)
}

// openWith is open with a monitor, if one is asked for.
func openWith(t testing.TB, cfg telemetry.Config, d disk.Directory, more []guard.Action, watched *monitor.Config) *World {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &World{}
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	must(err)
	key := ed25519.NewKeyFromSeed([]byte("gateway test log key, 32 bytes.."))
	w.Log, err = ledger.Open(ledger.Options{Dir: filepath.Join(dir, "ledger"), Origin: "test/gateway", Key: key, Tenant: Tenant, Disk: d})
	must(err)
	t.Cleanup(func() { w.Log.Close() })
	db, err := store.Open(t.Context(), filepath.Join(dir, "db"))
	must(err)
	t.Cleanup(func() { db.Close() })
	w.Guard, err = guard.New(guard.Config{
		Actions: append(actions(), more...), Log: w.Log, DemoIssuer: issuer.LocalURL("test"), Pool: underWay,
		Facts: func(name pavise.Name) policy.Facts {
			return policy.Facts{Quarantined: w.Gateway != nil && w.Routes.Quarantined(name)}
		},
		Approved: func(name pavise.Name, verb string, on pavise.Name) bool {
			return w.Changes != nil && w.Changes.UnderWay(name, verb, on)
		},
	})
	must(err)
	w.Policies, err = guard.OpenPolicies(t.Context(), w.Guard, db)
	must(err)
	must(w.Policies.Seed(t.Context(), Tenant, guard.Defaults()))
	w.Issuer, err = issuer.New(issuer.Config{Guard: w.Guard, Seed: bytes.Repeat([]byte{7}, 32), Install: "test", Tenant: Tenant, Now: time.Now})
	must(err)
	verifier, err := identity.NewVerifier(time.Now, w.Issuer.Record())
	must(err)
	w.subjects, err = subject.Open(t.Context(), db, kek, time.Now)
	must(err)
	watch, err := telemetry.New(cfg)
	must(err)
	if watched != nil {
		watched.Guard, watched.Log, watched.Store, watched.Key, watched.Sign, watched.Now = w.Guard, w.Log, db, kek.Baselines, key, time.Now
		w.Monitor, err = monitor.Open(t.Context(), *watched)
		must(err)
	}
	w.Gateway, err = gateway.New(t.Context(), gateway.Config{Guard: w.Guard, Verifier: verifier, Store: db, Log: w.Log, Subjects: w.subjects, Watch: watch, KEK: kek, Embeddings: kek.Embeddings(), Monitor: w.Monitor})
	must(err)
	if watched != nil {
		runners := runner.All(&runner.Rooms{Guard: w.Guard, Log: w.Log, Routes: w.Routes, Monitor: w.Monitor})
		maps.DeleteFunc(runners, func(verb string, _ change.Runner) bool {
			return !strings.HasPrefix(verb, "route.") && verb != "drift.baseline"
		})
		w.Changes, err = change.New(t.Context(), change.Config{Guard: w.Guard, Store: db, Log: w.Log, Now: time.Now, Runners: runners})
		must(err)
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Monitor.Run(ctx) }()
		t.Cleanup(func() {
			stop()
			must(<-ended)
		})
	}
	w.Token = w.Mint(t, "app", issuer.RoleCaller)
	w.Edge = edge.New(w.Gateway)
	w.Server = httptest.NewUnstartedServer(w.Edge.Handler())
	w.Server.Config.Protocols, w.Server.Config.HTTP2 = edge.ClearHTTP(), edge.HTTP2()
	w.Server.Config.DisableGeneralOptionsHandler = true
	w.Server.Start()
	t.Cleanup(w.Server.Close)
	return w
}

func actions() []guard.Action {
	var list []guard.Action
	for verb, on := range map[string]string{"route.put": "route", "route.delete": "route", "issuer.mint": "issuer", "console.link": "console"} {
		list = append(list, guard.Action{Verb: verb, On: []string{on}})
	}
	for _, verb := range []string{"route.release", "route.rollback", "route.quarantine"} {
		list = append(list, guard.Action{Verb: verb, On: []string{"route"}, Safe: verb != "route.release", Consequential: true})
	}
	for verb, on := range map[string]string{"route.list": "route", "model.infer": "model", "model.describe": "model", "ledger.read": "ledger"} {
		list = append(list, guard.Action{Verb: verb, On: []string{on}, Class: guard.Pooled})
	}
	return list
}

// Mint returns a token of a workload with the given roles.
func (w *World) Mint(t testing.TB, id string, roles ...string) string {
	t.Helper()
	token, err := w.Issuer.Bootstrap(issuer.MintRequest{Subject: id, Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	return token.Value
}

// Softmax is an ONNX model that takes two numbers, x, and gives three scores.
func Softmax() []byte { return SoftmaxOf(1, 0, -1, 0, 2, 0) }

// SoftmaxOf is such a model with other weights: three for each number.
func SoftmaxOf(numbers ...float32) []byte {
	w := onnx.NewWriter("softmax")
	weights := w.Floats("w", []int{2, 3}, numbers)
	w.Node("Softmax", "scores", []string{w.Node("MatMul", "z", []string{w.Input("x", 2), weights})})
	w.Output("scores", 3)
	return w.Bytes()
}

// Put puts a route to Model: to the softmax model, unless edit says otherwise.
func (w *World) Put(t testing.TB, edit func(*route.Spec)) {
	t.Helper()
	spec := route.Spec{Name: Model.String(), ONNX: Softmax()}
	if edit != nil {
		edit(&spec)
	}
	if _, err := w.Routes.Put(t.Context(), Operator, spec); err != nil {
		t.Fatal(err)
	}
}

// second is another operator, who approves.
var second = pavise.Principal{Tenant: Tenant, Kind: pavise.Human, ID: "second", Roles: []string{"operator"}, Issuer: issuer.LocalURL("test")}

// Release lets another ONNX model answer for Model, as a change that two people agree on.
func (w *World) Release(t testing.TB, model []byte) {
	t.Helper()
	request, err := json.Marshal(route.ReleaseSpec{Name: Model.String(), ONNX: model})
	if err != nil {
		t.Fatal(err)
	}
	ch, err := w.Changes.Propose(t.Context(), Operator, change.Proposal{Verb: "route.release", On: pavise.Name{Tenant: Tenant, Kind: "route", ID: Model.ID}, Request: request})
	if err == nil {
		ch, err = w.Changes.Approve(t.Context(), second, ch.Name, ch.Digest, "")
	}
	if err != nil || ch.State != change.Done {
		t.Fatalf("%+v: %v", ch, err)
	}
}

// Post posts JSON with the caller's token. edit may change the request.
func (w *World) Post(t testing.TB, path, body string, edit func(*http.Request)) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("POST", w.Server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+w.Token)
	if edit != nil {
		edit(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// Record is the record that a response names.
func (w *World) Record(t testing.TB, resp *http.Response) record.Record {
	t.Helper()
	index, err := strconv.ParseUint(resp.Header.Get(edge.RecordHeader), 10, 64)
	if err != nil {
		t.Fatalf("the response names no record: %v", resp.Header)
	}
	r, err := w.Log.Read(index)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
