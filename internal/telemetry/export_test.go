package telemetry

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pavise/pavise"
)

// A collector takes OTLP over HTTP, and keeps it.
type collector struct {
	*httptest.Server

	mu      sync.Mutex // guards what follows
	spans   []*tracepb.Span
	metrics []*metricspb.Metric // of the last export
	calls   int
	answer  func(call int, w http.ResponseWriter) // nil: 200
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != "POST" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s of %q: %v", r.Method, r.URL.Path, r.Header.Get("Content-Type"), err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls++
		if c.answer != nil {
			c.answer(c.calls, w)
			return
		}
		c.take(t, r.URL.Path, body)
	}))
	t.Cleanup(c.Close)
	return c
}

// take decodes an export. Callers hold mu.
func (c *collector) take(t *testing.T, path string, body []byte) {
	switch path {
	case "/v1/traces":
		var got tracepb.TracesData
		if err := proto.Unmarshal(body, &got); err != nil || len(got.ResourceSpans) != 1 {
			t.Errorf("traces: %v, %v", &got, err)
			return
		}
		c.spans = append(c.spans, got.ResourceSpans[0].ScopeSpans[0].Spans...)
		if name := got.ResourceSpans[0].Resource.Attributes[0]; name.Key != "service.name" || name.Value.GetStringValue() != "pavise" {
			t.Errorf("resource %v", got.ResourceSpans[0].Resource)
		}
	case "/v1/metrics":
		var got metricspb.MetricsData
		if err := proto.Unmarshal(body, &got); err != nil || len(got.ResourceMetrics) != 1 {
			t.Errorf("metrics: %v, %v", &got, err)
			return
		}
		c.metrics = got.ResourceMetrics[0].ScopeMetrics[0].Metrics
	default:
		t.Errorf("an export to %s", path)
	}
}

// runMeter runs a meter, and returns what stops it and waits until all is sent.
func runMeter(m *Meter) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	return func() { cancel(); <-done }
}

// TestOTLP sends a request's trace and the numbers to a collector that decodes them.
func TestOTLP(t *testing.T) {
	c := newCollector(t)
	m := meter(t, Config{OTLP: c.URL + "/", Sample: 1, Role: "test", Version: "v1", Node: "gw1"})
	stop := runMeter(m)
	var upstream string
	handler := m.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Pattern = "POST /v2/models/{model}/infer"
		var x Exchange
		x.Begin(r.Context(), m, "oip", time.Now())
		x.Enter(Infer)
		upstream = Traceparent(r.Context())
		time.Sleep(time.Millisecond)
		x.Enter(Record)
		x.Model(m.Model("fraud"))
		x.Rows(3, 3)
		x.End(&pavise.Error{Kind: pavise.Unavailable}, passed, 77, true)
		w.WriteHeader(503)
	}))
	r := httptest.NewRequest("POST", "/v2/models/fraud/infer", strings.NewReader("x"))
	r.Header.Set("Traceparent", goodParent)
	handler.ServeHTTP(httptest.NewRecorder(), r)
	stop()

	spans := map[string]*tracepb.Span{}
	for _, s := range c.spans {
		spans[s.Name] = s
	}
	door, whole, call := spans["POST /v2/models/{model}/infer"], spans["infer fraud"], spans["model"]
	if door == nil || whole == nil || call == nil || spans["record"] == nil {
		t.Fatalf("spans %v", c.spans)
	}
	if door.Kind != tracepb.Span_SPAN_KIND_SERVER || len(door.ParentSpanId) != 0 || len(door.Links) != 1 || hex.EncodeToString(door.Links[0].TraceId) != goodTrace || hex.EncodeToString(door.Links[0].SpanId) != goodSpan {
		t.Errorf("the door's span does not link to the caller's: %v", door)
	}
	if hex.EncodeToString(door.TraceId) == goodTrace || string(whole.ParentSpanId) != string(door.SpanId) || string(call.ParentSpanId) != string(whole.SpanId) {
		t.Errorf("the spans do not hang together: %v", c.spans)
	}
	if p, ok := ParseTraceparent(upstream); !ok || string(p.Span[:]) != string(call.SpanId) || string(p.Trace[:]) != string(call.TraceId) || call.Kind != tracepb.Span_SPAN_KIND_CLIENT {
		t.Errorf("the server's parent %s is not our call of it: %v", upstream, call)
	}
	if whole.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR || len(whole.Events) != len(passed) || call.EndTimeUnixNano-call.StartTimeUnixNano < 1e6 {
		t.Errorf("%v", whole)
	}
	if said := whole.String() + door.String(); !strings.Contains(said, "pavise.record") || !strings.Contains(said, "unavailable") {
		t.Errorf("neither the record nor the error's kind: %s", said)
	}
	checkPoints(t, c.metrics)
	if m.traces.sent.Load() != uint64(len(c.spans)) || m.traces.dropped.Load() != 0 {
		t.Errorf("%d spans sent, %d dropped, %d got", m.traces.sent.Load(), m.traces.dropped.Load(), len(c.spans))
	}
}

// checkPoints looks at the numbers as OTLP has them.
func checkPoints(t *testing.T, metrics []*metricspb.Metric) {
	t.Helper()
	found := map[string]*metricspb.Metric{}
	for _, m := range metrics {
		found[m.Name] = m
	}
	ended := found["pavise.requests"].GetSum()
	if ended == nil || !ended.IsMonotonic || len(ended.DataPoints) != 1 || ended.DataPoints[0].GetAsDouble() != 1 {
		t.Fatalf("requests: %v", found["pavise.requests"])
	}
	e := ended.DataPoints[0].Exemplars
	if len(e) != 1 || len(e[0].TraceId) != 16 || e[0].FilteredAttributes[0].Value.GetIntValue() != 77 {
		t.Errorf("exemplar %v", e)
	}
	took := found["pavise.request.duration"].GetHistogram()
	if took == nil || took.DataPoints[0].Count != 1 || len(took.DataPoints[0].BucketCounts) != len(took.DataPoints[0].ExplicitBounds)+1 || *took.DataPoints[0].Sum < 0.001 {
		t.Errorf("durations: %v", took)
	}
	if door := found["http.server.request.duration"].GetHistogram(); door == nil || !strings.Contains(door.String(), "int_value:503") {
		t.Errorf("the door: %v", door)
	}
	if found["http.server.active_requests"].GetSum() == nil || found["go.goroutine.count"].GetSum().GetIsMonotonic() {
		t.Error("what goes up and down is no sum that does")
	}
}

// TestCollectorsThatTakeNothing are away, busy, lie or refuse. No request waits for
// them, what is lost is counted, and it is told once.
func TestCollectorsThatTakeNothing(t *testing.T) {
	partial := protowire.AppendTag(nil, 1, protowire.VarintType)
	partial = protowire.AppendVarint(partial, 2)
	partial = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
	for name, tt := range map[string]struct {
		answer        func(call int, w http.ResponseWriter)
		sent, dropped uint64
		told          bool
	}{
		"refuses":        {func(_ int, w http.ResponseWriter) { w.WriteHeader(400) }, 0, 3, true},
		"wants a name":   {func(_ int, w http.ResponseWriter) { w.WriteHeader(401) }, 0, 3, true},
		"sends us on":    {func(_ int, w http.ResponseWriter) { w.Header().Set("Location", "/other"); w.WriteHeader(302) }, 0, 3, true},
		"busy, once":     {func(call int, w http.ResponseWriter) { w.WriteHeader(map[bool]int{true: 503, false: 200}[call == 1]) }, 3, 0, false},
		"takes in part":  {func(_ int, w http.ResponseWriter) { w.Write(partial) }, 1, 2, false},
		"answers rot":    {func(_ int, w http.ResponseWriter) { w.Write([]byte{0x0a, 0xff, 0xff, 0xff}) }, 3, 0, false},
		"takes too much": {func(_ int, w http.ResponseWriter) { w.Write([]byte(strings.Repeat("a", 3*maxAnswer))) }, 3, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCollector(t)
			c.answer = tt.answer
			said := 0
			m := meter(t, Config{OTLP: c.URL, Sample: 1, Say: func(word string, err error) {
				said++
				if pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), c.URL) {
					t.Errorf("%s: %v", word, err)
				}
			}})
			_, trace := m.Trace(context.Background(), nil)
			trace.spans = make([]span, 2)
			m.traces.end(trace, httptest.NewRequest("GET", "/", nil), 200, m.began)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			m.traces.sendTraces(ctx, []*Trace{<-m.traces.queue})
			m.traces.sendMetrics(ctx, m)
			if m.traces.sent.Load() != tt.sent || m.traces.dropped.Load() != tt.dropped || (said == 1) != tt.told || said > 1 {
				t.Errorf("%d sent, %d dropped, told %d times", m.traces.sent.Load(), m.traces.dropped.Load(), said)
			}
		})
	}
}

// TestCollectorAddresses refuses what is none.
func TestCollectorAddresses(t *testing.T) {
	for _, address := range []string{"collector:4318", "ftp://x", "http://", "http://user:secret@x:4318", "http://x?a=b", "http://x#a", "://", "grpc://x:4317"} {
		if _, err := New(Config{OTLP: address}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := New(Config{OTLP: deaf, Sample: -1}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a share below none: %v", err)
	}
}

func FuzzRejected(f *testing.F) {
	f.Add([]byte{0x0a, 2, 8, 3})
	f.Fuzz(func(t *testing.T, answer []byte) { rejectedBy(answer) })
}

// TestRetryAfter keeps the collector's wishes within bounds.
func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{"": time.Second, "0": time.Second, "3": 3 * time.Second, "99999": longestWait, "-1": time.Second, "soon": time.Second, "99999999999999999999": time.Second} {
		if got := retryAfter(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestLanguage counts what is said of language models, by GenAI's names.
func TestLanguage(t *testing.T) {
	m := meter(t, Config{})
	var x Exchange
	x.Begin(context.Background(), m, "openai", time.Now().Add(-time.Second))
	x.Language("chat")
	x.Enter(Infer)
	x.First()
	x.Tokens(120, 11)
	x.Enter(Record)
	x.Model(m.Model("assistant"))
	x.End(nil, nil, 9, true)
	var refused Exchange
	refused.Begin(context.Background(), m, "openai", time.Now())
	refused.Language("dance")
	refused.Model(m.Model("assistant"))
	refused.End(&pavise.Error{Kind: pavise.Denied}, nil, 10, true)
	text := page(m)
	checkOpenMetrics(t, text)
	const labels = `gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="assistant"`
	for _, want := range []string{
		`gen_ai_server_request_duration_seconds_bucket{` + labels + `,le="1.28"} 1 # {record="9"} 1`,
		`gen_ai_server_request_duration_seconds_count{gen_ai_operation_name="other",gen_ai_provider_name="openai",gen_ai_request_model="assistant",error_type="denied"} 1`,
		`gen_ai_server_time_to_first_token_seconds_count{` + labels + `} 1`,
		`gen_ai_server_time_per_output_token_seconds_count{` + labels + `} 1`,
		`gen_ai_client_operation_duration_seconds_count{` + labels + `} 1`,
		`gen_ai_client_token_usage_sum{` + labels + `,gen_ai_token_type="input"} 120`,
		`gen_ai_client_token_usage_sum{` + labels + `,gen_ai_token_type="output"} 11`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
