package console

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/mlflow"
	"github.com/pavise/pavise/internal/oci"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/verbs"
)

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no API":   {Host: []string{"127.0.0.1:1"}, Now: time.Now},
		"bad API":  {API: "127.0.0.1:8470", Host: []string{"127.0.0.1:1"}, Now: time.Now},
		"no host":  {API: "http://127.0.0.1:1", Now: time.Now},
		"no clock": {API: "http://127.0.0.1:1", Host: []string{"127.0.0.1:1"}},
	} {
		if _, err := New(cfg); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v, want an error of kind invalid", name, err)
		}
	}
}

func TestLogin(t *testing.T) {
	s := newStand(t)
	link := s.link()
	resp, body := s.get(link)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `<meta http-equiv="refresh" content="0; url=/">`) {
		t.Fatalf("status %d; the page does not lead on:\n%s", resp.StatusCode, body)
	}
	k := resp.Cookies()[0]
	if k.Name != "pavise_session" || !k.HttpOnly || k.SameSite != http.SameSiteStrictMode || k.Path != "/" || k.Domain != "" {
		t.Errorf("cookie %v", k)
	}
	if k.MaxAge != 30*60 {
		t.Errorf("cookie lives %d s, want as long as the token", k.MaxAge)
	}
	if len(k.Value) < 43 || strings.Contains(k.Value, fakeToken) {
		t.Errorf("session id %q", k.Value)
	}
	s.cookie = k
	if resp, _ := s.get("/"); resp.StatusCode != http.StatusOK {
		t.Errorf("signed in: status %d", resp.StatusCode)
	}
	if resp, body := s.get(link); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "pavise console") || len(resp.Cookies()) != 0 {
		t.Errorf("the same link again: status %d, cookies %v", resp.StatusCode, resp.Cookies())
	}
}

func TestLoginRefuses(t *testing.T) {
	s := newStand(t)
	link := s.link()
	short := link[:len(link)-1]
	for _, path := range []string{"/login", "/login?code=", short, link + "A", "/login?code=" + strings.Repeat("A", 43)} {
		if resp, body := s.get(path); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "pavise console") || len(resp.Cookies()) != 0 {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
	if resp, _ := s.get(link, "Sec-Purpose", "prefetch;prerender"); len(resp.Cookies()) != 0 {
		t.Error("a prefetch used the link up")
	}
	s.clock.add(10 * time.Minute)
	if resp, _ := s.get(link); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("after ten minutes: status %d", resp.StatusCode)
	}
	fresh := s.link()
	for range 16 {
		s.link()
	}
	if resp, _ := s.get(fresh); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("an old link among too many: status %d", resp.StatusCode)
	}
}

func TestLoginWithoutToken(t *testing.T) {
	s := newStand(t)
	s.token = func(context.Context) (string, time.Time, error) {
		return "", time.Time{}, errors.New("secret cause")
	}
	if resp, body := s.get(s.link()); resp.StatusCode != http.StatusInternalServerError || strings.Contains(body, "secret cause") {
		t.Errorf("status %d:\n%s", resp.StatusCode, body)
	}
	s.token = func(context.Context) (string, time.Time, error) { return fakeToken, s.clock.now(), nil }
	if resp, _ := s.get(s.link()); resp.StatusCode != http.StatusUnauthorized || len(resp.Cookies()) != 0 {
		t.Errorf("with a token that has ended: status %d", resp.StatusCode)
	}
}

func TestSessionEnds(t *testing.T) {
	s := newStand(t).signIn()
	s.clock.add(30*time.Minute - time.Second)
	if resp, _ := s.get("/"); resp.StatusCode != http.StatusOK {
		t.Errorf("just before: status %d", resp.StatusCode)
	}
	s.clock.add(time.Second)
	if resp, body := s.get("/"); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "pavise console") {
		t.Errorf("with the token: status %d", resp.StatusCode)
	}

	s.token = func(context.Context) (string, time.Time, error) {
		return fakeToken, s.clock.now().Add(24 * time.Hour), nil
	}
	s.signIn()
	s.clock.add(time.Hour)
	if resp, _ := s.get("/"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("after an hour with a day's token: status %d", resp.StatusCode)
	}
}

// TestSessionIsOfItsLink opens links of two people: each session calls with the
// token of its own link, and says whose it is.
func TestSessionIsOfItsLink(t *testing.T) {
	s := newStand(t)
	links := map[string]string{}
	for _, id := range []string{"bob", "cleo"} {
		links[id] = s.console.Link(func(context.Context) (string, time.Time, error) {
			return tokenOf(`{"sub":"` + id + `","pavise_kind":"human"}`), s.clock.now().Add(time.Minute), nil
		})
	}
	for id, link := range links {
		s.api.token = tokenOf(`{"sub":"` + id + `","pavise_kind":"human"}`) // and no other is taken
		resp, _ := s.get(link)
		if resp.StatusCode != http.StatusOK || resp.Cookies()[0].MaxAge != 60 {
			t.Fatalf("%s: status %d, cookies %v", id, resp.StatusCode, resp.Cookies())
		}
		s.cookie = resp.Cookies()[0]
		if resp, body := s.get("/routes"); resp.StatusCode != http.StatusOK || !strings.Contains(body, `<b class="holder" title="`+id+`">`) {
			t.Errorf("%s: status %d, or it is not their session", id, resp.StatusCode)
		}
	}
}

func TestLogout(t *testing.T) {
	s := newStand(t).signIn()
	resp, _ := s.do(http.MethodPost, "/logout", "Origin", s.server.URL)
	if resp.StatusCode != http.StatusOK || len(resp.Cookies()) != 1 || resp.Cookies()[0].MaxAge >= 0 {
		t.Errorf("status %d, cookies %v", resp.StatusCode, resp.Cookies())
	}
	if resp, _ := s.get("/"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the old cookie: status %d", resp.StatusCode)
	}
}

// A token that the API stops taking ends the session it belongs to.
func TestTokenRevoked(t *testing.T) {
	s := newStand(t).signIn()
	s.api.problems["route.list"] = api.Problem{Status: 401, Title: "unverified", Detail: "the token has been revoked"}
	if resp, body := s.get("/routes"); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "pavise console") {
		t.Errorf("status %d", resp.StatusCode)
	}
	if resp, _ := s.get("/"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("afterwards: status %d", resp.StatusCode)
	}
}

// everyPath is one path of each handler, with the status a session gets.
var everyPath = map[string]int{
	"/": 200, "/?show=denied": 200, "/findings": 200, "/datasets": 200, "/findings?least=high&before=7": 200, "/findings?least=x&before=x": 200, "/search": 200, "/search?kind=model": 200, "/search?kind=&since=1h": 303, "/search?before=x": 400, "/changes": 200, "/changes/c-open": 200,
	"/changes/c-none": 404, "/changes/-": 404, "/changes/c-open/deny": 303, "/changes/c-open/else": 404, "/trail/0": 200, "/trail/77": 404, "/trail/x": 404, "/evidence": 200, "/routes": 200, "/policies": 200,
	"/access": 200, "/access?role=nobody": 404, "/access/ask": 200, "/access/ask?verb=model.infer&on=x": 400, "/callers": 200, "/callers/revoke": 303,
	"/registry": 200, "/registry/of?model=nobody": 404, "/drift": 200, "/drift/of": 400, "/drift/of?model=local/model/nobody": 404, "/drift/verdict": 303, "/drift/dismiss": 303,
	"/asset/console.css": 200, "/asset/console.js": 200, "/asset/mark.svg": 200, "/asset/nothing.css": 404,
	"/nowhere": 404, "/login": 401, "/logout": 404,
}

func TestHeadersEverywhere(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(infer(began, "ci", 3, nil))
	s.api.changes = []api.ChangeView{proposal("c-open", nil)}
	for path, status := range everyPath {
		resp, body := s.get(path)
		if resp.StatusCode != status {
			t.Errorf("%s: status %d, want %d", path, resp.StatusCode, status)
		}
		checkHeaders(t, path, resp, body)
	}
	for _, resp := range refusals(s) {
		checkHeaders(t, resp.Request.URL.Path, resp, "")
	}
}

func refusals(s *stand) []*http.Response {
	host, _ := s.get("/", "Host", "evil.example")
	method, _ := s.do(http.MethodDelete, "/")
	origin, _ := s.do(http.MethodPost, "/logout", "Origin", "http://evil.example")
	vote, _ := s.do(http.MethodPost, "/changes/c-open/approve", "Origin", "http://evil.example")
	s.cookie = nil
	anonymous, _ := s.get("/")
	return []*http.Response{host, method, origin, vote, anonymous}
}

var inline = regexp.MustCompile(`(?i)<script>|<style|\sstyle=|\son[a-z]+=|javascript:`)

func checkHeaders(t *testing.T, path string, resp *http.Response, body string) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy":      "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Cache-Control":                "no-store",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %s is %q, want %q", path, name, got, want)
		}
	}
	if resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%s: readable by other origins", path)
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") && inline.MatchString(body) {
		t.Errorf("%s: inline script or style: %q", path, inline.FindString(body))
	}
}

func TestHost(t *testing.T) {
	s := newStand(t).signIn()
	good := s.console.cfg.Host[0]
	_, port, _ := strings.Cut(good, ":")
	for host, want := range map[string]int{
		good: 200, "evil.example": 421, "evil.example:" + port: 421, "127.0.0.1": 421, "127.0.0.1:1": 421,
		good + ".evil.example": 421, "localhost:" + port: 421, "[::1]:" + port: 421,
	} {
		resp, body := s.get("/", "Host", host)
		if resp.StatusCode != want {
			t.Errorf("Host %s: status %d, want %d", host, resp.StatusCode, want)
		}
		if strings.Contains(body, "evil.example") {
			t.Errorf("Host %s is shown", host)
		}
	}
	link := s.link()
	s.get(link, "Host", "evil.example")
	if resp, _ := s.get(link); resp.StatusCode != http.StatusOK {
		t.Errorf("a foreign host used the link up: status %d", resp.StatusCode)
	}
}

func TestForeignRequests(t *testing.T) {
	s := newStand(t).signIn()
	own := s.server.URL
	elsewhere := "http://127.0.0.1:1"
	for _, c := range []struct {
		method, path string
		headers      []string
		want         int
	}{
		{"GET", "/", nil, 200},
		{"GET", "/", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{"GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 403},
		{"GET", "/", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, 403},
		{"GET", "/events", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, 403},
		{"POST", "/logout", nil, 403},
		{"POST", "/logout", []string{"Origin", "null"}, 403},
		{"POST", "/logout", []string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", "/logout", []string{"Origin", elsewhere, "Sec-Fetch-Site", "same-origin"}, 403},
		{"POST", "/logout", []string{"Origin", "http://evil.example"}, 403},
		{"POST", "/logout", []string{"Origin", elsewhere}, 403},
		{"POST", "/logout", []string{"Origin", own + ".evil.example"}, 403},
		{"POST", "/logout", []string{"Origin", own, "Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", "/logout", []string{"Origin", own, "Sec-Fetch-Site", "same-site"}, 403},
		{"POST", "/", []string{"Origin", own}, 405},
		{"POST", "/login", []string{"Origin", own}, 405},
		{"POST", "/changes", []string{"Origin", own}, 405},
		{"POST", "/changes/c-open", []string{"Origin", own}, 405},
		{"POST", "/changes/c-open/approve/now", []string{"Origin", own}, 405},
		{"HEAD", "/", nil, 405},
		{"PUT", "/", []string{"Origin", own}, 405},
		{"OPTIONS", "/", []string{"Origin", "http://evil.example"}, 405},
		{"POST", "/logout", []string{"Origin", own, "Sec-Fetch-Site", "same-origin"}, 200},
		{"POST", "/logout", []string{"Origin", "null", "Sec-Fetch-Site", "same-origin"}, 200},
	} {
		if resp, _ := s.do(c.method, c.path, c.headers...); resp.StatusCode != c.want {
			t.Errorf("%s %s %v: status %d, want %d", c.method, c.path, c.headers, resp.StatusCode, c.want)
		}
	}
}

func TestAnonymousSeesNothing(t *testing.T) {
	s := newStand(t)
	s.api.add(infer(began, "ci", 3, nil))
	for _, path := range []string{"/", "/findings", "/datasets", "/search", "/search?kind=model", "/events", "/trail/0", "/changes", "/changes/c-open", "/changes/c-open/approve", "/evidence", "/routes", "/policies", "/access", "/access/ask", "/callers", "/callers/revoke"} {
		for _, value := range []string{"", "guess", strings.Repeat("A", 43)} {
			resp, body := s.get(path, "Cookie", "pavise_session="+value)
			if resp.StatusCode != http.StatusUnauthorized || strings.Contains(body, "Sign out") {
				t.Errorf("%s with cookie %q: status %d", path, value, resp.StatusCode)
			}
		}
	}
	if len(s.api.calls) != 0 {
		t.Errorf("the API was asked: %v", s.api.calls)
	}
}

func TestAPIAway(t *testing.T) {
	s := newStand(t).signIn()
	s.backend.CloseClientConnections()
	s.backend.Close()
	for _, path := range []string{"/", "/findings", "/datasets", "/search?kind=model", "/trail/0", "/changes", "/changes/c-open", "/evidence", "/routes", "/policies", "/access", "/access/ask?verb=model.infer", "/callers"} {
		resp, body := s.get(path)
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "Pavise does not answer") || !strings.Contains(body, "pavise up") {
			t.Errorf("%s: status %d:\n%s", path, resp.StatusCode, body)
		}
		if strings.Contains(body, "connection refused") {
			t.Errorf("%s shows the cause", path)
		}
	}
}

func TestDenied(t *testing.T) {
	s := newStand(t).signIn()
	s.api.problems["policy.list"] = api.Problem{Status: 403, Title: "denied", Detail: "local/human/ada may not do policy.list on local/policy/all: no policy permits it", Hint: "pavise policy explain shows what would allow it"}
	resp, body := s.get("/policies")
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "local/human/ada may not do policy.list") || !strings.Contains(body, "pavise policy explain") {
		t.Errorf("status %d:\n%s", resp.StatusCode, body)
	}
}

// Opening a page asks for verbs that read, and for no others.
func TestPagesOnlyRead(t *testing.T) {
	s := newStand(t).signIn()
	enter := uint64(0)
	s.api.changes = []api.ChangeView{proposal("c-open", nil)}
	s.api.add(infer(began, "ci", 3, nil), record.Record{Kind: "route.put", Phase: record.Enter, Tenant: "local", At: began}, record.Record{Kind: "route.put", Phase: record.Exit, Tenant: "local", At: began, Enter: &enter})
	for path := range everyPath {
		s.get(path)
	}
	s.get("/trail/1")
	s.get("/trail/2")
	for verb := range s.api.calls {
		switch verb {
		case "ledger.list", "ledger.read", "ledger.status", "route.list", "policy.list", "policy.explain":
		case "change.list", "change.show", "ledger.followers", "archive.list", "witness.list", "subject.list":
		case "policy.matrix", "policy.who-can", "grant.list", "caller.list":
		case "model.list", "model.show", "drift.list", "drift.show", "finding.list", "dataset.list":
		default:
			t.Errorf("the console asked for %s", verb)
		}
	}
	for _, v := range verbs.Table() {
		if s.api.calls[v.Name] > 0 && v.Class != guard.Pooled {
			t.Errorf("%s is no reading verb", v.Name)
		}
	}
}

// The console shares a port with other doors. Whatever its navigation leads to is
// behind none of them.
func TestNavigationStandsBesideOtherDoors(t *testing.T) {
	s := newStand(t).signIn()
	_, body := s.get("/")
	links := regexp.MustCompile(`(?s)<nav aria-label="Main">.*?</nav>`).FindString(body)
	mux := http.NewServeMux()
	for _, door := range []string{"/v1/", "/v2", "/v2/", "/witness/", evidence.TilesPrefix} {
		mux.HandleFunc(door, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	}
	mux.Handle("/", s.console.Handler())
	s.server.Config.Handler = mux
	pages := regexp.MustCompile(`href="([^"]+)"`).FindAllStringSubmatch(links, -1)
	if len(pages) != 7 {
		t.Errorf("%d pages in the navigation", len(pages))
	}
	for _, m := range pages {
		if resp, _ := s.get(m[1]); resp.StatusCode != http.StatusOK {
			t.Errorf("%s is behind another door: status %d", m[1], resp.StatusCode)
		}
	}
	for path := range everyPath { // model servers and registries have paths of their own
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if edge.Knows(r.Method, r.URL.Path) || mlflow.Serves(r.URL.Path) || oci.Knows(r.URL.Path) {
			t.Errorf("%s is a path of the data plane, or of a registry", path)
		}
	}
}

func TestLinkIsFresh(t *testing.T) {
	s := newStand(t)
	seen := map[string]bool{}
	for range 8 {
		u, err := url.Parse(s.link())
		if err != nil || u.Path != "/login" || len(u.Query().Get("code")) != 43 {
			t.Fatalf("link %v: %v", u, err)
		}
		seen[u.String()] = true
	}
	if len(seen) != 8 {
		t.Errorf("%d links of 8 differ", len(seen))
	}
}
