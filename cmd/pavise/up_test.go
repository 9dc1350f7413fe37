package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/witness"
)

// A running is an up in this process.
type running struct {
	*up
	greeting
	stop func() // as Ctrl-C, and returns when it has stopped
}

// run opens an up and runs it.
func runUp(t *testing.T, cfg upConfig) *running {
	t.Helper()
	u := openUp(t, cfg)
	g, err := u.greet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	var stopped bool
	r := &running{up: u, greeting: g, stop: func() {
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
func openUp(t *testing.T, cfg upConfig) *up {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Listen = "127.0.0.1:0"
	u, err := newUp(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

func (r *running) ask(t *testing.T) answer {
	t.Helper()
	a, err := ask(r.Server, r.Token, sample, string(sampleRow(0)))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// verify proves the log of a data directory, whose up has stopped.
func verify(t *testing.T, dir dataDir) audit.Report {
	t.Helper()
	report, err := audit.Verify(dir.ledger(), audit.Options{})
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
	dir := dataDir(t.TempDir())
	r := runUp(t, upConfig{Data: dir, Archive: t.TempDir()})
	t.Setenv("PAVISE_DATA_DIR", string(dir))
	told := r.examples(t)
	for _, v := range api.Verbs() {
		if v.NewRequest() == nil {
			continue
		}
		if prepare := told.before[v.Name]; prepare != nil {
			prepare()
		}
		example := strings.ReplaceAll(told.words.Replace(v.Example), "'", "") // as a shell reads it
		code, stdout, stderr := pavised(t, strings.Fields(example)[1:]...)
		if code != 0 || stdout == "" || (stderr != "") != (asides[v.Name] != nil) {
			t.Errorf("%s: exit code %d\n%s%s", example, code, stdout, stderr)
		}
		r.approve(t, v.Name)
		found := false
		for _, done := range r.log.Records(0, r.log.Size()) {
			found = found || done.Kind == v.Name && done.Phase != record.Enter && done.Error == nil && done.Who.Kind == pavise.Human
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

func (r *running) examples(t *testing.T) *examples {
	x := &examples{before: map[string]func(){}}
	tell := func(words ...string) func() { return func() { x.words = strings.NewReplacer(words...) } }
	tell()()
	x.before["ledger.unseal"] = func() { tell("RECORD", strconv.FormatUint(r.ask(t).record, 10))() }
	x.before["ledger.acknowledge"] = func() {
		if _, err := r.feeds.Begin(t.Context(), tenant, "siem", ledger.Filter{Tenant: tenant}, 0); err != nil {
			t.Fatal(err)
		}
	}
	x.before["witness.prove"] = func() {
		tell("ORIGIN", r.log.Origin())()
		if err := r.guard.Note(t.Context(), witness.KindCosigned, nil, witness.Name(tenant, r.log.Origin()), witness.NewCosigning(r.log.Published())); err != nil {
			t.Fatal(err)
		}
	}
	mine := func() { ch := r.propose(t, r.operator); tell("CHANGE", ch.Name.ID)() }
	anothers := func() {
		ch := r.propose(t, r.person("bob"))
		tell("CHANGE", ch.Name.ID, "DIGEST", ch.Digest[:8], "TEXT", "no")()
	}
	x.before["change.show"], x.before["change.withdraw"] = mine, mine
	x.before["change.approve"], x.before["change.deny"] = anothers, anothers
	return x
}

// person is another operator.
func (r *running) person(id string) pavise.Principal {
	who := r.operator
	who.ID = id
	return who
}

// propose proposes a policy.
func (r *running) propose(t *testing.T, who pavise.Principal) *change.Change {
	t.Helper()
	ch, err := r.changes.Propose(t.Context(), who, change.Proposal{
		Verb: "policy.put", On: pavise.Name{Tenant: tenant, Kind: "policy", ID: "more"},
		Request: json.RawMessage(`{"text":"permit (principal in Role::\"analyst\", action == Action::\"issuer.mint\", resource);"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// approve approves what waits of a verb, as two people.
func (r *running) approve(t *testing.T, verb string) {
	t.Helper()
	for _, id := range []string{"bob", "carol"} {
		waiting, err := r.changes.List(t.Context(), r.operator, tenant, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, ch := range waiting {
			if ch.Verb != verb || ch.Proposer.ID == id {
				continue
			}
			_, err := r.changes.Approve(t.Context(), r.person(id), ch.Name, ch.Digest, "")
			if err != nil && pavise.KindOf(err) != pavise.Conflict { // that is: another came first
				t.Errorf("%s approves %s: %v", id, verb, err)
			}
		}
	}
}

// TestFraudModels holds the models of the examples to the code that made them.
func TestFraudModels(t *testing.T) {
	for name, weights := range map[string][]float32{"fraud": {1, -1, 0.5, -0.5, -2, 2}, "fraud2": {1, -1, 0.75, -0.75, -2, 2}} {
		w := learn.NewWriter("fraud")
		z := w.Node("MatMul", "z", []string{w.Input("payment", 3), w.Floats("w", []int{3, 2}, weights)})
		w.Node("Softmax", "scores", []string{z})
		w.Output("scores", 2)
		have, err := os.ReadFile("testdata/" + name + ".onnx")
		if err != nil || !bytes.Equal(have, w.Bytes()) {
			t.Errorf("testdata/%s.onnx is not the model that this test makes: %v", name, err)
		}
	}
}

// TestKilledWhileNew begins installations that were killed on the way, and finds
// them whole after the next start.
func TestKilledWhileNew(t *testing.T) {
	stages := map[string]func(*testing.T, dataDir){
		"after the keys": func(t *testing.T, dir dataDir) {
			if _, err := dir.open(); err != nil {
				t.Fatal(err)
			}
		},
		"after the first notes of policies, before their commit": func(t *testing.T, dir dataDir) {
			u := &up{cfg: upConfig{Data: dir, Now: time.Now}}
			k, err := dir.open()
			if err == nil {
				err = u.openLog(k)
			}
			if err == nil {
				_, err = u.log.Append(t.Context(), &record.Record{Kind: "policy.seeded", Phase: record.Note, Tenant: tenant, At: time.Now().UTC()}, ledger.Durable)
			}
			if err != nil {
				t.Fatal(err)
			}
			u.Close()
		},
		"before the sample model": func(t *testing.T, dir dataDir) {
			openUp(t, upConfig{Data: dir}).Close()
			forgetRoute(t, dir)
		},
	}
	for name, stage := range stages {
		t.Run(name, func(t *testing.T) {
			dir := dataDir(t.TempDir())
			stage(t, dir)
			r := runUp(t, upConfig{Data: dir})
			if a := r.ask(t); a.status != 200 {
				t.Errorf("%+v", a)
			}
			r.stop()
			verify(t, dir)
		})
	}
}

// forgetRoute makes the log end before the sample model's route, as if the
// process had been killed there.
func forgetRoute(t *testing.T, dir dataDir) {
	t.Helper()
	if err := os.RemoveAll(dir.ledger()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir.path("pavise.db")); err != nil {
		t.Fatal(err)
	}
	u := &up{cfg: upConfig{Data: dir, Now: time.Now}}
	k, err := dir.open()
	if err == nil {
		err = u.openLog(k)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	door, err := guard.New(guard.Config{Actions: api.Actions(), Log: u.log, Tenant: tenant})
	if err != nil {
		t.Fatal(err)
	}
	who := pavise.Principal{Tenant: tenant, Kind: pavise.Human, ID: "op", Roles: []string{"operator"}}
	if err := door.Load(tenant, guard.Defaults()); err != nil {
		t.Fatal(err)
	}
	// Entered, and never ended.
	if _, err := door.Enter(t.Context(), who, "route.put", pavise.Name{Tenant: tenant, Kind: "route", ID: sample}); err != nil {
		t.Fatal(err)
	}
}

// TestDeletedModelStaysAway deletes the sample model; a restart does not bring
// it back.
func TestDeletedModelStaysAway(t *testing.T) {
	dir := dataDir(t.TempDir())
	u := openUp(t, upConfig{Data: dir})
	name := pavise.Name{Tenant: tenant, Kind: "model", ID: sample}
	if err := u.gateway.Routes.Delete(t.Context(), u.operator, name); err != nil {
		t.Fatal(err)
	}
	u.Close()
	if u := openUp(t, upConfig{Data: dir}); u.gateway.Routes.Has(name) {
		t.Error("the deleted route is back")
	}
}

// TestClockSetBackBeforeStart begins an installation an hour ahead.
func TestClockSetBackBeforeStart(t *testing.T) {
	dir := dataDir(t.TempDir())
	r := runUp(t, upConfig{Data: dir, Now: func() time.Time { return time.Now().Add(time.Hour) }})
	r.stop()
	size := verify(t, dir).Records

	_, err := newUp(t.Context(), upConfig{Data: dir, Listen: "127.0.0.1:0", Now: time.Now})
	if pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "the clock is") {
		t.Fatalf("without --accept-clock: %v", err)
	}
	if got := verify(t, dir).Records; got != size {
		t.Errorf("a refused start left %d records", got-size)
	}

	r = runUp(t, upConfig{Data: dir, Now: time.Now, AcceptClock: true})
	if a := r.ask(t); a.status != 200 {
		t.Errorf("with --accept-clock: %+v", a)
	}
	noted := false
	for _, record := range r.log.Records(size, r.log.Size()) {
		noted = noted || record.Kind == "guard.clock"
	}
	if !noted {
		t.Error("the step is not recorded")
	}
	r.stop()
	r = runUp(t, upConfig{Data: dir}) // and it stays accepted
	if a := r.ask(t); a.status != 200 {
		t.Errorf("afterwards: %+v", a)
	}
	r.stop()
	verify(t, dir)
}

// TestClockSetBackWhileRunning sets it back a little, and by so much that no
// token is valid any more.
func TestClockSetBackWhileRunning(t *testing.T) {
	var offset atomic.Int64
	dir := dataDir(t.TempDir())
	r := runUp(t, upConfig{Data: dir, Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
	if a := r.ask(t); a.status != 200 {
		t.Fatalf("%+v", a)
	}
	offset.Store(int64(-10 * time.Second))
	if a := r.ask(t); a.status != 503 || !strings.Contains(a.body, "clock stepped back by") || !strings.Contains(a.body, "clock.accept") {
		t.Errorf("set back by 10 s: %+v", a)
	}
	offset.Store(0)
	if a := r.ask(t); a.status != 200 {
		t.Errorf("caught up: %+v", a)
	}

	offset.Store(int64(-10 * time.Minute))
	t.Setenv("PAVISE_DATA_DIR", string(dir))
	var code int
	var stderr string
	for range 100 {
		if code, _, stderr = pavised(t, "clock", "accept"); code == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if code != 0 {
		t.Fatalf("the operator cannot accept the clock: %s", stderr)
	}
	fresh, err := r.issuer.Mint(t.Context(), r.operator, issuer.MintRequest{Subject: "fresh", Roles: []string{issuer.RoleCaller}})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := ask(r.Server, fresh.Value, sample, string(sampleRow(0))); err != nil || a.status != 200 {
		t.Errorf("accepted: %+v, %v", a, err)
	}
	var last time.Time
	for i, record := range r.log.Records(0, r.log.Size()) {
		if record.Kind == "guard.clock" {
			last = time.Time{} // from here on the new time counts
		}
		if record.At.Before(last.Add(-time.Second)) {
			t.Errorf("record %d, %s, claims %v, after %v", i, record.Kind, record.At, last)
		}
		last = record.At
	}
	r.stop()
	verify(t, dir)
}

// TestTerminalIsSafe shows an operator what an attacker wrote.
func TestTerminalIsSafe(t *testing.T) {
	dir := dataDir(t.TempDir())
	r := runUp(t, upConfig{Data: dir})
	t.Setenv("PAVISE_DATA_DIR", string(dir))
	evil := `\u001b]0;owned\u0007\u009b2J\u202e`
	body := `{"inputs":[{"name":"` + evil + `","shape":[1,1],"datatype":"FP32","data":[1]}],"id":"` + evil + `"}`
	if a, err := ask(r.Server, r.Token, sample, body); err != nil || a.status != 400 {
		t.Fatal(a, err)
	}
	if _, err := ask(r.Server, r.Token, "x%1b%5d0;owned", body); err != nil {
		t.Fatal(err)
	}
	if _, err := r.gateway.Routes.Put(t.Context(), r.operator, gateway.RouteSpec{Name: "local/model/\x1b[2J"}); err == nil {
		t.Fatal("a route with such a name")
	}
	_, err := r.log.Append(t.Context(), &record.Record{
		Kind: "test.upstream", Phase: record.Act, Tenant: tenant, At: time.Now().UTC(), Error: &record.Failure{Kind: "unavailable", Msg: "\x1b]0;owned\a\u202e"},
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
	r := runUp(t, upConfig{Data: dataDir(t.TempDir())})
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
	dir := dataDir(t.TempDir())
	runUp(t, upConfig{Data: dir}).stop()
	kept := filepath.Join(t.TempDir(), "older")
	if err := os.CopyFS(kept, os.DirFS(dir.ledger())); err != nil {
		t.Fatal(err)
	}
	r := runUp(t, upConfig{Data: dir})
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
	if err := errors.Join(os.RemoveAll(dir.ledger()), os.CopyFS(dir.ledger(), os.DirFS(kept))); err != nil {
		t.Fatal(err)
	}
	refused("the evidence log holds ", "the log is older than the state database: restore a newer backup of it")
	if err := os.RemoveAll(dir.ledger()); err != nil {
		t.Fatal(err)
	}
	refused("the evidence log "+dir.ledger()+" is missing, and ", "restore it: pavise ledger restore FROM "+dir.ledger())
	if dir.holds("ledger") {
		t.Error("a new log was begun")
	}
}

// TestFollowerAheadOfLog starts on a log that the house's own follower has seen more
// of. Nobody can drop that one, and nobody is told to.
func TestFollowerAheadOfLog(t *testing.T) {
	dir := dataDir(t.TempDir())
	u := openUp(t, upConfig{Data: dir})
	err := u.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE feed_cursors SET next = 5000`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	u.Close()
	code, _, stderr := pavised(t, "up", "--data", string(dir), "--listen", "127.0.0.1:0")
	if code != 7 || !strings.Contains(stderr, "is older than the state database "+dir.path("pavise.db")) || !strings.Contains(stderr, "hint: restore a newer backup of the log") || strings.Contains(stderr, "unfollow") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestStateLost starts without the state database of a log that has one.
func TestStateLost(t *testing.T) {
	dir := dataDir(t.TempDir())
	runUp(t, upConfig{Data: dir}).stop()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(dir.path("pavise.db" + suffix)); err != nil && suffix == "" {
			t.Fatal(err)
		}
	}
	for range 2 {
		code, _, stderr := pavised(t, "up", "--data", string(dir), "--listen", "127.0.0.1:0")
		if code != 7 || !strings.Contains(stderr, "the state database "+dir.path("pavise.db")+" is new or empty") || !strings.Contains(stderr, "hint: restore the database from a backup") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	}
}
