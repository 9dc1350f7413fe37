package rowseal

import (
	"crypto/sha256"
	"math/bits"

	"github.com/pavise/pavise/internal/abreast"
	"github.com/pavise/pavise/internal/proof"
)

// A folder makes the nodes of trees, those of a level together. It is for one goroutine.
type folder struct{ nodes *abreast.Rack }

// nodesAtOnce is how many are hashed together.
const nodesAtOnce = 64

func newFolder() folder { return folder{abreast.NewRack(1+2*sha256.Size, nodesAtOnce)} }

// fold returns the root over leaves, which are a power of two, and writes over them.
func (f folder) fold(leaves []byte) hash {
	for len(leaves) > sha256.Size {
		up := leaves[:0] // behind what is read
		for len(leaves) > 0 {
			n := min(nodesAtOnce, len(leaves)/(2*sha256.Size))
			for i := range n {
				node := f.nodes.Message(i)
				node[0] = tagNode
				copy(node[1:], leaves[i*2*sha256.Size:])
			}
			up, leaves = f.nodes.Sum(up, n), leaves[n*2*sha256.Size:]
		}
		leaves = up
	}
	return hash(leaves)
}

// add adds leaves to a tree, which has any number, and writes over them: those that make a complete
// subtree at its place together.
func (f folder) add(tree *proof.Range, leaves []byte) {
	for len(leaves) > 0 {
		k := bits.Len(uint(len(leaves)/sha256.Size)) - 1
		if at := tree.Size(); at > 0 {
			k = min(k, bits.TrailingZeros64(at))
		}
		part := leaves[:sha256.Size<<k]
		tree.Add(k, f.fold(part), nil)
		leaves = leaves[len(part):]
	}
}
