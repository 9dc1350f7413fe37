package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/verbs"
)

// holds is what a chatServer is told to stop at after the first event of a stream.
const holds = "hold"

// A chatServer is a language model on loopback that says its name and then back what it
// was last told, as a whole answer or in events, a word each.
type chatServer struct {
	*httptest.Server
	name  string
	pause time.Duration // before each event
	gate  chan struct{} // closed: those that it was told to hold go on
}

func newChatServer(t *testing.T, name string, pause time.Duration) *chatServer {
	t.Helper()
	s := &chatServer{name: name, pause: pause, gate: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *chatServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Messages []struct{ Content string }
		Stream   bool
	}
	if json.NewDecoder(r.Body).Decode(&q) != nil || len(q.Messages) == 0 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	told := q.Messages[len(q.Messages)-1].Content
	if !q.Stream {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"a","object":"chat.completion","created":1,"model":"echo","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}`, s.name+" "+told)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	event := func(choice string) {
		fmt.Fprintf(w, "data: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"echo\",\"choices\":[%s]}\n\n", choice)
		w.(http.Flusher).Flush()
	}
	for word := range strings.SplitAfterSeq(s.name+" "+told, " ") {
		event(fmt.Sprintf(`{"index":0,"delta":{"role":"assistant","content":%q}}`, word))
		time.Sleep(s.pause)
		if told == holds {
			select {
			case <-s.gate:
			case <-r.Context().Done():
				return
			}
		}
	}
	event(`{"index":0,"delta":{},"finish_reason":"stop"}`)
	io.WriteString(w, "data: [DONE]\n\n")
}

// chatBehind puts a language model behind the firewall of a running pavise, that can be
// asked without end.
func chatBehind(t *testing.T, p *process, model, server string) {
	t.Helper()
	plenty := "100000000/24h"
	err := p.operator(t).Call(t.Context(), "route.put", route.Spec{
		Name: "local/model/" + model, Upstream: server, Remote: "echo", Protocol: "openai", Rate: "10000000/1m", Budget: plenty, ModelBudget: plenty,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// chat tells a language model something, with the answer as a stream or whole.
func chat(ctx context.Context, server, token, model, say string, stream bool) (*http.Response, error) {
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}],"stream":%v}`, model, say, stream)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	return http.DefaultClient.Do(req)
}

// talk tells a language model something and reads the whole answer. The answer's body is
// what its record commits to: all bytes, of a stream without the comment that names the
// record. The error is of a connection that broke off, or of what is no answer.
func talk(ctx context.Context, server, token, model, say string, stream bool) (answer, error) {
	resp, err := chat(ctx, server, token, model, say, stream)
	if err != nil {
		return answer{}, err
	}
	return hear(resp, model, stream)
}

// hear reads the answer that has begun.
func hear(resp *http.Response, model string, stream bool) (a answer, err error) {
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	a = answer{model: model, status: resp.StatusCode, body: string(text)}
	if err != nil || a.status != http.StatusOK {
		return a, err
	}
	named := resp.Header.Get(edge.RecordHeader)
	if stream {
		comment := recordComment.FindStringSubmatch(a.body)
		if comment == nil || !a.whole() {
			return a, fmt.Errorf("the stream ended without saying so: %q", a.body)
		}
		named, a.body = comment[1], strings.Replace(a.body, comment[0], "", 1)
	}
	if a.record, err = strconv.ParseUint(named, 10, 64); err != nil {
		return a, err
	}
	a.said, err = saidIn(a.body)
	return a, err
}

// recordComment names the record of a stream, before the events with which it ends.
var recordComment = regexp.MustCompile(`(?m)^: pavise-record (\d+)\n\n`)

// whole reports whether a stream says that it has ended.
func (a answer) whole() bool { return strings.HasSuffix(a.body, "data: [DONE]\n\n") }

// saidIn is what the model said in an answer, or in the events of one.
func saidIn(body string) (said string, err error) {
	for event := range strings.SplitSeq(strings.TrimSpace(body), "\n\n") {
		event = strings.TrimPrefix(event, "data: ")
		if event == "[DONE]" {
			continue
		}
		var part struct {
			Choices []struct{ Message, Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(event), &part); err != nil || len(part.Choices) != 1 {
			return "", fmt.Errorf("%.200q is no part of an answer: %v", event, err)
		}
		said += part.Choices[0].Message.Content + part.Choices[0].Delta.Content
	}
	return said, nil
}

// release proposes another model or server behind a live name, and has somebody else
// approve it. The error says how it went otherwise than done.
func release(ctx context.Context, operator, another *api.Client, spec route.ReleaseSpec) error {
	var ch api.ChangeView
	if err := operator.Call(ctx, "route.release", verbs.ReleaseRequest{ReleaseSpec: spec, Reason: "a test"}, &ch); err != nil {
		return err
	}
	if err := another.Call(ctx, "change.approve", verbs.VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, &ch); err != nil {
		return err
	}
	if ch.State != change.Done {
		return fmt.Errorf("release %s is %s: %s", ch.Name.ID, ch.State, ch.Outcome)
	}
	return nil
}
