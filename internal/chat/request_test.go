package chat

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat/chattest"
)

const (
	hello = `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
	pixel = "data:image/png;base64,iVBORw0KGgo="
)

// with puts more members into a request of chat.
func with(more string) string { return strings.TrimSuffix(hello, "}") + "," + more + "}" }

// said is a request of chat with these messages.
func said(messages string) string { return `{"model":"m","messages":[` + messages + `]}` }

// parts is a request whose one message has these parts.
func parts(list string) string { return said(`{"role":"user","content":[` + list + `]}`) }

// TestRequests are requests that are taken, and how they go on.
func TestRequests(t *testing.T) {
	tests := []struct {
		name string
		api  API
		body string
		want string // "": as it came
	}{
		{"plain", Chat, hello, ""},
		{"white space", Chat, " {\n \"model\" : \"m\", \"messages\":\t[ {\"role\":\"user\",\"content\":\"h\\u0069\"} ] }\r\n", hello},
		{"numbers", Chat, with(`"temperature":1.50,"top_p":1e0,"presence_penalty":-0.0,"seed":-9223372036854775808`), with(`"temperature":1.5,"top_p":1,"presence_penalty":0,"seed":-9223372036854775808`)},
		{"null is absence", Chat, with(`"temperature":null,"tools":null,"functions":null`), hello},
		{"escapes", Chat, said(`{"role":"user","content":"\ud83d\ude00\/\u00e9\u0000\n\""}`), said(`{"role":"user","content":"😀/é\u0000\n\""}`)},
		{"sampling", Chat, with(`"temperature":0.7,"top_p":0.9,"n":2,"stop":["a","b"],"presence_penalty":2,"frequency_penalty":-2,"logit_bias":{"50256":-100},"user":"u","seed":7,"max_tokens":5,"logprobs":true,"top_logprobs":20`), ""},
		{"stream", Chat, with(`"stream":true,"stream_options":{"include_usage":true}`), ""},
		{"tools", Chat, with(`"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"x":{"type":"number","maximum":1e3}}},"strict":true}}],"tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false`),
			with(`"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"x":{"type":"number","maximum":1000}}},"strict":true}}],"tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false`)},
		{"tool answers", Chat, said(`{"role":"system","content":"s"},{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{"}}],"function_call":null},{"role":"tool","tool_call_id":"a","content":"1"}`),
			said(`{"role":"system","content":"s"},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{"}}]},{"role":"tool","tool_call_id":"a","content":"1"}`)},
		{"what clients send back", Chat, said(`{"role":"assistant","content":"a","tool_calls":[]},{"role":"assistant","content":"","parsed":null,"tool_calls":[{"id":"a","type":"function","index":0,"function":{"name":"f","arguments":"{","parsed_arguments":null}},{"id":"b","type":"function","index":1,"function":{"name":"g","arguments":""}}]},{"role":"tool","name":"g","tool_call_id":"b","content":"1"},{"role":"tool","tool_call_id":"a","name":"f","content":"2"}`),
			said(`{"role":"assistant","content":"a"},{"role":"assistant","content":"","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{"}},{"id":"b","type":"function","function":{"name":"g","arguments":""}}]},{"role":"tool","tool_call_id":"b","content":"1"},{"role":"tool","tool_call_id":"a","content":"2"}`)},
		{"schema", Chat, with(`"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"a":[1,{"b":null}]},"strict":true}}`), ""},
		{"parts", Chat, parts(`{"type":"text","text":"t"},{"type":"image_url","image_url":{"url":"` + pixel + `","detail":"low"}},{"type":"image_url","image_url":{"url":"https://example.com/a.png?x=1"}},{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}`), ""},
		{"prompts", Completions, `{"model":"m","prompt":["a","b"],"n":2,"best_of":3,"echo":true,"max_tokens":0,"suffix":"s","logprobs":0}`, ""},
		{"tokens", Completions, `{"model":"m","prompt":[1,2,3]}`, ""},
		{"lists of tokens", Embeddings, `{"model":"m","input":[[1,2],[3]],"encoding_format":"base64","dimensions":3}`, ""},
		{"text", Embeddings, `{"model":"m","input":"a"}`, ""},
		{"response", Responses, `{"model":"m","input":"hi","instructions":"i","max_output_tokens":5,"reasoning":{"effort":"low"},"text":{"format":{"type":"json_schema","name":"n","schema":{}},"verbosity":"low"},"store":false}`, ""},
		{"items", Responses, `{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"` + pixel + `"}]},{"type":"reasoning","id":"r","summary":[]},{"type":"function_call","call_id":"c","name":"f","arguments":""},{"type":"function_call_output","call_id":"c","output":"1"},{"type":"message","role":"assistant","id":"x","status":"completed","content":[{"type":"output_text","text":"t","annotations":[]}]}],"tools":[{"type":"function","name":"f","parameters":{}}],"tool_choice":"auto"}`, ""},
		{"unknown is not written", Chat, with(`"guided":1,"stream":false`), with(`"stream":false`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseRequest(tt.api, []byte(tt.body), DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				tt.want = tt.body
			}
			if strings.Contains(tt.body, "null") && len(r.Unknown) > 0 {
				t.Errorf("null is unknown: %q", r.Unknown)
			}
			if got := string(r.AppendJSON(nil)); got != tt.want {
				t.Errorf("goes on as %s\nwant       %s", got, tt.want)
			}
		})
	}
}

// TestHostileRequests are requests that are refused, where, and why.
func TestHostileRequests(t *testing.T) {
	for _, tt := range chattest.Hostile() {
		t.Run(tt.Name, func(t *testing.T) {
			r, err := ParseRequest(API(tt.API), []byte(tt.Body), DefaultLimits())
			f, ok := errors.AsType[*Fault](err)
			switch {
			case err == nil:
				t.Fatalf("taken as %s", r.AppendJSON(nil))
			case !ok || pavise.KindOf(err) != pavise.Invalid:
				t.Errorf("kind %v: %v", pavise.KindOf(err), err)
			case f.Param != tt.Param:
				t.Errorf("param %q, want %q: %v", f.Param, tt.Param, err)
			case !strings.Contains(err.Error(), tt.Why):
				t.Errorf("error %q, want %q in it", err, tt.Why)
			case len(err.Error()) > 600:
				t.Errorf("a message of %d bytes", len(err.Error()))
			}
		})
	}
}

// TestUnknownFields are told by name, wherever they stand, and go on when they are let.
func TestUnknownFields(t *testing.T) {
	body := `{"model":"m","top_k":5,"messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"x":[1,{"y":2}]}}],"weight":1}],"guided_json":{"b":1},"tools":[{"type":"function","function":{"name":"f","parameters":{"free":1}},"z":0}]}`
	r, err := ParseRequest(Chat, []byte(body), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"top_k", "messages[0].content[0].cache_control", "messages[0].weight", "guided_json", "tools[0].z"}
	if !slices.Equal(r.Unknown, want) {
		t.Errorf("unknown %q, want %q", r.Unknown, want)
	}
	if got := string(r.AppendJSON(nil)); strings.Contains(got, "top_k") || strings.Contains(got, "cache") || strings.Contains(got, "weight") || strings.Contains(got, "guided") || strings.Contains(got, `"z"`) {
		t.Errorf("goes on as %s", got)
	}
	r.Admit([]string{"top_k", "weight", "nothing"})
	if got := string(r.AppendJSON(nil)); !strings.Contains(got, `"top_k":5`) || strings.Contains(got, "weight") || len(r.Unknown) != 4 {
		t.Errorf("goes on as %s, unknown %q", got, r.Unknown)
	}
}

// TestRows counts what a model has to make.
func TestRows(t *testing.T) {
	for _, tt := range []struct {
		api  API
		body string
		want int
	}{
		{Chat, hello, 1},
		{Chat, with(`"n":5`), 5},
		{Completions, `{"model":"m","prompt":["a","b"],"n":2,"best_of":3}`, 6},
		{Completions, `{"model":"m","prompt":[1,2,3]}`, 1},
		{Completions, `{"model":"m","prompt":[[1],[2],[3]]}`, 3},
		{Embeddings, `{"model":"m","input":["a","b"]}`, 2},
		{Responses, `{"model":"m","input":"a"}`, 1},
	} {
		r, err := ParseRequest(tt.api, []byte(tt.body), DefaultLimits())
		if err != nil || r.Rows() != tt.want {
			t.Errorf("%s: %v, %v, want %d", tt.body, r, err, tt.want)
		}
	}
}

// TestOutline is held to as its request is, and has nothing of what was asked.
func TestOutline(t *testing.T) {
	for _, tt := range []struct {
		api  API
		body string
	}{
		{Chat, with(`"n":3,"stream":true,"tools":[{"type":"function","function":{"name":"f","parameters":{"a":[1]}}}]`)},
		{Completions, `{"model":"m","prompt":["hi","hi"],"n":2,"best_of":3}`},
		{Responses, `{"model":"m","input":"hi","instructions":"x"}`},
	} {
		r := ask(t, tt.api, tt.body)
		o := r.Outline()
		if o.Rows() != r.Rows() || o.Model() != r.Model() || o.Choices() != r.Choices() || o.Prompts() != r.Prompts() || o.Stream() != r.Stream() {
			t.Errorf("%s of %s", o, r)
		}
		if got := string(o.AppendJSON(nil)); strings.Contains(got, "hi") || strings.Contains(got, "tools") || o.Size() < len(got) || (tt.api == Responses) != strings.Contains(got, "instructions") {
			t.Errorf("%s", got)
		}
	}
}

// TestLinks are what a model server would fetch.
func TestLinks(t *testing.T) {
	r, err := ParseRequest(Chat, []byte(parts(`{"type":"text","text":"https://x.org"},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}},{"type":"image_url","image_url":{"url":"`+pixel+`"}}`)), DefaultLimits())
	if err != nil || !slices.Equal(r.Links(), []string{"messages[0].content[1].image_url.url"}) {
		t.Errorf("%v, %v", r.Links(), err)
	}
	if r, err = ParseRequest(Responses, []byte(`{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":"https://example.com/"}]}]}`), DefaultLimits()); err != nil || len(r.Links()) != 1 {
		t.Errorf("%v, %v", r.Links(), err)
	}
}

// TestBounds are bodies beyond each limit.
func TestBounds(t *testing.T) {
	for name, lim := range map[string]Limits{
		"body":   {MaxBody: len(hello) - 1, MaxDepth: 9, MaxValues: 99, MaxText: 99},
		"depth":  {MaxBody: 999, MaxDepth: 2, MaxValues: 99, MaxText: 99},
		"values": {MaxBody: 999, MaxDepth: 9, MaxValues: 5, MaxText: 99},
		"text":   {MaxBody: 999, MaxDepth: 9, MaxValues: 99, MaxText: 1},
	} {
		if _, err := ParseRequest(Chat, []byte(hello), lim); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = `"` + strings.Repeat("k", i+1) + `":1`
	}
	if _, err := ParseRequest(Chat, []byte(with(`"tools":[{"type":"function","function":{"name":"f","parameters":{`+strings.Join(keys, ",")+`}}}]`)), DefaultLimits()); err != nil {
		t.Error(err)
	}
	keys[99] = strings.ToUpper(keys[50])
	if _, err := ParseRequest(Chat, []byte(with(`"tools":[{"type":"function","function":{"name":"f","parameters":{`+strings.Join(keys, ",")+`}}}]`)), DefaultLimits()); err == nil {
		t.Error("a key in two cases among many was taken")
	}
}
