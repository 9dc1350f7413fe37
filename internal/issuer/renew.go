package issuer

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// KindCopied is the kind of the note that says that a certificate came for renewal
// which was renewed long ago: two hold its key.
const KindCopied = "node.copied"

// Renew gives a holder another certificate, for the same key or another one: the verb
// node.renew. leaf is the certificate with which it calls. It must be the newest one,
// or the one before, for answers get lost; any other was copied, which is refused and
// noted: whoever stole a key falls out of step with its owner.
func (ca *CA) Renew(ctx context.Context, who pavise.Principal, leaf *x509.Certificate, csr []byte) (out Issued, err error) {
	entry, err := ca.cfg.Guard.Enter(ctx, who, "node.renew", ca.on(who.Kind, who.ID))
	if err != nil {
		return out, err
	}
	entry.Durable()
	defer func() { // after Exit
		if err != nil {
			out = Issued{}
		}
	}()
	defer entry.Exit(&err)
	if err := ca.isOf(who, leaf); err != nil {
		return out, err
	}
	h, there := ca.Holders().Lookup(who.Kind, who.ID, leaf.NotBefore)
	if !there {
		return out, ended(who)
	}
	public, err := h.readRequest(ca.spiffe(h.Kind, h.ID).String(), csr)
	if err != nil {
		return out, err
	}
	key, err := KeyFingerprint(public)
	if err != nil {
		return out, err
	}
	c, err := ca.renew(ctx, h, leaf, key, public)
	if err != nil {
		return out, err
	}
	entry.Detail(given(c, key))
	return ca.issued(h.Kind, h.ID, c), ca.changed(ctx)
}

func ended(who pavise.Principal) error {
	return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s %s is no holder of a certificate any more", who.Kind, who.ID), Hint: "have it invited anew: pavise node invite"}
}

// isOf makes sure that a certificate is the caller's own, and one of ours.
func (ca *CA) isOf(who pavise.Principal, leaf *x509.Certificate) error {
	if who.Proof == "mtls" && leaf != nil && len(leaf.URIs) == 1 && leaf.URIs[0].String() == ca.spiffe(who.Kind, who.ID).String() && who.Tenant == ca.cfg.Tenant {
		return nil
	}
	return &pavise.Error{Kind: pavise.Unverified, Msg: "a certificate is renewed by its holder, who calls with it", Hint: "connect by mutual TLS with the certificate that is to be renewed"}
}

// renew signs the next certificate and writes it down.
func (ca *CA) renew(ctx context.Context, h Holder, old *x509.Certificate, key string, public any) (c *x509.Certificate, err error) {
	copied := false
	err = ca.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var serial, before string
		err := tx.QueryRow(`SELECT serial, before FROM issuer_ca_holders WHERE tenant = ? AND kind = ? AND id = ?`, ca.cfg.Tenant, h.Kind, h.ID).Scan(&serial, &before)
		if err != nil {
			return err
		}
		has := old.SerialNumber.Text(16)
		if copied = has != serial && has != before; copied {
			return &pavise.Error{Kind: pavise.Unverified, Msg: "the certificate was renewed before, and not by this holder", Hint: "somebody has a copy of its key: revoke it, and have it join anew"}
		}
		begins := ca.now().Add(-backdate)
		if begins.Before(h.Since) {
			begins = h.Since
		}
		if c, err = ca.issue(leaf{h.Kind, h.ID, h.DNS, h.IPs, begins}, public); err != nil {
			return err
		}
		// The one that it has stays good for another try; one whose answer was lost is gone.
		_, err = ca.edit(tx, h.Kind, h.ID, func(now *Holder) error {
			if !now.Revoked.IsZero() {
				return &pavise.Error{Kind: pavise.Denied, Msg: "it was revoked at this moment", Hint: "have it invited anew"}
			}
			now.Key, now.Expires = key, c.NotAfter
			h = *now
			return nil
		})
		if err != nil {
			return err
		}
		return ca.put(tx, h, c, has)
	})
	if copied {
		return nil, ca.noteCopied(ctx, h, old, err)
	}
	return c, err
}

// noteCopied leaves the finding, and returns the refusal.
func (ca *CA) noteCopied(ctx context.Context, h Holder, old *x509.Certificate, refusal error) error {
	finding := struct {
		Serial string    `json:"serial"`
		Began  time.Time `json:"began"`
	}{old.SerialNumber.Text(16), old.NotBefore}
	if err := ca.cfg.Guard.Note(context.WithoutCancel(ctx), KindCopied, nil, ca.on(h.Kind, h.ID), finding); err != nil {
		return err
	}
	return refusal
}
