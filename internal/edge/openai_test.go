package edge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/chat/chattest"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
)

const (
	chatPath = "/v1/chat/completions"
	hello    = `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
	streamed = `{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}`
	answered = `{"id":"a","object":"chat.completion","created":1,"model":"secret-7b","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}`
)

// chunk is one event of a stream.
func chunk(choice string) string {
	return `data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"secret-7b","choices":[` + choice + `]}` + "\n\n"
}

var (
	begin = chunk(`{"index":0,"delta":{"role":"assistant","content":"hel"}}`)
	stop  = chunk(`{"index":0,"delta":{},"finish_reason":"stop"}`)
)

const done = "data: [DONE]\n\n"

// languages is a world whose model m is a language model on a server of the handler.
func languages(t testing.TB, serve http.HandlerFunc, edit func(*route.Spec)) *edgetest.World {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet { // putting the route asks what there is
			says("application/json", `{"object":"list","data":[{"id":"secret-7b","object":"model"}]}`)(w, r)
			return
		}
		serve(w, r)
	}))
	t.Cleanup(server.Close)
	w := edgetest.New(t)
	w.Put(t, func(s *route.Spec) {
		s.ONNX, s.Upstream, s.Remote, s.Protocol, s.Rate = nil, server.URL, "secret-7b", "openai", "1000000/1m"
		if edit != nil {
			edit(s)
		}
	})
	return w
}

// says is a server that always says the same.
func says(media, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", media)
		io.WriteString(w, text)
	}
}

// wrong is the protocol's error.
type wrong struct {
	Error struct {
		Message, Type string
		Param, Code   *string
	}
}

func errorOf(t testing.TB, body string) wrong {
	t.Helper()
	var e wrong
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error.Message == "" || e.Error.Type == "" {
		t.Errorf("body %.200q is not the protocol's error: %v", body, err)
	}
	return e
}

// TestChatAnswer follows a request there and back: the server gets bytes of our own
// under its own name of the model, the caller learns neither name, and the record says
// what happened without what was said.
func TestChatAnswer(t *testing.T) {
	var got atomic.Value
	w := languages(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got.Store(fmt.Sprint(r.URL.Path, " ", r.Header.Get("Authorization"), r.Header.Get("Cookie"), " ", string(body)))
		says("application/json; charset=utf-8", answered)(w, r)
	}, nil)
	resp, body := w.Post(t, chatPath, ` { "model" : "m", "seed":1,"messages":[{"role":"user","content":"h\u0069"}]} `, func(r *http.Request) { r.Header.Set("Cookie", "a=b") })
	if want := strings.Replace(answered, "secret-7b", "m", 1); resp.StatusCode != 200 || body != want {
		t.Errorf("%d %s, want %s", resp.StatusCode, body, want)
	}
	if want := `/v1/chat/completions  {"model":"secret-7b","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":4096}`; got.Load() != want {
		t.Errorf("the server got %s, want %s", got.Load(), want)
	}
	if got, want := resp.Header.Get(edge.FieldsHeader), "dropped=seed; set=max_completion_tokens=4096; removed=cached_tokens"; got != want {
		t.Errorf("%s: %q, want %q", edge.FieldsHeader, got, want)
	}
	r := w.Record(t, resp)
	var trail gateway.ChatTrail
	if err := json.Unmarshal(r.Detail, &trail); err != nil {
		t.Fatal(err)
	}
	if r.Kind != "model.infer" || r.On != edgetest.Model || r.Outcome != pavise.Alter || trail.Rows != 1 || trail.Charged != 1 ||
		trail.API != chat.Chat || trail.Tier != "untrusted" || trail.TokensIn != 3 || trail.TokensOut != 1 || len(trail.Input) != 64 || len(trail.Output) != 64 || len(r.Sealed) == 0 {
		t.Errorf("record %+v, trail %s", r, r.Detail)
	}
	if said := verdict(r, "fields"); said.Outcome != pavise.Alter || said.Reason != resp.Header.Get(edge.FieldsHeader) {
		t.Errorf("verdicts %+v", r.Verdicts)
	}
	if strings.Contains(string(r.Detail), "hello") {
		t.Errorf("the record tells what was said: %s", r.Detail)
	}
}

// verdict is what a check said in a record.
func verdict(r record.Record, check string) pavise.Verdict {
	if i := slices.IndexFunc(r.Verdicts, func(v pavise.Verdict) bool { return v.Check == check }); i >= 0 {
		return r.Verdicts[i]
	}
	return pavise.Verdict{}
}

// TestHostileChats sends every request of the codec's table through the real server: a
// protocol-correct error each, that names the field; a record each; and the same model
// answering afterwards.
func TestHostileChats(t *testing.T) {
	w := languages(t, says("application/json", answered), nil)
	cases := chattest.Hostile()
	if len(cases) < 80 {
		t.Fatalf("only %d hostile requests", len(cases))
	}
	for _, c := range cases {
		resp, body := w.Post(t, chat.API(c.API).Path(), c.Body, nil)
		e := errorOf(t, body)
		param := ""
		if e.Error.Param != nil {
			param = *e.Error.Param
		}
		if resp.StatusCode != 400 || e.Error.Type != "invalid_request_error" || param != c.Param {
			t.Errorf("%s: status %d, %s", c.Name, resp.StatusCode, body)
		}
		if r := w.Record(t, resp); r.Outcome != pavise.Deny || r.Error == nil || verdict(r, "codec").Outcome != pavise.Deny {
			t.Errorf("%s: record %+v", c.Name, r)
		}
	}
	if resp, body := w.Post(t, chatPath, hello, nil); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", resp.StatusCode, body)
	}
}

// TestChatRefusals are requests that are refused for other reasons than their spelling.
func TestChatRefusals(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	tests := []struct {
		name, path, body string
		edit             func(*http.Request)
		status           int
		class, code      string
		param            string
	}{
		{"no token", chatPath, hello, func(r *http.Request) { r.Header.Del("Authorization") }, 401, "authentication_error", "invalid_api_key", ""},
		{"wrong token", chatPath, hello, header("Authorization", "Bearer sk-123"), 401, "authentication_error", "invalid_api_key", ""},
		{"no role", chatPath, hello, nil, 403, "permission_error", "permission_denied", ""},
		{"form", chatPath, hello, header("Content-Type", "text/plain"), 400, "invalid_request_error", "", ""},
		{"gzip", chatPath, hello, header("Content-Encoding", "gzip"), 400, "invalid_request_error", "", ""},
		{"no such model", chatPath, strings.Replace(hello, `"m"`, `"gpt-4"`, 1), nil, 404, "invalid_request_error", "model_not_found", ""},
		{"another tenant's", chatPath, strings.Replace(hello, `"m"`, `"other/model/m"`, 1), nil, 404, "invalid_request_error", "model_not_found", ""},
		{"a path for a model", chatPath, strings.Replace(hello, `"m"`, `"../../m"`, 1), nil, 404, "invalid_request_error", "model_not_found", ""},
		{"a model of tensors", chatPath, strings.Replace(hello, `"m"`, `"tensors"`, 1), nil, 404, "invalid_request_error", "model_not_found", ""},
		{"leak", chatPath, strings.Replace(hello, "{", `{"logit_bias":{"1":5},`, 1), nil, 400, "invalid_request_error", "", "logit_bias"},
		{"unknown", chatPath, strings.Replace(hello, "{", `{"top_k":5,`, 1), nil, 400, "invalid_request_error", "", "top_k"},
		{"too many rows", "/v1/embeddings", `{"model":"m","input":["a","a","a","a","a"]}`, nil, 400, "invalid_request_error", "", ""},
		{"audio", "/v1/audio/speech", `{}`, nil, 403, "permission_error", "permission_denied", ""},
		{"files", "/v1/files", `{}`, nil, 403, "permission_error", "permission_denied", ""},
		{"a stored response", "/v1/responses/resp_1", `{}`, nil, 403, "permission_error", "permission_denied", ""},
		{"unknown path", "/v1/nothing", `{}`, nil, 404, "invalid_request_error", "unknown_url", ""},
		{"tokenize", "/v1/tokenize", `{}`, nil, 403, "permission_error", "permission_denied", ""},
	}
	w := languages(t, says("application/json", answered), func(s *route.Spec) { s.MaxRows = 4 })
	if _, err := w.Routes.Put(t.Context(), edgetest.Operator, route.Spec{Name: "local/model/tensors", ONNX: edgetest.Softmax()}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "no role" {
				tt.edit = header("Authorization", "Bearer "+w.Mint(t, "norole"))
			}
			resp, body := w.Post(t, tt.path, tt.body, tt.edit)
			e, code, param := errorOf(t, body), "", ""
			if e.Error.Code != nil {
				code = *e.Error.Code
			}
			if e.Error.Param != nil {
				param = *e.Error.Param
			}
			if resp.StatusCode != tt.status || e.Error.Type != tt.class || code != tt.code || param != tt.param {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if strings.Contains(body, "eyJ") || strings.Contains(body, "secret") {
				t.Errorf("it tells too much: %s", body)
			}
		})
	}
	if resp, body := w.Post(t, inferPath, edgetest.Good, nil); resp.StatusCode != 404 || !strings.Contains(body, "language model") {
		t.Errorf("tensors for a language model: %d %s", resp.StatusCode, body)
	}
}

// TestChatServerLies has the model server do what a broken or hostile one may do.
func TestChatServerLies(t *testing.T) {
	tests := map[string]struct {
		serve  http.HandlerFunc
		stream bool
		status int
	}{
		"error":       {status(500, `{"error":{"message":"secret"}}`), false, 503},
		"too long":    {status(400, `{"error":{"message":"secret"}}`), false, 400},
		"busy":        {status(429, `secret`), false, 429},
		"busy long":   {after("7"), false, 429},
		"endlessly":   {after("2000000000"), true, 429},
		"for no time": {after("-1"), false, 429},
		"keys":        {status(401, `secret`), false, 503},
		"not there":   {status(404, `secret`), false, 503},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, false, 503},
		"page":             {says("text/html", answered), false, 503},
		"no JSON":          {says("application/json", "secret"), false, 503},
		"two choices":      {says("application/json", strings.Replace(answered, `"choices":[`, `"choices":[{"index":1,"message":{"role":"assistant","content":"secret"},"finish_reason":"stop"},`, 1)), false, 503},
		"endless":          {endless("application/json", " "), false, 503},
		"cut":              {cut("application/json", answered), false, 503},
		"strange media":    {says("text/secret", answered), false, 503},
		"stream of a page": {says("text/html", begin+stop+done), true, 503},
		"strange stream":   {says("text/secret", begin+stop+done), true, 503},
		"no stream":        {says("application/json", answered), true, 503},
		"error at once":    {says("text/event-stream", `data: {"error":{"message":"secret"}}`+"\n\n"), true, 503},
		"cut at once":      {cut("text/event-stream", ": ping\n\n"), true, 503},
		"giant line":       {endless("text/event-stream", "data"), true, 503},
		"only comments":    {endless("text/event-stream", ": ping\n\n"), true, 503},
		"packed": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			says("application/json", answered)(w, r)
		}, false, 503},
	}
	var serve http.HandlerFunc
	w := languages(t, func(w http.ResponseWriter, r *http.Request) { serve(w, r) }, nil)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			serve = tt.serve
			body := hello
			if tt.stream {
				body = streamed
			}
			resp, text := w.Post(t, chatPath, body, nil)
			e := errorOf(t, text)
			if resp.StatusCode != tt.status || strings.Contains(text, "secret") && !strings.Contains(text, "secret-7b") {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
			if want := map[string]string{"busy": "1", "busy long": "7", "endlessly": "600", "for no time": "1"}[name]; want != "" && resp.Header.Get("Retry-After") != want {
				t.Errorf("Retry-After %q, want %s", resp.Header.Get("Retry-After"), want)
			}
			if class := map[int]string{503: "server_error", 400: "invalid_request_error", 429: "rate_limit_error"}[tt.status]; e.Error.Type != class {
				t.Errorf("type %s", e.Error.Type)
			}
			r := w.Record(t, resp)
			if r.Error == nil || strings.Contains(r.Error.Msg, `"secret"`) {
				t.Errorf("record %+v", r)
			}
			if strings.HasPrefix(name, "strange") && !strings.Contains(fmt.Sprint(r.Verdicts), "text/secret") {
				t.Errorf("the record does not say what was answered: %v", r.Verdicts)
			}
		})
	}
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// after is asked too much, and says how many seconds to wait.
func after(seconds string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", seconds)
		status(429, `secret`)(w, r)
	}
}

// endless sends the same until nobody reads it.
func endless(media, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", media)
		many := strings.Repeat(text, 1<<16/len(text))
		for {
			if _, err := io.WriteString(w, many); err != nil {
				return
			}
		}
	}
}

// cut breaks the connection off after a text.
func cut(media, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", media)
		w.Header().Set("Content-Length", "100000")
		io.WriteString(w, text)
	}
}

// TestChatStream passes events on while the server still makes them, and holds the end
// back until the record is there.
func TestChatStream(t *testing.T) {
	more := make(chan bool)
	w := languages(t, func(w http.ResponseWriter, r *http.Request) {
		says("text/event-stream", begin)(w, r)
		w.(http.Flusher).Flush()
		<-more
		io.WriteString(w, stop)
		w.(http.Flusher).Flush()
		<-more
		io.WriteString(w, done)
	}, nil)
	resp := openStream(t, t.Context(), w, streamed)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get(edge.FieldsHeader) == "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	lines := bufio.NewReader(resp.Body)
	if first, err := lines.ReadString('\n'); err != nil || "data: "+strings.TrimPrefix(first, "data: ") != strings.Replace(strings.TrimSuffix(begin, "\n"), "secret-7b", "m", 1) {
		t.Errorf("%q, %v", first, err)
	}
	size := w.Log.Size()
	more <- true
	more <- true // only now the answer is whole
	rest, err := io.ReadAll(lines)
	want := fmt.Sprintf("\n: pavise-record %d\n\n", size) + strings.Replace(stop, "secret-7b", "m", 1) + done
	if err != nil || string(rest) != want {
		t.Errorf("%v: %s, want %s", err, rest, want)
	}
	r, err := w.Log.Read(size)
	if err != nil || r.Kind != "model.infer" || r.Outcome != pavise.Alter || r.Error != nil {
		t.Errorf("%v, record %+v", err, r)
	}
}

// openStream asks and returns as soon as the head of the answer is there.
func openStream(t testing.TB, ctx context.Context, w *edgetest.World, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", w.Server.URL+chatPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+w.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// TestChatStreamBreaksOff tells a caller in the stream, and the record.
func TestChatStreamBreaksOff(t *testing.T) {
	text := ""
	w := languages(t, func(w http.ResponseWriter, r *http.Request) { says("text/event-stream", text)(w, r) }, nil)
	for name, tail := range map[string]string{
		"cut":          "",
		"error":        `data: {"error":{"message":"secret"}}` + "\n\n",
		"lie":          chunk(`{"index":7,"delta":{"content":"secret"}}`),
		"no chunk":     "data: [1]\n\n",
		"after end":    stop + chunk(`{"index":0,"delta":{"content":"secret"}}`),
		"never [DONE]": stop,
	} {
		text = begin + tail
		size := w.Log.Size()
		resp, body := w.Post(t, chatPath, streamed, nil)
		first, last, _ := strings.Cut(body, "\n\n")
		e := errorOf(t, strings.TrimPrefix(strings.TrimSpace(last), "data: "))
		if resp.StatusCode != 200 || !strings.Contains(first, "hel") || e.Error.Type != "server_error" || strings.Contains(body, "secret") || strings.Contains(body, "[DONE]") || strings.Contains(body, `"stop"`) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
		r, err := w.Log.Read(size)
		if err != nil || r.Outcome != pavise.Deny || r.Error == nil || !strings.HasPrefix(verdict(r, "stream").Reason, "interrupted after 1 events") && name != "after end" && name != "never [DONE]" || len(r.Sealed) == 0 {
			t.Errorf("%s: %v, record %+v", name, err, r)
		}
	}
}

// TestChatCallerGoesAway ends the question to the model server, and the record says so.
func TestChatCallerGoesAway(t *testing.T) {
	ended := make(chan bool)
	w := languages(t, func(w http.ResponseWriter, r *http.Request) {
		says("text/event-stream", begin)(w, r)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(ended)
	}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	size := w.Log.Size()
	resp := openStream(t, ctx, w, streamed)
	if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the model server is still asked")
	}
	for w.Log.Size() == size {
		time.Sleep(time.Millisecond)
	}
	if r, err := w.Log.Read(size); err != nil || !strings.Contains(verdict(r, "stream").Reason, "the caller went away") || r.Error == nil || !strings.HasPrefix(r.Error.Msg, "the caller went away") {
		t.Errorf("%v, record %+v", err, r)
	}
}

// TestUnrecordedStream does not let an answer be whole whose record cannot be written.
func TestUnrecordedStream(t *testing.T) {
	more := make(chan bool)
	w := languages(t, func(w http.ResponseWriter, r *http.Request) {
		says("text/event-stream", begin)(w, r)
		w.(http.Flusher).Flush()
		<-more
		io.WriteString(w, stop+done)
	}, nil)
	resp := openStream(t, t.Context(), w, streamed)
	w.Log.Close()
	more <- true
	body, err := io.ReadAll(resp.Body)
	if err != nil || strings.Contains(string(body), `"stop"`) || strings.Contains(string(body), "[DONE]") || !strings.Contains(string(body), `"error"`) {
		t.Errorf("%v: %s", err, body)
	}
}

// TestFieldsByTier gives the trusted what others do not get, in answers and streams.
func TestFieldsByTier(t *testing.T) {
	rich := strings.Replace(answered, `"content":"hello"`, `"content":"hello","reasoning_content":"thought"`, 1)
	rich = strings.Replace(rich, `"usage"`, `"system_fingerprint":"fp_1","usage"`, 1)
	w := languages(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"stream":true`) {
			says("text/event-stream", chunk(`{"index":0,"delta":{"reasoning_content":"thought"}}`)+begin+stop+done)(w, r)
			return
		}
		says("application/json", rich)(w, r)
	}, func(s *route.Spec) {
		s.Fields = []byte(`{"trusted":["analyst"],"allow":["top_k"],"cache_salt":true}`)
	})
	trusted := w.Mint(t, "ana", "caller", "analyst")
	for token, sees := range map[string]bool{w.Token: false, trusted: true} {
		as := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
		resp, body := w.Post(t, chatPath, hello, as)
		if resp.StatusCode != 200 || strings.Contains(body, "thought") != sees || strings.Contains(body, "fp_1") != sees {
			t.Errorf("trusted %v: %d %s", sees, resp.StatusCode, body)
		}
		if told := strings.Contains(resp.Header.Get(edge.FieldsHeader), "removed=cached_tokens,reasoning,system_fingerprint"); told == sees {
			t.Errorf("trusted %v: %s", sees, resp.Header.Get(edge.FieldsHeader))
		}
		resp, body = w.Post(t, chatPath, streamed, as)
		if resp.StatusCode != 200 || strings.Contains(body, "thought") != sees || !strings.Contains(body, "hel") {
			t.Errorf("trusted %v: %d %s", sees, resp.StatusCode, body)
		}
		if resp, _ := w.Post(t, chatPath, strings.Replace(hello, "{", `{"top_k":5,`, 1), as); (resp.StatusCode == 200) != sees {
			t.Errorf("trusted %v, top_k: %d", sees, resp.StatusCode)
		}
	}
}

// TestListedModels are those that the caller may ask, of their own tenant.
func TestListedModels(t *testing.T) {
	w := languages(t, says("application/json", answered), nil)
	if _, err := w.Routes.Put(t.Context(), edgetest.Operator, route.Spec{Name: "local/model/tensors", ONNX: edgetest.Softmax()}); err != nil {
		t.Fatal(err)
	}
	get := func(path, token string) (int, string) {
		resp, body := w.Post(t, path, "", func(r *http.Request) {
			r.Method, r.Body, r.ContentLength = "GET", nil, 0
			r.Header.Set("Authorization", "Bearer "+token)
		})
		if resp.StatusCode != 401 { // a known caller's answers name their records
			if r := w.Record(t, resp); r.Kind != "model.describe" || (r.Error != nil) != (resp.StatusCode != 200) {
				t.Errorf("GET %s: %d is recorded as %+v", path, resp.StatusCode, r)
			}
		}
		return resp.StatusCode, body
	}
	if code, body := get("/v1/models", w.Token); code != 200 || body != `{"object":"list","data":[{"id":"m","object":"model","created":0,"owned_by":"local"}]}` {
		t.Errorf("%d %s", code, body)
	}
	if code, body := get("/v1/models/m", w.Token); code != 200 || !strings.Contains(body, `"id":"m"`) {
		t.Errorf("%d %s", code, body)
	}
	// The path of a model of tensors is that of its status in KServe's and TensorFlow's protocols.
	for path, want := range map[string]int{"/v1/models/tensors": 200, "/v1/models/none": 404} {
		if code, body := get(path, w.Token); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if code, body := get("/v1/models", w.Mint(t, "norole")); code != 403 {
		t.Errorf("without a role: %d %s", code, body)
	}
	if code, body := get("/v1/models", "x"); code != 401 {
		t.Errorf("without a token: %d %s", code, body)
	}
}

// TestChatIsChargedByTheAnswer counts every answer that the model has to make.
func TestChatIsChargedByTheAnswer(t *testing.T) {
	w := languages(t, says("application/json", answered), func(s *route.Spec) {
		s.Rate, s.Budget, s.Fields = "100000/1m", "3/24h", []byte(`{"trusted":["analyst"]}`)
	})
	as := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+w.Mint(t, "ana", "caller", "analyst")) }
	four := strings.Replace(hello, "{", `{"n":4,`, 1)
	resp, body := w.Post(t, chatPath, four, as)
	if e := errorOf(t, body); resp.StatusCode != 429 || e.Error.Type != "rate_limit_error" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := w.Post(t, chatPath, hello, as); resp.StatusCode != 200 {
		t.Errorf("a refused request was charged: %d %s", resp.StatusCode, body)
	}
}

// TestModelsThatCannotBeNamed asks for a model whose name no model can have here, as
// somebody who may ask and somebody who may not: both learn what is wrong with it, and not
// of a model that they never named.
func TestModelsThatCannotBeNamed(t *testing.T) {
	w := edgetest.New(t)
	for _, role := range []string{"caller", "analyst"} {
		for body, want := range map[string]string{
			`{"model":"meta/llama","messages":[{"role":"user","content":"hi"}]}`: `"meta/llama\" is no name`,
			`{"messages":[{"role":"user","content":"hi"}]}`:                      "is missing",
		} {
			resp, text := w.Post(t, "/v1/chat/completions", body, func(r *http.Request) {
				r.Header.Set("Authorization", "Bearer "+w.Mint(t, role, role))
			})
			if resp.StatusCode != map[bool]int{true: 404, false: 400}[strings.Contains(body, "llama")] || !strings.Contains(text, want) || strings.Contains(text, "unnamed") {
				t.Errorf("%s: %d %s, want it refused with %s", role, resp.StatusCode, text, want)
				continue
			}
			if r := w.Record(t, resp); r.On.ID != "unnamed" || r.Outcome != pavise.Deny {
				t.Errorf("%s: record %+v", role, r)
			}
		}
	}
}

// TestDescriptionsNameTheirRecord asks whether models are there, in the words of each
// protocol: each answer names the record of the question.
func TestDescriptionsNameTheirRecord(t *testing.T) {
	w, _ := behind(t)
	w.Put(t, func(s *route.Spec) {
		s.Name, s.ONNX, s.Upstream, s.Protocol = "local/model/llama", nil, "http://127.0.0.1:1", "openai"
	})
	for _, path := range []string{"/v2/models/m", "/v2/models/m/ready", "/v1/models/k", "/v1/models/tf/metadata", "/v1/models/llama"} {
		resp, body := w.Post(t, path, "", func(r *http.Request) { r.Method, r.Body, r.ContentLength = "GET", nil, 0 })
		if resp.StatusCode != 200 || resp.Header.Get("Pavise-Record") == "" {
			t.Errorf("%s: %d %s, record %q", path, resp.StatusCode, body, resp.Header.Get("Pavise-Record"))
			continue
		}
		if r := w.Record(t, resp); r.Kind != "model.describe" {
			t.Errorf("%s: record of %s", path, r.Kind)
		}
	}
}
