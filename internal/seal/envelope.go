package seal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

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
// under a fresh random nonce. Open must be given the same aad, which is not in
// the envelope: it says where the envelope belongs, so that it opens nowhere
// else. The envelope is 49 bytes longer than the plaintext.
func (k *Key) Seal(aad, plaintext []byte) []byte {
	var nonce [NonceSize]byte
	rand.Read(nonce[:])
	return k.seal(nonce, aad, plaintext)
}

func (k *Key) seal(nonce [NonceSize]byte, aad, plaintext []byte) []byte {
	size := envelopeOverhead + len(plaintext)
	room := make([]byte, size+headerSize+len(aad)) // in one piece: behind the envelope is what it is bound to
	envelope, bound := room[:0:size], room[size:]
	envelope = append(envelope, envelopeVersion)
	envelope = append(envelope, k.id[:]...)
	copy(bound[copy(bound, envelope):], aad) // the header has a fixed size, so this is unambiguous
	envelope = append(envelope, nonce[:]...)
	return k.aead.Seal(envelope, envelope[headerSize:], plaintext, bound)
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
