package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
)

// A Label says what a derived key is for. The constants are the whole list:
// a new use is a new label, reviewed here, never a string made elsewhere.
type Label string

// The labels, and the context each takes.
const (
	LabelRecord  Label = "pavise/v1/record"   // seals what a tenant's records keep; context: the tenant
	LabelKeyFile Label = "pavise/v1/key-file" // wraps private keys on disk; no context
	LabelSubject Label = "pavise/v1/subject"  // wraps the keys of a tenant's data subjects; context: the tenant
	LabelHandle  Label = "pavise/v1/handle"   // finds them by name; context: the tenant
	LabelWire    Label = "pavise/v1/wire"     // wraps where a tenant's findings go, and the secrets that sign them; context: the tenant
	LabelTicket  Label = "pavise/v1/ticket"   // wraps what a tenant's tools are asked with, and marks its tickets; context: the tenant

	LabelQuarantine Label = "pavise/v1/quarantine" // seals what the gate holds back of a tenant's sources; context: the tenant

	LabelDepot Label = "pavise/v1/depot" // seals the files of a tenant's models; context: the tenant

	LabelMarks Label = "pavise/v1/marks" // yields the keys that mark answers of a tenant's models; context: the tenant

	LabelDrift Label = "pavise/v1/drift" // seals what windows of a tenant's models are held to, and draws projections; context: the tenant

	LabelBundles Label = "pavise/v1/bundles" // seals what a reader of bundles has seen; no context

	LabelEmbeddings Label = "pavise/v1/embeddings" // alters vectors of embeddings; no context

	LabelEdge Label = "pavise/v1/edge" // seals what a machine at the edge keeps of models; no context

	labelKeyID Label = "pavise/v1/key-id" // the public id of a key; no context
)

// A KeyID tells keys apart without telling anything about them. It is derived
// from the key, so that the same key has the same id everywhere. It is a name
// for finding the key, not a proof of which key was used.
type KeyID [8]byte

// String returns the id as 16 hex digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// A Key is a 256-bit secret that seals envelopes and yields other keys. It is safe for
// concurrent use, and prints as its id.
type Key struct {
	secret [KeySize]byte
	id     KeyID
	aead   *xaes
	group  atomic.Pointer[group] // that the next envelope is sealed in; nil: none was yet
}

// NewKey returns the key with the given 32 bytes, which must be uniformly
// random: a password is not a key.
func NewKey(secret []byte) (*Key, error) {
	aead, err := newXAES(secret)
	if err != nil {
		return nil, err
	}
	k := &Key{aead: aead}
	copy(k.secret[:], secret)
	id := derive(k.secret[:], labelKeyID)
	copy(k.id[:], id)
	return k, nil
}

// ID returns the key's public id.
func (k *Key) ID() KeyID { return k.id }

// Derive returns the key for the use that label and context name: HKDF-SHA-256
// (RFC 5869) with no salt and an info of length-prefixed strings, so that two
// different lists can never collide.
func (k *Key) Derive(label Label, context ...string) *Key {
	child, err := NewKey(derive(k.secret[:], label, context...))
	if err != nil {
		panic("seal: " + err.Error()) // derive returns KeySize bytes
	}
	return child
}

// MAC returns HMAC-SHA-256 of a text under the key: a name that only its holder can
// tell from another.
func (k *Key) MAC(text string) []byte {
	h := hmac.New(sha256.New, k.secret[:])
	h.Write([]byte(text))
	return h.Sum(nil)
}

// String returns "key" and the id, so that a key in a log line tells nothing.
func (k *Key) String() string { return "key " + k.id.String() }

// GoString is String: %#v tells nothing either.
func (k *Key) GoString() string { return k.String() }

func derive(secret []byte, label Label, context ...string) []byte {
	info := appendPrefixed(nil, string(label))
	for _, c := range context {
		info = appendPrefixed(info, c)
	}
	out, err := hkdf.Key(sha256.New, secret, nil, string(info), KeySize)
	if err != nil {
		panic("seal: " + err.Error()) // HKDF-SHA-256 yields up to 8160 bytes
	}
	return out
}

// appendPrefixed appends s after its length as a big-endian uint32.
func appendPrefixed(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}
