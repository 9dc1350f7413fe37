package role

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/porttest"
)

// TestServeFetchesKeys has a control plane fetch an issuer's keys although nobody calls:
// a caller who is remembered would have them fetched never again.
func TestServeFetchesKeys(t *testing.T) {
	var asked atomic.Int64
	var own string
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		json.NewEncoder(w).Encode(map[string]string{"issuer": own, "jwks_uri": own + "/jwks"})
	}))
	defer provider.Close()
	own = provider.URL
	file := filepath.Join(t.TempDir(), "issuer.json")
	record := `{"url":"` + own + `","audience":"pavise","algorithms":["ES256"],"roles":["caller"],"max_ttl":"1h","discover":true}`
	if err := os.WriteFile(file, []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := NewServe(t.Context(), ServeConfig{Now: time.Now, Serve: config.Serve{
		Data: t.TempDir(), Tenant: "acme", TrustDomain: "acme.example", Listen: porttest.Address(), Fleet: porttest.Address(), Names: []string{"localhost"}, Grace: time.Hour, Issuers: []string{file},
	}})
	if err != nil {
		t.Fatal(err)
	}
	runRole(t, s)
	for deadline := time.Now().Add(20 * time.Second); asked.Load() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody asked the issuer for its keys")
		}
	}
}
