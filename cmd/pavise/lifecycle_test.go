package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/identity/identitytest"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/registry"
)

// A lifecycle is a model's life from a trainer's directory to three places where it runs, and
// back: as docs/walks.md tells it.
type lifecycle struct {
	*process
	t       *testing.T
	dir     string
	trainer func(top, root string) string // registers what lies in a directory; returns what it is told
	cloud   *cloud
	tracker *tracker
	issuer  identitytest.Issuer // of the machine's tokens
	edge    string              // the directory of the machine
	models  [3][]byte
	tops    [3]string // directories of the models: before, good and bad
	changes []string  // ids
}

// say tells the tale.
func (l *lifecycle) say(format string, args ...any) {
	fmt.Fprintf(l.t.Output(), "%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// as is a command that a person gives; of nobody, the operator.
func (l *lifecycle) as(who string, args ...string) string {
	l.t.Helper()
	say := "pavise " + strings.Join(args, " ")
	if who != "" {
		args = append([]string{"--as", who}, args...)
	}
	if line := []rune(say); len(line) > 120 {
		say = string(line[:120]) + "…"
	}
	l.say("  %-5s $ %s", who, say)
	return l.must(l.t, append([]string{"--json"}, args...)...)
}

// change proposes one, and has people approve it, by whom it is done.
func (l *lifecycle) change(proposer string, approvers []string, args ...string) {
	l.t.Helper()
	var ch struct{ Name, Digest, State string }
	if err := json.Unmarshal([]byte(l.as(proposer, args...)), &ch); err != nil {
		l.t.Fatal(err)
	}
	id := strings.TrimPrefix(ch.Name, "local/change/")
	l.changes = append(l.changes, id)
	for i, who := range approvers {
		said := l.as(who, "change", "approve", id, ch.Digest[:16])
		if err := json.Unmarshal([]byte(said), &ch); err != nil {
			l.t.Fatal(err)
		}
		if done := ch.State == "done"; done != (i == len(approvers)-1) {
			l.t.Fatalf("after the word of %s, the change of %v is %s", who, args, ch.State)
		}
	}
}

// until waits until something holds.
func (l *lifecycle) until(what string, within time.Duration, holds func() bool) {
	l.t.Helper()
	for end := time.Now().Add(within); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("it does not come to it that %s: %s %s", what, l.must(l.t, "drift", "show", "fraud"), l.must(l.t, "deploy", "list"))
		}
	}
}

// A listed is a record as ledger list has it.
type listed struct {
	Index  uint64
	Record record.Record
}

// A noted is the detail of a note of the monitor, or of deployments.
type noted struct {
	Finding pavise.Finding
	Verdict monitor.Verdict
}

// noted are the details of the notes of a kind.
func (l *lifecycle) noted(kind string) (all []noted) {
	l.t.Helper()
	var list struct{ Events []listed }
	if err := json.Unmarshal([]byte(l.must(l.t, "--json", "ledger", "list", "--kind", kind)), &list); err != nil {
		l.t.Fatal(err)
	}
	for _, e := range list.Events {
		var d noted
		if e.Record.Phase == record.Note && json.Unmarshal(e.Record.Detail, &d) == nil {
			all = append(all, d)
		}
	}
	return all
}

// digestOf is how a gateway knows a model.
func digestOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// version is one of the model, as the registry has it.
func (l *lifecycle) version(number int) *registry.Version {
	l.t.Helper()
	var shown registry.Shown
	if err := json.Unmarshal([]byte(l.must(l.t, "--json", "model", "show", fmt.Sprint("fraud/", number))), &shown); err != nil || len(shown.Versions) != 1 {
		l.t.Fatalf("version %d: %v", number, err)
	}
	return shown.Versions[0]
}

// live waits until a version answers on all three, by its digest, as each of them has it.
func (l *lifecycle) live(version int) {
	l.t.Helper()
	packed, err := os.ReadFile(filepath.Join(l.tops[version], "function.zip"))
	if err != nil {
		l.t.Fatal(err)
	}
	l.until(fmt.Sprintf("version %d runs on all three", version), 30*time.Second, func() bool {
		var v deploy.View
		if json.Unmarshal([]byte(l.must(l.t, "--json", "deploy", "show", "fraud")), &v) != nil || v.Ready != 3 || v.Stage != deploy.StageLive {
			return false
		}
		text, _ := os.ReadFile(filepath.Join(l.edge, "current", "model.onnx"))
		return l.version(version).State == registry.Live && digestOf(text) == digestOf(l.models[version]) && "sha256:"+l.cloud.runs() == digestOf(packed) &&
			!slices.ContainsFunc(v.Spots, func(s deploy.Spot) bool { return s.Main == nil || s.Main.Version != version })
	})
	l.say("version %d runs behind the gateway (%.19s), at the machine (the same) and in the function (%.19s)", version, digestOf(l.models[version]), digestOf(packed))
}

// TestLifecycleWalk is the life of a model, with MLflow's own client where PAVISE_MLFLOW_PYTHON
// names a Python that has mlflow-skinny, and else, where PAVISE_LIFECYCLE asks for it, with the
// requests that this client makes. Nothing is simulated but what is somebody else's: the API of
// Lambda and the issues of GitHub. It takes three quarters of a minute.
func TestLifecycleWalk(t *testing.T) {
	python := os.Getenv("PAVISE_MLFLOW_PYTHON")
	if python == "" && os.Getenv("PAVISE_LIFECYCLE") == "" {
		t.Skip("PAVISE_MLFLOW_PYTHON names no Python with the package mlflow-skinny, and PAVISE_LIFECYCLE does not ask to walk without")
	}
	l := &lifecycle{t: t, dir: t.TempDir(), cloud: newCloud(t), tracker: newTracker(t), issuer: identitytest.New(t)}
	l.begin(python)
	l.register(1)
	l.places()
	l.say("3. Version 1 goes live on three targets, by two approvals")
	l.change("kim", []string{"amy", "pat"}, "deploy", "release", "fraud/1", "--to", "gateway,edge-1,lambda")
	l.live(1)
	crowd := l.crowd()
	t.Cleanup(func() {
		if crowd != nil {
			crowd.end()
		}
	})
	l.bad()
	l.shifted(crowd)
	crowd.end()
	l.say("%d requests were answered, %d were not", crowd.answered.Load(), crowd.refused.Load())
	crowd = nil
	l.tickets()
	l.prove()
}

// begin starts the house, and trains.
func (l *lifecycle) begin(python string) {
	l.t.Setenv("AWS_ACCESS_KEY_ID", "walk")
	l.t.Setenv("AWS_SECRET_ACCESS_KEY", "walk")
	config := filepath.Join(l.dir, "pavise.yaml")
	token := filepath.Join(l.dir, "token")
	trusted := filepath.Join(l.dir, "issuer.json")
	own := `{"url":"https://issuer.example","audience":"pavise","algorithms":["ES256"],"roles":["edge-agent"],"max_ttl":"1h","jwks":` + l.issuer.JWKS(l.t) + `}`
	for name, text := range map[string]string{trusted: own, config: "up:\n  drift: {window: 1s, learn: 4000, few: 3}\n", token: "walk\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	var people []string
	for _, who := range []string{"ray", "lea", "kim", "amy", "pat"} {
		people = append(people, "--person", who)
	}
	l.say("1. A house starts; three models are trained: one from before, a good one, and one whose labels were moved on")
	l.process = start(l.t, filepath.Join(l.dir, "data"), append(people, "--config", config, "--issuer", trusted)...)
	for i, moved := range []int{0, 0, 1} {
		l.models[i] = detector(l.t, uint64(i+1), moved)
		l.tops[i] = modelDirectory(l.t, l.models[i])
	}
	// It answers since before there was a registry: behind a registered name others would have to agree.
	onnx := filepath.Join(l.tops[0], "model.onnx")
	l.as("", "route", "put", "fraud", "--onnx", onnx, "--rate", "1000000/1m burst 100000", "--budget", "100000000/24h", "--model-budget", "100000000/24h")
	minted := l.as("", "issuer", "mint", "--subject", "trainer", "--role", "operator")
	var given struct{ Token string }
	if err := json.Unmarshal([]byte(minted), &given); err != nil {
		l.t.Fatal(err)
	}
	if l.trainer = l.rest(given.Token); python != "" {
		client := startMLflow(l.t, python, l.Server, given.Token)
		l.trainer = func(top, root string) string { return client.do(l.t, nil, "directory", "fraud", "high", top, root) }
	}
	l.as("", "ticket", "put", "work", "--kind", "github", "--url", l.tracker.URL, "--project", "org/repo", "--secret-file", token)
}

// register brings a version from MLflow's client to published: by who evaluates, who reviews,
// and two who approve.
func (l *lifecycle) register(version int) {
	l.t.Helper()
	l.say("2. Version %d comes from mlflow.register_model, and is published by two approvals", version)
	rows := filepath.Join(l.dir, fmt.Sprint("payments-", version, ".csv"))
	var text strings.Builder
	rng := rand.New(rand.NewPCG(uint64(version+1), 1))
	row := make([]float32, payments)
	for range 3000 {
		class := payment(rng, row)
		fmt.Fprintf(&text, "%v,%d\n", strings.Trim(fmt.Sprint(row), "[]"), class)
	}
	if err := os.WriteFile(rows, []byte(strings.ReplaceAll(text.String(), " ", ",")), 0o600); err != nil {
		l.t.Fatal(err)
	}
	var sealed struct{ Root string }
	if err := json.Unmarshal([]byte(l.as("", "dataset", "seal", rows, "-o", rows+".seal")), &sealed); err != nil {
		l.t.Fatal(err)
	}
	l.say("  trainer > mlflow.register_model(…, \"fraud\")")
	told := l.trainer(l.tops[version], sealed.Root)
	ref := fmt.Sprint("fraud/", version)
	l.until("the version is ready: "+told, 20*time.Second, func() bool { return l.version(version).Intake == registry.Ready })
	digest := l.version(version).Digest.String()
	for _, kind := range []string{"evaluation", "attack"} {
		l.as("lea", "model", "evidence", ref, "--kind", kind, "--digest", digest, "--result", "pass", "--summary", "held-out rows")
	}
	l.as("", "model", "propose", ref, "--reason", "trained on the rows of this month")
	l.as("ray", "model", "review", ref, "--digest", digest, "--reason", "looked at its evaluation")
	l.change("kim", []string{"amy", "pat"}, "model", "publish", ref)
}

// places makes the targets, and starts the machine at the edge as a process of its own.
func (l *lifecycle) places() {
	l.say("   Its targets: a route, a machine at the edge, a function")
	l.change("", []string{"amy"}, "target", "put", "gateway", "--kind", "gateway", "--set", "model=fraud")
	l.change("", []string{"amy"}, "target", "put", "lambda", "--kind", "function", "--set", "function=fraud", "--set", "alias=live", "--set", "region=eu-west-1", "--set", "endpoint="+l.cloud.URL)
	l.change("", []string{"amy"}, "target", "put", "edge-1", "--kind", "edge", "--set", "agent=workload/edge-1")
	var shown struct{ Trust json.RawMessage }
	if err := json.Unmarshal([]byte(l.as("", "target", "show", "edge-1")), &shown); err != nil {
		l.t.Fatal(err)
	}
	trust := filepath.Join(l.dir, "trust.json")
	if err := os.WriteFile(trust, shown.Trust, 0o600); err != nil {
		l.t.Fatal(err)
	}
	token := l.issuer.Token(l.t, func(c map[string]any) { c["sub"], c["pavise_roles"] = "edge-1", []string{"edge-agent"} })
	l.edge = filepath.Join(l.dir, "machine")
	machine := exec.Command("pavise", "--server", l.Server, "--token", token, "edge", "run", "--dir", l.edge, "--trust", trust, "--every", "1s", "--health", "test -s $PAVISE_MODEL/model.onnx")
	said := &strings.Builder{}
	machine.Stdout, machine.Stderr = said, said
	if err := machine.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		machine.Process.Signal(os.Interrupt)
		machine.Wait()
		if l.t.Failed() {
			fmt.Fprintf(l.t.Output(), "the machine at the edge said: %s\n", said)
		}
	})
}

// crowd has callers ask, and waits until a baseline is learnt.
func (l *lifecycle) crowd() *crowd {
	l.say("4. %d callers ask the gateway; what they ask and are answered becomes the baseline", callers)
	var tokens []string
	for who := range callers {
		var given struct{ Token string }
		if err := json.Unmarshal([]byte(l.must(l.t, "--json", "issuer", "mint", "--subject", fmt.Sprint("shop-", who), "--role", "caller")), &given); err != nil {
			l.t.Fatal(err)
		}
		tokens = append(tokens, given.Token)
	}
	c := newCrowd(l.process, tokens)
	l.until("a baseline is learnt", 30*time.Second, func() bool { return len(l.noted(monitor.KindLearned)) > 0 })
	return c
}

// bad has the second version go live, which is bad, and go back.
func (l *lifecycle) bad() {
	l.register(2)
	l.say("5. Version 2 answers a tenth of the function's calls, then all, then everywhere: nobody sees that it is bad")
	l.change("kim", []string{"amy", "pat"}, "deploy", "release", "fraud/2", "--to", "lambda", "--canary", "10")
	l.until("it has its share", 20*time.Second, func() bool { return l.cloud.runs() == "two versions" })
	l.change("kim", []string{"amy", "pat"}, "deploy", "promote", "fraud")
	l.change("kim", []string{"amy", "pat"}, "deploy", "release", "fraud/2", "--to", "gateway,edge-1")
	l.live(2)
	l.until("the house goes back", 60*time.Second, func() bool { return len(l.noted(deploy.KindRolledBack)) > 0 })
	for _, n := range l.noted(monitor.KindConfirmed) {
		l.say("  confirmed, cause %s: %s", n.Verdict.Cause, n.Verdict.Words)
	}
	l.until("it is told", 10*time.Second, func() bool {
		return slices.ContainsFunc(l.noted(monitor.KindActed), func(n noted) bool {
			return strings.Contains(n.Finding.Summary, "rolled back, and is answered by "+digestOf(l.models[1]))
		})
	})
	l.live(1)
	if state := l.version(2).State; state != registry.RolledBack {
		l.t.Errorf("the registry says that version 2 is %s", state)
	}
}

// shifted has one caller shift what it asks.
func (l *lifecycle) shifted(c *crowd) {
	l.until("the model is as it was", 40*time.Second, func() bool {
		var list monitor.List
		return json.Unmarshal([]byte(l.must(l.t, "--json", "drift", "list", "--stage", "stable")), &list) == nil && slices.ContainsFunc(list.Models, func(m monitor.View) bool { return m.Model.ID == "fraud" })
	})
	before := len(l.noted(deploy.KindRolledBack))
	l.say("6. One caller moves what it asks, so that the answers move")
	c.shift.Store(true)
	last := fmt.Sprint("shop-", callers-1)
	l.until("it is slowed down", 90*time.Second, func() bool {
		return strings.Contains(l.must(l.t, "--json", "tier", "list", "--model", "fraud", "--tier", "amber"), "/"+last+`"`)
	})
	l.until("somebody is asked to look", 20*time.Second, func() bool {
		for _, n := range l.noted(monitor.KindActed) {
			if n.Verdict.Cause == drift.Callers && strings.Contains(n.Finding.Summary, last) && strings.Contains(n.Finding.Summary, "retraining") {
				l.say("  %s", n.Finding.Summary)
				return true
			}
		}
		return false
	})
	if after := len(l.noted(deploy.KindRolledBack)); after != before {
		l.t.Fatal("who shifts what it asks had a version taken back")
	}
	l.live(1)
	l.say("  it is slowed down, people are asked to look, and version 1 answers still")
}

// tickets looks for an issue of each change, that was closed when it was done.
func (l *lifecycle) tickets() {
	l.say("7. Each of the %d changes has its ticket, opened, told and closed", len(l.changes))
	for _, id := range l.changes {
		l.until("the ticket of "+id+" is closed", 20*time.Second, func() bool {
			i, ok := l.tracker.of(id)
			return ok && i.State == "closed"
		})
		i, _ := l.tracker.of(id)
		l.say("  %s: %s, %d comments", id, i.Title, len(i.said))
	}
}

// named are the records that the tale rests on.
func (l *lifecycle) named() (all []listed) {
	for _, kind := range []string{
		"model.create", "model.add", "model.evidence", "model.propose", "model.review", "change.propose", "change.approve", "model.publish", "target.put", "deploy.release",
		"deploy.promote", deploy.KindSettled, monitor.KindLearned, monitor.KindConfirmed, deploy.KindRolledBack, monitor.KindActed, "tier.hold", "ticket.put",
	} {
		var list struct{ Events []listed }
		if err := json.Unmarshal([]byte(l.must(l.t, "--json", "ledger", "list", "--limit", "1000", "--kind", kind)), &list); err != nil {
			l.t.Fatal(err)
		}
		n := 0
		for _, e := range list.Events {
			if e.Record.Kind == kind && e.Record.Phase != record.Enter {
				all = append(all, e)
				n++
			}
		}
		if n == 0 {
			l.t.Errorf("no record says %s", kind)
		}
	}
	return all
}

// prove proves the log, and each record that the tale rests on, once nothing runs any more, and
// says by the log when the gateway was back.
func (l *lifecycle) prove() {
	all := l.named()
	files := make([]string, len(all))
	for i, n := range all {
		files[i] = filepath.Join(l.dir, fmt.Sprint("record-", n.Index))
		l.must(l.t, "ledger", "prove", fmt.Sprint(n.Index), "--out", files[i])
	}
	l.interrupt(l.t)
	l.say("8. Nothing runs any more. %s", l.Verify)
	key := l.Verify[strings.LastIndex(l.Verify, "--key ")+len("--key "):]
	out := l.must(l.t, "ledger", "verify", l.Ledger, "--key", key)
	l.say("  %s", strings.SplitN(out, "\n", 2)[0])
	for i, n := range all {
		if out := l.must(l.t, "ledger", "verify", files[i], "--key", key); !strings.Contains(out, "verified: this record is in the log") {
			l.t.Errorf("record %d of %s: %s", n.Index, n.Record.Kind, out)
		}
	}
	l.say("  each of the %d records that this rests on is proved by a file of its own", len(all))
	l.timed()
}

// timed says by the records when the version before answered again, after it was confirmed that
// the other is bad, and that the other did not afterwards.
func (l *lifecycle) timed() {
	log, _ := evidenceOf(l.t, l.data)
	var confirmed, back time.Time
	for _, r := range log.Records(0, log.Size()) {
		var v struct{ Verdict monitor.Verdict }
		if r.Kind == monitor.KindConfirmed && json.Unmarshal(r.Detail, &v) == nil && v.Verdict.Cause == drift.BadVersion {
			confirmed = r.At
		}
		var trail gateway.Trail
		if r.Kind != "model.infer" || confirmed.IsZero() || json.Unmarshal(r.Detail, &trail) != nil {
			continue
		}
		switch {
		case trail.Model == digestOf(l.models[1]) && back.IsZero():
			back = r.At
		case trail.Model == digestOf(l.models[2]) && !back.IsZero() && r.At.Sub(back) > time.Second:
			l.t.Errorf("the bad version answered %v after the one before did again", r.At.Sub(back))
		}
	}
	if confirmed.IsZero() || back.IsZero() {
		l.t.Fatal("the log does not say that a bad version was confirmed, and another answered again")
	}
	l.say("by the records, version 1 answered again %v after it was confirmed that version 2 is bad (%v is what is wanted)", back.Sub(confirmed).Round(100*time.Microsecond), time.Second)
}
