package infer

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/pavise/pavise/internal/tensor"
)

// TestProbe looks at servers of each protocol, with and without something amiss.
func TestProbe(t *testing.T) {
	answers := map[string]string{
		"/v1/models":       `{"object":"list","data":[{"id":"llama"},{"id":"phi:latest"}]}`,
		"/v1/models/fraud": `{"name":"fraud","ready":true}`,
		"/ping":            `{"status":"Healthy"}`,
		"/v2/models/fraud": `{"name":"fraud","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1]}]}`,
	}
	var mu sync.Mutex
	var asked []string // under mu: a probe that has given up leaves its question behind
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method)
		mu.Unlock()
		if body, ok := answers[r.URL.Path]; ok {
			fmt.Fprint(w, body)
			return
		}
		w.WriteHeader(map[bool]int{true: 401, false: 404}[r.URL.Path == "/v1/models/secret"])
	}))
	defer server.Close()
	nobody := httptest.NewServer(nil)
	nobody.Close()
	for _, tt := range []struct{ address, protocol, model, want string }{
		{server.URL, tensor.NameOpenAI, "llama", ""},
		{server.URL, tensor.NameOpenAI, "phi", ""},
		{server.URL, tensor.NameOpenAI, "lama", `no model "lama", but "llama", "phi:latest"`},
		{server.URL, tensor.NameV1, "fraud", ""},
		{server.URL, tensor.NameV1, "fraut", `the model "fraut" (GET /v1/models/fraut: status 404)`},
		{server.URL, tensor.NameV1, "secret", "does not let the gateway in"},
		{server.URL, tensor.NameTFServing, "fraud", ""},
		{server.URL, tensor.NameTorchServe, "fraud", ""},
		{server.URL, tensor.NameMLflow, "fraud", ""},
		{server.URL, tensor.NameOIP, "fraud", ""},
		{server.URL, tensor.NameOIP, "fraut", "does not know the model"},
		{server.URL, tensor.NameOIPGRPC, "fraud", "oip-grpc"},
		{External, tensor.NameV1, "fraud", ""},
		{nobody.URL, tensor.NameOpenAI, "llama", "does not answer"},
		{nobody.URL, tensor.NameV1, "fraud", "does not answer"},
		{nobody.URL, tensor.NameMLflow, "fraud", "does not answer"},
		{nobody.URL, tensor.NameOIP, "fraud", "does not answer"},
	} {
		got := NewServers().Probe(t.Context(), Place{Address: tt.address, Model: tt.model, Protocol: tt.protocol})
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s of %s: %q, want %q", tt.protocol, tt.model, got, tt.want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, method := range asked {
		if method != http.MethodGet && method != "PRI" { // the preface of HTTP/2
			t.Errorf("a probe asked by %s", method)
		}
	}
	for body, want := range map[string]string{
		`{"data":[]}`: "but none", `<html>`: "does not list", `{"data":"x"}`: "does not list", `[]`: "does not list", `{"models":[]}`: "does not list", `{"data":null}`: "does not list",
		`{"data":[{"id":"\u001b[2J"},{},{},{},{},{},{}]}`: `"\x1b[2J", "", "", "", "", 2 more`,
	} {
		if err := listed(&Aside{200, []byte(body)}, Place{Model: "m"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

// TestProbeSendsTheKey looks at a server that lets in only who has its key, and finds that
// another server does not get it.
func TestProbeSendsTheKey(t *testing.T) {
	var mu sync.Mutex
	var got []string // under mu
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got = append(got, r.Header.Get("Authorization"))
		mu.Unlock()
		fmt.Fprint(w, `{"data":[{"id":"m"}]}`)
	}))
	defer server.Close()
	servers := NewServers()
	servers.keys = Keys{originOf(server.URL): "sesame"}
	for _, protocol := range []string{tensor.NameOpenAI, tensor.NameMLflow} {
		if doubt := servers.Probe(t.Context(), Place{Address: server.URL, Model: "m", Protocol: protocol}); doubt != "" {
			t.Error(doubt)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"Bearer sesame", ""}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the server got %q", got)
	}
}

// TestProbeIsBounded looks at a server that never ends.
func TestProbeIsBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	if doubt := NewServers().Probe(t.Context(), Place{Address: server.URL, Model: "m", Protocol: tensor.NameOpenAI}); !strings.Contains(doubt, "more bytes") {
		t.Error(doubt)
	}
}
