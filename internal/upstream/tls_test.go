package upstream

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// An authority issues certificates for a test, and writes them to files.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.file = a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) issue(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "test"}
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(name, kind string, raw []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	var text bytes.Buffer
	pem.Encode(&text, &pem.Block{Type: kind, Bytes: raw})
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// files issues a client's certificate.
func (a *authority) files(name string) (cert, key string) {
	c, k := a.issue(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", c.Raw), a.write(name+".key", "PRIVATE KEY", raw)
}

// server is a certificate for a name on loopback.
func (a *authority) server(name string, until time.Time) tls.Certificate {
	c, k := a.issue(&x509.Certificate{DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: k}
}

// httpServer is Go's own server, with TLS when there is a config, and HTTP/2 when asked.
func httpServer(t testing.TB, h http.Handler, config *tls.Config, h2 bool) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(!h2)
	s.Config.Protocols.SetHTTP2(h2)
	s.Config.Protocols.SetUnencryptedHTTP2(h2)
	if config == nil {
		s.Start()
	} else {
		s.TLS, s.EnableHTTP2 = config, h2
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s
}

// repeat is a handler that answers with the body and the protocol.
var repeat = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Protocol", r.Proto)
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		w.Header().Set("X-Caller", r.TLS.PeerCertificates[0].Subject.CommonName)
	}
	w.Write(body)
})

// TestTLS believes whom the options say, shows who we are, and speaks with nobody else,
// over both protocols.
func TestTLS(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	cert, key := ours.files("client")
	foreign, foreignKey := other.files("client")
	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	good := ours.server("model.internal", time.Time{})
	mutual := &tls.Config{Certificates: []tls.Certificate{good}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
	tests := map[string]struct {
		server *tls.Config
		client TLS
		want   string
	}{
		"good":               {&tls.Config{Certificates: []tls.Certificate{good}}, TLS{CAFile: ours.file}, "ok"},
		"server name":        {&tls.Config{Certificates: []tls.Certificate{good}}, TLS{CAFile: ours.file, ServerName: "model.internal"}, "ok"},
		"wrong name":         {&tls.Config{Certificates: []tls.Certificate{good}}, TLS{CAFile: ours.file, ServerName: "other.internal"}, "unreachable"},
		"unknown CA":         {&tls.Config{Certificates: []tls.Certificate{good}}, TLS{CAFile: other.file}, "unreachable"},
		"system roots":       {&tls.Config{Certificates: []tls.Certificate{good}}, TLS{}, "unreachable"},
		"expired":            {&tls.Config{Certificates: []tls.Certificate{ours.server("x", time.Now().Add(-time.Minute))}}, TLS{CAFile: ours.file}, "unreachable"},
		"old TLS":            {&tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, TLS{CAFile: ours.file}, "unreachable"},
		"mutual":             {mutual, TLS{CAFile: ours.file, CertFile: cert, KeyFile: key}, "ok"},
		"mutual, none shown": {mutual, TLS{CAFile: ours.file}, "refused"},
		"mutual, foreign":    {mutual, TLS{CAFile: ours.file, CertFile: foreign, KeyFile: foreignKey}, "refused"},
	}
	for name, tt := range tests {
		for _, h2 := range []bool{false, true} {
			s := httpServer(t, repeat, tt.server.Clone(), h2)
			c := cluster(t, Options{TLS: tt.client, HTTP2: h2}, s.URL)
			a := Answer{Want: []string{"x-protocol", "x-caller"}}
			for range 2 {
				err := c.Do(t.Context(), post("x"), &a)
				got := reason(err)
				if tt.want == "refused" { // in TLS 1.3 a server says so only when it is asked
					if err == nil {
						t.Errorf("%s, h2 %v: answered", name, h2)
					}
					continue
				}
				polite(t, err)
				if got != tt.want {
					t.Fatalf("%s, h2 %v: %v", name, h2, err)
				}
				if err == nil && (string(a.Body) != "x" || (string(a.Got[0]) == "HTTP/2.0") != h2 || strings.HasPrefix(name, "mutual") != (a.Got[1] != nil)) {
					t.Errorf("%s, h2 %v: %q %q", name, h2, a.Body, a.Got)
				}
			}
		}
	}
}

// TestTLSFiles refuses files that are none, and shows a certificate that was renewed.
func TestTLSFiles(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.files("client")
	_, otherKey := a.files("other")
	empty := filepath.Join(a.dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []TLS{{CAFile: "/none"}, {CAFile: empty}, {CAFile: a.dir}, {CertFile: cert}, {KeyFile: key}, {CertFile: cert, KeyFile: otherKey}, {CertFile: empty, KeyFile: key}} {
		if _, err := New(named(1), Options{TLS: bad}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	c, err := New(named(1), Options{TLS: TLS{CertFile: cert, KeyFile: key}})
	if err != nil {
		t.Fatal(err)
	}
	was, err := c.tls.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	a.files("client")
	if is, err := c.tls.GetClientCertificate(nil); err != nil || bytes.Equal(is.Certificate[0], was.Certificate[0]) {
		t.Errorf("the old certificate is shown: %v", err)
	}
}

// TestHTTP2 speaks it with and without TLS, many calls on few connections, and streams.
func TestHTTP2(t *testing.T) {
	s := httpServer(t, repeat, nil, true)
	c := cluster(t, Options{HTTP2: true}, s.URL+"/base")
	var wg sync.WaitGroup
	for w := range 200 {
		wg.Go(func() {
			body := strings.Repeat("z", w*100)
			a := Answer{Want: []string{"x-protocol"}}
			if err := c.Do(t.Context(), post(body), &a); err != nil || string(a.Body) != body || string(a.Got[0]) != "HTTP/2.0" {
				t.Errorf("%d bytes over %q: %v", len(a.Body), a.Got, err)
			}
		})
	}
	wg.Wait()
	if got := c.Stats(); got.Active != 0 || got.Endpoints[0].Active != 0 || got.Endpoints[0].Answers != 200 {
		t.Errorf("%+v", got)
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestHostileHTTP2 has the faults of HTTP/1.1 be the same over HTTP/2.
func TestHostileHTTP2(t *testing.T) {
	flush := func(w http.ResponseWriter) { w.(http.Flusher).Flush() }
	tests := map[string]struct {
		do   http.HandlerFunc
		want string
	}{
		"good": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "{}") }, "ok"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, "ok"},
		"compressed": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "{}")
		}, "malformed"},
		"two types": {func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{"a/b", "c/d"}
			io.WriteString(w, "{}")
		}, "malformed"},
		"too long":  {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, strings.Repeat("x", 5000)) }, "too_large"},
		"long head": {func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 50_000)) }, "broken"},
		"silent":    {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "slow"},
		"gap": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "{")
			flush(w)
			<-r.Context().Done()
		}, "slow"},
		"dies": {func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, "broken"},
		"dies in the body": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "{")
			flush(w)
			panic(http.ErrAbortHandler)
		}, "broken"},
		"lies about length": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "{}")
		}, "broken"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var executed atomic.Int64
			s := httpServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { executed.Add(1); tt.do(w, r) }), nil, true)
			c := cluster(t, Options{HTTP2: true, Timeouts: timeouts(tt.want)}, s.URL)
			err := c.Do(t.Context(), post("{}"), &Answer{Limit: 4096, Want: []string{"content-type"}})
			if reason(err) != tt.want || executed.Load() != 1 {
				t.Errorf("%v, want %s; executed %d times", err, tt.want, executed.Load())
			}
			polite(t, err)
		})
	}
	t.Run("speaks HTTP/1.1", func(t *testing.T) {
		a := newAuthority(t)
		config := &tls.Config{Certificates: []tls.Certificate{a.server("x", time.Time{})}}
		c := cluster(t, Options{HTTP2: true, TLS: TLS{CAFile: a.file}}, httpServer(t, repeat, config, false).URL)
		if err := c.Do(t.Context(), post(""), &Answer{}); reason(err) != "unreachable" {
			t.Error(err)
		}
		c = cluster(t, Options{HTTP2: true, Timeouts: timeouts("slow")}, serve(t, echo).url())
		if err := c.Do(t.Context(), post(""), &Answer{}); err == nil {
			t.Error("answered")
		}
	})
}

// TestStreamOverHTTP2 reads events as they come, and ends the stream with the caller.
func TestStreamOverHTTP2(t *testing.T) {
	ended := make(chan bool)
	s := httpServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(ended)
	}), nil, true)
	c := cluster(t, Options{HTTP2: true}, s.URL)
	stream, err := c.Open(t.Context(), post(""), &Answer{})
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := stream.Read(buf); err != nil || string(buf[:n]) != "data: 1\n\n" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	stream.Close()
	<-ended
}

// TestFewStreams shares few connections of few streams between many calls.
func TestFewStreams(t *testing.T) {
	s := httptest.NewUnstartedServer(repeat)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1}
	s.Start()
	t.Cleanup(s.Close)
	c := cluster(t, Options{HTTP2: true, Pool: Pool{MaxOpen: 4}}, s.URL)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 5 {
				if err := c.Do(t.Context(), post("x"), &Answer{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// A holding keeps what is written until it is let go, and then sends it as one.
type holding struct {
	net.Conn
	held bytes.Buffer
	hold bool
}

func (h *holding) Write(p []byte) (int, error) {
	if h.hold {
		return h.held.Write(p)
	}
	return h.Conn.Write(p)
}

// TestAnswerAheadOverTLS does not take what TLS has read ahead for an answer.
func TestAnswerAheadOverTLS(t *testing.T) {
	a := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.server("x", time.Time{})}}
	s := serve(t, func(s *server, c *peer, n int64) {
		h := &holding{Conn: c.TCPConn}
		secure := tls.Server(h, config)
		c.in.Reset(secure)
		for {
			body, more := c.request()
			if !more {
				return
			}
			h.hold = true
			io.WriteString(secure, ok(body))
			io.WriteString(secure, ok("forged"))
			h.hold = false
			h.held.WriteTo(h.Conn)
		}
	})
	c := cluster(t, Options{TLS: TLS{CAFile: a.file}}, "https://"+s.Addr().String())
	for _, want := range []string{"one", "two", "three"} {
		got := Answer{}
		if err := c.Do(t.Context(), post(want), &got); err != nil || string(got.Body) != want {
			t.Errorf("%q: %v", got.Body, err)
		}
	}
	if n := s.conns.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}

// TestTLSKeepsConnections uses one connection for calls in a row, with bodies of many
// records.
func TestTLSKeepsConnections(t *testing.T) {
	a := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.server("x", time.Time{})}}
	s := serve(t, func(s *server, c *peer, n int64) {
		secure := tls.Server(c.TCPConn, config)
		c.in.Reset(secure)
		for {
			body, more := c.request()
			if !more {
				return
			}
			io.WriteString(secure, ok(body))
		}
	})
	c := cluster(t, Options{TLS: TLS{CAFile: a.file}}, "https://"+s.Addr().String())
	for n := range 20 {
		got, want := Answer{}, strings.Repeat("x", n*n*1000)
		if err := c.Do(t.Context(), post(want), &got); err != nil || string(got.Body) != want {
			t.Errorf("%d of %d bytes: %v", len(got.Body), len(want), err)
		}
		time.Sleep(patience / 10 * time.Duration(n%3))
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
