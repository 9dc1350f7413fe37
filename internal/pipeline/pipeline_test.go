package pipeline

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/outbound"
)

// app is the key of an app, made once.
var app = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
})

// says is a tool that answers each question with the next text, and the last for ever.
type says struct {
	texts []string
	asked []string
}

// RoundTrip answers.
func (s *says) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked = append(s.asked, r.Method+" "+r.URL.Path)
	text := s.texts[0]
	if len(s.texts) > 1 {
		s.texts = s.texts[1:]
	}
	status := http.StatusOK
	if text == "" {
		status = http.StatusNotFound
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader([]byte(text))), Request: r}, nil
}

// tools are both, where answers are as a test says.
func tools(t testing.TB, text ...string) (map[string]Tool, *says) {
	t.Helper()
	base, err := url.Parse("https://tool.example.org")
	if err != nil {
		t.Fatal(err)
	}
	s := &says{texts: text}
	wire := &outbound.Wire{Client: &http.Client{Transport: s}, Base: base}
	hub, err := NewGitHub(wire, "org/repo", "1", app(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Tool{"github": hub, "gitlab": NewGitLab(wire, "org/repo", "token")}, s
}

// TestRequests: a message says which run and which environment, or is refused.
func TestRequests(t *testing.T) {
	const good = `{"action":"requested","environment":"prod","deployment_callback_url":"https://api.github.com/repos/Org/repo/actions/runs/12/deployment_protection_rule","deployment":{"id":9}}`
	d, err := ReadRequest([]byte(good), "org/repo")
	if want := (Deployment{ID: "12-9", Number: 12, Environment: "prod"}); err != nil || d != want {
		t.Fatalf("%+v, %v", d, err)
	}
	unnamed, err := ReadRequest([]byte(strings.Replace(good, `"id":9`, `"id":0`, 1)), "org/repo")
	other, err2 := ReadRequest([]byte(strings.NewReplacer(`"id":9`, `"id":0`, `"prod"`, `"test"`).Replace(good)), "org/repo")
	if err != nil || err2 != nil || unnamed.ID == other.ID {
		t.Errorf("%+v and %+v, %v, %v", unnamed, other, err, err2)
	}
	for name, text := range map[string]string{
		"nothing": "", "a list": "[]", "another action": strings.Replace(good, "requested", "completed", 1), "no environment": strings.Replace(good, `"prod"`, `""`, 1),
		"a line in it": strings.Replace(good, `"prod"`, `"a\nb"`, 1), "turned text": strings.Replace(good, `"prod"`, `"a\u202eb"`, 1), "a long one": strings.Replace(good, `"prod"`, `"`+strings.Repeat("a", 256)+`"`, 1),
		"another repository": strings.Replace(good, "Org/repo", "org/repos", 1), "a path more": strings.Replace(good, "_rule\"", "_rule/x\"", 1), "a query": strings.Replace(good, "_rule\"", "_rule?x\"", 1),
		"run 0": strings.Replace(good, "runs/12", "runs/0", 1), "a long run": strings.Replace(good, "runs/12", "runs/"+strings.Repeat("9", 19), 1), "negative": strings.Replace(good, `"id":9`, `"id":-9`, 1),
	} {
		if d, err := ReadRequest([]byte(text), "org/repo"); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

// TestLies: what a tool says that cannot be is no deployment; what it does not have is gone.
func TestLies(t *testing.T) {
	const token = `{"id":7,"token":"t","expires_at":"2100-01-01T00:00:00Z"}`
	asked := Deployment{ID: "5", Number: 5, Environment: "prod"}
	for name, text := range map[string]string{
		"another": `{"id":6,"sha":"` + strings.Repeat("a", 40) + `","head_sha":"` + strings.Repeat("a", 40) + `","head_branch":"main","ref":"main","status":"blocked","run_attempt":1}`,
		"no sha":  `{"id":5,"sha":"HEAD","head_sha":"HEAD","head_branch":"main","ref":"main","status":"blocked"}`, "a number": `5`, "no ref": `{"id":5,"sha":"` + strings.Repeat("a", 40) + `"}`,
	} {
		all, _ := tools(t, token, token, text)
		_, hub := all["github"].Look(t.Context(), asked)
		all, _ = tools(t, text)
		_, lab := all["gitlab"].Look(t.Context(), asked)
		for tool, err := range map[string]error{"github": hub, "gitlab": lab} {
			if _, ok := errors.AsType[*outbound.Answer](err); !ok && !errors.Is(err, ErrGone) {
				t.Errorf("%s, %s: %v", tool, name, err)
			}
		}
	}
	all, _ := tools(t, token, token, "")
	if _, err := all["github"].Look(t.Context(), asked); !errors.Is(err, ErrGone) {
		t.Errorf("github has none: %v", err)
	}
	all, s := tools(t, "")
	if err := all["gitlab"].Answer(t.Context(), asked, true, "c", false); !errors.Is(err, ErrGone) || len(s.asked) != 1 {
		t.Errorf("gitlab has none: %v, %q", err, s.asked)
	}
	all, _ = tools(t, "")
	if _, err := all["github"].Look(t.Context(), asked); errors.Is(err, ErrGone) || err == nil {
		t.Errorf("an app that is not installed: %v", err)
	}
	if _, err := NewGitHub(nil, "org/repo", "1", "no key", nil); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("no key: %v", err)
	}
}

// TestBranches: whoever may push names a branch, and whoever forks has a main: neither keeps people
// from seeing what is deployed, nor the tool from being asked of others.
func TestBranches(t *testing.T) {
	const at = `{"id":5,"token":"t","expires_at":"2100-01-01T00:00:00Z","sha":"0123456789abcdef0123456789abcdef01234567","head_sha":"0123456789abcdef0123456789abcdef01234567","status":"blocked","environment":{"name":"prod"},`
	for _, c := range []struct{ text, lab, hub string }{
		{`"ref":"main","head_branch":"main","head_repository":{"full_name":"Org/repo"}}`, "main", "main"},
		{`"ref":"a\u202eb","head_branch":"a\u202eb","head_repository":{"full_name":"org/repo"}}`, `"a\u202eb"`, `"a\u202eb"`},
		{`"head_repository":{"full_name":"org/repo"}}`, `""`, `""`},
		{`"ref":"main","head_branch":"main","head_repository":{"full_name":"mallory/repo"}}`, "main", "mallory/repo:main"},
		{`"ref":"main","head_branch":"main","head_repository":null}`, "main", "a repository that is gone:main"},
	} {
		all, _ := tools(t, at+c.text)
		hub, err := all["github"].Look(t.Context(), Deployment{ID: "5", Number: 5, Environment: "prod"})
		if err != nil || hub.Ref != c.hub {
			t.Errorf("github, %s: %q, %v", c.text, hub.Ref, err)
		}
		all, _ = tools(t, "["+at+c.text+"]")
		lab, err := all["gitlab"].Waiting(t.Context())
		if err != nil || len(lab) != 1 || lab[0].Ref != c.lab {
			t.Errorf("gitlab, %s: %+v, %v", c.text, lab, err)
		}
	}
	if long := branch(strings.Repeat("é", 300)); !plain(long) {
		t.Errorf("%q", long)
	}
}

// TestTokenLasts: a token is got once, and anew when it is about to end.
func TestTokenLasts(t *testing.T) {
	run := `{"id":5,"token":"t","expires_at":"2027-01-01T01:00:00Z","head_sha":"` + strings.Repeat("a", 40) + `","head_branch":"main","status":"waiting","run_attempt":1}`
	all, s := tools(t, run)
	hub := all["github"].(*GitHub)
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	hub.now = func() time.Time { return now }
	for _, pass := range []time.Duration{0, 49 * time.Minute, 2 * time.Minute} {
		now = now.Add(pass)
		if _, err := hub.Look(t.Context(), Deployment{ID: "5", Number: 5, Environment: "prod"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(strings.Join(s.asked, "\n"), "access_tokens"); got != 2 {
		t.Errorf("%d tokens: %q", got, s.asked)
	}
}

// FuzzTools has tools answer anything, and GitHub send anything: an error, or deployments
// that are fit to be shown, and to be asked for.
func FuzzTools(f *testing.F) {
	for _, text := range []string{
		`{"action":"requested","environment":"prod","deployment_callback_url":"https://api.github.com/repos/org/repo/actions/runs/12/deployment_protection_rule","deployment":{"id":9}}`,
		`[{"id":5,"ref":"main","sha":"0123456789abcdef0123456789abcdef01234567","status":"blocked","environment":{"name":"prod"},"deployable":{"web_url":"javascript:x"}}]`,
		`{"id":5,"token":"t","expires_at":"2100-01-01T00:00:00Z","head_sha":"0123456789abcdef0123456789abcdef01234567","head_branch":"a\u0000b","status":"waiting","run_attempt":1,"triggering_actor":{"id":42}}`,
		`{"id":5,"token":"a b"}`, `[[[[`, `null`, `{}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		check := func(d Deployment, full bool) {
			if d.Number <= 0 || d.ID == "" || !plain(d.Environment) || strings.ContainsAny(d.ID, "/?#") || full && (d.valid() != nil || strings.HasPrefix(d.URL, "javascript")) {
				t.Errorf("%s: %+v", text, d)
			}
		}
		if d, err := ReadRequest(text, "org/repo"); err == nil {
			check(d, false)
		}
		wire := &outbound.Wire{Client: &http.Client{Transport: &says{texts: []string{string(text)}}}, Base: &url.URL{Scheme: "https", Host: "tool.example.org"}}
		known := &GitHub{wire: wire, owner: "org", name: "repo", token: "t", until: time.Now().Add(time.Hour), now: time.Now} // signing takes long
		for _, tool := range []Tool{known, NewGitLab(wire, "org/repo", "token")} {
			if found, err := tool.Waiting(t.Context()); err == nil {
				for _, d := range found {
					check(d, true)
				}
			}
			if d, err := tool.Look(t.Context(), Deployment{ID: "5", Number: 5, Environment: "prod"}); err == nil {
				check(d, true)
			}
			_ = tool.Answer(t.Context(), Deployment{ID: "5", Number: 5, Environment: "prod"}, true, "c", true) // whatever it says, it ends
		}
	})
}
