package role

import (
	"io"
	"net/http"
	"testing"
	"time"
)

// TestInProcessPanics has handlers panic that the console asks: the answer breaks off, and
// the process goes on.
func TestInProcessPanics(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		status  int
		body    string
		broken  bool
	}{
		"before the answer": {func(http.ResponseWriter, *http.Request) { panic("boom") }, 500, "", true},
		"within it": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}, 200, "half", true},
		"not at all": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "whole") }, 200, "whole", false},
	} {
		client := &http.Client{Transport: inProcess{tt.handler, &memberSessions{now: time.Now}}}
		resp, err := client.Get("http://console/")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, err := io.ReadAll(resp.Body)
		if resp.Body.Close(); resp.StatusCode != tt.status || string(body) != tt.body || (err != nil) != tt.broken {
			t.Errorf("%s: %d %q, %v", name, resp.StatusCode, body, err)
		}
	}
}
