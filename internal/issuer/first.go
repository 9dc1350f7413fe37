package issuer

import (
	"context"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// First invites somebody with whom an empty installation begins. Each answers for
// themselves. With a key the invitation is bound to it; without one, whoever has the
// invitation may join. The error is of kind Conflict when they have joined already.
//
// Unguarded: nobody is there yet who could be asked, or could approve. Only the start of
// a control plane calls it, on an empty store, and records that it did.
func (ca *CA) First(ctx context.Context, inv Invite) (Invitation, error) {
	inv.Kind = pavise.Human
	if inv.TTL == 0 {
		inv.TTL = MaxInvite
	}
	h, err := ca.newHolder(inv, pavise.Name{})
	if err != nil {
		return Invitation{}, err
	}
	return ca.open(ctx, h, func(*store.Tx) error { return nil })
}

// KindReinvited is the note that whoever holds the host has invited a person anew.
const KindReinvited = "issuer.reinvited"

// Again invites a person anew who has joined before, in the roles that they have. Whoever
// answers for them still does. The membership of before ends: a certificate of theirs that
// is good yet is refused from then on. The error is of kind NotFound when nobody of that
// name has ever joined.
//
// Unguarded: it is for when nobody is left who could be asked. Only the start of a control
// plane calls it, for whoever holds the host, and has recorded it before.
func (ca *CA) Again(ctx context.Context, id string) (Invitation, error) {
	was, there := ca.Holders().by[holderKey{pavise.Human, id}]
	if !there {
		return Invitation{}, ca.nobody(pavise.Human, id)
	}
	h, err := ca.newHolder(Invite{Kind: pavise.Human, ID: id, Roles: was.Roles, Environment: was.Environment, TTL: MaxInvite}, was.By)
	if err != nil {
		return Invitation{}, err
	}
	err = ca.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := ca.edit(tx, pavise.Human, id, func(h *Holder) error {
			if h.Revoked.IsZero() {
				h.Revoked = ca.now()
			}
			return nil
		})
		return err
	})
	if err != nil {
		return Invitation{}, err
	}
	if err := ca.changed(ctx); err != nil {
		return Invitation{}, err
	}
	return ca.open(ctx, h, func(*store.Tx) error { return nil })
}

// InvitedTo returns the address of the control plane that an invitation is to,
// https://HOST:PORT. The error is of kind Invalid.
func InvitedTo(invitation string) (string, error) {
	t, err := parseTicket(invitation)
	return t.url, err
}
