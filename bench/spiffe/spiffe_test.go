// Package spiffe holds the built-in CA to the SPIFFE project's own library: go-spiffe
// verifies our certificates against our roots, and does mutual TLS with our server.
package spiffe

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

const permit = `permit (principal, action in [Action::"node", Action::"ca"], resource);`

func newCA(t *testing.T) *issuer.CA {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key := ed25519.NewKeyFromSeed([]byte("spiffe test, a log key, 32 bytes"))
	log, err := ledger.Open(ledger.Options{Dir: filepath.Join(dir, "ledger"), Origin: "test/spiffe", Key: key, Tenant: "local"})
	must(err)
	db, err := store.Open(t.Context(), filepath.Join(dir, "db"))
	must(err)
	t.Cleanup(func() { log.Close(); db.Close() })
	on := []string{issuer.KindHolder}
	g, err := guard.New(guard.Config{Log: log, Actions: []guard.Action{
		{Verb: "node.invite", On: on}, {Verb: "node.join", On: on}, {Verb: "ca.rotate", On: []string{"ca"}},
	}})
	must(err)
	must(g.Load("local", map[string]string{"all": permit}))
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	must(err)
	ca, err := issuer.OpenCA(t.Context(), issuer.CAConfig{
		Guard: g, Store: db, KEK: kek, Dir: filepath.Join(dir, "ca"), TrustDomain: "prod.acme.example", Tenant: "local", URL: "https://127.0.0.1:8471", Now: time.Now,
	})
	must(err)
	return ca
}

// svid is the certificate of a machine that joined, as go-spiffe reads it.
func svid(t *testing.T, ca *issuer.CA, kind, id string) *x509svid.SVID {
	t.Helper()
	who := pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "olga", Proof: "bearer", Expires: time.Now().Add(time.Hour)}
	inv, err := ca.Invite(t.Context(), who, issuer.Invite{Kind: kind, ID: id})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := issuer.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	word := inv.Text[len("pavise-invite:v1."):][:43]
	out, err := ca.Join(t.Context(), "127.0.0.1", word, csr)
	if err != nil {
		t.Fatal(err)
	}
	var chain []byte
	for _, der := range out.Chain {
		chain = append(chain, der...)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := x509svid.ParseRaw(chain, pkcs8)
	if err != nil {
		t.Fatalf("go-spiffe does not read it: %v", err)
	}
	return got
}

func roots(ca *issuer.CA) *x509bundle.Bundle {
	return x509bundle.FromX509Authorities(spiffeid.RequireTrustDomainFromString("prod.acme.example"), ca.Roots())
}

// TestVerify has go-spiffe verify certificates of each kind, over a rotation of roots.
func TestVerify(t *testing.T) {
	ca := newCA(t)
	if _, err := ca.Own("control", nil, []net.IP{net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	who := pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "olga", Proof: "bearer", Expires: time.Now().Add(time.Hour)}
	verify := func(s *x509svid.SVID, want string) {
		t.Helper()
		id, _, err := x509svid.Verify(s.Certificates, roots(ca))
		if err != nil || id.String() != want || s.ID != id {
			t.Errorf("%s: %v", id, err)
		}
	}
	old := svid(t, ca, pavise.Node, "gw-1")
	verify(old, "spiffe://prod.acme.example/node/gw-1")
	verify(svid(t, ca, pavise.Workload, "trainer_2.b"), "spiffe://prod.acme.example/workload/trainer_2.b")
	for _, step := range []string{issuer.StepPrepare, issuer.StepActivate} {
		if err := ca.Rotate(t.Context(), who, step, func(*store.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	verify(old, "spiffe://prod.acme.example/node/gw-1")
	verify(svid(t, ca, pavise.Node, "gw-2"), "spiffe://prod.acme.example/node/gw-2")
	other := newCA(t)
	if _, _, err := x509svid.Verify(old.Certificates, roots(other)); err == nil {
		t.Error("go-spiffe takes a certificate of another CA")
	}
}

// TestMutualTLS has go-spiffe's client speak to our server, and our roots judge it.
func TestMutualTLS(t *testing.T) {
	ca := newCA(t)
	own, err := ca.Own("control", nil, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	caller := svid(t, ca, pavise.Node, "gw-1")
	config := tlsconfig.MTLSServerConfig(caller, roots(ca), tlsconfig.AuthorizeMemberOf(roots(ca).TrustDomain()))
	config.GetCertificate = own.Get
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.TLS.PeerCertificates[0].URIs[0].String())
	})}
	go server.Serve(tls.NewListener(plain, config))
	defer server.Close()
	control := spiffeid.RequireFromString("spiffe://prod.acme.example/node/control")
	ask := func(config *tls.Config) (string, error) {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 10 * time.Second}
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://"+plain.Addr().String(), nil)
		if err != nil {
			return "", err
		}
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	if got, err := ask(tlsconfig.MTLSClientConfig(caller, roots(ca), tlsconfig.AuthorizeID(control))); err != nil || got != "spiffe://prod.acme.example/node/gw-1" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ask(tlsconfig.MTLSClientConfig(caller, roots(ca), tlsconfig.AuthorizeID(caller.ID))); err == nil {
		t.Error("go-spiffe takes the control plane for another machine")
	}
	other := newCA(t)
	if _, err := other.Own("control", nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(tlsconfig.MTLSClientConfig(svid(t, other, pavise.Node, "gw-1"), roots(ca), tlsconfig.AuthorizeID(control))); err == nil {
		t.Error("a certificate of another CA gets in")
	}
}
