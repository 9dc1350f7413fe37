package chat

import (
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

const (
	answer   = `{"id":"a","object":"chat.completion","created":1,"model":"up","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`
	embedded = `{"object":"list","model":"up","data":[{"object":"embedding","index":0,"embedding":[0.5,-1]},{"object":"embedding","index":1,"embedding":[1e-07,2]}],"usage":{"prompt_tokens":1,"total_tokens":1}}`
	finished = `{"id":"r","object":"response","created_at":1,"model":"up","status":"completed","output":[{"type":"reasoning","id":"t","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"x"},{"type":"message","id":"i","status":"completed","role":"assistant","content":[{"type":"output_text","text":"hi","annotations":[]}]}],"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}`
)

func ask(t testing.TB, api API, body string) *Request {
	t.Helper()
	r, err := ParseRequest(api, []byte(body), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var requests = map[API]string{
	Chat:        hello,
	Completions: `{"model":"m","prompt":["a","b"]}`,
	Embeddings:  `{"model":"m","input":["a","b"]}`,
	Responses:   `{"model":"m","input":"a","tools":[{"type":"function","name":"f"}]}`,
}

// TestAnswers are answers that pass, and what the caller gets.
func TestAnswers(t *testing.T) {
	tests := []struct {
		name, body, want string
		api              API
	}{
		{"chat", answer, strings.Replace(answer, `"up"`, `"m"`, 1), Chat},
		{"unknown is dropped", strings.Replace(answer, `"index":0`, `"index":0,"stop_reason":null,"token_ids":[1]`, 1), strings.Replace(answer, `"up"`, `"m"`, 1), Chat},
		{"vectors", embedded, strings.Replace(embedded, `"up"`, `"m"`, 1), Embeddings},
		{"completions", `{"id":"a","object":"text_completion","created":1,"model":"up","choices":[{"index":1,"text":"x","finish_reason":"length","logprobs":null},{"index":0,"text":"","finish_reason":null}]}`,
			`{"id":"a","object":"text_completion","created":1,"model":"m","choices":[{"index":1,"text":"x","finish_reason":"length","logprobs":null},{"index":0,"text":"","finish_reason":null}]}`, Completions},
		{"response", finished, strings.Replace(strings.TrimSuffix(finished, "}"), `"up"`, `"m"`, 1) + `,"tools":[{"type":"function","name":"f"}],"tool_choice":"auto","parallel_tool_calls":true,"error":null,"incomplete_details":null,"instructions":null,"temperature":null,"top_p":null,"metadata":null}`, Responses},
	}
	for _, tt := range tests {
		a, err := ParseAnswer(ask(t, tt.api, requests[tt.api]).Outline(), []byte(tt.body), DefaultLimits())
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if got := string(a.AppendJSON(nil)); got != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.name, got, tt.want)
		}
	}
}

// TestLyingAnswers are answers that do not pass.
func TestLyingAnswers(t *testing.T) {
	edit := func(old, new string) string { return strings.Replace(answer, old, new, 1) }
	tests := []struct {
		name, body string
		api        API
		why        string
	}{
		{"no JSON", "<html>", Chat, "a value should be"},
		{"an error", `{"error":{"message":"secret"}}`, Chat, "missing"},
		{"twice", edit(`"id":"a"`, `"id":"a","id":"b"`), Chat, "appears twice"},
		{"twice in what is dropped", edit(`"id":"a"`, `"id":"a","x":{"y":1,"Y":2}`), Chat, "in two cases"},
		{"index", edit(`"index":0`, `"index":1`), Chat, "beyond what was asked"},
		{"no choices", edit(`"choices":[`, `"choices":[],"x":[`), Chat, "members"},
		{"two choices", edit(`"choices":[`, `"choices":[{"index":1,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"},`), Chat, "2 members for 1"},
		{"call", edit(`"content":"hi"`, `"content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]`), Chat, "nobody offered"},
		{"call of another", strings.Replace(finished, `"output":[`, `"output":[{"type":"function_call","call_id":"c","name":"g","arguments":""},`, 1), Responses, "nobody offered"},
		{"role", edit(`"assistant"`, `"user"`), Chat, "not known"},
		{"content", edit(`"hi"`, `["hi"]`), Chat, "an array stands here"},
		{"object", edit("chat.completion", "chat.completion.chunk"), Chat, "not known"},
		{"finish", edit(`"stop"`, `"gave up"`), Chat, "not known"},
		{"usage", edit(`"prompt_tokens":1`, `"prompt_tokens":-1`), Chat, "not between"},
		{"infinite", edit(`"created":1`, `"created":1e400`), Chat, "float64"},
		{"fewer vectors", strings.Replace(embedded, `{"object":"embedding","index":0,"embedding":[0.5,-1]},`, "", 1), Embeddings, "1 members for 2"},
		{"index twice", strings.Replace(embedded, `"index":1`, `"index":0`, 1), Embeddings, "there twice"},
		{"sizes", strings.Replace(embedded, `[0.5,-1]`, `[1]`, 1), Embeddings, "where others have 1"},
		{"base64 unasked", strings.Replace(embedded, `[0.5,-1]`, `"AAAAAAAAAAA="`, 1), Embeddings, "nobody asked"},
		{"not done", strings.Replace(finished, "completed", "in_progress", 1), Responses, "did not come to its end"},
		{"item", strings.Replace(finished, `"type":"reasoning"`, `"type":"mcp_call"`, 1), Responses, "not known"},
	}
	for _, tt := range tests {
		_, err := ParseAnswer(ask(t, tt.api, requests[tt.api]).Outline(), []byte(tt.body), DefaultLimits())
		if pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestPackedVectors are embeddings in base64.
func TestPackedVectors(t *testing.T) {
	r := ask(t, Embeddings, `{"model":"m","input":"a","encoding_format":"base64","dimensions":1}`).Outline()
	for b64, ok := range map[string]bool{"AACAPw==": true, "AADAfw==": false, "AACAfw==": false, "AACAPwAAgD8=": false, "AAAA": false, "": false} {
		_, err := ParseAnswer(r, []byte(`{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":"`+b64+`"}]}`), DefaultLimits())
		if (err == nil) != ok {
			t.Errorf("%q: %v", b64, err)
		}
	}
}

// TestHiddenReasoning takes thoughts out of every form of an answer.
func TestHiddenReasoning(t *testing.T) {
	for api, body := range map[API]string{
		Chat:      strings.Replace(answer, `"content":"hi"`, `"content":"hi","reasoning_content":"secret","reasoning":"secret"`, 1),
		Responses: strings.NewReplacer(`"text":"hm"`, `"text":"secret"`, `"encrypted_content":"x"`, `"encrypted_content":"secret","content":[{"type":"reasoning_text","text":"secret"}]`).Replace(finished),
	} {
		a, err := ParseAnswer(ask(t, api, requests[api]), []byte(body), DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(a.AppendJSON(nil)), "secret") || !a.HideReasoning() || a.HideReasoning() {
			t.Errorf("%s: not hidden once: %s", api, a.AppendJSON(nil))
		}
		if got := string(a.AppendJSON(nil)); strings.Contains(got, "secret") || !strings.Contains(got, "hi") {
			t.Errorf("%s: %s", api, got)
		}
	}
}

// TestModels writes the list of models.
func TestModels(t *testing.T) {
	got := string(AppendModels(nil, []string{"b", "a"}, 7, "local"))
	if want := `{"object":"list","data":[{"id":"a","object":"model","created":7,"owned_by":"local"},{"id":"b","object":"model","created":7,"owned_by":"local"}]}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := string(AppendError(nil, "a\nb", "c", "", "d")), `{"error":{"message":"a\nb","type":"c","param":null,"code":"d"}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
