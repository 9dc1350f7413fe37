package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// one puts one exchange through a meter, as the gateway does.
func one(m *Meter, model *Model, err error, record uint64, verdicts []pavise.Verdict) {
	var x Exchange
	x.Begin(context.Background(), m, "oip", time.Now())
	for p := Read; p < partCount; p++ {
		x.Enter(p)
	}
	x.Model(model)
	x.Rows(3, 2)
	x.Bytes(300, 200)
	x.End(err, verdicts, record, true)
}

var passed = []pavise.Verdict{{Check: "budget", Outcome: pavise.Allow}, {Check: "gate", Outcome: pavise.Deny, Observed: true}, {Check: "what a room thought of later", Outcome: "so-so"}}

// text returns the page that Prometheus reads.
func page(m *Meter) string { return string(AppendText(nil, m.Families(), true)) }

// TestPage reads every line of the page as OpenMetrics has it, and finds the numbers.
func TestPage(t *testing.T) {
	m := meter(t, Config{Role: "test", Version: `v1 "quoted" \ and
broken`})
	fraud := m.Model("fraud")
	one(m, fraud, nil, 41, passed)
	one(m, fraud, &pavise.Error{Kind: pavise.Throttled}, 42, nil)
	one(m, nil, errors.New("no kind"), 43, nil)
	m.Refused(fraud, "oip", &pavise.Error{Kind: pavise.Denied}, 44, true)
	m.Ask(LogSize, func() float64 { return 45 })
	m.Synced(3 * time.Millisecond)
	m.Served("POST /v2/models/{model}/infer", "POST", 200, time.Millisecond, 300, 200)
	m.Served("", "BREW", 418, time.Millisecond, -1, 0)

	text := page(m)
	checkOpenMetrics(t, text)
	for _, want := range []string{
		`pavise_requests_total{pavise_model="fraud",pavise_protocol="oip",pavise_outcome="ok"} 1 # {record="41"} 1 `,
		`pavise_requests_total{pavise_model="fraud",pavise_protocol="oip",pavise_outcome="throttled"} 1 # {record="42"} 1 `,
		`pavise_requests_total{pavise_model="none",pavise_protocol="oip",pavise_outcome="internal"} 1 # {record="43"} 1 `,
		`pavise_requests_total{pavise_model="fraud",pavise_protocol="oip",pavise_outcome="denied"} 1 # {record="44"} 1 `,
		`pavise_verdicts_total{pavise_check="gate",pavise_verdict="observed"} 1 # {record="41"} 1 `,
		`pavise_verdicts_total{pavise_check="other",pavise_verdict="other"} 1 # {record="41"} 1 `,
		`pavise_rows_charged_total{pavise_model="fraud"} 4 `,
		`pavise_request_bytes_total{pavise_model="fraud"} 600`,
		`pavise_request_part_duration_seconds_count{pavise_part="model"} 3`,
		`pavise_log_records_total 45`,
		`pavise_log_sync_duration_seconds_bucket{le="0.005"} 1`,
		`http_server_request_duration_seconds_bucket{http_request_method="POST",http_route="/v2/models/{model}/infer",http_response_status_code="200",le="0.001"} 1`,
		`http_server_request_duration_seconds_count{http_request_method="_OTHER",http_route="none",http_response_status_code="418"} 1`,
		`pavise_build{service_version="v1 \"quoted\" \\ and\nbroken",pavise_role="test",`,
		"pavise_requests_active 0\n",
		"go_goroutine_count ",
		"\n# EOF\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	old := string(AppendText(nil, m.Families(), false))
	if strings.Contains(old, "# EOF") || strings.Contains(old, " # {") || strings.Contains(old, "# UNIT") || !strings.Contains(old, "# TYPE pavise_requests_total counter") {
		t.Error("the older text has what it does not know")
	}
	if t.Failed() {
		t.Log(text)
	}
}

var (
	sampleLine   = regexp.MustCompile(`^([a-z_]+)(\{[^}]*(?:\{[a-z]+\}[^}]*)*\})? (-?[0-9.e+-]+)( # \{record="\d+"(?:,trace_id="[0-9a-f]{32}")?\} [0-9.e+-]+ \d+\.\d{3})?$`)
	metadataLine = regexp.MustCompile(`^# (HELP|TYPE|UNIT) ([a-z_]+) (.+)$`)
)

// checkOpenMetrics holds a page against OpenMetrics 1.0: families in one piece, each
// with one TYPE; buckets that only grow, up to +Inf, which is the count; exemplars
// only where they may be; nothing twice; EOF at the end.
func checkOpenMetrics(t *testing.T, text string) {
	t.Helper()
	body, found := strings.CutSuffix(text, "# EOF\n")
	if !found {
		t.Error("the page has no end")
	}
	kind, family := "", ""
	seen, done := map[string]bool{}, map[string]bool{}
	last := map[string]float64{} // bucket, by series
	for _, line := range strings.Split(strings.TrimSuffix(body, "\n"), "\n") {
		if m := metadataLine.FindStringSubmatch(line); m != nil {
			if m[2] != family {
				if done[m[2]] {
					t.Errorf("the family %s is told in pieces", m[2])
				}
				family, kind = m[2], ""
				done[family] = true
			}
			if m[1] == "TYPE" {
				kind = m[3]
			}
			if m[1] == "UNIT" && !strings.HasSuffix(family, "_"+m[3]) {
				t.Errorf("%s does not end in its unit", line)
			}
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no line of OpenMetrics: %s", line)
			continue
		}
		suffix, ok := strings.CutPrefix(m[1], family)
		allowed := map[string][]string{"counter": {"_total"}, "gauge": {""}, "histogram": {"_bucket", "_count", "_sum"}}[kind]
		if !ok || !slices.Contains(allowed, suffix) {
			t.Errorf("%s stands in the family %s, a %s", m[1], family, kind)
		}
		if m[4] != "" && suffix != "_total" && suffix != "_bucket" {
			t.Errorf("an exemplar where none may be: %s", line)
		}
		if len(m[4]) > 128+60 {
			t.Errorf("an exemplar too long: %s", line)
		}
		if seen[m[1]+m[2]] {
			t.Errorf("twice: %s", line)
		}
		seen[m[1]+m[2]] = true
		value, _ := strconv.ParseFloat(m[3], 64)
		if base, le, ok := strings.Cut(m[2], `le="`); suffix == "_bucket" {
			if value < last[m[1]+base] || !ok || !strings.ContainsAny(le, ".eI") {
				t.Errorf("buckets out of order: %s", line)
			}
			last[m[1]+base] = value
		}
	}
}

// TestModelsAreBounded asks for more models than have numbers of their own.
func TestModelsAreBounded(t *testing.T) {
	m := meter(t, Config{})
	for i := range 10 * maxModels {
		one(m, m.Model(fmt.Sprint("model-", i)), nil, 1, nil)
	}
	if m.Model("none") != m.other || m.Model("other") != m.other {
		t.Error("a model may take the place of all others")
	}
	for _, f := range m.Families() {
		if f.Metric == requests && len(f.Series) != maxModels+1 {
			t.Errorf("%d series for %d models", len(f.Series), 10*maxModels)
		}
	}
	if want := fmt.Sprintf(`pavise_rows_asked_total{pavise_model="other"} %d`, 3*9*maxModels); !strings.Contains(page(m), want) {
		t.Errorf("the page has no %s", want)
	}
}

// TestDoorsAreBounded has more routes and statuses than a program has.
func TestDoorsAreBounded(t *testing.T) {
	m := meter(t, Config{})
	for i := range 10 * maxDoors {
		m.Served(fmt.Sprint("GET /", i), "GET", 200+i%5, time.Millisecond, 0, 0)
	}
	if n := len(*m.http.Load()); n != maxDoors+1 {
		t.Errorf("%d series", n)
	}
	checkOpenMetrics(t, page(m))
}

// TestNothingIsWatched calls everything without a meter.
func TestNothingIsWatched(t *testing.T) {
	var m *Meter
	one(m, m.Model("x"), nil, 1, passed)
	m.Refused(nil, "oip", errors.New("x"), 0, false)
	m.Ask(LogSize, nil)
	m.Synced(1)
	m.Served("x", "GET", 200, 1, 1, 1)
	if ctx, trace := m.Trace(context.Background(), []string{goodParent}); trace != nil || Traceparent(ctx) != "" || m.Families() != nil {
		t.Error("nobody made a trace")
	}
	inner := http.NotFoundHandler()
	rec := httptest.NewRecorder()
	m.HTTP(inner).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m.Run(ctx)
}

// TestCountingAllocatesNothing holds the path of every request.
func TestCountingAllocatesNothing(t *testing.T) {
	for name, cfg := range map[string]Config{"nothing sent": {}, "sent, not sampled": {OTLP: deaf, Sample: 1 << 30}} {
		m := meter(t, cfg)
		model := m.Model("fraud")
		if n := testing.AllocsPerRun(100, func() { one(m, model, nil, 7, passed) }); n != 0 {
			t.Errorf("%s: %v allocations for an exchange", name, n)
		}
		handler := m.HTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
		r := httptest.NewRequest("POST", "/", nil)
		r.Pattern = "POST /"
		r.Header.Set("Traceparent", goodParent)
		w := httptest.NewRecorder()
		if n := testing.AllocsPerRun(100, func() { handler.ServeHTTP(w, r) }); n != 0 {
			t.Errorf("%s: %v allocations for a request", name, n)
		}
	}
}

// BenchmarkExchange is what counting costs a request of the pipeline; BenchmarkDoor what
// it costs at the HTTP door.
func BenchmarkExchange(b *testing.B) {
	m := meter(b, Config{OTLP: deaf, Sample: 1 << 30})
	model := m.Model("fraud")
	b.ReportAllocs()
	before := processor(b)
	for b.Loop() {
		one(m, model, nil, 7, passed[:1])
	}
	b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-ns/op")
}

// processor is the processor time of this process, which a busy machine does not change.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkDoor(b *testing.B) {
	m := meter(b, Config{OTLP: deaf, Sample: 1 << 30})
	handler := m.HTTP(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r, w := httptest.NewRequest("POST", "/", nil), httptest.NewRecorder()
	r.Pattern = "POST /v2/models/{model}/infer"
	b.ReportAllocs()
	before := processor(b)
	for b.Loop() {
		handler.ServeHTTP(w, r)
	}
	b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-ns/op")
}

// TestHosts lets nobody read the page who did not name this machine.
func TestHosts(t *testing.T) {
	m := meter(t, Config{})
	for host, want := range map[string]int{
		"127.0.0.1:8481": 200, "localhost:1": 200, "[::1]:8481": 200, "127.9.9.9": 200, "::1": 200,
		"evil.example": 421, "evil.example:8481": 421, "10.0.0.1:8481": 421, "localhost.evil.example": 421, "": 421, "127.0.0.1.evil.example:80": 421,
	} {
		r, w := httptest.NewRequest("GET", "/metrics", nil), httptest.NewRecorder()
		r.Host = host
		m.Handler().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("Host %q: status %d, want %d", host, w.Code, want)
		}
	}
}

// TestTheTableIsDocumented compares docs/telemetry.md with the metrics.
func TestTheTableIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, m := range All() {
		name := m.Prometheus()
		if m.Sort == Counter {
			name += "_total"
		}
		labels := make([]string, len(m.Labels))
		for i, l := range m.Labels {
			labels[i] = "`" + l + "`"
		}
		want = append(want, fmt.Sprintf("| `%s` | `%s` | %s | %s | %s |", m.Name, name, m.Sort, strings.Join(labels, " "), m.Help))
	}
	for _, line := range strings.Split(string(page), "\n") {
		if strings.HasPrefix(line, "| `pavise.") || strings.HasPrefix(line, "| `http.") || strings.HasPrefix(line, "| `gen_ai.") || strings.HasPrefix(line, "| `go.") {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the table of docs/telemetry.md is to be\n%s", strings.Join(want, "\n"))
	}
}

// TestDashboard finds every metric that the dashboard asks for in the table.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../dist/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range All() {
		name := m.Prometheus()
		switch m.Sort {
		case Counter:
			known[name+"_total"] = true
		case Histogram:
			known[name+"_bucket"], known[name+"_sum"], known[name+"_count"] = true, true, true
		default:
			known[name] = true
		}
		for _, l := range m.Labels {
			known[plainName(l)] = true
		}
	}
	words := regexp.MustCompile(`\b(pavise|gen_ai|go|http)_[a-z_]+`).FindAllString(string(text), -1)
	if len(words) < 20 {
		t.Fatalf("only %d metrics", len(words))
	}
	for _, word := range words {
		if !known[word] {
			t.Errorf("there is no metric or label %s", word)
		}
	}
}

// TestPrometheusReads has Prometheus' own client for Python read the page, where the
// variable names a Python that has prometheus_client.
func TestPrometheusReads(t *testing.T) {
	python := os.Getenv("PAVISE_PROMETHEUS")
	if python == "" {
		t.Skip("PAVISE_PROMETHEUS names no Python with prometheus_client")
	}
	m := meter(t, Config{Role: "test", Version: "v1 \"quoted\" \\"})
	one(m, m.Model("fraud"), nil, 41, passed)
	one(m, m.Model("fraud"), errors.New("no kind"), 42, nil)
	m.Served("GET /v2", "GET", 200, time.Millisecond, 0, 0)
	for parser, open := range map[string]bool{"prometheus_client.openmetrics.parser": true, "prometheus_client.parser": false} {
		cmd := exec.Command(python, "-c", "import sys; from "+parser+" import text_string_to_metric_families as read; print(sum(1 for m in read(sys.stdin.read()) for s in m.samples if s.exemplar and s.exemplar.labels['record'] in ('41', '42')))")
		cmd.Stdin = strings.NewReader(string(AppendText(nil, m.Families(), open)))
		out, err := cmd.CombinedOutput()
		n, _ := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil || (n > 0) != open {
			t.Errorf("%s: %s, %v", parser, out, err)
		}
	}
}

// TestBuckets finds each value's bucket as going through all bounds would.
func TestBuckets(t *testing.T) {
	for _, m := range All() {
		if m.Sort != Histogram {
			continue
		}
		values := []int64{-1, 0, 1, 1 << 62, 1<<63 - 1}
		for _, limit := range m.limits {
			values = append(values, limit-1, limit, limit+1, 2*limit, limit/2)
		}
		for _, value := range values {
			want := 0
			for want < len(m.limits) && value > m.limits[want] {
				want++
			}
			h := newHistogram(m)
			h.observe(value, Evidence{}, 0)
			if h.counts[want].n.Load() != 1 {
				t.Errorf("%s: %d is not counted in bucket %d", m.Name, value, want)
			}
		}
	}
}

// TestPassages counts requests that share a place among the last ones each for itself.
func TestPassages(t *testing.T) {
	m, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for status := range 40 {
			for _, method := range []string{"GET", "PUT", "ODD", "EVEN"} {
				m.Served(method+" /a", method, 200+status, time.Millisecond, 0, 0)
				m.Served(method+" /b", method, 200+status, time.Millisecond, 0, 0)
			}
		}
	}
	for d, h := range *m.http.Load() {
		want := uint64(3)
		if methods[d.method] == "_OTHER" {
			want = 6
		}
		if sum := h.sum.Load(); sum != int64(want)*1e6 {
			t.Errorf("%v: %d ns", d, sum)
		}
	}
	if n := len(*m.http.Load()); n != 2*40*3 {
		t.Errorf("%d series", n)
	}
}
