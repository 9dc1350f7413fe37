package pavise

import (
	"fmt"
	"strings"
)

// A Name says which thing: tenant/kind/id. Every table key, budget, key-tree
// path and log entry carries one, so that no tenant can be confused with
// another. The zero Name names nothing.
type Name struct {
	Tenant string // who owns the thing
	Kind   string // what sort of thing it is: model, route, policy, ledger …
	ID     string // which one; unique within tenant and kind
}

// maxPart bounds each part of a name, in bytes, so that a name always fits a
// table key, a file name and a log line.
const maxPart = 128

// ParseName reads "tenant/kind/id". The error is of kind Invalid and says
// which part is wrong.
func ParseName(s string) (Name, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return Name{}, &Error{
			Kind: Invalid,
			Msg:  fmt.Sprintf("name %.80q has %d parts, not 3", s, len(parts)),
			Hint: "write it as tenant/kind/id, for example local/model/threat-detector",
		}
	}
	n := Name{Tenant: parts[0], Kind: parts[1], ID: parts[2]}
	if err := n.Validate(); err != nil {
		return Name{}, err
	}
	return n, nil
}

// Validate reports whether each part is 1 to 128 characters of
// [A-Za-z0-9._@:+-] and begins with a letter or digit, which keeps names safe
// in paths, URLs and policies without escaping.
func (n Name) Validate() error {
	if partFault(n.Tenant) == "" && partFault(n.Kind) == "" && partFault(n.ID) == "" {
		return nil
	}
	for _, p := range []struct{ what, s string }{{"tenant", n.Tenant}, {"kind", n.Kind}, {"id", n.ID}} {
		if why := partFault(p.s); why != "" {
			return &Error{
				Kind: Invalid,
				Msg:  fmt.Sprintf("the %s of name %.80q %s", p.what, n.String(), why),
				Hint: "each part of tenant/kind/id takes letters, digits and . _ @ : + - and begins with a letter or digit",
			}
		}
	}
	return nil
}

// String returns tenant/kind/id, or "" for the zero Name.
func (n Name) String() string {
	if n == (Name{}) {
		return ""
	}
	return n.Tenant + "/" + n.Kind + "/" + n.ID
}

// Append appends what String returns.
func (n Name) Append(b []byte) []byte {
	if n == (Name{}) {
		return b
	}
	b = append(append(b, n.Tenant...), '/')
	b = append(append(b, n.Kind...), '/')
	return append(b, n.ID...)
}

// MarshalText writes the name as String does.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads what MarshalText wrote; empty text is the zero Name.
func (n *Name) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*n = Name{}
		return nil
	}
	parsed, err := ParseName(string(b))
	if err != nil {
		return err
	}
	*n = parsed
	return nil
}

// partFault says what is wrong with one part of a name, or "".
func partFault(s string) string {
	if s == "" {
		return "is empty"
	}
	if len(s) > maxPart {
		return fmt.Sprintf("is %d bytes long, more than %d", len(s), maxPart)
	}
	for i := range len(s) {
		if sort := characters[s[i]]; sort == foreign || sort == inner && i == 0 {
			return fmt.Sprintf("has the character %q at byte %d", s[i], i)
		}
	}
	return ""
}

// What a character is in a part of a name.
const (
	foreign = iota // none may have it
	inner          // none may begin with it
	outer          // a letter or a digit
)

// characters says what each is. A name is looked at three times for each thing that is
// asked: profiled, telling its characters apart one comparison after another took longer
// than to find its policies.
var characters = func() (sorts [256]uint8) {
	for c := range sorts {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			sorts[c] = outer
		case strings.IndexByte("._@:+-", byte(c)) >= 0:
			sorts[c] = inner
		}
	}
	return sorts
}()
