package depot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/pavise/pavise"
)

// A Digest is the SHA-256 of a content, under which it is kept. As text it is sha256: and 64
// small hexadecimal digits.
type Digest [sha256.Size]byte

const prefix = "sha256:"

// ParseDigest reads what String writes, and nothing else. The error is of kind Invalid.
func ParseDigest(text string) (d Digest, err error) {
	digits, has := strings.CutPrefix(text, prefix)
	if !has || len(digits) != 2*len(d) || digits != strings.ToLower(digits) {
		return d, noDigest(text, nil)
	}
	if _, err := hex.Decode(d[:], []byte(digits)); err != nil {
		return Digest{}, noDigest(text, err)
	}
	return d, nil
}

func noDigest(text string, err error) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no digest of a content", text), Hint: "write sha256: and 64 hexadecimal digits, none of them a capital", Err: err}
}

// String writes the digest.
func (d Digest) String() string { return prefix + hex.EncodeToString(d[:]) }

// MarshalText writes the digest as String does.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDigest(string(text))
	return err
}
