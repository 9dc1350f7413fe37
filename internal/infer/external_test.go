package infer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/tensor"
)

// A carrier is a relay that a test writes.
type carrier func(*http.Request) (*http.Response, error)

func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) { return c(r) }

func says(status int, body string, header http.Header) carrier {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

// TestExternal asks a model behind a proxy, by the relay in the context and not otherwise.
func TestExternal(t *testing.T) {
	m, err := NewUpstream(oipAt(External), tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Cluster() != nil {
		t.Error("it has a cluster")
	}
	good := `{"model_name":"m","id":"r1","outputs":[{"name":"y","shape":[1,2],"datatype":"FP32","data":[1,0]}]}`
	own := &pavise.Error{Kind: pavise.Unavailable, Msg: "in the relay's words"}
	for name, c := range map[string]struct {
		relay carrier
		want  string // of the error
	}{
		"good":        {says(200, good, nil), ""},
		"none":        {nil, "did not come by one"},
		"unseen":      {func(*http.Request) (*http.Response, error) { return nil, ErrUnseen }, ErrUnseen.Error()},
		"refused":     {func(*http.Request) (*http.Response, error) { return nil, own }, "in the relay's words"},
		"broken":      {func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, "does not answer"},
		"unknown":     {says(404, "", nil), "does not know the model"},
		"failed":      {says(500, "secret", nil), "status 500"},
		"compressed":  {says(200, good, http.Header{"Content-Encoding": {"gzip"}}), "form other"},
		"too long":    {says(200, `{"outputs":`+strings.Repeat(" ", 5<<20), nil), "more than"},
		"another's":   {says(200, strings.Replace(good, "r1", "r2", 1), nil), "another request"},
		"no protocol": {says(200, "hello", nil), ""},
	} {
		ctx := t.Context()
		if c.relay != nil {
			ctx = WithRelay(ctx, Relay{RoundTripper: c.relay})
		}
		answer, err := m.Infer(ctx, parsed(t))
		if name == "good" {
			if err != nil || answer.ID != "r1" {
				t.Errorf("good: %+v, %v", answer, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || name != "unseen" && pavise.KindOf(err) != pavise.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := m.Describe(t.Context()); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "behind a proxy") {
		t.Errorf("described: %v", err)
	}
}

// TestExternalRequest has the relay get what the route names, and nothing of the caller's.
func TestExternalRequest(t *testing.T) {
	m, err := NewUpstream(Place{Address: External, Model: "other", Version: "3", Protocol: tensor.NameOIP}, tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	seen := errors.New("seen")
	_, err = m.Infer(WithRelay(t.Context(), Relay{RoundTripper: carrier(func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != "POST" || r.URL.Path != "/v2/models/other/versions/3/infer" || r.Header.Get("Content-Type") != "application/json" || len(r.Header) != 1 || !strings.HasPrefix(string(body), `{"id":"r1"`) {
			t.Errorf("%s %s %v %s", r.Method, r.URL, r.Header, body)
		}
		return nil, seen
	})}), parsed(t))
	if err == nil {
		t.Error("it answered")
	}
}

// TestExternalChat asks a language model behind a proxy.
func TestExternalChat(t *testing.T) {
	c, err := NewChat(Place{Address: External, Model: "llama", Protocol: tensor.NameOpenAI}, chat.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := chat.ParseRequest(chat.APIs()[0], []byte(`{"model":"m","messages":[{"role":"user","content":"Hi"}]}`), chat.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ask(t.Context(), r, c.Encode(r, nil)); err == nil || !strings.Contains(err.Error(), "did not come by one") {
		t.Errorf("by nobody: %v", err)
	}
	ctx := WithRelay(context.Background(), Relay{RoundTripper: says(503, "secret", nil)})
	if _, err := c.Ask(ctx, r, c.Encode(r, nil)); err == nil || !strings.Contains(err.Error(), "status 503") {
		t.Errorf("by a relay: %v", err)
	}
}
