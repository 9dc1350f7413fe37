package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/pavise/pavise"
)

// An envelope is version ‖ key id ‖ nonce ‖ ciphertext and tag.
// docs/formats/envelope.md is its specification.
const (
	envelopeVersion  = 1
	headerSize       = 1 + len(KeyID{})
	envelopeOverhead = headerSize + NonceSize + Overhead
)

// Why an envelope does not open. Each is found in the chain of the
// *pavise.Error, of kind Unverified, that Open returns.
var (
	ErrTruncated = errors.New("envelope is truncated")
	ErrVersion   = errors.New("envelope version is unknown")
	ErrWrongKey  = errors.New("envelope is sealed under another key")
	ErrForged    = errors.New("envelope is not authentic")
)

// Seal returns an envelope that holds plaintext, encrypted and bound to aad,
// under a fresh nonce. Open must be given the same aad, which is not in
// the envelope: it says where the envelope belongs, so that it opens nowhere
// else. The envelope is 49 bytes longer than the plaintext.
func (k *Key) Seal(aad, plaintext []byte) []byte { return k.SealIn(nil, aad, plaintext) }

// SealIn is Seal into the memory of room, if there is enough, and of what it holds
// nothing is kept. Nobody may have a piece of it that is still used.
func (k *Key) SealIn(room, aad, plaintext []byte) []byte {
	g := k.group.Load()
	if g == nil || g.sealed.Add(1) > groupSize {
		g = k.aead.newGroup()
		k.group.Store(g) // who drew one at the same time has sealed one envelope under theirs
	}
	nonce := g.nonce
	rand.Read(nonce[subkeySize:])
	return k.seal(room, g.aead, nonce, aad, plaintext)
}

// groupSize is how many envelopes are sealed under one subkey at most: a new subkey for
// each was most of what sealing cost, and a third of what a request allocated. The format
// says why it is no larger.
const groupSize = 256

// A group is the envelopes of one key that share a subkey. Half of their nonce selects it
// and is drawn for the group; the other half is drawn for each envelope.
type group struct {
	aead   cipher.AEAD     // AES-256-GCM under the subkey
	nonce  [NonceSize]byte // its first subkeySize bytes
	sealed atomic.Int32    // envelopes
}

func (x *xaes) newGroup() *group {
	g := new(group)
	rand.Read(g.nonce[:subkeySize])
	g.aead = x.gcm(g.nonce[:])
	g.sealed.Store(1) // the one that it is drawn for
	return g
}

// seal makes an envelope with aead, which is what the nonce selects.
func (k *Key) seal(room []byte, aead cipher.AEAD, nonce [NonceSize]byte, aad, plaintext []byte) []byte {
	size := envelopeOverhead + len(plaintext)
	whole := size + headerSize + len(aad) // in one piece: behind the envelope is what it is bound to
	room = slices.Grow(room[:0], whole)[:whole]
	envelope, bound := room[:0:size], room[size:]
	envelope = append(envelope, envelopeVersion)
	envelope = append(envelope, k.id[:]...)
	copy(bound[copy(bound, envelope):], aad) // the header has a fixed size, so this is unambiguous
	envelope = append(envelope, nonce[:]...)
	aead.Seal(envelope, envelope[headerSize+subkeySize:], plaintext, bound)
	return room[:size] // with the rest of the room, for the next one
}

// Open returns the plaintext of an envelope that Seal made under this key and
// this aad. Every byte of the envelope is checked; the error says which of the
// four reasons above it is.
func (k *Key) Open(aad, envelope []byte) ([]byte, error) {
	id, err := EnvelopeKey(envelope)
	if err != nil {
		return nil, err
	}
	if id != k.id {
		return nil, refuse(ErrWrongKey, fmt.Sprintf("envelope is sealed under key %s, and this is key %s", id, k.id),
			"open it with the key that sealed it; after a key was shredded nothing opens it")
	}
	bound := slices.Concat(envelope[:headerSize], aad)
	nonce, ciphertext := envelope[headerSize:][:NonceSize], envelope[headerSize+NonceSize:]
	plaintext, err := k.aead.Open(nil, nonce, ciphertext, bound)
	if err != nil {
		return nil, refuse(ErrForged, fmt.Sprintf("envelope under key %s was altered, or taken from another place", id),
			"restore it from a copy that is known to be good")
	}
	return plaintext, nil
}

// EnvelopeKey returns the id of the key that the envelope says it is sealed
// under, so that a caller can find the key. Only Open proves it.
func EnvelopeKey(envelope []byte) (KeyID, error) {
	if len(envelope) > 0 && envelope[0] != envelopeVersion {
		return KeyID{}, refuse(ErrVersion, fmt.Sprintf("envelope has version %d, and this build reads version %d", envelope[0], envelopeVersion),
			"use a newer pavise")
	}
	if len(envelope) < envelopeOverhead {
		return KeyID{}, refuse(ErrTruncated, fmt.Sprintf("envelope is %d bytes long, and the shortest is %d", len(envelope), envelopeOverhead),
			"restore it from a copy that is known to be good")
	}
	return KeyID(envelope[1:headerSize]), nil
}

func refuse(why error, msg, hint string) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: msg, Hint: hint, Err: why}
}
