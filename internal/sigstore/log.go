package sigstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise/internal/dsse"
	"github.com/pavise/pavise/internal/plainjson"
)

// logged holds an entry to the logs of signatures, and to the bundle: a log that was trusted
// then promised to have it, and has it in a tree whose head it signed, and it is of this
// payload, signature and certificate. It returns when the log took it.
func (r *TrustedRoot) logged(b *Bundle, e *Entry) (time.Time, error) {
	const hint = "what no log has could have been signed at any time, and in secret: do not believe it"
	at := time.Unix(int64(e.IntegratedTime), 0).UTC()
	var log *logKey
	for i := range r.logs {
		if l := &r.logs[i]; bytes.Equal(l.id[:], e.LogID.KeyID) && l.valid.has(at) {
			log = l
			break
		}
	}
	switch {
	case e.IntegratedTime <= 0 || len(e.Promise.Signed) == 0:
		return at, Unverified("see LIMITATIONS.md: only entries that carry the log's own signed time are understood", "the log entry has no time that the log signed")
	case log == nil:
		return at, Unverified(hint, "no log of signatures that was trusted at %s has the id %x", at.Format(time.RFC3339), []byte(e.LogID.KeyID))
	case !Signed(log.key, e.promise(), e.Promise.Signed):
		return at, Unverified(hint, "the log did not sign its promise for this entry at %s", at.Format(time.RFC3339))
	}
	if err := e.included(log); err != nil {
		return at, Unverified(hint, "the log is not proved to have the entry: %v", err)
	}
	if err := e.of(b); err != nil {
		return at, Unverified(hint, "the log entry is of another signature: %v", err)
	}
	return at, nil
}

// promise is what a log signs when it takes an entry: canonical JSON (RFC 8785) of these.
func (e *Entry) promise() []byte {
	return fmt.Appendf(nil, `{"body":"%s","integratedTime":%d,"logID":"%s","logIndex":%d}`,
		base64.StdEncoding.EncodeToString(e.Body), e.IntegratedTime, hex.EncodeToString(e.LogID.KeyID), e.LogIndex)
}

// included verifies that the entry is in a tree, and the tree's head signed by the log.
func (e *Entry) included(log *logKey) error {
	p := e.Proof
	if p == nil {
		return fmt.Errorf("there is no inclusion proof")
	}
	if len(p.Root) != tlog.HashSize {
		return fmt.Errorf("its root is no hash")
	}
	path := make(tlog.RecordProof, len(p.Hashes))
	for i, h := range p.Hashes {
		if len(h) != tlog.HashSize {
			return fmt.Errorf("hash %d of its proof is none", i+1)
		}
		path[i] = tlog.Hash(h)
	}
	root := tlog.Hash(p.Root)
	const most = 1 << 62 // package tlog does not end on a larger tree
	if p.Size <= 0 || p.Size > most || p.LogIndex < 0 || p.LogIndex >= p.Size {
		return fmt.Errorf("its tree has %d entries, and it is to be number %d of them", p.Size, p.LogIndex)
	}
	if err := tlog.CheckRecord(path, int64(p.Size), root, int64(p.LogIndex), tlog.RecordHash(e.Body)); err != nil {
		return fmt.Errorf("the hashes do not lead from the entry to the root")
	}
	n, err := note.Open([]byte(p.Checkpoint.Envelope), log)
	if err != nil {
		return fmt.Errorf("its checkpoint is not signed by the log")
	}
	// Package note passes over the bits that the last letter of base64 has to spare.
	if _, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64); err != nil {
		return fmt.Errorf("the signature of its checkpoint has another spelling")
	}
	lines := strings.Split(n.Text, "\n")
	if host, _, _ := strings.Cut(lines[0], " - "); n.Sigs[0].Name != host { // Rekor's origins are HOST - TREE
		return fmt.Errorf("its checkpoint is of %.80q, and signed by %.80q", lines[0], n.Sigs[0].Name)
	}
	if len(lines) < 4 || lines[1] != strconv.FormatInt(int64(p.Size), 10) || lines[2] != base64.StdEncoding.EncodeToString(p.Root) {
		return fmt.Errorf("its checkpoint is of another tree")
	}
	return nil
}

// Verifier implements note.Verifiers: the log under whatever name it has in a note.
func (l *logKey) Verifier(name string, hash uint32) (note.Verifier, error) {
	if hash != binary.BigEndian.Uint32(l.id[:]) {
		return nil, &note.UnknownVerifierError{Name: name, KeyHash: hash}
	}
	return noteKey{l, name}, nil
}

// A noteKey is the key of a log under a name.
type noteKey struct {
	log  *logKey
	name string
}

// Name implements note.Verifier.
func (k noteKey) Name() string { return k.name }

// KeyHash implements note.Verifier: of Rekor's notes it is the head of the hash of the key.
func (k noteKey) KeyHash() uint32 { return binary.BigEndian.Uint32(k.log.id[:]) }

// Verify implements note.Verifier.
func (k noteKey) Verify(message, sig []byte) bool { return Signed(k.log.key, message, sig) }

// of holds what the log has to a bundle (Rekor's type dsse, version 0.0.1).
func (e *Entry) of(b *Bundle) error {
	var body struct {
		Kind    string          `json:"kind"`
		Version string          `json:"apiVersion"`
		Spec    json.RawMessage `json:"spec"`
	}
	if err := plainjson.Read(e.Body, &body); err != nil {
		return err
	}
	if body.Kind != "dsse" || body.Version != "0.0.1" || e.Kind.Kind != body.Kind || e.Kind.Version != body.Version {
		return fmt.Errorf("it is a %.40q of version %.40q, and a dsse of version 0.0.1 is asked for", body.Kind, body.Version)
	}
	var spec struct {
		Payload struct {
			Algorithm string `json:"algorithm"`
			Value     string `json:"value"`
		} `json:"payloadHash"`
		Signatures []struct {
			Signature dsse.Bytes `json:"signature"`
			Verifier  dsse.Bytes `json:"verifier"` // a certificate in PEM
		} `json:"signatures"`
	}
	if err := json.Unmarshal(body.Spec, &spec); err != nil {
		return err
	}
	if sum := sha256.Sum256(b.Payload); spec.Payload.Algorithm != "sha256" || spec.Payload.Value != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("its payload is another")
	}
	if len(spec.Signatures) != 1 || !bytes.Equal(spec.Signatures[0].Signature, b.Signature) {
		return fmt.Errorf("its signature is another")
	}
	block, rest := pem.Decode(spec.Signatures[0].Verifier)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) != 0 || !bytes.Equal(block.Bytes, b.Certificate) {
		return fmt.Errorf("its certificate is another")
	}
	return nil
}
