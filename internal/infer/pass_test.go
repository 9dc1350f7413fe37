package infer

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

// TestPass asks servers for something else than inference, and finds what they get.
func TestPass(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL.Path, body, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	at := Place{Address: server.URL, Model: "m", Protocol: tensor.NameOpenAI}
	servers, err := NewServers().With(Keys{server.URL: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := servers.Chat([]upstream.Endpoint{{URL: server.URL, Weight: 1}}, upstream.Options{}, at, chat.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, err := c.Pass(t.Context(), "POST", "/tokenize", []byte(`{}`))
	if err != nil || a.Status != http.StatusAccepted || string(a.Body) != "POST /tokenize {} Bearer secret" {
		t.Errorf("%+v, %v", a, err)
	}
	u, err := NewUpstream(oipAt(server.URL), tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if a, err = u.Pass(t.Context(), "GET", "/metrics", nil); err != nil || string(a.Body) != "GET /metrics  " {
		t.Errorf("%+v, %v", a, err)
	}
}
