package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// The marks of Escape. None of them can come out of a plain escape, where "+" is
// always followed by two hex digits.
const (
	escapeHead = "x++" // what follows begins with neither letter nor digit
	escapeCut  = "+-"  // what follows is the SHA-256 of the whole subject
	maxName    = 128   // bytes of a name's id
)

// Escape makes any subject of an issuer the id of a name, and no two subjects the
// same: each byte that an id does not take, and "+", becomes + and two hex digits;
// what would begin with another character than a letter or digit begins with "x++";
// and what would be too long ends in the SHA-256 of the subject. Subjects that are
// ids already, and hold no "+", stay as they are. The empty one becomes "x++".
func Escape(subject string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i, c := range []byte(subject) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if i == 0 && !letter {
			b.WriteString(escapeHead)
		}
		if letter || strings.IndexByte("._@:-", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('+')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	id := b.String()
	if subject == "" {
		return escapeHead
	}
	if len(id) <= maxName {
		return id
	}
	sum := sha256.Sum256([]byte(subject))
	head := id[:maxName-len(escapeCut)-2*len(sum)]
	if cut := strings.LastIndexByte(head, '+'); cut >= len(head)-2 {
		head = head[:cut] // not in the middle of an escaped byte
	}
	return head + escapeCut + hex.EncodeToString(sum[:])
}
