package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/screen"
	"github.com/pavise/pavise/internal/verbs"
	"github.com/pavise/pavise/internal/witness"
)

// A running is an up in this process.
type running struct {
	*role.Up
	role.Greeting
	stop func() // as Ctrl-C, and returns when it has stopped
}

// run opens an up and runs it.
func runUp(t *testing.T, cfg role.UpConfig) *running {
	t.Helper()
	u := openUp(t, cfg)
	g, err := u.Greet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	var stopped bool
	r := &running{Up: u, Greeting: g, stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	}}
	t.Cleanup(r.stop)
	return r
}

// openUp opens an up and lets the test close it.
func openUp(t *testing.T, cfg role.UpConfig) *role.Up {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Listen = "127.0.0.1:0"
	u, err := role.NewUp(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

func (r *running) ask(t *testing.T) answer {
	t.Helper()
	a, err := ask(r.Server, r.Token, role.Sample, string(role.SampleRow(0)))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// verify proves the log of a data directory, whose up has stopped.
func verify(t *testing.T, dir installation.Data) audit.Report {
	t.Helper()
	report, err := audit.Verify(dir.Ledger(), audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// pavised runs a command in this process.
func pavised(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// TestExamples types the example of every verb, in the order of the table. What is
// proposed, two other people approve.
func TestExamples(t *testing.T) {
	t.Chdir("../..") // where the README's reader is
	dir := installation.Data(t.TempDir())
	lake := t.TempDir()
	r := runUp(t, role.UpConfig{Data: dir, Archive: t.TempDir(), Datasets: []string{lake}, Receive: &config.Receive{Roots: []string{"/var/log/app"}}, Signers: []config.Signer{modelSigner(t)}, Drift: &config.Drift{Window: 100 * time.Millisecond, Learn: "500"}})
	t.Setenv("PAVISE_DATA_DIR", string(dir))
	told := r.examples(t, lake)
	for _, v := range verbs.Table() {
		if v.NewRequest() == nil || needsFleet(v.Name) {
			continue
		}
		if prepare := told.before[v.Name]; prepare != nil {
			prepare()
		}
		example := strings.ReplaceAll(told.words.Replace(v.Example), "'", "") // as a shell reads it
		code, stdout, stderr := pavised(t, strings.Fields(example)[1:]...)
		if code != 0 || stdout == "" || (stderr != "") != screen.HasAside(v.Name) {
			t.Errorf("%s: exit code %d\n%s%s", example, code, stdout, stderr)
		}
		r.approve(t, v.Name)
		found := false
		for _, done := range r.Rooms().Log.Records(0, r.Rooms().Log.Size()) {
			found = found || (done.Kind == v.Name || v.Name == "policy.check" && done.Kind == "model.train") && done.Phase != record.Enter && done.Error == nil && done.Who.Kind == pavise.Human
		}
		if !found {
			t.Errorf("%s left no record of %s", example, v.Name)
		}
	}
}

// examples is what the examples take for granted.
type examples struct {
	before map[string]func() // verb → what happened before
	words  *strings.Replacer // for words in capitals
}

func (r *running) examples(t *testing.T, lake string) *examples {
	x := &examples{before: map[string]func(){}}
	tell := func(words ...string) func() { return func() { x.words = strings.NewReplacer(words...) } }
	tell()()
	x.before["ledger.unseal"] = func() { tell("RECORD", strconv.FormatUint(r.ask(t).record, 10))() }
	x.before["ledger.acknowledge"] = func() {
		if _, err := r.Rooms().Feeds.Begin(t.Context(), role.Tenant, "siem", ledger.Filter{Tenant: role.Tenant}, 0); err != nil {
			t.Fatal(err)
		}
	}
	x.before["witness.prove"] = func() {
		tell("ORIGIN", r.Rooms().Log.Origin())()
		if err := r.Rooms().Guard.Note(t.Context(), witness.KindCosigned, nil, witness.Name(role.Tenant, r.Rooms().Log.Origin()), witness.NewCosigning(r.Rooms().Log.Published())); err != nil {
			t.Fatal(err)
		}
	}
	mine := func() { ch := r.propose(t, r.Operator()); tell("CHANGE", ch.Name.ID)() }
	anothers := func() {
		ch := r.propose(t, r.person("bob"))
		tell("CHANGE", ch.Name.ID, "DIGEST", ch.Digest[:8], "TEXT", "no")()
	}
	x.before["change.break"] = func() {
		r.hold("responder")
		ch := r.proposal(t, r.Operator(), change.Proposal{
			Verb: "grant.give", On: pavise.Name{Tenant: role.Tenant, Kind: "grant", ID: "deployer@human:kim"}, Request: json.RawMessage(`{"minutes":30}`),
		})
		tell("CHANGE", ch.Name.ID, "DIGEST", ch.Digest[:8])()
	}
	held := func(body string) func() {
		return func() {
			on := pavise.Name{Tenant: role.Tenant, Kind: gate.KindSource, ID: "payments"}
			r, err := r.Rooms().Gate.Admit(t.Context(), r.person("dora"), on, gate.Batch{Form: gate.FormCSV, Body: []byte(body)})
			if err != nil || r.Verdict != gate.Held {
				t.Fatalf("%+v %v", r, err)
			}
			tell("BATCH", r.SHA256[:16])()
		}
	}
	x.before["ingest.release"], x.before["ingest.discard"] = held("a,b\n1\n"), held("a,b\n2\n")
	x.before["ingest.receive"] = func() {
		spec := gate.Spec{Source: pavise.Name{Tenant: role.Tenant, Kind: gate.KindSource, ID: "app"}, Form: gate.FormLines}
		if _, err := r.Rooms().Gate.Put(t.Context(), r.Operator(), spec); err != nil {
			t.Fatal(err)
		}
	}
	flows := func(rows string) {
		if err := os.WriteFile(filepath.Join(lake, "flows.csv"), []byte("bytes,proto\n"+rows), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x.before["dataset.watch"] = func() { flows("1,tcp\n"); tell("/srv/lake", lake)() }
	x.before["dataset.report"] = func() {
		spec := catalog.ScreenSpec{Name: pavise.Name{Tenant: role.Tenant, Kind: catalog.Kind, ID: "flows"}, Terms: catalog.Terms{Label: "proto"}}
		if _, err := r.Rooms().Catalog.Screen(t.Context(), r.Operator(), spec); err != nil {
			t.Fatal(err)
		}
	}
	x.before["dataset.accept"] = func() {
		flows("1,tcp\n2,udp\n")
		v, err := r.Rooms().Catalog.Check(t.Context(), r.Operator(), pavise.Name{Tenant: role.Tenant, Kind: catalog.Kind, ID: "flows"}, true)
		if err != nil || v.Found == nil {
			t.Fatalf("%+v %v", v, err)
		}
		tell("ROOT", v.Found.Root.String())()
	}
	r.modelExamples(t, x)
	r.deployExamples(t, x)
	r.ticketExamples(t, x)
	r.driftExamples(t, x, "drifter")
	for _, verb := range []string{"drift.verdict", "drift.dismiss"} {
		moves := x.before[verb]
		x.before[verb] = func() { moves(); tell("threat-detector", "drifter")() }
	}
	x.before["target.put"] = tell() // the words above end here
	x.before["policy.check"] = func() { r.hold("ml-engineer") }
	x.before["change.show"], x.before["change.withdraw"] = mine, mine
	x.before["change.approve"], x.before["change.deny"] = anothers, anothers
	return x
}

// person is another operator.
func (r *running) person(id string) pavise.Principal {
	who := r.Operator()
	who.ID = id
	return who
}

// hold lets the operator hold a role, as if it had been granted.
func (r *running) hold(name string) {
	holder := r.Operator().Name()
	grant, _ := guard.GrantName(holder, name)
	r.Rooms().Guard.HoldGrants([]guard.Grant{{Name: grant, Holder: holder, Role: name, Until: time.Now().Add(time.Hour)}})
}

// propose proposes a policy.
func (r *running) propose(t *testing.T, who pavise.Principal) *change.Change {
	t.Helper()
	return r.proposal(t, who, change.Proposal{
		Verb: "policy.put", On: pavise.Name{Tenant: role.Tenant, Kind: "policy", ID: "more"},
		Request: json.RawMessage(`{"text":"permit (principal in Role::\"analyst\", action == Action::\"issuer.mint\", resource);"}`),
	})
}

// proposal proposes something.
func (r *running) proposal(t *testing.T, who pavise.Principal, p change.Proposal) *change.Change {
	t.Helper()
	ch, err := r.Rooms().Changes.Propose(t.Context(), who, p)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// approve approves what waits of a verb, as two people.
func (r *running) approve(t *testing.T, verb string) {
	t.Helper()
	for _, id := range []string{"bob", "carol"} {
		waiting, err := r.Rooms().Changes.List(t.Context(), r.Operator(), role.Tenant, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, ch := range waiting {
			if ch.Verb != verb || ch.Proposer.ID == id {
				continue
			}
			_, err := r.Rooms().Changes.Approve(t.Context(), r.person(id), ch.Name, ch.Digest, "")
			if err != nil && pavise.KindOf(err) != pavise.Conflict { // that is: another came first
				t.Errorf("%s approves %s: %v", id, verb, err)
			}
		}
	}
}

// TestFraudModels holds the models of the examples to the code that made them.
func TestFraudModels(t *testing.T) {
	for name, weights := range map[string][]float32{"fraud": {1, -1, 0.5, -0.5, -2, 2}, "fraud2": {1, -1, 0.75, -0.75, -2, 2}} {
		w := onnx.NewWriter("fraud")
		z := w.Node("MatMul", "z", []string{w.Input("payment", 3), w.Floats("w", []int{3, 2}, weights)})
		w.Node("Softmax", "scores", []string{z})
		w.Output("scores", 2)
		have, err := os.ReadFile("testdata/" + name + ".onnx")
		if err != nil || !bytes.Equal(have, w.Bytes()) {
			t.Errorf("testdata/%s.onnx is not the model that this test makes: %v", name, err)
		}
	}
}

// TestTreeModel holds the trees of the examples to the code that grew them: a
// payment is odd if it is large at night, or in a country with a code above 5.
func TestTreeModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := learn.Set{X: learn.NewMatrix(500, 3), Y: make([]int, 500)}
	for i := range s.Y {
		x := s.X.Row(i)
		x[0], x[1], x[2] = float32(rng.IntN(1000)), float32(rng.IntN(24)), float32(rng.IntN(8))
		if x[0] > 700 && x[1] < 6 || x[2] > 5 {
			s.Y[i] = 1
		}
	}
	trees, err := learn.TrainTrees(learn.TreeConfig{Classes: 2, Leaves: 6, MinRows: 5, Rounds: 12, Rate: 0.5, L2: 1}, s, s, rng)
	if err != nil {
		t.Fatal(err)
	}
	w := onnx.NewWriter("payments")
	trees.Emit(w, w.Input("payment", 3), "scores")
	w.Output("scores", 2)
	have, err := os.ReadFile("testdata/trees.onnx")
	if err != nil || !bytes.Equal(have, w.Bytes()) {
		t.Errorf("testdata/trees.onnx is not the model that this test makes: %v", err)
	}
}

// TestTerminalIsSafe shows an operator what an attacker wrote.
func TestTerminalIsSafe(t *testing.T) {
	dir := installation.Data(t.TempDir())
	r := runUp(t, role.UpConfig{Data: dir})
	t.Setenv("PAVISE_DATA_DIR", string(dir))
	evil := `\u001b]0;owned\u0007\u009b2J\u202e`
	body := `{"inputs":[{"name":"` + evil + `","shape":[1,1],"datatype":"FP32","data":[1]}],"id":"` + evil + `"}`
	if a, err := ask(r.Server, r.Token, role.Sample, body); err != nil || a.status != 400 {
		t.Fatal(a, err)
	}
	if _, err := ask(r.Server, r.Token, "x%1b%5d0;owned", body); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Rooms().Routes.Put(t.Context(), r.Operator(), route.Spec{Name: "local/model/\x1b[2J"}); err == nil {
		t.Fatal("a route with such a name")
	}
	_, err := r.Rooms().Log.Append(t.Context(), &record.Record{
		Kind: "test.upstream", Phase: record.Act, Tenant: role.Tenant, At: time.Now().UTC(), Error: &record.Failure{Kind: "unavailable", Msg: "\x1b]0;owned\a\u202e"},
	}, ledger.Written)
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, _ := pavised(t, "ledger", "list")
	if i := strings.IndexAny(stdout, "\x1b\x07\u009b\u202e"); code != 0 || i >= 0 {
		t.Errorf("exit code %d, and at %d: %q", code, i, stdout)
	}
}

// TestConsoleShowsTheCurl signs in on a new installation; what the console
// offers to copy is what up printed, and asks the model.
func TestConsoleShowsTheCurl(t *testing.T) {
	r := runUp(t, role.UpConfig{Data: installation.Data(t.TempDir())})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	page := ""
	for _, url := range []string{r.Console, r.Server + "/"} {
		resp, err := browser.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %s, %v", url, resp.Status, err)
		}
		page = string(text)
	}
	_, page, _ = strings.Cut(page, `<div class="paste"><pre><code>`)
	shown, _, _ := strings.Cut(page, "</code></pre><button")
	if shown = html.UnescapeString(shown); shown != r.Ask {
		t.Errorf("%q is not %q", shown, r.Ask)
	}
	if a, err := paste(shown); err != nil || a.status != 200 {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestLogReplaced starts on a log that is not the one that was there: an older one, and
// none at all.
func TestLogReplaced(t *testing.T) {
	dir := installation.Data(t.TempDir())
	runUp(t, role.UpConfig{Data: dir}).stop()
	kept := filepath.Join(t.TempDir(), "older")
	if err := os.CopyFS(kept, os.DirFS(dir.Ledger())); err != nil {
		t.Fatal(err)
	}
	r := runUp(t, role.UpConfig{Data: dir})
	for range 20 {
		r.ask(t)
	}
	r.stop()
	refused := func(msg, hint string) {
		t.Helper()
		for range 2 {
			code, stdout, stderr := pavised(t, "up", "--data", string(dir), "--listen", "127.0.0.1:0")
			if code != 7 || stdout != "" || !strings.Contains(stderr, "pavise: error: "+msg) || !strings.Contains(stderr, "\npavise: hint: "+hint) {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		}
	}
	if err := errors.Join(os.RemoveAll(dir.Ledger()), os.CopyFS(dir.Ledger(), os.DirFS(kept))); err != nil {
		t.Fatal(err)
	}
	refused("the evidence log holds ", "the log is older than the state database: restore a newer backup of it")
	if err := os.RemoveAll(dir.Ledger()); err != nil {
		t.Fatal(err)
	}
	refused("the evidence log "+dir.Ledger()+" is missing, and ", "restore it: pavise ledger restore FROM "+dir.Ledger())
	if _, err := os.Stat(dir.Ledger()); !errors.Is(err, os.ErrNotExist) {
		t.Error("a new log was begun")
	}
}

// TestStateLost starts without the state database of a log that has one.
func TestStateLost(t *testing.T) {
	dir := installation.Data(t.TempDir())
	runUp(t, role.UpConfig{Data: dir}).stop()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(dir.Path("pavise.db" + suffix)); err != nil && suffix == "" {
			t.Fatal(err)
		}
	}
	for range 2 {
		code, _, stderr := pavised(t, "up", "--data", string(dir), "--listen", "127.0.0.1:0")
		if code != 7 || !strings.Contains(stderr, "the state database "+dir.Path("pavise.db")+" is new or empty") || !strings.Contains(stderr, "hint: restore the database from a backup") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	}
}
