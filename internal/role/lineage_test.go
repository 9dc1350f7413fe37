package role

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/openlineage"
)

// TestLineageByCertificate has a program with a certificate of the built-in CA tell a control
// plane of a run: the claim is that program's. Who has none is nobody.
func TestLineageByCertificate(t *testing.T) {
	p := begin(t)
	pipeline := p.caller(t, "pipeline", "pipeline-runner")
	event := `{"eventType":"COMPLETE","eventTime":"2026-11-27T10:00:00Z","producer":"p","schemaURL":"s","run":{"runId":"6f1c0000-0000-4000-8000-000000000001"},"job":{"namespace":"j","name":"train"},"outputs":[{"namespace":"mlflow","name":"fraud"}]}`
	post := func(client *http.Client, base, path, body string) int {
		t.Helper()
		resp, err := client.Post(base+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if code := post(pipeline, p.FleetURL(), openlineage.PathEvent, event); code != http.StatusOK {
		t.Fatalf("one event: %d", code)
	}
	if code := post(pipeline, p.FleetURL(), openlineage.PathBatch, "["+event+"]"); code != http.StatusOK {
		t.Fatalf("a batch: %d", code)
	}
	var traced lineage.Traced
	if err := p.ana.Call(t.Context(), "dataset.lineage", lineage.Question{Dataset: "fraud"}, &traced); err != nil {
		t.Fatal(err)
	}
	if traced.Events != 1 || len(traced.Edges) != 1 || traced.Edges[0].Claim.By.String() != "acme/workload/pipeline" || !traced.Recorded {
		t.Errorf("%+v", traced)
	}
	asking := &api.Client{Base: p.FleetURL(), HTTP: pipeline}
	if err := asking.Call(t.Context(), "dataset.lineage", lineage.Question{}, nil); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("who may tell alone asks: %v", err)
	}
	nobody := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, base := range []string{p.FleetURL(), p.URL()} {
		if code := post(nobody, base, openlineage.PathEvent, event); code != http.StatusUnauthorized {
			t.Errorf("nobody at %s: %d", base, code)
		}
	}
}
