package chat

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestSaid lists who says what in requests of each operation.
func TestSaid(t *testing.T) {
	for _, c := range []struct {
		api        API
		text, want string
	}{
		{Chat, `{"model":"m","messages":[{"role":"developer","content":"A"},{"role":"user","name":"ann","content":[{"type":"text","text":"B"},{"type":"image_url","image_url":{"url":"https://pics.example.com/y"}}]},
			{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{C}"}}]},{"role":"tool","tool_call_id":"c1","content":"D"}],
			"tools":[{"type":"function","function":{"name":"f","description":"E","parameters":{"type":"object","properties":{"x":{"description":"F"}}}}}],"user":"u"}`,
			"system messages[0] A, user messages[1] ann, user messages[1] B, assistant messages[2] f, assistant messages[2] {C}, tool messages[3] D, system tools f, system tools E, system tools type, system tools object, system tools properties, system tools x, system tools description, system tools F"},
		{Completions, `{"model":"m","prompt":["A","B"],"suffix":"C"}`, "user prompt A, user prompt B, user suffix C"},
		{Completions, `{"model":"m","prompt":[1,2]}`, ""},
		{Responses, `{"model":"m","input":"A","instructions":"B"}`, "user input A, system instructions B"},
		{Responses, `{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"A"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"B"},{"type":"function_call_output","call_id":"c","output":"C"}]}`,
			"user input[0] A, assistant input[1] f, assistant input[1] B, tool input[2] C"},
		{Embeddings, `{"model":"m","input":["A","B"]}`, "user input[0] A, user input[1] B"},
	} {
		r, err := ParseRequest(c.api, []byte(c.text), DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if coded := strings.Contains(c.text, "[1,2]"); r.Coded() != coded {
			t.Errorf("%s is coded: %v", c.text, r.Coded())
		}
		var got []string
		for s := range r.Said() {
			got = append(got, fmt.Sprintf("%s %s %s", s.Role, s.At(), s.Text))
		}
		if said := strings.Join(got, ", "); said != c.want {
			t.Errorf("%s says\n%s\nwant\n%s", c.text, said, c.want)
		}
		for range r.Said() { // who has seen enough may leave
			break
		}
	}
}

// TestPieces gathers the texts of streams by their channels, and those of whole answers.
func TestPieces(t *testing.T) {
	const chunk = `data: {"id":"i","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":%s}]}` + "\n\n"
	ask := `{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"tools":[{"type":"function","function":{"name":"f"}}]}`
	r, err := ParseRequest(Chat, []byte(ask), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	stream := ""
	for _, delta := range []string{`{"role":"assistant","content":"a"}`, `{"content":"b"}`, `{"refusal":"c"}`, `{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"d"}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":"e"}}]}`} {
		stream += fmt.Sprintf(chunk, delta)
	}
	got := map[Channel]string{}
	for s := NewStream(r, strings.NewReader(stream), DefaultLimits()); ; {
		e, err := s.Next()
		if err != nil {
			break
		}
		for p := range e.Pieces() {
			got[p.Channel] += p.Text
		}
	}
	if want := map[Channel]string{{0, 0, "content"}: "ab", {0, 0, "refusal"}: "c", {0, 0, "tool_calls"}: "de"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}

	whole := `{"id":"i","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"a","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"b"}}]}}]}`
	a, err := ParseAnswer(r, []byte(whole), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for p := range a.Pieces() {
		texts = append(texts, p.Text)
	}
	if !slices.Equal(texts, []string{"a", "f", "b"}) {
		t.Errorf("got %q", texts)
	}
}

// TestPiecesOfAResponse has what an event adds, and what it says whole.
func TestPiecesOfAResponse(t *testing.T) {
	for data, want := range map[string]string{
		`{"type":"response.output_text.delta","output_index":1,"content_index":2,"item_id":"i","delta":"a"}`:                                                                                              "1.2 response.output_text a false",
		`{"type":"response.function_call_arguments.delta","output_index":1,"item_id":"i","delta":"a"}`:                                                                                                    "1.0 response.function_call_arguments a false",
		`{"type":"response.output_text.done","output_index":1,"content_index":2,"item_id":"i","text":"a"}`:                                                                                                "0.0  a true",
		`{"type":"response.output_item.done","output_index":1,"item":{"type":"message","id":"i","status":"completed","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[]}]}}`: "0.0  a true",
	} {
		root, f := parse([]byte(data), DefaultLimits())
		if f != nil {
			t.Fatal(f)
		}
		e := &Event{Document: Document{root}, Name: root.str("type")}
		for p := range e.Pieces() {
			if got := fmt.Sprintf("%d.%d %s %s %v", p.Index, p.Part, p.Kind, p.Text, p.Whole); got != want {
				t.Errorf("%s: %s, want %s", data, got, want)
			}
		}
	}
}
