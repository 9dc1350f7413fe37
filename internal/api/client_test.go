package api

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// TestClientFollowsNobody redirects a client to another server, which must not
// see its token, nor hear from it at all.
func TestClientFollowsNobody(t *testing.T) {
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s with %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer thief.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(thief.URL, status))
		for _, client := range []*http.Client{nil, {}} {
			c := &Client{Base: server.URL, Token: "secret", HTTP: client}
			err := c.Call(t.Context(), "ledger.status", Empty{}, nil)
			if pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "redirect") {
				t.Errorf("status %d: %v", status, err)
			}
			for _, err := range Stream[json.RawMessage](t.Context(), c, "ledger.follow", "") {
				if err == nil || !strings.Contains(err.Error(), "redirect") {
					t.Errorf("a feed with status %d: %v", status, err)
				}
			}
		}
		server.Close()
	}
}

// TestUnwritten says which file of a request is no JSON.
func TestUnwritten(t *testing.T) {
	type terms struct {
		Calibration json.RawMessage `json:"calibration,omitzero"`
	}
	type put struct {
		Model string `json:"model"`
		terms
		Bounds json.RawMessage `json:"bounds,omitzero"`
		Terms  *terms          `json:"terms"`
	}
	type open struct {
		Terms terms           `json:"terms"`
		File  json.RawMessage `json:"file"`
	}
	good := json.RawMessage("{}")
	for want, req := range map[string]any{
		"the file for bounds of route.put is not JSON":   &put{Model: "m", Bounds: json.RawMessage("client,a\n")},
		"the file for file of route.put is empty":        open{File: json.RawMessage(" \n")},
		"the request for route.put cannot be written as": &put{Bounds: good, Terms: &terms{Calibration: json.RawMessage("x")}},
		"the request for route.put cannot be written":    map[string]any{"a": json.RawMessage("x")},
	} {
		err := (&Client{Base: "http://127.0.0.1:9"}).Call(t.Context(), "route.put", req, nil)
		if pavise.KindOf(err) != pavise.Invalid || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestStrangeServers are told from ours.
func TestStrangeServers(t *testing.T) {
	tests := map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"page":          {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>hello</html>") }, "not what this client knows"},
		"not found":     {http.NotFound, "is it a Pavise server?"},
		"other problem": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"detail":"Not Found"}`, 404) }, "is it a Pavise server?"},
		"teapot":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) }, "status 418"},
		"hangs up":      {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "is pavise running there?"},
	}
	for name, test := range tests {
		server := httptest.NewServer(test.answer)
		c := &Client{Base: server.URL, Token: "t"}
		check := func(err error) {
			t.Helper()
			var e *pavise.Error
			if err == nil {
				t.Errorf("%s: no error", name)
			} else if e, _ = err.(*pavise.Error); e == nil || !strings.Contains(e.Msg+e.Hint, test.want) {
				t.Errorf("%s: %#v", name, err)
			}
		}
		check(c.Call(t.Context(), "ledger.status", Empty{}, &json.RawMessage{}))
		for _, err := range Stream[json.RawMessage](t.Context(), c, "ledger.follow", "") {
			if name == "page" && err != nil && pavise.KindOf(err) == pavise.Internal {
				break
			}
			if name == "page" {
				continue // broken off before a line's end
			}
			check(err)
		}
		server.Close()
	}
	if err := (&Client{Base: "http://127.0.0.1:1"}).Call(t.Context(), "ledger.status", Empty{}, nil); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("nobody there: %v", err)
	}
	if err := (&Client{Base: "::nonsense"}).Call(t.Context(), "ledger.status", Empty{}, nil); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("no address: %v", err)
	}
}
