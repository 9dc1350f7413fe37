package ledger

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
)

// A Checkpoint is a signed tree head: so many records, with this Merkle root,
// says the log's key (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   tlog.Hash
	Note   []byte // the signed note itself
}

// signer signs notes with the log's Ed25519 key.
type signer struct {
	name string
	key  ed25519.PrivateKey
}

func (s *signer) Name() string    { return s.name }
func (s *signer) KeyHash() uint32 { return keyHash(s.name, s.key.Public().(ed25519.PublicKey)) }

func (s *signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

// verifierKey returns the public half in the note format.
func (s *signer) verifierKey() string {
	key, err := note.NewEd25519VerifierKey(s.name, s.key.Public().(ed25519.PublicKey))
	if err != nil {
		return "" // unreachable: an Ed25519 public key has the right length
	}
	return key
}

// keyHash is the note format's key id: SHA-256(name ‖ "\n" ‖ 0x01 ‖ key)[:4].
func keyHash(name string, pub ed25519.PublicKey) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n\x01"), pub...))
	return binary.BigEndian.Uint32(sum[:])
}

// Fingerprint returns the hex SHA-256 of a verifier key: what a person keeps,
// on paper if need be, to know the log again.
func Fingerprint(verifierKey string) string {
	sum := sha256.Sum256([]byte(verifierKey))
	return hex.EncodeToString(sum[:])
}

// sign makes the checkpoint of a tree.
func (s *signer) sign(size uint64, root tlog.Hash) (Checkpoint, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", s.name, size, base64.StdEncoding.EncodeToString(root[:]))
	signed, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign checkpoint of %d records: %w", size, err)
	}
	return Checkpoint{Origin: s.name, Size: size, Root: root, Note: signed}, nil
}

// openCheckpoint reads a signed checkpoint and checks its signature with the
// verifier key.
func openCheckpoint(signed []byte, verifierKey string) (Checkpoint, error) {
	v, err := note.NewVerifier(verifierKey)
	if err != nil {
		return Checkpoint{}, &pavise.Error{Kind: pavise.Invalid, Msg: "verifier key is not of the form origin+hash+base64", Err: err}
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, &pavise.Error{Kind: pavise.Unverified, Msg: "checkpoint is not signed by " + verifierKey, Err: err}
	}
	cp, err := parseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if cp.Origin != v.Name() {
		return Checkpoint{}, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("checkpoint is of log %q, not %q", cp.Origin, v.Name())}
	}
	cp.Note = signed
	return cp, nil
}

// parseCheckpoint reads a checkpoint's three lines: origin, size, root.
func parseCheckpoint(text string) (Checkpoint, error) {
	bad := &pavise.Error{Kind: pavise.Unverified, Msg: "checkpoint is not three lines of origin, size and root"}
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] == "" {
		return Checkpoint{}, bad
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, bad
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return Checkpoint{}, bad
	}
	return Checkpoint{Origin: lines[0], Size: uint64(size), Root: root}, nil
}
