package role

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/verbs"
)

// await waits until a text has all of the words, and returns it.
func await(t *testing.T, text func() string, words ...string) string {
	t.Helper()
	var got string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		got = text()
		missing := 0
		for _, word := range words {
			if !strings.Contains(got, word) {
				missing++
			}
		}
		if missing == 0 {
			return got
		}
	}
	t.Fatalf("there is no %q in\n%s", words, got)
	return ""
}

// A page is what was written, by whoever writes to it.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// TestFindingsOfGateways refuses a caller at two gateways: it is a line in the file of the
// one, and printed by the other.
func TestFindingsOfGateways(t *testing.T) {
	t.Parallel()
	p := begin(t)
	name := filepath.Join(t.TempDir(), "findings.jsonl")
	printed := &page{}
	one, _ := p.gateway(t, "gw-1", func(cfg *GatewayConfig) { cfg.Findings = name })
	two, _ := p.gateway(t, "gw-2", func(cfg *GatewayConfig) { cfg.Findings, cfg.Printer = "-", printed })
	until(t, p.cats, one, 403) // an analyst is no caller
	until(t, p.cats, two, 403)
	file := func() string { text, _ := os.ReadFile(name); return string(text) }
	for gateway, text := range map[*Gateway]func() string{one: file, two: printed.String} {
		lines := await(t, text, `"event_code":"model.infer"`, "acme/human/cat", gateway.Origin)
		for line := range strings.Lines(lines) {
			var event struct {
				Class int `json:"class_uid"`
			}
			if err := json.Unmarshal([]byte(line), &event); err != nil || event.Class != 2004 {
				t.Errorf("%s is no OCSF finding: %v", line, err)
			}
		}
	}
}

// TestFindingsOfServe has a control plane tell a receiver on this machine, which it does
// only where its configuration says so, that a guardrail refused somebody.
func TestFindingsOfServe(t *testing.T) {
	t.Parallel()
	p := begin(t)
	got := &page{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Webhook-Signature") != "" {
			_, _ = io.Copy(got, r.Body) // what is missing, the test says
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(receiver.Close)
	app := &api.Client{Base: p.FleetURL(), HTTP: p.caller(t, "app", "operator")}
	put := verbs.ReceiverPut{Name: "soc", URL: receiver.URL + "/hook"}
	var given siem.Given
	if err := p.ana.Call(t.Context(), "siem.put", put, &given); pavise.KindOf(err) != pavise.Invalid {
		t.Fatalf("a receiver on this machine that nobody allowed: %v", err)
	}
	p.running.stop()
	p.cfg.SendTo = []string{"127.0.0.1"}
	p.serve(t)
	if err := p.ana.Call(t.Context(), "siem.put", put, &given); err != nil {
		t.Fatal(err)
	}
	var ch api.ChangeView
	if err := p.ana.Call(t.Context(), "policy.put", verbs.PolicyPut{ID: "mine", Text: `permit (principal, action, resource);`}, &ch); err != nil {
		t.Fatal(err)
	}
	if err := app.Call(t.Context(), "change.approve", verbs.VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, nil); pavise.KindOf(err) != pavise.Denied {
		t.Fatalf("a program approves a change: %v", err)
	}
	await(t, got.String, `"type":"finding.created"`, `"event_code":"change.approve"`, "A guardrail refused a caller", "decided-by-people", "acme/workload/app")
}
