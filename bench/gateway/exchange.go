package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// classes is how many scores an answer of the model server holds.
const classes = 10

// A model is one that the model server knows: so many numbers in, ten scores out.
type model struct {
	name string
	in   int
}

// The models of the scenarios. A number takes 7.4 bytes of a body on average.
var models = []model{{"one", 1}, {"small", 32}, {"large", 512}}

// scores are what every model answers.
var scores = [classes]float64{0.0312871, 0.1523467, 0.0074512, 0.3120045, 0.0498231, 0.0912344, 0.2004127, 0.0231178, 0.1100981, 0.0222244}

// question asks a model about one row.
func (m model) question() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"inputs":[{"name":"x","shape":[1,%d],"datatype":"FP32","data":[`, m.in)
	for i := range m.in {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%.5g", math.Mod(float64(i+1)*0.754877666, 1)) // spread evenly over 0 to 1
	}
	b.WriteString(`]}]}`)
	return b.Bytes()
}

// answer is the model server's.
func (m model) answer() []byte {
	b, _ := json.Marshal(scores) // cannot fail: numbers
	return fmt.Appendf(nil, `{"model_name":%q,"outputs":[{"name":"scores","shape":[1,%d],"datatype":"FP32","data":%s}]}`, m.name, classes, b)
}

// description is what the model server says of the model.
func (m model) description() []byte {
	return fmt.Appendf(nil, `{"name":%q,"versions":[],"platform":"bench","inputs":[{"name":"x","datatype":"FP32","shape":[-1,%d]}],"outputs":[{"name":"scores","datatype":"FP32","shape":[-1,%d]}]}`, m.name, m.in, classes)
}

// bounds are what each column of the model's input may hold.
func (m model) bounds() []byte {
	var columns []string
	for i := range m.in {
		columns = append(columns, fmt.Sprintf(`{"name":"c%d","min":0,"max":1}`, i))
	}
	return fmt.Appendf(nil, `{"input":"x","features":[%s]}`, strings.Join(columns, ","))
}

// A scenario is one thing asked of every proxy.
type scenario struct {
	id, title string
	path      string
	body      []byte
	tls       bool // callers reach the proxy by TLS
	chat      bool // asked of a language model
	check     func(body []byte) error
}

// scenarios are all closed-loop ones.
func scenarios() []scenario {
	infer := func(id, title string, m model, tls bool) scenario {
		body := m.question()
		return scenario{
			id: id, title: fmt.Sprintf("%s, %d bytes", title, len(body)), path: "/v2/models/" + m.name + "/infer", body: body, tls: tls,
			check: func(b []byte) error { return checkScores(m.name, b) },
		}
	}
	return []scenario{
		infer("small", "OIP over HTTP", models[1], false),
		infer("large", "OIP over HTTP", models[2], false),
		infer("small-tls", "OIP, callers by TLS 1.3", models[1], true),
		infer("large-tls", "OIP, callers by TLS 1.3", models[2], true),
		infer("least", "the smallest exchange that Pavise checks", models[0], false),
		{id: "chat", title: fmt.Sprintf("chat completion, not streamed, %d bytes", len(chatQuestion(false))), path: "/v1/chat/completions", body: chatQuestion(false), chat: true, check: checkChat},
	}
}

// checkScores finds the model's own scores in an answer, to four digits at least.
func checkScores(name string, body []byte) error {
	var a struct {
		Model   string `json:"model_name"`
		Outputs []struct {
			Name  string
			Shape []int
			Data  []float64
		}
	}
	if err := json.Unmarshal(body, &a); err != nil || a.Model != name || len(a.Outputs) != 1 || len(a.Outputs[0].Data) != classes {
		return fmt.Errorf("%.300q is not the model's answer (%v)", body, err)
	}
	for i, v := range a.Outputs[0].Data {
		if math.Abs(v-scores[i]) > 5.1e-5 {
			return fmt.Errorf("score %d is %v, and the model said %v", i, v, scores[i])
		}
	}
	return nil
}

// chatModel is the language model's name, and chatWord something that it says.
const (
	chatModel = "talker"
	chatWord  = "The transfer leaves the account at noon."
)

// chatQuestion is two kilobytes of conversation.
func chatQuestion(stream bool) []byte {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	q := struct {
		Model    string    `json:"model"`
		Messages []message `json:"messages"`
		Stream   bool      `json:"stream,omitempty"`
	}{chatModel, []message{{"system", "You answer questions about payments, briefly."}}, stream}
	for i := range 8 {
		role := []string{"user", "assistant"}[i%2]
		q.Messages = append(q.Messages, message{role, fmt.Sprintf("Turn %d. ", i) + strings.Repeat("When does the transfer leave the account? ", 5)})
	}
	q.Messages = append(q.Messages, message{"user", "And the next one?"})
	b, _ := json.Marshal(q) // cannot fail: strings
	return b
}

// chatAnswer is the language model's.
func chatAnswer() []byte {
	text := strings.Repeat(chatWord+" ", 8)
	return fmt.Appendf(nil, `{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":400,"completion_tokens":80,"total_tokens":480}}`, chatModel, text)
}

// chatEvent is the first event of a stream that goes on.
func chatEvent() []byte {
	return fmt.Appendf(nil, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":%q},\"finish_reason\":null}]}\n\n", chatModel, chatWord)
}

// checkChat finds what the language model said in an answer.
func checkChat(body []byte) error {
	var a struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal(body, &a); err != nil || len(a.Choices) != 1 || !strings.Contains(a.Choices[0].Message.Content, chatWord) {
		return fmt.Errorf("%.300q is not what the language model said (%v)", body, err)
	}
	return nil
}
