// Package installation is where one installation of Pavise lives: its directory, the
// keys in it, and how commands on the same machine reach the server that runs on it.
//
// It owns the names of the files in that directory, and the making and the loading of
// the keys. What the other files hold is their rooms' to say.
package installation

import (
	"bytes"
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
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/seal"
)

// A Data is the directory of one installation:
//
//	kek            the key under which the others are kept
//	log.key        signs the evidence log's checkpoints
//	log-mldsa.key  signs published ones besides, against quantum computers
//	witness*.key   cosign the checkpoints of other logs
//	token.key      signs the local issuer's tokens
//	exchange.key   signs the tokens that others are exchanged for
//	model.key      signs versions of models that were hashed and scanned here
//	ledger/        the evidence log
//	pavise.db      what changes at run time: policies, routes
//	access.json    how commands on this machine reach the running server
type Data string

// DefaultData is where it is when nobody says otherwise.
const DefaultData = "pavise-data"

// DataVariable is the environment variable that may say otherwise.
const DataVariable = "PAVISE_DATA_DIR"

// Path is where a file of the directory lies.
func (d Data) Path(name string) string { return filepath.Join(string(d), name) }

// Ledger is the evidence log's own directory, which verify is given.
func (d Data) Ledger() string { return d.Path("ledger") }

// Keys are the secrets of an installation.
type Keys struct {
	KEK          *seal.KEK
	Log          ed25519.PrivateKey
	MLDSA        []byte // seed of the log's ML-DSA-44 key
	Token        []byte // Ed25519 seed
	Exchange     []byte // P-256 scalar
	Witness      []byte // Ed25519 seed
	WitnessMLDSA []byte // ML-DSA-44 seed
	Drift        []byte // Ed25519 seed
	Install      string // names the installation: the first digits of the log key's hash
}

// keyFiles are the files of the keys that are wrapped under the KEK.
var keyFiles = map[seal.Purpose]string{
	seal.PurposeLog:          "log.key",
	seal.PurposeLogMLDSA:     "log-mldsa.key",
	seal.PurposeToken:        "token.key",
	seal.PurposeExchange:     "exchange.key",
	seal.PurposeWitness:      "witness.key",
	seal.PurposeWitnessMLDSA: "witness-mldsa.key",
	seal.PurposeDrift:        "drift.key",
}

// Open makes the directory and its keys, or loads them.
func (d Data) Open() (Keys, error) {
	kek, err := d.openKEK()
	if err != nil {
		return Keys{}, err
	}
	seeds := map[seal.Purpose][]byte{}
	for purpose, name := range keyFiles {
		generate := newSeed
		if purpose == seal.PurposeExchange {
			generate = issuer.NewExchangeKey
		}
		if seeds[purpose], err = kek.LoadOrCreate(d.Path(name), purpose, generate); err != nil {
			return Keys{}, err
		}
	}
	log := ed25519.NewKeyFromSeed(seeds[seal.PurposeLog])
	sum := sha256.Sum256(log.Public().(ed25519.PublicKey))
	return Keys{
		KEK: kek, Log: log, MLDSA: seeds[seal.PurposeLogMLDSA], Token: seeds[seal.PurposeToken], Exchange: seeds[seal.PurposeExchange], Install: hex.EncodeToString(sum[:6]),
		Witness: seeds[seal.PurposeWitness], WitnessMLDSA: seeds[seal.PurposeWitnessMLDSA], Drift: seeds[seal.PurposeDrift],
	}, nil
}

// openKEK makes the directory and the key that keeps the others, or loads it.
func (d Data) openKEK() (*seal.KEK, error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the data directory %s cannot be made: %v", d, err), Hint: "name another with --data", Err: err}
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	if err := d.whole(); err != nil {
		return nil, err
	}
	return seal.OpenFileKEK(d.Path("kek"))
}

// check refuses a directory where somebody else may put files in the place of
// ours.
func (d Data) check() error { return fleet.CheckOwn(string(d), "data directory", "--data") }

// whole refuses a directory without a key that something in it was made with. A
// new key in its place would open nothing, and hide that the old one is lost.
func (d Data) whole() error {
	// What needs a key is looked for before the key, and keys are made first: so
	// another process may be making all of them now.
	log := d.holds("ledger/origin")
	sealed := d.holds("log.key") || d.holds("token.key") || d.holds("node.key") || d.holds("ca")
	lacks := func(key, what string) error {
		return &pavise.Error{
			Kind: pavise.Unverified, Msg: fmt.Sprintf("%s is missing and %s holds %s", key, d, what),
			Hint: fmt.Sprintf("restore %s from a backup", Quote(d.Path(key))),
		}
	}
	switch {
	case sealed && !d.holds("kek"):
		return lacks("kek", "keys sealed under it")
	case log && !d.holds("kek"):
		return lacks("kek", "a log whose records are sealed under it")
	case log && !d.holds("log.key"):
		return lacks("log.key", "a log signed with it")
	case log && !d.holds("log-mldsa.key") && d.signedTwice():
		return lacks("log-mldsa.key", "a log signed with it")
	}
	return nil
}

// WithLog refuses a directory that has state and no log: a new log in the place of the
// old one would look like a beginning.
func (d Data) WithLog() error {
	if !d.holds("pavise.db") || d.holds("ledger/origin") { // the log is made before the database
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Unverified, Msg: fmt.Sprintf("the evidence log %s is missing, and %s has seen one", d.Ledger(), d.Path("pavise.db")),
		Hint: fmt.Sprintf("restore it: pavise ledger restore FROM %s; without a backup, begin a new installation in another directory with --data", Quote(d.Ledger())),
	}
}

// StateLost is the error of a log whose state database was lost: without policies nobody
// may do anything, and what callers have taken would be forgotten.
func (d Data) StateLost(records uint64) error {
	return &pavise.Error{
		Kind: pavise.Unverified, Msg: fmt.Sprintf("the state database %s is new or empty, and the evidence log holds %d records", d.Path("pavise.db"), records),
		Hint: "restore the database from a backup; without one, begin a new installation in another directory with --data: the log that is here can still be proved",
	}
}

// signedTwice reports whether the log has a second key. Logs of earlier versions
// have none, and are given one.
func (d Data) signedTwice() bool {
	origin, err := disk.ReadPlain(d.Path("ledger/origin"), maxAccess)
	return err == nil && bytes.Count(origin, []byte("\n")) > 1
}

// holds reports whether something has that name, were it something that cannot
// be looked at.
func (d Data) holds(name string) bool {
	_, err := os.Lstat(d.Path(name))
	return !errors.Is(err, os.ErrNotExist)
}

func newSeed() ([]byte, error) {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	return seed, nil
}

// An Access is how commands on this machine reach the running server. Whoever
// can read it is the operator, which its mode, 0600, leaves to the user who
// started the server.
type Access struct {
	Server  string    `json:"server"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// maxAccess is more than an access.json takes.
const maxAccess = 64 << 10

// accessFile is the name of the file of a person's access; of whoever started the
// server if the id is empty.
func accessFile(as string) string {
	if as == "" {
		return "access.json"
	}
	return "access-" + as + ".json"
}

// RemoveAccess takes away what a server left.
func (d Data) RemoveAccess() {
	files, _ := filepath.Glob(d.Path("access*.json")) // the pattern is a good one
	for _, file := range files {
		os.Remove(file)
	}
}

// WriteAccess replaces a person's access whole. The process that has the log open is
// the only one that does.
func (d Data) WriteAccess(as string, a Access) error {
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode access.json: %w", err)
	}
	return fleet.Replace(string(d), accessFile(as), text)
}

// ReadAccess finds the running server of a data directory, as a person whom it was
// started with, or as whoever started it if the id is empty. What a killed server
// left is not used: its port may be another program's by now, which would get
// the operator's token.
func (d Data) ReadAccess(as string) (a Access, err error) {
	away := &pavise.Error{
		Kind: pavise.Unavailable, Msg: fmt.Sprintf("no server runs on %s", d),
		Hint: "start one with " + d.Command("up") + ", or name one with --server and --token",
	}
	if err := d.check(); errors.Is(err, os.ErrNotExist) {
		return a, away
	} else if err != nil {
		return a, err
	}
	if !disk.Locked(d.Ledger()) {
		return a, away
	}
	if as != "" && (pavise.Name{Tenant: "any", Kind: pavise.Human, ID: as}).Validate() != nil {
		return a, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no person's name", as), Hint: "name one that the server was started with: --as bob"}
	}
	path := d.Path(accessFile(as))
	text, err := disk.ReadPlain(path, maxAccess)
	if errors.Is(err, os.ErrNotExist) {
		if as != "" && d.holds(accessFile("")) {
			away = &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("the server on %s knows nobody by the name %s", d, as), Hint: "start it with --person " + as}
		}
		return a, away
	}
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		return a, &pavise.Error{Kind: pavise.Invalid, Msg: path + " is not what pavise up wrote", Hint: "restart " + d.Command("up"), Err: err}
	}
	return a, nil
}
