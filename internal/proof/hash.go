package proof

import (
	"crypto/sha256"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a node of a tree, for who does no arithmetic of trees of its own.
type Hash = tlog.Hash

// Leaf returns the leaf hash of an entry: SHA-256(0x00 ‖ entry) (RFC 6962,
// section 2.1).
func Leaf(entry []byte) tlog.Hash { return tlog.RecordHash(entry) }

// LeafOf is Leaf of all but the first byte of b, which it overwrites: without the
// copy and the allocation, which cost as much as the hash of a short entry.
func LeafOf(b []byte) tlog.Hash {
	b[0] = 0
	return sha256.Sum256(b)
}

// Node returns the hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
func Node(left, right tlog.Hash) tlog.Hash {
	var b [1 + 2*tlog.HashSize]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+tlog.HashSize:], right[:])
	return sha256.Sum256(b[:])
}

// Fold returns the root of a complete tree over hashes, of which there is a power
// of two. It overwrites them.
func Fold(hashes []tlog.Hash) tlog.Hash {
	for len(hashes) > 1 {
		for i := range len(hashes) / 2 {
			hashes[i] = Node(hashes[2*i], hashes[2*i+1])
		}
		hashes = hashes[:len(hashes)/2]
	}
	return hashes[0]
}
