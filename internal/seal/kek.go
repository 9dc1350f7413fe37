package seal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pavise/pavise"
)

// A Purpose says what a private key on disk is for. It is bound to the file,
// so that a key made for one purpose never loads for another. The constants
// are the whole list.
type Purpose string

// The purposes.
const (
	PurposeLog   Purpose = "log"   // Ed25519 seed that signs the evidence log's tree heads
	PurposeToken Purpose = "token" // Ed25519 seed that signs the local issuer's tokens

	PurposeExchange Purpose = "exchange" // P-256 scalar that signs the tokens that others are exchanged for

	PurposeWitness      Purpose = "witness"       // Ed25519 seed that cosigns other logs' tree heads
	PurposeWitnessMLDSA Purpose = "witness-mldsa" // ML-DSA-44 seed that does

	PurposeBundle Purpose = "bundle" // Ed25519 seed that signs what a control plane tells its gateways
	PurposeCA     Purpose = "ca"     // ECDSA P-256 key (PKCS #8) that signs certificates
	PurposeNode   Purpose = "node"   // ECDSA P-256 key (PKCS #8) of a member's own certificate

	PurposeDrift Purpose = "drift" // Ed25519 seed that signs what windows of models are held to

	PurposeModel Purpose = "model" // ECDSA P-256 key (PKCS #8) that signs versions of models for the installation

	PurposeLogMLDSA Purpose = "log-mldsa" // ML-DSA-44 seed that signs the log's published tree heads besides
)

// maxKeyFile bounds the size of a wrapped key file, in bytes.
const maxKeyFile = 4096

// A KEK is the key under which an installation keeps its other keys: the root
// of the tree in the package comment. It is immutable and safe for concurrent
// use.
type KEK struct {
	root  *Key
	files *Key // wraps key files
	path  string
}

// OpenFileKEK reads the KEK from the file at path, and makes one of 32 random
// bytes, mode 0600, when there is none. It refuses a file that others can read
// or write, that is not exactly 32 bytes, or that is not a regular file.
//
// A lost KEK file cannot be made again: whatever was sealed under it is gone.
func OpenFileKEK(path string) (*KEK, error) {
	secret, err := readPrivate(path, KeySize)
	if errors.Is(err, fs.ErrNotExist) {
		secret = make([]byte, KeySize)
		rand.Read(secret)
		if err = createPrivate(path, secret); errors.Is(err, fs.ErrExist) {
			secret, err = readPrivate(path, KeySize) // another process was first: its key is the key
		}
	}
	if err != nil {
		return nil, explain("key file", path, err)
	}
	if len(secret) != KeySize {
		return nil, &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("key file %s is %d bytes long, not %d", path, len(secret), KeySize),
			Hint: "restore it from a backup; remove it only if nothing was ever sealed under it",
		}
	}
	root, err := NewKey(secret)
	if err != nil {
		return nil, err
	}
	return &KEK{root: root, files: root.Derive(LabelKeyFile), path: path}, nil
}

// Protection returns "software": a file is read by whoever can read the disk
// as this user, and no hardware stands in between.
func (k *KEK) Protection() string { return "software" }

// ID returns the public id of the KEK.
func (k *KEK) ID() KeyID { return k.root.ID() }

// Tenant returns the key under which the tenant's records keep their sealed
// parts.
func (k *KEK) Tenant(tenant string) *Key { return k.root.Derive(LabelRecord, tenant) }

// Subjects returns the keys that wrap, and find, those of a tenant's data subjects.
func (k *KEK) Subjects(tenant string) (wrap, handle *Key) {
	return k.root.Derive(LabelSubject, tenant), k.root.Derive(LabelHandle, tenant)
}

// Bundles returns the key that seals what a reader of bundles remembers.
func (k *KEK) Bundles() *Key { return k.root.Derive(LabelBundles) }

// Embeddings returns the key that alters vectors of embeddings.
func (k *KEK) Embeddings() *Key { return k.root.Derive(LabelEmbeddings) }

// Edge returns the key that seals what a machine at the edge keeps of models.
func (k *KEK) Edge() *Key { return k.root.Derive(LabelEdge) }

// Wires returns the key that wraps where a tenant's findings go.
func (k *KEK) Wires(tenant string) *Key { return k.root.Derive(LabelWire, tenant) }

// Depot returns the key that seals the files of a tenant's models.
func (k *KEK) Depot(tenant string) *Key { return k.root.Derive(LabelDepot, tenant) }

// Tickets returns the key that wraps what a tenant's tools are asked with, and yields the
// marks of its tickets.
func (k *KEK) Tickets(tenant string) *Key { return k.root.Derive(LabelTicket, tenant) }

// Quarantine returns the key that seals what the gate holds back of a tenant's sources.
func (k *KEK) Quarantine(tenant string) *Key { return k.root.Derive(LabelQuarantine, tenant) }

// Marks returns the key that yields those by which answers of a tenant's models are marked.
func (k *KEK) Marks(tenant string) *Key { return k.root.Derive(LabelMarks, tenant) }

// Baselines returns the key that seals what windows of a tenant's models are held to, and
// draws the directions in which embeddings are looked at.
func (k *KEK) Baselines(tenant string) *Key { return k.root.Derive(LabelDrift, tenant) }

// LoadOrCreate returns the private key kept at path for the given purpose. When
// there is no such file it asks generate for the key and keeps it there, mode
// 0600, in an envelope under the KEK with the purpose as its context; the file
// is on disk before LoadOrCreate returns. Several processes that create at once
// all return the same key.
func (k *KEK) LoadOrCreate(path string, purpose Purpose, generate func() ([]byte, error)) ([]byte, error) {
	secret, err := k.load(path, purpose)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	if secret, err = generate(); err != nil {
		return nil, fmt.Errorf("make the %s key: %w", purpose, err)
	}
	err = createPrivate(path, k.files.Seal(purpose.aad(), secret))
	if errors.Is(err, fs.ErrExist) {
		return k.load(path, purpose)
	}
	if err != nil {
		return nil, explain(string(purpose)+" key file", path, err)
	}
	return secret, nil
}

func (k *KEK) load(path string, purpose Purpose) ([]byte, error) {
	envelope, err := readPrivate(path, maxKeyFile)
	if err != nil {
		return nil, explain(string(purpose)+" key file", path, err)
	}
	secret, err := k.files.Open(purpose.aad(), envelope)
	if err != nil {
		return nil, &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  fmt.Sprintf("%s key file %s does not open under the key in %s", purpose, path, k.path),
			Hint: unwrapHint(err),
			Err:  err,
		}
	}
	return secret, nil
}

func unwrapHint(err error) string {
	switch {
	case errors.Is(err, ErrWrongKey):
		return "the two files are of different installations: restore both from the same backup"
	case errors.Is(err, ErrForged):
		return "the file was altered, or holds a key for another purpose: restore it from a backup"
	case errors.Is(err, ErrVersion):
		return "use a newer pavise, or restore the file from a backup if it was never written by one"
	}
	return "the file is damaged: restore it from a backup"
}

// aad is the context of a key file's envelope.
func (p Purpose) aad() []byte { return []byte("pavise key file\n" + string(p)) }
