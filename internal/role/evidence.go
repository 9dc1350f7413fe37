package role

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/witness"
)

const (
	// witnessPrefix is where the witness is asked, below the server's address.
	witnessPrefix = "/witness"
	// confrontWithin is how long the witnesses have to answer before the first
	// record is taken without their word.
	confrontWithin = 5 * time.Second
	// patrolEvery is how often every record is held against the tree, and
	// patrolRate, in bytes a second, how fast: slow enough to be noticed by nobody.
	patrolEvery = 24 * time.Hour
	patrolAfter = time.Minute
	patrolRate  = 32 << 20
)

// openEvidence opens what stands around the log: those who follow it, the keys of
// those whose data it keeps, the archive, and the witnesses, on both sides.
func (u *Up) openEvidence(ctx context.Context, k Keys) (err error) {
	if u.feeds, err = feed.Open(ctx, u.log, u.db, u.cfg.Now); err != nil {
		return err
	}
	if u.subjects, err = subject.Open(ctx, u.db, k.KEK, u.cfg.Now); err != nil {
		return err
	}
	if err := u.heldAgainstDatabase(ctx); err != nil {
		return err
	}
	if err := u.openArchive(ctx); err != nil {
		return err
	}
	return u.openWitness(ctx, k)
}

// confront asks the witnesses, before anything is written, whether this log is the one
// that they know.
func (u *Up) confront(ctx context.Context) (err error) {
	if u.cfg.Witnesses == nil {
		return nil
	}
	if u.quorum, err = witness.NewQuorum(u.log, u.cfg.Witnesses, u.cfg.Now, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, confrontWithin)
	defer cancel()
	if err := u.quorum.Confront(ctx); err != nil {
		return err
	}
	u.sayMissing()
	return nil
}

// sayMissing names the witnesses that did not answer at the start: they are asked
// again, and until then nobody else has seen what is written.
func (u *Up) sayMissing() {
	var names []string
	all, _, _ := u.quorum.Status()
	for _, s := range all {
		if s.Problem != "" {
			names = append(names, fmt.Sprintf("%s (%s)", s.Name, s.Problem))
		}
	}
	if len(names) > 0 {
		u.cfg.Say("warning", &pavise.Error{
			Kind: pavise.Unavailable, Msg: "no word from " + strings.Join(names, ", "),
			Hint: "they are asked again; pavise ledger status says how each witness fares",
		})
	}
}

// shredFollower is the follower that carries out again what the log says was shredded.
const shredFollower = "pavise.shred-again"

// shreddings are the records that it follows.
var shreddings = ledger.Filter{Kinds: []string{"subject.shred", api.KindShredded}}

// shredAgain shreds keys that the log says were shredded: a database that was put
// back from an older copy has them again, and a cursor that does not know it. It comes
// after the changes that were cut off have been gone on with, which shreds what they
// had begun to, with a receipt.
func (u *Up) shredAgain(ctx context.Context) error {
	if err := u.feeds.CatchUp(ctx, Tenant, shredFollower, shreddings, u.reapply); err != nil {
		return err
	}
	return u.subjects.Settle(ctx)
}

// followShreddings keeps that follower near the end of the log, until ctx is done: what
// it has not seen is not pruned.
func (u *Up) followShreddings(ctx context.Context) {
	for ctx.Err() == nil {
		_ = u.feeds.Follow(ctx, Tenant, shredFollower, shreddings, u.reapply) // what cannot be read is tried again
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
		}
	}
}

// reapply shreds what a record says was shredded.
func (u *Up) reapply(ctx context.Context, tx *store.Tx, r ledger.Found) error {
	if of, id, ok := api.Shredded(&r.Record); ok {
		return u.subjects.Reapply(tx, of, id)
	}
	if r.Phase == record.Interrupted && r.Who != nil {
		return u.receipt(ctx, tx, r)
	}
	return nil
}

// receipt leaves the receipt of a shredding behind whose commit the process died, unless
// there is one. One that was cut off before was gone on with as the change that it is,
// or came to nothing with it, and destroys no key.
func (u *Up) receipt(ctx context.Context, tx *store.Tx, r ledger.Found) error {
	if ran, err := u.changes.WasRun(tx, r.Who.Change); err != nil || !ran {
		return err
	}
	for later, err := range u.log.Select(ctx, ledger.Filter{Kinds: shreddings.Kinds, On: r.On.String()}, r.Index, u.log.Size()) {
		if err != nil {
			return err
		}
		if _, _, ok := api.Shredded(&later.Record); ok {
			return nil
		}
	}
	return u.guard.Note(ctx, api.KindShredded, nil, r.On, map[string]any{
		"subject": r.On.ID, "cut_off": r.Index, "method": "the key's row was deleted, and the process died before it could say more",
	})
}

// heldAgainstDatabase holds the log against the state database, before anything is
// written: one that is behind the house's follower is refused, and so is a database
// from before records were pruned, which may have keys that these say were shredded.
func (u *Up) heldAgainstDatabase(ctx context.Context) error {
	first := u.log.First()
	c, err := u.feeds.Begin(ctx, Tenant, shredFollower, shreddings, first)
	if pavise.KindOf(err) == pavise.Unverified {
		return u.olderLog(err)
	}
	if err != nil || c.Next >= first {
		return err
	}
	return &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  fmt.Sprintf("the state database %s is older than the pruning of records %d to %d, and may have what these say is gone", u.cfg.Data.Path("pavise.db"), c.Next, first-1),
		Hint: "restore a newer copy of the database; or bring the whole log back from the archive, with pavise ledger restore, which then has those records",
	}
}

// olderLog says what to do about a log that is behind the house's own follower, which
// nobody can drop.
func (u *Up) olderLog(err error) error {
	return &pavise.Error{
		Kind: pavise.Unverified, Err: err,
		Msg:  fmt.Sprintf("the evidence log %s is older than the state database %s, or not its log: it holds %d records", u.cfg.Data.Ledger(), u.cfg.Data.Path("pavise.db"), u.log.Size()),
		Hint: "restore a newer backup of the log, with pavise ledger restore, or begin a new installation in another directory with --data",
	}
}

func (u *Up) openArchive(ctx context.Context) (err error) {
	var bucket blob.Bucket
	if u.cfg.Archive != "" {
		if bucket, err = blob.Open(ctx, u.cfg.Archive); err != nil {
			return err
		}
	}
	u.archive, err = archive.Open(ctx, archive.Config{
		Log: u.log, Store: u.db, Bucket: bucket, Now: u.cfg.Now, Oldest: u.feeds.Oldest,
		Note: func(ctx context.Context, kind string, detail any) error {
			return u.guard.Note(ctx, kind, nil, pavise.Name{}, detail)
		},
	})
	return err
}

// openWitness opens the witness that this installation is to others: what it
// cosigns is a record, so that this log is the log of those logs.
func (u *Up) openWitness(ctx context.Context, k Keys) error {
	signers, err := cosigners("pavise.local/"+k.Install+"/witness", k)
	if err != nil {
		return err
	}
	u.witness, err = witness.Open(ctx, witness.Config{
		Signers: signers, Store: u.db, Now: u.cfg.Now,
		Record: func(ctx context.Context, cp proof.Checkpoint) error {
			return u.guard.Note(ctx, witness.KindCosigned, nil, witness.Name(Tenant, cp.Origin), witness.NewCosigning(cp))
		},
		Forked: func(ctx context.Context, origin string, a, b []byte) error {
			return u.finding(ctx, "witness.forked", witness.Name(Tenant, origin), fmt.Sprintf("the log %s has signed two histories", origin),
				map[string]any{"checkpoints": []string{string(a), string(b)}})
		},
	})
	return err
}

// cosigners are the keys of a witness.
func cosigners(name string, k Keys) ([]*proof.Signer, error) {
	quantum, err := proof.NewMLDSACosigner(name, k.WitnessMLDSA)
	if err != nil {
		return nil, err
	}
	classic, err := proof.NewCosigner(name, ed25519.NewKeyFromSeed(k.Witness))
	return []*proof.Signer{quantum, classic}, err
}

// openGateway opens the data plane.
func (u *Up) openGateway(ctx context.Context, verifier *identity.Verifier) (err error) {
	u.gateway, err = gateway.New(ctx, gateway.Config{
		Guard: u.guard, Verifier: verifier, Store: u.db, Log: u.log, Subjects: u.subjects, Now: u.cfg.Now,
	})
	return err
}

// openChanges opens the road for consequential acts, and goes on with those that
// were cut off.
func (u *Up) openChanges(ctx context.Context, k Keys) (err error) {
	u.rooms = &api.Rooms{
		Guard: u.guard, Log: u.log, Policies: u.policies, Grants: u.grants, Routes: u.gateway.Routes, Issuer: u.issuer, Revoked: u.revoked, Exchange: u.exchange, Link: u.consoleLink, Protection: u.protection,
		Feeds: u.feeds, Subjects: u.subjects, KEK: k.KEK, Archive: u.archive, Witness: u.witness, WitnessURL: u.url() + witnessPrefix, Quorum: u.quorum,
	}
	u.changes, err = change.New(ctx, change.Config{Guard: u.guard, Store: u.db, Log: u.log, Runners: api.Runners(u.rooms), Now: u.cfg.Now})
	if err != nil {
		return err
	}
	u.rooms.Changes = u.changes
	if err := u.changes.Resume(ctx); err != nil {
		return err
	}
	return u.shredAgain(ctx)
}

// openWires opens where findings go.
func (u *Up) openWires(ctx context.Context, k Keys) (err error) {
	u.wires, err = siem.Open(ctx, siem.Config{
		Guard: u.guard, Log: u.log, Feeds: u.feeds, Store: u.db, KEK: k.KEK, Now: u.cfg.Now, Version: Version(), Tenant: Tenant,
		File: u.cfg.Findings, Printer: u.cfg.Printer, Local: true, Allow: u.cfg.SendTo, Say: u.cfg.Say,
	})
	u.rooms.Wires = u.wires
	return err
}

// patrol holds every record against the tree, a minute after the start and once a
// day: what rots on the disk is found before somebody needs it.
func (u *Up) patrol(ctx context.Context) {
	next := time.After(patrolAfter)
	for {
		select {
		case <-next:
		case <-ctx.Done():
			return
		}
		_, err := audit.VerifyOn(disk.Dir{Path: u.cfg.Data.Ledger(), ReadOnly: true}, audit.Options{
			Key: u.log.Keys()[0].String(), Rate: patrolRate, Stop: ctx.Done(),
		})
		if err != nil && ctx.Err() == nil {
			_ = u.finding(ctx, "ledger.damaged", pavise.Name{Tenant: Tenant, Kind: "ledger", ID: "log"}, err.Error(), nil)
		}
		next = time.After(patrolEvery)
	}
}

// finding leaves a critical finding in the log.
func (u *Up) finding(ctx context.Context, kind string, on pavise.Name, summary string, more map[string]any) error {
	detail := map[string]any{"finding": pavise.Finding{Kind: kind, Severity: pavise.Critical, On: on, Summary: summary, At: u.cfg.Now().UTC()}}
	for key, value := range more {
		detail[key] = value
	}
	return u.guard.Note(ctx, kind, nil, on, detail)
}
