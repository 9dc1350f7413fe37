package infer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

// TestTLSOptionsRefused are options that say nothing, or name files that are none: each is
// told by its name, and nothing of a key is shown.
func TestTLSOptionsRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	garbage, secret := file("garbage", "no PEM", 0o644), file("secret", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", 0o600)
	for name, tt := range map[string]struct {
		name string
		t    upstream.TLS
		want string
	}{
		"no name":        {"", upstream.TLS{ServerName: "x"}, "no name"},
		"a path":         {"../x", upstream.TLS{ServerName: "x"}, "no name"},
		"a word of ours": {"none", upstream.TLS{ServerName: "x"}, "no name"},
		"nothing":        {"a", upstream.TLS{}, "says nothing"},
		"no such file":   {"a", upstream.TLS{CAFile: filepath.Join(dir, "none")}, "no such file"},
		"a directory":    {"a", upstream.TLS{CAFile: dir}, "no file"},
		"no authority":   {"a", upstream.TLS{CAFile: garbage}, "no certificate in"},
		"half a pair":    {"a", upstream.TLS{CertFile: garbage}, "both"},
		"no pair":        {"a", upstream.TLS{CertFile: garbage, KeyFile: secret}, "not a certificate and its key"},
	} {
		_, err := NewServers().WithTLS(map[string]upstream.TLS{tt.name: tt.t})
		if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "model_tls") {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: the error shows a key: %v", name, err)
		}
	}
}

// TestWithoutItsTLS: what names options that are not here is asked for nothing, aside from
// inference neither.
func TestWithoutItsTLS(t *testing.T) {
	s := NewServers()
	at := oipNamed("m")
	at.TLS = "missing"
	u, err := s.Upstream([]upstream.Endpoint{{URL: "https://127.0.0.1:1", Weight: 1}}, upstream.Options{}, at, tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err := u.Infer(t.Context(), parsed(t)); pavise.KindOf(err) != pavise.Unavailable || strings.Contains(err.(*pavise.Error).Msg, "missing") {
		t.Errorf("%v", err)
	}
	if _, err := u.Pass(t.Context(), "GET", "/", nil); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("%v", err)
	}
	if _, err := u.Describe(t.Context()); pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), `"missing"`) {
		t.Errorf("%v", err)
	}
	if u.Cluster() != nil || len(s.Stats()) != 0 || u.Move([]upstream.Endpoint{{URL: "https://127.0.0.1:2", Weight: 1}}, upstream.Hash) == nil {
		t.Error("it has servers")
	}
	// A model behind a proxy has none to be asked aside, either.
	external, err := s.Upstream([]upstream.Endpoint{{URL: External, Weight: 1}}, upstream.Options{}, Place{Address: External, Model: "m", Protocol: tensor.NameOIP}, tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := external.Pass(t.Context(), "GET", "/", nil); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("%v", err)
	}
}
