package extproc_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/pavise/pavise/internal/edge/extproc"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
)

// fields puts fields behind those of a good request; one with a name of its own in
// pseudo, or host, stands in the place of the good one.
func fields(all ...[2]string) func(*message) {
	return func(m *message) { m.header = append(m.header, all...) }
}

func setting(name, value string) func(*message) { return func(m *message) { m.set(name, value) } }

// TestHostileHeaders shows headers that no caller should get past a proxy, and some that
// one can. What is the caller's doing is refused in words; what a proxy cannot have read
// ends the stream.
func TestHostileHeaders(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	raw := func(edit func(*core.HeaderMap)) step {
		return func(s *script) {
			m := headMessage(&proc.HttpHeaders{Headers: headerMap(s.w.asking(nil).header)}, true)
			m.ProtocolConfig = &proc.ProtocolConfiguration{RequestBodyMode: buffered, ResponseBodyMode: buffered}
			edit(m.GetRequestHeaders().Headers)
			send(m)(s)
		}
	}
	with := func(edit func(*message)) []step { return []step{head(buffered, buffered, edit)} }
	through := func(edit func(*message)) []step {
		return []step{head(buffered, buffered, edit), recv, part(spaced, true, true), recv, ok(), recv, part(scores, true, false)}
	}
	many := func(n int) func(*message) {
		return func(m *message) {
			for i := range n {
				m.header = append(m.header, [2]string{"x-" + strconv.Itoa(i), "v"})
			}
		}
	}
	refused := func(edit func(*message), code int, says string) goes {
		return goes{steps: with(edit), code: code, free: true, says: says}
	}
	wrong := func(edit func(*message), says string) goes { // found out by the pipeline, which leaves a record
		return goes{steps: append(with(edit), recv), code: 400, says: says}
	}
	broken := func(edit func(*message)) goes { return goes{steps: with(edit), broken: true, free: true} }
	for name, c := range map[string]goes{
		"no method":                   broken(setting(":method", "")),
		"no path":                     refused(setting(":path", ""), 400, "no request for a path"),
		"a tunnel":                    refused(func(m *message) { m.set(":method", "CONNECT"); m.set(":path", "") }, 400, "CONNECT"),
		"a tunnel with a path":        refused(func(m *message) { m.set(":method", "CONNECT") }, 404, "not a route"),
		"a websocket in HTTP/2":       refused(func(m *message) { m.set(":method", "CONNECT"); m.set(":protocol", "websocket") }, 400, ":protocol"),
		"a method in small letters":   refused(setting(":method", "post"), 404, "not a route"),
		"a method of the web":         refused(setting(":method", "TRACE"), 404, "not a route"),
		"two methods":                 broken(fields([2]string{":method", "GET"})),
		"two methods in one":          refused(setting(":method", "POST GET"), 404, "not a route"),
		"two paths":                   broken(fields([2]string{":path", "/v2/health/live"})),
		"two authorities":             broken(fields([2]string{":authority", "elsewhere"})),
		"a host that is another":      broken(fields([2]string{"host", "elsewhere"})),
		"a host that is the same":     {steps: through(fields([2]string{"host", "models.example"})), let: true},
		"pseudo fields in capitals":   broken(fields([2]string{":Path", "/x"})),
		"a pseudo field of an answer": refused(fields([2]string{":status", "200"}), 400, ":status"),
		"a colon for a name":          broken(fields([2]string{":", "x"})),
		"two colons":                  broken(fields([2]string{"::path", "x"})),
		"a colon in a name":           broken(fields([2]string{"a:b", "x"})),
		"a zero in a name":            broken(fields([2]string{"a\x00b", "x"})),
		"a tab in a name":             broken(fields([2]string{"a\tb", "x"})),
		"a line end in a name":        broken(fields([2]string{"a\r\nb", "x"})),
		"a delete in a name":          broken(fields([2]string{"a\x7f", "x"})),
		"a name in another script":    broken(fields([2]string{"nämé", "x"})),
		"a carriage return alone":     broken(fields([2]string{"a", "b\rc"})),
		"a line feed alone":           broken(fields([2]string{"a", "b\nc"})),
		"control bytes in a value":    {steps: through(fields([2]string{"a", "\x01\x02\x7f"})), let: true},
		"no UTF-8 in a value":         {steps: through(fields([2]string{"a", "\xff\xfe\xc3\x28"})), let: true},
		"no UTF-8 in the path":        {steps: with(setting(":path", "/v2/models/\xff\xfe/infer")), code: 403, says: "name"},
		"200 fields":                  {steps: through(many(200)), let: true},
		"300 fields":                  refused(many(300), 400, "header is too large"),
		"10,000 fields":               refused(many(10_000), 400, "header is too large"),
		"a value of 70 KB":            refused(fields([2]string{"a", strings.Repeat("b", 70<<10)}), 400, "header is too large"),
		"a value of 200 KB":           refused(fields([2]string{"a", strings.Repeat("b", 200<<10)}), 400, "header is too large"),
		"a value of 6 MB":             broken(fields([2]string{"a", strings.Repeat("b", 6<<20)})),
		"a name of 70 KB":             refused(fields([2]string{strings.Repeat("b", 70<<10), "a"}), 400, "header is too large"),
		"a path of 60 KB":             {steps: with(setting(":path", "/v2/models/"+strings.Repeat("m", 60<<10)+"/infer")), code: 403, says: "name"},
		"a field of two values":       {steps: []step{raw(func(m *core.HeaderMap) { m.Headers[0].Value = "GET" })}, broken: true, free: true},
		"a field of the same twice":   {steps: []step{raw(func(m *core.HeaderMap) { m.Headers[0].Value = "POST" })}, broken: true, free: true},
		"a name that is missing":      {steps: []step{raw(func(m *core.HeaderMap) { m.Headers[0].Key = "" })}, broken: true, free: true},
		"no header at all":            {steps: []step{raw(func(m *core.HeaderMap) { m.Headers = nil })}, broken: true, free: true},
		"two tokens":                  refused(fields([2]string{"authorization", "Bearer x"}), 401, ""),
		"two tokens in one":           refused(setting("authorization", "Bearer a, Bearer b"), 401, ""),
		"a token in another field": refused(func(m *message) {
			m.set("x-forwarded-authorization", m.get("authorization"))
			m.set("authorization", "")
		}, 401, ""),
		"a token of a proxy": refused(func(m *message) { m.set("proxy-authorization", m.get("authorization")); m.set("authorization", "") }, 401, ""),
		"a token in the query": refused(func(m *message) {
			m.set(":path", m.get(":path")+"?access_token="+strings.TrimPrefix(m.get("authorization"), "Bearer "))
			m.set("authorization", "")
		}, 401, ""),
		"two media types":        wrong(fields([2]string{"content-type", "application/json"}), "application/json"),
		"two media types in one": wrong(setting("content-type", "application/json, text/html"), ""),
		"gRPC":                   refused(setting("content-type", "application/grpc"), 404, "gRPC"),
		"gRPC of the web":        refused(setting("content-type", "application/grpc-web+proto"), 404, "gRPC"),
		"gRPC in capitals":       refused(setting("content-type", "APPLICATION/GRPC"), 404, "gRPC"),
		"gRPC that hides": wrong(func(m *message) {
			m.set("content-type", "application/json")
			m.header = append(m.header, [2]string{"content-type", "application/grpc"})
		}, ""),
		"gRPC behind a space":           wrong(setting("content-type", " application/grpc"), ""),
		"a form":                        wrong(setting("content-type", "application/x-www-form-urlencoded"), "application/json"),
		"another charset":               wrong(setting("content-type", "application/json; charset=utf-16"), "application/json"),
		"identity for a compression":    wrong(setting("content-encoding", "identity"), "compressed"),
		"a compression that is empty":   wrong(fields([2]string{"content-encoding", ""}), "compressed"),
		"a length of binary tensors":    wrong(setting("inference-header-content-length", "-1"), ""),
		"two lengths of binary tensors": wrong(fields([2]string{"inference-header-content-length", "1"}, [2]string{"inference-header-content-length", "2"}), ""),
		"a length that is too small":    {steps: through(setting("content-length", "1")), let: true},
		"a length that is too large":    {steps: through(setting("content-length", "999999999999")), let: true},
		"a length of words":             {steps: through(setting("content-length", "-5")), let: true},
		"two lengths":                   {steps: through(fields([2]string{"content-length", "1"})), let: true},
		"chunks that HTTP/2 has not":    {steps: through(fields([2]string{"transfer-encoding", "chunked, identity"})), let: true},
		"an expectation":                {steps: through(fields([2]string{"expect", "100-continue"})), let: true},
		"somebody's data, twice":        wrong(fields([2]string{"pavise-subject", "a"}, [2]string{"pavise-subject", "b"}), ""),
	} {
		t.Run(name, func(t *testing.T) { w.goes(t, c) })
	}
}

// forged is what callers write into headers in the hope that somebody behind us believes
// it. None of it may reach the model server, and none may change what is decided.
var forged = [][2]string{
	{"x-http-method-override", "DELETE"}, {"x-http-method", "GET"}, {"x-method-override", "PUT"},
	{"x-original-url", "/v2/repository/models/m/unload"}, {"x-rewrite-url", "/admin"}, {"x-forwarded-prefix", "/admin"},
	{"x-forwarded-host", "elsewhere"}, {"x-forwarded-port", "1"}, {"x-forwarded-uri", "/x"}, {"forwarded", "for=1.2.3.4;host=elsewhere"},
	{"x-real-ip", "127.0.0.1"}, {"true-client-ip", "127.0.0.1"}, {"x-client-ip", "127.0.0.1"},
	{"x-forwarded-client-cert", `Hash=00;URI=spiffe://acme.example/workload/admin`}, {"x-ssl-client-cert", "secret"},
	{"pavise-record", "1"}, {"pavise-fields", "none"}, {"x-pavise-principal", "local/human/op"}, {"x-pavise-tier", "internal"}, {"x-pavise-tenant", "other"},
	{"x-auth-request-user", "admin"}, {"x-remote-user", "admin"}, {"x-api-key", "secret"}, {"cookie", "session=secret"},
	{"connection", "x-request-id, authorization"}, {"upgrade", "websocket"}, {"te", "trailers"}, {"trailer", "authorization"}, {"keep-alive", "1"},
	{"proxy-authorization", "Basic c2VjcmV0"}, {"proxy-connection", "keep-alive"}, {"expect", "100-continue"}, {"http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"},
	{"grpc-timeout", "1n"}, {"grpc-encoding", "gzip"}, {"range", "bytes=0-1"}, {"if-none-match", "*"}, {"accept", "text/html"},
	{"triton-grpc-protocol-compression", "1"}, {"openai-organization", "secret"}, {"endpoint-load-metrics-format", "text"},
}

// TestForgedFields sends all that in every mode. What is left are the fields of tracing
// and the proxy's own.
func TestForgedFields(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	may := []string{":method", ":path", ":scheme", ":authority", "content-type", "content-length", "x-forwarded-for", "x-forwarded-proto", "x-request-id", "traceparent", "tracestate"}
	for _, in := range []modeOf{buffered, streamed, duplex} {
		e := envoy{request: in, response: in, model: answering(200, scores, forged...)}
		got := e.do(t, w.conn, w.asking(fields(forged...)))
		if got.err != nil || got.status != 200 || got.immediate || string(got.sent.body) != edgetest.Good || string(got.body) != edgetest.Answer {
			t.Fatalf("%v: %+v", in, got)
		}
		for _, f := range got.sent.header {
			if !slices.Contains(may, f[0]) {
				t.Errorf("%v: the model server got %s", in, f)
			}
		}
		for _, f := range got.header {
			if !slices.Contains([]string{"content-type", "content-length", "cache-control", "x-content-type-options", "pavise-record"}, f[0]) || strings.Contains(f[1], "secret") {
				t.Errorf("%v: the caller got %s", in, f)
			}
			if f[0] == "pavise-record" && f[1] == "1" {
				t.Errorf("%v: the caller got the model's record", in)
			}
		}
		r := w.lastRecord(t, 0)
		if r.Who.ID != "app" || r.Who.Tenant != edgetest.Tenant || r.Kind != "model.infer" {
			t.Errorf("%v: %+v", in, r)
		}
	}
}

// TestHostilePaths asks for paths that two parsers could read in two ways. What is let
// through is asked for by the path that we made.
func TestHostilePaths(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	for path, want := range map[string]int{
		"/v2/models/m/infer":                         200,
		"/v2/models/%6d/infer":                       200, // asked for in its plain form
		"/v2/models/m/infer?binary=1":                200, // the query goes nowhere
		"/v2/models/m/infer?":                        200,
		"//v2/models/m/infer":                        400,
		"/v2//models/m/infer":                        400,
		"/v2/models/m/infer/":                        400,
		"/v2/models/m/./infer":                       400,
		"/v2/models/x/../m/infer":                    400,
		"/../v2/models/m/infer":                      400,
		"/v2/models/m/infer/..":                      400,
		"/v2/models/m%2finfer":                       400,
		"/v2/models/m%2Finfer":                       400,
		"/v2/models/x%2f..%2fm/infer":                400,
		"/v2/models/%2e%2e/infer":                    400,
		"/v2/models/m%00/infer":                      400,
		"/v2/models/m\\infer":                        400,
		"/v2/models/m/infer#/../../health":           400,
		"/v2/models/m;x=1/infer":                     403,
		"/v2/models/m%3fx/infer":                     403,
		"/v2/models/m%0d%0ax/infer":                  403,
		"/v2/models/local%2fmodel%2fm/infer":         400,
		"/v2/models/%ff/infer":                       403,
		"/v2/models/m/infer%":                        400,
		"/v2/models/m/%zz":                           400,
		"/V2/models/m/infer":                         404,
		"/v2/Models/m/infer":                         404,
		"/v2/models/M/infer":                         404,
		"/v2/models/m/Infer":                         404,
		"/v2/models/m/versions/1/infer":              403,
		"/v2/models//infer":                          400,
		"http://models.example/v2/models/m/infer":    400,
		"models.example:443":                         400,
		"*":                                          400,
		"?x=/v2/models/m/infer":                      400,
		"/v2/repository/models/m/load":               403,
		"/v2/systemsharedmemory/region/x/register":   403,
		"/v2/models/m/infer HTTP/1.1":                404,
		"/v2/models/ｍ/infer":                         403,
		"/inference.GRPCInferenceService/ModelInfer": 403,
	} {
		for _, in := range []modeOf{buffered, streamed, duplex} {
			t.Run(fmt.Sprint(path, in), func(t *testing.T) {
				size, want := w.Log.Size(), want
				if in == streamed && want == 200 && path != "/v2/models/m/infer" {
					want = 503 // the header is gone
				}
				got := envoy{request: in, response: buffered, model: answering(200, scores)}.do(t, w.conn, w.asking(setting(":path", path)))
				if got.err != nil || got.status != want || (got.sent != nil) != (want == 200) {
					t.Fatalf("%d %s, sent %v, %v", got.status, got.body, got.sent, got.err)
				}
				if got.sent != nil && got.sent.get(":path") != "/v2/models/m/infer" {
					t.Errorf("the model server is asked for %s", got.sent.get(":path"))
				}
				if n := w.inferences(t, size); n > 1 || want == 200 && n != 1 {
					t.Errorf("%d records tell of it", n)
				}
			})
		}
	}
}

// TestBodiesCutEverywhere cuts a request and its answer at every byte, in two parts.
func TestBodiesCutEverywhere(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	for at := 1; at < max(len(spaced), len(scores)); at++ {
		ask, said := min(at, len(spaced)-1), min(at, len(scores)-1)
		for _, m := range []modeOf{streamed, duplex} {
			steps := []step{head(m, m, nil)}
			wait := func(s *script) {
				if m == streamed {
					recv(s)
				}
			}
			steps = append(steps, wait, part(spaced[:ask], false, true), wait, part(spaced[ask:], true, true), recv)
			if m == duplex {
				steps = append(steps, recv)
			}
			steps = append(steps, ok(), wait, part(scores[:said], false, false), wait, part(scores[said:], true, false))
			got := w.play(t, steps...)
			if got.err != nil || !got.let || !strings.Contains(got.text, edgetest.Answer) {
				t.Fatalf("cut at %d, %v: %v, %v", at, m, got.all, got.err)
			}
		}
	}
}

// TestEchoes has a language model's server answer with what it was asked, or with its own
// name, in every status: the caller reads nothing of it, in the protocol's own words.
func TestEchoes(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, func(s *route.Spec) {
		s.ONNX, s.Upstream, s.Protocol, s.Remote = nil, "external", "openai", "llama"
	})
	ask := saying(`{"model":"m","messages":[{"role":"user","content":"my secret prompt"}]}`)
	for status, want := range map[int]int{200: 503, 201: 503, 204: 503, 206: 503, 301: 503, 304: 503, 400: 400, 401: 503, 403: 503, 404: 503, 413: 400, 418: 503, 422: 400, 429: 429, 500: 503, 502: 503, 503: 503, 504: 503, 599: 503} {
		for _, media := range []string{"application/json", "text/html", "text/event-stream", ""} {
			for _, m := range []modeOf{buffered, streamed, duplex} {
				size := w.Log.Size()
				e := envoy{request: m, response: m, override: true, chunk: 16}
				e.model = func(message) message {
					a := answering(status, `{"error":{"message":"backend secret-host-7:8000 cannot read: my secret prompt"}}`, [2]string{"retry-after", "secret"}, [2]string{"date", "secret"}, [2]string{"location", "http://secret/"})(message{})
					a.set("content-type", media)
					return a
				}
				got := e.do(t, w.conn, w.asking(func(m *message) { ask(m); m.set(":path", "/v1/chat/completions") }))
				all := fmt.Sprint(string(got.body), got.header, got.parts, got.metadata)
				if got.err != nil || got.status != want || strings.Contains(all, "secret") || strings.Contains(all, "host-7") || !strings.Contains(string(got.body), `"error":{`) {
					t.Errorf("%d %s %v: %d %s, %v", status, media, m, got.status, all, got.err)
				}
				if n := w.inferences(t, size); n != 1 {
					t.Errorf("%d %s %v: %d records tell of it", status, media, m, n)
				}
			}
		}
	}
}

// TestLyingAnswers has the server of a model of tensors say what is not so, of its answer
// or in it.
func TestLyingAnswers(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	said := func(old, now string) string { return strings.Replace(scores, old, now, 1) }
	type field = [2]string
	for name, c := range map[string]struct {
		model func(message) message
		good  bool
	}{
		"more than it says":  {answering(200, scores, field{"content-length", "5"}), true},
		"another media type": {answering(200, scores, field{"content-type", "text/html"}), true},
		"a script's media type": {func(message) message {
			return message{status: 200, header: []field{{"content-type", "text/html;charset=secret"}}, body: []byte(scores)}
		}, true},
		"compressed, and not":         {answering(200, scores, field{"content-encoding", "br"}), false},
		"identity":                    {answering(200, scores, field{"content-encoding", "identity"}), false},
		"compressed behind nothing":   {answering(200, "\x1f\x8b\x08\x00secret", field{"content-encoding", ""}, field{"content-encoding", "gzip"}), false},
		"compressed behind its back":  {answering(200, "\x1f\x8b\x08\x00secret"), false},
		"a date that is none":         {answering(200, scores, field{"date", "secret host-7"}), true},
		"a cookie":                    {answering(200, scores, field{"set-cookie", "secret=1"}, field{"access-control-allow-origin", "*"}), true},
		"another's record":            {answering(200, scores, field{"pavise-record", "secret"}), true},
		"binary tensors that are not": {answering(200, scores, field{"inference-header-content-length", "9"}), false},
		"a length of words":           {answering(200, scores, field{"inference-header-content-length", "secret"}), false},
		"no content":                  {answering(204, scores), false},
		"a part of the content":       {answering(206, scores, field{"content-range", "bytes 0-9/99"}), false},
		"not modified":                {answering(304, scores), false},
		"a redirect":                  {answering(307, scores, field{"location", "http://secret/"}), false},
		"another model's name":        {answering(200, said(`"m"`, `"secret"`)), true}, // servers put what they like there
		"a version of its own":        {answering(200, said(`"outputs"`, `"model_version":"secret","outputs"`)), true},
		"another request's answer":    {answering(200, said(`"outputs"`, `"id":"secret","outputs"`)), true}, // none was given: the model's own goes nowhere
		"more rows than asked":        {answering(200, `{"model_name":"m","outputs":[{"name":"scores","shape":[2,3],"datatype":"FP32","data":[1,2,3,4,5,6]}]}`), false},
		"fewer values than its shape": {answering(200, said("0.42231879,0.42231879", "0.42231879")), false},
		"more values than its shape":  {answering(200, said("0.15536241", "0.15536241,7")), false},
		"a shape below zero":          {answering(200, said("[1,3]", "[-1,-3]")), false},
		"a shape that overflows":      {answering(200, said("[1,3]", "[4294967296,4294967296,3]")), false},
		"a shape of words":            {answering(200, said("[1,3]", `["secret",3]`)), false},
		"another datatype":            {answering(200, said("FP32", "INT64")), false},
		"another output":              {answering(200, said(`"scores"`, `"secret"`)), false},
		"an output twice":             {answering(200, `{"model_name":"m","outputs":[{"name":"scores","shape":[1,3],"datatype":"FP32","data":[1,2,3]},{"name":"scores","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`), false},
		"one output more":             {answering(200, said(`}]}`, `},{"name":"logits","shape":[1,1],"datatype":"FP32","data":[7]}]}`)), false},
		"no outputs":                  {answering(200, `{"model_name":"m","outputs":[]}`), false},
		"a number that is none":       {answering(200, said("0.15536241", "NaN")), false},
		"a number without an end":     {answering(200, said("0.15536241", "1e999")), false},
		"an answer twice":             {answering(200, scores+scores), false},
		"an answer and the secret":    {answering(200, scores+"secret"), false},
		"a thousand brackets":         {answering(200, strings.Repeat("[", 1e5)), false},
		"a key twice":                 {answering(200, said(`"outputs"`, `"model_name":"m","outputs"`)), false},
	} {
		for how, e := range map[string]envoy{
			"whole": {request: buffered, response: buffered}, "in parts": {request: streamed, response: streamed, chunk: 11},
			"both sides": {request: duplex, response: duplex, chunk: 11}, "overridden": {request: duplex, response: buffered, override: true},
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				size := w.Log.Size()
				e.model = c.model
				got := e.do(t, w.conn, w.asking(nil))
				all := fmt.Sprint(string(got.body), got.header, got.parts, got.metadata)
				switch {
				case got.err != nil || got.sent == nil || strings.Contains(all, "secret") || strings.Contains(all, "host-7"):
					t.Errorf("%s, %v", all, got.err)
				case c.good && (got.status != 200 || string(got.body) != edgetest.Answer || got.get("content-type") != "application/json"):
					t.Errorf("%d %s", got.status, all)
				case !c.good && got.status != 503:
					t.Errorf("%d %s", got.status, all)
				}
				if n := w.inferences(t, size); n != 1 {
					t.Errorf("%d records tell of it", n)
				}
			})
		}
	}
}

// TestMistoldMedia has a header go out in parts that does not fit the answer: the model says
// that events come, or the caller asked for tensors in binary, whose length the header says.
// Nothing follows that somebody could read as something else.
func TestMistoldMedia(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	events := func(message) message {
		return message{status: 200, header: [][2]string{{"content-type", "text/event-stream"}}, body: []byte(scores)}
	}
	binary := saying(strings.TrimSuffix(edgetest.Good, "}") + `,"outputs":[{"name":"scores","parameters":{"binary_data":true}}]}`)
	for name, c := range map[string]struct {
		ask   func(*message)
		model func(message) message
		media string
	}{
		"events, and none": {nil, events, "application/json"},
		"binary tensors":   {binary, answering(200, scores), "application/octet-stream"},
	} {
		for how, e := range map[string]envoy{
			"whole": {request: buffered, response: buffered}, "overridden": {request: buffered, response: buffered, override: true},
			"in parts": {request: buffered, response: streamed, chunk: 11}, "both sides": {request: duplex, response: duplex, chunk: 11},
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				e.model = c.model
				got := e.do(t, w.conn, w.asking(c.ask))
				switch {
				case got.err != nil || got.sent == nil:
					t.Errorf("%+v", got)
				case got.reset && strings.Join(got.parts, "") != "":
					t.Errorf("before it broke off came %q", got.parts)
				case !got.reset && (got.status != 200 || got.get("content-type") != c.media || len(got.body) == 0):
					t.Errorf("%+v %s", got, got.body)
				case !got.reset && c.media != "application/json" && got.get("inference-header-content-length") == "":
					t.Errorf("nobody can tell where the tensors begin: %v", got.header)
				case got.reset && how != "in parts" && how != "overridden":
					t.Errorf("it broke off")
				}
			})
		}
	}
}

// TestNoBody tells the handler that no body follows, whatever the header says of its length.
func TestNoBody(t *testing.T) {
	said := make(chan int64, 1)
	w := newWorld(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, err := io.ReadAll(r.Body)
			said <- r.ContentLength
			fmt.Fprintf(w, "%s, %v", text, err)
		})
	}, extproc.Config{})
	for _, length := range []string{"", "0", "7", "-1", "x"} {
		got := envoy{request: buffered, response: buffered}.do(t, w.conn, w.asking(func(m *message) { m.body = nil; m.set("content-length", length) }))
		if n := <-said; n != 0 || string(got.body) != ", <nil>" {
			t.Errorf("length %q: %d, %s", length, n, got.body)
		}
	}
}
