package chat

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/pavise/pavise"
)

// The parts that answers are made of. What they do not name is dropped.
var (
	count   = ints(0, 1<<40)
	created = nums(0, 1<<40)
	ident   = words(256)
	prose   = texts(0, 1<<24)
	ended   = among("stop", "length", "tool_calls", "content_filter", "function_call")

	// tokenUsage is what chat, completions and embeddings say of tokens.
	tokenUsage = fields(
		may("prompt_tokens", count), may("completion_tokens", count), may("total_tokens", count),
		may("prompt_tokens_details", fields(may("cached_tokens", count), may("audio_tokens", count))),
		may("completion_tokens_details", fields(may("reasoning_tokens", count), may("audio_tokens", count), may("accepted_prediction_tokens", count), may("rejected_prediction_tokens", count))),
	)

	annotations = listOf(0, 1024, freely())

	chatLogprobs = orNull(fields(may("content", orNull(listOf(0, 1<<16, logprob))), may("refusal", orNull(listOf(0, 1<<16, logprob)))))
	logprob      = fields(need("token", prose), need("logprob", nums(-math.MaxFloat64, math.MaxFloat64)), may("bytes", orNull(listOf(0, 1<<10, ints(0, 255)))),
		may("top_logprobs", listOf(0, 64, fields(need("token", prose), need("logprob", nums(-math.MaxFloat64, math.MaxFloat64)), may("bytes", orNull(listOf(0, 1<<10, ints(0, 255))))))))

	textLogprobs = orNull(fields(may("tokens", listOf(0, 1<<16, prose)), may("text_offset", listOf(0, 1<<16, count)),
		may("token_logprobs", listOf(0, 1<<16, orNull(nums(-math.MaxFloat64, math.MaxFloat64)))),
		may("top_logprobs", orNull(listOf(0, 1<<16, orNull(mapOf(64, nums(-math.MaxFloat64, math.MaxFloat64))))))))

	answered = fields(need("role", among("assistant")), need("content", orNull(prose)), may("refusal", orNull(prose)),
		may("reasoning_content", orNull(prose)), may("reasoning", orNull(prose)), may("annotations", annotations),
		may("tool_calls", listOf(0, 128, call)))
)

// answers are what whole answers of each operation look like.
var answers = map[API]*shape{
	Chat: fields(
		need("id", ident), need("object", among("chat.completion")), need("created", created), need("model", ident),
		need("choices", listOf(1, 128, fields(
			need("index", ints(0, 127)), need("message", answered), need("finish_reason", orNull(ended)), may("logprobs", chatLogprobs)))),
		may("usage", tokenUsage), may("system_fingerprint", orNull(words(256))), may("service_tier", orNull(words(64))), may("prompt_logprobs", orNull(free))),
	Completions: fields(
		need("id", ident), need("object", among("text_completion")), need("created", created), need("model", ident),
		need("choices", listOf(1, maxPrompts, fields(
			need("index", ints(0, maxPrompts-1)), need("text", prose), need("finish_reason", orNull(ended)), may("logprobs", textLogprobs), may("prompt_logprobs", orNull(free))))),
		may("usage", tokenUsage), may("system_fingerprint", orNull(words(256)))),
	Embeddings: fields(
		need("object", among("list")), need("model", ident), may("usage", tokenUsage),
		need("data", listOf(1, maxPrompts, fields(need("object", among("embedding")), need("index", ints(0, maxPrompts-1)),
			need("embedding", either(formed(1<<22, base64Fault), listOf(1, 1<<16, nums(-math.MaxFloat64, math.MaxFloat64)))))))),
	Responses: response,
}

// response is the answer of the operation responses, which its events carry, too.
var response = fields(
	need("id", ident), need("object", among("response")), need("created_at", created), need("model", ident),
	need("status", among("completed", "failed", "in_progress", "cancelled", "queued", "incomplete")),
	may("error", orNull(fields(need("code", words(128)), need("message", texts(0, 1<<16))))),
	may("incomplete_details", orNull(fields(may("reason", words(128))))),
	need("output", listOf(0, 1024, output)),
	may("usage", orNull(fields(may("input_tokens", count), may("output_tokens", count), may("total_tokens", count),
		may("input_tokens_details", fields(may("cached_tokens", count))), may("output_tokens_details", fields(may("reasoning_tokens", count)))))),
	may("service_tier", orNull(words(64))),
)

// output is one item of a response, and part a part of its content.
var (
	output = tagged("type", "", map[string]*shape{
		"message":       fields(need("type", words(32)), need("id", ident), need("status", words(32)), need("role", among("assistant")), may("phase", orNull(words(32))), need("content", listOf(0, 1024, part))),
		"function_call": fields(need("type", words(32)), may("id", ident), may("status", words(32)), need("call_id", callID), need("name", toolName), need("arguments", asked)),
		"reasoning": fields(need("type", words(32)), need("id", ident), may("status", orNull(words(32))), need("summary", listOf(0, 1024, summary)),
			may("content", orNull(listOf(0, 1024, fields(need("type", among("reasoning_text")), need("text", prose))))), may("encrypted_content", orNull(texts(0, 1<<22)))),
	})
	summary = fields(need("type", among("summary_text")), need("text", prose))
	part    = tagged("type", "", map[string]*shape{
		"output_text":    fields(need("type", words(32)), need("text", prose), need("annotations", annotations), may("logprobs", orNull(listOf(0, 1<<16, logprob)))),
		"refusal":        fields(need("type", words(32)), need("refusal", prose)),
		"reasoning_text": fields(need("type", words(32)), need("text", prose)),
	})
)

// An Answer is what a model answers whole.
type Answer struct{ Document }

// ParseAnswer reads the whole answer to a request. The error is a Fault of kind
// Unavailable.
func ParseAnswer(r *Request, body []byte, lim Limits) (*Answer, error) {
	a := &Answer{}
	root, f := parse(body, lim)
	if f == nil {
		a.root = root
		f = a.check(r)
	}
	if f != nil {
		return nil, f.error(pavise.Unavailable)
	}
	return a, nil
}

// check holds the answer to its table, and to its request.
func (a *Answer) check(r *Request) *fault {
	c := checker{answer: true}
	if f := c.check(&a.root, answers[r.API]); f != nil {
		return f
	}
	a.SetText("model", r.Model())
	switch r.API {
	case Chat:
		if f := each1(a.root.get("choices"), r.Choices()); f != nil {
			return f
		}
		return a.calls(r)
	case Completions:
		return each1(a.root.get("choices"), r.Prompts()*r.Choices())
	case Embeddings:
		if f := each1(a.root.get("data"), r.Prompts()); f != nil {
			return f
		}
		return a.vectors(r)
	}
	a.root.echo(r)
	if f := r.offeredItems(a.root.get("output")); f != nil {
		return f.in("output")
	}
	if s := a.Text("status"); s != "completed" && s != "incomplete" {
		return faultf("", "a response that did not come to its end: %s", s).in("status")
	}
	return nil
}

// calls holds the calls of functions in an answer of chat to what was offered.
func (a *Answer) calls(r *Request) *fault {
	choices := a.root.get("choices").items
	for i := range choices {
		calls := choices[i].at("message.tool_calls")
		if calls == nil {
			continue
		}
		for j := range calls.items {
			if f := r.offered(calls.items[j].str("function.name")); f != nil {
				return f.item(j).in("tool_calls").in("message").item(i).in("choices")
			}
		}
	}
	return nil
}

// offeredItems holds those in the output of a response to what was offered.
func (r *Request) offeredItems(list *value) *fault {
	for i := range list.items {
		if f := r.offeredItem(&list.items[i].value); f != nil {
			return f.item(i)
		}
	}
	return nil
}

func (r *Request) offeredItem(item *value) *fault {
	if item.str("type") != "function_call" {
		return nil
	}
	return r.offered(item.str("name"))
}

// echo puts into a response what clients look for in it and the request knows better
// than a server: its model and its tools.
func (v *value) echo(r *Request) {
	v.set("model", ofText(r.Model()))
	for _, f := range []member{
		{"tools", value{kind: array}}, {"tool_choice", ofText("auto")}, {"parallel_tool_calls", ofFlag(true)},
		{"error", value{}}, {"incomplete_details", value{}}, {"instructions", value{}}, {"temperature", value{}}, {"top_p", value{}}, {"metadata", value{}},
	} {
		if asked := r.root.get(f.name); asked != nil {
			f.value = *asked
		}
		if is := v.get(f.name); is != nil {
			f.value = *is
		}
		v.drop(f.name)
		v.set(f.name, f.value)
	}
}

// each1 refuses a list that has another number of members than was asked for, or
// one index twice.
func each1(list *value, want int) *fault {
	if len(list.items) != want {
		return faultf("", "%d members for %d that were asked", len(list.items), want)
	}
	seen := make([]bool, want)
	for i := range list.items {
		n, _ := list.items[i].get("index").integer()
		if n >= int64(want) || seen[n] {
			return faultf("", "index %d is beyond what was asked, or there twice", n).item(i)
		}
		seen[n] = true
	}
	return nil
}

// vectors holds embeddings to one size, and to the form that was asked for. Numbers
// in base64 are finite, too.
func (a *Answer) vectors(r *Request) *fault {
	size, dims := -1, int64(0)
	if n, ok := r.Int("dimensions"); ok {
		dims = n
	}
	list := a.root.get("data").items
	for i := range list {
		v := list[i].get("embedding")
		n := len(v.items)
		if v.kind == text {
			floats, f := unpack(v.text)
			if f != nil {
				return f.in("embedding").item(i).in("data")
			}
			n = floats
		}
		switch {
		case v.kind == text && r.Text("encoding_format") != "base64":
			return faultf("", "base64 that nobody asked for").item(i).in("data")
		case size >= 0 && n != size, dims > 0 && int64(n) != dims:
			return faultf("", "an embedding of %d numbers where others have %d, or %d were asked", n, size, dims).item(i).in("data")
		}
		size = n
	}
	return nil
}

// unpack returns how many numbers of float32 a text of base64 holds.
func unpack(b64 string) (int, *fault) {
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil || len(raw) == 0 || len(raw)%4 != 0 {
		return 0, faultf("", "base64 that holds no float32s")
	}
	for at := 0; at < len(raw); at += 4 {
		if f := float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[at:]))); math.IsNaN(f) || math.IsInf(f, 0) {
			return 0, faultf("", "a number that is not finite")
		}
	}
	return len(raw) / 4, nil
}

// Tokens returns what an answer or event says it took: tokens read and tokens made.
func (d *Document) Tokens() (in, out int64) {
	for _, names := range [][2]string{{"usage.prompt_tokens", "usage.completion_tokens"}, {"usage.input_tokens", "usage.output_tokens"}, {"response.usage.input_tokens", "response.usage.output_tokens"}} {
		if n, ok := d.Int(names[0]); ok {
			in = n
		}
		if n, ok := d.Int(names[1]); ok {
			out = n
		}
	}
	return in, out
}

// HideCaching takes out of an answer or event how much of the question the server had in
// its cache, and reports whether it counts tokens at all. Servers leave out a count of
// zero, so what stays is the same whether there was one or not.
func (d *Document) HideCaching() bool {
	counts := false
	for _, path := range []string{"usage", "response.usage"} {
		usage := d.root.at(path)
		if usage == nil || usage.kind != object {
			continue
		}
		counts = true
		usage.drop("prompt_tokens_details")
		if usage.drop("input_tokens_details"); usage.get("input_tokens") != nil {
			usage.set("input_tokens_details", value{kind: object}) // clients of responses want one
		}
	}
	return counts
}

// HideReasoning takes a model's own thoughts out of an answer or event, and reports
// whether there were any. An item of a response stays, empty, because others are
// counted with it. An event that is nothing but thoughts becomes one that Empty
// reports.
func (d *Document) HideReasoning() bool {
	hidden := false
	for _, path := range []string{"choices.*.message.reasoning", "choices.*.message.reasoning_content", "choices.*.delta.reasoning", "choices.*.delta.reasoning_content"} {
		hidden = d.Drop(path) || hidden
	}
	for _, path := range []string{"output", "response.output"} {
		if list := d.root.at(path); list != nil {
			for i := range list.items {
				hidden = list.items[i].hideItem() || hidden
			}
		}
	}
	if item := d.root.get("item"); item != nil {
		hidden = item.hideItem() || hidden
	}
	return hidden
}

// hideItem empties an item of a response that is a model's thoughts.
func (v *value) hideItem() bool {
	if v.str("type") != "reasoning" {
		return false
	}
	hidden := v.drop("content")
	hidden = v.drop("encrypted_content") || hidden
	if s := v.get("summary"); s != nil && len(s.items) > 0 {
		s.items, hidden = nil, true
	}
	return hidden
}

// AppendModels writes the list of models that a caller may ask: the protocol's answer
// to GET /v1/models. created is in seconds since 1970.
func AppendModels(dst []byte, names []string, created int64, owner string) []byte {
	list := value{kind: array}
	for _, name := range slices.Sorted(slices.Values(names)) {
		list.items = append(list.items, member{value: model(name, created, owner)})
	}
	all := value{kind: object, items: []member{{"object", ofText("list")}, {"data", list}}}
	return all.append(dst)
}

// AppendModel writes one of them.
func AppendModel(dst []byte, name string, created int64, owner string) []byte {
	m := model(name, created, owner)
	return m.append(dst)
}

func model(name string, created int64, owner string) value {
	return value{kind: object, items: []member{
		{"id", ofText(name)}, {"object", ofText("model")}, {"created", ofInt(created)}, {"owned_by", ofText(owner)},
	}}
}

// AppendError writes the protocol's error. Without a param or code they are null.
func AppendError(dst []byte, msg, class, param, code string) []byte {
	v := errorValue(msg, class, param, code)
	all := value{kind: object, items: []member{{"error", v}}}
	return all.append(dst)
}

func errorValue(msg, class, param, code string) value {
	orNothing := func(s string) value {
		if s == "" {
			return value{kind: null}
		}
		return ofText(s)
	}
	return value{kind: object, items: []member{
		{"message", ofText(msg)}, {"type", ofText(class)}, {"param", orNothing(param)}, {"code", orNothing(code)},
	}}
}

// complain is a fault of a whole stream.
func complain(format string, args ...any) error {
	return &Fault{Err: &pavise.Error{Kind: pavise.Unavailable, Msg: "the stream of the model server " + fmt.Sprintf(format, args...)}}
}
