package bundle

import (
	"errors"
	"time"

	"github.com/pavise/pavise/internal/seal"
)

// Why a bundle is refused. Each is in the chain of the *pavise.Error that says so to
// people. The first group is of kind Unverified, the second of kind Conflict and a
// finding, the third of kind Unavailable.
var (
	ErrMalformed  = errors.New("bundle is malformed")
	ErrUnknownKey = errors.New("bundle is signed by no key that is known")
	ErrRevokedKey = errors.New("bundle is signed by a revoked key")
	ErrForged     = errors.New("bundle has a signature that is not authentic")
	ErrOrigin     = errors.New("bundle is of another origin")
	ErrFormat     = errors.New("bundle has a format that this build does not read")

	ErrRollback     = errors.New("bundle is older than one that was seen")
	ErrEquivocation = errors.New("two bundles have one serial")

	ErrStale = errors.New("bundle is past its end")
	ErrClock = errors.New("clock is behind the bundle")
)

// StoreConfig is what a store is made of. Dir, KEK and Trust are required.
type StoreConfig struct {
	Dir     string           // made, 0700, when there is none
	KEK     *seal.KEK        // seals what was seen last, so that whoever can write the directory cannot turn it back
	Trust   Trust            // where the reader begins; ignored once it holds a bundle, but for the origin
	Formats []Format         // Formats() if nil
	Now     func() time.Time // time.Now if nil
}

// A Store keeps what a reader was last told: the bundle, apart from it the highest
// serial ever seen, and the blobs. It is safe for concurrent use.
type Store struct{}

// OpenStore opens the store and verifies what lies in it. A bundle that is torn,
// edited or too old is not used, and Refused says why. The error is of kind Unverified
// when what was seen last cannot be told any more, and of kind Unavailable when the
// directory cannot be read.
func OpenStore(cfg StoreConfig) (*Store, error) { panic("to come") }

// Current returns the bundle that counts, or nil if there is none.
func (s *Store) Current() *Bundle { panic("to come") }

// Seen returns the highest serial that was ever verified; 0: none.
func (s *Store) Seen() uint64 { panic("to come") }

// Refused returns why a bundle on disk was not used at open; nil if it was, or if there
// was none.
func (s *Store) Refused() error { panic("to come") }

// Fresh returns nil when there is a bundle that has not ended, and otherwise an error
// of kind Unavailable that says what is wrong with it.
func (s *Store) Fresh() error { panic("to come") }

// Put verifies a bundle as it came, signatures and all, makes it the current one, and
// keeps it. When it returns a bundle and an error of kind Unavailable, that bundle
// counts and could not be written down: a restart would begin with the one before.
func (s *Store) Put(signed []byte) (*Bundle, error) { panic("to come") }

// Blob returns the content of a blob that is kept, hashed again. The error is of kind
// NotFound when it is not there.
func (s *Store) Blob(digest string) ([]byte, error) { panic("to come") }
