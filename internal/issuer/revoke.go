package issuer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/store"
)

// revokeSteps are the migrations of the room's one table.
var revokeSteps = []string{
	`CREATE TABLE issuer_revocations (
		tenant    TEXT NOT NULL,
		principal TEXT NOT NULL, -- tenant/kind/id, or '' for none
		issuer    TEXT NOT NULL, -- a URL or spiffe://domain, or '' for none
		before    INTEGER NOT NULL, -- seconds since 1970: what was given out earlier is refused
		at        INTEGER NOT NULL, -- when somebody said so
		who       TEXT NOT NULL, -- tenant/kind/id of who did
		reason    TEXT NOT NULL,
		PRIMARY KEY (tenant, principal, issuer)
	) STRICT, WITHOUT ROWID`,
}

// Revocations keeps what was revoked in the store, and a verifier's epochs in step with
// it.
type Revocations struct {
	guard  *guard.Guard
	db     *store.DB
	epochs *identity.Epochs
	now    func() time.Time
	mu     sync.Mutex // held by Revoke, so that the table and the epochs grow in one order
}

// OpenRevocations brings the table up to date and puts what it holds in force.
func OpenRevocations(ctx context.Context, g *guard.Guard, db *store.DB, epochs *identity.Epochs, now func() time.Time) (*Revocations, error) {
	if err := db.Migrate(ctx, "issuer", revokeSteps); err != nil {
		return nil, err
	}
	r := &Revocations{guard: g, db: db, epochs: epochs, now: now}
	all, err := r.read(ctx, "")
	if err != nil {
		return nil, err
	}
	var inForce []identity.Epoch
	for _, one := range all {
		inForce = append(inForce, one.Epoch)
	}
	return r, epochs.Merge(inForce)
}

// A RevokeRequest names whose tokens and certificates to refuse: a principal's with
// all that acts for it or that it had made, or an issuer's, or, with neither, all of
// the tenant's.
type RevokeRequest struct {
	Principal pavise.Name
	Issuer    string
	Reason    string
}

// maxReason bounds the reason of a revocation, in bytes.
const maxReason = 1024

// A Revocation is an epoch with who put it in force and why.
type Revocation struct {
	identity.Epoch
	At     time.Time   `json:"at"`
	Who    pavise.Name `json:"who"`
	Reason string      `json:"reason,omitempty"`
}

// Revoke refuses, from the next request on, what was given out until now. It is of the
// safe direction: nothing waits for it, and new tokens work. A token that an issuer
// dates into the future of this machine's clock is not reached until that time.
func (r *Revocations) Revoke(ctx context.Context, who pavise.Principal, req RevokeRequest) (done Revocation, err error) {
	entry, err := r.guard.Enter(ctx, who, "issuer.revoke", revocationsOf(who.Tenant))
	if err != nil {
		return Revocation{}, err
	}
	defer entry.Exit(&err)
	now := r.now().UTC()
	done = Revocation{
		// Tokens are dated in seconds: one of this very second may be from before.
		Epoch: identity.Epoch{Tenant: who.Tenant, Principal: req.Principal, Issuer: req.Issuer, Before: now.Truncate(time.Second).Add(time.Second)},
		At:    now.Truncate(time.Second), Who: who.Name(), Reason: req.Reason,
	}
	if len(req.Reason) > maxReason {
		return Revocation{}, invalid(fmt.Sprintf("the reason is longer than %d bytes", maxReason), "say it shorter")
	}
	if err := done.Check(); err != nil {
		return Revocation{}, err
	}
	entry.Detail(done)
	r.mu.Lock()
	defer r.mu.Unlock()
	// In force first: should the disk fail, the refusals hold until the next start, and
	// the error says that they do not hold longer.
	if err := r.epochs.Revoke(done.Epoch); err != nil {
		return Revocation{}, err
	}
	return done, r.db.UpdateSafe(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO issuer_revocations (tenant, principal, issuer, before, at, who, reason) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET before = max(before, excluded.before), at = excluded.at, who = excluded.who, reason = excluded.reason`,
			done.Tenant, done.Principal.String(), done.Issuer, done.Before.Unix(), done.At.Unix(), done.Who.String(), done.Reason)
		return err
	})
}

// List returns the revocations of the caller's tenant.
func (r *Revocations) List(ctx context.Context, who pavise.Principal) (all []Revocation, err error) {
	entry, err := r.guard.Enter(ctx, who, "issuer.revocations", revocationsOf(who.Tenant))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	return r.read(ctx, who.Tenant)
}

func revocationsOf(tenant string) pavise.Name {
	return pavise.Name{Tenant: tenant, Kind: "issuer", ID: "revocations"}
}

// read reads a tenant's revocations, or, of no tenant, all.
func (r *Revocations) read(ctx context.Context, tenant string) ([]Revocation, error) {
	all := []Revocation{}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT tenant, principal, issuer, before, at, who, reason FROM issuer_revocations
			WHERE tenant = ? OR ? = '' ORDER BY tenant, principal, issuer`, tenant, tenant)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var one Revocation
			var principal, by string
			var before, at int64
			if err := rows.Scan(&one.Tenant, &principal, &one.Issuer, &before, &at, &by, &one.Reason); err != nil {
				return err
			}
			if err := one.Principal.UnmarshalText([]byte(principal)); err != nil {
				return err
			}
			if err := one.Who.UnmarshalText([]byte(by)); err != nil {
				return err
			}
			one.Before, one.At = time.Unix(before, 0).UTC(), time.Unix(at, 0).UTC()
			all = append(all, one)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read revocations: %w", err)
	}
	return all, nil
}

// Refuses reports whether a principal who was let in at a time is refused by now: for what
// lets somebody in without a token.
func (r *Revocations) Refuses(who pavise.Principal, since time.Time) bool {
	return r.epochs.Refuses(who, since)
}
