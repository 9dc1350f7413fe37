package edge_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/telemetry"
)

// metricsOf scrapes what watches a world.
func metricsOf(t *testing.T, w *edgetest.World) string {
	t.Helper()
	page := httptest.NewServer(w.Watch().Handler())
	defer page.Close()
	r, _ := http.NewRequest("GET", page.URL+"/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/openmetrics-text; version=1.0.0") {
		t.Fatalf("%v, %q", err, resp.Header.Get("Content-Type"))
	}
	return string(text)
}

// TestSpikesLeadToRecords makes requests that end in several ways, and follows the
// exemplar of each count to the record that proves it.
func TestSpikesLeadToRecords(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, func(s *route.Spec) { s.Rate = "2/1h" })
	const secret = "tenant-secret-7f3a"
	for _, edit := range []func(*http.Request){
		nil, nil, nil, // the third is over the rate
		func(r *http.Request) { r.Header.Set("Pavise-Subject", secret) },
		func(r *http.Request) { r.URL.Path = "/v2/models/" + secret + "/infer" },
		func(r *http.Request) { r.URL.Path = "/" + secret },
		func(r *http.Request) { r.Header.Set("Traceparent", "00-"+secret); r.Header.Set("User-Agent", secret) },
		func(r *http.Request) { r.Method = "X" + strings.ToUpper(secret) },
		func(r *http.Request) { r.Header.Del("Authorization") },
	} {
		w.Post(t, inferPath, edgetest.Good, edit)
	}
	w.Post(t, inferPath, `{"inputs":[{"name":"`+secret+`"}]}`, nil)

	text := metricsOf(t, w)
	for outcome, check := range map[string]pavise.Outcome{"ok": pavise.Allow, "throttled": pavise.Deny, "invalid": pavise.Deny} {
		line := regexp.MustCompile(`(?m)^pavise_requests_total\{pavise_model="m",pavise_protocol="oip",pavise_outcome="` + outcome + `"\} \d+ # \{record="(\d+)"\} .*$`).FindStringSubmatch(text)
		if line == nil {
			t.Errorf("no count of %s with the record that proves it", outcome)
			continue
		}
		index, _ := strconv.ParseUint(line[1], 10, 64)
		r, err := w.Log.Read(index)
		if err != nil || r.Kind != "model.infer" || r.Outcome != check {
			t.Errorf("%s leads to record %d: %+v, %v", outcome, index, r, err)
		}
		if err := w.Log.AwaitSigned(t.Context(), index); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Log.Prove(index); err != nil {
			t.Errorf("record %d cannot be proved: %v", index, err)
		}
	}
	for _, word := range []string{secret, strings.ToUpper(secret), edgetest.Tenant, "app", w.Token[:20], `"op"`} {
		if strings.Contains(text, word) {
			t.Errorf("the page tells %q", word)
		}
	}
	for _, want := range []string{
		`pavise_rows_charged_total{pavise_model="m"} 2`,
		`pavise_verdicts_total{pavise_check="rate",pavise_verdict="deny"}`,
		`pavise_verdicts_total{pavise_check="codec",pavise_verdict="deny"}`,
		`http_route="/v2/models/{model}/infer",http_response_status_code="429"`,
		"pavise_meter_accounts ", "pavise_routes 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestServersGetTheTrace has a model's server asked for callers with and without a trace,
// good and hostile ones: what it gets was made here.
func TestServersGetTheTrace(t *testing.T) {
	const theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for name, tt := range map[string]struct {
		cfg     telemetry.Config
		headers []string
		want    string // a pattern
	}{
		"nothing is set":      {telemetry.Config{}, []string{theirs}, `^$`},
		"traced":              {telemetry.Config{OTLP: "http://192.0.2.1:4318", Sample: 1}, []string{theirs}, `^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`},
		"continued":           {telemetry.Config{Continue: true}, []string{theirs}, `^00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00$`},
		"continued, hostile":  {telemetry.Config{Continue: true}, []string{strings.ToUpper(theirs)}, `^$`},
		"continued, too many": {telemetry.Config{Continue: true}, []string{theirs, theirs}, `^$`},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan http.Header, 1)
			server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.Method == "GET" {
					io.WriteString(rw, `{"name":"m","platform":"x","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"scores","datatype":"FP32","shape":[-1,3]}]}`)
					return
				}
				got <- r.Header.Clone()
				io.WriteString(rw, edgetest.Answer)
			}))
			defer server.Close()
			w := edgetest.NewWatched(t, tt.cfg)
			w.Put(t, func(s *route.Spec) { s.ONNX, s.Upstream = nil, server.URL })
			resp, body := w.Post(t, inferPath, edgetest.Good, func(r *http.Request) {
				r.Header["Traceparent"] = tt.headers
				r.Header.Set("Tracestate", "a=b")
			})
			if resp.StatusCode != 200 {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
			h := <-got
			if !regexp.MustCompile(tt.want).MatchString(h.Get("Traceparent")) || h.Get("Tracestate") != "" || tt.want != `^$` && h.Get("Traceparent") == theirs {
				t.Errorf("the server gets %v", h)
			}
		})
	}
}

// TestGRPCIsCounted finds calls of gRPC by their protocol and method, and none by what
// callers make up.
func TestGRPCIsCounted(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	conn, ctx := dial(t, w), as(t.Context(), w.Token)
	var out []byte
	if err := conn.Invoke(ctx, service+"ModelInfer", question(t, "m"), &out); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{service + "Invented", "/invented.Service/ModelInfer"} {
		if conn.Invoke(ctx, method, question(t, "m"), &out) == nil {
			t.Errorf("%s is there", method)
		}
	}
	if conn.Invoke(ctx, service+"ModelInfer", question(t, "invented"), &out) == nil {
		t.Error("a model is there that is not")
	}
	// The door counts a call when its handler is done, which is after the answer.
	want := `http_server_request_duration_seconds_count{http_request_method="POST",http_route="/",http_response_status_code="200"} 2`
	text := metricsOf(t, w)
	for end := time.Now().Add(10 * time.Second); !strings.Contains(text, want) && time.Now().Before(end); text = metricsOf(t, w) {
		time.Sleep(time.Millisecond)
	}
	for _, want := range []string{
		want,
		`pavise_requests_total{pavise_model="m",pavise_protocol="oip-grpc",pavise_outcome="ok"} 1 # {record="`,
		`pavise_requests_total{pavise_model="none",pavise_protocol="oip-grpc",pavise_outcome="notfound"} 1 # {record="`,
		`http_server_request_duration_seconds_count{http_request_method="POST",http_route="/inference.GRPCInferenceService/ModelInfer",http_response_status_code="200"} 2`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Contains(strings.ToLower(text), "invented") {
		t.Error("the page tells what a caller made up")
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestKServeIsCountedAsItself counts KServe v1 and TensorFlow Serving, whose paths are the
// same, apart: by what the server speaks.
func TestKServeIsCountedAsItself(t *testing.T) {
	w, _ := behind(t)
	for _, path := range []string{"/v1/models/k:predict", "/v1/models/tf:predict", "/v1/models/tf/versions/1:predict", "/v1/models/nobody:predict"} {
		w.Post(t, path, `{"instances":[[1,2]]}`, nil)
	}
	text := metricsOf(t, w)
	for _, want := range []string{`pavise_model="k",pavise_protocol="v1"`, `pavise_model="tf",pavise_protocol="tfserving"`} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing is counted of %s", want)
		}
	}
	if not := `pavise_model="k",pavise_protocol="tfserving"`; strings.Contains(text, not) {
		t.Errorf("something is counted of %s", not)
	}
}
