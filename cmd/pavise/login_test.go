package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/identity/identitytest"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/role"
)

// newLoginProvider is an OpenID provider of an organisation, where a person has just
// confirmed the login.
func newLoginProvider(t *testing.T) *httptest.Server {
	t.Helper()
	issuer := identitytest.New(t)
	var s *httptest.Server
	reply := func(v func() any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(v()) }
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", reply(func() any {
		return map[string]string{"issuer": s.URL, "jwks_uri": s.URL + "/jwks", "token_endpoint": s.URL + "/token", "device_authorization_endpoint": s.URL + "/device"}
	}))
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, issuer.JWKS(t)) })
	mux.HandleFunc("/device", reply(func() any {
		return map[string]any{"device_code": "d", "user_code": "ABCD-EFGH", "verification_uri": s.URL + "/activate", "interval": 1}
	}))
	mux.HandleFunc("/token", reply(func() any {
		token := issuer.Token(t, func(c map[string]any) {
			c["iss"], c["sub"], c["groups"] = s.URL, "ann|7", []string{"soc"}
			delete(c, "pavise_roles")
		})
		return map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 600}
	}))
	s = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// TestLogin logs a person in, speaks as them, and logs them out.
func TestLogin(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	p := newLoginProvider(t)
	u := runUp(t, role.UpConfig{Data: installation.Data(t.TempDir()), Now: time.Now, Issuers: []identity.Issuer{{
		URL: p.URL, Audience: "pavise", Discover: true, Algorithms: []identity.Algorithm{"ES256"}, Tenant: role.Tenant, MaxTTL: time.Hour, Roles: []string{"analyst"},
		Claims: identity.ClaimMap{ID: "escape(claims.sub)", Kind: "'human'", Roles: "'soc' in claims.groups ? ['analyst'] : []"},
	}}})
	pavise := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"--data", filepath.Join(home, "none")}, args...), &out, &errs); code != want {
			t.Errorf("pavise %s: exit code %d, want %d: %s", strings.Join(args, " "), code, want, errs.String())
		}
		return out.String(), errs.String()
	}
	login := []string{"login", "--issuer", p.URL, "--client-id", "cli", "--device", "--server"}
	if _, said := pavise(0, append(login, u.Greeting.Server)...); !strings.Contains(said, "ABCD-EFGH") || !strings.Contains(said, p.URL+"/activate") {
		t.Errorf("the person is told %q", said)
	}
	for _, args := range [][]string{{"whoami"}, {"whoami", "--server", u.Greeting.Server}, {"issuer", "whoami", "--server", u.Greeting.Server + "/"}} {
		if said, _ := pavise(0, args...); !strings.Contains(said, "local/human/ann+7C7") || !strings.Contains(said, "analyst") {
			t.Errorf("%v: %s", args, said)
		}
	}
	pavise(0, "policy", "list")
	pavise(3, "issuer", "mint", "--subject", "x", "--role", "caller")
	if _, said := pavise(2, "whoami", "--server", "http://127.0.0.1:1"); !strings.Contains(said, "no token") {
		t.Errorf("another server: %s", said)
	}
	if said, _ := pavise(0, "logout"); !strings.Contains(said, u.Greeting.Server) {
		t.Errorf("logout says %q", said)
	}
	pavise(8, "whoami")
	pavise(4, "logout")
	for _, server := range []string{"http://pavise.example", "ftp://127.0.0.1", "https://a@b", ""} {
		pavise(2, append(login, server)...)
	}
	pavise(8, "login", "--issuer", p.URL+"/other", "--client-id", "cli", "--device", "--server", u.Greeting.Server)
}

// TestRefusedLoginIsNotKept: a token that the server does not take is worth nothing.
func TestRefusedLoginIsNotKept(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	p := newLoginProvider(t)
	u := runUp(t, role.UpConfig{Data: installation.Data(t.TempDir()), Now: time.Now}) // does not know the provider
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"login", "--issuer", p.URL, "--client-id", "cli", "--device", "--server", u.Greeting.Server}, &out, &errs); code != 7 {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
	if _, err := os.Stat(filepath.Join(home, "pavise")); !os.IsNotExist(err) {
		t.Errorf("something was kept: %v", err)
	}
}
