package infer

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/tensor"
)

const (
	said   = `{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`
	events = `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":null}]}` + "\n\n" +
		`data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" +
		"data: [DONE]\n\n"
)

// asked is a question to a language model, and the model on a server.
func asked(t *testing.T, stream bool, serve http.HandlerFunc) (*Chat, *chat.Request) {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	lim := chat.DefaultLimits()
	lim.MaxBody = 4096
	c, err := NewChat(Place{Address: server.URL, Model: "theirs", Protocol: tensor.NameOpenAI}, lim)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r, err := chat.ParseRequest(chat.Chat, fmt.Appendf(nil, `{"model":"m","stream":%v,"messages":[{"role":"user","content":"hello"}]}`, stream), lim)
	if err != nil {
		t.Fatal(err)
	}
	return c, r
}

func typed(media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", media)
		io.WriteString(w, body)
	}
}

// TestChatServerLies has a server of a language model do what a broken or hostile one
// may do, to both kinds of question.
func TestChatServerLies(t *testing.T) {
	tests := map[string]struct {
		whole, stream http.HandlerFunc
		kind          pavise.Kind
		want          string // in the error; empty: none
	}{
		"good":       {typed("application/json", said), typed("text/event-stream; charset=utf-8", events), pavise.Internal, ""},
		"media type": {typed("text/event-stream", events), typed("application/json", said), pavise.Unavailable, "was asked"},
		"no type":    {typed("", said), typed("", events), pavise.Unavailable, "was asked"},
		"refuses":    {say(400, said), say(422, said), pavise.Invalid, "does not take this request"},
		"too much":   {say(429, ""), say(429, ""), pavise.Throttled, "asked too much"},
		"unknown":    {say(404, ""), say(404, ""), pavise.Unavailable, "does not know the model"},
		"keeps out":  {say(401, ""), say(403, ""), pavise.Unavailable, "does not let the gateway in"},
		"breaks":     {say(500, said), say(503, events), pavise.Unavailable, "answered with status 50"},
		"endless":    {typed("application/json", strings.Repeat(" ", 9000)), typed("text/event-stream", "data: "+strings.Repeat("x", 2<<20)), pavise.Unavailable, "more than"},
		"cut short":  {typed("application/json", said[:40]), typed("text/event-stream", events[:len(events)-20]), pavise.Unavailable, ""},
		"compressed": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			typed("application/json", said)(w, r)
		}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			typed("text/event-stream", events)(w, r)
		}, pavise.Unavailable, "in a form other than"},
	}
	for name, tt := range tests {
		check := func(how string, err error) {
			t.Helper()
			switch {
			case name == "good" && err != nil:
				t.Errorf("%s, %s: %v", name, how, err)
			case name != "good" && (pavise.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%s, %s: kind %v: %v", name, how, pavise.KindOf(err), err)
			case err != nil && strings.Contains(err.Error(), "theirs"):
				t.Errorf("%s, %s: the caller learns what the model is called there: %v", name, how, err)
			}
		}
		c, r := asked(t, false, tt.whole)
		_, err := c.Ask(t.Context(), r, c.Encode(r, nil))
		check("whole", err)
		c, r = asked(t, true, tt.stream)
		flow, err := c.Stream(t.Context(), r, c.Encode(r, nil))
		for err == nil {
			_, err = flow.Next()
		}
		if flow != nil {
			flow.Close()
		}
		if err == io.EOF {
			err = nil
		}
		check("stream", err)
	}
}

// TestChatEndsWithItsCaller ends the question to the server when nobody reads on.
func TestChatEndsWithItsCaller(t *testing.T) {
	ended := make(chan bool)
	c, r := asked(t, true, func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body)
		typed("text/event-stream", events[:strings.Index(events, "\n\n")+2])(w, r)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(ended)
	})
	flow, err := c.Stream(t.Context(), r, c.Encode(r, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := flow.Next(); err != nil {
		t.Error(err)
	}
	flow.Close()
	<-ended
	if s := c.Cluster().Stats(); s.Active != 0 || s.Endpoints[0].Open != 0 {
		t.Errorf("%+v", s)
	}
}
