package issuer

import (
	"context"
	"crypto"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// How long invitations are open.
const (
	DefaultInvite = 15 * time.Minute
	MaxInvite     = 24 * time.Hour
	PersonInvite  = 7 * 24 * time.Hour // bound to a key: there is no secret in it

	maxOpen  = 1000 // invitations of a tenant at one time
	maxTries = 10   // that come to nothing before an invitation is void
)

// An Invite says who is invited.
type Invite struct {
	Kind        string        // pavise.Node or pavise.Workload; of a person, pavise.Human
	ID          string        // letters, digits and . _ -
	Roles       []string      // of CAConfig.Machine, unless a person is invited; may be empty
	DNS         []string      // names that its server certificate carries
	IPs         []net.IP      // and addresses
	Environment string        // where it runs: "prod", "dev" …; may be empty
	TTL         time.Duration // 1 minute to MaxInvite; DefaultInvite if 0. A person's is always open for PersonInvite
	Key         string        // fingerprint of the key that it will hold; "": whoever has the invitation brings one
}

// An Invitation is a line of text that lets its holder join once. It prints without
// its text.
type Invitation struct {
	Text    string      `json:"invitation"` // pavise-invite:…; whoever has it may join, unless it is bound to a key
	Name    pavise.Name `json:"name"`       // tenant/kind/id of who will have joined
	Expires time.Time   `json:"expires"`
}

// String says whom the invitation is for.
func (i Invitation) String() string { return "invitation of " + i.Name.String() }

// GoString is String: %#v tells no secret either.
func (i Invitation) GoString() string { return i.String() }

// Invite makes an invitation for a machine or a program: the verb node.invite. Who
// joins has who asked to thank: By of its principal is who.Root().
func (ca *CA) Invite(ctx context.Context, who pavise.Principal, inv Invite) (out Invitation, err error) {
	entry, err := ca.cfg.Guard.Enter(ctx, who, "node.invite", ca.on(inv.Kind, inv.ID))
	if err != nil {
		return out, err
	}
	defer func() { // after Exit: what could not be written down is not given out
		if err != nil {
			out = Invitation{}
		}
	}()
	defer entry.Exit(&err)
	if inv.Kind == pavise.Human {
		return out, &pavise.Error{Kind: pavise.Denied, Msg: "people are invited as a change that somebody else approves", Hint: "pavise person invite proposes one"}
	}
	for _, role := range inv.Roles {
		if !slices.Contains(ca.cfg.Machine, role) {
			return out, &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("an invitation cannot give the role %.80q", role), Hint: "invite it without, and propose the role afterwards: pavise node roles"}
		}
	}
	if inv.TTL == 0 {
		inv.TTL = DefaultInvite
	}
	h, err := ca.newHolder(inv, who.Root())
	if err != nil {
		return out, err
	}
	entry.Detail(invited{h.Roles, h.DNS, h.IPs, h.Environment, h.Key, h.Invited})
	return ca.open(ctx, h, func(*store.Tx) error { return nil })
}

// InvitePerson makes an invitation for a person: the verb person.invite, which is done
// as a change. It is bound to the person's key, whose fingerprint the approvers have
// compared: nobody else can use it, not even who proposed it. Approvals is how many
// other people agreed; without any, who proposed it answers for the person, who then
// is no second one. Mark is called in the transaction of its effect.
func (ca *CA) InvitePerson(ctx context.Context, who pavise.Principal, inv Invite, approvals int, mark func(*store.Tx) error) (err error) {
	entry, err := ca.cfg.Guard.Enter(ctx, who, "person.invite", ca.on(pavise.Human, inv.ID))
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	h, err := ca.person(inv, who, approvals)
	if err != nil {
		return err
	}
	entry.Detail(invited{h.Roles, nil, nil, h.Environment, h.Key, h.Invited})
	_, err = ca.open(ctx, h, mark)
	return err
}

// CheckPerson says whether a person could be invited so, as far as it can be told now.
func (ca *CA) CheckPerson(inv Invite) error {
	_, err := ca.person(inv, pavise.Principal{}, 1)
	return err
}

func (ca *CA) person(inv Invite, who pavise.Principal, approvals int) (Holder, error) {
	inv.Kind, inv.TTL = pavise.Human, PersonInvite
	if inv.Key == "" {
		return Holder{}, invalid("a person is invited with the fingerprint of their key", "it is sha256: and the hex SHA-256 of their public key: openssl pkey -in KEY -pubout -outform DER | sha256sum")
	}
	var by pavise.Name
	if approvals < 1 {
		by = who.Root()
	}
	return ca.newHolder(inv, by)
}

// invited is the detail of a record of an invitation, which never holds its text.
type invited struct {
	Roles       []string  `json:"roles"`
	DNS         []string  `json:"dns,omitempty"`
	IPs         []net.IP  `json:"ips,omitempty"`
	Environment string    `json:"environment,omitempty"`
	Key         string    `json:"key,omitempty"`
	Until       time.Time `json:"until"`
}

// newHolder checks an invite and returns who will have joined by it.
func (ca *CA) newHolder(inv Invite, by pavise.Name) (Holder, error) {
	if usages[inv.Kind] == nil {
		return Holder{}, invalid(fmt.Sprintf("%.40q is no kind of holder", inv.Kind), "take node or workload")
	}
	if err := ca.name(inv.Kind, inv.ID).Validate(); err != nil {
		return Holder{}, err
	}
	if !isSegment(inv.ID) || ca.on(inv.Kind, inv.ID).Validate() != nil {
		return Holder{}, invalid(fmt.Sprintf("%.128q cannot stand in a SPIFFE id", inv.ID), "take at most 119 letters, digits and . _ -")
	}
	most := MaxInvite
	if inv.Kind == pavise.Human {
		most = PersonInvite
	}
	switch {
	case inv.TTL < time.Minute || inv.TTL > most:
		return Holder{}, invalid(fmt.Sprintf("an invitation cannot be open for %v", inv.TTL), fmt.Sprintf("take from 1m to %v", most))
	case inv.Key != "" && !isFingerprint(inv.Key):
		return Holder{}, invalid(fmt.Sprintf("%.80q is no fingerprint of a key", inv.Key), "it is sha256: and 64 hex digits")
	case inv.Environment != "" && (pavise.Name{Tenant: "t", Kind: "environment", ID: inv.Environment}).Validate() != nil:
		return Holder{}, invalid(fmt.Sprintf("%.80q is no environment", inv.Environment), "take a word such as prod")
	}
	if err := errors.Join(CheckRoles(inv.Roles), checkNames(inv.Kind, inv.DNS, inv.IPs)); err != nil {
		return Holder{}, err
	}
	ca.mu.Lock()
	taken := ca.own[inv.ID] && inv.Kind == pavise.Node
	ca.mu.Unlock()
	if taken {
		return Holder{}, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is the control plane itself", inv.ID), Hint: "take another id"}
	}
	return Holder{
		Kind: inv.Kind, ID: inv.ID, Roles: append([]string{}, inv.Roles...), Environment: inv.Environment, By: by,
		DNS: inv.DNS, IPs: inv.IPs, Key: inv.Key, Invited: ca.now().Add(inv.TTL),
	}, nil
}

func isFingerprint(text string) bool {
	digits, ok := strings.CutPrefix(text, "sha256:")
	raw, err := hex.DecodeString(digits)
	return ok && err == nil && len(raw) == 32 && hex.EncodeToString(raw) == digits
}

// open writes an invitation down. One for the same holder takes its place.
func (ca *CA) open(ctx context.Context, h Holder, mark func(*store.Tx) error) (out Invitation, err error) {
	ca.mu.Lock()
	self := ca.self
	ca.mu.Unlock()
	if self == "" {
		return out, &pavise.Error{Kind: pavise.Unavailable, Msg: "this control plane has no certificate of its own yet, by which others would know it", Hint: "try again when it has started"}
	}
	root, err := hex.DecodeString(ca.Fingerprint())
	if err != nil {
		return out, fmt.Errorf("read the fingerprint of the root: %w", err)
	}
	w := newWord(h.Key == "")
	text := ticket{word: w.text(), root: root, url: ca.cfg.URL, id: self}.String()
	if h.Key != "" {
		h.Invitation = text // there is no secret in it
	}
	body, err := json.Marshal(h)
	if err != nil {
		return out, fmt.Errorf("encode an invitation: %w", err)
	}
	err = ca.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := ca.room(tx, h); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO issuer_ca_invitations (tenant, id, hash, holder, kind, name, until, tries) VALUES (?, ?, ?, ?, ?, ?, ?, 0)`,
			ca.cfg.Tenant, w.find, w.hash(), string(body), h.Kind, h.ID, h.Invited.Unix())
		if err != nil {
			return err
		}
		return mark(tx)
	})
	return Invitation{Text: text, Name: ca.name(h.Kind, h.ID), Expires: h.Invited}, err
}

// room makes sure that a holder may be invited, and clears away what is over.
func (ca *CA) room(tx *store.Tx, h Holder) error {
	if err := ca.free(tx, h.Kind, h.ID); err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM issuer_ca_invitations WHERE tenant = ? AND (until <= ? OR kind = ? AND name = ?)`, ca.cfg.Tenant, ca.now().Unix(), h.Kind, h.ID); err != nil {
		return err
	}
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM issuer_ca_invitations WHERE tenant = ?`, ca.cfg.Tenant).Scan(&n); err != nil {
		return err
	}
	if n >= maxOpen {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%d invitations are open already", n), Hint: "take some back with pavise node revoke, or wait until they end"}
	}
	return nil
}

// free refuses a name that somebody holds.
func (ca *CA) free(tx *store.Tx, kind, id string) error {
	list, err := queryHolders(tx, `SELECT holder FROM issuer_ca_holders WHERE tenant = ? AND kind = ? AND id = ?`, ca.cfg.Tenant, kind, id)
	if err == nil && len(list) > 0 && list[0].Revoked.IsZero() {
		err = &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s %s has joined already", kind, id), Hint: "revoke it first, if it is to join anew: pavise node revoke"}
	}
	return err
}

// Join turns an invitation's word and a certificate request (PKCS #10, DER) into a
// certificate: the verb node.join. Source is the address that it came from, against
// which refusals are counted. The word is good once; a request that comes to nothing
// leaves it good, ten times. One that is bound to a key is no secret, so only requests
// of that key can use it up.
//
// Unguarded: nobody is known before the word is checked; then it enters as who was
// invited, who has no roles yet.
func (ca *CA) Join(ctx context.Context, source, text string, csr []byte) (out Issued, err error) {
	h, w, err := ca.redeem(ctx, text)
	known := err == nil
	if known && h.Key != "" {
		_, _, err = ca.keyOf(h, csr)
	}
	if err != nil {
		if (known || pavise.KindOf(err) == pavise.Unverified) && ca.cfg.Guard.Refuse(source, "invitation") {
			err = &pavise.Error{Kind: pavise.Throttled, Msg: "too many invitations that are none, from your address", Hint: "wait a second, then send a valid one"}
		}
		return Issued{}, err
	}
	return ca.join(ctx, h, w, csr)
}

// redeem finds the invitation of a word. Whatever is wrong with it, the answer is one.
func (ca *CA) redeem(ctx context.Context, text string) (h Holder, w word, err error) {
	unknown := &pavise.Error{Kind: pavise.Unverified, Msg: "the invitation is not known, was used, or has ended", Hint: "ask for another: pavise node invite"}
	w, ok := parseWord(text)
	if !ok {
		return h, w, unknown
	}
	var (
		kept  []byte
		body  string
		until int64
		tries int
	)
	err = ca.cfg.Store.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT hash, holder, until, tries FROM issuer_ca_invitations WHERE tenant = ? AND id = ?`, ca.cfg.Tenant, w.find).Scan(&kept, &body, &until, &tries)
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return h, w, err
	}
	if good := w.proves(kept); err != nil || !good || ca.now().Unix() >= until || tries >= maxTries {
		return h, w, unknown
	}
	if err := json.Unmarshal([]byte(body), &h); err != nil {
		return h, w, fmt.Errorf("read an invitation: %w", err)
	}
	return h, w, nil
}

// join gives who was invited a certificate.
func (ca *CA) join(ctx context.Context, h Holder, w word, csr []byte) (out Issued, err error) {
	who := pavise.Principal{
		Tenant: ca.cfg.Tenant, Kind: h.Kind, ID: h.ID, Issuer: "spiffe://" + ca.cfg.TrustDomain,
		Proof: "invitation", Environment: h.Environment, By: h.By,
	}
	entry, err := ca.cfg.Guard.Enter(ctx, who, "node.join", ca.on(h.Kind, h.ID))
	if err != nil {
		return out, err
	}
	defer func() { // after Exit
		if err != nil {
			out = Issued{}
		}
	}()
	defer entry.Exit(&err)
	public, key, err := ca.keyOf(h, csr)
	if err != nil {
		return out, errors.Join(err, ca.failedTry(ctx, w))
	}
	c, err := ca.admit(ctx, h, w, key, public)
	if err != nil {
		return out, err
	}
	entry.Detail(given(c, key))
	return ca.issued(h.Kind, h.ID, c), ca.changed(ctx)
}

// keyOf reads a request of who was invited, and returns its key with the fingerprint.
func (ca *CA) keyOf(h Holder, csr []byte) (public crypto.PublicKey, key string, err error) {
	if public, err = h.readRequest(ca.spiffe(h.Kind, h.ID).String(), csr); err != nil {
		return nil, "", err
	}
	if key, err = KeyFingerprint(public); err != nil {
		return nil, "", err
	}
	if h.Key != "" && key != h.Key {
		return nil, "", &pavise.Error{Kind: pavise.Denied, Msg: "the invitation is bound to another key", Hint: "join with the key whose fingerprint was invited: " + h.Key}
	}
	return public, key, nil
}

// failedTry counts a request that came to nothing.
func (ca *CA) failedTry(ctx context.Context, w word) error {
	return ca.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE issuer_ca_invitations SET tries = tries + 1 WHERE tenant = ? AND id = ?`, ca.cfg.Tenant, w.find)
		return err
	})
}

// admit signs the first certificate of a holder, and writes down, in one transaction,
// that the invitation is used and who holds it.
func (ca *CA) admit(ctx context.Context, h Holder, w word, key string, public any) (c *x509.Certificate, err error) {
	err = ca.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		used, err := tx.Exec(`DELETE FROM issuer_ca_invitations WHERE tenant = ? AND id = ? AND hash = ?`, ca.cfg.Tenant, w.find, w.hash())
		if err != nil {
			return err
		}
		if n, err := used.RowsAffected(); err != nil || n != 1 {
			return errors.Join(&pavise.Error{Kind: pavise.Unverified, Msg: "the invitation was used at the same time", Hint: "ask for another, and find out by whom"}, err)
		}
		if err := ca.free(tx, h.Kind, h.ID); err != nil {
			return err
		}
		began, err := ca.began(tx, h.Kind, h.ID)
		if err != nil {
			return err
		}
		// Later than every certificate of an earlier membership.
		h.Since = ca.now().Add(-backdate)
		if at := time.Unix(began+1, 0).UTC(); at.After(h.Since) {
			h.Since = at
		}
		if c, err = ca.issue(leaf{h.Kind, h.ID, h.DNS, h.IPs, h.Since}, public); err != nil {
			return err
		}
		h.Key, h.Expires, h.Invited, h.Invitation = key, c.NotAfter, time.Time{}, ""
		return ca.put(tx, h, c, "")
	})
	return c, err
}

// began returns when the newest certificate of a holder began; 0: there was none.
func (ca *CA) began(tx *store.Tx, kind, id string) (at int64, err error) {
	err = tx.QueryRow(`SELECT began FROM issuer_ca_holders WHERE tenant = ? AND kind = ? AND id = ?`, ca.cfg.Tenant, kind, id).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return at, err
}

// put writes down a holder with its newest certificate.
func (ca *CA) put(tx *store.Tx, h Holder, c *x509.Certificate, before string) error {
	body, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode a holder: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO issuer_ca_holders (tenant, kind, id, holder, serial, before, began) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, kind, id) DO UPDATE SET holder = excluded.holder, serial = excluded.serial, before = excluded.before, began = excluded.began`,
		ca.cfg.Tenant, h.Kind, h.ID, string(body), c.SerialNumber.Text(16), before, c.NotBefore.Unix())
	return err
}

// certified is the detail of a record of a certificate that was given out.
type certified struct {
	Serial  string    `json:"serial"` // hex
	Key     string    `json:"key"`    // fingerprint
	Begins  time.Time `json:"begins"`
	Expires time.Time `json:"expires"`
}

func given(c *x509.Certificate, key string) certified {
	return certified{c.SerialNumber.Text(16), key, c.NotBefore, c.NotAfter}
}
