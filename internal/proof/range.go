package proof

import "golang.org/x/mod/sumdb/tlog"

// A Range is a Merkle tree of RFC 6962 that only grows: the roots of the complete
// subtrees that make it up, and nothing else of it. The zero Range is the empty
// tree.
type Range struct {
	size  uint64
	roots [64]tlog.Hash // roots[k]: of 2^k leaves, where bit k of size is set
}

// Size returns the number of leaves.
func (r *Range) Size() uint64 { return r.size }

// Add appends a complete subtree of 2^k leaves, which must begin at a multiple of
// its size, and calls node, unless nil, for each root that it completes above,
// from the lowest.
func (r *Range) Add(k int, root tlog.Hash, node func(k int, root tlog.Hash)) {
	grown := r.size + 1<<k
	for ; r.size>>k&1 == 1; k++ {
		root = Node(r.roots[k], root)
		if node != nil {
			node(k+1, root)
		}
	}
	r.roots[k], r.size = root, grown
}

// Set makes the range that of a tree of size leaves, whose complete subtrees
// root returns: the n-th of 2^k leaves.
func (r *Range) Set(size uint64, root func(k int, n uint64) (tlog.Hash, error)) error {
	*r = Range{size: size}
	for k := range 64 {
		if size>>k&1 == 0 {
			continue
		}
		var err error
		if r.roots[k], err = root(k, size>>k-1); err != nil {
			return err
		}
	}
	return nil
}

// Root returns the tree's root.
func (r *Range) Root() tlog.Hash {
	if r.size == 0 {
		return emptyRoot
	}
	var root tlog.Hash
	joined := false
	for k, h := range r.roots {
		switch {
		case r.size>>k&1 == 0:
		case joined:
			root = Node(h, root)
		default:
			root, joined = h, true
		}
	}
	return root
}

// emptyRoot is the root of the empty tree: the SHA-256 of nothing.
var emptyRoot = tlog.Hash{
	0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
	0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
}
