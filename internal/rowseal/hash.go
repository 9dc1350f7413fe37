package rowseal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/pavise/pavise/internal/abreast"
	"github.com/pavise/pavise/internal/proof"
)

// A Hash is a SHA-256 digest as it is computed with.
type Hash = [sha256.Size]byte

type hash = Hash

// A Digest is a hash as files and people read it: 64 hexadecimal digits in lower case.
type Digest hash

// String returns the digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes the digits.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads the digits, in one spelling.
func (d *Digest) UnmarshalText(text []byte) error {
	n, err := hex.Decode(d[:], text[:min(len(text), 2*len(d))])
	if err != nil || n != len(d) || len(text) != 2*n || hex.EncodeToString(d[:]) != string(text) {
		return fmt.Errorf("%.80q is no digest: 64 digits of lower-case hexadecimal", text)
	}
	return nil
}

// The first byte of what is hashed says what it is, so that nothing can pass for another.
// Those of leaves and nodes are of RFC 6962, section 2.1.
const (
	tagLeaf     = 0x00 // a row, a block of bytes, an entry of a tree
	tagNode     = 0x01 // two of them, or of what is made of them
	tagBlock    = 0x02 // the digests of a block of rows
	tagFile     = 0x03 // the digests of a file's blocks
	tagPlace    = 0x04 // a row's digest under the salt of its place
	tagDataset  = 0x05 // the digests of all files
	tagManifest = 0x06 // what a seal's root is made of
)

// saltSize is 128 bits: enough that no salt is guessed.
const saltSize = 16

// Labels of the keys that salts are drawn from.
const (
	labelPlaces   = FormatSeal + " places"
	labelContents = FormatSeal + " contents"
)

// salts yields the salt of each place or bucket from a key that is made of the whole
// content: who lacks a part of it that cannot be guessed cannot make them. AES-256 of the
// number, as the pseudorandom function.
type salts struct{ block cipher.Block }

func newSalts(content hash, label string) salts {
	mac := hmac.New(sha256.New, content[:])
	mac.Write([]byte(label))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		panic("rowseal: " + err.Error()) // the key is 32 bytes long
	}
	return salts{block}
}

// fill writes the salts from number first on.
func (s salts) fill(out []byte, first uint64) {
	var counter [saltSize]byte
	binary.BigEndian.PutUint64(counter[8:], first)
	clear(out)
	cipher.NewCTR(s.block, counter[:]).XORKeyStream(out, out)
}

// one returns the salt of a number.
func (s salts) one(number uint64) (salt [saltSize]byte) {
	s.fill(salt[:], number)
	return salt
}

// saltedSize is how long what is hashed of a row and its salt is.
const saltedSize = 1 + saltSize + sha256.Size

// fillSalted writes what is hashed to hide a row's digest under the salt of its place.
func fillSalted(b, salt, digest []byte) {
	b[0] = tagPlace
	copy(b[1:], salt)
	copy(b[1+saltSize:], digest)
}

// salted hides a row's digest under the salt of its place.
func salted(salt, digest []byte) hash {
	var b [saltedSize]byte
	fillSalted(b[:], salt, digest)
	return sha256.Sum256(b[:])
}

// A Mark is what stands for a row in a bucket, under the salt of the bucket: 128 bits, in
// hexadecimal.
type Mark [saltSize]byte

// MarshalText writes the digits.
func (m Mark) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, m[:]), nil }

// UnmarshalText reads the digits, in one spelling.
func (m *Mark) UnmarshalText(text []byte) error {
	n, err := hex.Decode(m[:], text[:min(len(text), 2*len(m))])
	if err != nil || n != len(m) || len(text) != 2*n || hex.EncodeToString(m[:]) != string(text) {
		return fmt.Errorf("%.80q is none of %d digits of lower-case hexadecimal", text, 2*len(m))
	}
	return nil
}

// marking is what marks are made with: AES-128 under a key that is no secret.
var marking = func() *abreast.Permutation {
	sum := sha256.Sum256([]byte(FormatSeal + " marks"))
	return abreast.NewPermutation([saltSize]byte(sum[:]))
}()

// marks hides rows of a bucket, or of several, each of which is d + s by now: it becomes p(d + s) +
// d + s, where p is the permutation, d the last 128 bits of the row's digest, s the bucket's salt
// and + exclusive or (Bellare, Hoang, Keelveedhi and Rogaway, "Efficient garbling from a fixed-key
// blockcipher", 2013). It is enough here, and a small part of the price of SHA-256, because the salt
// is bound by the entry that the mark stands in.
func marks(rows []Mark) { abreast.OneWay(marking, rows) }

// tailOf is the part of a digest of which marks are made.
func tailOf(digest []byte) Mark { return Mark(digest[sha256.Size-saltSize:]) }

// under is d + s.
func (m Mark) under(salt *Mark) Mark {
	const half = saltSize / 2
	binary.NativeEndian.PutUint64(m[:], binary.NativeEndian.Uint64(m[:])^binary.NativeEndian.Uint64(salt[:]))
	binary.NativeEndian.PutUint64(m[half:], binary.NativeEndian.Uint64(m[half:])^binary.NativeEndian.Uint64(salt[half:]))
	return m
}

// less reports whether a mark stands before another.
func (m *Mark) less(other *Mark) bool {
	const half = saltSize / 2
	a, b := binary.BigEndian.Uint64(m[:]), binary.BigEndian.Uint64(other[:])
	if a == b {
		a, b = binary.BigEndian.Uint64(m[half:]), binary.BigEndian.Uint64(other[half:])
	}
	return a < b
}

// groupRows is how many rows share an entry of the tree of places: fewer, and the tree costs
// more than the rows.
const groupRows = 16

// groups is how many entries a tree of so many rows has.
func groups(rows uint64) uint64 { return (rows + groupRows - 1) / groupRows }

// A trail is the audit path of one entry (RFC 6962, section 2.1.1), from the entry up.
type trail []hash

// auditPath returns the path of entry i of n, where subtree returns the root over the
// entries from lo up to hi.
func auditPath(i, n uint64, subtree func(lo, hi uint64) (hash, error)) (trail, error) {
	var down trail
	for lo, hi := uint64(0), n; hi-lo > 1; {
		half := lo + 1<<(bits.Len64(hi-lo-1)-1)
		other := [2]uint64{half, hi}
		if i < half {
			hi = half
		} else {
			other, lo = [2]uint64{lo, half}, half
		}
		root, err := subtree(other[0], other[1])
		if err != nil {
			return nil, err
		}
		down = append(down, root)
	}
	for a, b := 0, len(down)-1; a < b; a, b = a+1, b-1 {
		down[a], down[b] = down[b], down[a]
	}
	return down, nil
}

// climb returns the root that the path of entry i of n leads to, or false when it is too
// long or too short for one (RFC 9162, section 2.1.3.2).
func (p trail) climb(i, n uint64, leaf hash) (root hash, ok bool) {
	if i >= n {
		return root, false
	}
	root = leaf
	last := n - 1
	for _, h := range p {
		switch {
		case last == 0:
			return root, false
		case i&1 == 1 || i == last:
			root = proof.Node(h, root)
			for i&1 == 0 && i != 0 {
				i, last = i>>1, last>>1
			}
		default:
			root = proof.Node(root, h)
		}
		i, last = i>>1, last>>1
	}
	return root, last == 0
}
