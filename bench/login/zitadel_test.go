package login

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/login"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

// startZitadel serves zitadel's example provider on this machine and returns its issuer.
func startZitadel(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	issuer := "http://localhost:" + port + "/"
	storage.RegisterClients(storage.NativeClient("pavise-cli", "http://127.0.0.1/callback"))
	handler := exampleop.SetupServer(issuer, storage.NewStorage(storage.NewUserStore(issuer)), slog.New(slog.DiscardHandler), false)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return issuer
}

// signIn is the person: opens the page, and gives name and password.
func signIn(t *testing.T, at string) {
	jar, _ := cookiejar.New(nil)
	browser := http.Client{Jar: jar}
	resp, err := browser.Get(at)
	if err != nil {
		t.Error(err)
		return
	}
	page, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	id := regexp.MustCompile(`name="id" value="([^"]+)"`).FindSubmatch(page)
	if id == nil {
		t.Errorf("no login page: %s", page)
		return
	}
	form := url.Values{"id": {string(id[1])}, "username": {"test-user@localhost"}, "password": {"verysecure"}}
	if resp, err = browser.PostForm(resp.Request.URL.String(), form); err != nil {
		t.Error(err)
		return
	}
	page, _ = io.ReadAll(resp.Body)
	resp.Body.Close()
	if !strings.Contains(string(page), "You are logged in") {
		t.Errorf("the last page is %s", page)
	}
}

// TestZitadel logs a person in at zitadel's provider, whose access tokens are opaque, and
// takes the ID token by its discovery document.
func TestZitadel(t *testing.T) {
	issuer := startZitadel(t)
	grant, err := login.Browser(t.Context(), login.Config{
		Issuer: issuer, ClientID: "pavise-cli", Scopes: []string{"profile", "email"}, Ask: func(r login.Request) { go signIn(t, r.URL) },
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := grant.Token(false)
	if err != nil {
		t.Fatal(err)
	}
	v, err := identity.NewVerifier(time.Now, identity.Issuer{
		URL: issuer, Audience: "pavise-cli", Discover: true, Algorithms: []identity.Algorithm{"RS256"}, Tenant: "acme", MaxTTL: 2 * time.Hour,
		Claims: identity.ClaimMap{ID: "escape(claims.sub)", Kind: "'human'", Roles: "[]"},
	})
	if err != nil {
		t.Fatal(err)
	}
	who, err := v.Verify(t.Context(), identity.Credentials{Authorization: []string{"Bearer " + token}})
	if err != nil || who.Name().String() != "acme/human/id1" {
		t.Errorf("the token proves %+v, %v", who, err)
	}
}
