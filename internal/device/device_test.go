package device

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/deploy/machine"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

var (
	testKey = ed25519.NewKeyFromSeed([]byte("pavise device test, 32 bytes ok!"))
	place   = pavise.Name{Tenant: "local", Kind: deploy.KindTarget, ID: "edge-1"}
	fraud   = pavise.Name{Tenant: "local", Kind: "model", ID: "fraud"}
	ana     = pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ana", Roles: []string{"operator"}, Change: pavise.Name{Tenant: "local", Kind: "change", ID: "approved"}}
	agent   = pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "edge-1", Roles: []string{"edge-agent"}}
)

// A shelf is files by digest.
type shelf map[string][]byte

func (s shelf) Open(_ context.Context, _, digest string) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(s[digest])), nil
}

// version makes one of files, given as name, text, name, text …
func (s shelf) version(number int, files ...string) deploy.Version {
	v := deploy.Version{Model: fraud, Number: number, State: "published"}
	var list []registry.File
	for i := 0; i < len(files); i += 2 {
		sum := sha256.Sum256([]byte(files[i+1]))
		f := deploy.File{Path: files[i], Size: int64(len(files[i+1])), Digest: "sha256:" + hex.EncodeToString(sum[:])}
		s[f.Digest] = []byte(files[i+1])
		v.Files = append(v.Files, f)
		list = append(list, registry.File{Path: f.Path, Size: f.Size, Digest: registry.Digest(sum)})
	}
	v.Digest = registry.DigestOf(list).String()
	return v
}

// A world is a control plane with one target at the edge, and its machine.
type world struct {
	shelf  shelf
	target deploy.Target
	server *httptest.Server
	cfg    Config
	log    *ledger.Log

	mu  sync.Mutex
	who pavise.Principal // whom the server takes callers for
}

// inMemory returns a directory that lies in memory, where there is such a thing: what a real
// disk takes to sync is no part of these tests.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "device")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newWorld(t *testing.T) *world {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{shelf: shelf{}, who: agent}
	var err error
	w.log, err = ledger.Open(ledger.Options{Disk: disktest.New(), Origin: "example.test/log", Key: testKey, Tenant: "local"})
	must(err)
	t.Cleanup(func() { w.log.Close() })
	dir := inMemory(t)
	db, err := store.Open(t.Context(), filepath.Join(dir, "db"))
	must(err)
	t.Cleanup(func() { db.Close() })
	var actions []guard.Action
	for _, room := range []string{"ledger", "route", "issuer", "console", "archive", "subject"} {
		actions = append(actions, guard.Action{Verb: room + ".try", On: []string{room}})
	}
	g, err := guard.New(guard.Config{Log: w.log, Actions: actions, Approved: func(c pavise.Name, _ string, _ pavise.Name) bool { return c.ID == "approved" }})
	must(err)
	policies, err := guard.OpenPolicies(t.Context(), g, db)
	must(err)
	must(policies.Seed(t.Context(), "local", guard.Defaults()))
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	must(err)
	edges := machine.New(machine.Config{Guard: g, Store: db, Files: w.shelf, KEK: kek, Dir: filepath.Join(dir, "edge"), Origin: "control.example", Now: time.Now})
	d, err := deploy.Open(t.Context(), deploy.Config{Guard: g, Store: db, Drivers: map[string]deploy.Driver{"edge": edges.Driver()}, Now: time.Now})
	must(err)
	settings := map[string]string{"agent": "workload/edge-1"}
	spec := deploy.Spec{Kind: "edge", Settings: settings}
	plan, err := d.PlanPut(t.Context(), place, spec)
	must(err)
	must(d.Put(t.Context(), ana, place, spec, plan.Before, func(*store.Tx) error { return nil }))
	w.target, err = edges.Driver().Open(place, settings)
	must(err)
	w.server = httptest.NewServer(edges.NewDoor(func(*http.Request) (pavise.Principal, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.who, nil
	}, func(rw http.ResponseWriter, err error) { http.Error(rw, err.Error(), pavise.KindOf(err).HTTPStatus()) }))
	t.Cleanup(w.server.Close)
	shown, err := w.target.(interface{ Trust() (any, error) }).Trust()
	must(err)
	w.cfg = Config{Dir: filepath.Join(inMemory(t), "machine"), Server: w.server.URL, Trust: shown.(machine.Trust), Every: 100 * time.Millisecond, Patience: 300 * time.Millisecond}
	return w
}

// order has a version ordered.
func (w *world) order(t *testing.T, revision uint64, v deploy.Version, barred ...string) {
	t.Helper()
	if err := w.target.Apply(t.Context(), deploy.Desired{Revision: revision, Main: &v, Barred: barred}); err != nil {
		t.Fatal(err)
	}
}

// run runs the machine until stop.
func (w *world) run(t *testing.T) (d *Device, stop func()) {
	t.Helper()
	d, err := Open(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return d, stop
}

// await waits until what the control plane sees is so.
func (w *world) await(t *testing.T, what string, is func(deploy.State) bool) (s deploy.State) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var err error
		if s, err = w.target.Observe(t.Context()); err != nil {
			t.Fatal(err)
		}
		if is(s) {
			return s
		}
	}
	t.Fatalf("%s: the control plane sees %+v", what, s)
	return s
}

func runs(v deploy.Version) func(deploy.State) bool {
	return func(s deploy.State) bool { return s.Main == v.Digest && s.Healthy }
}

// reads is what programs read of the version that runs.
func (w *world) reads(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.cfg.Dir, linkCurrent, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// inTheClear reports whether a text lies anywhere in the machine's directory.
func (w *world) inTheClear(t *testing.T, text string) (found bool) {
	t.Helper()
	err := filepath.WalkDir(w.cfg.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil // it went meanwhile
		}
		b, _ := os.ReadFile(path)
		found = found || bytes.Contains(b, []byte(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestMachine has a machine fetch a version, and another, and go back without the control
// plane, out of what it kept sealed, and stay there until something else is ordered.
func TestMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("0123456789abcdef", machine.PartSize/16) + "and a second part"
	one := w.shelf.version(1, "model.onnx", "the first weights", "config/x.json", "{}", "empty", "")
	two := w.shelf.version(2, "model.onnx", long)
	three := w.shelf.version(3, ".", "a single file")
	w.order(t, 1, one)
	_, stop := w.run(t)
	w.await(t, "version 1", runs(one))
	if got := w.reads(t, "model.onnx") + w.reads(t, "config/x.json") + w.reads(t, "empty"); got != "the first weights{}" {
		t.Errorf("programs read %q", got)
	}
	w.order(t, 2, two)
	w.await(t, "version 2", runs(two))
	if w.reads(t, "model.onnx") != long {
		t.Error("version 2 is not what was ordered")
	}
	stop()
	if w.inTheClear(t, "the first weights") {
		t.Error("the version before is not sealed")
	}
	w.server.Close() // from here on without the control plane
	d, err := Open(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	st, err := d.Rollback(t.Context(), "it smells")
	if err != nil || st.Running.Version != 1 || st.Problem != "" || !strings.Contains(st.Held, "it smells") || w.reads(t, "model.onnx") != "the first weights" {
		t.Errorf("%+v %v", st, err)
	}
	if _, err := d.Rollback(t.Context(), "again"); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("there is nothing before version 1: %v", err)
	}
	if err := d.obey(t.Context(), &machine.Orders{Target: place, Revision: 2, Digest: two.Digest}, nil); err != nil {
		t.Errorf("the revision that was taken back comes again: %v", err)
	}
	if w.reads(t, "model.onnx") != "the first weights" {
		t.Error("and is obeyed")
	}
	if err := d.obey(t.Context(), &machine.Orders{Target: place, Revision: 1, Digest: one.Digest}, nil); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("an older revision is obeyed: %v", err)
	}
	if err := d.obey(t.Context(), &machine.Orders{Target: pavise.Name{Tenant: "local", Kind: "target", ID: "other"}, Revision: 9}, nil); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("the orders of another are obeyed: %v", err)
	}
	w.order(t, 3, three)
	k, err := ordersOf(w, 3, three)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.obey(t.Context(), k, func(digest string) ([]byte, error) { return w.shelf[digest], nil }); err != nil || w.reads(t, single) != "a single file" {
		t.Errorf("%v", err)
	}
}

// TestNothingIsToRun has the first version withdrawn, as it is where it was taken back elsewhere
// before the machine said that it runs: programs find nothing, and it goes on with the next.
func TestNothingIsToRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.shelf.version(1, "model.onnx", "bad weights"), w.shelf.version(2, "model.onnx", "good weights")
	w.order(t, 1, one)
	d, _ := w.run(t)
	w.await(t, "version 1", runs(one))
	if err := w.target.Apply(t.Context(), deploy.Desired{Revision: 2, Barred: []string{one.Digest}}); err != nil {
		t.Fatal(err)
	}
	w.await(t, "nothing", func(s deploy.State) bool { return s.Main == "" && s.Healthy })
	if _, err := os.Lstat(filepath.Join(w.cfg.Dir, linkCurrent)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("programs find a model: %v", err)
	}
	if w.inTheClear(t, "bad weights") {
		t.Error("the files lie there still")
	}
	if _, err := d.Rollback(t.Context(), "by hand"); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("there is something to go back to: %v", err)
	}
	w.order(t, 3, two)
	w.await(t, "version 2", runs(two))
}

// ordersOf are the orders of a version whose files are short.
func ordersOf(w *world, revision uint64, v deploy.Version) (*machine.Orders, error) {
	o := machine.Orders{Target: place, Revision: revision, Model: v.Model, Version: v.Number, Digest: v.Digest, Signature: v.Signature}
	for _, f := range v.Files {
		file := machine.OrderedFile{File: f}
		if f.Size > 0 {
			file.Parts = []string{f.Digest}
		}
		o.Files = append(o.Files, file)
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return machine.ParseOrders(text, place)
}

// TestUnhealthyGoesBack has a version whose health command fails: the machine goes back by
// itself, says so, and is well again with the next.
func TestUnhealthyGoesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Patience = time.Second
	w.cfg.Health = []string{"sh", "-c", `grep -q good "$PAVISE_MODEL/model.onnx" || { echo the scores are nonsense; exit 3; }`}
	good, bad, better := w.shelf.version(1, "model.onnx", "good"), w.shelf.version(2, "model.onnx", "bad"), w.shelf.version(3, "model.onnx", "a good one")
	w.order(t, 1, bad) // there is nothing to go back to
	w.run(t)
	s := w.await(t, "a bad first version", func(s deploy.State) bool { return s.Alone })
	if s.Main != "" || s.Healthy || !strings.Contains(s.Problem, "the scores are nonsense") {
		t.Errorf("%+v", s)
	}
	w.order(t, 2, good)
	w.await(t, "a good version", runs(good))
	w.order(t, 3, bad)
	s = w.await(t, "a bad version", func(s deploy.State) bool { return s.Alone })
	if s.Main != good.Digest || !strings.Contains(s.Problem, "version 2 was taken back") || w.reads(t, "model.onnx") != "good" {
		t.Errorf("%+v", s)
	}
	w.order(t, 4, good) // it is told to stay there
	w.await(t, "told to stay", runs(good))
	w.order(t, 5, better)
	w.await(t, "a better version", runs(better))
}

// TestSwappedFile has somebody change a file that runs, add one, and move the link: the
// machine says so, and puts it back.
func TestSwappedFile(t *testing.T) {
	t.Parallel()
	for what, swap := range map[string]func(dir string) error{
		"a file": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, linkCurrent, "model.onnx"), []byte("evil"), 0o600)
		},
		"a new one": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, linkCurrent, "evil.py"), []byte("evil"), 0o600)
		},
		"a missing one": func(dir string) error { return os.Remove(filepath.Join(dir, linkCurrent, "model.onnx")) },
		"a link for a file": func(dir string) error {
			name := filepath.Join(dir, linkCurrent, "model.onnx")
			return os.Symlink("/etc/passwd", name+".evil")
		},
		"the link": func(dir string) error {
			name := filepath.Join(dir, linkCurrent)
			return os.Symlink(os.TempDir(), name+".evil")
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			one := w.shelf.version(1, "model.onnx", "weights")
			w.order(t, 1, one)
			_, stop := w.run(t)
			w.await(t, "version 1", runs(one))
			stop()
			if err := swap(w.cfg.Dir); err != nil {
				t.Fatal(err)
			}
			if what == "the link" {
				if err := os.Rename(filepath.Join(w.cfg.Dir, linkCurrent+".evil"), filepath.Join(w.cfg.Dir, linkCurrent)); err != nil {
					t.Fatal(err)
				}
			}
			d, err := Open(w.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s, err := w.target.Observe(t.Context()); err != nil || s.Main != "changed:"+one.Digest || s.Healthy {
				t.Errorf("%+v %v", s, err)
			}
			if err := d.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s, err := w.target.Observe(t.Context()); err != nil || s.Main != one.Digest || !s.Healthy || w.reads(t, "model.onnx") != "weights" {
				t.Errorf("%+v %v", s, err)
			}
		})
	}
}

// TestKilledInSwap ends the process before the swap, and between the swap and the word of the
// health command.
func TestKilledInSwap(t *testing.T) {
	t.Parallel()
	for _, swapped := range []bool{false, true} {
		for _, well := range []bool{false, true} {
			t.Run(fmt.Sprint(swapped, well), func(t *testing.T) {
				w := newWorld(t)
				one, two := w.shelf.version(1, "model.onnx", "one"), w.shelf.version(2, "model.onnx", "two")
				d, err := Open(w.cfg)
				if err != nil {
					t.Fatal(err)
				}
				from := func(digest string) ([]byte, error) { return w.shelf[digest], nil }
				first, _ := ordersOf(w, 1, one)
				second, _ := ordersOf(w, 2, two)
				if err := d.obey(t.Context(), first, from); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				d.cfg.Patience, d.cfg.Health = 10*time.Second, []string{"sh", "-c", "exec sleep 5"} // it is cut off long before
				time.AfterFunc(50*time.Millisecond, cancel)
				if err := d.obey(ctx, second, from); err == nil {
					t.Fatal("it was done before it was killed")
				}
				s, err := readState(w.cfg.Dir, d.key)
				if err != nil || s.Next == nil || points(w.cfg.Dir) != s.Next.Dir {
					t.Fatalf("%+v %v", s, err)
				}
				if !swapped {
					if err := point(w.cfg.Dir, s.Current.Dir); err != nil {
						t.Fatal(err)
					}
				}
				w.cfg.Health = []string{map[bool]string{true: "true", false: "false"}[well]}
				if d, err = Open(w.cfg); err != nil {
					t.Fatal(err)
				}
				if err := d.obey(t.Context(), second, from); err != nil {
					t.Fatal(err)
				}
				st, err := d.Status()
				if want := map[bool]int{true: 2, false: 1}[well]; err != nil || st.Running.Version != want || st.Problem != "" || (st.Held == "") != well {
					t.Errorf("%+v %v", st, err)
				}
			})
		}
	}
}

// TestRefusedOrders has parts that are not what was ordered, and a state that was changed.
func TestRefusedOrders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.shelf.version(1, "model.onnx", "one"), w.shelf.version(2, "model.onnx", "two")
	d, err := Open(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := ordersOf(w, 1, one)
	second, _ := ordersOf(w, 2, two)
	if err := d.obey(t.Context(), first, func(digest string) ([]byte, error) { return w.shelf[digest], nil }); err != nil {
		t.Fatal(err)
	}
	if err := d.obey(t.Context(), second, func(string) ([]byte, error) { return []byte("evil"), nil }); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("%v", err)
	}
	if st, err := d.Status(); err != nil || st.Running.Version != 1 || st.Revision != 1 || st.Problem != "" {
		t.Errorf("%+v %v", st, err)
	}
	if err := d.obey(t.Context(), second, func(digest string) ([]byte, error) { return w.shelf[digest], nil }); err != nil {
		t.Fatal(err)
	}
	third, _ := ordersOf(w, 3, w.shelf.version(3, "model.onnx", "three"))
	third.Files[0].Parts = []string{two.Files[0].Digest} // good parts, of another file
	if err := d.obey(t.Context(), third, func(digest string) ([]byte, error) { return w.shelf[digest], nil }); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("parts of another file: %v", err)
	}
	kept := d.partFile(one.Files[0].Digest) // of the version before
	if err := os.WriteFile(kept, append([]byte{1}, w.shelf[one.Files[0].Digest]...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Rollback(t.Context(), "x"); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("what was kept was changed: %v", err)
	}
	if st, err := d.Status(); err != nil || st.Running.Version != 2 {
		t.Errorf("%+v %v", st, err)
	}
	s, err := readState(w.cfg.Dir, d.key)
	if err != nil {
		t.Fatal(err)
	}
	s.Barred = []string{one.Digest}
	if err := s.write(w.cfg.Dir, d.key); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Rollback(t.Context(), "x"); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("a version that was taken back comes again: %v", err)
	}
	if err := os.WriteFile(filepath.Join(w.cfg.Dir, fileState), []byte(`{"revision":0}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(w.cfg); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("a state that was changed: %v", err)
	}
}

// TestStrangers has others than the agent fetch and report.
func TestStrangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.order(t, 1, w.shelf.version(1, "model.onnx", "weights"))
	for what, who := range map[string]pavise.Principal{
		"another agent": {Tenant: "local", Kind: pavise.Workload, ID: "edge-2", Roles: []string{"edge-agent"}},
		"no agent":      {Tenant: "local", Kind: pavise.Workload, ID: "edge-1", Roles: []string{"caller"}},
		"a person":      {Tenant: "local", Kind: pavise.Human, ID: "edge-1", Roles: []string{"edge-agent"}},
	} {
		w.mu.Lock()
		w.who = who
		w.mu.Unlock()
		for _, path := range []string{"/v1/bundle", "/v1/bundle/blob/sha256:" + strings.Repeat("00", 32), "/report"} {
			method, body := http.MethodGet, ""
			if path == "/report" {
				method, body = http.MethodPost, `{"target":"local/target/edge-1","revision":1,"serial":1,"healthy":true}`
			}
			req, _ := http.NewRequest(method, w.server.URL+machine.Path+"edge-1"+path, strings.NewReader(body))
			req.Header.Set("Accept", "application/vnd.pavise.bundle.v1")
			answer, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %s answers %d", what, path, answer.StatusCode)
			}
		}
	}
	if s, err := w.target.Observe(t.Context()); err != nil || s.Healthy || !strings.Contains(s.Problem, "not heard of yet") {
		t.Errorf("%+v %v", s, err)
	}
	refused := 0
	for r, err := range w.log.Select(t.Context(), ledger.Filter{Tenant: "local", Kinds: []string{"target"}}, 0, w.log.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Error != nil {
			refused++
		}
	}
	if refused != 9 {
		t.Errorf("%d of 9 refusals are recorded", refused)
	}
}

// TestReportsThatAreNone has the agent itself say what no machine does: nothing of it is kept.
func TestReportsThatAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.order(t, 1, w.shelf.version(1, "model.onnx", "weights"))
	for _, running := range []string{"sha256:\u001b[2J", strings.Repeat("a", 101), "all is well, by order of ana"} {
		body := `{"target":"local/target/edge-1","revision":1,"serial":1,"healthy":true,"running":"` + running + `"}`
		answer, err := http.Post(w.server.URL+machine.Path+"edge-1/report", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%.40s is answered %d", running, answer.StatusCode)
		}
	}
	if s, err := w.target.Observe(t.Context()); err != nil || s.Main != "" {
		t.Errorf("%+v %v", s, err)
	}
}
