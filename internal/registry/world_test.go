package registry

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// testKey is a log key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise registry test, 32 bytes!!"))

// fraud is a model.
var fraud = pavise.Name{Tenant: "local", Kind: Kind, ID: "fraud"}

// person is somebody with roles.
func person(id string, roles ...string) pavise.Principal {
	return pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: id, Roles: roles}
}

// The people of the tests.
var (
	mia = person("mia", "ml-engineer")
	ray = person("ray", "model-reviewer")
	amy = person("amy", "model-approver")
	abe = person("abe", "model-approver")
	pat = person("pat", "publisher")
	oda = person("oda", "operator")
	red = person("red", "red-teamer")
)

// A shelf is files of models by their digests.
type shelf map[Digest]string

func (s shelf) Has(_ context.Context, d Digest) (int64, bool) {
	text, ok := s[d]
	return int64(len(text)), ok
}

func (s shelf) Open(_ context.Context, d Digest) (io.ReadCloser, error) {
	text, ok := s[d]
	if !ok {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "there is no such file"}
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

// file is a file with a text, which is on the shelf then.
func (s shelf) file(path, text string) File {
	d := Digest(sha256.Sum256([]byte(text)))
	s[d] = text
	return File{path, int64(len(text)), d}
}

// A world is a log with a guard before it, and a registry with a shelf.
type world struct {
	*Registry
	shelf shelf
	cfg   Config
	log   *ledger.Log
	skew  atomic.Int64 // of the clock, in nanoseconds
}

func newWorld(t *testing.T, edit ...func(*Config)) *world {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	w := &world{shelf: shelf{}}
	var err error
	w.log, err = ledger.Open(ledger.Options{Disk: disktest.New(), Origin: "example.test/log", Key: testKey, Tenant: "local"})
	must(err)
	t.Cleanup(func() { w.log.Close() })
	db, err := store.Open(t.Context(), filepath.Join(dir, "db"))
	must(err)
	t.Cleanup(func() { db.Close() })
	g, err := guard.New(guard.Config{
		Log: w.log, Actions: actions(), Facts: func(n pavise.Name) policy.Facts { return w.Facts(n) },
		Approved: func(c pavise.Name, _ string, _ pavise.Name) bool { return c.ID == "approved" },
	})
	must(err)
	w.cfg = Config{
		Guard: g, Store: db, Now: func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) },
		Files: w.shelf, Dir: filepath.Join(dir, "look"),
	}
	for _, e := range edit {
		e(&w.cfg)
	}
	w.Registry, err = Open(t.Context(), w.cfg)
	must(err)
	policies, err := guard.OpenPolicies(t.Context(), g, db)
	must(err)
	must(policies.Seed(t.Context(), "local", guard.Defaults()))
	return w
}

// actions are one of each room that the default policies name; those of models are named
// already.
func actions() (all []guard.Action) {
	for _, room := range []string{"ledger", "route", "issuer", "console", "archive", "subject"} {
		all = append(all, guard.Action{Verb: room + ".try", On: []string{room}})
	}
	return all
}

// create makes the model fraud.
func (w *world) create(t *testing.T, risk Risk) {
	t.Helper()
	if _, err := w.Create(t.Context(), mia, ModelSpec{Name: fraud, Risk: risk}); err != nil {
		t.Fatal(err)
	}
}

// add adds a version of fraud with one file of that text, and takes it in.
func (w *world) add(t *testing.T, text string) *Version {
	t.Helper()
	v, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{w.shelf.file("weights.json", text)}}})
	if err == nil {
		v, err = w.Take(t.Context(), "local", v.Ref)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// prove hands in that a version passed both kinds of test.
func (w *world) prove(t *testing.T, v *Version) {
	t.Helper()
	for _, kind := range []string{EvidenceEvaluation, EvidenceAttack} {
		if _, err := w.Evidence(t.Context(), red, "local", v.Ref, EvidenceSpec{Kind: kind, Digest: v.Digest.String(), Result: Pass, Summary: "it passed"}); err != nil {
			t.Fatal(err)
		}
	}
}

// review brings a new version to reviewed.
func (w *world) review(t *testing.T, text string) *Version {
	t.Helper()
	v := w.add(t, text)
	w.prove(t, v)
	if _, err := w.Propose(t.Context(), mia, "local", v.Ref, "better"); err != nil {
		t.Fatal(err)
	}
	v, err := w.Review(t.Context(), ray, "local", v.Ref, v.Digest.String(), "looked at")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// approved is a change that some people approved, proposed by who.
func approved(who pavise.Principal, p Plan, by ...pavise.Principal) Act {
	who.Change = pavise.Name{Tenant: "local", Kind: "change", ID: "approved"}
	act := Act{Who: who, Digests: p.Digests(), Mark: func(*store.Tx) error { return nil }}
	for _, b := range by {
		act.Approvers = append(act.Approvers, b.Root())
	}
	return act
}

// publish brings a new version to published.
func (w *world) publish(t *testing.T, text string) *Version {
	t.Helper()
	v := w.review(t, text)
	p, err := w.PlanPublish(t.Context(), "local", v.Ref)
	if err == nil {
		err = w.Publish(t.Context(), "local", v.Ref, approved(pat, p, amy, abe))
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.now(t, v.Ref)
}

// now is how a version stands.
func (w *world) now(t *testing.T, ref Ref) *Version {
	t.Helper()
	v, err := w.Resolve(t.Context(), "local", ref)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// want fails unless a version is in a state, in the store, in the log's last word on it and
// for policies.
func (w *world) want(t *testing.T, ref Ref, state State) {
	t.Helper()
	if v := w.now(t, ref); v.State != state || w.Facts(ref.Name("local")).State != string(state) {
		t.Errorf("%s is %s, and %s to policies, want %s", ref, v.State, w.Facts(ref.Name("local")).State, state)
	}
}

// notes are the notes of a kind.
func (w *world) notes(t *testing.T, kind string) (all []record.Record) {
	t.Helper()
	for r, err := range w.log.Select(t.Context(), ledger.Filter{Kinds: []string{kind}, Phase: record.Note}, w.log.First(), w.log.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r.Record)
	}
	return all
}

// wantKind fails unless an error is of a kind.
func wantKind(t *testing.T, err error, kind pavise.Kind) {
	t.Helper()
	if err == nil || pavise.KindOf(err) != kind {
		t.Errorf("error %v, want one of kind %s", err, kind)
	}
}
