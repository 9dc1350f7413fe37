package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/gateway"
)

// newChatServer starts a language model on loopback that says back what it was last
// told, as a whole answer or in events, a word each, with a pause before each.
func newChatServer(t *testing.T, pause time.Duration) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Messages []struct{ Content string }
			Stream   bool
		}
		if json.NewDecoder(r.Body).Decode(&q) != nil || len(q.Messages) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		said := q.Messages[len(q.Messages)-1].Content
		if !q.Stream {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"id":"a","object":"chat.completion","created":1,"model":"echo","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}`, said)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		event := func(choice string) {
			fmt.Fprintf(w, "data: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"echo\",\"choices\":[%s]}\n\n", choice)
			w.(http.Flusher).Flush()
		}
		for word := range strings.SplitAfterSeq(said, " ") {
			event(fmt.Sprintf(`{"index":0,"delta":{"role":"assistant","content":%q}}`, word))
			select {
			case <-time.After(pause):
			case <-r.Context().Done():
				return
			}
		}
		event(`{"index":0,"delta":{},"finish_reason":"stop"}`)
		io.WriteString(w, "data: [DONE]\n\n")
	}))
	t.Cleanup(s.Close)
	return s
}

// chatBehind puts a language model behind the firewall of a running pavise, that can be
// asked without end.
func chatBehind(t *testing.T, p *process, model, server string) {
	t.Helper()
	plenty := "100000000/24h"
	err := p.operator(t).Call(t.Context(), "route.put", gateway.RouteSpec{
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

// readChat reads an answer of chat. Its body is what the model said.
func readChat(resp *http.Response, model string) (a answer, err error) {
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return a, err
	}
	a = answer{model: model, status: resp.StatusCode, body: string(text)}
	if a.status != http.StatusOK {
		return a, nil
	}
	var said struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err = json.Unmarshal(text, &said); err != nil || len(said.Choices) != 1 {
		return a, fmt.Errorf("%s is no answer: %w", text, err)
	}
	a.body = said.Choices[0].Message.Content
	a.record, err = strconv.ParseUint(resp.Header.Get(edge.RecordHeader), 10, 64)
	return a, err
}

// readStream reads an answer in events to its end. Its body is what the model said.
// whole is whether the end was said, too, with [DONE]; only a stream's end names its
// record. The error is of a connection that broke off.
func readStream(resp *http.Response, model string) (a answer, whole bool, err error) {
	defer resp.Body.Close()
	a = answer{model: model, status: resp.StatusCode}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		record, isRecord := strings.CutPrefix(lines.Text(), ": pavise-record ")
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		var event struct {
			Choices []struct{ Delta struct{ Content string } }
			Error   *struct{ Message string }
		}
		switch {
		case whole && lines.Text() != "":
			return a, whole, fmt.Errorf("after [DONE] comes %q", lines.Text())
		case isRecord:
			if a.record, err = strconv.ParseUint(record, 10, 64); err != nil {
				return a, whole, err
			}
		case isData && data == "[DONE]":
			whole = true
		case isData:
			if err := json.Unmarshal([]byte(data), &event); err != nil || event.Error != nil {
				return a, whole, fmt.Errorf("the stream says %q, %w", data, err)
			}
			for _, c := range event.Choices {
				a.body += c.Delta.Content
			}
		}
	}
	return a, whole, lines.Err()
}

// release proposes another model or server behind a live name, and has somebody else
// approve it. The error says how it went otherwise than done.
func release(ctx context.Context, operator, another *api.Client, spec gateway.ReleaseSpec) error {
	var ch api.ChangeView
	if err := operator.Call(ctx, "route.release", api.ReleaseRequest{ReleaseSpec: spec, Reason: "a test"}, &ch); err != nil {
		return err
	}
	if err := another.Call(ctx, "change.approve", api.VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}, &ch); err != nil {
		return err
	}
	if ch.State != change.Done {
		return fmt.Errorf("release %s is %s: %s", ch.Name.ID, ch.State, ch.Outcome)
	}
	return nil
}
