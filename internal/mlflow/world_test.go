package mlflow

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/notary"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

// testKey is a log key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise mlflow test key, 32 bytes"))

// The people of the tests, by what a header calls them.
var people = map[string]pavise.Principal{}

// person is somebody with roles.
func person(id string, roles ...string) pavise.Principal {
	p := pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: id, Roles: roles, Proof: "test"}
	people[id] = p
	return p
}

var (
	mia = person("mia", "engineer")
	moe = person("moe", "engineer")
	ray = person("ray", "reviewer")
	amy = person("amy", "approver")
	pat = person("pat", "publisher", "engineer")
	_   = person("dan", "deployer")
	_   = person("nil", "nobody")
)

// policies are those of the tests.
var policies = map[string]string{
	"engineer": `permit (principal in Role::"engineer", action in [Action::"run.log", Action::"run.show", Action::"model.create", Action::"model.add",
		Action::"model.tag", Action::"model.propose", Action::"model.reject", Action::"model.list", Action::"model.show", Action::"model.pull", Action::"model.inspect", Action::"model.evidence"], resource);`,
	"deployer":  `permit (principal in Role::"deployer", action in [Action::"model.pull", Action::"model.show"], resource);`,
	"reviewer":  `permit (principal in Role::"reviewer", action in [Action::"model.review", Action::"model.quarantine"], resource);`,
	"publisher": `permit (principal in Role::"publisher", action in [Action::"model.publish", Action::"model.alias", Action::"model.unalias", Action::"model.retire"], resource);`,
}

// actions are the verbs of the tests.
func actions() (all []guard.Action) {
	for _, verb := range []string{"model.create", "model.add", "model.tag", "model.propose", "model.evidence", "model.review", "model.reject"} {
		all = append(all, guard.Action{Verb: verb, On: []string{"model"}})
	}
	for _, verb := range []string{"model.publish", "model.alias", "model.unalias", "model.retire", "model.release"} {
		all = append(all, guard.Action{Verb: verb, On: []string{"model"}, Consequential: true})
	}
	for _, verb := range []string{"model.list", "model.show", "model.history", "model.bom", VerbPull, VerbInspect} {
		all = append(all, guard.Action{Verb: verb, On: []string{"model"}, Class: guard.Pooled})
	}
	return append(all, guard.Action{Verb: "model.quarantine", On: []string{"model"}, Safe: true},
		guard.Action{Verb: VerbLog, On: []string{KindRun}}, guard.Action{Verb: VerbShow, On: []string{KindRun}, Class: guard.Pooled})
}

// A world is a log with a guard before it, a registry, a depot, and the API over them.
type world struct {
	*Server
	*changes
	door *Door
	log  *ledger.Log
	dir  string // where models lie that are registered by their path
	kept string // where the depot is
	cfg  Config
	ids  atomic.Int64
	hour atomic.Int64
}

// quota is that of the depot.
const quota = 1 << 20

func newWorld(t testing.TB) *world {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	top := t.TempDir()
	w := &world{dir: filepath.Join(top, "models"), kept: filepath.Join(top, "kept")}
	must(os.Mkdir(w.dir, 0o700))
	var err error
	w.log, err = ledger.Open(ledger.Options{Disk: disktest.New(), Origin: "example.test/log", Key: testKey, Tenant: "local"})
	must(err)
	t.Cleanup(func() { w.log.Close() })
	db, err := store.Open(t.Context(), filepath.Join(top, "db"))
	must(err)
	t.Cleanup(func() { db.Close() })
	kek, err := seal.OpenFileKEK(filepath.Join(top, "kek"))
	must(err)
	bucket, err := blob.Open(t.Context(), w.kept)
	must(err)
	w.cfg = Config{Store: db, Roots: []string{w.dir}, Now: w.clock, Address: func(c pavise.Name) string { return "https://pavise.test/changes#" + c.ID }}
	w.cfg.Depot, err = depot.Open(t.Context(), depot.Config{Bucket: bucket.(depot.Bucket), Stage: disktest.New(), Store: db, KEK: kek, Quota: quota, Now: w.clock})
	must(err)
	w.cfg.Guard, err = guard.New(guard.Config{
		Log: w.log, Actions: actions(), Facts: func(n pavise.Name) policy.Facts { return w.cfg.Registry.Facts(n) },
		Approved: func(c pavise.Name, _ string, _ pavise.Name) bool { return w.running == c },
	})
	must(err)
	must(w.cfg.Guard.Load("local", policies))
	house, err := notary.Open(kek, top)
	must(err)
	w.cfg.Registry, err = registry.Open(t.Context(), registry.Config{
		House: house, Guard: w.cfg.Guard, Store: db, Now: w.clock, Files: shelf{w.cfg.Depot}, Dir: filepath.Join(top, "looks"),
	})
	must(err)
	w.changes = &changes{w: w, all: map[pavise.Name]*proposed{}}
	w.cfg.Changes = w.changes
	w.open(t)
	t.Cleanup(func() { w.Server.Close() })
	return w
}

// open opens the API anew, as the next process does.
func (w *world) open(t testing.TB) {
	t.Helper()
	var err error
	if w.Server, err = Open(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	w.Server.look = func(string, registry.Ref) {} // a test says when
	w.newRun = func() string { return fmt.Sprintf("%032x", w.ids.Add(1)) }
	w.door = w.NewDoor(func(r *http.Request) (pavise.Principal, error) {
		who, is := people[r.Header.Get("Test-Who")]
		if !is {
			return who, &pavise.Error{Kind: pavise.Unverified, Msg: "the token is bad"}
		}
		return who, nil
	})
}

// clock moves on by a second with each look.
func (w *world) clock() time.Time {
	return time.Unix(1_800_000_000, 0).Add(time.Duration(w.hour.Add(1)) * time.Second)
}

// A shelf is the depot as the registry looks at it.
type shelf struct{ *depot.Depot }

func (s shelf) Open(ctx context.Context, d registry.Digest) (io.ReadCloser, error) {
	return s.Depot.Open(ctx, "local", depot.Digest(d))
}

func (s shelf) Has(ctx context.Context, d registry.Digest) (int64, bool) {
	size, has, err := s.Depot.Has(ctx, "local", depot.Digest(d))
	return size, has && err == nil
}

// changes are what is proposed, and run once a test approves it.
type changes struct {
	w       *world
	all     map[pavise.Name]*proposed
	running pavise.Name
}

// A proposed change.
type proposed struct {
	change.Change
	request json.RawMessage
}

func (c *changes) Propose(ctx context.Context, who pavise.Principal, p change.Proposal) (*change.Change, error) {
	if who.ID != pat.ID {
		return nil, &pavise.Error{Kind: pavise.Denied, Msg: "nobody who may not do it proposes it"}
	}
	one := &proposed{change.Change{Name: pavise.Name{Tenant: "local", Kind: "change", ID: fmt.Sprintf("c-%d", len(c.all)+1)}, Verb: p.Verb, On: p.On, State: change.Open, Proposer: who}, p.Request}
	if _, err := c.plan(ctx, one); err != nil {
		return nil, err
	}
	c.all[one.Name] = one
	return &one.Change, nil
}

func (c *changes) Show(_ context.Context, _ pavise.Principal, name pavise.Name) (*change.Change, error) {
	return &c.all[name].Change, nil
}

func (p *proposed) alias() (spec registry.AliasSpec) {
	var ask struct {
		Alias   string
		Version int
	}
	_ = json.Unmarshal(p.request, &ask)
	return registry.AliasSpec(ask)
}

func (c *changes) plan(ctx context.Context, p *proposed) (registry.Plan, error) {
	ref, _ := registry.RefOf(p.On)
	switch p.Verb {
	case "model.publish":
		return c.w.cfg.Registry.PlanPublish(ctx, "local", ref)
	case "model.retire":
		return c.w.cfg.Registry.PlanRetire(ctx, "local", ref)
	}
	return c.w.cfg.Registry.PlanAlias(ctx, p.On, p.alias())
}

// approve runs the newest change.
func (c *changes) approve(t testing.TB) {
	t.Helper()
	p := c.all[pavise.Name{Tenant: "local", Kind: "change", ID: fmt.Sprintf("c-%d", len(c.all))}]
	plan, err := c.plan(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	who := p.Proposer
	who.Change, c.running = p.Name, p.Name
	act := registry.Act{Who: who, Digests: plan.Digests(), Approvers: []pavise.Name{amy.Root(), ray.Root()}, Mark: func(*store.Tx) error { return nil }}
	ref, _ := registry.RefOf(p.On)
	reg := c.w.cfg.Registry
	switch p.Verb {
	case "model.publish":
		err = reg.Publish(t.Context(), "local", ref, act)
	case "model.retire":
		err = reg.Retire(t.Context(), "local", ref, act)
	case "model.alias":
		err = reg.Alias(t.Context(), p.On, p.alias(), act)
	case "model.unalias":
		err = reg.Unalias(t.Context(), p.On, p.alias().Alias, act)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.State = change.Done
}

// send sends a request as a client of MLflow does.
func (w *world) send(who, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Test-Who", who)
	if method != http.MethodGet && !strings.Contains(path, "mlflow-artifacts") {
		r.Header.Set("Content-Type", "application/json")
	}
	answer := httptest.NewRecorder()
	w.door.ServeHTTP(answer, r)
	return answer
}

// ask sends a request that is to be answered with this status, and with something that has
// these words in it.
func (w *world) ask(t testing.TB, who, method, path, body string, status int, words ...string) string {
	t.Helper()
	answer := w.send(who, method, "/api/2.0"+path, body)
	text := answer.Body.String()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s %s %s: %s; it should say %q", method, path, body, text, word)
		}
	}
	if answer.Code != status {
		t.Fatalf("%s %s %s: %d, want %d: %s", method, path, body, answer.Code, status, text)
	}
	return text
}

// run makes a run of somebody's with artifacts, and returns its id.
func (w *world) run(t testing.TB, who string, files map[string]string) string {
	t.Helper()
	var made runAnswer
	if err := json.Unmarshal([]byte(w.ask(t, who, "POST", "/mlflow/runs/create", `{}`, 200)), &made); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		w.ask(t, who, "PUT", "/mlflow-artifacts/artifacts/runs/"+made.Run.Info.ID+"/"+name, content, 200)
	}
	return made.Run.Info.ID
}

// model is a model of nothing dangerous.
var model = map[string]string{"model/MLmodel": "flavors: {}\n", "model/data/weights.json": `{"w":[1,2]}`}

// register makes the model fraud, of low risk, and adds a version of files to it, which are
// looked at then.
func (w *world) register(t testing.TB, files map[string]string) (version string) {
	t.Helper()
	run := w.run(t, "mia", files)
	w.send("mia", "POST", "/api/2.0/mlflow/registered-models/create", `{"name":"fraud","tags":[{"key":"pavise.risk","value":"low"}]}`)
	var made versionAnswer
	if err := json.Unmarshal([]byte(w.ask(t, "mia", "POST", "/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":"runs:/%s/model","run_id":%q}`, run, run), 200, pending)), &made); err != nil {
		t.Fatal(err)
	}
	w.look(t, "fraud", made.Version.Version)
	return made.Version.Version
}

// look has the registry look at a version, as it does by itself.
func (w *world) look(t testing.TB, name, version string) {
	t.Helper()
	ref, err := registry.ParseRef(name + "/" + version)
	if err == nil {
		_, err = w.cfg.Registry.Take(t.Context(), "local", ref)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// review reviews a version of fraud.
func (w *world) review(t testing.TB, version string) {
	t.Helper()
	ref, err := registry.ParseRef("fraud/" + version)
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.cfg.Registry.Resolve(t.Context(), "local", ref)
	if err == nil {
		_, err = w.cfg.Registry.Review(t.Context(), ray, "local", ref, v.Digest.String(), "looked at")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// stage asks for another stage of a version of fraud.
func stage(version, to string) string {
	return fmt.Sprintf(`{"name":"fraud","version":%q,"stage":%q,"archive_existing_versions":false}`, version, to)
}

// untouched fails the test when somebody reads it.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body of somebody who may not send it was read")
	return 0, io.EOF
}

// indent is JSON for people.
func indent(text []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, text, "", "  ") != nil {
		return string(text)
	}
	return b.String()
}
