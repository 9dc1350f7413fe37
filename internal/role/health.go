package role

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/server"
	"github.com/pavise/pavise/internal/telemetry"
)

// openTelemetry opens what counts, before the log that is counted. node is the machine's
// name in its fleet, or empty.
func (h *house) openTelemetry(role, node string, cfg *config.Telemetry) (err error) {
	with := telemetry.Config{Role: role, Node: node, Version: installation.Version(), Say: h.say}
	if cfg != nil {
		_, share, _ := strings.Cut(cfg.Sample, "/")
		with.OTLP, with.Continue = cfg.OTLP, cfg.Callers == config.ContinueTraces
		with.Sample, _ = strconv.Atoi(share) // it was checked, or is left out
	}
	h.telemetry, err = telemetry.New(with)
	return err
}

// tellLog has the readings of the log and of those who follow it told.
func (h *house) tellLog() {
	m := h.telemetry
	m.Ask(telemetry.LogSize, func() float64 { return float64(h.log.Size()) })
	m.Ask(telemetry.LogQueue, func() float64 { return float64(h.log.Waiting()) })
	m.Ask(telemetry.LogUnwritten, func() float64 { return float64(h.log.Unwritten()) })
	m.Ask(telemetry.LogUnsigned, func() float64 {
		signed := h.log.Head().Size // first: the log only grows
		return float64(h.log.Size() - signed)
	})
	m.Ask(telemetry.LogStopped, func() float64 { return yes(h.log.Stopped() != nil) })
	m.Ask(telemetry.Feeds, func() float64 { n, _ := h.lag(); return n })
	m.Ask(telemetry.FeedLag, func() float64 { _, slowest := h.lag(); return slowest })
}

// lagWithin bounds how long the page waits for the state database.
const lagWithin = time.Second

// lag is how many follow the log, and how many records the slowest has before it.
func (h *house) lag() (followers, slowest float64) {
	ctx, cancel := context.WithTimeout(context.Background(), lagWithin)
	defer cancel()
	all, err := h.feeds.Backlogs(ctx, h.tenant)
	if err != nil {
		return 0, 0
	}
	for _, b := range all {
		slowest = max(slowest, float64(b.Behind))
	}
	return float64(len(all)), slowest
}

func yes(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// tellBundle has the readings of what the control plane said told.
func (g *Gateway) tellBundle() {
	m := g.telemetry
	m.Ask(telemetry.BundleSerial, func() float64 { return float64(g.client.State().Serial) })
	m.Ask(telemetry.BundleStale, func() float64 { return yes(g.fresh() != nil) })
	m.Ask(telemetry.BundleAge, func() float64 {
		if o := g.orders.Load(); o != nil {
			return max(g.now().Sub(g.lastHeard(o)).Seconds(), 0)
		}
		return 0
	})
}

// healthHandler serves /healthz and /metrics in clear text, on this machine only. status
// says how the role stands, and whether that is well.
func (h *house) healthHandler(status func() (any, bool)) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h.telemetry.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		said, well := status()
		w.Header().Set("Content-Type", "application/json")
		if !well {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(said) // whoever went away reads nothing
	})
	return mux
}

// serveHealth serves it until ctx is done, where there is a listener for it.
func (h *house) serveHealth(ctx context.Context, all *errgroup.Group, status func() (any, bool)) {
	if h.health == nil {
		return
	}
	all.Go(func() error {
		return server.Until(ctx, &http.Server{Handler: h.healthHandler(status), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10}, h.health)
	})
}

// A Standing is how a role without a control plane above it stands.
type Standing struct {
	Status  string `json:"status"` // ok, or stopped: nothing is answered
	Role    string `json:"role"`
	Version string `json:"version"`
	Records uint64 `json:"records"`
	Why     string `json:"why,omitempty"`
}

// standing says how the house stands.
func (h *house) standing(role string) func() (any, bool) {
	return func() (any, bool) {
		s := Standing{Status: "ok", Role: role, Version: installation.Version(), Records: h.log.Size()}
		if err := h.log.Stopped(); err != nil {
			s.Status, s.Why = "stopped", err.Error()
		}
		return s, s.Status == "ok"
	}
}

// HealthURL is where /healthz is, or empty.
func (h *house) HealthURL() string { return h.besideURL("/healthz") }

// MetricsURL is where /metrics is, or empty.
func (h *house) MetricsURL() string { return h.besideURL("/metrics") }

func (h *house) besideURL(path string) string {
	if h.health == nil {
		return ""
	}
	return "http://" + h.health.Addr().String() + path
}

// listenBeside opens the port for it, where the configuration has one.
func (h *house) listenBeside(addr string) (err error) {
	if addr != "" {
		h.health, err = listenOn(addr, "health")
	}
	return err
}
