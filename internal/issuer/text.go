package issuer

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"github.com/pavise/pavise"
)

// An invitation in text is
//
//	pavise-invite:v1.WORD.ROOT.WHERE
//
// of three parts in unpadded base64url. WORD is 8 bytes that find the invitation and, unless
// it is bound to a key, 24 more that prove it; ROOT is the SHA-256 of the root by which
// the control plane is believed; WHERE is its address, a space, and its SPIFFE id.
const (
	textPrefix = "pavise-invite:v1."
	maxText    = 1024

	findSize  = 8  // bytes of WORD that find an invitation
	proveSize = 24 // and those that prove it
)

var textEncoding = base64.RawURLEncoding.Strict()

// A word is what an invitation says about itself.
type word struct {
	find  string // base64url
	prove []byte // nil: bound to a key
}

// newWord draws the word of an invitation; secret says whether whoever has it may join.
func newWord(secret bool) word {
	find := make([]byte, findSize)
	rand.Read(find)
	w := word{find: textEncoding.EncodeToString(find)}
	if secret {
		w.prove = make([]byte, proveSize)
		rand.Read(w.prove)
	}
	return w
}

// text returns the word as it is sent.
func (w word) text() string {
	find, _ := textEncoding.DecodeString(w.find) // newWord and parseWord encoded it
	return textEncoding.EncodeToString(append(find, w.prove...))
}

// hash is what is kept of the part that proves.
func (w word) hash() []byte {
	if w.prove == nil {
		return []byte{}
	}
	sum := sha256.Sum256(w.prove)
	return sum[:]
}

// proves compares with what is kept, in the same time whatever is wrong.
func (w word) proves(kept []byte) bool { return subtle.ConstantTimeCompare(w.hash(), kept) == 1 }

func parseWord(text string) (w word, ok bool) {
	raw, err := textEncoding.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") || len(raw) != findSize && len(raw) != findSize+proveSize {
		return word{}, false
	}
	w.find = textEncoding.EncodeToString(raw[:findSize])
	if len(raw) > findSize {
		w.prove = raw[findSize:]
	}
	return w, true
}

// A ticket is an invitation, read from its text.
type ticket struct {
	word string // as it is sent
	root []byte // SHA-256
	url  string // https://HOST:PORT
	id   string // SPIFFE id of the control plane
}

func (t ticket) String() string {
	return textPrefix + t.word + "." + textEncoding.EncodeToString(t.root) + "." + textEncoding.EncodeToString([]byte(t.url+" "+t.id))
}

// parseTicket reads an invitation. The error is of kind Invalid, and quotes nothing: an
// invitation is a secret.
func parseTicket(text string) (t ticket, err error) {
	bad := func(what string) (ticket, error) {
		return ticket{}, &pavise.Error{Kind: pavise.Invalid, Msg: "this is no invitation: " + what, Hint: "copy the whole line that pavise node invite printed; it begins with pavise-invite:"}
	}
	rest, ok := strings.CutPrefix(text, textPrefix)
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 || len(text) > maxText {
		return bad("it is not of the form " + textPrefix + "WORD.ROOT.WHERE")
	}
	if _, ok := parseWord(parts[0]); !ok {
		return bad("its word is cut, or was changed")
	}
	t.word = parts[0]
	if t.root, err = textEncoding.DecodeString(parts[1]); err != nil || len(t.root) != sha256.Size {
		return bad("its root is cut, or was changed")
	}
	where, err := textEncoding.DecodeString(parts[2])
	if t.url, t.id, ok = strings.Cut(string(where), " "); err != nil || !ok || strings.ContainsFunc(string(where), func(r rune) bool { return r < ' ' || r > '~' }) {
		return bad("it does not say where to join")
	}
	u, err := url.Parse(t.url)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return bad("it does not say where to join")
	}
	domain, path, ok := strings.Cut(strings.TrimPrefix(t.id, "spiffe://"), "/")
	if id, node := strings.CutPrefix(path, pavise.Node+"/"); !ok || !node || !isTrustDomain(domain) || id == "" || !isSegment(id) || t.id != fmt.Sprintf("spiffe://%s/%s", domain, path) {
		return bad("it does not say who will be met there")
	}
	if t.String() != text {
		return bad("it is not spelled as invitations are")
	}
	return t, nil
}
