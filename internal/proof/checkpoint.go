package proof

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
)

// MaxNote bounds a signed note, in bytes: sixteen signatures of ML-DSA-87 size
// fit.
const MaxNote = 128 << 10

// A Checkpoint is a tree head: so many records, with this Merkle root, in the log
// of this name. Whether anybody signed it is for [Open] to say.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   tlog.Hash
	Note   []byte // the signed note itself
}

// text is the note's text: origin, size and root.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// Sign returns the checkpoint of a tree with a signature of each signer, as of
// now. The zero time is for a tree that is not the largest of its log any more: a
// cosignature then says so, and an Ed25519 cosigner has no way to.
func Sign(origin string, size uint64, root tlog.Hash, now time.Time, signers ...*Signer) (Checkpoint, error) {
	cp := Checkpoint{Origin: origin, Size: size, Root: root}
	timed := make([]note.Signer, len(signers))
	for i, s := range signers {
		timed[i] = s.at(now)
	}
	signed, err := note.Sign(&note.Note{Text: cp.text()}, timed...)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign checkpoint of %d records: %w", size, err)
	}
	cp.Note = signed
	return cp, nil
}

// Cosign returns the signature lines of the signers for a checkpoint's note,
// without the note. The time of a signature is never zero.
func Cosign(signed []byte, now time.Time, signers ...*Signer) ([]byte, error) {
	text, _, ok := split(signed)
	if !ok {
		return nil, malformed("it has no signatures")
	}
	var lines []byte
	for _, s := range signers {
		sig, err := timedSigner{s, unixSeconds(now)}.Sign(text)
		if err != nil {
			return nil, fmt.Errorf("cosign as %s: %w", s.key.name, err)
		}
		lines = append(lines, signatureLine(s.key, sig)...)
	}
	return lines, nil
}

func signatureLine(k *Key, sig []byte) string {
	id := []byte{byte(k.id >> 24), byte(k.id >> 16), byte(k.id >> 8), byte(k.id)}
	return "— " + k.name + " " + base64.StdEncoding.EncodeToString(append(id, sig...)) + "\n"
}

// split parts a note into its text and its signature lines.
func split(signed []byte) (text, signatures []byte, ok bool) {
	at := strings.LastIndex(string(signed), "\n\n")
	if at < 0 {
		return nil, nil, false
	}
	return signed[:at+1], signed[at+2:], true
}

// A Signature is one that was checked.
type Signature struct {
	Key *Key
	At  time.Time // when it was made, says the signer; zero for a log's plain signature and for one that claims no time
}

// Open reads a signed checkpoint and checks the signatures of the keys that are
// known; others are passed over. The error is of kind Unverified when a known key
// did not make the signature in its name, when no known key signed, or when the
// text is no checkpoint. Whose signatures suffice is for the caller.
func Open(signed []byte, known ...*Key) (Checkpoint, []Signature, error) {
	if len(signed) > MaxNote {
		return Checkpoint{}, nil, malformed(fmt.Sprintf("it is %d bytes long, more than %d", len(signed), MaxNote))
	}
	var verifiers []note.Verifier
	for i, k := range known {
		if !slices.ContainsFunc(known[:i], func(before *Key) bool { return before.String() == k.String() }) {
			verifiers = append(verifiers, k) // package note takes a key that it is given twice for none
		}
	}
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return Checkpoint{}, nil, notSigned(signed, known, err)
	}
	cp, err := parse(n.Text)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	cp.Note = signed
	sigs, err := checked(n.Sigs, known)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	return cp, sigs, nil
}

// checked gives the signatures of a note, which were verified, their keys.
func checked(sigs []note.Signature, known []*Key) ([]Signature, error) {
	var all []Signature
	for _, sig := range sigs {
		raw, err := decode64(sig.Base64)
		if err != nil {
			return nil, malformed("a signature of " + sig.Name + " has a base64 of its own making")
		}
		i := slices.IndexFunc(known, func(k *Key) bool { return k.name == sig.Name && k.id == sig.Hash })
		s := Signature{Key: known[i]}
		if at, ok := timestamp(raw[4:]); ok && at > 0 && s.Key.algorithm != Ed25519 {
			s.At = time.Unix(int64(at), 0).UTC()
		}
		all = append(all, s)
	}
	return all, nil
}

// OpenSigned is Open for one key that must have signed, and whose name must be
// the log's.
func OpenSigned(signed []byte, key *Key) (Checkpoint, error) {
	cp, _, err := Open(signed, key)
	if err != nil {
		return Checkpoint{}, err
	}
	if cp.Origin != key.name {
		return Checkpoint{}, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("checkpoint is of log %.100q, not %q", cp.Origin, key.name)}
	}
	return cp, nil
}

// ErrNoNote is the cause when a text is not spelled as a signed note is, whoever may
// have signed it.
var ErrNoNote = errors.New("this is no signed note")

func notSigned(signed []byte, known []*Key, err error) error {
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = k.name + "+" + k.idText()
	}
	msg := "checkpoint is not signed by " + strings.Join(names, ", ")
	_, unknown := errors.AsType[*note.UnverifiedNoteError](err)
	_, invalid := errors.AsType[*note.InvalidSignatureError](err)
	if !unknown && !invalid {
		err = fmt.Errorf("%w: %w", ErrNoNote, err)
	}
	if _, _, ok := split(signed); !ok {
		msg = "this is no signed checkpoint"
	}
	return &pavise.Error{Kind: pavise.Unverified, Msg: msg, Hint: "is it the right log, and the right key?", Err: err}
}

// Parse reads a checkpoint and checks no signature: for who has yet to learn
// whose it is.
func Parse(signed []byte) (Checkpoint, error) {
	text, _, ok := split(signed)
	if !ok || len(signed) > MaxNote {
		return Checkpoint{}, malformed("it is no signed note")
	}
	cp, err := parse(string(text))
	cp.Note = signed
	return cp, err
}

// maxTree bounds the size of a tree: package tlog does not end on a larger one, whose size
// no power of two in 63 bits reaches.
const maxTree = 1 << 62

// parse reads a checkpoint's lines: origin, size, root, and extensions, which
// mean nothing here.
func parse(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[len(lines)-1] != "" || lines[0] == "" {
		return Checkpoint{}, malformed("it is not lines of origin, size and root")
	}
	for _, extension := range lines[3 : len(lines)-1] {
		if extension == "" {
			return Checkpoint{}, malformed("it has an empty extension line")
		}
	}
	size, err := decimal(lines[1])
	if err != nil {
		return Checkpoint{}, malformed("its size " + strconv.Quote(lines[1][:min(len(lines[1]), 40)]) + " is no number")
	}
	if size > maxTree {
		return Checkpoint{}, malformed("its size " + lines[1] + " is more than a log can have")
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return Checkpoint{}, malformed("its root is no hash")
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}

func malformed(why string) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: "checkpoint is malformed: " + why, Hint: "docs/formats/proof.md says what one looks like"}
}

// decimal reads a count as every format of C2SP spells it: no sign, no leading
// zeroes, below 2⁶³.
func decimal(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%.40q is no decimal number", s)
	}
	return n, nil
}

// parseHash reads a hash in the one base64 spelling that it has.
func parseHash(s string) (h tlog.Hash, err error) {
	b, err := decode64(s)
	if err != nil || len(b) != tlog.HashSize {
		return h, fmt.Errorf("%.60q is no base64 of %d bytes", s, tlog.HashSize)
	}
	return tlog.Hash(b), nil
}

// decode64 reads base64 in its one spelling. Package base64 passes over line ends,
// even where it is strict.
func decode64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err == nil && base64.StdEncoding.EncodedLen(len(b)) != len(s) {
		err = base64.CorruptInputError(0)
	}
	return b, err
}
