package bundle

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
)

// maxHead bounds what stands before the body: a first line, and a line for each key.
const maxHead = 32 + MaxKeys*160

// firstLine begins a bundle, and what is signed of it.
func firstLine(format int) string { return fmt.Sprintf("pavise-bundle %d\n", format) }

// A frame is a bundle as it travels: who signed what. Nothing of it is verified yet.
type frame struct {
	format     int
	signatures []signature
	body       []byte
}

// A signature is one key's word on a body.
type signature struct {
	by    Key
	bytes []byte
}

// parse takes a bundle apart.
func parse(signed []byte) (f frame, err error) {
	if len(signed) > MaxBundle {
		return f, malformed("it has %d bytes, more than %d", len(signed), MaxBundle)
	}
	end := bytes.Index(signed[:min(len(signed), maxHead)], []byte("\n\n"))
	if end < 0 {
		return f, malformed("no empty line ends its signatures")
	}
	lines := strings.Split(string(signed[:end]), "\n")
	f.body = signed[end+2:]
	number, ok := strings.CutPrefix(lines[0], "pavise-bundle ")
	if f.format, err = strconv.Atoi(number); !ok || err != nil || f.format < 1 || firstLine(f.format) != lines[0]+"\n" {
		return f, malformed("its first line is %.40q", lines[0])
	}
	if len(lines)-1 > MaxKeys {
		return f, malformed("it has %d signatures, more than %d", len(lines)-1, MaxKeys)
	}
	for _, line := range lines[1:] {
		s, err := parseSignature(line)
		if err != nil {
			return f, err
		}
		if slices.ContainsFunc(f.signatures, func(other signature) bool { return other.by.Same(s.by) }) {
			return f, malformed("the key %s signed it twice", s.by)
		}
		f.signatures = append(f.signatures, s)
	}
	return f, nil
}

func parseSignature(line string) (s signature, err error) {
	key, sig, _ := strings.Cut(line, " ")
	if s.by, err = ParseKey(key); err != nil {
		return s, malformed("a line of its signatures begins with no key")
	}
	if s.bytes, err = encoding.DecodeString(sig); err != nil || len(s.bytes) != ed25519.SignatureSize || strings.ContainsRune(sig, '\r') {
		return s, malformed("the signature of the key %s is none", s.by)
	}
	return s, nil
}

// Open verifies a bundle against whom a reader trusts, and reads it. It knows neither
// the clock nor what was seen before: a Store does.
func Open(signed []byte, trust Trust, formats []Format) (*Bundle, error) {
	f, err := parse(signed)
	if err != nil {
		return nil, err
	}
	format, known := formatOf(formats, f.format)
	if !known {
		return nil, refuse(pavise.Unavailable, ErrFormat, "upgrade the older of the two builds: they may be one format apart",
			"the bundle has format %d, which this build does not read", f.format)
	}
	if err := f.signedBy(trust.Keys); err != nil {
		return nil, err
	}
	b, err := format.Decode(f.body)
	if err == nil {
		b.Format = f.format
		err = b.check()
	}
	if err != nil {
		return nil, malformed("%v", err)
	}
	if b.Origin != trust.Origin {
		return nil, refuse(pavise.Unverified, ErrOrigin, "was this reader enrolled at another control plane? Then enrol it anew",
			"the bundle is of %.140q, and this reader follows %.140q", b.Origin, trust.Origin)
	}
	return b, f.hands(b, trust.Keys)
}

// signedBy checks that an active key of the list signed it.
func (f frame) signedBy(list []Key) error {
	revoked, verified := "", false
	message := append([]byte(firstLine(f.format)), f.body...)
	for _, s := range f.signatures {
		k, listed := s.by.in(list)
		switch {
		case listed && k.Revoked:
			revoked = k.String()
		case listed && !ed25519.Verify(k.Public, message, s.bytes):
			return refuse(pavise.Unverified, ErrForged, "somebody changed it, or signed it in another's name: look at who can reach the control plane's answers",
				"the bundle was not signed by the key %s as it says", k)
		case listed:
			verified = true
		}
	}
	switch {
	case verified:
		return nil
	case revoked != "":
		return refuse(pavise.Unverified, ErrRevokedKey, "somebody uses a key that was revoked: look at the control plane, and at what else has its files",
			"the bundle is signed by the key %s, which was revoked", revoked)
	}
	return refuse(pavise.Unverified, ErrUnknownKey, "a reader that was away for long, or has a control plane that was set up anew, is enrolled again",
		"the bundle is signed by none of the keys that this reader knows")
}

// hands checks what the bundle says about who may sign next: one of those must have
// signed it, too, or nobody could go on; and nobody who was revoked comes back.
func (f frame) hands(b *Bundle, before []Key) error {
	for _, k := range b.Keys {
		if was, listed := k.in(before); listed && was.Revoked && !k.Revoked {
			return refuse(pavise.Unverified, ErrRevokedKey, "make a new key instead: what was revoked may be in other hands",
				"the bundle makes the key %s active again, which was revoked", k)
		}
	}
	if err := f.signedBy(b.Keys); err != nil {
		return fmt.Errorf("by the bundle's own list of keys: %w", err)
	}
	return nil
}

// digestOf is the hex SHA-256 of a bundle as it travels, behind "sha256:".
func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
