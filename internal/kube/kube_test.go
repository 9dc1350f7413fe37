package kube

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/kube/kubetest"
)

var deployments = Resource{"apps", "v1", "deployments", "Deployment"}

// kubeconfig writes one for a server, and returns its path.
func kubeconfig(t testing.TB, server, extra string) string {
	path := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"one",
"contexts":[{"name":"one","context":{"cluster":"c","user":"u"}}],
"clusters":[{"name":"c","cluster":{"server":%q%s}}],
"users":[{"name":"u","user":{"token":"secret"}}]}`, server, extra)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve has a handler answer as an API server.
func serve(t testing.TB, h http.HandlerFunc) *Cluster {
	s, ca := secured(h)
	t.Cleanup(s.Close)
	c, err := Open(Config{Path: kubeconfig(t, s.URL, ca)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// secured serves with a certificate, and says what a kubeconfig says of it.
func secured(h http.HandlerFunc) (s *httptest.Server, ca string) {
	s = httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	encoded, _ := json.Marshal(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return s, `,"certificate-authority-data":` + string(encoded)
}

func said(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(status)
		io.WriteString(w, text)
	}
}

func status(code int, reason string) http.HandlerFunc {
	return said(code, fmt.Sprintf(`{"apiVersion":"v1","kind":"Status","status":"Failure","message":"as the test wants it","reason":%q,"code":%d}`, reason, code))
}

const fraud = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"fraud","namespace":"ml"},"spec":{"replicas":3}}`

// TestHostile has a server answer what it should not: each is an error of a kind, soon, and
// asked for once.
func TestHostile(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for what, c := range map[string]struct {
		answer http.HandlerFunc
		kind   pavise.Kind
	}{
		"another name":      {said(200, strings.Replace(fraud, `"fraud"`, `"other"`, 1)), pavise.Unverified},
		"another namespace": {said(200, strings.Replace(fraud, `"ml"`, `"kube-system"`, 1)), pavise.Unverified},
		"another kind":      {said(200, strings.Replace(fraud, "Deployment", "Secret", 1)), pavise.Unverified},
		"no JSON":           {said(200, "<html>"), pavise.Unavailable},
		"nothing":           {said(200, ""), pavise.Unavailable},
		"deep":              {said(200, strings.Repeat(`{"a":`, 200_000)), pavise.Unavailable},
		"100 MB": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"apiVersion":"apps/v1","kind":"Deployment","x":"`)
			for range 100 {
				if _, err := io.WriteString(w, long); err != nil {
					return
				}
			}
		}, pavise.Unavailable},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, fraud)
		}, pavise.Unavailable},
		"hung up": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
		}, pavise.Unavailable},
		"slow": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, pavise.Unavailable},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, pavise.Unavailable},
		"busy":          {status(429, "TooManyRequests"), pavise.Throttled},
		"broken":        {said(503, "upstream"), pavise.Unavailable},
		"not there":     {status(404, "NotFound"), pavise.NotFound},
		"changed":       {status(409, "Conflict"), pavise.Conflict},
		"not allowed":   {status(403, "Forbidden"), pavise.Denied},
		"unknown":       {status(401, "Unauthorized"), pavise.Denied},
		"not valid":     {status(422, "Invalid"), pavise.Invalid},
		"unknown field": {status(400, "BadRequest"), pavise.Invalid},
		"no such field": {said(500, `{"apiVersion":"v1","kind":"Status","status":"Failure","message":"failed to create typed patch object (ml/fraud; apps/v1, Kind=Deployment): .spec.nothing: field not declared in schema","code":500}`), pavise.Invalid},
		"at its end":    {said(500, `{"apiVersion":"v1","kind":"Status","status":"Failure","message":"etcdserver: leader changed","code":500}`), pavise.Unavailable},
	} {
		var asked atomic.Int32
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		cluster := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1); what == "slow" {
				cancel() // whoever asks has waited for long enough
			}
			c.answer(w, r)
		})
		_, err := cluster.Get(ctx, deployments, "ml", "fraud")
		cancel()
		if pavise.KindOf(err) != c.kind || asked.Load() != 1 {
			t.Errorf("%s: asked %d times: %v (%v)", what, asked.Load(), err, pavise.KindOf(err))
		}
		if err != nil && len(err.Error()) > 2000 {
			t.Errorf("%s: the error has %d bytes", what, len(err.Error()))
		}
	}
}

// TestLongMessage keeps the end of what an API server says, which is where the reason stands.
func TestLongMessage(t *testing.T) {
	message := ` "" is invalid: patch: Invalid value: "` + strings.Repeat("é", 9000) + `": strict decoding error: unknown field "spec.canary"`
	c := serve(t, said(422, fmt.Sprintf(`{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"Invalid","code":422,"message":%q}`, message)))
	_, err := c.Get(t.Context(), deployments, "ml", "fraud")
	if err == nil || len(err.Error()) > 600 || !strings.Contains(err.Error(), "is invalid: patch") || !strings.HasSuffix(err.Error(), `unknown field "spec.canary"`) || !utf8.ValidString(err.Error()) {
		t.Errorf("%v", err)
	}
}

// TestApply looks at what is sent.
func TestApply(t *testing.T) {
	var got *http.Request
	var body []byte
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, fraud)
	})
	is, err := c.Apply(t.Context(), deployments, "pavise", true, Object{"metadata": map[string]any{"namespace": "ml", "name": "fraud", "resourceVersion": "7"}})
	if err != nil || is.Int("spec", "replicas") != 3 {
		t.Fatalf("%v %v", is, err)
	}
	q := got.URL.Query()
	if got.Method != "PATCH" || got.URL.Path != "/apis/apps/v1/namespaces/ml/deployments/fraud" || got.Header.Get("Content-Type") != "application/apply-patch+yaml" ||
		q.Get("fieldManager") != "pavise" || q.Get("force") != "true" || q.Get("fieldValidation") != "Strict" || got.Header.Get("Authorization") != "Bearer secret" {
		t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
	}
	if want := `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"fraud","namespace":"ml","resourceVersion":"7"}}`; string(body) != want {
		t.Errorf("%s", body)
	}
}

// TestList reads pages, and one of a server whose list never ends.
func TestList(t *testing.T) {
	last := "3"
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		from, next := r.URL.Query().Get("continue"), ""
		if from != last {
			next = from + "1"
			if len(next) == 2 {
				next = "3"
			}
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"apiVersion":"apps/v1","kind":"DeploymentList","metadata":{"continue":%q},"items":[%s]}`, next, fraud)
	})
	list, err := c.List(t.Context(), deployments, "ml", "app=fraud")
	if err != nil || len(list) != 3 {
		t.Errorf("%d %v", len(list), err)
	}
	last = "never"
	if _, err := c.List(t.Context(), deployments, "ml", ""); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("%v", err)
	}
}

// TestOpen reads kubeconfigs: of a server with a certificate, and such as would ask anybody.
func TestOpen(t *testing.T) {
	s, ca := secured(said(200, fraud))
	defer s.Close()
	c, err := Open(Config{Path: kubeconfig(t, s.URL, ca)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), deployments, "ml", "fraud"); err != nil {
		t.Error(err)
	}
	if c, err = Open(Config{Path: kubeconfig(t, s.URL, "")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), deployments, "ml", "fraud"); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("a certificate of nobody: %v", err)
	}
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for what, cfg := range map[string]Config{
		"nothing":         {},
		"no file":         {Path: filepath.Join(t.TempDir(), "none")},
		"no such context": {Path: kubeconfig(t, s.URL, ""), Context: "two"},
		"without TLS":     {Path: kubeconfig(t, "http://cluster.example", "")},
		"without looking": {Path: kubeconfig(t, s.URL, `,"insecure-skip-tls-verify":true`)},
		"no address":      {Path: kubeconfig(t, "https://%zz", "")},
		"no certificate":  {Path: kubeconfig(t, s.URL, `,"certificate-authority-data":"AAAA"`)},
	} {
		if _, err := Open(cfg); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSimulated tells what does not say that it is a release.
func TestSimulated(t *testing.T) {
	commit := strings.Repeat("0a", 20)
	for text, real := range map[string]bool{
		`{"major":"1","minor":"36","gitVersion":"v1.36.3","gitCommit":"` + commit + `","platform":"linux/amd64"}`: true,
		`{"gitVersion":"v1.36.3-eks-1","gitCommit":"` + commit + `","platform":"linux/arm64"}`:                    true,
		`{"gitVersion":"v1.36.3","gitCommit":"","platform":"linux/amd64"}`:                                        false,
		`{"gitVersion":"v0.0.0","gitCommit":"` + commit + `","platform":"linux/amd64"}`:                           false,
		`{}`: false, `[`: false,
	} {
		why, err := serve(t, said(200, text)).Simulated(t.Context())
		if err != nil || (why == "") != real {
			t.Errorf("%s: %q %v", text, why, err)
		}
	}
	if why, err := serve(t, said(404, "{}")).Simulated(t.Context()); err != nil || why == "" {
		t.Errorf("%q %v", why, err)
	}
	if _, err := serve(t, said(200, strings.Repeat(" ", maxAnswer+1))).Simulated(t.Context()); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("%v", err)
	}
}

// TestObject asks by path, and compares.
func TestObject(t *testing.T) {
	var o Object
	if err := json.Unmarshal([]byte(`{"a":{"b":"text","n":2.0,"t":true,"l":[{"name":"one","x":{"y":"z"}},3,{"name":"two"}]}}`), &o); err != nil {
		t.Fatal(err)
	}
	if o.Text("a", "b") != "text" || o.Int("a", "n") != 2 || !o.True("a", "t") || len(o.List("a", "l")) != 2 || o.Text("a", "b", "c") != "" || o.Has("z", "z") || Object(nil).Int("a") != 0 {
		t.Errorf("%v", o)
	}
	for text, want := range map[string]bool{
		`{"a":{"b":"text"}}`: true, `{"a":{"b":"other"}}`: false, `{"a":{"c":null}}`: true, `{"z":{"y":{}}}`: true, `{"a":{"b":{"c":1}}}`: false,
		`{"a":{"l":[{"name":"two"}]}}`: true, `{"a":{"l":[{"name":"one","x":{"y":"w"}}]}}`: false, `{"a":{"l":[{"name":"none"}]}}`: false, `{"empty":[]}`: true,
	} {
		var w Object
		_ = json.Unmarshal([]byte(text), &w)
		if o.Covers(w, "l") != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
	if o.Covers(Object{"a": map[string]any{"l": []any{map[string]any{"name": "two"}}}}) {
		t.Error("a list that is not merged has as many as it should")
	}
}

// FuzzAnswer has the API answer anything.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{fraud, `{}`, `[`, `null`, `{"kind":"Status"}`, `{"kind":"List","items":[null]}`, `{"kind":"DeploymentList","apiVersion":"v1","items":[{"metadata":3}]}`, `{"gitVersion":"v1.36.3"}`} {
		f.Add(text, 200)
	}
	for _, e := range kubetest.Read(f, recording) {
		f.Add(string(e.Answer), e.Status)
	}
	answer := &fixed{}
	c := serve(f, nil)
	c.http.Transport = answer
	f.Fuzz(func(t *testing.T, text string, status int) {
		if status < 200 || status > 599 {
			return
		}
		answer.text, answer.status = text, status
		_, _ = c.List(t.Context(), deployments, "ml", "")
		_, _ = c.Simulated(t.Context())
		is, err := c.Get(t.Context(), deployments, "ml", "fraud")
		if err == nil && (is.Text("metadata", "name") != "fraud" || !is.Covers(is)) {
			t.Errorf("%v", is)
		}
	})
}

// fixed answers every request alike.
type fixed struct {
	text   string
	status int
}

func (s *fixed) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{Request: r, StatusCode: s.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(s.text))}, nil
}

// TestRealServer asks a real API server, where somebody names one: that it says what it is,
// takes server-side apply, refuses what was changed since, and a field that it does not have.
func TestRealServer(t *testing.T) {
	path := os.Getenv("PAVISE_KUBECONFIG")
	if path == "" {
		t.Skip("PAVISE_KUBECONFIG names no kubeconfig: no real API server was asked")
	}
	c, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if why, err := c.Simulated(t.Context()); err != nil || why != "" {
		t.Fatalf("%q %v", why, err)
	}
	name := fmt.Sprintf("pavise-test-%d", time.Now().UnixNano())
	lease := func(version, holder string, more map[string]any) Object {
		about := map[string]any{"namespace": "default", "name": name}
		if version != "" {
			about["resourceVersion"] = version
		}
		spec := map[string]any{"holderIdentity": holder}
		for k, v := range more {
			spec[k] = v
		}
		return Object{"metadata": about, "spec": spec}
	}
	first, err := c.Apply(t.Context(), leases, "pavise-a", false, lease("", "a", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer c.of(leases, "default").Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{})
	if _, err := c.Apply(t.Context(), leases, "pavise-b", false, lease("", "b", nil)); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("another manager: %v", err)
	}
	if _, err := c.Apply(t.Context(), leases, "pavise-b", true, lease(first.Text("metadata", "resourceVersion"), "b", nil)); err != nil {
		t.Error(err)
	}
	if _, err := c.Apply(t.Context(), leases, "pavise-b", true, lease(first.Text("metadata", "resourceVersion"), "c", nil)); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("changed since: %v", err)
	}
	if _, err := c.Apply(t.Context(), leases, "pavise-b", true, lease("", "b", map[string]any{"nothing": "x"})); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("an unknown field: %v", err)
	}
}
