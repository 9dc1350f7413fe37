package proof

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"filippo.io/mldsa"
	"golang.org/x/mod/sumdb/note"

	"github.com/pavise/pavise"
)

// An Algorithm says how a key signs a note: the type byte of C2SP signed-note.
type Algorithm byte

// The algorithms that Pavise makes and checks.
const (
	// Ed25519 signs the note itself: a log's own signature.
	Ed25519 Algorithm = 0x01
	// CosignatureEd25519 signs the note and the time (tlog-cosignature).
	CosignatureEd25519 Algorithm = 0x04
	// CosignatureMLDSA signs the tree head, the time and the signer's own name
	// with ML-DSA-44 (tlog-cosignature), which a quantum computer does not forge.
	CosignatureMLDSA Algorithm = 0x06
)

// String returns the algorithm's common name.
func (a Algorithm) String() string {
	switch a {
	case Ed25519:
		return "Ed25519"
	case CosignatureEd25519:
		return "Ed25519 cosignature"
	case CosignatureMLDSA:
		return "ML-DSA-44 cosignature"
	}
	return fmt.Sprintf("algorithm %#x", byte(a))
}

// timestampSize is the length of the time before a cosignature's own bytes.
const timestampSize = 8

// A Key is the public half of a key that signs checkpoints, with the name it
// signs under. It is immutable.
type Key struct {
	name      string
	id        uint32
	algorithm Algorithm
	public    []byte
	mldsa     *mldsa.PublicKey // of a CosignatureMLDSA key
}

// newKey makes a key of its parts. The error is of kind Invalid.
func newKey(name string, algorithm Algorithm, public []byte) (*Key, error) {
	k := &Key{name: name, algorithm: algorithm, public: public}
	if !validName(name) {
		return nil, invalidKey(fmt.Sprintf("%.80q is no key name: it must have letters and neither spaces nor plus", name), nil)
	}
	switch algorithm {
	case Ed25519, CosignatureEd25519:
		if len(public) != ed25519.PublicKeySize {
			return nil, invalidKey(fmt.Sprintf("an Ed25519 key is %d bytes long, not %d", ed25519.PublicKeySize, len(public)), nil)
		}
	case CosignatureMLDSA:
		var err error
		if k.mldsa, err = mldsa.NewPublicKey(mldsa.MLDSA44(), public); err != nil {
			return nil, invalidKey("the key is no ML-DSA-44 key", err)
		}
	default:
		return nil, invalidKey(algorithm.String()+" is none that this build knows", nil)
	}
	sum := sha256.Sum256(append([]byte(name+"\n"+string(rune(algorithm))), public...))
	k.id = binary.BigEndian.Uint32(sum[:])
	return k, nil
}

// ParseKey reads a verifier key, name+id+base64. The error is of kind Invalid.
func ParseKey(text string) (*Key, error) {
	name, rest, ok := strings.Cut(text, "+")
	id, encoded, ok2 := strings.Cut(rest, "+")
	if !ok || !ok2 {
		return nil, invalidKey(fmt.Sprintf("%.100q is not of the form name+id+base64", text), nil)
	}
	b, err := decode64(encoded)
	if err != nil || len(b) < 1 {
		return nil, invalidKey(fmt.Sprintf("verifier key %.80q holds no base64", name), err)
	}
	k, err := newKey(name, Algorithm(b[0]), b[1:])
	if err != nil {
		return nil, err
	}
	if id != k.idText() {
		return nil, invalidKey(fmt.Sprintf("verifier key %.80q has the id %s, and its key hashes to %s", name, id, k.idText()), nil)
	}
	return k, nil
}

// validName is the rule of signed-note, and for what people see on a terminal a
// little more: printable ASCII.
func validName(name string) bool {
	return name != "" && len(name) <= 255 && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '+' })
}

func invalidKey(msg string, err error) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: msg, Hint: "a verifier key is one line, name+id+base64: copy the whole line", Err: err}
}

func (k *Key) idText() string { return fmt.Sprintf("%08x", k.id) }

// Name returns the name the key signs under. With KeyHash and Verify it makes a
// Key a note.Verifier.
func (k *Key) Name() string { return k.name }

// KeyHash returns the key's id, which is short and proves nothing.
func (k *Key) KeyHash() uint32 { return k.id }

// Algorithm returns how the key signs.
func (k *Key) Algorithm() Algorithm { return k.algorithm }

// String returns the verifier key, name+id+base64.
func (k *Key) String() string {
	return k.name + "+" + k.idText() + "+" + base64.StdEncoding.EncodeToString(append([]byte{byte(k.algorithm)}, k.public...))
}

// Fingerprint returns the hex SHA-256 of the verifier key: what a person keeps,
// on paper if need be, to know the key again.
func (k *Key) Fingerprint() string { return Fingerprint(k.String()) }

// Fingerprint returns the fingerprint of a verifier key in text.
func Fingerprint(verifierKey string) string {
	sum := sha256.Sum256([]byte(verifierKey))
	return hex.EncodeToString(sum[:])
}

// Is reports whether known names the key: the verifier key itself, or its
// fingerprint in either case of letters.
func (k *Key) Is(known string) bool {
	return known == k.String() || strings.EqualFold(known, k.Fingerprint())
}

// Same reports whether both wrap the same public key, under whatever name.
func (k *Key) Same(other *Key) bool { return string(k.public) == string(other.public) }

// Verify reports whether sig is the key's signature of a note's text.
func (k *Key) Verify(text, sig []byte) bool {
	if k.algorithm == Ed25519 {
		return ed25519.Verify(k.public, text, sig)
	}
	at, ok := timestamp(sig)
	if !ok {
		return false
	}
	sig = sig[timestampSize:]
	if k.algorithm == CosignatureEd25519 {
		return ed25519.Verify(k.public, cosignedText(at, text), sig)
	}
	message, err := cosignedMessage(k.name, at, text)
	return err == nil && mldsa.Verify(k.mldsa, message, sig, nil) == nil
}

// maxTimestamp is the last second that a date of four digits can name: who claims a
// later one is in the future, which a verifier may reject.
const maxTimestamp = 253402300799

// timestamp returns the seconds since 1970 at the head of a cosignature.
func timestamp(sig []byte) (at uint64, ok bool) {
	if len(sig) < timestampSize {
		return 0, false
	}
	at = binary.BigEndian.Uint64(sig)
	return at, at <= maxTimestamp
}

// cosignedText is what an Ed25519 cosigner signs.
func cosignedText(at uint64, text []byte) []byte {
	return append([]byte("cosignature/v1\ntime "+strconv.FormatUint(at, 10)+"\n"), text...)
}

// cosignedMessage is what an ML-DSA-44 cosigner signs of a checkpoint: the
// struct cosigned_message of tlog-cosignature. Extension lines are not in it.
func cosignedMessage(cosigner string, at uint64, text []byte) ([]byte, error) {
	cp, err := parse(string(text))
	if err != nil {
		return nil, err
	}
	if len(cp.Origin) > 255 {
		return nil, fmt.Errorf("origin of %d bytes is longer than 255", len(cp.Origin))
	}
	b := []byte("subtree/v1\n\x00")
	b = append(append(b, byte(len(cosigner))), cosigner...)
	b = binary.BigEndian.AppendUint64(b, at)
	b = append(append(b, byte(len(cp.Origin))), cp.Origin...)
	b = binary.BigEndian.AppendUint64(b, 0) // start: the whole tree
	b = binary.BigEndian.AppendUint64(b, cp.Size)
	return append(b, cp.Root[:]...), nil
}

// A Signer signs checkpoints. It is immutable, and makes each signature at the
// time it is asked to.
type Signer struct {
	key  *Key
	sign func(message []byte) ([]byte, error)
}

// NewLogSigner returns the signer of a log: Ed25519 over the note itself.
func NewLogSigner(name string, key ed25519.PrivateKey) (*Signer, error) {
	return newEd25519Signer(name, Ed25519, key)
}

// NewCosigner returns a cosigner with an Ed25519 key. The key signs nothing else:
// the format does not bind the cosigner's name.
func NewCosigner(name string, key ed25519.PrivateKey) (*Signer, error) {
	return newEd25519Signer(name, CosignatureEd25519, key)
}

func newEd25519Signer(name string, algorithm Algorithm, key ed25519.PrivateKey) (*Signer, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, invalidKey(fmt.Sprintf("the signer %.80s has no Ed25519 key", name), nil)
	}
	public, err := newKey(name, algorithm, key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	return &Signer{key: public, sign: func(message []byte) ([]byte, error) { return ed25519.Sign(key, message), nil }}, nil
}

// MLDSASeedSize is the length of the seed of an ML-DSA-44 key, in bytes.
const MLDSASeedSize = mldsa.PrivateKeySize

// NewMLDSACosigner returns a cosigner with the ML-DSA-44 key of a seed. It serves
// logs as well as witnesses.
func NewMLDSACosigner(name string, seed []byte) (*Signer, error) {
	private, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed)
	if err != nil {
		return nil, invalidKey(fmt.Sprintf("the signer %.80s has no ML-DSA-44 seed", name), err)
	}
	public, err := newKey(name, CosignatureMLDSA, private.PublicKey().Bytes())
	if err != nil {
		return nil, err
	}
	return &Signer{key: public, sign: func(message []byte) ([]byte, error) { return private.Sign(nil, message, nil) }}, nil
}

// Key returns the signer's public half.
func (s *Signer) Key() *Key { return s.key }

// at makes a note.Signer that signs as of a time. The zero time says that the
// tree need not be the largest of its log.
func (s *Signer) at(now time.Time) note.Signer {
	if now.IsZero() {
		return timedSigner{s, 0}
	}
	return timedSigner{s, unixSeconds(now)}
}

// unixSeconds is a time as a cosignature says it, which is never zero.
func unixSeconds(now time.Time) uint64 { return uint64(max(now.Unix(), 1)) }

// A timedSigner is a Signer at one moment.
type timedSigner struct {
	signer *Signer
	at     uint64 // Unix seconds; 0: at no time in particular
}

// Name is the key's.
func (t timedSigner) Name() string { return t.signer.key.name }

// KeyHash is the key's.
func (t timedSigner) KeyHash() uint32 { return t.signer.key.id }

// Sign signs a note's text.
func (t timedSigner) Sign(text []byte) ([]byte, error) {
	stamped := binary.BigEndian.AppendUint64(nil, t.at)
	message := text
	switch t.signer.key.algorithm {
	case Ed25519:
		stamped = nil
	case CosignatureEd25519:
		message = cosignedText(t.at, text)
	case CosignatureMLDSA:
		var err error
		if message, err = cosignedMessage(t.signer.key.name, t.at, text); err != nil {
			return nil, err
		}
	}
	sig, err := t.signer.sign(message)
	return append(stamped, sig...), err
}
