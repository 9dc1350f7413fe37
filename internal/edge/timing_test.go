package edge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/route"
)

// TestLadderAtEveryDoor asks through each door a model whose route has a ladder: the
// record, written two milliseconds before, says on which rung the answer left, or that it was late.
func TestLadderAtEveryDoor(t *testing.T) {
	w := languages(t, says("application/json", answered), func(s *route.Spec) { s.Name, s.Ladder = "local/model/talker", "60ms..10m" })
	w.Put(t, func(s *route.Spec) { s.Ladder = "60ms..10m" })
	onRung := func(door string, resp *http.Response) {
		t.Helper()
		r := w.Record(t, resp)
		var trail gateway.Trail
		if err := json.Unmarshal(r.Detail, &trail); err != nil {
			t.Fatal(err)
		}
		if trail.Rung == "" || trail.Late || r.Took < 58e6 {
			t.Errorf("%s: the record says %s, and %v", door, r.Detail, r.Took)
		}
	}
	for path, body := range map[string]string{
		"/v2/models/m/infer":    edgetest.Good,
		"/v1/models/m:predict":  `{"instances":[[0.5,0.25]]}`,
		"/predictions/m":        `[[0.5,0.25]]`,
		"/models/m/invocations": `{"inputs":[[0.5,0.25]]}`,
		chatPath:                strings.Replace(hello, `"m"`, `"talker"`, 1),
	} {
		resp, text := w.Post(t, path, body, nil)
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
		onRung(path, resp)
	}
	var out []byte
	var head metadata.MD
	if err := dial(t, w).Invoke(as(t.Context(), w.Token), service+"ModelInfer", question(t, "m"), &out, grpc.Header(&head)); err != nil {
		t.Fatal(err)
	}
	onRung("gRPC", &http.Response{Header: http.Header{"Pavise-Record": head.Get("pavise-record")}})
}

// TestPacedStream has a stream come in whole size classes, with the events as they were.
func TestPacedStream(t *testing.T) {
	for _, beat := range []string{"none", "10ms"} {
		w := languages(t, says("text/event-stream", begin+chunk(`{"index":0,"delta":{"content":"lo"}}`)+stop+done), func(s *route.Spec) { s.Pace = beat })
		resp, body := w.Post(t, chatPath, streamed, nil)
		if resp.StatusCode != 200 || (len(body)%2048 == 0) != (beat != "none") {
			t.Errorf("pace %s: %d with %d bytes", beat, resp.StatusCode, len(body))
		}
		var events []string
		named := false
		for part := range strings.SplitSeq(body, "\n\n") {
			if strings.HasPrefix(part, ":") || part == "" {
				named = named || strings.HasPrefix(part, ": pavise-record ")
				continue
			}
			events = append(events, part+"\n\n")
		}
		want := strings.ReplaceAll(begin+chunk(`{"index":0,"delta":{"content":"lo"}}`)+stop+done, "secret-7b", "m")
		if got := strings.Join(events, ""); got != want || !named {
			t.Errorf("pace %s: the events are %q, want %q", beat, got, want)
		}
	}
}

// TestCachingIsHidden asks servers that have the question in their cache and servers that
// have not, in each operation, whole and streamed: an untrusted caller gets the same, and
// the server the same salt.
func TestCachingIsHidden(t *testing.T) {
	var mu sync.Mutex
	cached, salts := false, map[string]bool{}
	details := func(field, text string) string { // as vLLM does: a count of zero is left out
		if !cached {
			return text
		}
		return strings.Replace(text, `"total_tokens"`, `"`+field+`":{"cached_tokens":64},"total_tokens"`, -1)
	}
	w := languages(t, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var ask struct {
			Salt   string `json:"cache_salt"`
			Stream bool
		}
		json.Unmarshal(body, &ask)
		mu.Lock()
		defer mu.Unlock()
		salts[ask.Salt] = true
		const counted = `"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}`
		text := ""
		switch {
		case r.URL.Path == "/v1/chat/completions" && ask.Stream:
			text = details("prompt_tokens_details", begin+stop+strings.Replace(chunk(""), `"choices"`, counted+`,"choices"`, 1)+done)
		case r.URL.Path == "/v1/chat/completions":
			text = details("prompt_tokens_details", answered)
		case r.URL.Path == "/v1/completions":
			text = `{"id":"a","object":"text_completion","created":1,"model":"x","choices":[{"index":0,"text":"hello","finish_reason":"stop"}],` + counted + `}`
			if ask.Stream {
				text = "data: " + text + "\n\n" + done
			}
			text = details("prompt_tokens_details", text)
		default:
			plain := func(text string) string {
				return strings.ReplaceAll(text, `,"input_tokens_details":{"cached_tokens":0}`, "")
			}
			text = details("input_tokens_details", plain(responseOf("completed", spoken)))
			if ask.Stream {
				text = details("input_tokens_details", plain(streamedResponse()))
			}
		}
		media := "application/json"
		if ask.Stream {
			media = "text/event-stream"
		}
		says(media, text)(rw, r)
	}, func(s *route.Spec) { s.Fields = []byte(`{"trusted":["analyst"],"cache_salt":true}`) })
	trusted := w.Mint(t, "ana", "caller", "analyst")
	for path, body := range map[string]string{
		chatPath:          `{"model":"m","messages":[{"role":"user","content":"hi"}]%s}`,
		"/v1/completions": `{"model":"m","prompt":"hi"%s}`,
		"/v1/responses":   `{"model":"m","input":"hi"%s}`,
	} {
		for _, more := range []string{"", `,"stream":true`} {
			if more != "" && path != "/v1/responses" {
				more += `,"stream_options":{"include_usage":true}`
			}
			ask := func(token string, is bool) string {
				mu.Lock()
				cached = is
				mu.Unlock()
				resp, text := w.Post(t, path, fmt.Sprintf(body, more), func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
				if resp.StatusCode != 200 {
					t.Fatalf("%s: %d %s", path, resp.StatusCode, text)
				}
				kept := w.Record(t, &http.Response{Header: http.Header{edge.RecordHeader: {recordIn(t, resp, text)}}})
				said := verdict(kept, "fields")
				return fmt.Sprint(resp.Header.Get(edge.FieldsHeader), said.Reason, withoutRecord(text))
			}
			with, without := ask(w.Token, true), ask(w.Token, false)
			if with != without || strings.Contains(with, "cached_tokens\"") {
				t.Errorf("%s%s: whether it was cached shows:\n%s\n%s", path, more, with, without)
			}
			if got := ask(trusted, true); !strings.Contains(got, `"cached_tokens":64`) {
				t.Errorf("%s%s: the trusted get %s", path, more, got)
			}
		}
	}
	if len(salts) != 1 || salts[""] {
		t.Errorf("the salts were %v", salts)
	}
}

// recordIn is the record that an answer or a stream names.
func recordIn(t *testing.T, resp *http.Response, text string) string {
	t.Helper()
	if index := resp.Header.Get(edge.RecordHeader); index != "" {
		return index
	}
	_, rest, ok := strings.Cut(text, ": pavise-record ")
	if !ok {
		t.Fatalf("the stream names no record: %s", text)
	}
	index, _, _ := strings.Cut(rest, "\n")
	return index
}

// withoutRecord is a stream without the comment that names its record.
func withoutRecord(text string) string {
	before, rest, ok := strings.Cut(text, ": pavise-record ")
	if !ok {
		return text
	}
	_, after, _ := strings.Cut(rest, "\n\n")
	return before + after
}
