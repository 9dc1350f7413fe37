package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/upstream"
)

// An issuing is an authority of a test, with the files of what it issues.
type issuing struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuing(t *testing.T, name string) *issuing {
	a := &issuing{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue(name, nil)
	return a
}

// issue makes a certificate for a name, or the authority's own.
func (a *issuing) issue(name string, hosts []string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, DNSNames: hosts,
	}
	parent, by := a.cert, a.key
	if parent == nil {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage, parent, by = true, x509.KeyUsageCertSign, nil, c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".crt", "CERTIFICATE", der)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".key", "PRIVATE KEY", raw)
	return made, key
}

func (a *issuing) write(name, kind string, raw []byte) {
	if err := os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *issuing) file(name string) string { return filepath.Join(a.dir, name) }

// knowing is a model server by TLS that answers nobody without a certificate of the
// authority.
func (a *issuing) knowing(h http.Handler) *httptest.Server {
	cert, key := a.issue("server", []string{"models.internal"})
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	s.Config.ErrorLog = nil
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s
}

// TestRouteByTLS puts routes to a server that wants to see a certificate, with options
// that fit, and with each that does not.
func TestRouteByTLS(t *testing.T) {
	own, other := newIssuing(t, "ca"), newIssuing(t, "other")
	own.issue("gateway", nil)
	other.issue("gateway", nil)
	server := own.knowing(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			io.WriteString(w, `{"name":"m","platform":"x","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"s","datatype":"FP32","shape":[-1,2]}]}`)
			return
		}
		io.WriteString(w, `{"model_name":"m","outputs":[{"name":"s","datatype":"FP32","shape":[1,2],"data":[0.25,0.75]}]}`)
	}))
	named := map[string]upstream.TLS{
		"good":     {CAFile: own.file("ca.crt"), CertFile: own.file("gateway.crt"), KeyFile: own.file("gateway.key"), ServerName: "models.internal"},
		"nobody":   {CAFile: own.file("ca.crt"), ServerName: "models.internal"},
		"stranger": {CAFile: own.file("ca.crt"), CertFile: other.file("gateway.crt"), KeyFile: other.file("gateway.key"), ServerName: "models.internal"},
		"believes": {CAFile: other.file("other.crt"), CertFile: own.file("gateway.crt"), KeyFile: own.file("gateway.key"), ServerName: "models.internal"},
		"host":     {CAFile: own.file("ca.crt"), CertFile: own.file("gateway.crt"), KeyFile: own.file("gateway.key")},
	}
	w := newWorld(t, t.TempDir())
	if _, err := w.servers.WithTLS(named); err != nil {
		t.Fatal(err)
	}
	spec := func(name, url string) route.Spec {
		return route.Spec{Name: theModel.String(), Upstream: url, TLS: name}
	}
	for name, want := range map[string]pavise.Kind{"": pavise.Unavailable, "nobody": pavise.Unavailable, "stranger": pavise.Unavailable, "believes": pavise.Unavailable, "host": pavise.Unavailable, "unheard-of": pavise.Unavailable, "../x": pavise.Invalid} {
		_, err := w.Routes.Put(t.Context(), operator, spec(name, server.URL))
		if pavise.KindOf(err) != want || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%q: %v", name, err)
		}
		if name == "unheard-of" && !strings.Contains(err.Error(), `no options of TLS are called "unheard-of"`) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, wrong := range map[string]route.Spec{
		"no TLS":       spec("good", strings.Replace(server.URL, "https", "http", 1)),
		"behind proxy": spec("good", infer.External),
		"in here":      {Name: theModel.String(), ONNX: softmaxModel(), TLS: "good"},
	} {
		if _, err := w.Routes.Put(t.Context(), operator, wrong); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	put, err := w.Routes.Put(t.Context(), operator, spec("good", server.URL))
	if err != nil || put.TLS != "good" {
		t.Fatalf("%+v, %v", put, err)
	}
	if resp, body := w.post(t, good, nil); resp.StatusCode != 200 || !strings.Contains(body, "0.25") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if _, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: theModel.String(), TLS: "nobody", Signature: infer.SignatureText(put.Signature)}); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("other options are no release: %v", err)
	}
	// A machine that does not have the options has the route, and answers nothing on it.
	w.servers.WithTLS(nil)
	if err := w.Routes.Delete(t.Context(), operator, theModel); err != nil {
		t.Fatal(err)
	}
	if err := w.Routes.Adopt(t.Context(), []route.Standing{{Route: put.Route}}, 1, nil); err != nil {
		t.Fatal(err)
	}
	resp, body := w.post(t, good, nil)
	if resp.StatusCode != 503 || strings.Contains(body, "good") {
		t.Errorf("without the options: %d %s", resp.StatusCode, body)
	}
	if r := w.record(t, resp); !strings.Contains(r.Verdicts[len(r.Verdicts)-1].Reason, `called "good"`) {
		t.Errorf("the record does not say why: %v", r.Verdicts)
	}
}

// TestChatByTLS asks a language model on a server that wants to see a certificate.
func TestChatByTLS(t *testing.T) {
	own := newIssuing(t, "ca")
	own.issue("gateway", nil)
	server := own.knowing(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answered)
	}))
	w := newWorld(t, t.TempDir())
	named := upstream.TLS{CAFile: own.file("ca.crt"), CertFile: own.file("gateway.crt"), KeyFile: own.file("gateway.key"), ServerName: "models.internal"}
	if _, err := w.servers.WithTLS(map[string]upstream.TLS{"good": named}); err != nil {
		t.Fatal(err)
	}
	for name, works := range map[string]bool{"good": true, "": false} {
		w.put(t, func(s *route.Spec) {
			s.Name, s.ONNX, s.Upstream, s.Protocol, s.TLS = tenant+"/model/l"+name, nil, server.URL, "openai", name
		})
		x, err := w.BeginChat(t.Context(), somebody, ChatCall{API: chat.Chat, Body: strings.NewReader(`{"model":"l` + name + `","messages":[{"role":"user","content":"hi"}]}`)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Answer(t.Context()); (err == nil) != works {
			t.Errorf("%q: %v", name, err)
		}
	}
}
