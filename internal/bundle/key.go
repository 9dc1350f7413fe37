package bundle

import (
	"crypto/ed25519"

	"github.com/pavise/pavise/internal/seal"
)

// A Key is the public half of a key that signs bundles. It is spelled as
// "ed25519:" and the unpadded base64url of its 32 bytes.
type Key struct {
	Public  ed25519.PublicKey
	Revoked bool // it must not sign any more
}

// Trust is where a reader begins: whose bundles, and which keys may sign the first
// one. It comes with the reader's enrolment, over a connection that was pinned.
type Trust struct {
	Origin string `json:"origin"`
	Keys   []Key  `json:"keys"`
}

// A Signer holds the private keys that sign a control plane's bundles. It is safe for
// concurrent use.
type Signer struct{}

// OpenSigner opens the keys in the directory, each sealed under the KEK for the
// purpose bundle, and makes the first one where there is none.
func OpenSigner(kek *seal.KEK, dir string) (*Signer, error) { panic("to come") }
