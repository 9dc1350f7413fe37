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

// InvitedTo returns the address of the control plane that an invitation is to,
// https://HOST:PORT. The error is of kind Invalid.
func InvitedTo(invitation string) (string, error) {
	t, err := parseTicket(invitation)
	return t.url, err
}
