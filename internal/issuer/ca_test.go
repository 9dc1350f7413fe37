package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// An authority is a CA with all that it stands on, and a clock.
type authority struct {
	*CA
	log *memory
	cfg CAConfig
	mu  sync.Mutex
	now time.Time
}

func (a *authority) clock() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

func (a *authority) pass(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = a.now.Add(d)
}

// caPolicies are what an operator and those who join may do here.
const caPolicies = `
permit (principal in Role::"operator", action in [Action::"node", Action::"person", Action::"ca"], resource);
permit (principal, action in [Action::"node.join", Action::"node.renew"], resource is Holder);`

func caActions() []guard.Action {
	on := []string{KindHolder}
	return []guard.Action{
		{Verb: "node.invite", On: on}, {Verb: "node.join", On: on}, {Verb: "node.renew", On: on, Class: guard.Pooled},
		{Verb: "node.list", On: on, Class: guard.Pooled}, {Verb: "node.revoke", On: on, Safe: true}, {Verb: "node.roles", On: on},
		{Verb: "person.invite", On: on, Consequential: true}, {Verb: "ca.list", On: []string{"ca"}, Class: guard.Pooled}, {Verb: "ca.rotate", On: []string{"ca"}},
	}
}

func newAuthority(t *testing.T, at time.Time, edit ...func(*CAConfig)) *authority {
	t.Helper()
	a := &authority{log: &memory{}, now: at}
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g, err := guard.New(guard.Config{Actions: caActions(), Log: a.log, Now: a.clock, Approved: func(pavise.Name, string, pavise.Name) bool { return true }})
	must(err)
	texts := map[string]string{}
	for i, text := range strings.SplitAfter(strings.TrimSpace(caPolicies), ";\n") {
		texts[fmt.Sprintf("p%d", i)] = text
	}
	must(g.Load("local", texts))
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	must(err)
	db, err := store.Open(t.Context(), filepath.Join(dir, "db"))
	must(err)
	t.Cleanup(func() { db.Close() })
	a.cfg = CAConfig{
		Guard: g, Store: db, KEK: kek, Dir: filepath.Join(dir, "ca"), TrustDomain: "prod.acme.example", Tenant: "local",
		URL: "https://127.0.0.1:1", Machine: []string{"caller"}, Now: a.clock,
	}
	for _, e := range edit {
		e(&a.cfg)
	}
	a.CA, err = OpenCA(t.Context(), a.cfg)
	must(err)
	_, err = a.Own("control", nil, []net.IP{net.IPv4(127, 0, 0, 1)})
	must(err)
	return a
}

func (a *authority) operator() pavise.Principal {
	who := operator(pavise.Human)
	who.Expires = a.clock().Add(time.Hour)
	return who
}

func (a *authority) invite(t *testing.T, inv Invite) string {
	t.Helper()
	if inv.Kind == "" {
		inv.Kind = pavise.Node
	}
	out, err := a.Invite(t.Context(), a.operator(), inv)
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := parseTicket(out.Text)
	if err != nil {
		t.Fatal(err)
	}
	return ticket.word
}

func p256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := Request(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (a *authority) join(t *testing.T, inv Invite, key crypto.Signer) *x509.Certificate {
	t.Helper()
	out, err := a.Join(t.Context(), "192.0.2.1", a.invite(t, inv), request(t, key))
	if err != nil {
		t.Fatal(err)
	}
	return leafOf(t, out)
}

func leafOf(t *testing.T, out Issued) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(out.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// caller is the holder of a certificate, as identity would know it.
func (a *authority) caller(leaf *x509.Certificate) pavise.Principal {
	_, id, _ := strings.Cut(leaf.URIs[0].Path[1:], "/")
	kind, _, _ := strings.Cut(leaf.URIs[0].Path[1:], "/")
	return pavise.Principal{Tenant: "local", Kind: kind, ID: id, Issuer: "spiffe://prod.acme.example", Proof: "mtls", Expires: leaf.NotAfter}
}

// TestCertificates looks at what a certificate says, of each kind.
func TestCertificates(t *testing.T) {
	a := newAuthority(t, noon)
	root := a.Roots()[0]
	if !root.IsCA || !root.MaxPathLenZero || root.URIs[0].String() != "spiffe://prod.acme.example" || root.NotAfter.Sub(noon) != rootLife || root.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("root %+v", root)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	serials := map[string]bool{}
	for kind, want := range map[string]int{pavise.Node: 2, pavise.Workload: 2} {
		c := a.join(t, Invite{Kind: kind, ID: "m-1", DNS: []string{"m-1.acme.example"}, IPs: []net.IP{net.ParseIP("192.0.2.7")}}, p256(t))
		if c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature || len(c.ExtKeyUsage) != want || len(c.URIs) != 1 || c.URIs[0].String() != "spiffe://prod.acme.example/"+kind+"/m-1" {
			t.Errorf("%s: %v %v %v", kind, c.URIs, c.KeyUsage, c.ExtKeyUsage)
		}
		if len(c.DNSNames) != 1 || len(c.IPAddresses) != 1 || !c.NotBefore.Equal(noon.Add(-backdate)) || !c.NotAfter.Equal(noon.Add(DefaultLeaf)) {
			t.Errorf("%s: %v %v %v to %v", kind, c.DNSNames, c.IPAddresses, c.NotBefore, c.NotAfter)
		}
		if c.SerialNumber.BitLen() < 96 || c.SerialNumber.BitLen() > 129 || serials[c.SerialNumber.String()] {
			t.Errorf("%s: serial %v", kind, c.SerialNumber)
		}
		serials[c.SerialNumber.String()] = true
		if _, err := c.Verify(x509.VerifyOptions{Roots: pool, DNSName: "m-1.acme.example", CurrentTime: noon, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestRequestsThatAreRefused sends certificate requests that ask for more, or prove
// nothing. The invitation stays good, ten times.
func TestRequestsThatAreRefused(t *testing.T) {
	a := newAuthority(t, noon)
	key := p256(t)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	big, _ := rsa.GenerateKey(rand.Reader, 2048)
	make := func(key crypto.Signer, template x509.CertificateRequest) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	spiffe := func(id string) []*url.URL { u, _ := url.Parse(id); return []*url.URL{u} }
	forged := make(key, x509.CertificateRequest{})
	forged[len(forged)-3] ^= 1
	for name, tt := range map[string]struct {
		csr  []byte
		kind pavise.Kind
	}{
		"nothing":                 {nil, pavise.Invalid},
		"no request":              {[]byte("csr"), pavise.Invalid},
		"too long":                {append(make(key, x509.CertificateRequest{}), strings.Repeat("x", maxRequest)...), pavise.Invalid},
		"signed by nobody":        {forged, pavise.Unverified},
		"P-521":                   {make(p521, x509.CertificateRequest{}), pavise.Invalid},
		"P-224":                   {make(p224, x509.CertificateRequest{}), pavise.Invalid},
		"RSA":                     {make(big, x509.CertificateRequest{}), pavise.Invalid},
		"a name of its own":       {make(key, x509.CertificateRequest{DNSNames: []string{"control.acme.example"}}), pavise.Denied},
		"a name too many":         {make(key, x509.CertificateRequest{DNSNames: []string{"gw.acme.example", "*.acme.example"}}), pavise.Denied},
		"an address":              {make(key, x509.CertificateRequest{IPAddresses: []net.IP{net.ParseIP("10.0.0.1")}}), pavise.Denied},
		"another's SPIFFE id":     {make(key, x509.CertificateRequest{URIs: spiffe("spiffe://prod.acme.example/node/control")}), pavise.Denied},
		"another trust domain":    {make(key, x509.CertificateRequest{URIs: spiffe("spiffe://dev.acme.example/node/gw-1")}), pavise.Denied},
		"its own id, and another": {make(key, x509.CertificateRequest{URIs: append(spiffe("spiffe://prod.acme.example/node/gw-1"), spiffe("spiffe://prod.acme.example/human/ana")...)}), pavise.Denied},
		"an address of mail":      {make(key, x509.CertificateRequest{EmailAddresses: []string{"root@acme.example"}}), pavise.Denied},
	} {
		word := a.invite(t, Invite{ID: "gw-1", DNS: []string{"gw.acme.example"}})
		_, err := a.Join(t.Context(), "192.0.2.1", word, tt.csr)
		if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != tt.kind || e.Hint == "" {
			t.Errorf("%s: %v (%v), want %v", name, err, pavise.KindOf(err), tt.kind)
		}
		out, err := a.Join(t.Context(), "192.0.2.1", word, make(key, x509.CertificateRequest{DNSNames: []string{"gw.acme.example"}, URIs: spiffe("spiffe://prod.acme.example/node/gw-1")}))
		if err != nil {
			t.Errorf("%s: a good request afterwards: %v", name, err)
			continue
		}
		if c := leafOf(t, out); len(c.DNSNames) != 1 || len(c.URIs) != 1 {
			t.Errorf("%s: %v %v", name, c.DNSNames, c.URIs)
		}
		if err := a.Revoke(t.Context(), a.operator(), pavise.Node, "gw-1"); err != nil {
			t.Fatal(err)
		}
		a.pass(time.Second)
	}
	word := a.invite(t, Invite{ID: "gw-1"})
	for range maxTries {
		a.Join(t.Context(), "192.0.2.1", word, nil)
	}
	if _, err := a.Join(t.Context(), "192.0.2.1", word, request(t, key)); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("after %d tries: %v", maxTries, err)
	}
}

// TestKeysThatAreTaken has each type of key on the list join.
func TestKeysThatAreTaken(t *testing.T) {
	a := newAuthority(t, noon)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range []crypto.Signer{p256(t), p384, ed} {
		a.join(t, Invite{ID: fmt.Sprintf("m-%d", i)}, key)
	}
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Request(big); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a request for an RSA key: %v", err)
	}
}

// TestWordsThatAreRefused tries words that are none, or none any more. All are answered
// alike.
func TestWordsThatAreRefused(t *testing.T) {
	a := newAuthority(t, noon)
	good := a.invite(t, Invite{ID: "gw-1", TTL: 10 * time.Minute})
	csr := request(t, p256(t))
	raw, err := textEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(i int) string {
		b := append([]byte(nil), raw...)
		b[i] ^= 1
		return textEncoding.EncodeToString(b)
	}
	said := map[string]bool{}
	refused := func(name, word string) {
		t.Helper()
		_, err := a.Join(t.Context(), "192.0.2."+name, word, csr)
		if pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: %v", name, err)
			return
		}
		said[err.Error()] = true
	}
	for i := range raw {
		refused(fmt.Sprintf("byte %d", i), flip(i))
	}
	for name, word := range map[string]string{"empty": "", "cut": good[:42], "find alone": textEncoding.EncodeToString(raw[:findSize]), "longer": good + "A", "padded": good + "=", "two lines": good[:20] + "\n" + good[20:], "SQL": "' OR 1=1 --"} {
		refused(name, word)
	}
	a.pass(10 * time.Minute)
	refused("too late", good)
	a.pass(-10 * time.Minute)
	again := a.invite(t, Invite{ID: "gw-1"})
	refused("replaced by another", good)
	if err := a.Revoke(t.Context(), a.operator(), pavise.Node, "gw-1"); err != nil {
		t.Fatal(err)
	}
	refused("taken back", again)
	if len(said) != 1 {
		t.Errorf("answers differ: %v", said)
	}
}

// TestInvitesThatAreRefused is the table of invitations that nobody may make.
func TestInvitesThatAreRefused(t *testing.T) {
	a := newAuthority(t, noon)
	a.join(t, Invite{ID: "taken"}, p256(t))
	for name, tt := range map[string]struct {
		inv  Invite
		kind pavise.Kind
	}{
		"a person":                {Invite{Kind: pavise.Human, ID: "eve"}, pavise.Denied},
		"another kind":            {Invite{Kind: "root", ID: "eve"}, pavise.Invalid},
		"no id":                   {Invite{}, pavise.Invalid},
		"an id of two segments":   {Invite{ID: "a:b"}, pavise.Invalid},
		"an id with @":            {Invite{ID: "gw@acme"}, pavise.Invalid},
		"a role beyond machines'": {Invite{ID: "gw", Roles: []string{"operator"}}, pavise.Denied},
		"the control plane":       {Invite{ID: "control"}, pavise.Conflict},
		"who has joined":          {Invite{ID: "taken"}, pavise.Conflict},
		"a wildcard":              {Invite{ID: "gw", DNS: []string{"*.acme.example"}}, pavise.Invalid},
		"a name that is none":     {Invite{ID: "gw", DNS: []string{"gw acme"}}, pavise.Invalid},
		"an address as a name":    {Invite{ID: "gw", DNS: []string{"10.0.0.1"}}, pavise.Invalid},
		"every address":           {Invite{ID: "gw", IPs: []net.IP{net.IPv4zero}}, pavise.Invalid},
		"too many names":          {Invite{ID: "gw", DNS: strings.Fields(strings.Repeat("gw.example ", maxNames+1))}, pavise.Invalid},
		"open for a second":       {Invite{ID: "gw", TTL: time.Second}, pavise.Invalid},
		"open for a month":        {Invite{ID: "gw", TTL: 720 * time.Hour}, pavise.Invalid},
		"a key that is none":      {Invite{ID: "gw", Key: "sha256:00"}, pavise.Invalid},
		"an environment of two":   {Invite{ID: "gw", Environment: "prod dev"}, pavise.Invalid},
	} {
		if tt.inv.Kind == "" {
			tt.inv.Kind = pavise.Node
		}
		if out, err := a.Invite(t.Context(), a.operator(), tt.inv); pavise.KindOf(err) != tt.kind || out != (Invitation{}) {
			t.Errorf("%s: %v, %v, want %v", name, out, err, tt.kind)
		}
	}
	nobody := a.operator()
	nobody.Roles = nil
	if _, err := a.Invite(t.Context(), nobody, Invite{Kind: pavise.Node, ID: "gw"}); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("by nobody in particular: %v", err)
	}
}

// TestRenewal renews again and again, over a lost answer, and finds a copy out.
func TestRenewal(t *testing.T) {
	a := newAuthority(t, noon)
	key := p256(t)
	first := a.join(t, Invite{ID: "gw-1", Roles: []string{"caller"}}, key)
	renew := func(leaf *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
		out, err := a.Renew(t.Context(), a.caller(leaf), leaf, request(t, key))
		if err != nil {
			return nil, err
		}
		return leafOf(t, out), nil
	}
	a.pass(12 * time.Hour)
	second, err := renew(first, key)
	if err != nil || !second.NotAfter.Equal(noon.Add(36*time.Hour)) || second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Fatalf("renewed until %v: %v", second, err)
	}
	if _, err := renew(first, key); err != nil {
		t.Fatalf("again, for the answer was lost: %v", err)
	}
	third, err := renew(first, p256(t))
	if err != nil {
		t.Fatalf("and with another key: %v", err)
	}
	fourth, err := renew(third, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := renew(first, key); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("a copy of the first one: %v", err)
	}
	copied := 0
	for _, r := range a.log.records {
		if r.Kind == KindCopied && r.Phase == record.Note {
			copied++
		}
	}
	if copied != 1 {
		t.Errorf("%d findings of a copy", copied)
	}
	stranger := a.caller(fourth)
	stranger.ID = "gw-2"
	if _, err := a.Renew(t.Context(), stranger, fourth, request(t, key)); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("with another's certificate: %v", err)
	}
	bearer := a.caller(fourth)
	bearer.Proof = "bearer"
	if _, err := a.Renew(t.Context(), bearer, fourth, request(t, key)); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("with a token: %v", err)
	}
	if _, err := a.Renew(t.Context(), a.caller(fourth), nil, request(t, key)); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("with no certificate: %v", err)
	}
	if err := a.Revoke(t.Context(), a.operator(), pavise.Node, "gw-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := renew(fourth, key); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("revoked: %v", err)
	}
}

// TestMembership revokes a holder and has it join anew: no certificate of the first
// time counts in the second, even when all happens within one second.
func TestMembership(t *testing.T) {
	a := newAuthority(t, noon)
	changes := 0
	a.OnChange(func() { changes++ })
	first := a.join(t, Invite{ID: "gw-1", Environment: "prod", Roles: []string{"caller"}}, p256(t))
	h, ok := a.Holders().Lookup(pavise.Node, "gw-1", first.NotBefore)
	if !ok || h.Roles[0] != "caller" || h.Environment != "prod" || h.By.String() != "local/human/olga" || changes != 1 {
		t.Fatalf("%+v, %t, %d changes", h, ok, changes)
	}
	if err := a.Revoke(t.Context(), a.operator(), pavise.Node, "gw-1"); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Holders().Lookup(pavise.Node, "gw-1", first.NotBefore); ok || changes != 2 {
		t.Errorf("revoked, and may act; %d changes", changes)
	}
	second := a.join(t, Invite{ID: "gw-1"}, p256(t))
	if _, ok := a.Holders().Lookup(pavise.Node, "gw-1", first.NotBefore); ok {
		t.Error("a certificate from before the revocation counts again")
	}
	if h, ok := a.Holders().Lookup(pavise.Node, "gw-1", second.NotBefore); !ok || len(h.Roles) != 0 {
		t.Errorf("the second time: %+v", h)
	}
	if err := a.SetRoles(t.Context(), a.operator(), pavise.Node, "gw-1", []string{"analyst"}, func(*store.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	again, err := OpenCA(t.Context(), a.cfg) // a restart
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(again.Holders())
	if err != nil {
		t.Fatal(err)
	}
	told, err := ParseHolders(text) // what a gateway is told
	if err != nil {
		t.Fatal(err)
	}
	if h, ok := told.Lookup(pavise.Node, "gw-1", second.NotBefore); !ok || h.Roles[0] != "analyst" {
		t.Errorf("at a gateway: %+v", h)
	}
	for name, bad := range map[string]string{
		"no list": `{}`, "twice": `[` + strings.Trim(string(text), "[]") + `,` + strings.Trim(string(text), "[]") + `]`,
		"another kind": strings.Replace(string(text), `"node"`, `"root"`, 1), "an id like a path": strings.Replace(string(text), `"gw-1"`, `"../gw"`, 1),
		"who has not joined": `[{"kind":"node","id":"x","roles":[]}]`,
	} {
		if _, err := ParseHolders([]byte(bad)); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := a.Revoke(t.Context(), a.operator(), pavise.Node, "nobody"); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("revoked nobody: %v", err)
	}
}

// TestRotation walks a root through its life, and a leaf of each root through that.
func TestRotation(t *testing.T) {
	a := newAuthority(t, noon)
	own, err := a.Own("second", []string{"localhost"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	step := func(name string) error {
		return a.Rotate(t.Context(), a.operator(), name, func(*store.Tx) error { return nil })
	}
	good := func(c *x509.Certificate) bool {
		pool := x509.NewCertPool()
		for _, r := range a.Roots() {
			pool.AddCert(r)
		}
		_, err := c.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: noon, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return err == nil
	}
	old := a.join(t, Invite{ID: "old"}, p256(t))
	was := a.Fingerprint()
	before, err := own.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, early := range []string{StepActivate, StepRetire, "burn", ""} {
		if err := step(early); pavise.KindOf(err) != pavise.Conflict && pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q at first: %v", early, err)
		}
	}
	if err := step(StepPrepare); err != nil || a.Fingerprint() != was || len(a.Roots()) != 2 {
		t.Fatalf("prepared: %v, %d roots", err, len(a.Roots()))
	}
	if err := step(StepPrepare); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("prepared twice: %v", err)
	}
	if err := step(StepActivate); err != nil || a.Fingerprint() == was {
		t.Fatalf("activated: %v", err)
	}
	fresh := a.join(t, Invite{ID: "new"}, p256(t))
	if after, err := own.Get(nil); err != nil || after == before || !good(after.Leaf) {
		t.Errorf("the control plane's own certificate: %v", err)
	}
	if !good(old) || !good(fresh) {
		t.Error("between the roots, one of two is not believed")
	}
	if err := step(StepRetire); err != nil || good(old) || !good(fresh) || len(a.Roots()) != 1 {
		t.Errorf("retired: %v; old %t, new %t", err, good(old), good(fresh))
	}
	reopened, err := OpenCA(t.Context(), a.cfg)
	if err != nil || reopened.Fingerprint() != a.Fingerprint() {
		t.Errorf("after a restart: %v", err)
	}
	roots, err := a.ListRoots(t.Context(), a.operator())
	if err != nil || len(roots) != 1 || roots[0].State != rootSigns || roots[0].N != 2 {
		t.Errorf("%+v, %v", roots, err)
	}
}

// TestRootKeysAreWatched opens the CA over key files that are not its own.
func TestRootKeysAreWatched(t *testing.T) {
	a := newAuthority(t, noon)
	path := filepath.Join(a.cfg.Dir, "ca-1.key")
	b, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(b), "EC") {
		t.Fatalf("the key lies in the clear: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCA(t.Context(), a.cfg); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("with a key made anew in its place: %v", err)
	}
	token, err := a.cfg.KEK.LoadOrCreate(filepath.Join(a.cfg.Dir, "token"), seal.PurposeToken, func() ([]byte, error) { return make([]byte, 32), nil })
	if err != nil || len(token) != 32 {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(a.cfg.Dir, "token"), path); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCA(t.Context(), a.cfg); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("with a token key in its place: %v", err)
	}
}

// TestNoRecordNoCertificate makes the log fail before and after each act.
func TestNoRecordNoCertificate(t *testing.T) {
	for _, phase := range []string{record.Enter, record.Exit} {
		a := newAuthority(t, noon)
		word := a.invite(t, Invite{ID: "gw-1"})
		a.log.full = phase
		if out, err := a.Join(t.Context(), "192.0.2.1", word, request(t, p256(t))); pavise.KindOf(err) != pavise.Unavailable || len(out.Chain) > 0 {
			t.Errorf("without its %s record, Join = %v, %v", phase, out, err)
		}
		if out, err := a.Invite(t.Context(), a.operator(), Invite{Kind: pavise.Node, ID: "gw-2"}); pavise.KindOf(err) != pavise.Unavailable || out.Text != "" {
			t.Errorf("without its %s record, Invite = %v, %v", phase, out, err)
		}
	}
	a := newAuthority(t, noon)
	leaf := a.join(t, Invite{ID: "gw-1"}, p256(t))
	a.log.full = record.Act
	if out, err := a.Renew(t.Context(), a.caller(leaf), leaf, request(t, p256(t))); pavise.KindOf(err) != pavise.Unavailable || len(out.Chain) > 0 {
		t.Errorf("without its record, Renew = %v, %v", out, err)
	}
}

// TestInvitationsTellNothing looks for the secret of an invitation wherever it must not
// be.
func TestInvitationsTellNothing(t *testing.T) {
	a := newAuthority(t, noon)
	inv, err := a.Invite(t.Context(), a.operator(), Invite{Kind: pavise.Node, ID: "gw-1"})
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := parseTicket(inv.Text)
	if err != nil {
		t.Fatal(err)
	}
	list, err := a.List(t.Context(), a.operator())
	if err != nil || len(list) != 1 || !list[0].Invited.Equal(noon.Add(DefaultInvite)) {
		t.Fatalf("%+v, %v", list, err)
	}
	all, err := json.Marshal([]any{list, a.log.records})
	if err != nil {
		t.Fatal(err)
	}
	said := fmt.Sprintf("%v %+v %#v %s", inv, inv, inv, all)
	if strings.Contains(said, ticket.word) || strings.Contains(said, ticket.word[12:]) {
		t.Errorf("the secret is told: %s", said)
	}
	key, err := KeyFingerprint(&p256(t).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Invite(t.Context(), a.operator(), Invite{Kind: pavise.Node, ID: "gw-2", Key: key}); err != nil {
		t.Fatal(err)
	}
	if list, err = a.List(t.Context(), a.operator()); err != nil || list[1].Invitation == "" {
		t.Errorf("an invitation without a secret is not shown: %+v, %v", list, err)
	}
}

// TestEnroll joins over a real connection, and with impostors in the place of the
// control plane.
func TestEnroll(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	a := newAuthority(t, time.Now(), func(cfg *CAConfig) {
		cfg.URL = "https://" + server.Listener.Addr().String()
		cfg.Bundle = func() bundle.Trust { return bundle.Trust{Origin: "acme/bundles"} }
	})
	impostor := newAuthority(t, time.Now())
	answer := func(w http.ResponseWriter, r *http.Request) {
		var req JoinRequest
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &req); err != nil {
			t.Error(err)
		}
		out, err := a.Join(r.Context(), "127.0.0.1", req.Word, req.CSR)
		if e, ok := errors.AsType[*pavise.Error](err); ok {
			w.WriteHeader(e.Kind.HTTPStatus())
			json.NewEncoder(w).Encode(map[string]string{"title": e.Kind.String(), "detail": e.Msg, "hint": e.Hint})
			return
		}
		json.NewEncoder(w).Encode(out)
	}
	var (
		mu      sync.Mutex
		handler http.HandlerFunc = answer
		own                      = must(a.Own("control", nil, []net.IP{net.IPv4(127, 0, 0, 1)}))
		get                      = own.Get
	)
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := handler
		mu.Unlock()
		h(w, r)
	})
	server.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		return get(hello)
	}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	server.TLS.Certificates = nil // those of httptest

	invite := func() string {
		t.Helper()
		out, err := a.Invite(t.Context(), a.operator(), Invite{Kind: pavise.Node, ID: "gw-1"})
		if err != nil {
			t.Fatal(err)
		}
		return out.Text
	}
	key := p256(t)
	for name, tt := range map[string]struct {
		get    func(*tls.ClientHelloInfo) (*tls.Certificate, error)
		answer http.HandlerFunc
		kind   pavise.Kind
	}{
		"another authority": {must(impostor.Own("control", nil, []net.IP{net.IPv4(127, 0, 0, 1)})).Get, nil, pavise.Unavailable},
		"another machine":   {must(a.Own("other", nil, []net.IP{net.IPv4(127, 0, 0, 1)})).Get, nil, pavise.Unavailable},
		"another address":   {must(a.Own("control", nil, []net.IP{net.IPv4(127, 0, 0, 2)})).Get, nil, pavise.Unavailable},
		"the root is left out": {func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			c, err := own.Get(h)
			return &tls.Certificate{Certificate: c.Certificate[:1], PrivateKey: c.PrivateKey}, err
		}, nil, pavise.Unavailable},
		"an answer for another key": {nil, func(w http.ResponseWriter, r *http.Request) {
			out := a.issued(pavise.Node, "gw-9", a.join(t, Invite{ID: "gw-9"}, p256(t)))
			json.NewEncoder(w).Encode(out)
		}, pavise.Unverified},
		"an empty answer":   {nil, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }, pavise.Unverified},
		"something else":    {nil, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, pavise.Unavailable},
		"an endless answer": {nil, func(w http.ResponseWriter, _ *http.Request) { io.CopyN(w, zeros{}, 64<<20) }, pavise.Unavailable},
		"a redirect": {nil, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, pavise.Unavailable},
		"a refusal": {nil, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			io.WriteString(w, `{"title":"denied","detail":"no","hint":"never"}`)
		}, pavise.Denied},
	} {
		mu.Lock()
		get, handler = own.Get, answer
		if tt.get != nil {
			get = tt.get
		}
		if tt.answer != nil {
			handler = tt.answer
		}
		mu.Unlock()
		if out, err := Enroll(t.Context(), invite(), key); pavise.KindOf(err) != tt.kind || len(out.Chain) > 0 {
			t.Errorf("%s: %s, %v, want %v", name, out.ID, err, tt.kind)
		}
	}
	mu.Lock()
	get, handler = own.Get, answer
	mu.Unlock()
	text := invite()
	out, err := Enroll(t.Context(), " "+text+"\n", key)
	if err != nil || out.ID != "spiffe://prod.acme.example/node/gw-1" || out.Name.String() != "local/node/gw-1" || out.Bundle.Origin != "acme/bundles" {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, err := Enroll(t.Context(), text, key); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("a second time: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// FuzzTicket holds the reader of invitations to its word: one spelling for one
// invitation, and no panic.
func FuzzTicket(f *testing.F) {
	f.Add(ticket{word: newWord(true).text(), root: make([]byte, 32), url: "https://control.example:8471", id: "spiffe://acme/node/control"}.String())
	f.Add("pavise-invite:v1...")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseTicket(text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid || len(text) > 20 && strings.Contains(err.Error(), text) {
				t.Fatalf("refused as %v", err)
			}
			return
		}
		if got.String() != text {
			t.Fatalf("%q is read as %q", text, got)
		}
	})
}

// FuzzRequest holds the reader of certificate requests to its word.
func FuzzRequest(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	good, err := Request(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("0"))
	h := &Holder{Kind: pavise.Node, ID: "gw", DNS: []string{"gw.example"}}
	f.Fuzz(func(t *testing.T, der []byte) {
		public, err := h.readRequest("spiffe://acme/node/gw", der)
		if err == nil && checkKey(public) != nil {
			t.Fatalf("a key of type %T", public)
		}
	})
}
