package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// A TrustDomain is the record of a SPIFFE trust domain whose workload certificates
// (X.509-SVIDs) prove callers.
type TrustDomain struct {
	Name        string              // for example "prod.acme.example"
	Roots       []*x509.Certificate // its certificate authorities, as its bundle has them
	Tenant      string              // whose callers it vouches for
	Environment string              // where its callers run; "" is not said
	Workloads   []Workload          // what its SPIFFE paths mean; others are read as /KIND/ID
	Leeway      time.Duration       // at most MaxLeeway; 0 means DefaultLeeway
	// Holder says who holds a certificate, where somebody keeps a list: who is not on
	// it is refused, and what the holder may do stands there. A path of no Workload is
	// looked up. nil: there is no list. Its answers are remembered with the proof: a
	// changed list is another record, see Verifier.With.
	Holder func(kind, id string, begins time.Time) (Holding, bool)
}

// A Holding is what a list of holders says of one.
type Holding struct {
	Roles       []string
	Environment string
	By          pavise.Name // who answers for it; zero: it does itself
}

// A Workload says who the bearer of a SPIFFE id is. A path of no Workload is read as
// /human/ID, /workload/ID or /node/ID, has no roles, and is refused if it is neither or
// if a Workload has that name.
type Workload struct {
	Path  string   `json:"path"` // of the SPIFFE id, for example "/ns/prod/sa/trainer"
	Kind  string   `json:"kind"` // pavise.Workload and so on
	ID    string   `json:"id"`
	Roles []string `json:"roles,omitempty"`
}

// A domain is a checked TrustDomain that shares no memory with its caller.
type domain struct {
	TrustDomain
	voucher
	roots  *x509.CertPool
	byPath map[string]Workload
	named  map[[2]string]bool // kind and id of the Workloads
}

func newDomain(t TrustDomain) (*domain, error) {
	if t.Leeway == 0 {
		t.Leeway = DefaultLeeway
	}
	d := &domain{TrustDomain: t, roots: x509.NewCertPool(), byPath: map[string]Workload{}, named: map[[2]string]bool{}}
	if err := t.check(); err != nil {
		return nil, err
	}
	for n, root := range t.Roots {
		if root == nil || !root.IsCA || !root.BasicConstraintsValid {
			return nil, t.fault(fmt.Sprintf("root %d", n), "is not a certificate authority", "take the certificates of its trust bundle")
		}
		d.roots.AddCert(root)
	}
	for _, w := range t.Workloads {
		w.Roles = slices.Clone(w.Roles)
		slices.Sort(w.Roles)
		w.Roles = slices.Compact(w.Roles)
		switch {
		case !validPath(w.Path):
			return nil, t.fault("Workloads", fmt.Sprintf("has %.200q, which is no SPIFFE path", w.Path), "write /SEGMENT/…, of letters, digits and . _ -")
		case d.byPath[w.Path].Path != "":
			return nil, t.fault("Workloads", fmt.Sprintf("has %.200q twice", w.Path), "leave one out")
		case !isKind(w.Kind) || (pavise.Name{Tenant: t.Tenant, Kind: w.Kind, ID: w.ID}).Validate() != nil:
			return nil, t.fault("Workloads", fmt.Sprintf("makes %.200q a %.80q %.80q", w.Path, w.Kind, w.ID), "take the kind human, workload or node, and an id of letters, digits and . _ @ : + -")
		case d.named[[2]string{w.Kind, w.ID}]:
			return nil, t.fault("Workloads", fmt.Sprintf("makes two paths the %s %q", w.Kind, w.ID), "give each its own name")
		case len(w.Roles) > maxRoles || slices.Contains(w.Roles, ""):
			return nil, t.fault("Workloads", fmt.Sprintf("gives %.200q an empty role, or too many", w.Path), "leave it out")
		}
		d.byPath[w.Path], d.named[[2]string{w.Kind, w.ID}] = w, true
	}
	d.voucher.leeway = t.Leeway
	d.ring.Store(&ring{until: 1<<63 - 1})
	return d, nil
}

func (t TrustDomain) check() error {
	switch {
	case !validDomain(t.Name):
		return t.fault("Name", "is not a trust domain", "write its name alone, in small letters, digits and . _ -")
	case len(t.Roots) == 0:
		return t.fault("Roots", "is empty", "take the certificates of its trust bundle")
	case t.Leeway < 0 || t.Leeway > MaxLeeway:
		return t.fault("Leeway", fmt.Sprintf("is %v", t.Leeway), fmt.Sprintf("take 0 to %v", MaxLeeway))
	case !plainWord(t.Environment):
		return t.fault("Environment", fmt.Sprintf("is %.80q", t.Environment), "write a word such as prod")
	case (pavise.Name{Tenant: t.Tenant, Kind: pavise.Workload, ID: "x"}).Validate() != nil:
		return t.fault("Tenant", fmt.Sprintf("%.80q cannot be part of a name", t.Tenant), "use letters, digits and . _ @ : + -")
	}
	return nil
}

func (t TrustDomain) fault(field, what, hint string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("trust domain %.200q: %s %s", t.Name, field, what), Hint: hint}
}

// certificate verifies the client certificate of the connection, or remembers that it
// was. The connection itself has shown that the caller has its key.
func (v *Verifier) certificate(c *Credentials) (*verified, error) {
	chain := c.TLS.PeerCertificates
	sum := sha256.Sum256(chain[0].Raw)
	now := v.now()
	if known := v.memory.get(sum); known != nil && known.good(now) {
		return known, v.epochs.admit(known)
	}
	known, err := v.judgeCertificate(chain, now)
	if err != nil {
		return nil, err
	}
	v.memory.put(sum, known)
	return known, v.epochs.admit(known)
}

// judgeCertificate verifies an X.509-SVID from the ground up (SPIFFE X.509-SVID,
// sections 4 and 5).
func (v *Verifier) judgeCertificate(chain []*x509.Certificate, now time.Time) (*verified, error) {
	leaf := chain[0]
	id, err := spiffeID(leaf)
	if err != nil {
		return nil, refuse(BadCertificate)
	}
	domainName, path, err := ParseSPIFFE(id)
	if err != nil || !signsOnly(leaf) {
		return nil, refuse(BadCertificate)
	}
	d := v.domains[domainName]
	if d == nil {
		return nil, refuse(UnknownDomain)
	}
	begins, ends, ok := d.verifies(chain, now)
	if !ok {
		return nil, refuse(BadChain)
	}
	w, ok := d.workload(path)
	if !ok {
		return nil, refuse(UnknownPath)
	}
	holding := Holding{Roles: w.Roles, Environment: d.Environment}
	if _, listed := d.byPath[path]; !listed && d.Holder != nil {
		if holding, ok = d.Holder(w.Kind, w.ID, leaf.NotBefore); !ok {
			return nil, refuse(Revoked)
		}
	}
	known := &verified{voucher: &d.voucher, begins: begins.UnixNano(), ends: ends.UnixNano()}
	known.Proof = Proof{
		Principal: pavise.Principal{
			Tenant: d.Tenant, Kind: w.Kind, ID: w.ID, Issuer: "spiffe://" + d.Name, Roles: holding.Roles,
			Proof: "mtls", Expires: leaf.NotAfter.UTC(), Environment: holding.Environment, By: holding.By,
		},
		Issued: leaf.NotBefore,
	}
	known.Subject = known.Principal.Name()
	sum := sha256.Sum256(leaf.Raw)
	known.Bound.X5T = thumb(sum[:])
	known.Origin = known.Principal.Issuer
	return known, nil
}

// signsOnly reports whether a certificate is for signing, and for nothing that only an
// authority does.
func signsOnly(leaf *x509.Certificate) bool {
	const authority = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return !leaf.IsCA && leaf.KeyUsage&x509.KeyUsageDigitalSignature != 0 && leaf.KeyUsage&authority == 0
}

// maxChain is how many certificates a caller may send.
const maxChain = 8

// verifies reports whether the chain leads to a root, and from when to when, with the
// leeway. The times of the certificates above the leaf have no leeway.
func (d *domain) verifies(chain []*x509.Certificate, now time.Time) (begins, ends time.Time, ok bool) {
	leaf := chain[0]
	begins, ends = leaf.NotBefore.Add(-d.Leeway), leaf.NotAfter.Add(d.Leeway)
	if len(chain) > maxChain || now.Before(begins) || !now.Before(ends) {
		return begins, ends, false
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	at := now // the leeway is the leaf's: a clock that is a little off is as good as its next tick
	if at.Before(leaf.NotBefore) {
		at = leaf.NotBefore
	}
	if at.After(leaf.NotAfter) {
		at = leaf.NotAfter
	}
	paths, err := leaf.Verify(x509.VerifyOptions{Roots: d.roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return begins, ends, false
	}
	last := time.Time{} // of the path that holds longest
	for _, p := range paths {
		end := ends
		for _, c := range p[1:] {
			if c.NotAfter.Before(end) {
				end = c.NotAfter
			}
		}
		if end.After(last) {
			last = end
		}
	}
	return begins, last, true
}

// workload says who the path is.
func (d *domain) workload(path string) (Workload, bool) {
	if w, ok := d.byPath[path]; ok {
		return w, true
	}
	parts := strings.Split(path, "/") // "", kind, id
	if len(parts) != 3 || !isKind(parts[1]) || d.named[[2]string{parts[1], parts[2]}] {
		return Workload{}, false
	}
	name := pavise.Name{Tenant: d.Tenant, Kind: parts[1], ID: parts[2]}
	return Workload{Path: path, Kind: name.Kind, ID: name.ID}, name.Validate() == nil
}

// The object identifier of the extension that names a certificate's subject otherwise.
var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// spiffeID returns the one URI among a certificate's names, as it is written: package
// x509 parses and prints it, which makes some ids equal that are not.
func spiffeID(c *x509.Certificate) (string, error) {
	var found []string
	extensions := 0
	for _, ext := range c.Extensions {
		if !ext.Id.Equal(subjectAltName) {
			continue
		}
		extensions++
		var names asn1.RawValue
		rest, err := asn1.Unmarshal(ext.Value, &names)
		if err != nil || len(rest) > 0 {
			return "", errors.New("the names cannot be read")
		}
		for in := names.Bytes; len(in) > 0; {
			var name asn1.RawValue
			if in, err = asn1.Unmarshal(in, &name); err != nil {
				return "", errors.New("the names cannot be read")
			}
			if name.Class == asn1.ClassContextSpecific && name.Tag == 6 {
				found = append(found, string(bytes.Clone(name.Bytes)))
			}
		}
	}
	if extensions != 1 || len(found) != 1 {
		return "", errors.New("there is not exactly one URI")
	}
	return found[0], nil
}

// The bounds of a SPIFFE id (SPIFFE-ID, section 2), in bytes.
const (
	maxSPIFFE = 2048
	maxDomain = 255
)

// ParseSPIFFE reads a SPIFFE id, spiffe://DOMAIN/PATH, as strictly as the standard has
// it: nothing is normalised, and there is no user, port, query, fragment or escape. The
// path begins with a slash and is not empty: the id of a workload. The error is of kind
// Invalid.
func ParseSPIFFE(id string) (domain, path string, err error) {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	domain, path, slash := strings.Cut(rest, "/")
	path = "/" + path
	if !ok || !slash || len(id) > maxSPIFFE || !validDomain(domain) || !validPath(path) {
		return "", "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is no SPIFFE id of a workload", id), Hint: "write spiffe://trust-domain/path; the path takes letters, digits and . _ -"}
	}
	return domain, path, nil
}

func validDomain(s string) bool {
	if s == "" || len(s) > maxDomain {
		return false
	}
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// validPath reports whether s is a path of a SPIFFE id: segments that are neither empty
// nor "." nor "..".
func validPath(s string) bool {
	rest, ok := strings.CutPrefix(s, "/")
	if !ok || len(s) > maxSPIFFE {
		return false
	}
	for segment := range strings.SplitSeq(rest, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
		for _, c := range []byte(segment) {
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}
