package role

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/installation"
)

// scrape reads a page of this machine's.
func scrape(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %d %s, %v", url, resp.StatusCode, text, err)
	}
	return string(text)
}

// wants finds lines of a page that begin so.
func wants(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if !strings.Contains(page, "\n"+want) {
			t.Errorf("the page has no %s\n%s", want, page)
		}
	}
}

// TestUpTells reads the numbers of an up on the port that it was asked to have for them,
// and finds none on the one of callers and browsers.
func TestUpTells(t *testing.T) {
	r := runUp(t, UpConfig{Data: installation.Data(t.TempDir()), Health: "127.0.0.1:0"})
	wants(t, scrape(t, r.MetricsURL()), `pavise_build{service_version="unreleased",pavise_role="up"`, "pavise_log_stopped 0", "pavise_routes 1", "pavise_log_sync_duration_seconds_count ", "pavise_feeds ")
	if text := scrape(t, r.HealthURL()); !strings.Contains(text, `"status":"ok"`) || !strings.Contains(text, `"role":"up"`) {
		t.Errorf("health is %s", text)
	}
	resp, err := http.Get(r.url() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode == 200 || strings.Contains(string(text), "pavise_build") {
		t.Errorf("the callers' port tells: %d %s", resp.StatusCode, text)
	}
	if _, err := NewUp(t.Context(), UpConfig{Data: installation.Data(t.TempDir()), Listen: "127.0.0.1:0", Health: "0.0.0.0:0", Now: time.Now}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a port for everybody: %v", err)
	}
}

// TestFleetTells reads the numbers of a gateway and its control plane, while orders come
// and after they have come to an end.
func TestFleetTells(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, running := p.gateway(t, "gw-1", nil)
	app := p.caller(t, "app", "caller")
	until(t, app, g, 200)
	page := scrape(t, g.MetricsURL())
	wants(t, page, "pavise_bundle_stale 0", "pavise_bundle_serial ", "pavise_bundle_age_seconds ", `pavise_requests_total{pavise_model="`+Sample+`",pavise_protocol="oip",pavise_outcome="ok"} `, "pavise_meter_accounts ")
	for _, word := range []string{"acme", "app", "gw-1", "ana"} {
		if strings.Contains(page, word) {
			t.Errorf("the page tells %q", word)
		}
	}
	if p.HealthURL() != "" {
		t.Errorf("the control plane tells at %s, which nobody asked for", p.HealthURL())
	}
	running.stop()
}
