package extproc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pavise/pavise/internal/edge/extproc"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/route"
)

// question is a request as ext_authz shows it.
func (w *world) question(edit func(*auth.AttributeContext_HttpRequest)) *auth.CheckRequest {
	h := &auth.AttributeContext_HttpRequest{
		Method: "POST", Path: "/v2/models/m/infer", Host: "models.example", Scheme: "https", Size: int64(len(spaced)),
		Headers: map[string]string{
			":method": "POST", ":path": "/v2/models/m/infer", "content-type": "application/json", "authorization": "Bearer " + w.Token,
			"cookie": "session=1", "x-request-id": "7", "x-envoy-auth-partial-body": "false",
		},
		RawBody: []byte(spaced),
	}
	if edit != nil {
		edit(h)
	}
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{Http: h}}}
}

// TestCheck decides about requests whose answers nobody shows us.
func TestCheck(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, func(s *route.Spec) { external(s); s.Shape, s.Rate = "full", "4/1h" })
	type request = auth.AttributeContext_HttpRequest
	for _, c := range []struct {
		name   string
		edit   func(*request)
		status int32 // 0: let through
		says   string
	}{
		{"good", nil, 0, ""},
		{"good, in text", func(h *request) { h.RawBody, h.Body = nil, spaced }, 0, ""},
		{"good, raw fields", func(h *request) {
			for k, v := range h.Headers {
				h.HeaderMap = &core.HeaderMap{Headers: append(h.HeaderMap.GetHeaders(), &core.HeaderValue{Key: k, RawValue: []byte(v)})}
			}
			h.Headers = nil
		}, 0, ""},
		{"no body shown", func(h *request) { h.RawBody = nil }, 400, "with_request_body"},
		{"a part shown", func(h *request) { h.Headers["x-envoy-auth-partial-body"] = "true" }, 400, "part"},
		{"less shown than there is", func(h *request) { h.Headers["content-length"] = "9999" }, 400, "part"},
		{"no token", func(h *request) { delete(h.Headers, "authorization") }, 401, ""},
		{"tokens put together", func(h *request) { h.Headers["authorization"] += ",Bearer x" }, 401, ""},
		{"a key twice", func(h *request) { h.RawBody, h.Size = []byte(`{"inputs":[],"inputs":[]}`), -1 }, 400, "inputs"},
		{"another model", func(h *request) { h.Path = "/v2/models/other/infer" }, 404, ""},
		{"a query, which would go on", func(h *request) { h.Path += "?x=1" }, 503, "otherwise"},
		{"a model's routes", func(h *request) { h.Method, h.Path = "POST", "/v2/repository/models/m/unload" }, 403, "model control"},
		{"metadata", func(h *request) { h.Method, h.Path, h.RawBody = "GET", "/v2/models/m", nil }, 200, "scores"},
		{"gRPC", func(h *request) { h.Headers["content-type"] = "application/grpc" }, 404, "gRPC"},
		{"compressed", func(h *request) { h.Headers["content-encoding"] = "gzip" }, 400, "compressed"},
		{"over the rate", nil, 429, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := auth.NewAuthorizationClient(w.conn).Check(t.Context(), w.question(c.edit))
			if err != nil {
				t.Fatal(err)
			}
			if ok := a.GetOkResponse(); c.status == 0 {
				if a.GetStatus().GetCode() != int32(codes.OK) || ok == nil || !sameWords(ok.HeadersToRemove, "authorization", "cookie") || len(ok.ResponseHeadersToAdd) != 1 {
					t.Fatalf("%v", a)
				}
				return
			}
			d := a.GetDeniedResponse()
			if a.GetStatus().GetCode() == int32(codes.OK) || int32(d.GetStatus().GetCode()) != c.status || !strings.Contains(d.GetBody(), c.says) {
				t.Fatalf("%v", a)
			}
			found := false
			for _, h := range d.GetHeaders() {
				found = found || h.GetHeader().GetKey() == "content-type" && string(h.GetHeader().GetRawValue()) == "application/json"
			}
			if !found {
				t.Errorf("headers %v", d.GetHeaders())
			}
		})
	}
	size := w.Log.Size()
	r, err := w.Log.Read(size - 1)
	if err != nil || r.Kind != "model.infer" || r.Outcome != "deny" {
		t.Errorf("%+v, %v", r, err)
	}
}

func sameWords(got []string, want ...string) bool {
	seen := map[string]bool{}
	for _, w := range got {
		seen[w] = true
	}
	for _, w := range want {
		if !seen[w] {
			return false
		}
	}
	return len(seen) == len(want)
}

// TestBlindToAnswers refuses to let a request through whose answer the route shapes, and
// charges nothing; and says in the record of one it lets through that nobody saw the answer.
func TestBlindToAnswers(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external) // rounded to four digits
	a, err := auth.NewAuthorizationClient(w.conn).Check(t.Context(), w.question(nil))
	if d := a.GetDeniedResponse(); err != nil || d.GetStatus().GetCode() != 403 || !strings.Contains(d.GetBody(), "ext_proc") {
		t.Fatalf("%v, %v", a, err)
	}
	r, err := w.Log.Read(w.Log.Size() - 1)
	if trail := trailOf(t, r); err != nil || trail.Charged != 0 || trail.Unseen {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := w.Routes.Put(t.Context(), edgetest.Operator, route.Spec{Name: "local/model/m", Shape: "full"}); err != nil {
		t.Fatal(err)
	}
	a, err = auth.NewAuthorizationClient(w.conn).Check(t.Context(), w.question(nil))
	if err != nil || a.GetOkResponse() == nil {
		t.Fatalf("%v, %v", a, err)
	}
	r, err = w.Log.Read(w.Log.Size() - 1)
	if trail := trailOf(t, r); err != nil || trail.Charged != 1 || !trail.Unseen || trail.Output != "" || trail.Input == "" || r.Error != nil {
		t.Errorf("%+v, %+v, %v", r, trail, err)
	}
}

// TestOddQuestions has what is no request end the question with an error: Envoy refuses
// its caller then.
func TestOddQuestions(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	two := w.question(func(h *auth.AttributeContext_HttpRequest) { h.Body = "x" })
	header := w.question(func(h *auth.AttributeContext_HttpRequest) {
		h.HeaderMap = &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "a", RawValue: []byte("b")}}}
	})
	line := w.question(func(h *auth.AttributeContext_HttpRequest) { h.Headers["a"] = "b\r\nc: d" })
	for name, q := range map[string]*auth.CheckRequest{"nothing": {}, "two bodies": two, "two headers": header, "a line end": line} {
		if a, err := auth.NewAuthorizationClient(w.conn).Check(t.Context(), q); err == nil {
			t.Errorf("%s: %v", name, a)
		}
	}
}

// TestClientCertificates knows a caller by the certificate that the proxy has seen, if
// we are told to trust it there, and verifies it all the same.
func TestClientCertificates(t *testing.T) {
	root, rootKey := certificate(t, nil, nil, "")
	leaf, _ := certificate(t, root, rootKey, "spiffe://acme.example/workload/batch")
	stranger, strangerKey := certificate(t, nil, nil, "")
	forged, _ := certificate(t, stranger, strangerKey, "spiffe://acme.example/workload/batch")
	who := func(h http.Handler) http.Handler {
		v, err := identity.New(identity.Config{Now: time.Now, Domains: []identity.TrustDomain{{Name: "acme.example", Roots: []*x509.Certificate{root}, Tenant: "local"}}})
		if err != nil {
			t.Fatal(err)
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, err := v.Verify(r.Context(), identity.FromRequest(r))
			if err != nil {
				http.Error(w, "nobody", http.StatusUnauthorized)
				return
			}
			io.WriteString(w, p.Name().String())
		})
	}
	escaped := func(c *x509.Certificate) string {
		return strings.ReplaceAll(url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))), "+", "%20")
	}
	good := `By=spiffe://acme.example/envoy;Hash=00;Cert="` + escaped(leaf) + `";Subject="CN=a;b,c";URI=spiffe://acme.example/workload/batch`
	for _, trusted := range []bool{true, false} {
		w := newWorld(t, who, extproc.Config{TrustCertificates: trusted})
		for name, c := range map[string]struct {
			values []string
			want   string
		}{
			"none":            {nil, "nobody"},
			"good":            {[]string{good}, "local/workload/batch"},
			"as a chain":      {[]string{`Chain="` + escaped(leaf) + escaped(root) + `"`}, "local/workload/batch"},
			"forged":          {[]string{strings.Replace(good, escaped(leaf), escaped(forged), 1)}, "nobody"},
			"another's words": {[]string{`URI=spiffe://acme.example/workload/batch;Hash=00`}, ""},
			"two proxies":     {[]string{good + "," + good}, ""},
			"two fields":      {[]string{good, good}, ""},
			"no certificate":  {[]string{`Cert="%41"`}, ""},
			"a bad escape":    {[]string{`Cert="%4"`}, ""},
		} {
			got := envoy{request: buffered, response: buffered}.do(t, w.conn, w.asking(func(m *message) {
				m.set("authorization", "")
				for _, v := range c.values {
					m.header = append(m.header, [2]string{"x-forwarded-client-cert", v})
				}
			}))
			body := strings.TrimSpace(string(got.body))
			switch {
			case !trusted && body != "nobody":
				t.Errorf("%s, not trusted: %s", name, body)
			case trusted && c.want == "" && got.status != 401:
				t.Errorf("%s: %d %s", name, got.status, body)
			case trusted && c.want != "" && body != c.want:
				t.Errorf("%s: %d %s", name, got.status, body)
			}
		}
	}
}

// certificate makes a certificate, signed by a parent or by itself.
func certificate(t *testing.T, parent *x509.Certificate, by *ecdsa.PrivateKey, id string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Minute),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if parent == nil {
		c.IsCA, c.KeyUsage, parent, by = true, x509.KeyUsageCertSign, c, key
	} else {
		u, err := url.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs, c.ExtKeyUsage = []*url.URL{u}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

// TestTooMany refuses exchanges beyond those that there may be, and takes others when
// some have ended.
func TestTooMany(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{MaxOpen: 2})
	w.Put(t, external)
	var open []proc.ExternalProcessor_ProcessClient
	for range 2 {
		stream, err := proc.NewExternalProcessorClient(w.conn).Process(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := &script{t: t, w: w, stream: stream}
		head(buffered, buffered, nil)(s)
		recv(s)
		open = append(open, stream)
	}
	e := envoy{request: buffered, response: buffered, model: answering(200, scores)}
	stream, err := proc.NewExternalProcessorClient(w.conn).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, w: w, stream: stream}
	recv(s)
	if i := s.last.GetImmediateResponse(); i.GetStatus().GetCode() != 503 {
		t.Errorf("%v, %v", s.last, s.err)
	}
	if recv(s); s.err == nil || errors.Is(s.err, io.EOF) {
		t.Errorf("the stream ended with %v", s.err)
	}
	for _, stream := range open {
		stream.CloseSend()
		for err = nil; err == nil; {
			_, err = stream.Recv()
		}
	}
	if got := e.do(t, w.conn, w.asking(nil)); got.status != 200 {
		t.Errorf("%+v", got)
	}
}

// TestSlowBody gives a request up whose body does not come.
func TestSlowBody(t *testing.T) {
	w := newWorld(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := io.ReadAll(r.Body)
			http.Error(w, err.Error(), http.StatusRequestTimeout)
		})
	}, extproc.Config{})
	stream, err := proc.NewExternalProcessorClient(w.conn).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, w: w, stream: stream}
	for _, step := range []step{head(streamed, streamed, nil), recv, send(bodyMessage([]byte(spaced[:9]), false, true)), recv, recv} {
		step(s)
	}
	if i := s.last.GetImmediateResponse(); i.GetStatus().GetCode() != 408 || !strings.Contains(string(i.GetBody()), "in time") {
		t.Errorf("%v, %v", s.last, s.err)
	}
	stream.CloseSend()
}

// TestStops lets an exchange end that is under way when the server stops, over a socket
// in the file system.
func TestStops(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		io.WriteString(w, "done")
	})
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() {
		stopped <- extproc.New(extproc.Config{Handler: h, Refused: func(string, string) {}}).Run(ctx, l)
	}()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := make(chan result, 1)
	go func() {
		answer <- envoy{request: buffered, response: buffered}.do(t, conn, message{header: [][2]string{{":method", "GET"}, {":path", "/"}}})
	}()
	<-entered
	cancel()
	close(release)
	if got := <-answer; got.status != 200 || string(got.body) != "done" {
		t.Errorf("%+v", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
