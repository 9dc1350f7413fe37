package bundle

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/seal"
)

// keyPrefix begins the spelling of a key and says its algorithm. There is one: another
// would be another format.
const keyPrefix = "ed25519:"

// encoding spells keys and signatures. Strict: one spelling for one value.
var encoding = base64.RawURLEncoding.Strict()

// A Key is the public half of a key that signs bundles. String spells it as "ed25519:"
// and the unpadded base64url of its 32 bytes.
type Key struct {
	Public  ed25519.PublicKey
	Revoked bool // it must not sign any more
}

// ParseKey reads what String wrote. The error is of kind Invalid.
func ParseKey(text string) (Key, error) {
	encoded, ok := strings.CutPrefix(text, keyPrefix)
	public, err := encoding.DecodeString(encoded)
	if !ok || err != nil || len(public) != ed25519.PublicKeySize || strings.ContainsAny(encoded, "\r\n") {
		return Key{}, &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no key of bundles", text),
			Hint: "it is ed25519: and 43 characters of base64url", Err: err,
		}
	}
	return Key{Public: public}, nil
}

// String spells the public key.
func (k Key) String() string { return keyPrefix + encoding.EncodeToString(k.Public) }

// Same reports whether both are one key, whatever their states.
func (k Key) Same(other Key) bool { return k.Public.Equal(other.Public) }

// The states of a key, as the list spells them.
const (
	stateActive  = "active"
	stateRevoked = "revoked"
)

// MarshalJSON writes the key with its state.
func (k Key) MarshalJSON() ([]byte, error) {
	state := stateActive
	if k.Revoked {
		state = stateRevoked
	}
	return fmt.Appendf(nil, `{"key":%q,"state":%q}`, k.String(), state), nil
}

// UnmarshalJSON reads what MarshalJSON wrote, and nothing else.
func (k *Key) UnmarshalJSON(b []byte) error {
	var key, state string
	if err := fields(b, map[string]any{"key": &key, "state": &state}); err != nil {
		return err
	}
	parsed, err := ParseKey(key)
	if err != nil {
		return err
	}
	if state != stateActive && state != stateRevoked {
		return fmt.Errorf("%.20q is no state of a key", state)
	}
	*k = Key{Public: parsed.Public, Revoked: state == stateRevoked}
	return nil
}

// in returns the key as a list has it.
func (k Key) in(list []Key) (Key, bool) {
	i := slices.IndexFunc(list, k.Same)
	if i < 0 {
		return Key{}, false
	}
	return list[i], true
}

// checkKeys says what is wrong with a list of keys.
func checkKeys(keys []Key) error {
	active := 0
	for i, k := range keys {
		if _, twice := k.in(keys[:i]); twice {
			return fmt.Errorf("the key %s is listed twice", k)
		}
		if !k.Revoked {
			active++
		}
	}
	if active == 0 || len(keys) > MaxKeys {
		return fmt.Errorf("the list has %d keys, %d of them active; it takes at least one active key, and at most %d in all", len(keys), active, MaxKeys)
	}
	return nil
}

// Trust is where a reader begins: whose bundles, and which keys may sign the first
// one. It comes with the reader's enrolment, over a connection that was pinned.
type Trust struct {
	Origin string `json:"origin"`
	Keys   []Key  `json:"keys"`
}

// Validate says what is wrong with it. The error is of kind Invalid.
func (t Trust) Validate() error {
	err := checkOrigin(t.Origin)
	if err == nil {
		err = checkKeys(t.Keys)
	}
	if err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "whose bundles to believe is not said: " + err.Error(), Hint: "enrol again with a fresh invitation: it brings the origin and the keys", Err: err}
	}
	return nil
}

// A Signer holds the private keys that sign a control plane's bundles: files
// bundle-1.key, bundle-2.key … It is safe for concurrent use.
type Signer struct {
	kek *seal.KEK
	dir string

	mu   sync.Mutex           // guards what follows
	keys []ed25519.PrivateKey // in the order of their files
}

// OpenSigner opens the keys in the directory, each sealed under the KEK for the
// purpose bundle. The publisher makes the first one where there is none.
func OpenSigner(kek *seal.KEK, dir string) (*Signer, error) {
	s := &Signer{kek: kek, dir: dir}
	for {
		_, err := os.Lstat(s.path(len(s.keys) + 1))
		if errors.Is(err, fs.ErrNotExist) {
			return s, nil
		}
		if err != nil {
			return nil, diskFault(s.path(len(s.keys)+1), err)
		}
		if _, err := s.create(); err != nil {
			return nil, err
		}
	}
}

func (s *Signer) path(n int) string { return filepath.Join(s.dir, fmt.Sprintf("bundle-%d.key", n)) }

// create opens the next key file, and makes it when it is not there.
func (s *Signer) create() (Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seed, err := s.kek.LoadOrCreate(s.path(len(s.keys)+1), seal.PurposeBundle, func() ([]byte, error) {
		seed := make([]byte, ed25519.SeedSize)
		rand.Read(seed)
		return seed, nil
	})
	if err != nil {
		return Key{}, err
	}
	if len(seed) != ed25519.SeedSize {
		return Key{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s holds %d bytes, and an Ed25519 seed has %d", s.path(len(s.keys)+1), len(seed), ed25519.SeedSize), Hint: "restore it from a backup"}
	}
	private := ed25519.NewKeyFromSeed(seed)
	s.keys = append(s.keys, private)
	return Key{Public: private.Public().(ed25519.PublicKey)}, nil
}

// newest returns the newest key. A publisher whose list was lost begins with that one: it
// is the one that was not revoked.
func (s *Signer) newest() []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) == 0 {
		return nil
	}
	return []Key{{Public: s.keys[len(s.keys)-1].Public().(ed25519.PublicKey)}}
}

// size returns how many keys there are.
func (s *Signer) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.keys)
}

// has reports whether the private half is here.
func (s *Signer) has(k Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.keys, func(p ed25519.PrivateKey) bool { return k.Public.Equal(p.Public()) })
}

// sign signs a body with every key of the list that is here, the revoked ones too:
// readers who were away when a key was revoked know no other yet, and everybody else
// takes no notice of its signature.
func (s *Signer) sign(format int, body []byte, list []Key) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	head := []byte(firstLine(format))
	message := slices.Concat(head, body)
	for _, private := range s.keys {
		public := Key{Public: private.Public().(ed25519.PublicKey)}
		if _, listed := public.in(list); listed {
			head = fmt.Appendf(head, "%s %s\n", public, encoding.EncodeToString(ed25519.Sign(private, message)))
		}
	}
	return slices.Concat(head, []byte("\n"), body)
}

var (
	_ json.Marshaler   = Key{}
	_ json.Unmarshaler = (*Key)(nil)
)
