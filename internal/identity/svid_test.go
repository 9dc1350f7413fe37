package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// A forest is a certificate authority of a trust domain, with one below it.
type forest struct {
	root, between       *x509.Certificate
	rootKey, betweenKey *ecdsa.PrivateKey
}

func newForest(t testing.TB) *forest {
	f := &forest{rootKey: newECKey(t), betweenKey: newECKey(t)}
	ca := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}
	}
	f.root = issue(t, ca("root"), ca("root"), f.rootKey, f.rootKey)
	f.between = issue(t, ca("between"), f.root, f.betweenKey, f.rootKey)
	return f
}

func newECKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func issue(t testing.TB, c, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// leaf issues an SVID under the root.
func (f *forest) leaf(t testing.TB, id string, edit func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	return f.leafOf(t, id, newECKey(t), f.root, f.rootKey, edit)
}

func (f *forest) leafOf(t testing.TB, id string, key *ecdsa.PrivateKey, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, edit func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: noon.Add(-time.Minute), NotAfter: noon.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, ExtraExtensions: names(t, id),
	}
	if edit != nil {
		edit(c)
	}
	return issue(t, c, parent, key, parentKey)
}

// names is the extension with these URIs, as they are written.
func names(t testing.TB, ids ...string) []pkix.Extension {
	t.Helper()
	var list []asn1.RawValue
	for _, id := range ids {
		list = append(list, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(id)})
	}
	der, err := asn1.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return []pkix.Extension{{Id: subjectAltName, Critical: true, Value: der}}
}

func (f *forest) domain() TrustDomain {
	return TrustDomain{
		Name: "prod.acme.example", Roots: []*x509.Certificate{f.root}, Tenant: "acme", Environment: "prod",
		Workloads: []Workload{
			{Path: "/ns/ml/sa/trainer", Kind: pavise.Workload, ID: "ml-trainer", Roles: []string{"caller", "analyst", "caller"}},
			{Path: "/workload/gateway", Kind: pavise.Workload, ID: "gateway", Roles: []string{"caller"}},
		},
	}
}

func connection(chain ...*x509.Certificate) Credentials {
	return Credentials{Method: "POST", URL: "/v1/x", TLS: &tls.ConnectionState{PeerCertificates: chain}}
}

func TestSVID(t *testing.T) {
	f := newForest(t)
	v, c := bound(t, func(c *Config) { c.Domains = []TrustDomain{f.domain()} })
	for id, want := range map[string]string{
		"spiffe://prod.acme.example/workload/trainer": "acme/workload/trainer ",
		"spiffe://prod.acme.example/human/alice":      "acme/human/alice ",
		"spiffe://prod.acme.example/node/gpu-1.b_2":   "acme/node/gpu-1.b_2 ",
		"spiffe://prod.acme.example/ns/ml/sa/trainer": "acme/workload/ml-trainer analyst,caller",
		"spiffe://prod.acme.example/workload/gateway": "acme/workload/gateway caller",
		"spiffe://prod.acme.example/workload/Trainer": "acme/workload/Trainer ",
	} {
		leaf := f.leaf(t, id, nil)
		for range 2 { // verified, then remembered
			who, err := v.Verify(t.Context(), connection(leaf))
			if err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			if got := who.Name().String() + " " + strings.Join(who.Roles, ","); got != want || who.Proof != "mtls" || who.Environment != "prod" ||
				!who.Expires.Equal(leaf.NotAfter) || who.Issuer != "spiffe://prod.acme.example" {
				t.Errorf("%s proves %+v, want %s", id, who, want)
			}
		}
	}
	key := newECKey(t)
	below := f.leafOf(t, "spiffe://prod.acme.example/workload/deep", key, f.between, f.betweenKey, nil)
	if _, err := v.Verify(t.Context(), connection(below, f.between)); err != nil {
		t.Errorf("below an authority below the root: %v", err)
	}
	c.move(time.Hour + DefaultLeeway - time.Second)
	if _, err := v.Verify(t.Context(), connection(below)); err != nil { // remembered
		t.Errorf("within the leeway: %v", err)
	}
	c.move(time.Second)
	_, err := v.Verify(t.Context(), connection(below, f.between))
	wantRefusal(t, err, BadChain)
}

// TestSVIDRefuses is the table of client certificates that prove nobody.
func TestSVIDRefuses(t *testing.T) {
	f, stranger := newForest(t), newForest(t)
	const id = "spiffe://prod.acme.example/workload/trainer"
	leaf := func(edit func(*x509.Certificate)) []*x509.Certificate {
		return []*x509.Certificate{f.leaf(t, id, edit)}
	}
	named := func(ids ...string) []*x509.Certificate {
		return leaf(func(c *x509.Certificate) { c.ExtraExtensions = names(t, ids...) })
	}
	for _, tt := range []struct {
		name  string
		chain []*x509.Certificate
		want  Reason
	}{
		{"no name", leaf(func(c *x509.Certificate) { c.ExtraExtensions = nil; c.Subject.CommonName = id }), BadCertificate},
		{"a DNS name", leaf(func(c *x509.Certificate) { c.ExtraExtensions = nil; c.DNSNames = []string{"trainer.acme.example"} }), BadCertificate},
		{"two ids", named(id, "spiffe://prod.acme.example/human/alice"), BadCertificate},
		{"the same id twice", named(id, id), BadCertificate},
		{"an id and another URI", named(id, "https://acme.example"), BadCertificate},
		{"another scheme", named("https://prod.acme.example/workload/trainer"), BadCertificate},
		{"the scheme in capitals", named("SPIFFE://prod.acme.example/workload/trainer"), BadCertificate},
		{"the domain in capitals", named("spiffe://PROD.acme.example/workload/trainer"), BadCertificate},
		{"a port", named("spiffe://prod.acme.example:443/workload/trainer"), BadCertificate},
		{"a user", named("spiffe://a@prod.acme.example/workload/trainer"), BadCertificate},
		{"a query", named(id + "?x=1"), BadCertificate},
		{"an empty query", named(id + "?"), BadCertificate},
		{"a fragment", named(id + "#x"), BadCertificate},
		{"an escape", named("spiffe://prod.acme.example/workload/%74rainer"), BadCertificate},
		{"no path", named("spiffe://prod.acme.example"), BadCertificate},
		{"an empty path", named("spiffe://prod.acme.example/"), BadCertificate},
		{"a slash at the end", named(id + "/"), BadCertificate},
		{"two slashes", named("spiffe://prod.acme.example//workload/trainer"), BadCertificate},
		{"dots", named("spiffe://prod.acme.example/human/../workload/trainer"), BadCertificate},
		{"no domain", named("spiffe:///workload/trainer"), BadCertificate},
		{"a long id", named("spiffe://prod.acme.example/workload/" + strings.Repeat("a", maxSPIFFE)), BadCertificate},

		{"an authority", leaf(func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign }), BadCertificate},
		{"an authority that does not say so", leaf(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }), BadCertificate},
		{"for encryption", leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), BadCertificate},
		{"for nothing that is said", leaf(func(c *x509.Certificate) { c.KeyUsage = 0 }), BadCertificate},
		{"the root itself", []*x509.Certificate{f.root}, BadCertificate},

		{"another trust domain", named("spiffe://evil.example/workload/trainer"), UnknownDomain},
		{"a domain below ours", named("spiffe://x.prod.acme.example/workload/trainer"), UnknownDomain},
		{"a stranger's authority", []*x509.Certificate{stranger.leaf(t, id, nil)}, BadChain},
		{"a stranger's authority, sent along", []*x509.Certificate{stranger.leaf(t, id, nil), stranger.root}, BadChain},
		{"without the authority between", []*x509.Certificate{f.leafOf(t, id, newECKey(t), f.between, f.betweenKey, nil)}, BadChain},
		{"ended", leaf(func(c *x509.Certificate) { c.NotAfter = noon.Add(-DefaultLeeway) }), BadChain},
		{"not begun", leaf(func(c *x509.Certificate) { c.NotBefore = noon.Add(DefaultLeeway + time.Second) }), BadChain},
		{"for servers only", leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), BadChain},
		{"a long chain", append(leaf(nil), f.root, f.root, f.root, f.root, f.root, f.root, f.root, f.root), BadChain},

		{"a path of another sort", named("spiffe://prod.acme.example/ns/ml/sa/other"), UnknownPath},
		{"a kind of its own", named("spiffe://prod.acme.example/admin/trainer"), UnknownPath},
		{"the kind alone", named("spiffe://prod.acme.example/workload"), UnknownPath},
		{"a name that the record gives to another", named("spiffe://prod.acme.example/workload/ml-trainer"), UnknownPath},
		{"an id that is no name", named("spiffe://prod.acme.example/workload/_x"), UnknownPath},
		{"an id that is too long", named("spiffe://prod.acme.example/workload/" + strings.Repeat("a", 129)), UnknownPath},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, _ := bound(t, func(c *Config) { c.Domains = []TrustDomain{f.domain()} })
			_, err := v.Verify(t.Context(), connection(tt.chain...))
			wantRefusal(t, err, tt.want)
		})
	}
}

// TestRootsThatEnd: what is remembered of a certificate ends with the authority above.
func TestRootsThatEnd(t *testing.T) {
	f := newForest(t)
	v, c := bound(t, func(c *Config) { c.Domains = []TrustDomain{f.domain()} })
	leaf := f.leaf(t, "spiffe://prod.acme.example/workload/trainer", func(c *x509.Certificate) { c.NotAfter = noon.Add(48 * time.Hour) })
	if _, err := v.Verify(t.Context(), connection(leaf)); err != nil {
		t.Fatal(err)
	}
	c.move(24*time.Hour + time.Second)
	_, err := v.Verify(t.Context(), connection(leaf))
	wantRefusal(t, err, BadChain)
}

func TestRevokedCertificate(t *testing.T) {
	f := newForest(t)
	epochs := NewEpochs()
	v, _ := bound(t, func(c *Config) { c.Domains, c.Epochs = []TrustDomain{f.domain()}, epochs })
	leaf := f.leaf(t, "spiffe://prod.acme.example/workload/trainer", nil)
	if _, err := v.Verify(t.Context(), connection(leaf)); err != nil {
		t.Fatal(err)
	}
	if err := epochs.Revoke(Epoch{Tenant: "acme", Issuer: "spiffe://prod.acme.example", Before: noon}); err != nil {
		t.Fatal(err)
	}
	_, err := v.Verify(t.Context(), connection(leaf))
	wantRefusal(t, err, Revoked)
}

// TestTokenBesideCertificate: a token that is refused is not made up for by the
// certificate that it came over.
func TestTokenBesideCertificate(t *testing.T) {
	f := newForest(t)
	v, _ := bound(t, func(c *Config) { c.Domains = []TrustDomain{f.domain()} })
	c := connection(f.leaf(t, "spiffe://prod.acme.example/workload/trainer", nil))
	c.Authorization = []string{"Bearer x"}
	_, err := v.Verify(t.Context(), c)
	wantRefusal(t, err, Malformed)
	c.Authorization = []string{"Basic x"}
	_, err = v.Verify(t.Context(), c)
	wantRefusal(t, err, Missing)
}

// TestOverTLS is a real connection: the caller has the key, or gets no connection.
func TestOverTLS(t *testing.T) {
	f := newForest(t)
	v, _ := bound(t, func(c *Config) { c.Domains = []TrustDomain{f.domain()} })
	got := make(chan error, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := v.Verify(r.Context(), FromRequest(r))
		if err == nil && who.ID != "trainer" {
			t.Errorf("the connection proves %+v", who)
		}
		got <- err
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	defer s.Close()
	key := newECKey(t)
	leaf := f.leafOf(t, "spiffe://prod.acme.example/workload/trainer", key, f.root, f.rootKey, nil)
	call := func(certs ...tls.Certificate) error {
		client := s.Client()
		transport := client.Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = certs
		defer transport.CloseIdleConnections()
		answer, err := (&http.Client{Transport: transport}).Get(s.URL)
		if err != nil {
			return err
		}
		answer.Body.Close()
		return <-got
	}
	if err := call(tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}); err != nil {
		t.Errorf("with its key: %v", err)
	}
	wantRefusal(t, call(), Missing)
	if err := call(tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: newECKey(t)}); err == nil {
		t.Error("another's certificate was good")
	}
}

func TestTrustDomainRefuses(t *testing.T) {
	f := newForest(t)
	leaf := f.leaf(t, "spiffe://prod.acme.example/workload/a", nil)
	w := func(path, kind, id string, roles ...string) []Workload {
		return []Workload{{Path: path, Kind: kind, ID: id, Roles: roles}}
	}
	for _, tt := range []struct {
		name string
		edit func(*TrustDomain)
		msg  string
	}{
		{"no name", func(d *TrustDomain) { d.Name = "" }, "Name is not a trust domain"},
		{"a whole id", func(d *TrustDomain) { d.Name = "spiffe://a" }, "Name is not a trust domain"},
		{"capitals", func(d *TrustDomain) { d.Name = "A" }, "Name is not a trust domain"},
		{"no roots", func(d *TrustDomain) { d.Roots = nil }, "Roots is empty"},
		{"a leaf as root", func(d *TrustDomain) { d.Roots = []*x509.Certificate{leaf} }, "root 0 is not a certificate authority"},
		{"no root as root", func(d *TrustDomain) { d.Roots = []*x509.Certificate{nil} }, "root 0 is not a certificate authority"},
		{"no tenant", func(d *TrustDomain) { d.Tenant = "" }, "Tenant"},
		{"an environment in words", func(d *TrustDomain) { d.Environment = "a b" }, "Environment"},
		{"long leeway", func(d *TrustDomain) { d.Leeway = time.Hour }, "Leeway"},
		{"a path with dots", func(d *TrustDomain) { d.Workloads = w("/a/../b", "workload", "b") }, "no SPIFFE path"},
		{"a path twice", func(d *TrustDomain) { d.Workloads = append(w("/a", "workload", "a"), w("/a", "workload", "b")...) }, "twice"},
		{"a name twice", func(d *TrustDomain) { d.Workloads = append(w("/a", "workload", "a"), w("/b", "workload", "a")...) }, "makes two paths"},
		{"another kind", func(d *TrustDomain) { d.Workloads = w("/a", "admin", "a") }, "makes"},
		{"an id with a slash", func(d *TrustDomain) { d.Workloads = w("/a", "workload", "a/b") }, "makes"},
		{"an empty role", func(d *TrustDomain) { d.Workloads = w("/a", "workload", "a", "") }, "an empty role"},
	} {
		d := f.domain()
		tt.edit(&d)
		_, err := New(Config{Now: time.Now, Domains: []TrustDomain{d}})
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		wantInvalid(t, err, tt.msg)
	}
	if _, err := New(Config{Now: time.Now, Domains: []TrustDomain{f.domain(), f.domain()}}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("two records of one domain: %v", err)
	}
}

// FuzzSPIFFE: an id that is taken is one that nothing about it could be read otherwise.
func FuzzSPIFFE(f *testing.F) {
	f.Add("spiffe://prod.acme.example/workload/trainer")
	f.Add("spiffe://a/b?c")
	f.Add("spiffe://a:1/b")
	f.Add("spiffe://a//b")
	f.Fuzz(func(t *testing.T, id string) {
		domain, path, err := ParseSPIFFE(id)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatalf("error %v is not invalid", err)
			}
			return
		}
		u, err := url.Parse(id)
		if err != nil || u.String() != id || u.Host != domain || u.Path != path || "spiffe://"+domain+path != id || strings.Contains(path, "..") && strings.Contains(path, "/../") {
			t.Fatalf("%q is %q and %q, and for package url %+v, %v", id, domain, path, u, err)
		}
	})
}
