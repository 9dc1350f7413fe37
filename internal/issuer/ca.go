package issuer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// CAConfig is what a certificate authority is made of. All but Leaf, Machine, URL and
// Bundle are required.
type CAConfig struct {
	Guard       *guard.Guard
	Store       *store.DB
	KEK         *seal.KEK
	Dir         string              // where the sealed keys of the roots lie, 0700
	TrustDomain string              // SPIFFE trust domain: lower-case letters, digits, dots, dashes and underscores
	Tenant      string              // whose holders it vouches for
	URL         string              // of this control plane, https://HOST:PORT, for the text of invitations
	Leaf        time.Duration       // how long a certificate lives, 5 minutes to 7 days; 24 h if 0
	Machine     []string            // roles that an invitation of a machine may give; others take a change
	Bundle      func() bundle.Trust // where those who join begin to believe bundles; nil: they are told nothing
	Now         func() time.Time    // the clock
}

// A CA gives out X.509-SVIDs to machines, programs and people, and keeps who holds
// them. It is safe for concurrent use.
type CA struct{ cfg CAConfig }

// OpenCA opens the authority and makes its first root where there is none.
func OpenCA(ctx context.Context, cfg CAConfig) (*CA, error) { panic("to come") }

// Roots returns the roots to believe: that which signs, and those that are about to
// or did until lately. The first one signs.
func (ca *CA) Roots() []*x509.Certificate { panic("to come") }

// Fingerprint returns the hex SHA-256 of the root that signs, by which an invitation
// pins it.
func (ca *CA) Fingerprint() string { panic("to come") }

// Own returns what keeps a certificate for this control plane itself,
// spiffe://TRUSTDOMAIN/node/ID with those names and addresses, and renews it before it
// ends. Its key never leaves the process. Get fits tls.Config.GetCertificate; the chain
// ends with the root, which is how those who join find the one that they were told.
func (ca *CA) Own(id string, dns []string, ips []net.IP) (*Own, error) { panic("to come") }

// An Own is the control plane's own certificate. It is safe for concurrent use.
type Own struct{}

// Get returns the certificate that is good now.
func (o *Own) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("to come") }

// An Invite says who is invited.
type Invite struct {
	Kind        string        // pavise.Node or pavise.Workload
	ID          string        // fit to be part of a name
	Roles       []string      // of CAConfig.Machine; may be empty
	DNS         []string      // names that its server certificate may carry
	IPs         []net.IP      // and addresses
	Environment string        // where it runs: "prod", "dev" …; may be empty
	TTL         time.Duration // 1 minute to 24 h; 15 minutes if 0
	Key         string        // fingerprint of the key it will hold; "": whoever has the invitation brings one
}

// An Invitation is a line of text that lets its holder join once. It prints without
// its secret.
type Invitation struct {
	Text    string      `json:"invitation"` // pavise-invite:…; whoever has it may join
	Name    pavise.Name `json:"name"`       // tenant/kind/id of who will have joined
	Expires time.Time   `json:"expires"`
}

// Invite makes an invitation for a machine or a program: the verb node.invite. Who
// joins has who asked to thank: By of its principal is who.Root().
func (ca *CA) Invite(ctx context.Context, who pavise.Principal, inv Invite) (Invitation, error) {
	_, err := ca.cfg.Guard.Enter(ctx, who, "node.invite", pavise.Name{})
	panic(err)
}

// Join turns an invitation and a certificate request (PKCS #10, DER) into a
// certificate: the verb node.join. Source is the address that it came from, against
// which refusals are counted.
//
// Unguarded: nobody is known before the invitation is checked; then it enters as who
// was invited, with no roles.
func (ca *CA) Join(ctx context.Context, source, secret string, csr []byte) (Issued, error) {
	panic("to come")
}

// Renew gives a holder another certificate, for the same key or another one: the verb
// node.renew. leaf is the certificate with which it calls. A certificate that is
// neither the newest nor the one before was copied: that is refused, and noted.
func (ca *CA) Renew(ctx context.Context, who pavise.Principal, leaf *x509.Certificate, csr []byte) (Issued, error) {
	_, err := ca.cfg.Guard.Enter(ctx, who, "node.renew", pavise.Name{})
	panic(err)
}

// An Issued certificate, as who asked for it gets it.
type Issued struct {
	Name    pavise.Name   `json:"name"`   // tenant/kind/id
	ID      string        `json:"spiffe"` // spiffe://TRUSTDOMAIN/kind/id
	Chain   [][]byte      `json:"chain"`  // DER, the leaf first; base64 in JSON
	Roots   [][]byte      `json:"roots"`  // DER, all that are to be believed
	Expires time.Time     `json:"expires"`
	Bundle  *bundle.Trust `json:"bundle,omitempty"` // where to begin with bundles
}

// Revoke ends a holder's membership: the verb node.revoke. From then on Lookup says so,
// and nothing is renewed. It is in the safe direction.
func (ca *CA) Revoke(ctx context.Context, who pavise.Principal, kind, id string) error {
	_, err := ca.cfg.Guard.Enter(ctx, who, "node.revoke", pavise.Name{})
	panic(err)
}

// List returns all holders and open invitations: the verb node.list.
func (ca *CA) List(ctx context.Context, who pavise.Principal) ([]Holder, error) {
	_, err := ca.cfg.Guard.Enter(ctx, who, "node.list", pavise.Name{})
	panic(err)
}

// A Holder is who holds a certificate, or may come for one. What a holder may do stands
// here and not in the certificate, so that it can change.
type Holder struct {
	Kind        string      `json:"kind"`
	ID          string      `json:"id"`
	Roles       []string    `json:"roles"`
	Environment string      `json:"environment,omitempty"`
	By          pavise.Name `json:"by,omitzero"`      // who answers for it; nobody for those who came by a change
	Since       time.Time   `json:"since,omitzero"`   // certificates that begin earlier are refused; zero: has not joined
	Revoked     time.Time   `json:"revoked,omitzero"` // zero: is not
	Expires     time.Time   `json:"expires,omitzero"` // of the newest certificate
	Invited     time.Time   `json:"invited,omitzero"` // until when an invitation is open
}

// Holders is who holds certificates, as of one moment: what a bundle tells gateways,
// and what identity asks. It is immutable.
type Holders struct{}

// ParseHolders reads what MarshalJSON wrote. The error is of kind Invalid.
func ParseHolders(b []byte) (*Holders, error) { panic("to come") }

// MarshalJSON writes all holders that have joined, in order.
func (h *Holders) MarshalJSON() ([]byte, error) { panic("to come") }

// Lookup returns a holder that may act: it has joined, is not revoked, and a
// certificate that begins at notBefore is of this membership.
func (h *Holders) Lookup(kind, id string, notBefore time.Time) (Holder, bool) { panic("to come") }

// Holders returns who holds certificates now.
func (ca *CA) Holders() *Holders { panic("to come") }

// OnChange has f called, from whatever goroutine, after roots or holders have changed.
// It is called before anything else.
func (ca *CA) OnChange(f func()) {}
