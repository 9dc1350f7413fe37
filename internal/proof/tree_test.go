package proof

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// A testTree is a tree as package tlog stores it, which is the oracle of these tests.
type testTree struct {
	t      testing.TB
	leaves []tlog.Hash
	stored []tlog.Hash
}

func newTestTree(t testing.TB, n int) *testTree {
	t.Helper()
	tree := &testTree{t: t}
	for i := range n {
		leaf := tlog.RecordHash(fmt.Appendf(nil, "entry %d", i))
		hashes, err := tlog.StoredHashesForRecordHash(int64(i), leaf, tree)
		if err != nil {
			t.Fatal(err)
		}
		tree.leaves, tree.stored = append(tree.leaves, leaf), append(tree.stored, hashes...)
	}
	return tree
}

// ReadHashes is tlog.HashReader's.
func (tree *testTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, i := range indexes {
		hashes = append(hashes, tree.stored[i])
	}
	return hashes, nil
}

// root returns the root of the first n leaves.
func (tree *testTree) root(n int) tlog.Hash {
	tree.t.Helper()
	root, err := tlog.TreeHash(int64(n), tree)
	if err != nil {
		tree.t.Fatal(err)
	}
	return root
}

// node returns the root of the n-th complete subtree of 2^k leaves.
func (tree *testTree) node(k int, n uint64) (tlog.Hash, error) {
	return tree.stored[tlog.StoredHashIndex(k, int64(n))], nil
}

// TestLeafAndNodeAreThoseOfRFC6962 compares the hashes with package tlog's, and
// LeafOf with what it says it does to its argument.
func TestLeafAndNodeAreThoseOfRFC6962(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for size := range 300 {
		entry := make([]byte, size)
		for i := range entry {
			entry[i] = byte(rng.Uint32())
		}
		want := tlog.Hash(sha256.Sum256(append([]byte{0}, entry...)))
		if got := Leaf(entry); got != want {
			t.Fatalf("leaf of %d bytes: %s, want %s", size, got, want)
		}
		framed := append([]byte{byte(size)}, entry...)
		if got := LeafOf(framed); got != want || framed[0] != 0 {
			t.Fatalf("leaf of %d bytes behind another: %s, want %s", size, got, want)
		}
		left, right := tlog.Hash(testRoot(byte(size))), tlog.Hash(testRoot(byte(size+1)))
		if got := Node(left, right); got != tlog.NodeHash(left, right) {
			t.Fatalf("node: %s, want %s", got, tlog.NodeHash(left, right))
		}
	}
	if Leaf(nil) == emptyRoot || emptyRoot != sha256.Sum256(nil) {
		t.Error("the root of the empty tree is the SHA-256 of nothing, and no leaf")
	}
}

// TestFoldIsTheCompleteTree folds all complete trees up to 256 leaves.
func TestFoldIsTheCompleteTree(t *testing.T) {
	tree := newTestTree(t, 256)
	for n := 1; n <= 256; n *= 2 {
		if got := Fold(append([]tlog.Hash{}, tree.leaves[:n]...)); got != tree.root(n) {
			t.Errorf("%d leaves fold to %s, want %s", n, got, tree.root(n))
		}
	}
}

// TestRangeGrowsAsTheTree adds leaves one by one and compares the root and each inner
// node, in its order, with package tlog's.
func TestRangeGrowsAsTheTree(t *testing.T) {
	const most = 1100
	tree := newTestTree(t, most)
	var r Range
	for n := range most {
		if r.Size() != uint64(n) || r.Root() != tree.root(n) {
			t.Fatalf("%d leaves: size %d, root %s, want %s", n, r.Size(), r.Root(), tree.root(n))
		}
		next := int64(1)
		r.Add(0, tree.leaves[n], func(k int, root tlog.Hash) {
			if int64(k) != next {
				t.Fatalf("leaf %d completes the subtree of 2^%d before that of 2^%d", n, k, next)
			}
			next++
			if want, _ := tree.node(k, uint64(n>>k)); root != want {
				t.Fatalf("leaf %d completes a subtree of 2^%d with root %s, want %s", n, k, root, want)
			}
		})
		for want := int64(1); (n+1)>>(want-1)&1 == 0; want++ {
			if next <= want {
				t.Fatalf("leaf %d does not complete the subtree of 2^%d", n, want)
			}
		}
	}
}

// TestRangeTakesSubtrees grows trees of random sizes from complete subtrees of random
// sizes, and begins them in the middle from their roots.
func TestRangeTakesSubtrees(t *testing.T) {
	const most = 3000
	tree := newTestTree(t, most)
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		size := uint64(rng.IntN(most))
		var r Range
		for r.Size() < size {
			k := 0
			for r.Size()>>k&1 == 0 && r.Size()+2<<k <= size && rng.IntN(4) > 0 {
				k++
			}
			root, _ := tree.node(k, r.Size()>>k)
			r.Add(k, root, nil)
		}
		var begun Range
		begun.Add(0, tlog.Hash{}, nil) // Set forgets what was there
		if err := begun.Set(size, tree.node); err != nil {
			t.Fatal(err)
		}
		want := tree.root(int(size))
		if r.Size() != size || r.Root() != want || begun.Size() != size || begun.Root() != want {
			t.Fatalf("seed %d, %d leaves: added up to %s, begun as %s, want %s", seed, size, r.Root(), begun.Root(), want)
		}
		for i := size; i < min(size+5, most); i++ {
			begun.Add(0, tree.leaves[i], nil)
			if begun.Root() != tree.root(int(i+1)) {
				t.Fatalf("seed %d: begun at %d, wrong at %d", seed, size, i+1)
			}
		}
	}
}

// TestRangeOfManyLeaves: a tree of nearly 2⁶³ leaves, all subtrees of one size alike,
// has the root that folding says.
func TestRangeOfManyLeaves(t *testing.T) {
	alike := make([]tlog.Hash, 63) // roots of 2^k leaves that are all the same
	alike[0] = tlog.Hash(testRoot(1))
	for k := 1; k < len(alike); k++ {
		alike[k] = Node(alike[k-1], alike[k-1])
	}
	var r Range
	if err := r.Set(1<<63-1, func(k int, n uint64) (tlog.Hash, error) {
		if n != 1<<(63-k)-2 {
			t.Errorf("asked for subtree %d of 2^%d leaves", n, k)
		}
		return alike[k], nil
	}); err != nil {
		t.Fatal(err)
	}
	want := alike[0]
	for k := 1; k < 63; k++ {
		want = Node(alike[k], want)
	}
	if r.Root() != want {
		t.Errorf("root %s, want %s", r.Root(), want)
	}
	completed := 0
	r.Add(0, alike[0], func(int, tlog.Hash) { completed++ })
	if r.Size() != 1<<63 || completed != 63 || r.Root() != Node(alike[62], alike[62]) {
		t.Errorf("one leaf more: size %d, %d subtrees completed", r.Size(), completed)
	}
	broken := errors.New("broken")
	if err := r.Set(3, func(int, uint64) (tlog.Hash, error) { return tlog.Hash{}, broken }); err != broken {
		t.Errorf("the error of who returns roots: %v", err)
	}
}
