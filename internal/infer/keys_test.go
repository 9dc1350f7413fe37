package infer

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

// TestKeysGoToTheirServer and to no other.
func TestKeysGoToTheirServer(t *testing.T) {
	const answer = `{"id":"a","object":"chat.completion","created":1,"model":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`
	var got string
	serve := func() *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.Header.Get("Authorization")
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, answer)
		}))
		t.Cleanup(s.Close)
		return s
	}
	ours, other := serve(), serve()
	servers, err := NewServers().With(Keys{strings.ToUpper(ours.URL[:4]) + ours.URL[4:]: "sk-secret"})
	if err != nil {
		t.Fatal(err)
	}
	request, err := chat.ParseRequest(chat.Chat, []byte(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`), chat.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{ours.URL: "Bearer sk-secret", other.URL: "", strings.Replace(ours.URL, "127.0.0.1", "localhost", 1): ""} {
		c, err := servers.Chat([]upstream.Endpoint{{URL: url, Weight: 1}}, upstream.Options{}, Place{Address: url, Model: "x", Protocol: tensor.NameOpenAI}, chat.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ask(t.Context(), request, c.Encode(request, nil)); err != nil || got != want {
			t.Errorf("%s: %q, want %q, %v", url, got, want, err)
		}
		c.Close()
	}
	for name, bad := range map[string]Keys{
		"no address":  {"api.openai.com": "sk-secret"},
		"user":        {"https://a@b": "sk-secret"},
		"empty":       {"https://a": ""},
		"second line": {"https://a": "sk-secret\nX: y"},
		"twice":       {"https://a": "sk-secret", "https://A:443": "sk-secret"},
	} {
		if _, err := NewServers().With(bad); pavise.KindOf(err) != pavise.Invalid || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKeyFiles are read when nobody else can read them, and no error shows a key.
func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("sk-secret\n"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keys, err := ReadKeys(map[string]string{"https://a": file("a", 0o600), "https://b": file("b", 0o400)})
	if err != nil || keys["https://a"] != "sk-secret" || keys["https://b"] != "sk-secret" {
		t.Errorf("%v, %v", keys, err)
	}
	for name, path := range map[string]string{"open": file("open", 0o644), "away": filepath.Join(dir, "c")} {
		if _, err := ReadKeys(map[string]string{"https://c": path}); pavise.KindOf(err) != pavise.Invalid || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
