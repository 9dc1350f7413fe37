package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/seal"
)

// A dataDir is where one installation lives:
//
//	kek            the key under which the others are kept
//	log.key        signs the evidence log's checkpoints
//	token.key      signs the local issuer's tokens
//	ledger/        the evidence log
//	pavise.db      what changes at run time: policies, routes
//	access.json    how commands on this machine reach the running server
type dataDir string

func (d dataDir) path(name string) string { return filepath.Join(string(d), name) }

// ledger is the evidence log's own directory, which verify is given.
func (d dataDir) ledger() string { return d.path("ledger") }

// keys are the secrets of an installation.
type keys struct {
	kek     *seal.KEK
	log     ed25519.PrivateKey
	token   []byte // Ed25519 seed
	install string // names the installation: the first digits of the log key's hash
}

// open makes the directory and its keys, or loads them.
func (d dataDir) open() (keys, error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return keys{}, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the data directory %s cannot be made: %v", d, err), Hint: "name another with --data", Err: err}
	}
	kek, err := seal.OpenFileKEK(d.path("kek"))
	if err != nil {
		return keys{}, err
	}
	logSeed, err := kek.LoadOrCreate(d.path("log.key"), seal.PurposeLog, newSeed)
	if err != nil {
		return keys{}, err
	}
	tokenSeed, err := kek.LoadOrCreate(d.path("token.key"), seal.PurposeToken, newSeed)
	if err != nil {
		return keys{}, err
	}
	log := ed25519.NewKeyFromSeed(logSeed)
	sum := sha256.Sum256(log.Public().(ed25519.PublicKey))
	return keys{kek: kek, log: log, token: tokenSeed, install: hex.EncodeToString(sum[:6])}, nil
}

func newSeed() ([]byte, error) {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	return seed, nil
}

// An access is how commands on this machine reach the running server. Whoever
// can read it is the operator, which its mode, 0600, leaves to the user who
// started the server.
type access struct {
	Server  string    `json:"server"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// writeAccess replaces access.json whole.
func (d dataDir) writeAccess(a access) error {
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode access.json: %w", err)
	}
	tmp := d.path("access.json.new")
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return fmt.Errorf("write access.json: %w", err)
	}
	return os.Rename(tmp, d.path("access.json"))
}

// readAccess finds the running server of a data directory.
func (d dataDir) readAccess() (access, error) {
	var a access
	text, err := os.ReadFile(d.path("access.json"))
	if errors.Is(err, os.ErrNotExist) {
		return a, &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("no server runs on %s", d),
			Hint: "start one with pavise up, or name one with --server and --token", Err: err,
		}
	}
	if err != nil {
		return a, fmt.Errorf("read access.json: %w", err)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, &pavise.Error{Kind: pavise.Invalid, Msg: d.path("access.json") + " is not what pavise up wrote", Hint: "restart pavise up", Err: err}
	}
	return a, nil
}
