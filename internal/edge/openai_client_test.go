package edge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/route"
)

// TestOpenAIClient lets the package openai of PyPI, unchanged, work against the gateway.
// PAVISE_OPENAI names a Python that has it.
func TestOpenAIClient(t *testing.T) {
	python := os.Getenv("PAVISE_OPENAI")
	if python == "" {
		t.Skip("PAVISE_OPENAI names no Python with the package openai")
	}
	for name, edit := range map[string]func(*route.Spec){
		"as it comes":    nil,
		"paced and held": func(s *route.Spec) { s.Ladder, s.Pace = "20ms..2s", "10ms" },
	} {
		t.Run(name, func(t *testing.T) {
			w := languages(t, languageServer, edit)
			out, err := exec.Command(python, "testdata/openai_client.py", w.Server.URL, w.Token, w.Mint(t, "norole")).CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Error(err)
			}
			if n := strings.Count(string(out), "works:"); n < 20 {
				t.Errorf("%d things work", n)
			}
		})
	}
	t.Run("sentences with words of attacks", func(t *testing.T) { // the corpus of bench/theft/prompts
		w := languages(t, languageServer, nil)
		out, err := exec.Command(python, "testdata/openai_honest.py", w.Server.URL, w.Token, "../../bench/theft/prompts/benign.txt").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "answered: 2") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("callers who are made up", func(t *testing.T) {
		const each = 40
		w := languages(t, languageServer, func(s *route.Spec) { s.Rate = "100000/1m" })
		for caller := range 5 {
			file, before := filepath.Join(t.TempDir(), "asked.txt"), w.Log.Size()
			if err := os.WriteFile(file, []byte(strings.Join(workday(uint64(caller), each), "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
			token := w.Mint(t, fmt.Sprint("office", caller), "caller")
			out, err := exec.Command(python, "testdata/openai_honest.py", w.Server.URL, token, file).CombinedOutput()
			if err != nil || !strings.Contains(string(out), fmt.Sprint("answered: ", each)) {
				t.Errorf("caller %d: %v: %s", caller, err, out)
			}
			for _, r := range w.Log.Records(before, w.Log.Size()) {
				for _, v := range r.Verdicts {
					if v.Outcome != pavise.Allow && v.Check != "fields" { // what is taken out of requests of all callers alike
						t.Errorf("caller %d: a record of %s has the verdict %+v", caller, r.Kind, v)
					}
				}
			}
		}
	})
	t.Run("rotated vectors", func(t *testing.T) {
		w := languages(t, languageServer, func(s *route.Spec) { s.Alterable, s.Embeddings = new(true), "rotate:1" })
		out, err := exec.Command(python, "testdata/openai_embeddings.py", w.Server.URL, w.Token).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "works:") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// workday is what somebody asks a language model on a day at work, drawn by a seed: nobody
// wrote these sentences with the rules in mind, and none is in the corpus of the bench.
func workday(seed uint64, n int) (asked []string) {
	random := rand.New(rand.NewPCG(seed, 18))
	one := func(of ...string) string { return of[random.IntN(len(of))] }
	for len(asked) < n {
		thing := one("the quarterly report", "our onboarding guide", "this customer complaint", "the incident of last night", "my unit tests", "the import script",
			"the minutes of Tuesday's meeting", "the release notes", "a cover letter", "the table of suppliers", "the Kubernetes manifest", "the privacy notice")
		who := one("for the board", "for a new colleague", "for a customer in Lyon", "for children of ten", "for the auditors", "for the night shift")
		how := one("in three sentences", "as a list", "in plain words", "with an example", "with the numbers first", "as an email", "in Spanish and in French")
		asked = append(asked, one(
			fmt.Sprintf("Please summarise %s %s %s.", thing, who, how),
			fmt.Sprintf("What is missing from %s? Answer %s.", thing, how),
			fmt.Sprintf("Rewrite %s %s; keep names and dates as they are.", thing, how),
			fmt.Sprintf("I have %d rows and %d columns in %s. How do I find duplicates?", random.IntN(90000)+10, random.IntN(40)+2, thing),
			fmt.Sprintf("Why would a job that reads %s take %d minutes instead of %d?", thing, random.IntN(90)+30, random.IntN(20)+1),
			fmt.Sprintf("Draft questions about %s %s, %s.", thing, who, how),
			fmt.Sprintf("Order %d-%04d has not arrived at 10.0.%d.%d's owner, Ms Ng (ref %08x). Write an apology %s.", 2026, random.IntN(9999), random.IntN(255), random.IntN(255), random.Uint32(), who),
			fmt.Sprintf("SELECT count(*) FROM t%d WHERE day > '2026-0%d-01' is slow. Explain why %s.", random.IntN(50), random.IntN(9)+1, how),
		))
	}
	return asked
}

// languageServer is a model server that answers as OpenAI's does.
func languageServer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var ask struct {
		Stream   bool
		Prompt   json.RawMessage
		Input    json.RawMessage
		Tools    []json.RawMessage
		Messages []struct {
			Role    string
			Content any
		}
		Encoding string `json:"encoding_format"`
		Options  struct {
			Usage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	if err := json.Unmarshal(body, &ask); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	last := ""
	if n := len(ask.Messages); n > 0 {
		last = fmt.Sprint(ask.Messages[n-1].Content)
		if ask.Messages[n-1].Role == "tool" {
			ask.Tools = nil // the answer is known
		}
	}
	media, text := "application/json", ""
	if ask.Stream {
		media = "text/event-stream"
	}
	switch r.URL.Path {
	case "/v1/chat/completions":
		switch last {
		case "too long":
			w.WriteHeader(http.StatusBadRequest)
			return
		case "break":
			w.WriteHeader(http.StatusBadGateway)
			return
		case "busy":
			w.WriteHeader(http.StatusTooManyRequests)
			return
		case "break off":
			text = begin
		case "give the key":
			text = strings.Replace(answered, "hello", "the key is "+leaked, 1)
			if ask.Stream {
				text = begin + chunk(`{"index":0,"delta":{"content":"lo, AKIA"},"finish_reason":null}`) + chunk(`{"index":0,"delta":{"content":"`+leaked[4:]+`"},"finish_reason":null}`) + stop + done
			}
		default:
			text = chatOf(ask.Stream, ask.Options.Usage, len(ask.Tools) > 0)
		}
	case "/v1/completions":
		text = `{"id":"a","object":"text_completion","created":1,"model":"x","choices":[{"index":0,"text":"x0","finish_reason":"stop","logprobs":null},{"index":1,"text":"x1","finish_reason":"length","logprobs":null}]}`
		if ask.Stream {
			text = `data: {"id":"a","object":"text_completion","created":1,"model":"x","choices":[{"index":0,"text":"hello","finish_reason":"stop","logprobs":null}]}` + "\n\n" + done
		}
	case "/v1/embeddings":
		vector := `[1,-2]`
		if ask.Encoding == "base64" {
			vector = `"AACAPwAAAMA="`
		}
		text = `{"object":"list","model":"x","data":[`
		for i := range max(strings.Count(string(ask.Input), `"`)/2, 1) {
			text += fmt.Sprintf(`{"object":"embedding","index":%d,"embedding":%s},`, i, vector)
		}
		text = strings.TrimSuffix(text, ",") + `],"usage":{"prompt_tokens":2,"total_tokens":2}}`
	case "/v1/responses":
		text = responseOf("completed", spoken)
		if ask.Stream {
			text = streamedResponse()
		}
	}
	says(media, text)(w, r)
}

// chatOf is an answer of chat: hello, or the call of a tool.
func chatOf(stream, usage, tools bool) string {
	const counted = `"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}`
	call := `{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Bern\"}"}}`
	switch {
	case stream && tools:
		return chunk(`{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":""}}]},"finish_reason":null}`) +
			chunk(`{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":"}}]},"finish_reason":null}`) +
			chunk(`{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"Bern\"}"}}]},"finish_reason":null}`) +
			chunk(`{"index":0,"delta":{},"finish_reason":"tool_calls"}`) + done
	case stream:
		text := begin + chunk(`{"index":0,"delta":{"content":"lo"},"finish_reason":null}`) + stop
		if usage {
			text += strings.Replace(chunk(""), `"choices"`, counted+`,"choices"`, 1)
		}
		return text + done
	case tools:
		return `{"id":"a","object":"chat.completion","created":1,"model":"x","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[` + call + `]},"finish_reason":"tool_calls"}],` + counted + `}`
	}
	return answered
}

// spoken is the output of a response that says hello.
const spoken = `{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"hello","annotations":[]}]}`

func responseOf(status, output string) string {
	return `{"id":"resp_1","object":"response","created_at":1,"model":"x","status":"` + status + `","output":[` + output + `],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2,"input_tokens_details":{"cached_tokens":0},"output_tokens_details":{"reasoning_tokens":0}}}`
}

func streamedResponse() string {
	text := ""
	for i, e := range [][2]string{
		{"response.created", `"response":` + responseOf("in_progress", "")},
		{"response.in_progress", `"response":` + responseOf("in_progress", "")},
		{"response.output_item.added", `"output_index":0,"item":{"type":"message","id":"msg_1","status":"in_progress","role":"assistant","content":[]}`},
		{"response.content_part.added", `"output_index":0,"content_index":0,"item_id":"msg_1","part":{"type":"output_text","text":"","annotations":[]}`},
		{"response.output_text.delta", `"output_index":0,"content_index":0,"item_id":"msg_1","delta":"hel"`},
		{"response.output_text.delta", `"output_index":0,"content_index":0,"item_id":"msg_1","delta":"lo"`},
		{"response.output_text.done", `"output_index":0,"content_index":0,"item_id":"msg_1","text":"hello"`},
		{"response.content_part.done", `"output_index":0,"content_index":0,"item_id":"msg_1","part":{"type":"output_text","text":"hello","annotations":[]}`},
		{"response.output_item.done", `"output_index":0,"item":` + spoken},
		{"response.completed", `"response":` + responseOf("completed", spoken)},
	} {
		text += fmt.Sprintf("event: %s\ndata: {\"type\":%q,\"sequence_number\":%d,%s}\n\n", e[0], e[0], i, e[1])
	}
	return text
}
