// Package kubetest holds clients of Kubernetes, and servers that tests have in the place of
// one, to what a real API server answered.
//
// A [Server] stands before whatever answers, and keeps each request with its answer: a real
// API server that [Real] asks, an emulator, or a recording of an earlier time, which [Play]
// plays. What a real one answered is kept in files, without what differs from one time to
// the next ([Clean]), so that the same scene can be played without a cluster, and told to an
// emulator, whose answers are held to the real ones.
//
// It is for tests alone.
package kubetest

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// token is what clients of a Server show. A real API server never sees it.
const token = "secret"

// An Exchange is a request to an API server and what it answered.
type Exchange struct {
	Step       string // of the scene: what was being done
	Method     string
	Path       string
	Query      string          `json:",omitempty"` // sorted by key
	Type       string          `json:",omitempty"` // of the body
	Body       json.RawMessage `json:",omitempty"`
	Status     int
	AnswerType string
	Answer     json.RawMessage `json:",omitempty"`
	Same       int             `json:",omitempty"` // in a file: the line that has the answer already
}

// A Server answers one client, over TLS, and keeps what was said. It is safe for concurrent
// use; requests are answered one after the other.
type Server struct {
	Kubeconfig string // the path of one that leads here
	t          testing.TB
	from       http.Handler

	mu     sync.Mutex // guards what follows
	step   string
	before map[string]func()
	kept   []Exchange
}

// New makes a server that has the answers from something else.
func New(t testing.TB, from http.Handler) *Server {
	s := &Server{t: t, from: from, before: map[string]func(){}}
	on := httptest.NewUnstartedServer(s)
	on.Config.ErrorLog = log.New(io.Discard, "", 0)
	on.StartTLS()
	t.Cleanup(on.Close)
	ca, _ := json.Marshal(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: on.Certificate().Raw}))
	s.Kubeconfig = filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"one","contexts":[{"name":"one","context":{"cluster":"c","user":"u"}}],
"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority-data":%s}}],"users":[{"name":"u","user":{"token":%q}}]}`, on.URL, ca, token)
	if err := os.WriteFile(s.Kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// Step says what the requests that come now are for.
func (s *Server) Step(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step = name
}

// Before has something done just before the next request with a method to a path is answered.
func (s *Server) Before(method, path string, do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before[method+" "+path] = do
}

// Exchanges returns what was said so far.
func (s *Server) Exchanges() []Exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Exchange(nil), s.kept...)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Header.Get("Authorization") != "Bearer "+token {
		s.t.Errorf("%s %s: %v, with the credentials %q", r.Method, r.URL, err, r.Header.Get("Authorization"))
	}
	if do := s.before[r.Method+" "+r.URL.Path]; do != nil {
		delete(s.before, r.Method+" "+r.URL.Path)
		do()
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	said := httptest.NewRecorder()
	s.from.ServeHTTP(said, r)
	s.kept = append(s.kept, Exchange{
		Step: s.step, Method: r.Method, Path: r.URL.Path, Query: r.URL.Query().Encode(), Type: r.Header.Get("Content-Type"), Body: body,
		Status: said.Code, AnswerType: said.Header().Get("Content-Type"), Answer: bytes.Clone(said.Body.Bytes()),
	})
	maps.Copy(w.Header(), said.Header())
	w.WriteHeader(said.Code)
	_, _ = w.Write(said.Body.Bytes())
}

// Play answers with what was recorded, in its order. A request that is another than the
// recorded one fails the test.
func Play(t testing.TB, list []Exchange) http.Handler {
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if len(list) == 0 {
			t.Errorf("%s %s: the recording has ended", r.Method, r.URL)
			w.WriteHeader(http.StatusTeapot)
			return
		}
		was := list[0]
		list = list[1:]
		body, _ := io.ReadAll(r.Body)
		is := Exchange{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query().Encode(), Type: r.Header.Get("Content-Type"), Body: body}
		if why := is.Differs(was); why != "" {
			t.Errorf("%s: %s", was.Step, why)
		}
		w.Header().Set("Content-Type", was.AnswerType)
		w.WriteHeader(was.Status)
		_, _ = w.Write(was.Answer)
	})
}

// Differs says how a request is another than one; empty: it is the same.
func (e Exchange) Differs(from Exchange) string {
	for _, c := range []struct{ what, is, was string }{
		{"method", e.Method, from.Method}, {"path", e.Path, from.Path}, {"query", e.Query, from.Query}, {"content type", e.Type, from.Type},
	} {
		if c.is != c.was {
			return fmt.Sprintf("%s %s: the %s is %q, and was %q", e.Method, e.Path, c.what, c.is, c.was)
		}
	}
	if !reflect.DeepEqual(value(e.Body), value(from.Body)) {
		return fmt.Sprintf("%s %s: the body is\n%s\nand was\n%s", e.Method, e.Path, e.Body, from.Body)
	}
	return ""
}

func value(text []byte) (v any) {
	if json.Unmarshal(text, &v) != nil {
		return string(text)
	}
	return v
}

// timed are the keys of times, and counted those of what a server counts or draws by lot.
var (
	timed   = map[string]bool{"creationTimestamp": true, "time": true, "lastTransitionTime": true, "lastUpdateTime": true, "lastTransition": true, "renewTime": true, "acquireTime": true}
	counted = map[string]string{"resourceVersion": "", "uid": "uid-", "continue": "next-"}
)

// repeated is a whole object in a message.
var repeated = regexp.MustCompile(`(?s)"\{.*\}"`)

// Clean returns exchanges without what differs each time that they are made: times are all
// the same, and versions and identifiers are numbered in the order of their coming. Of the
// fields that others manage, which are most of an answer, it is left out which they are, and
// of a message the object that it repeats.
func Clean(t testing.TB, list []Exchange) []Exchange {
	c := cleaner{seen: map[string]string{}}
	all := append([]Exchange(nil), list...)
	for i := range all {
		e := &all[i]
		e.Query = c.query(e.Query)
		for _, part := range []*json.RawMessage{&e.Body, &e.Answer} {
			if len(*part) == 0 {
				continue
			}
			v := value(*part)
			c.clean(v)
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			*part = text
		}
	}
	return all
}

type cleaner struct{ seen map[string]string }

func (c cleaner) clean(v any) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			c.clean(one)
		}
	case map[string]any:
		if about, ok := v["metadata"].(map[string]any); ok && v["items"] != nil {
			delete(about, "resourceVersion") // of a list it changes with anything
		}
		if by, _ := v["manager"].(string); v["fieldsType"] != nil && !strings.HasPrefix(by, "pavise") {
			v["fieldsV1"] = map[string]any{}
		}
		if all, ok := v["managedFields"].([]any); ok { // which come in the order of their seconds
			slices.SortFunc(all, func(a, b any) int { return strings.Compare(whose(a), whose(b)) })
		}
		for key, one := range sorted(v) {
			text, is := one.(string)
			prefix, count := counted[key]
			switch {
			case is && timed[key]:
				v[key] = "2026-01-01T00:00:00Z"
			case is && count && text != "":
				v[key] = c.number(prefix, text)
			case is && key == "message":
				v[key] = repeated.ReplaceAllString(text, `"{}"`)
			default:
				c.clean(one)
			}
		}
	}
}

// whose says of an entry of managedFields whose it is.
func whose(v any) string {
	o, _ := v.(map[string]any)
	return fmt.Sprint(o["manager"], o["operation"], o["subresource"])
}

// number is what stands for a value; a value that is there twice has one.
func (c cleaner) number(prefix, text string) string {
	if c.seen[prefix+text] == "" {
		c.seen[prefix+text] = fmt.Sprint(prefix, len(c.seen)+1)
	}
	return c.seen[prefix+text]
}
