package dataset

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dsse"
	"github.com/pavise/pavise/internal/plainfile"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/rowseal"
)

// Names of public formats: in-toto Statement v1, in a DSSE envelope v1 where it is signed.
const (
	statementType = "https://in-toto.io/Statement/v1"
	predicateSeal = "https://github.com/pavise/pavise/docs/formats/seal.md#seal"
	predicateRow  = "https://github.com/pavise/pavise/docs/formats/seal.md#row"
)

// maxStatement bounds a statement: a proof lists a bucket, which somebody may have filled.
const maxStatement = 16 << 20

// A statement is what is said of a seal.
type statement[T any] struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     T         `json:"predicate"`
}

// A subject is the seal that a statement is about.
type subject struct {
	Name   string `json:"name"`
	Digest struct {
		SHA256 rowseal.Digest `json:"sha256"` // the root of the seal
	} `json:"digest"`
}

func stateOf[T any](name string, root rowseal.Digest, predicateType string, predicate T) statement[T] {
	s := statement[T]{Type: statementType, Subject: []subject{{Name: name}}, PredicateType: predicateType, Predicate: predicate}
	s.Subject[0].Digest.SHA256 = root
	return s
}

// A signer signs statements.
type signer struct {
	key ed25519.PrivateKey
	id  string
}

func keyFault(name, what, hint string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: "key file " + rowseal.Shown(name) + " " + what, Hint: hint}
}

// readSigner reads a private key. An empty name is no signer.
func readSigner(name string) (*signer, error) {
	if name == "" {
		return nil, nil
	}
	text, err := plainfile.Read("key", name, 1<<14)
	if err != nil {
		return nil, err
	}
	const made = "make one with: openssl genpkey -algorithm ed25519 -out FILE"
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, keyFault(name, "holds no private key in PEM", made)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, keyFault(name, "holds no Ed25519 key", made)
	}
	id, err := keyID(key.Public().(ed25519.PublicKey))
	return &signer{key, id}, err
}

// readVerifier reads a public key.
func readVerifier(name string) (ed25519.PublicKey, error) {
	text, err := plainfile.Read("key", name, 1<<14)
	if err != nil {
		return nil, err
	}
	const made = "write it with: openssl pkey -in PRIVATE -pubout -out FILE"
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, keyFault(name, "holds no public key in PEM", made)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	key, ok := parsed.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, keyFault(name, "holds no Ed25519 key", made)
	}
	return key, nil
}

func keyID(key ed25519.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), err
}

// sign writes a statement, signed, or bare when there is no signer.
func (s *signer) sign(said any) ([]byte, error) {
	payload, err := json.Marshal(said)
	if err != nil {
		return nil, err
	}
	var text []byte
	if s == nil {
		text, err = json.MarshalIndent(json.RawMessage(payload), "", " ")
	} else {
		text, err = json.MarshalIndent(dsse.Envelope{PayloadType: dsse.InToto, Payload: payload, Signatures: []dsse.Signature{{KeyID: s.id, Sig: ed25519.Sign(s.key, dsse.PAE(dsse.InToto, payload))}}}, "", " ")
	}
	return append(text, '\n'), err
}

// sealed is what a signature says of a seal.
type sealed struct {
	Format string `json:"format"`
	Files  int    `json:"files"`
	Rows   uint64 `json:"rows"`
}

// seal signs a seal.
func (s *signer) seal(m *rowseal.Manifest, name string) ([]byte, error) {
	return s.sign(stateOf(name, m.Root, predicateSeal, sealed{m.Format, len(m.Files), m.Rows()}))
}

// openStatement reads a statement. With a key it must be signed by it; the id of that key is
// returned.
func openStatement[T any](text []byte, predicateType string, key ed25519.PublicKey) (said statement[T], signed string, err error) {
	no := func(why string, err error) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "this is no statement about a dataset: " + why, Hint: "pavise dataset prove writes one", Err: err}
	}
	var shape map[string]json.RawMessage
	if err := plainjson.Read(text, &shape); err != nil {
		return said, "", no(err.Error(), err)
	}
	payload := text
	if _, ok := shape["payload"]; ok {
		e, err := plainjson.ReadKnown[dsse.Envelope](text)
		if err != nil {
			return said, "", no(err.Error(), err)
		}
		if e.PayloadType != dsse.InToto {
			return said, "", no(fmt.Sprintf("its payload is of type %.80q", e.PayloadType), nil)
		}
		payload = e.Payload
		if key != nil {
			if signed, err = checkEnvelope(&e, key); err != nil {
				return said, "", err
			}
		}
	} else if key != nil {
		return said, "", &pavise.Error{Kind: pavise.Unverified, Msg: "the statement is not signed", Hint: "ask for one that is: --key"}
	}
	if said, err = plainjson.ReadKnown[statement[T]](payload); err != nil {
		return said, "", no(err.Error(), err)
	}
	if said.Type != statementType || said.PredicateType != predicateType || len(said.Subject) != 1 {
		return said, "", no(fmt.Sprintf("it is a %.120q with the predicate %.120q", said.Type, said.PredicateType), nil)
	}
	return said, signed, nil
}

// checkEnvelope holds an envelope to a key, and returns the key's id.
func checkEnvelope(e *dsse.Envelope, key ed25519.PublicKey) (string, error) {
	id, err := keyID(key)
	if err != nil {
		return "", err
	}
	const most = 64
	for _, s := range e.Signatures[:min(len(e.Signatures), most)] {
		if ed25519.Verify(key, dsse.PAE(e.PayloadType, e.Payload), s.Sig) {
			return id, nil
		}
	}
	return "", &pavise.Error{Kind: pavise.Unverified, Msg: "the statement is not signed by the key " + id, Hint: "it was changed, or somebody else signed it"}
}

// checkSignature holds the signature beside a seal to a key, and returns the key's id.
func checkSignature(name string, m *rowseal.Manifest, keyFile string) (string, error) {
	key, err := readVerifier(keyFile)
	if err != nil {
		return "", err
	}
	text, err := plainfile.Read("signature", name+signatureSuffix, maxStatement)
	if err != nil {
		return "", err
	}
	said, id, err := openStatement[sealed](text, predicateSeal, key)
	if err != nil {
		return "", err
	}
	if said.Subject[0].Digest.SHA256 != m.Root || said.Predicate != (sealed{m.Format, len(m.Files), m.Rows()}) {
		return "", otherSigned(said.Subject[0].Digest.SHA256)
	}
	return id, nil
}

// SignedAs reads the signed statement of a seal as somebody handed it over, holds it to the
// seal, and returns the ids of the keys that it says it was signed by. Whose keys these are,
// and whether the signatures are theirs, is for who has the keys to say.
func SignedAs(text []byte, m *rowseal.Manifest) (keys []string, err error) {
	if len(text) > 1<<16 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the signature is longer than 64 KiB", Hint: "pavise dataset seal --key writes one"}
	}
	e, err := plainjson.ReadKnown[dsse.Envelope](text)
	const most = 16
	if err != nil || len(e.Signatures) == 0 || len(e.Signatures) > most {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "this is no signed statement, or has more than 16 signatures", Hint: "pavise dataset seal --key writes one", Err: err}
	}
	said, _, err := openStatement[sealed](text, predicateSeal, nil)
	if err != nil {
		return nil, err
	}
	if said.Subject[0].Digest.SHA256 != m.Root || said.Predicate != (sealed{m.Format, len(m.Files), m.Rows()}) {
		return nil, otherSigned(said.Subject[0].Digest.SHA256)
	}
	for _, s := range e.Signatures {
		id, err := hex.DecodeString(s.KeyID)
		if err != nil || len(id) != sha256.Size || len(s.Sig) != ed25519.SignatureSize {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no id of an Ed25519 key with its signature", s.KeyID), Hint: "pavise dataset seal --key writes one"}
		}
		keys = append(keys, s.KeyID)
	}
	return keys, nil
}

// otherSigned refuses a signature of another seal.
func otherSigned(root rowseal.Digest) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: "the signature is of another seal, with the root " + root.String(), Hint: "name the seal that was signed"}
}
