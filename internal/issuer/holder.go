package issuer

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// A Holder is who holds a certificate, or may come for one. What a holder may do stands
// here and not in the certificate, so that it can change.
type Holder struct {
	Kind        string      `json:"kind"`
	ID          string      `json:"id"`
	Roles       []string    `json:"roles"`
	Environment string      `json:"environment,omitempty"`
	By          pavise.Name `json:"by,omitzero"` // who answers for it; zero: others approved that it answers for itself
	DNS         []string    `json:"dns,omitempty"`
	IPs         []net.IP    `json:"ips,omitempty"`
	Since       time.Time   `json:"since,omitzero"`       // certificates that begin earlier are refused; zero: has not joined
	Revoked     time.Time   `json:"revoked,omitzero"`     // zero: is not
	Expires     time.Time   `json:"expires,omitzero"`     // of the newest certificate
	Invited     time.Time   `json:"invited,omitzero"`     // until when an invitation is open
	Key         string      `json:"key,omitempty"`        // fingerprint of the key of the newest certificate, or of the one that is invited
	Invitation  string      `json:"invitation,omitempty"` // the text of an open one that is bound to a key
}

// A holderKey finds a holder.
type holderKey struct{ kind, id string }

// Holders is who holds certificates, as of one moment: what a bundle tells gateways,
// and what identity asks. It is immutable.
type Holders struct{ by map[holderKey]Holder }

func newHolders(list []Holder) *Holders {
	h := &Holders{by: map[holderKey]Holder{}}
	for _, one := range list {
		h.by[holderKey{one.Kind, one.ID}] = one
	}
	return h
}

// ParseHolders reads what MarshalJSON wrote. The error is of kind Invalid.
func ParseHolders(b []byte) (*Holders, error) {
	var list []Holder
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the list of holders cannot be read", Hint: "use a control plane and gateways that are at most one version apart", Err: err}
	}
	h := newHolders(list)
	for key, one := range h.by {
		if usages[key.kind] == nil || !isSegment(key.id) || one.Since.IsZero() {
			return nil, invalid(fmt.Sprintf("the list of holders has %.40q %.80q, who is none", key.kind, key.id), "use a control plane and gateways that are at most one version apart")
		}
	}
	if len(h.by) != len(list) {
		return nil, invalid("the list of holders names somebody twice", "find out who wrote it")
	}
	return h, nil
}

// MarshalJSON writes all holders, in order.
func (h *Holders) MarshalJSON() ([]byte, error) { return json.Marshal(h.list()) }

// list returns all holders, in order.
func (h *Holders) list() []Holder {
	list := []Holder{}
	for _, one := range h.by {
		list = append(list, one)
	}
	slices.SortFunc(list, byName)
	return list
}

func byName(a, b Holder) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) }

// Lookup returns a holder that may act: it has joined, is not revoked, and a
// certificate that begins at notBefore is of this membership.
func (h *Holders) Lookup(kind, id string, notBefore time.Time) (Holder, bool) {
	one, there := h.by[holderKey{kind, id}]
	if !there || !one.Revoked.IsZero() || one.Since.IsZero() || notBefore.Before(one.Since) {
		return Holder{}, false
	}
	return one, true
}

// AllRoles returns the roles that holders have, in order, each once.
func (h *Holders) AllRoles() (roles []string) {
	for _, one := range h.by {
		roles = append(roles, one.Roles...)
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// People is how many people hold certificates and answer for themselves, or did: to revoke one
// takes nobody's approval, and must not bring back what was asked for while there were fewer.
func (h *Holders) People() (n int) {
	for _, one := range h.by {
		if one.Kind == pavise.Human && one.By == (pavise.Name{}) && !one.Since.IsZero() {
			n++
		}
	}
	return n
}

// Holders returns who holds certificates now.
func (ca *CA) Holders() *Holders { return ca.holders.Load() }

// reload takes up what the tables say.
func (ca *CA) reload(ctx context.Context) error {
	ca.changing.Lock()
	defer ca.changing.Unlock()
	roots, err := ca.readRoots(ctx)
	if err != nil {
		return err
	}
	var list []Holder
	err = ca.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		list, err = queryHolders(tx, `SELECT holder FROM issuer_ca_holders WHERE tenant = ?`, ca.cfg.Tenant)
		return err
	})
	if err != nil {
		return err
	}
	ca.roots.Store(&roots)
	ca.holders.Store(newHolders(list))
	return nil
}

// queryHolders reads holders from a query of their JSON.
func queryHolders(tx *store.Tx, query string, args ...any) (list []Holder, err error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			text string
			one  Holder
		)
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			return nil, fmt.Errorf("read a holder: %w", err)
		}
		list = append(list, one)
	}
	return list, rows.Err()
}

// List returns all holders, and who has an open invitation: the verb node.list.
func (ca *CA) List(ctx context.Context, who pavise.Principal) (list []Holder, err error) {
	entry, err := ca.cfg.Guard.Enter(ctx, who, "node.list", ca.on("any", "all"))
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	err = ca.cfg.Store.View(ctx, func(tx *store.Tx) error {
		invited, err := queryHolders(tx, `SELECT holder FROM issuer_ca_invitations WHERE tenant = ? AND until > ?`, ca.cfg.Tenant, ca.now().Unix())
		list = invited
		return err
	})
	list = append(list, ca.Holders().list()...)
	slices.SortStableFunc(list, byName)
	return list, err
}

// Revoke ends a holder's membership, and takes back an invitation that is open: the
// verb node.revoke. From then on Lookup says so, and nothing is renewed. It is in the
// safe direction. The error is of kind NotFound when there is neither.
func (ca *CA) Revoke(ctx context.Context, who pavise.Principal, kind, id string) (err error) {
	entry, err := ca.cfg.Guard.Enter(ctx, who, "node.revoke", ca.on(kind, id))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	err = ca.cfg.Store.UpdateSafe(ctx, func(tx *store.Tx) error {
		gone, err := tx.Exec(`DELETE FROM issuer_ca_invitations WHERE tenant = ? AND kind = ? AND name = ?`, ca.cfg.Tenant, kind, id)
		if err != nil {
			return err
		}
		invitations, err := gone.RowsAffected()
		if err != nil {
			return err
		}
		changed, err := ca.edit(tx, kind, id, func(h *Holder) error {
			if h.Revoked.IsZero() {
				h.Revoked = ca.now()
			}
			return nil
		})
		if err == nil && !changed && invitations == 0 {
			return ca.nobody(kind, id)
		}
		return err
	})
	if err != nil {
		return err
	}
	return ca.changed(ctx)
}

func (ca *CA) nobody(kind, id string) error {
	return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no %.20s %.80q holds a certificate, or is invited to", kind, id), Hint: "pavise node list shows who does"}
}

// SetRoles gives a holder other roles: the verb node.roles, which is done as a change.
// Mark is called in the transaction of its effect.
func (ca *CA) SetRoles(ctx context.Context, who pavise.Principal, kind, id string, roles []string, mark func(*store.Tx) error) (err error) {
	entry, err := ca.cfg.Guard.Enter(ctx, who, "node.roles", ca.on(kind, id))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	entry.Detail(map[string][]string{"roles": roles})
	if err := CheckRoles(roles); err != nil {
		return err
	}
	err = ca.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		changed, err := ca.edit(tx, kind, id, func(h *Holder) error {
			h.Roles = append([]string{}, roles...)
			return nil
		})
		if err == nil && !changed {
			err = ca.nobody(kind, id)
		}
		if err != nil {
			return err
		}
		return mark(tx)
	})
	if err != nil {
		return err
	}
	return ca.changed(ctx)
}

// edit changes what the table says of a holder, if there is one.
func (ca *CA) edit(tx *store.Tx, kind, id string, f func(*Holder) error) (changed bool, err error) {
	list, err := queryHolders(tx, `SELECT holder FROM issuer_ca_holders WHERE tenant = ? AND kind = ? AND id = ?`, ca.cfg.Tenant, kind, id)
	if err != nil || len(list) == 0 {
		return false, err
	}
	if err := f(&list[0]); err != nil {
		return false, err
	}
	text, err := json.Marshal(list[0])
	if err != nil {
		return false, fmt.Errorf("encode a holder: %w", err)
	}
	_, err = tx.Exec(`UPDATE issuer_ca_holders SET holder = ? WHERE tenant = ? AND kind = ? AND id = ?`, string(text), ca.cfg.Tenant, kind, id)
	return true, err
}

// Holder returns who holds a certificate, for whoever plans to change their roles.
func (ca *CA) Holder(kind, id string) (Holder, error) {
	one, there := ca.Holders().by[holderKey{kind, id}]
	if !there {
		return one, ca.nobody(kind, id)
	}
	return one, nil
}

// Bounds of what a holder has.
const (
	maxRoles = 32
	maxNames = 32
)

// CheckRoles says what is wrong with a list of roles. The error is of kind Invalid.
func CheckRoles(roles []string) error {
	if len(roles) > maxRoles {
		return invalid(fmt.Sprintf("%d roles are more than %d", len(roles), maxRoles), "give it fewer")
	}
	for i, role := range roles {
		if (pavise.Name{Tenant: "t", Kind: "role", ID: role}).Validate() != nil || slices.Contains(roles[:i], role) {
			return invalid(fmt.Sprintf("%.80q is no role, or stands there twice", role), "take names such as operator")
		}
	}
	return nil
}
