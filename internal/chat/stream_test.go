package chat

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unsafe"

	"github.com/pavise/pavise"
)

const streaming = `{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}`

// offering is one that offers the functions f and g.
const offering = `{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]}`

// chunk is an event of chat that adds to choices.
func chunk(choices string) string {
	return `data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"up","choices":[` + choices + `]}` + "\n\n"
}

func wordsOf(text string) string {
	return chunk(`{"index":0,"delta":{"content":"` + text + `"},"finish_reason":null}`)
}

var stop = chunk(`{"index":0,"delta":{},"finish_reason":"stop"}`)

const done = "data: [DONE]\n\n"

// drain reads a stream to its end and returns what the caller would get.
func drain(r *Request, text string, lim Limits) (string, error) {
	return drainFrom(r, strings.NewReader(text), lim)
}

func drainFrom(r *Request, from io.Reader, lim Limits) (string, error) {
	s := NewStream(r, from, lim)
	var out []byte
	for {
		e, err := s.Next()
		if errors.Is(err, io.EOF) {
			return string(out), nil
		}
		if err != nil {
			return string(out), err
		}
		out = e.AppendSSE(out)
	}
}

// TestStreams are streams that pass, however they arrive.
func TestStreams(t *testing.T) {
	plain := wordsOf("a") + stop + done
	tests := []struct{ name, request, text, want string }{
		{"chat", streaming, plain, plain},
		{"line ends", streaming, strings.ReplaceAll(plain, "\n", "\r\n"), plain},
		{"comments", streaming, ": ping\n\nretry: 5\nid: 7\n\n" + plain, plain},
		{"two lines of data", streaming, strings.Replace(plain, `,"object"`, ",\ndata: \"object\"", 1), plain},
		{"after the end", streaming, plain + wordsOf("b") + "nonsense", plain},
		{"unknown", streaming, strings.Replace(plain, `"created"`, `"token_ids":[1],"created"`, 1), plain},
		{"done twice", streaming, plain + done, plain},
		{"done, and an error", streaming, plain + `data: {"error":{"message":"secret"}}` + "\n\n", plain},
		{"events of nothing", streaming, "event: x\n\nevent: error\n\n\n\n" + plain, plain},
		{"fields of a browser", streaming, strings.Replace(plain, "data: ", "id: 1\nretry: 0\ndata:", 1), plain},
		{"usage that is nothing", streaming, strings.Replace(plain, `"choices"`, `"usage":null,"choices"`, 1), plain},
		{"done without an end", streaming, wordsOf("a") + done, wordsOf("a") + done},
		{"another model", streaming, strings.ReplaceAll(plain, `"model":"m"`, `"model":"../secret"`), plain},
		{"usage unasked", streaming, strings.Replace(stop, `"choices"`, `"usage":{"prompt_tokens":1},"choices"`, 1) + done, stop + done},
		{"usage", strings.Replace(streaming, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1),
			stop + strings.Replace(chunk(""), `"choices"`, `"usage":{"prompt_tokens":1},"choices"`, 1) + done, stop + strings.Replace(chunk(""), `"choices"`, `"usage":{"prompt_tokens":1},"choices"`, 1) + done},
		{"tools", offering, chunk(`{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}]}}`) +
			chunk(`{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}},{"index":1,"id":"d","type":"function","function":{"name":"g"}}]}}`) + stop + done, ""},
	}
	for _, tt := range tests {
		if tt.want == "" {
			tt.want = tt.text
		}
		tt.want = strings.ReplaceAll(tt.want, `"up"`, `"m"`)
		r := ask(t, Chat, tt.request)
		if got, err := drain(r, tt.text, DefaultLimits()); err != nil || got != tt.want {
			t.Errorf("%s: %v\n%s, want\n%s", tt.name, err, got, tt.want)
		}
		if got, err := drainFrom(r, iotest.OneByteReader(strings.NewReader(tt.text)), DefaultLimits()); err != nil || got != tt.want {
			t.Errorf("%s, byte by byte: %v\n%s", tt.name, err, got)
		}
	}
}

// TestLyingStreams are streams that break the protocol, and what came through before.
func TestLyingStreams(t *testing.T) {
	small := DefaultLimits()
	small.MaxEvent, small.MaxStream = 2000, 20_000
	tests := map[string]struct{ text, why string }{
		"nothing":             {"", "broke off"},
		"cut":                 {wordsOf("a"), "broke off"},
		"cut in an event":     {strings.TrimSuffix(wordsOf("a"), "\n"), "broke off"},
		"no stream":           {"<html>\n\n", "no stream of events"},
		"no JSON":             {"data: x\n\n", "a value should be"},
		"not UTF-8":           {"data: \"\xff\"\n\n", "not UTF-8"},
		"twice":               {strings.Replace(wordsOf("a"), `"id":"a"`, `"id":"a","ID":"b"`, 1), "in two cases"},
		"another answer":      {wordsOf("a") + strings.Replace(wordsOf("b"), `"id":"a"`, `"id":"b"`, 1), "another answer"},
		"index":               {chunk(`{"index":1,"delta":{}}`), "index 1 of 1"},
		"after its end":       {stop + wordsOf("b"), "after the end of choice 0"},
		"error":               {wordsOf("a") + `data: {"error":{"message":"secret"}}` + "\n\n", "with an error"},
		"error by name":       {wordsOf("a") + "event: error\ndata: {\"message\":\"secret\"}\n\n", "with an error"},
		"call without a name": {chunk(`{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"arguments":""}}]}}`), "without an id or a name"},
		"call out of turn":    {chunk(`{"index":0,"delta":{"tool_calls":[{"index":1,"id":"c","function":{"name":"f"}}]}}`), "begins after 0"},
		"giant line":          {"data: " + strings.Repeat("x", 1<<20), "more than 2000 bytes"},
		"giant event":         {strings.Repeat("data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", 1000), "more than 2000 bytes"},
		"endless":             {strings.Repeat(wordsOf("a"), 1000), "longer than 20000 bytes"},
		"endless comments":    {strings.Repeat(": ping\n\n", 10_000), "longer than 20000 bytes"},
		"carriage return":     {"data: {\rdata: }\n\n", "carriage return"},
		"call of another":     {chunk(`{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"delete_all"}}]}}`), "nobody offered"},
		"call named twice":    {chunk(`{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f"}}]}}`) + chunk(`{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"_all"}}]}}`), "named twice"},
		"byte order mark":     {"\ufeff" + wordsOf("a"), "no stream of events"},
		"field in capitals":   {"Data: {}\n\n", "no stream of events"},
		"space before":        {" data: {}\n\n", "no stream of events"},
		"done with a space":   {"data: [DONE] \n\n", "where a value should be"},
		"done in two lines":   {"data: [DO\ndata: NE]\n\n", "a value should be"},
		"NUL":                 {"data: {\x00}\n\n", "a key in quotes"},
		"two texts":           {"data: {}{}\n\n", "something follows"},
		"usage below nothing": {strings.Replace(wordsOf("a"), `"choices"`, `"usage":{"completion_tokens":-1},"choices"`, 1), "not between"},
		"usage beyond":        {strings.Replace(wordsOf("a"), `"choices"`, `"usage":{"completion_tokens":9223372036854775807},"choices"`, 1), "not between"},
		"no index":            {chunk(`{"delta":{"content":"a"}}`), `"index" is missing`},
		"index below":         {chunk(`{"index":-1,"delta":{"content":"a"}}`), "not between"},
		"index in parts":      {chunk(`{"index":0.5,"delta":{"content":"a"}}`), "no integer"},
		"another role":        {chunk(`{"index":0,"delta":{"role":"system","content":"a"}}`), "not known here"},
		"another end":         {chunk(`{"index":0,"delta":{},"finish_reason":"gone"}`), "not known here"},
		"call below":          {chunk(`{"index":0,"delta":{"tool_calls":[{"index":-1,"id":"c","function":{"name":"f"}}]}}`), "not between"},
		"call of no index":    {chunk(`{"index":0,"delta":{"tool_calls":[{"id":"c","function":{"name":"f"}}]}}`), `"index" is missing`},
		"call of hosted tool": {chunk(`{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"web_search","function":{"name":"f"}}]}}`), "not known here"},
		"text of a whole":     {strings.Replace(wordsOf("a"), "chat.completion.chunk", "chat.completion", 1), "not known here"},
		"deep":                {"data: " + strings.Repeat("[", 90) + "\n\n", "more than 64 levels"},
		"content of objects":  {chunk(`{"index":0,"delta":{"content":{"x":1}}}`), "an object stands here"},
	}
	for name, tt := range tests {
		_, err := drain(ask(t, Chat, offering), tt.text, small)
		if pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: it tells what the server said: %v", name, err)
		}
	}
}

// event is one event of a response.
func event(kind, more string) string {
	return fmt.Sprintf("event: %s\ndata: {%q:%q%s}\n\n", kind, "type", kind, more)
}

const begun = `,"response":{"id":"r","object":"response","created_at":1,"model":"up","status":"in_progress","output":[]}`

// TestStreamedResponse follows a response with a thought and a message.
func TestStreamedResponse(t *testing.T) {
	r := ask(t, Responses, `{"model":"m","input":"a","stream":true}`)
	good := []string{
		event("response.created", begun), event("response.in_progress", begun),
		event("response.output_item.added", `,"output_index":0,"item":{"type":"reasoning","id":"t","summary":[]}`),
		event("response.reasoning_summary_text.delta", `,"output_index":0,"item_id":"t","summary_index":0,"delta":"secret"`),
		event("response.output_item.added", `,"output_index":1,"item":{"type":"message","id":"i","status":"in_progress","role":"assistant","content":[]}`),
		event("response.output_text.delta", `,"output_index":1,"item_id":"i","content_index":0,"delta":"hi"`),
		event("response.hosted.thing", `,"x":1`),
		event("response.completed", `,"response":`+finished),
	}
	got, err := drain(r, strings.Join(good, ""), DefaultLimits())
	if err != nil || strings.Contains(got, "hosted") || strings.Count(got, "data: ") != 7 || strings.Contains(got, `"up"`) {
		t.Errorf("%v: %s", err, got)
	}
	s, thoughts := NewStream(r, strings.NewReader(strings.Join(good, "")), DefaultLimits()), 0
	for e, err := s.Next(); err == nil; e, err = s.Next() {
		if e.Thought() {
			thoughts++
			continue
		}
		e.HideReasoning()
		if out := string(e.AppendSSE(nil)); strings.Contains(out, "secret") || strings.Contains(out, "hm") {
			t.Errorf("not hidden: %s", out)
		}
		if e.Closing != (e.Name == "response.completed") {
			t.Errorf("%s is closing: %v", e.Name, e.Closing)
		}
	}
	if thoughts != 1 {
		t.Errorf("%d thoughts", thoughts)
	}
	for name, text := range map[string]string{
		"not begun":    good[2],
		"begun twice":  good[0] + good[0],
		"no such item": good[0] + good[5],
		"item ahead":   good[0] + good[4],
		"two types":    strings.Replace(good[0], "event: response.created", "event: response.completed", 1),
		"no end":       good[0] + good[1],
		"failed":       good[0] + event("response.failed", `,"response":{"error":{"message":"secret"}}`),
		"error":        good[0] + event("error", `,"message":"secret"`),
		"call":         good[0] + event("response.output_item.added", `,"output_index":0,"item":{"type":"function_call","id":"c","call_id":"c","name":"f","arguments":""}`),
		"another":      good[0] + strings.Replace(good[1], `"r"`, `"s"`, 1),
	} {
		if _, err := drain(r, text, DefaultLimits()); pavise.KindOf(err) != pavise.Unavailable || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClosing is true from the event on with which a caller has the whole answer.
func TestClosing(t *testing.T) {
	two := strings.Replace(streaming, `"stream"`, `"n":2,"stream"`, 1)
	text := wordsOf("a") + stop + chunk(`{"index":1,"delta":{"content":"b"}}`) + strings.Replace(stop, `"index":0`, `"index":1`, 1) + done
	s, got := NewStream(ask(t, Chat, two), strings.NewReader(text), DefaultLimits()), ""
	for e, err := s.Next(); err == nil; e, err = s.Next() {
		got += fmt.Sprint(e.Closing, " ")
	}
	if got != "false false false true true " {
		t.Error(got)
	}
}

// TestFailure is how a stream ends when it breaks off.
func TestFailure(t *testing.T) {
	if got, want := string(Failure(Chat, "m", "server_error", "c", 0).AppendSSE(nil)), `data: {"error":{"message":"m","type":"server_error","param":null,"code":"c"}}`+"\n\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := string(Failure(Responses, "m", "server_error", "c", 7).AppendSSE(nil)), "event: error\n"+`data: {"type":"error","code":"c","message":"m","param":null,"sequence_number":7}`+"\n\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestStreamLetsEventsGo finds that a stream remembers an answer's id in memory of its own:
// an event may be a megabyte, and a stream may last.
func TestStreamLetsEventsGo(t *testing.T) {
	created := "event: response.created\n" + `data: {"type":"response.created","sequence_number":0,"response":{"id":"a","object":"response","created_at":1,"model":"up","status":"in_progress","output":[]}}` + "\n\n"
	for api, c := range map[API]struct{ request, events, id string }{
		Chat:      {streaming, wordsOf("hi"), "id"},
		Responses: {`{"model":"m","input":"hi","stream":true}`, created, "response.id"},
	} {
		s := NewStream(ask(t, api, c.request), strings.NewReader(c.events), DefaultLimits())
		e, err := s.Next()
		if err != nil {
			t.Fatal(api, err)
		}
		if id := e.Text(c.id); id != "a" || s.id != id || unsafe.StringData(s.id) == unsafe.StringData(id) {
			t.Errorf("%s: the id %q is kept as %q, in the event's memory", api, id, s.id)
		}
	}
}
