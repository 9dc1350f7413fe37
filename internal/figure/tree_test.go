package figure

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// A treeProof is a proof as it is shown: base64 hashes.
type treeProof struct {
	Leaf, Root string
	Path       []string
	Size       uint64
}

func draw(index uint64, p treeProof) *Tree { return NewTree(index, p.Size, p.Leaf, p.Root, p.Path) }

// TestClimb compares with the tlog package over every leaf of every small tree,
// and then bends each proof.
func TestClimb(t *testing.T) {
	var hashes []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, err error) {
		for _, i := range at {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	for size := int64(1); size <= 40; size++ {
		added, err := tlog.StoredHashes(size-1, fmt.Appendf(nil, "record %d", size), read)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, added...)
		root, err := tlog.TreeHash(size, read)
		if err != nil {
			t.Fatal(err)
		}
		for index := range size {
			path, err := tlog.ProveRecord(size, index, read)
			if err != nil {
				t.Fatal(err)
			}
			p := treeProof{Leaf: encode(hashes[tlog.StoredHashIndex(0, index)]), Size: uint64(size), Root: encode(root)}
			for _, h := range path {
				p.Path = append(p.Path, encode(h))
			}
			if pic := draw(uint64(index), p); !pic.Holds || len(pic.Levels) != len(path) {
				t.Fatalf("record %d of %d does not hold", index, size)
			}
			if _, ok := climb(uint64(index), uint64(size), hash{}, make([]hash, len(path)+1)); ok {
				t.Fatalf("record %d of %d may have %d hashes", index, size, len(path)+1)
			}
			if _, ok := climb(uint64(index), uint64(size), hash{}, make([]hash, max(0, len(path)-1))); ok != (len(path) == 0) {
				t.Fatalf("record %d of %d may have %d hashes", index, size, len(path)-1)
			}
			for name, bent := range bend(uint64(index), p) {
				if draw(bent.index, bent.proof).Holds {
					t.Fatalf("record %d of %d holds with %s", index, size, name)
				}
			}
		}
	}
}

type bentProof struct {
	index uint64
	proof treeProof
}

func bend(index uint64, p treeProof) map[string]bentProof {
	other := sha256.Sum256([]byte("other"))
	change := func(index uint64, edit func(*treeProof)) bentProof {
		q := p
		q.Path = append([]string{}, p.Path...)
		edit(&q)
		return bentProof{index, q}
	}
	all := map[string]bentProof{
		"another leaf":     change(index, func(q *treeProof) { q.Leaf = encode(other) }),
		"another root":     change(index, func(q *treeProof) { q.Root = encode(other) }),
		"a hash too many":  change(index, func(q *treeProof) { q.Path = append(q.Path, encode(other)) }),
		"no leaf":          change(index, func(q *treeProof) { q.Leaf = "" }),
		"a root of text":   change(index, func(q *treeProof) { q.Root = "<root>" }),
		"an index outside": change(p.Size, func(*treeProof) {}),
		"an empty tree":    change(index, func(q *treeProof) { q.Size = 0 }),
	}
	if len(p.Path) > 0 {
		all["a hash too few"] = change(index, func(q *treeProof) { q.Path = q.Path[1:] })
		all["another hash"] = change(index, func(q *treeProof) { q.Path[0] = encode(other) })
		all["its neighbour's index"] = change(index^1, func(*treeProof) {})
	}
	return all
}

func encode(h tlog.Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }
