package notary

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/seal"
)

// The files of the keys, in the directory of the installation.
const (
	keyFile    = "model.key"
	newFile    = "model-new.key"         // until what there was before it is signed
	formerFile = "model-former-*.key"    // those that signed before
	formerName = "model-former-NAME.key" // the same for people
)

// KindKey is the note of the key by which an installation signs models: of its first, and a finding
// of one that took the place of a key which is gone.
const KindKey = "model.key"

// maxPaths is how many bytes the paths of a version have together: of each a signature may take
// eight, and what reads one takes no more than 64 MiB.
const maxPaths = 6 << 20

// A Key is one with which the house signs, or did.
type Key struct {
	ID  string // what signatures call it
	PEM []byte // its public half
}

// A Notary signs for one installation. It is safe for concurrent use.
type Notary struct {
	dir    string
	signer *oms.Signer
	keys   []Key // the one that signs first
	public []*ecdsa.PublicKey
	fresh  bool
}

// Open loads the keys of an installation from its directory, and makes the one that signs where
// there is none. Errors are of kind Invalid, Unverified and Unavailable.
func Open(kek *seal.KEK, dir string) (*Notary, error) {
	n := &Notary{dir: dir}
	former, err := filepath.Glob(filepath.Join(globless(dir), formerFile))
	if err != nil {
		return nil, fmt.Errorf("look for former keys in %s: %w", dir, err)
	}
	name := keyFile
	if _, err := os.Lstat(filepath.Join(dir, keyFile)); errors.Is(err, os.ErrNotExist) && len(former) == 0 {
		n.fresh, name = true, newFile
	}
	for i, path := range append([]string{filepath.Join(dir, name)}, former...) {
		generate := newKey
		if i > 0 {
			generate = func() ([]byte, error) { return nil, os.ErrNotExist }
		}
		der, err := kek.LoadOrCreate(path, seal.PurposeModel, generate)
		if err != nil {
			return nil, err
		}
		if err := n.take(path, der); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// globless is a directory whose name is no pattern.
func globless(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// newKey makes a key that signs: ECDSA on P-256, PKCS #8.
func newKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

// take takes a key in; the first is the one that signs.
func (n *Notary) take(path string, der []byte) error {
	key, err := oms.ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "key file " + path + " holds no key that signs models", Hint: "restore it from a backup", Err: err}
	}
	id, err := oms.KeyID(&key.PublicKey)
	if err != nil {
		return fmt.Errorf("name the key in %s: %w", path, err)
	}
	text, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return fmt.Errorf("spell the key in %s: %w", path, err)
	}
	n.public = append(n.public, &key.PublicKey)
	n.keys = append(n.keys, Key{ID: id, PEM: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: text})})
	if n.signer == nil {
		n.signer, err = oms.NewSigner(key, nil, time.Time{})
	}
	return err
}

// Fresh reports whether the house never signed before: what it had by then it may sign as it
// finds it, and says with Begin that it did.
func (n *Notary) Fresh() bool { return n.fresh }

// Begin ends that, for good.
func (n *Notary) Begin() error {
	if !n.fresh {
		return nil
	}
	if err := os.Rename(filepath.Join(n.dir, newFile), filepath.Join(n.dir, keyFile)); err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the key that signs models cannot be kept: " + err.Error(), Hint: "make room below the data directory, and look whether it can be written to", Err: err}
	}
	n.fresh = false
	return nil
}

// Key returns a key by its id, or the one that signs without. The error is of kind NotFound.
func (n *Notary) Key(id string) (Key, error) {
	for _, k := range n.keys {
		if id == "" || k.ID == id {
			return k, nil
		}
	}
	return Key{}, &pavise.Error{
		Kind: pavise.NotFound, Msg: fmt.Sprintf("no key of this installation that signs models is %.64s", id),
		Hint: "restore " + keyFile + ", or the former one as " + formerName + ", from a backup of the data directory",
	}
}

// Sign signs what a claim says. The same claim has the same signature, by the same key. The error
// is of kind Invalid for more than a signature has room for.
func (n *Notary) Sign(c Claim) (bundle []byte, key Key, err error) {
	paths := 0
	for _, f := range c.Files {
		paths += len(f.Path)
	}
	if paths > maxPaths {
		return nil, n.keys[0], &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the paths of its files have %d bytes together, and a signature has room for %d", paths, maxPaths), Hint: "put the files into an archive"}
	}
	bundle, err = n.signer.Sign(&oms.Manifest{Name: c.Says(), Hash: "sha256", Files: c.Files})
	return bundle, n.keys[0], err
}

// Check holds a claim to a signature, which must be the house's, and says exactly this. key is
// the id of the one that must have signed. Errors are of kind Unverified.
func (n *Notary) Check(bundle []byte, key string, c Claim) error {
	at := -1
	for i, k := range n.keys {
		if k.ID == key {
			at = i
		}
	}
	if at < 0 {
		_, err := n.Key(key)
		return altered("it is signed by a key that this installation does not have", err)
	}
	m, _, err := oms.Open(bundle, oms.Trust{Key: n.public[at]})
	if err != nil {
		return altered("the signature of this installation does not hold", err)
	}
	if m.Hash != "sha256" || m.ShardSize != 0 || len(m.Ignored) > 0 || len(m.Files) != len(c.Files) {
		return altered(fmt.Sprintf("this installation signed %d files, and there are %d", len(m.Files), len(c.Files)), nil)
	}
	for i, f := range m.Files { // both are by path
		if f.Path != c.Files[i].Path || len(f.Parts) != 1 || !bytes.Equal(f.Parts[0].Digest, c.Files[i].Parts[0].Digest) {
			return altered(fmt.Sprintf("%.100q is not what this installation signed", c.Files[i].Path), nil)
		}
	}
	if says := c.Says(); m.Name != says {
		return altered(fmt.Sprintf("this installation signed %q, and it is %q now", m.Name, says), nil)
	}
	return nil
}

func altered(what string, err error) error {
	hint := "somebody changed the state database: nothing of it is published or deployed; compare it with the log, and restore the database or add the files anew"
	if e, is := errors.AsType[*pavise.Error](err); is {
		what += ": " + e.Msg
		if e.Kind == pavise.NotFound {
			hint = e.Hint
		}
	}
	return &pavise.Error{Kind: pavise.Unverified, Msg: what, Hint: hint, Err: err}
}
