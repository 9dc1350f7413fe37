package witness

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/store"
)

// testTime is when everything in these tests happens, unless a test says otherwise.
var testTime = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func testNow() time.Time { return testTime }

// keyOf returns the Ed25519 key of a name, always the same.
func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// An author is a log as its witness sees it, honest or not: leaves of its choice,
// and a key that signs whatever it likes.
type author struct {
	signer *proof.Signer
	size   int64
	stored []tlog.Hash // as package tlog numbers them
}

func newAuthor(t testing.TB, origin string) *author {
	t.Helper()
	signer, err := proof.NewLogSigner(origin, keyOf(origin))
	if err != nil {
		t.Fatal(err)
	}
	return &author{signer: signer}
}

// grow appends n records, which are those of a branch.
func (a *author) grow(t testing.TB, n int, branch string) *author {
	t.Helper()
	for range n {
		more, err := tlog.StoredHashes(a.size, fmt.Appendf(nil, "%s %d", branch, a.size), a)
		if err != nil {
			t.Fatal(err)
		}
		a.stored, a.size = append(a.stored, more...), a.size+1
	}
	return a
}

// forkAt is the same log with only its first records.
func (a *author) forkAt(size int64) *author {
	return &author{a.signer, size, slices.Clone(a.stored[:tlog.StoredHashCount(size)])}
}

// ReadHashes is tlog.HashReader's.
func (a *author) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		hashes[i] = a.stored[x]
	}
	return hashes, nil
}

func (a *author) root(t testing.TB, size int64) tlog.Hash {
	t.Helper()
	if size == 0 {
		return sha256.Sum256(nil)
	}
	root, err := tlog.TreeHash(size, a)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// checkpoint is the signed head of the first records, signed by others besides.
func (a *author) checkpoint(t testing.TB, size int64, also ...*proof.Signer) []byte {
	t.Helper()
	return signed(t, a.signer.Key().Name(), uint64(size), a.root(t, size), append([]*proof.Signer{a.signer}, also...)...)
}

func (a *author) prove(t testing.TB, old, size int64) tlog.TreeProof {
	t.Helper()
	if old == 0 || old >= size {
		return nil
	}
	path, err := tlog.ProveTree(size, old, a)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func signed(t testing.TB, origin string, size uint64, root tlog.Hash, signers ...*proof.Signer) []byte {
	t.Helper()
	cp, err := proof.Sign(origin, size, root, testTime, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return cp.Note
}

// body is a request of add-checkpoint.
func body(old int64, path tlog.TreeProof, checkpoint []byte) []byte {
	b := append(proof.AppendHashes(fmt.Appendf(nil, "old %d\n", old), path), '\n')
	return append(b, checkpoint...)
}

// A bench is a witness on a store of its own.
type bench struct {
	*Server
	db   *store.DB
	path string // of the database
}

// open opens a witness with the name, with an ML-DSA and an Ed25519 key.
func open(t testing.TB, name string, edit ...func(*Config)) *bench {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "state.db"), name, edit...)
}

func openAt(t testing.TB, path, name string, edit ...func(*Config)) *bench {
	t.Helper()
	db, err := store.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	cfg := Config{Signers: cosigners(t, name), Store: db, Now: testNow}
	for _, f := range edit {
		f(&cfg)
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{s, db, path}
}

// cosigners are the two keys of a witness.
func cosigners(t testing.TB, name string) []*proof.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(name + " ML-DSA"))
	quantum, err := proof.NewMLDSACosigner(name, seed[:])
	if err != nil {
		t.Fatal(err)
	}
	classic, err := proof.NewCosigner(name, keyOf(name))
	if err != nil {
		t.Fatal(err)
	}
	return []*proof.Signer{quantum, classic}
}

// trust has the witness watch a log.
func (b *bench) trust(t testing.TB, a *author) {
	t.Helper()
	if err := b.Trust(context.Background(), a.signer.Key()); err != nil {
		t.Fatal(err)
	}
}

// show shows a log's checkpoint to the witness with the right proof.
func (b *bench) show(t testing.TB, a *author, old, size int64) ([]byte, error) {
	t.Helper()
	return b.Cosign(context.Background(), uint64(old), a.prove(t, old, size), a.checkpoint(t, size))
}

// must is show, which must succeed.
func (b *bench) must(t testing.TB, a *author, old, size int64) []byte {
	t.Helper()
	lines, err := b.show(t, a, old, size)
	if err != nil {
		t.Fatalf("from %d to %d: %v", old, size, err)
	}
	return lines
}

// sizeSeen is how far the witness has seen a log.
func (b *bench) sizeSeen(t testing.TB, a *author) uint64 {
	t.Helper()
	logs, err := b.Logs(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range logs {
		if l.Origin == a.signer.Key().Name() {
			return l.Size
		}
	}
	t.Fatalf("the witness does not watch %s", a.signer.Key().Name())
	return 0
}
