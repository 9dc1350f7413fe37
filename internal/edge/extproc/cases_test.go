package extproc_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/edge/extproc"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
)

// scores is what the model server answers: more digits than the route lets out.
const scores = `{"model_name":"m","outputs":[{"name":"scores","shape":[1,3],"datatype":"FP32","data":[0.42231879,0.42231879,0.15536241]}]}`

// spaced is a request with more room between its words than ours has.
const spaced = `{ "inputs" : [ { "name" : "x" , "shape" : [ 1, 2 ] , "datatype" : "FP32" , "data" : [ 0.5, 0.25 ] } ] }`

// asking is a good request of the caller's.
func (w *world) asking(edit func(*message)) message {
	m := message{
		header: [][2]string{
			{":method", "POST"}, {":path", "/v2/models/m/infer"}, {":scheme", "https"}, {":authority", "models.example"},
			{"content-type", "application/json"}, {"authorization", "Bearer " + w.Token}, {"accept-encoding", "gzip, br"},
			{"cookie", "session=1"}, {"x-forwarded-for", "203.0.113.7"}, {"x-request-id", "7"}, {"x-api-key", "secret"},
		},
		body: []byte(spaced),
	}
	m.header = append(m.header, [2]string{"content-length", strconv.Itoa(len(m.body))})
	if edit != nil {
		edit(&m)
	}
	return m
}

// set changes a field, or takes it away.
func (m *message) set(name, value string) {
	for i, f := range m.header {
		if f[0] == name {
			m.header = append(m.header[:i:i], m.header[i+1:]...)
			break
		}
	}
	if value != "" {
		m.header = append(m.header, [2]string{name, value})
	}
}

// saying gives a message another body.
func saying(text string) func(*message) {
	return func(m *message) {
		m.body = []byte(text)
		m.set("content-length", strconv.Itoa(len(text)))
	}
}

// answering is a model server that answers with one message.
func answering(status int, text string, header ...[2]string) func(message) message {
	return func(message) message {
		h := append([][2]string{{"content-type", "application/json"}, {"content-length", strconv.Itoa(len(text))}, {"server", "triton"}, {"x-internal", "host-7"}}, header...)
		return message{status: status, header: h, body: []byte(text)}
	}
}

// TestModes carries a good request through every mode that is taken, and finds at the
// model server what we encoded and at the caller what the route lets out.
func TestModes(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	cases := map[string]envoy{}
	for _, in := range []modeOf{buffered, streamed, duplex} {
		for _, out := range []modeOf{buffered, streamed, duplex} {
			cases[in.String()+"/"+out.String()] = envoy{request: in, response: out, override: true}
		}
	}
	for _, n := range []int{1, 7, 64, 64 << 10} {
		cases["streamed by "+strconv.Itoa(n)] = envoy{request: streamed, response: streamed, chunk: n}
		cases["duplex by "+strconv.Itoa(n)] = envoy{request: duplex, response: duplex, chunk: n}
	}
	for name, e := range cases {
		t.Run(name, func(t *testing.T) {
			e.model = answering(200, scores)
			got := e.do(t, w.conn, w.asking(nil))
			if got.err != nil || got.status != 200 || got.immediate || got.sent == nil {
				t.Fatalf("%+v", got)
			}
			if string(got.sent.body) != edgetest.Good {
				t.Errorf("the model server got %s", got.sent.body)
			}
			for _, f := range got.sent.header {
				if f[0] == "authorization" || f[0] == "cookie" || f[0] == "x-api-key" || f[0] == "accept-encoding" {
					t.Errorf("the model server got %s", f)
				}
			}
			if n := got.sent.get("content-length"); n != "" && n != strconv.Itoa(len(edgetest.Good)) || got.sent.get("x-request-id") != "7" {
				t.Errorf("the model server got %v", got.sent.header)
			}
			if string(got.body) != edgetest.Answer || got.get("x-internal") != "" || got.get("server") != "" {
				t.Errorf("the caller got %v %s", got.header, got.body)
			}
			index, err := strconv.ParseUint(got.metadata["record"].(string), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if named := got.get("pavise-record"); named != strconv.FormatUint(index, 10) && e.response != streamed {
				t.Errorf("the caller is told of record %q, and the proxy of %d", named, index)
			}
			r, err := w.Log.Read(index)
			if err != nil || r.Error != nil || r.Kind != "model.infer" || r.Who.ID != "app" {
				t.Errorf("record %d is %+v, %v", index, r, err)
			}
			if trail := trailOf(t, r); trail.Charged != 1 || trail.Model != "external" || trail.Output == "" {
				t.Errorf("trail %+v", trail)
			}
		})
	}
}

func trailOf(t testing.TB, r record.Record) (trail gateway.Trail) {
	t.Helper()
	if err := json.Unmarshal(r.Detail, &trail); err != nil {
		t.Fatal(err)
	}
	return trail
}

// A refusalCase is one case of what is not let through.
type refusalCase struct {
	proxy  envoy
	ask    func(*message)
	model  func(message) message
	status int
	asked  bool   // the model server got the request
	says   string // part of what the caller is told
	reset  bool   // the caller sees an answer break off
	broken bool   // the stream ends with an error
	free   bool   // nothing is recorded by name: nobody knows who asked
}

// TestRefusals has each of these refused in every mode that is taken, in the words of
// the protocol, and none of the model's words come out.
func TestRefusals(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	header := func(name, value string) func(*message) { return func(m *message) { m.set(name, value) } }
	cases := map[string]refusalCase{
		"no token":             {ask: header("authorization", ""), status: 401, free: true},
		"a token of nobody":    {ask: header("authorization", "Bearer x.y.z"), status: 401, free: true},
		"two tokens":           {ask: func(m *message) { m.header = append(m.header, [2]string{"authorization", "Bearer x"}) }, status: 401, free: true},
		"no route":             {ask: header(":path", "/v2/repository/index"), status: 403},
		"another model":        {ask: header(":path", "/v2/models/other/infer"), status: 404},
		"another method":       {ask: header(":method", "DELETE"), status: 404, free: true},
		"not JSON":             {ask: header("content-type", "text/plain"), status: 400, free: true},
		"gRPC":                 {ask: header("content-type", "application/grpc+proto"), status: 404, says: "gRPC", free: true},
		"compressed":           {ask: header("content-encoding", "gzip"), status: 400, free: true},
		"binary tensors":       {ask: header("inference-header-content-length", "0"), status: 400, free: true},
		"a key twice":          {ask: saying(`{"inputs":[],"inputs":[]}`), status: 400},
		"half a body":          {ask: saying(spaced[:40]), status: 400},
		"two bodies":           {ask: saying(spaced + spaced), status: 400},
		"the wrong shape":      {ask: saying(strings.Replace(spaced, "[ 1, 2 ]", "[ 1, 3 ]", 1)), status: 400},
		"too many rows":        {ask: saying(`{"inputs":[{"name":"x","shape":[300,2],"datatype":"FP32","data":[` + strings.Repeat("1,", 599) + `1]}]}`), status: 400},
		"a large body":         {ask: saying(`{"inputs":` + strings.Repeat(" ", 4<<20) + `[]}`), status: 400},
		"no body":              {ask: func(m *message) { m.body = nil; m.set("content-length", "0") }, status: 400},
		"a whole URL":          {ask: header(":path", "https://elsewhere/v2/models/m/infer"), status: 400, free: true},
		"an upgrade":           {ask: header(":protocol", "websocket"), status: 400, free: true},
		"the model failed":     {model: answering(500, `{"error":"secret of the model"}`), status: 503, asked: true},
		"the model refused":    {model: answering(400, `{"error":"secret of the model"}`), status: 503, asked: true},
		"the model is unknown": {model: answering(404, `{"error":"secret of the model"}`), status: 503, asked: true},
		"the model talks":      {model: answering(200, `<html>secret of the model</html>`), status: 503, asked: true},
		"the model says more":  {model: answering(200, strings.Replace(scores, `"outputs"`, `"note":"secret of the model","outputs"`, 1)), status: 503, asked: true},
		"another shape":        {model: answering(200, strings.Replace(scores, "[1,3]", "[3,1]", 1)), status: 503, asked: true},
		"classes":              {model: answering(200, `{"model_name":"m","outputs":[{"name":"scores","shape":[1,3],"datatype":"BYTES","data":["0.42:1:cat","0.4:2","0.1:3"]}]}`), status: 503, asked: true},
		"a compressed answer":  {model: answering(200, "\x1f\x8b\x08secret", [2]string{"content-encoding", "gzip"}), status: 503, asked: true},
		"an endless answer":    {model: answering(200, `{"outputs":`+strings.Repeat(" ", 4<<20)+`[]}`), status: 503, asked: true},
		"an empty answer":      {model: answering(200, ""), status: 503, asked: true},
		"nothing but a status": {model: answering(503, ""), status: 503, asked: true},
		"an answer of no JSON": {model: answering(204, ""), status: 503, asked: true},
	}
	for name, c := range cases {
		if c.ask == nil {
			c.ask = func(*message) {}
		}
		if c.model == nil {
			c.model = answering(200, scores)
		}
		for how, e := range map[string]envoy{
			"buffered": {request: buffered, response: buffered}, "streamed": {request: streamed, response: streamed},
			"duplex": {request: duplex, response: duplex}, "bytes": {request: duplex, response: streamed, chunk: 1 << 10},
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				c.proxy = e
				// Once its header is gone, an answer can only be broken off.
				c.reset = c.asked && e.response == streamed && name != "an empty answer" && name != "nothing but a status" && name != "an answer of no JSON" && name != "a compressed answer"
				w.refuses(t, c)
			})
		}
	}
}

// refuses checks one case.
func (w *world) refuses(t *testing.T, c refusalCase) {
	t.Helper()
	size := w.Log.Size()
	c.proxy.model = c.model
	got := c.proxy.do(t, w.conn, w.asking(c.ask))
	switch {
	case (got.err != nil) != c.broken:
		t.Fatalf("the stream ended with %v", got.err)
	case (got.sent != nil) != c.asked:
		t.Errorf("the model server got %+v", got.sent)
	case !c.broken && (got.status != c.status || !got.immediate):
		t.Errorf("status %d, want %d: %s", got.status, c.status, got.body)
	case got.reset != c.reset:
		t.Errorf("broken off: %t, want %t", got.reset, c.reset)
	}
	if all := string(got.body) + strings.Join(got.parts, "") + fmt.Sprint(got.header); strings.Contains(all, "secret") || !strings.Contains(all, c.says) {
		t.Errorf("the caller got %s", all)
	}
	if c.broken || c.free {
		return
	}
	var e struct{ Error string }
	if err := json.Unmarshal(got.body, &e); err != nil || e.Error == "" {
		t.Errorf("the body is %s", got.body)
	}
	if got.get("pavise-record") == "" || w.Log.Size() <= size {
		t.Errorf("no record tells of it: %v", got.header)
	}
}

// TestUnfitModes has each way refused in which something would go past us.
func TestUnfitModes(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	trailers := func(m *message) { m.trailers = [][2]string{{"x-late", "1"}} }
	late := func(m message) message {
		a := answering(200, scores)(m)
		a.trailers = [][2]string{{"x-late", "secret"}}
		return a
	}
	for name, c := range map[string]refusalCase{
		"an old proxy":              {proxy: envoy{request: buffered, response: buffered, unsaid: true}, status: 503, says: "1.34", free: true},
		"parts of bodies":           {proxy: envoy{request: partial, response: buffered}, status: 503, says: "BUFFERED", free: true},
		"parts of answers":          {proxy: envoy{request: buffered, response: partial}, status: 503, says: "BUFFERED", free: true},
		"no answers":                {proxy: envoy{request: buffered, response: none}, status: 503, says: "response_body_mode", free: true},
		"no answers, overridable":   {proxy: envoy{request: buffered, response: none, override: true}, status: 503, says: "response_body_mode", free: true},
		"gRPC messages":             {proxy: envoy{request: 5, response: buffered}, status: 503, says: "GRPC", free: true},
		"a mode of the future":      {proxy: envoy{request: buffered, response: 9}, status: 503, says: "9", free: true},
		"a body before its header":  {proxy: envoy{request: streamed, response: streamed, eager: true}, status: 503, says: "send_body_without", free: true},
		"no bodies":                 {proxy: envoy{request: none, response: none}, status: 503, says: "request_body_mode", free: true},
		"no bodies, overridable":    {proxy: envoy{request: none, response: duplex, override: true}, status: 503, says: "request_body_mode", free: true},
		"only watching":             {proxy: envoy{request: buffered, response: buffered, observe: true}, broken: true},
		"buffered trailers":         {proxy: envoy{request: buffered, response: buffered}, ask: trailers, status: 400, says: "part"},
		"streamed trailers":         {proxy: envoy{request: streamed, response: streamed}, ask: trailers, status: 400, says: "railers"},
		"buffered answer, trailers": {proxy: envoy{request: buffered, response: buffered}, model: late, status: 503, asked: true},
		"streamed answer, trailers": {proxy: envoy{request: streamed, response: streamed}, model: late, status: 503, asked: true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.ask == nil {
				c.ask = func(*message) {}
			}
			if c.model == nil {
				c.model = answering(200, scores)
			}
			w.refuses(t, c)
		})
	}
}

// TestTrailersOfBothSides lets trailers end what both sides stream, and none of them go on.
func TestTrailersOfBothSides(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	e := envoy{request: duplex, response: duplex, chunk: 100, model: func(m message) message {
		a := answering(200, scores)(m)
		a.trailers = [][2]string{{"x-late", "secret"}}
		return a
	}}
	got := e.do(t, w.conn, w.asking(func(m *message) { m.trailers = [][2]string{{"x-api-key", "secret"}} }))
	if got.status != 200 || string(got.body) != edgetest.Answer || len(got.trailers) != 0 || len(got.sent.trailers) != 0 || string(got.sent.body) != edgetest.Good {
		t.Errorf("%+v, %v", got, got.err)
	}
}

// TestOwnAnswers has what needs no model server answered at once: metadata, health, and
// a model that runs in the gateway.
func TestOwnAnswers(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, nil)
	for name, c := range map[string]struct {
		method, path, want string
		body               string
	}{
		"health":   {"GET", "/v2/health/live", `{"live":true}`, ""},
		"metadata": {"GET", "/v2/models/m", `"scores"`, ""},
		"native":   {"POST", "/v2/models/m/infer", `"data":[0.4223,0.4223,0.1554]`, spaced},
	} {
		for _, m := range []modeOf{buffered, streamed, duplex} {
			e := envoy{request: m, response: m, model: answering(200, "the model server was asked")}
			got := e.do(t, w.conn, w.asking(func(m *message) {
				m.set(":method", c.method)
				m.set(":path", c.path)
				saying(c.body)(m)
			}))
			if got.err != nil || !got.immediate || got.status != 200 || !strings.Contains(string(got.body), c.want) || got.sent != nil {
				t.Errorf("%s, %v: %+v %s", name, m, got, got.body)
			}
		}
	}
}

// TestAnotherName asks under the name that the route gives, where the header is still
// there to say so, and not at all where it is not.
func TestAnotherName(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, func(s *route.Spec) { external(s); s.Remote = "fraud-7" })
	for _, m := range []modeOf{buffered, streamed, duplex} {
		e := envoy{request: m, response: buffered, model: answering(200, strings.Replace(scores, `"m"`, `"fraud-7"`, 1))}
		got := e.do(t, w.conn, w.asking(func(m *message) { m.set(":path", "/v2/models/m/infer?debug=1") }))
		if m == streamed {
			if got.status != 503 || got.sent != nil || !strings.Contains(string(got.body), "otherwise") {
				t.Errorf("streamed: %+v %s", got, got.body)
			}
			continue
		}
		if got.status != 200 || got.sent.get(":path") != "/v2/models/fraud-7/infer" || !got.rerouted {
			t.Errorf("%v: %+v %s", m, got, got.body)
		}
	}
}

// TestBudget charges rows that went by the proxy like all others.
func TestBudget(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, func(s *route.Spec) { external(s); s.Rate = "2/1h" })
	for i, want := range []int{200, 200, 429} {
		got := envoy{request: buffered, response: buffered, model: answering(200, scores)}.do(t, w.conn, w.asking(nil))
		if got.status != want || want == 429 && (got.get("retry-after") == "" || got.sent != nil || got.metadata["outcome"] != "refused") {
			t.Errorf("request %d: %+v", i, got)
		}
	}
	if resp, body := w.Post(t, "/v2/models/m/infer", edgetest.Good, nil); resp.StatusCode != 429 {
		t.Errorf("at the gateway's own door: %d %s", resp.StatusCode, body)
	}
}

// TestNotByTheProxy has a model behind a proxy asked at our own door.
func TestNotByTheProxy(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	resp, body := w.Post(t, "/v2/models/m/infer", edgetest.Good, nil)
	if resp.StatusCode != 503 || !strings.Contains(body, "proxy") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// TestEvents carries a stream of events: each goes out when the handler has made it, and
// not before.
func TestEvents(t *testing.T) {
	w := newWorld(t, func(http.Handler) http.Handler { return http.HandlerFunc(shout) }, extproc.Config{})
	events := strings.Repeat("data: word\n\n", 20) + "data: [DONE]\n\n"
	want := strings.ToUpper(events)
	model := answering(200, events, [2]string{"x-secret", "1"})
	for name, e := range map[string]envoy{
		"streamed": {request: buffered, response: streamed, chunk: 12}, "streamed by bytes": {request: streamed, response: streamed, chunk: 1},
		"duplex": {request: duplex, response: duplex, chunk: 12}, "duplex by bytes": {request: duplex, response: duplex, chunk: 1},
		"overridden":     {request: buffered, response: buffered, override: true, chunk: 12},
		"not overridden": {request: buffered, response: buffered, chunk: 12},
	} {
		t.Run(name, func(t *testing.T) {
			e.model = func(m message) message {
				a := model(m)
				a.set("content-type", "text/event-stream")
				return a
			}
			got := e.do(t, w.conn, w.asking(nil))
			if got.err != nil || got.status != 200 || string(got.body) != want || got.get("content-type") != "text/event-stream" || got.get("x-secret") != "" {
				t.Fatalf("%+v %q", got, got.body)
			}
			if name != "not overridden" && len(got.parts) < 20 {
				t.Errorf("it came in %d parts", len(got.parts))
			}
		})
	}
}

// shout is a handler that passes events on in capitals, one by one.
func shout(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	relay, _ := infer.RelayFrom(r.Context())
	ask, _ := http.NewRequestWithContext(r.Context(), "POST", "http://proxy.invalid"+r.URL.Path, bytes.NewReader(body))
	answer, err := relay.RoundTrip(ask)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for s := bufio.NewScanner(answer.Body); s.Scan(); {
		fmt.Fprintln(w, strings.ToUpper(s.Text()))
		if s.Text() == "" {
			w.(http.Flusher).Flush()
		}
	}
}

// TestLanguage carries the OpenAI protocol, whole and as events, to a language model
// behind the proxy; a field that is not for the caller goes nowhere.
func TestLanguage(t *testing.T) {
	t.Run("as it comes", func(t *testing.T) { speaks(t, "none", "none") })
	t.Run("held and paced", func(t *testing.T) { speaks(t, "30ms..10s", "10ms") })
}

// speaks does so on a route with a ladder and a pace.
func speaks(t *testing.T, ladder, pace string) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, func(s *route.Spec) {
		s.ONNX, s.Upstream, s.Protocol, s.Remote, s.Ladder, s.Pace = nil, "external", "openai", "llama", ladder, pace
	})
	whole := `{"id":"c1","object":"chat.completion","created":1,"model":"llama","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`
	piece := func(delta, finish string) string {
		return `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"llama","choices":[{"index":0,"delta":` + delta + `,"finish_reason":` + finish + `}]}` + "\n\n"
	}
	events := piece(`{"role":"assistant","content":""}`, "null") + strings.Repeat(piece(`{"content":"Hi"}`, "null"), 9) + piece(`{}`, `"stop"`) + "data: [DONE]\n\n"
	for _, m := range []modeOf{buffered, streamed, duplex} {
		for _, stream := range []bool{false, true} {
			e := envoy{request: m, response: m, override: true, chunk: 100}
			e.model = func(up message) message {
				if a := answering(200, whole); !stream {
					return a(up)
				}
				a := answering(200, events)(up)
				a.set("content-type", "text/event-stream")
				return a
			}
			ask := saying(fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":"Hello"}],"stream":%t}`, stream))
			got := e.do(t, w.conn, w.asking(func(m *message) { ask(m); m.set(":path", "/v1/chat/completions") }))
			if got.err != nil || got.status != 200 || got.sent == nil || !strings.Contains(string(got.sent.body), `"model":"llama"`) {
				t.Fatalf("%v, stream %t: %+v %s", m, stream, got, got.body)
			}
			text := string(got.body)
			if strings.Contains(text, "llama") || strings.Count(text, `"content":"Hi"`) != map[bool]int{false: 1, true: 9}[stream] {
				t.Errorf("%v, stream %t: the caller got %s", m, stream, text)
			}
			if stream && (!strings.Contains(text, ": pavise-record ") || !strings.HasSuffix(text, "data: [DONE]\n\n") || pace == "none" && len(got.parts) < 5) {
				t.Errorf("%v: it came in %d parts: %s", m, len(got.parts), text)
			}
			if size := w.Log.Size(); !stream {
				if r, err := w.Log.Read(size - 1); err != nil || r.Error != nil || strings.Contains(string(r.Detail), `"rung"`) != (ladder != "none") {
					t.Errorf("%+v, %v", r, err)
				}
			}
		}
	}
	got := envoy{request: buffered, response: buffered}.do(t, w.conn, w.asking(func(m *message) {
		saying(`{"model":"m","messages":[{"role":"user","content":"Hello"}],"prompt_logprobs":5}`)(m)
		m.set(":path", "/v1/chat/completions")
	}))
	if got.status != 400 || !strings.Contains(string(got.body), `"invalid_request_error"`) {
		t.Errorf("%+v %s", got, got.body)
	}
}

// TestAnotherProtocol asks a model server that speaks another protocol than the caller.
func TestAnotherProtocol(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, func(s *route.Spec) { external(s); s.Protocol = "v1" })
	for _, m := range []modeOf{buffered, duplex} {
		e := envoy{request: m, response: m, model: answering(200, `{"predictions":[[0.42231879,0.42231879,0.15536241]]}`)}
		got := e.do(t, w.conn, w.asking(nil))
		if got.status != 200 || string(got.body) != edgetest.Answer || got.sent.get(":path") != "/v1/models/m:predict" || string(got.sent.body) != `{"instances":[[0.5,0.25]]}` {
			t.Errorf("%v: %+v %s", m, got, got.body)
		}
	}
}

// TestExternalGRPC asks no external model by gRPC, for no proxy shows how it ended.
func TestExternalGRPC(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, func(s *route.Spec) { external(s); s.Protocol = "oip-grpc" })
	got := envoy{request: duplex, response: duplex, model: answering(200, "\x00\x00\x00\x00\x00", [2]string{"content-type", "application/grpc"})}.do(t, w.conn, w.asking(nil))
	if got.status != 503 || !got.immediate {
		t.Errorf("%+v %s", got, got.body)
	}
}

// BenchmarkExchange is one inference by the proxy, both ways, with all that the gateway does:
// token, policy, budget, gate, shape and record. The proxy's share is in it.
func BenchmarkExchange(b *testing.B) {
	w := newWorld(b, nil, extproc.Config{})
	w.Put(b, func(s *route.Spec) {
		external(s)
		s.Rate, s.Budget = "1000000/1s", "1000000/1s"
		s.ModelBudget = s.Budget
	})
	for _, m := range []modeOf{buffered, streamed, duplex} {
		b.Run(m.String(), func(b *testing.B) {
			e := envoy{request: m, response: m, model: answering(200, scores)}
			b.ReportAllocs()
			for b.Loop() {
				if got := e.do(b, w.conn, w.asking(nil)); got.status != 200 {
					b.Fatalf("%+v", got)
				}
			}
		})
	}
}
