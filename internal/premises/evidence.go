package premises

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/witness"
)

const (
	// confrontWithin is how long the witnesses have to answer before the first
	// record is taken without their word.
	confrontWithin = 5 * time.Second
	// patrolEvery is how often every record is held against the tree, and
	// patrolRate, in bytes a second, how fast: slow enough to be noticed by nobody.
	patrolEvery = 24 * time.Hour
	patrolAfter = time.Minute
	patrolRate  = 32 << 20
)

// confront asks the witnesses, before anything is written, whether this log is the one
// that they know.
func (h *House) confront(ctx context.Context) (err error) {
	if h.Witnesses == nil {
		return nil
	}
	if h.Quorum, err = witness.NewQuorum(h.Log, h.Witnesses, h.Now, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, confrontWithin)
	defer cancel()
	if err := h.Quorum.Confront(ctx); err != nil {
		return err
	}
	h.sayMissing()
	return nil
}

// sayMissing names the witnesses that did not answer at the start: they are asked
// again, and until then nobody else has seen what is written.
func (h *House) sayMissing() {
	var names []string
	all, _, _ := h.Quorum.Status()
	for _, s := range all {
		if s.Problem != "" {
			names = append(names, fmt.Sprintf("%s (%s)", s.Name, s.Problem))
		}
	}
	if len(names) > 0 {
		h.Say("warning", &pavise.Error{
			Kind: pavise.Unavailable, Msg: "no word from " + strings.Join(names, ", "),
			Hint: "they are asked again; pavise ledger status says how each witness fares",
		})
	}
}

// shredFollower is the follower that carries out again what the log says was shredded.
const shredFollower = "pavise.shred-again"

// shreddings are the records that it follows.
var shreddings = ledger.Filter{Kinds: []string{"subject.shred", subject.KindShredded}}

// ShredAgain shreds keys that the log says were shredded: a database that was put
// back from an older copy has them again, and a cursor that does not know it. It comes
// after the changes that were cut off have been gone on with, which shreds what they
// had begun to, with a receipt.
func (h *House) ShredAgain(ctx context.Context) error {
	if err := h.Feeds.CatchUp(ctx, h.Tenant, shredFollower, shreddings, h.reapply); err != nil {
		return err
	}
	return h.Subjects.Settle(ctx)
}

// followShreddings keeps that follower near the end of the log, until ctx is done: what
// it has not seen is not pruned.
func (h *House) followShreddings(ctx context.Context) {
	for ctx.Err() == nil {
		_ = h.Feeds.Follow(ctx, h.Tenant, shredFollower, shreddings, h.reapply) // what cannot be read is tried again
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
		}
	}
}

// reapply shreds what a record says was shredded.
func (h *House) reapply(ctx context.Context, tx *store.Tx, r ledger.Found) error {
	if of, id, ok := subject.Shredded(&r.Record); ok {
		return h.Subjects.Reapply(tx, of, id)
	}
	if r.Phase == record.Interrupted && r.Who != nil {
		return h.receipt(ctx, tx, r)
	}
	return nil
}

// receipt leaves the receipt of a shredding behind whose commit the process died, unless
// there is one. One that was cut off before was gone on with as the change that it is,
// or came to nothing with it, and destroys no key.
func (h *House) receipt(ctx context.Context, tx *store.Tx, r ledger.Found) error {
	if h.Changes == nil {
		return nil // a gateway shreds nothing of its own accord
	}
	if ran, err := h.Changes.WasRun(tx, r.Who.Change); err != nil || !ran {
		return err
	}
	for later, err := range h.Log.Select(ctx, ledger.Filter{Kinds: shreddings.Kinds, On: r.On.String()}, r.Index, h.Log.Size()) {
		if err != nil {
			return err
		}
		if _, _, ok := subject.Shredded(&later.Record); ok {
			return nil
		}
	}
	return h.Guard.Note(ctx, subject.KindShredded, nil, r.On, map[string]any{
		"subject": r.On.ID, "cut_off": r.Index, "method": "the key's row was deleted, and the process died before it could say more",
	})
}

// heldAgainstDatabase holds the log against the state database, before anything is
// written: one that is behind the house's follower is refused, and so is a database
// from before records were pruned, which may have keys that these say were shredded.
func (h *House) heldAgainstDatabase(ctx context.Context) error {
	first := h.Log.First()
	c, err := h.Feeds.Begin(ctx, h.Tenant, shredFollower, shreddings, first)
	if pavise.KindOf(err) == pavise.Unverified {
		return h.olderLog(err)
	}
	if err != nil || c.Next >= first {
		return err
	}
	return &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  fmt.Sprintf("the state database %s is older than the pruning of records %d to %d, and may have what these say is gone", h.Data.Path("pavise.db"), c.Next, first-1),
		Hint: "restore a newer copy of the database; or bring the whole log back from the archive, with pavise ledger restore, which then has those records",
	}
}

// olderLog says what to do about a log that is behind the house's own follower, which
// nobody can drop.
func (h *House) olderLog(err error) error {
	return &pavise.Error{
		Kind: pavise.Unverified, Err: err,
		Msg:  fmt.Sprintf("the evidence log %s is older than the state database %s, or not its log: it holds %d records", h.Data.Ledger(), h.Data.Path("pavise.db"), h.Log.Size()),
		Hint: "restore a newer backup of the log, with pavise ledger restore, or begin a new installation in another directory with --data",
	}
}

func (h *House) openArchive(ctx context.Context) (err error) {
	var bucket blob.Bucket
	if h.ArchiveAt != "" {
		if bucket, err = blob.Open(ctx, h.ArchiveAt); err != nil {
			return err
		}
	}
	h.Archive, err = archive.Open(ctx, archive.Config{
		Log: h.Log, Store: h.DB, Bucket: bucket, Now: h.Now, Oldest: h.Feeds.Oldest,
		Note: func(ctx context.Context, kind string, detail any) error {
			return h.Guard.Note(ctx, kind, nil, pavise.Name{}, detail)
		},
	})
	return err
}

// Cosigners are the keys of a witness.
func Cosigners(name string, k installation.Keys) ([]*proof.Signer, error) {
	quantum, err := proof.NewMLDSACosigner(name, k.WitnessMLDSA)
	if err != nil {
		return nil, err
	}
	classic, err := proof.NewCosigner(name, ed25519.NewKeyFromSeed(k.Witness))
	return []*proof.Signer{quantum, classic}, err
}

// patrol holds every record against the tree, a minute after the start and once a
// day: what rots on the disk is found before somebody needs it.
func (h *House) patrol(ctx context.Context) {
	next := time.After(patrolAfter)
	for {
		select {
		case <-next:
		case <-ctx.Done():
			return
		}
		_, err := audit.VerifyOn(disk.Dir{Path: h.Data.Ledger(), ReadOnly: true}, audit.Options{
			Key: h.Log.Keys()[0].String(), Rate: patrolRate, Stop: ctx.Done(),
		})
		if err != nil && ctx.Err() == nil {
			_ = h.Finding(ctx, "ledger.damaged", pavise.Name{Tenant: h.Tenant, Kind: "ledger", ID: "log"}, err.Error(), nil)
		}
		next = time.After(patrolEvery)
	}
}

// Finding leaves a critical finding in the log.
func (h *House) Finding(ctx context.Context, kind string, on pavise.Name, summary string, more map[string]any) error {
	detail := map[string]any{"finding": pavise.Finding{Kind: kind, Severity: pavise.Critical, On: on, Summary: summary, At: h.Now().UTC()}}
	for key, value := range more {
		detail[key] = value
	}
	return h.Guard.Note(ctx, kind, nil, on, detail)
}
