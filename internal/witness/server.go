package witness

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// steps are the room's migrations. They are only ever appended to.
var steps = []string{
	`CREATE TABLE witness_logs (
		origin TEXT PRIMARY KEY,
		keys   TEXT NOT NULL, -- verifier keys that may sign for it, as a JSON list
		size   INTEGER NOT NULL DEFAULT 0,
		note   BLOB NOT NULL DEFAULT x'', -- the newest checkpoint that was cosigned, with our cosignatures
		at     INTEGER NOT NULL DEFAULT 0, -- when it was, Unix seconds
		fork   TEXT NOT NULL DEFAULT '' -- the proof that it has two histories, once there is one
	) STRICT`,
}

// Config is what a witness is made of. All but Record and Forked is required.
type Config struct {
	Signers []*proof.Signer // its cosigner keys, all under its name
	// Store holds its state. An older copy put back has forgotten what was cosigned
	// since, and the witness may cosign another history from there on.
	Store *store.DB
	Now   func() time.Time

	// Record records, durably, a checkpoint that is about to be cosigned, so that
	// this installation's log is the log of logs. It is called for each once, but
	// that a crash may have it called again. nil: nothing is recorded.
	Record func(ctx context.Context, cp proof.Checkpoint) error
	// Forked is told of two checkpoints with valid signatures of one log that cannot
	// both be true. It is called until it has returned nil once for a log, but that a
	// crash may have it called again. nil: nobody is.
	Forked func(ctx context.Context, origin string, a, b []byte) error
}

// A Server cosigns other logs' checkpoints. Its methods may be called from any
// goroutine.
type Server struct {
	cfg Config
}

// Open returns a witness whose state is in the store.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.Store.Migrate(ctx, "witness", steps); err != nil {
		return nil, err
	}
	return &Server{cfg: cfg}, nil
}

// Keys returns the witness's public keys.
func (s *Server) Keys() []*proof.Key {
	var keys []*proof.Key
	for _, signer := range s.cfg.Signers {
		keys = append(keys, signer.Key())
	}
	return keys
}

// A Log is a log that the witness watches.
type Log struct {
	Origin string    `json:"origin"`
	Keys   []string  `json:"keys"`           // verifier keys that may sign for it
	Size   uint64    `json:"size"`           // records under the newest checkpoint that was cosigned
	Root   string    `json:"root,omitempty"` // base64, of that
	At     time.Time `json:"at,omitzero"`    // when it was cosigned
	Forked bool      `json:"forked"`         // it has shown two histories: it is cosigned no more
	Fork   []string  `json:"fork,omitempty"` // the two checkpoints that prove it

	note []byte // the newest that was cosigned, with our cosignatures
}

// Trust has the witness watch a log, or take another key for one that it watches.
// Keys of one origin add up: a log may sign with several. A log never watches
// itself; that is refused with kind Invalid, and so is a key that no log signs
// with.
func (s *Server) Trust(ctx context.Context, key *proof.Key) error {
	for _, own := range s.Keys() {
		if !proof.Independent([]*proof.Key{key}, own) {
			return &pavise.Error{
				Kind: pavise.Invalid, Msg: fmt.Sprintf("%s would be a witness in its own cause: %s is this installation's own log", own.Name(), key.Name()),
				Hint: "have the log watched by another installation",
			}
		}
	}
	if key.Algorithm() == proof.CosignatureEd25519 {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is a witness's key, and no log signs with one of type %s", key.Name(), key.Algorithm()), Hint: "pavise ledger status shows a log's keys"}
	}
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		l, err := find(tx, key.Name())
		if err != nil && pavise.KindOf(err) != pavise.NotFound {
			return err
		}
		if slices.Contains(l.Keys, key.String()) {
			return nil
		}
		if len(l.Keys) >= 8 {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("log %s has %d keys already", key.Name(), len(l.Keys)), Hint: "pavise witness forget ORIGIN, then trust those it still has"}
		}
		text, err := json.Marshal(append(l.Keys, key.String()))
		if err != nil {
			return fmt.Errorf("encode the keys of a log: %w", err)
		}
		_, err = tx.Exec(`INSERT INTO witness_logs (origin, keys) VALUES (?, ?) ON CONFLICT (origin) DO UPDATE SET keys = excluded.keys`, key.Name(), string(text))
		return err
	})
}

// Forget has the witness watch a log no more. What it has seen of it is gone: if
// it is trusted again, it begins anew.
func (s *Server) Forget(ctx context.Context, origin string) error {
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := find(tx, origin); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM witness_logs WHERE origin = ?`, origin)
		return err
	})
}

// Logs returns the logs that the witness watches, by origin.
func (s *Server) Logs(ctx context.Context) (logs []Log, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT ` + columns + ` FROM witness_logs ORDER BY origin`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			l, err := scan(rows)
			if err != nil {
				return err
			}
			logs = append(logs, l)
		}
		return rows.Err()
	})
	return logs, err
}

const columns = `origin, keys, size, note, at, fork`

// find returns one log. The error is of kind NotFound if it is not watched.
func find(tx *store.Tx, origin string) (Log, error) {
	l, err := scan(tx.QueryRow(`SELECT `+columns+` FROM witness_logs WHERE origin = ?`, origin))
	if errors.Is(err, sql.ErrNoRows) {
		return l, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("this witness does not watch the log %.100q", origin), Hint: "pavise witness list shows those it does"}
	}
	return l, err
}

// scan reads a row of columns.
func scan(row interface{ Scan(...any) error }) (l Log, err error) {
	var keys, fork string
	var at int64
	if err := row.Scan(&l.Origin, &keys, &l.Size, &l.note, &at, &fork); err != nil {
		return l, err
	}
	if at != 0 {
		l.At = time.Unix(at, 0).UTC()
	}
	if cp, err := proof.Parse(l.note); err == nil {
		l.Root = cp.Root.String()
	}
	if err := json.Unmarshal([]byte(keys), &l.Keys); err != nil {
		return l, fmt.Errorf("read the keys of log %s: %w", l.Origin, err)
	}
	if l.Forked = fork != ""; !l.Forked {
		return l, nil
	}
	if err := json.Unmarshal([]byte(fork), &l.Fork); err != nil {
		return l, fmt.Errorf("read the fork of log %s: %w", l.Origin, err)
	}
	return l, nil
}

// Cosign is Witness's, for whoever is in the same process: the whole of the
// protocol but its wire. The error is of kind NotFound for a log that is not
// watched, Denied for a signature that is none of its, Invalid for an old size
// beyond the checkpoint, Unverified when the tree does not continue the last, and
// has a *Seen in its chain when another size was last cosigned. A tree that was
// cosigned a moment ago and is shown again has the same cosignatures.
func (s *Server) Cosign(ctx context.Context, old uint64, path tlog.TreeProof, signed []byte) (lines []byte, err error) {
	signed, lines, err = s.admit(ctx, old, path, signed)
	if err != nil || lines != nil {
		return lines, err
	}
	var refused error // although something is kept
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		l, cp, err := s.open(tx, signed)
		if err != nil {
			return err
		}
		if refused = l.judge(old, path, cp); l.contradicts(cp) {
			return s.keepFork(ctx, tx, &l, cp)
		}
		if refused != nil {
			return refused
		}
		if lines, err = proof.Cosign(cp.Note, s.cfg.Now(), s.cfg.Signers...); err != nil {
			return err
		}
		return s.advance(ctx, tx, &l, cp, lines)
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	return lines, nil
}

// admit turns strangers away before they make anybody wait: a checkpoint that a
// trusted key has signed is what it takes to write. It returns the checkpoint with
// the signatures of such keys alone: whatever anybody has added to a note that they
// found is not kept. With it come the cosignatures, if it has them already.
func (s *Server) admit(ctx context.Context, old uint64, path tlog.TreeProof, signed []byte) (clean, lines []byte, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		l, cp, err := s.open(tx, signed)
		if clean = cp.Note; err == nil && l.judge(old, path, cp) == nil {
			lines = s.again(&l, cp)
		}
		return err
	})
	return clean, lines, err
}

// againWithin is for how long a tree has the cosignatures that it got: a checkpoint is
// public, and whoever shows it over and over costs neither a write nor a signature.
const againWithin = 10 * time.Second

// again returns the cosignatures that a checkpoint got a moment ago, or nil if it is to
// be cosigned anew.
func (s *Server) again(l *Log, cp proof.Checkpoint) (lines []byte) {
	age := s.cfg.Now().Sub(l.At)
	if cp.Size != l.Size || len(l.note) == 0 || age < 0 || age >= againWithin {
		return nil
	}
	n, err := opened(l.note, s.Keys())
	if err != nil || len(n.Sigs) != len(s.cfg.Signers) || !strings.HasPrefix(string(cp.Note), n.Text+"\n") {
		return nil // other keys cosigned it, or the log has said more of the same tree
	}
	for _, sig := range n.Sigs {
		lines = append(lines, "— "+sig.Name+" "+sig.Base64+"\n"...)
	}
	return lines
}

// open finds the log of a checkpoint, which one of the log's keys must have signed.
func (s *Server) open(tx *store.Tx, signed []byte) (l Log, cp proof.Checkpoint, err error) {
	if cp, err = proof.Parse(signed); err != nil {
		return l, cp, &pavise.Error{Kind: pavise.Invalid, Msg: err.Error(), Err: err}
	}
	if l, err = find(tx, cp.Origin); err != nil {
		return l, cp, err
	}
	var keys []*proof.Key
	for _, text := range l.Keys {
		key, err := proof.ParseKey(text)
		if err != nil {
			return l, cp, fmt.Errorf("read a key of log %s: %w", l.Origin, err)
		}
		keys = append(keys, key)
	}
	if cp.Note, err = only(signed, keys); err != nil {
		return l, cp, &pavise.Error{Kind: pavise.Denied, Msg: "the checkpoint is not signed by a key that this witness trusts for its log", Hint: "pavise witness list shows the keys", Err: err}
	}
	return l, cp, nil
}

// only returns a note with the signatures of these keys, which are checked, and no
// others.
func only(signed []byte, keys []*proof.Key) ([]byte, error) {
	n, err := opened(signed, keys)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs})
}

// opened opens a note that one of these keys must have signed. It spells their
// signatures as they spell them themselves: base64 has other ways, which anybody can
// write and some readers refuse.
func opened(signed []byte, keys []*proof.Key) (*note.Note, error) {
	verifiers := make([]note.Verifier, len(keys))
	for i, key := range keys {
		verifiers[i] = key
	}
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return nil, err
	}
	for i, sig := range n.Sigs {
		raw, err := base64.StdEncoding.DecodeString(sig.Base64)
		if err != nil {
			return nil, err
		}
		n.Sigs[i].Base64 = base64.StdEncoding.EncodeToString(raw)
	}
	return n, nil
}

// Latest is Witness's: the newest checkpoint of a log that was cosigned, with the
// cosignatures. The error is of kind NotFound if there is none.
func (s *Server) Latest(ctx context.Context, origin string) (signed []byte, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		l, err := find(tx, origin)
		if err == nil && len(l.note) == 0 {
			err = &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("nothing of the log %.100q was cosigned yet", origin)}
		}
		signed = l.note
		return err
	})
	return signed, err
}

// contradicts reports whether a checkpoint and the one last cosigned, both under
// the log's signature, cannot both be true, which nobody has noticed yet.
func (l *Log) contradicts(cp proof.Checkpoint) bool {
	return !l.Forked && cp.Size == l.Size && cp.Size > 0 && cp.Root.String() != l.Root
}

// keepFork keeps both checkpoints, which prove that the log has two histories, and
// tells who wants to know.
func (s *Server) keepFork(ctx context.Context, tx *store.Tx, l *Log, cp proof.Checkpoint) error {
	if s.cfg.Forked != nil {
		if err := s.cfg.Forked(ctx, l.Origin, l.note, cp.Note); err != nil {
			return err
		}
	}
	proven, err := json.Marshal([]string{string(l.note), string(cp.Note)})
	if err != nil {
		return fmt.Errorf("encode the proof of a fork: %w", err)
	}
	_, err = tx.Exec(`UPDATE witness_logs SET fork = ? WHERE origin = ?`, string(proven), l.Origin)
	return err
}

// judge decides whether a checkpoint may be cosigned. The old size comes first: a
// caller with an old one is told the new one, whatever else is wrong.
func (l *Log) judge(old uint64, path tlog.TreeProof, cp proof.Checkpoint) error {
	switch {
	case old > cp.Size:
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the old size %d is beyond the checkpoint's %d", old, cp.Size)}
	case old != l.Size:
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the proof begins at %d records, and %d were last cosigned", old, l.Size), Err: &Seen{l.Size}}
	case l.Forked || l.contradicts(cp):
		return forked(l.Origin)
	}
	last := proof.Checkpoint{} // of nothing seen yet: the empty tree
	if len(l.note) > 0 {
		var err error
		if last, err = proof.Parse(l.note); err != nil {
			return fmt.Errorf("read the last checkpoint of log %s: %w", l.Origin, err)
		}
	}
	return proof.Consistent(last, cp, path)
}

func forked(origin string) error {
	return &pavise.Error{
		Kind: pavise.Unverified, Msg: fmt.Sprintf("the log %s has signed two histories", origin),
		Hint: "pavise witness list --json holds both checkpoints; the log is cosigned no more until it is forgotten",
	}
}

// advance keeps the checkpoint as the newest, before its cosignature leaves.
func (s *Server) advance(ctx context.Context, tx *store.Tx, l *Log, cp proof.Checkpoint, lines []byte) error {
	shown := append(slices.Clip(cp.Note), lines...)
	if len(shown) > proof.MaxNote {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the checkpoint would be %d bytes long with its cosignatures, more than %d", len(shown), proof.MaxNote)}
	}
	if s.cfg.Record != nil && (cp.Size != l.Size || len(l.note) == 0) {
		if err := s.cfg.Record(ctx, cp); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`UPDATE witness_logs SET size = ?, note = ?, at = ? WHERE origin = ?`, cp.Size, shown, s.cfg.Now().Unix(), l.Origin)
	return err
}

// KindCosigned is the kind of the note that says which checkpoint was cosigned.
const KindCosigned = "witness.cosigned"

// A Cosigning is the detail of that note.
type Cosigning struct {
	Origin     string `json:"origin"`
	Size       uint64 `json:"size"`
	Root       string `json:"root"`       // base64
	Checkpoint string `json:"checkpoint"` // the signed note
}

// NewCosigning returns the detail of the note about a checkpoint.
func NewCosigning(cp proof.Checkpoint) Cosigning {
	return Cosigning{cp.Origin, cp.Size, cp.Root.String(), string(cp.Note)}
}

// Cosigned returns the checkpoint that a record says was cosigned. Its signature was
// checked then; the record proves that.
func Cosigned(r *record.Record) (proof.Checkpoint, error) {
	var c Cosigning
	if r.Kind != KindCosigned || r.Phase != record.Note {
		return proof.Checkpoint{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a record of kind %s says nothing of a checkpoint", r.Kind), Hint: "pavise witness prove ORIGIN writes the file that is wanted"}
	}
	if err := json.Unmarshal(r.Detail, &c); err != nil {
		return proof.Checkpoint{}, fmt.Errorf("read the detail of %s: %w", r.Kind, err)
	}
	return proof.Parse([]byte(c.Checkpoint))
}

// Name returns how records and policies call a log: tenant/log/id, where the
// slashes of its origin become colons.
func Name(tenant, origin string) pavise.Name {
	name := pavise.Name{Tenant: tenant, Kind: "log", ID: strings.ReplaceAll(origin, "/", ":")}
	if name.Validate() != nil {
		name.ID = originHash(origin)
	}
	return name
}
