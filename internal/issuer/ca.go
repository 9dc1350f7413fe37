package issuer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// How long certificates live.
const (
	DefaultLeaf = 24 * time.Hour
	MinLeaf     = 5 * time.Minute
	MaxLeaf     = 7 * 24 * time.Hour

	backdate = time.Minute // certificates begin a little earlier, for clocks that are behind
)

// KindHolder is the kind of thing that the verbs of the CA are about:
// tenant/holder/KIND:ID, for example local/holder/node:gw-1.
const KindHolder = "holder"

// CAConfig is what a certificate authority is made of. All but Leaf, Machine and Bundle
// are required.
type CAConfig struct {
	Guard       *guard.Guard
	Store       *store.DB
	KEK         *seal.KEK
	Dir         string              // where the sealed keys of the roots lie; made, 0700, when there is none
	TrustDomain string              // SPIFFE trust domain: lower-case letters, digits, dots, dashes and underscores
	Tenant      string              // whose holders it vouches for
	URL         string              // of this control plane, https://HOST:PORT, for the text of invitations
	Leaf        time.Duration       // how long a certificate lives, MinLeaf to MaxLeaf; DefaultLeaf if 0
	Machine     []string            // roles that an invitation of a machine may give; others take node.roles, a change
	Bundle      func() bundle.Trust // where those who join begin to believe bundles; nil: they are told nothing
	Now         func() time.Time    // the clock
}

// A CA gives out X.509-SVIDs to machines, programs and people, and keeps who holds
// them. It is safe for concurrent use.
type CA struct {
	cfg     CAConfig
	holders atomic.Pointer[Holders] // as the table has them; replaced whole
	roots   atomic.Pointer[[]root]  // the one that signs first; replaced whole

	changing sync.Mutex // held while holders or roots are read from the table

	mu       sync.Mutex      // guards what follows
	own      map[string]bool // ids that this control plane has itself
	self     string          // the SPIFFE id of the first of them
	onChange func()
}

// OpenCA opens the authority and makes its first root where there is none. The error is
// of kind Invalid when the configuration is.
func OpenCA(ctx context.Context, cfg CAConfig) (*CA, error) {
	if cfg.Leaf == 0 {
		cfg.Leaf = DefaultLeaf
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := cfg.Store.Migrate(ctx, "issuer_ca", caSteps); err != nil {
		return nil, err
	}
	ca := &CA{cfg: cfg, own: map[string]bool{}, onChange: func() {}}
	if err := ca.openRoots(ctx); err != nil {
		return nil, err
	}
	return ca, ca.reload(ctx)
}

func (cfg *CAConfig) validate() error {
	u, err := url.Parse(cfg.URL)
	switch {
	case !isTrustDomain(cfg.TrustDomain):
		return invalid(fmt.Sprintf("%.80q is no trust domain", cfg.TrustDomain), "take lower-case letters, digits, dots, dashes and underscores, for example prod.acme.example")
	case (pavise.Name{Tenant: cfg.Tenant, Kind: KindHolder, ID: "x"}).Validate() != nil:
		return invalid(fmt.Sprintf("%.80q is no tenant", cfg.Tenant), "use letters, digits and . _ @ : + -")
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || strings.ContainsAny(cfg.URL, " \t\n"):
		return invalid(fmt.Sprintf("%.200q is no address at which others join", cfg.URL), "it is https://HOST:PORT")
	case cfg.Leaf < MinLeaf || cfg.Leaf > MaxLeaf:
		return invalid(fmt.Sprintf("a certificate cannot live %v", cfg.Leaf), fmt.Sprintf("take from %v to %v", MinLeaf, MaxLeaf))
	}
	return nil
}

// isTrustDomain is the rule of the SPIFFE ID standard, section 2.1, in 128 characters.
func isTrustDomain(name string) bool {
	return name != "" && len(name) <= 128 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	})
}

// isSegment reports whether an id can be a segment of a SPIFFE path (section 2.2). Names
// of ours may have more characters, and begin with a letter or digit.
func isSegment(id string) bool {
	return !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	})
}

// Roots returns the roots to believe: that which signs first, and those that are about
// to or did until lately.
func (ca *CA) Roots() (certificates []*x509.Certificate) {
	for _, r := range *ca.roots.Load() {
		certificates = append(certificates, r.certificate)
	}
	return certificates
}

// Fingerprint returns the hex SHA-256 of the root that signs, by which an invitation
// pins it.
func (ca *CA) Fingerprint() string { return fingerprint(ca.Roots()[0].Raw) }

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// OnChange has f called, from whatever goroutine, after roots or holders have changed.
// It is set before anything else is asked of the CA.
func (ca *CA) OnChange(f func()) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.onChange = f
}

// changed takes up what the table says now, and tells who wants to know.
func (ca *CA) changed(ctx context.Context) error {
	err := ca.reload(context.WithoutCancel(ctx))
	ca.mu.Lock()
	f := ca.onChange
	ca.mu.Unlock()
	f()
	return err
}

// spiffe returns the id of a holder.
func (ca *CA) spiffe(kind, id string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: ca.cfg.TrustDomain, Path: "/" + kind + "/" + id}
}

func (ca *CA) name(kind, id string) pavise.Name {
	return pavise.Name{Tenant: ca.cfg.Tenant, Kind: kind, ID: id}
}

// on is how records and policies call a holder.
func (ca *CA) on(kind, id string) pavise.Name { return ca.name(KindHolder, kind+":"+id) }

// A leaf is what a certificate is to say.
type leaf struct {
	kind, id  string
	dns       []string
	ips       []net.IP
	notBefore time.Time
}

// usages are what a certificate of each kind is good for: a person serves nobody.
var usages = map[string][]x509.ExtKeyUsage{
	pavise.Human:    {x509.ExtKeyUsageClientAuth},
	pavise.Workload: {x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	pavise.Node:     {x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
}

// issue signs a certificate: an X.509-SVID (SPIFFE X.509-SVID, section 3 and 4).
func (ca *CA) issue(l leaf, public crypto.PublicKey) (*x509.Certificate, error) {
	signer := (*ca.roots.Load())[0]
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	ends := l.notBefore.Add(backdate + ca.cfg.Leaf)
	if ends.After(signer.certificate.NotAfter) {
		ends = signer.certificate.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Pavise " + ca.cfg.Tenant}, OrganizationalUnit: []string{l.kind}},
		NotBefore: l.notBefore, NotAfter: ends,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usages[l.kind], BasicConstraintsValid: true,
		URIs: []*url.URL{ca.spiffe(l.kind, l.id)}, DNSNames: l.dns, IPAddresses: l.ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, public, signer.key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s/%s: %w", l.kind, l.id, err)
	}
	return x509.ParseCertificate(der)
}

// newSerial returns 128 random bits, which nobody can guess and no two certificates
// share (RFC 5280, 4.1.2.2).
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil // it must be positive
}

// now is the time, in whole seconds, as certificates have it.
func (ca *CA) now() time.Time { return ca.cfg.Now().UTC().Truncate(time.Second) }

// An Issued certificate, as who asked for it gets it.
type Issued struct {
	Name    pavise.Name   `json:"name"`   // tenant/kind/id
	ID      string        `json:"spiffe"` // spiffe://TRUSTDOMAIN/kind/id
	Chain   [][]byte      `json:"chain"`  // DER, the leaf first; base64 in JSON
	Roots   [][]byte      `json:"roots"`  // DER, all that are to be believed
	Expires time.Time     `json:"expires"`
	Bundle  *bundle.Trust `json:"bundle,omitempty"` // where to begin with bundles
}

// issued is what the holder of a certificate is told.
func (ca *CA) issued(kind, id string, c *x509.Certificate) Issued {
	out := Issued{Name: ca.name(kind, id), ID: ca.spiffe(kind, id).String(), Chain: [][]byte{c.Raw}, Expires: c.NotAfter}
	for _, r := range ca.Roots() {
		out.Roots = append(out.Roots, r.Raw)
	}
	if ca.cfg.Bundle != nil {
		trust := ca.cfg.Bundle()
		out.Bundle = &trust
	}
	return out
}

// An Own is the control plane's own certificate. It is safe for concurrent use.
type Own struct {
	ca   *CA
	id   string
	dns  []string
	ips  []net.IP
	key  *ecdsa.PrivateKey
	mu   sync.Mutex       // guards what follows
	cert *tls.Certificate // nil before the first Get
	root *x509.Certificate
}

// Own returns what keeps a certificate for this control plane itself,
// spiffe://TRUSTDOMAIN/node/ID with those names and addresses, and renews it before it
// ends. Its key never leaves the process. Nobody else is invited under that id, and the
// first one is whom invitations name. Get fits tls.Config.GetCertificate.
func (ca *CA) Own(id string, dns []string, ips []net.IP) (*Own, error) {
	if err := checkNames(pavise.Node, dns, ips); err != nil {
		return nil, err
	}
	if err := ca.on(pavise.Node, id).Validate(); err != nil || !isSegment(id) {
		return nil, invalid(fmt.Sprintf("%.80q cannot be this control plane's id", id), "take letters, digits and . _ -")
	}
	if _, taken := ca.holders.Load().by[holderKey{pavise.Node, id}]; taken {
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("a machine joined as %s, which is this control plane's own id", id), Hint: "give the control plane another id"}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for %s: %w", id, err)
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.own[id] = true
	if ca.self == "" {
		ca.self = ca.spiffe(pavise.Node, id).String()
	}
	return &Own{ca: ca, id: id, dns: slices.Clone(dns), ips: slices.Clone(ips), key: key}, nil
}

// Get returns the certificate that is good now: another one when two thirds of its life
// are over, or another root signs. The chain ends with the root, by which those who
// join know that it is the one they were told of.
func (o *Own) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now, root := o.ca.now(), o.ca.Roots()[0]
	if o.cert != nil && o.root == root && now.Before(o.cert.Leaf.NotBefore.Add(o.ca.cfg.Leaf*2/3)) && !now.Before(o.cert.Leaf.NotBefore) {
		return o.cert, nil
	}
	c, err := o.ca.issue(leaf{kind: pavise.Node, id: o.id, dns: o.dns, ips: o.ips, notBefore: now.Add(-backdate)}, &o.key.PublicKey)
	if err != nil {
		return nil, err
	}
	o.cert, o.root = &tls.Certificate{Certificate: [][]byte{c.Raw, root.Raw}, PrivateKey: o.key, Leaf: c}, root
	return o.cert, nil
}
