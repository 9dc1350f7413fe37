package login

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	mathrand "math/rand/v2"
	"net/url"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/identity"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// TestSPIFFEIDs has go-spiffe read the ids that we read: it says the same of every one,
// but that a trust domain alone is an id to it and no workload's to us.
func TestSPIFFEIDs(t *testing.T) {
	pieces := []string{"spiffe://", "SPIFFE://", "a.example", "A", "/", "//", "workload", "..", ".", "%41", "?", "#", "@", ":", "443", "_", "-", "é", " ", "\x00", "~"}
	random := mathrand.New(mathrand.NewPCG(1, 2))
	agreed := map[bool]int{}
	for n := range 200_000 {
		id := "spiffe://a.example/workload"
		if n > 0 {
			id = ""
			if random.IntN(4) > 0 {
				id = "spiffe://a"
			}
			for range 1 + random.IntN(6) {
				id += pieces[random.IntN(len(pieces))]
			}
		}
		theirs, err := spiffeid.FromString(id)
		domain, path, fault := identity.ParseSPIFFE(id)
		want := err == nil && theirs.Path() != ""
		if (fault == nil) != want {
			t.Fatalf("%q: go-spiffe says %v, we say %v", id, err, fault)
		}
		if fault == nil && (domain != theirs.TrustDomain().Name() || path != theirs.Path()) {
			t.Fatalf("%q: go-spiffe reads %v, we read %q and %q", id, theirs, domain, path)
		}
		agreed[want]++
	}
	if agreed[true] < 500 || agreed[false] < 500 {
		t.Errorf("the ids are too much alike: %v", agreed)
	}
}

// TestSVIDs has go-spiffe verify the certificates that we verify.
func TestSVIDs(t *testing.T) {
	now := time.Now()
	root, rootKey := certificate(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	bundle := x509bundle.FromX509Authorities(spiffeid.RequireTrustDomainFromString("a.example"), []*x509.Certificate{root})
	v, err := identity.New(identity.Config{Now: time.Now, Domains: []identity.TrustDomain{{Name: "a.example", Roots: []*x509.Certificate{root}, Tenant: "acme", Leeway: time.Nanosecond}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*x509.Certificate){
		"good":               func(*x509.Certificate) {},
		"an authority":       func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true },
		"signs certificates": func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign },
		"signs lists":        func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign },
		"ended":              func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) },
		"not begun":          func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) },
		"another domain":     func(c *x509.Certificate) { c.URIs[0].Host = "b.example" },
		"no name":            func(c *x509.Certificate) { c.URIs = nil },
		"two names":          func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) },
		"a port":             func(c *x509.Certificate) { c.URIs[0].Host = "a.example:443" },
		"a query":            func(c *x509.Certificate) { c.URIs[0].RawQuery = "x" },
	} {
		c := &x509.Certificate{
			NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
			URIs: []*url.URL{{Scheme: "spiffe", Host: "a.example", Path: "/workload/x"}},
		}
		edit(c)
		leaf, _ := certificate(t, c, root, rootKey)
		_, _, theirs := x509svid.Verify([]*x509.Certificate{leaf}, bundle)
		_, ours := v.Verify(t.Context(), identity.Credentials{TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}})
		if (theirs == nil) != (ours == nil) || (ours == nil) != (name == "good") {
			t.Errorf("%s: go-spiffe says %v, we say %v", name, theirs, ours)
		}
	}
}

func certificate(t *testing.T, c, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(1)
	if parent == nil {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}
