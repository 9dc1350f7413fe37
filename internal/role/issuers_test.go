package role

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/identity/identitytest"
	"github.com/pavise/pavise/internal/installation"
)

// issuerFile writes the record that pins an issuer.
func issuerFile(t *testing.T, i identitytest.Issuer) string {
	t.Helper()
	text := `{"url":"https://issuer.example","audience":"pavise","algorithms":["ES256"],"roles":["caller"],"max_ttl":"1h","jwks":` + i.JWKS(t) + `}`
	path := filepath.Join(t.TempDir(), "issuer.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPinnedIssuer has callers of an organisation's own issuer ask the model.
func TestPinnedIssuer(t *testing.T) {
	f := identitytest.New(t)
	issuers, err := ReadIssuers([]string{issuerFile(t, f)})
	if err != nil {
		t.Fatal(err)
	}
	u := runUp(t, UpConfig{Data: installation.Data(t.TempDir()), Listen: "127.0.0.1:0", Issuers: issuers, Now: time.Now})
	ask := func(token string) int {
		req, err := http.NewRequest("POST", u.url()+"/v2/models/"+Sample+"/infer", strings.NewReader(string(SampleRow(0))))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for name, tt := range map[string]struct {
		edit func(map[string]any)
		want int
	}{
		"good":           {nil, 200},
		"role not its":   {func(c map[string]any) { c["pavise_roles"] = []string{"operator"} }, 401},
		"other audience": {func(c map[string]any) { c["aud"] = "somebody" }, 401},
		"too long":       {func(c map[string]any) { c["exp"] = time.Now().Unix() + 7200 }, 401},
		"local issuer":   {func(c map[string]any) { c["iss"] = "urn:pavise:local:" + u.install }, 401},
	} {
		if got := ask(f.Token(t, tt.edit)); got != tt.want {
			t.Errorf("%s: status %d, want %d", name, got, tt.want)
		}
	}
}

func TestIssuerFileRefused(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"empty":       ``,
		"unknown":     `{"url":"https://x","jwks_uri":"https://x/keys"}`,
		"no ttl":      `{"url":"https://x","audience":"a","algorithms":["ES256"],"roles":[],"jwks":{"keys":[]}}`,
		"no keys":     `{"url":"https://x","audience":"a","algorithms":["ES256"],"roles":[],"max_ttl":"1h","jwks":{"keys":[]}}`,
		"private key": `{"url":"https://x","audience":"a","algorithms":["EdDSA"],"roles":[],"max_ttl":"1h","jwks":{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}]}}`,
	} {
		path := filepath.Join(dir, "issuer.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadIssuers([]string{path}); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
