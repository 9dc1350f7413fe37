package rowseal

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/pavise/pavise/internal/proof"
)

// TestPlacesOfAnyNumber makes the tree of places of as many rows as end around a piece, with a last
// group that is short or whole, and holds its root to the entries hashed one by one.
func TestPlacesOfAnyNumber(t *testing.T) {
	const most = 2*pieceGroups*groupRows + 1
	digests := make([]byte, most*sha256.Size)
	for i := range digests {
		digests[i] = byte(i * i >> 5)
	}
	salt := fileSalts(Digest{7})
	var tree proof.Range
	for first := uint64(0); first < most; first += groupRows {
		for _, rows := range []uint64{first + 1, first + groupRows - 1, first + groupRows} {
			if near := (rows + groupRows) % (pieceGroups * groupRows); near > 2*groupRows+1 || rows > most {
				continue
			}
			want := tree
			want.Add(0, groupOf(salt, digests, first, rows), nil)
			p := places{salt, rows, bytes.NewReader(digests)}
			for workers := range 2 {
				if got, err := p.root(t.Context(), 1+workers); err != nil || got != want.Root() {
					t.Fatalf("%d rows by %d workers have another root, %v", rows, 1+workers, err)
				}
			}
		}
		if first+groupRows <= most {
			tree.Add(0, groupOf(salt, digests, first, first+groupRows), nil)
		}
	}
}

// groupOf hashes the group of the rows from first on, of so many rows in all.
func groupOf(of salts, digests []byte, first, rows uint64) hash {
	var entry []byte
	for i := first; i < rows; i++ {
		salt := of.one(i)
		h := salted(salt[:], digests[i*sha256.Size:][:sha256.Size])
		entry = append(entry, h[:]...)
	}
	return proof.Leaf(entry)
}

// TestFold adds leaves in parts of any size: the root is that over the leaves one by one.
func TestFold(t *testing.T) {
	f := newFolder()
	for _, parts := range [][]int{{0}, {1}, {2}, {3}, {64}, {200}, {255, 1}, {1, 1, 7}, {5, 300}, {96, 32, 1000}, {1 << 10, 77}} {
		var got, want proof.Range
		for _, n := range parts {
			var leaves []byte
			for i := range n {
				h := proof.Leaf([]byte{byte(i), byte(n)})
				want.Add(0, h, nil)
				leaves = append(leaves, h[:]...)
			}
			f.add(&got, leaves)
		}
		if got.Size() != want.Size() || got.Root() != want.Root() {
			t.Errorf("%d leaves have another root", parts)
		}
	}
}
