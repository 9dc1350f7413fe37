package registry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
)

// counted are files, with how often one was opened.
type countedFiles struct {
	shelf
	opened atomic.Int64
}

func (c *countedFiles) Open(ctx context.Context, d Digest) (io.ReadCloser, error) {
	c.opened.Add(1)
	return c.shelf.Open(ctx, d)
}

// TestSameContentAgain: a version that names one content many times takes the room of one to be
// looked at, and one that would take hours is not looked at.
func TestSameContentAgain(t *testing.T) {
	files := &countedFiles{}
	w := newWorld(t, func(c *Config) {
		files.shelf = c.Files.(shelf)
		c.Files = files
	})
	w.create(t, Low)
	f := w.shelf.file("0.json", `{"a": 1}`)
	take := func(all []File) *Version {
		t.Helper()
		files.opened.Store(0)
		v, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: all}})
		if err == nil {
			v, err = w.Take(t.Context(), "local", v.Ref)
		}
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	many := func(size int64) (all []File) {
		for i := range 200 {
			all = append(all, File{fmt.Sprintf("%d/%d.json", i%7, i), size, f.Digest})
		}
		return all
	}
	if v := take(many(f.Size)); v.Intake != Ready || files.opened.Load() != 1 {
		t.Errorf("%s %s, opened %d times", v.Intake, v.Problem, files.opened.Load())
	}
	if v := take(many(1 << 30)); v.Intake != Failed || files.opened.Load() != 0 || !strings.Contains(v.Problem, "again and again") {
		t.Errorf("%s %s, opened %d times", v.Intake, v.Problem, files.opened.Load())
	}
	if v := take([]File{f, {"1.json", f.Size + 1, f.Digest}}); v.Intake != Failed || !strings.Contains(v.Problem, "1.json") {
		t.Errorf("of two sizes: %s %s", v.Intake, v.Problem)
	}
	harm := w.shelf.file("m.json", "cos\nsystem\n(S'true'\ntR.")
	if v := take([]File{harm, {"m.pkl", harm.Size, harm.Digest}}); v.Intake != Failed {
		t.Errorf("harmful under its second name: %s %s", v.Intake, v.Problem)
	}
}

// TestLeftBehind: what a killed process left of files that it looked at is gone after the next
// start, and nothing else is.
func TestLeftBehind(t *testing.T) {
	w := newWorld(t)
	left, other := filepath.Join(w.cfg.Dir, "look-123", "a"), filepath.Join(w.cfg.Dir, "mine")
	for _, dir := range []string{left, other} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(left, "weights"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	if all, err := os.ReadDir(w.cfg.Dir); err != nil || len(all) != 1 || all[0].Name() != "mine" {
		t.Errorf("%v, %v", all, err)
	}
}

// TestFindingFirst: what cannot be written down was not found: it is looked at again.
func TestFindingFirst(t *testing.T) {
	w := newWorld(t)
	w.create(t, Low)
	v, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{w.shelf.file("m.pkl", "cos\nsystem\n(S'true'\ntR.")}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Take(t.Context(), "local", v.Ref); err == nil {
		t.Error("no error, and no finding")
	}
	if v := w.now(t, v.Ref); v.Intake != Pending || v.Scan != nil {
		t.Errorf("%s, and nobody was told", v.Intake)
	}
}

// TestOwnWord: who had a hand in a version does not pass it after somebody else failed it.
func TestOwnWord(t *testing.T) {
	w := newWorld(t)
	w.create(t, Medium)
	v := w.add(t, `{"a": 1}`)
	say := func(who pavise.Principal, kind string, result Result) {
		t.Helper()
		if _, err := w.Evidence(t.Context(), who, "local", v.Ref, EvidenceSpec{Kind: kind, Digest: v.Digest.String(), Result: result, Summary: "so " + who.ID}); err != nil {
			t.Fatal(err)
		}
	}
	review := func() error {
		_, err := w.Review(t.Context(), ray, "local", v.Ref, v.Digest.String(), "")
		return err
	}
	if _, err := w.Propose(t.Context(), mia, "local", v.Ref, ""); err != nil {
		t.Fatal(err)
	}
	say(mia, EvidenceEvaluation, Fail)
	say(mia, EvidenceEvaluation, Pass)
	say(red, EvidenceAttack, Fail)
	say(mia, EvidenceAttack, Pass)
	minted := mia
	minted.ID, minted.By = "mia-minted", mia.Name()
	say(minted, EvidenceAttack, Pass)
	if err := review(); pavise.KindOf(err) != pavise.Conflict || !strings.Contains(err.Error(), "so red") {
		t.Errorf("the maker's word outdoes the attacker's: %v", err)
	}
	say(red, EvidenceAttack, Pass)
	say(mia, EvidenceAttack, Fail)
	wantKind(t, review(), pavise.Conflict)
	say(mia, EvidenceAttack, Pass)
	if err := review(); err != nil {
		t.Error(err)
	}
}

// TestHereIsLookedAt: of files that are here nobody's word is taken on what a look at them found.
func TestHereIsLookedAt(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) { c.Signers = []Signer{{"training", oms.Trust{Key: &key.PublicKey}}} })
	w.create(t, Low)
	f := w.shelf.file("m.pkl", "cos\nsystem\n(S'true'\ntR.")
	v, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{f}, Scan: &Scan{Verdict: "clean"}, Signature: signedBy(t, key, f)}})
	if err != nil || v.Intake != Pending {
		t.Fatalf("%+v, %v", v, err)
	}
	if v, err = w.Take(t.Context(), "local", v.Ref); err != nil || v.Intake != Failed || v.Scan.By != (pavise.Name{}) {
		t.Errorf("%+v, %v", v, err)
	}

	// Nor where they come later, as long as nothing was said of them.
	g := w.shelf.file("n.pkl", "cos\nsystem\n(S'true'\ntR.")
	text := w.shelf[g.Digest]
	delete(w.shelf, g.Digest)
	v, err = w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{g}, Scan: &Scan{Verdict: "clean"}, Signature: signedBy(t, key, g)}})
	if err != nil || v.Intake != Ready {
		t.Fatalf("%+v, %v", v, err)
	}
	w.shelf[g.Digest] = text
	if v, err = w.Take(t.Context(), "local", v.Ref); err != nil || v.Intake != Failed || v.Signature == nil {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestLookedAtOnce: files that are here when their version is added are looked at then, and not
// a minute later.
func TestLookedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create(t, Low)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		for i := range 20 {
			v, err := w.Add(t.Context(), mia, AddSpec{Model: fraud, FileSpec: FileSpec{Files: []File{w.shelf.file("w.json", fmt.Sprintf(`{"a": %d}`, i))}}})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if v := w.now(t, v.Ref); v.Intake != Ready {
				t.Fatalf("%d: %+v", i, v)
			}
		}
		cancel()
		<-done
	})
}

// TestRoomForOthers: nobody hands in so much that nobody else can say that it failed.
func TestRoomForOthers(t *testing.T) {
	w := newWorld(t)
	w.create(t, Medium)
	v := w.add(t, `{"a": 1}`)
	say := func(who pavise.Principal, result Result) error {
		_, err := w.Evidence(t.Context(), who, "local", v.Ref, EvidenceSpec{Kind: EvidenceAttack, Digest: v.Digest.String(), Result: result, Summary: "so"})
		return err
	}
	for range maxSaid {
		if err := say(mia, Pass); err != nil {
			t.Fatal(err)
		}
	}
	minted := mia
	minted.ID, minted.By = "mia-minted", mia.Name()
	wantKind(t, say(mia, Pass), pavise.Conflict)
	wantKind(t, say(minted, Pass), pavise.Conflict)
	if err := say(red, Fail); err != nil {
		t.Error(err)
	}
}
