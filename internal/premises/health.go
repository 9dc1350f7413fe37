package premises

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/server"
	"github.com/pavise/pavise/internal/telemetry"
)

// OpenTelemetry opens what counts, before the log that is counted. node is the machine's
// name in its fleet, or empty.
func (h *House) OpenTelemetry(role, node string, cfg *config.Telemetry) (err error) {
	with := telemetry.Config{Role: role, Node: node, Version: installation.Version(), Say: h.Say}
	if cfg != nil {
		_, share, _ := strings.Cut(cfg.Sample, "/")
		with.OTLP, with.Continue = cfg.OTLP, cfg.Callers == config.ContinueTraces
		with.Sample, _ = strconv.Atoi(share) // it was checked, or is left out
	}
	h.Telemetry, err = telemetry.New(with)
	return err
}

// tellLog has the readings of the log and of those who follow it told.
func (h *House) tellLog() {
	m := h.Telemetry
	m.Ask(telemetry.LogSize, func() float64 { return float64(h.Log.Size()) })
	m.Ask(telemetry.LogQueue, func() float64 { return float64(h.Log.Waiting()) })
	m.Ask(telemetry.LogUnwritten, func() float64 { return float64(h.Log.Unwritten()) })
	m.Ask(telemetry.LogUnsigned, func() float64 {
		signed := h.Log.Head().Size // first: the log only grows
		return float64(h.Log.Size() - signed)
	})
	m.Ask(telemetry.LogStopped, func() float64 { return yes(h.Log.Stopped() != nil) })
	m.Ask(telemetry.Feeds, func() float64 { n, _ := h.lag(); return n })
	m.Ask(telemetry.FeedLag, func() float64 { _, slowest := h.lag(); return slowest })
}

// lagWithin bounds how long the page waits for the state database.
const lagWithin = time.Second

// lag is how many follow the log, and how many records the slowest has before it.
func (h *House) lag() (followers, slowest float64) {
	ctx, cancel := context.WithTimeout(context.Background(), lagWithin)
	defer cancel()
	all, err := h.Feeds.Backlogs(ctx, h.Tenant)
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

// healthHandler serves /healthz and /metrics in clear text, on this machine only. status
// says how the role stands, and whether that is well.
func (h *House) healthHandler(status func() (any, bool)) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h.Telemetry.Handler())
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

// ServeHealth serves /healthz and /metrics until ctx is done, where there is a listener for it.
func (h *House) ServeHealth(ctx context.Context, all *errgroup.Group, status func() (any, bool)) {
	if h.Beside == nil {
		return
	}
	all.Go(func() error {
		return server.Until(ctx, server.Plain(&http.Server{Handler: h.healthHandler(status), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10}), h.Beside)
	})
}

// A Standing is how a role without a control plane above it stands.
type Standing struct {
	Status  string `json:"status"` // ok, or stopped: no caller is answered
	Role    string `json:"role"`
	Version string `json:"version"`
	Records uint64 `json:"records"`
	Why     string `json:"why,omitempty"`
}

// Standing says how the house stands.
func (h *House) Standing(role string) func() (any, bool) {
	return func() (any, bool) {
		s := Standing{Status: "ok", Role: role, Version: installation.Version(), Records: h.Log.Size()}
		if err := cmp.Or(h.Log.Stopped(), h.Guard.Backward()); err != nil {
			s.Status, s.Why = "stopped", err.Error()
		}
		return s, s.Status == "ok"
	}
}

// HealthURL is where /healthz is, or empty.
func (h *House) HealthURL() string { return h.besideURL("/healthz") }

// MetricsURL is where /metrics is, or empty.
func (h *House) MetricsURL() string { return h.besideURL("/metrics") }

func (h *House) besideURL(path string) string {
	if h.Beside == nil {
		return ""
	}
	return "http://" + h.Beside.Addr().String() + path
}

// ListenBeside opens the port for /healthz and /metrics, where the configuration has one.
func (h *House) ListenBeside(addr string) (err error) {
	if addr != "" {
		h.Beside, err = ListenOn(addr, "health")
	}
	return err
}

// ListenOn opens a port that a configuration names.
func ListenOn(addr, field string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("nobody can listen on %s: %v", addr, err),
			Hint: "is another pavise running there? set " + field + " in pavise.yaml to another address", Err: err,
		}
	}
	return l, nil
}
