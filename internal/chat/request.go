package chat

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise"
)

// An API is one of the protocol's operations on a model.
type API string

// The operations.
const (
	Chat        API = "chat.completions"
	Completions API = "completions"
	Responses   API = "responses"
	Embeddings  API = "embeddings"
)

// Path returns where a server takes requests of the operation, below its address.
func (a API) Path() string {
	if a == Chat { // which is asked for most, has a dot
		return "/v1/chat/completions"
	}
	return "/v1/" + string(a)
}

// APIs are the four.
func APIs() []API { return []API{Chat, Completions, Responses, Embeddings} }

// maxModel bounds the name of a model, in bytes, as a part of a pavise.Name.
const maxModel = 128

// tables are what requests of each operation look like.
var tables = map[API]*shape{
	Chat: fields(append(sampling(),
		need("messages", listOf(1, 4096, message)),
		may("max_tokens", ints(1, 1<<24)),
		may("max_completion_tokens", ints(1, 1<<24)),
		may("n", ints(1, 128)),
		may("logprobs", flag),
		may("top_logprobs", ints(0, 20)),
		may("prompt_logprobs", ints(0, 20)),
		may("tools", listOf(1, 128, tagged("type", "", map[string]*shape{
			"function": fields(may("type", words(16)), need("function", function)),
		}))),
		may("tool_choice", either(among("none", "auto", "required"), tagged("type", "", map[string]*shape{
			"function": fields(may("type", words(16)), need("function", fields(need("name", toolName)))),
		}))),
		may("parallel_tool_calls", flag),
		may("response_format", tagged("type", "", map[string]*shape{
			"text":        fields(may("type", words(16))),
			"json_object": fields(may("type", words(16))),
			"json_schema": fields(may("type", words(16)), need("json_schema", fields(jsonSchema()...))),
		})),
		may("modalities", listOf(1, 1, among("text"))),
		may("reasoning_effort", effort),
		may("verbosity", degree),
		may("prediction", fields(may("type", among("content")), need("content", textParts))),
		may("service_tier", words(32)),
		may("store", flag),
		may("metadata", metadata),
		may("prompt_cache_key", words(256)),
		may("prompt_cache_retention", among("in_memory", "24h")),
		may("safety_identifier", words(256)),
	)...),
	Completions: fields(append(sampling(),
		need("prompt", either(texts(0, 1<<24), listOf(1, maxPrompts, either(texts(0, 1<<24), either(token, listOf(1, maxTokens, token)))))),
		may("suffix", texts(0, 1<<20)),
		may("max_tokens", ints(0, 1<<24)),
		may("n", ints(1, 128)),
		may("best_of", ints(1, 128)),
		may("echo", flag),
		may("logprobs", ints(0, 20)),
		may("prompt_logprobs", ints(0, 20)),
	)...),
	Responses: fields(
		need("model", words(maxModel)),
		need("input", either(texts(1, 1<<24), listOf(1, 4096, item))),
		may("instructions", texts(0, 1<<20)),
		may("max_output_tokens", ints(1, 1<<24)),
		may("max_tool_calls", ints(1, 1<<10)),
		may("temperature", nums(0, 2)),
		may("top_p", nums(0, 1)),
		may("top_logprobs", ints(0, 20)),
		may("stream", flag),
		may("stream_options", fields(may("include_obfuscation", flag))),
		may("tools", listOf(0, 128, tagged("type", "", map[string]*shape{
			"function": fields(append(functionFields(), may("type", words(16)))...),
		}))),
		may("tool_choice", either(among("none", "auto", "required"), tagged("type", "", map[string]*shape{
			"function": fields(may("type", words(16)), need("name", toolName)),
		}))),
		may("parallel_tool_calls", flag),
		may("text", fields(may("verbosity", degree), may("format", tagged("type", "", map[string]*shape{
			"text":        fields(may("type", words(16))),
			"json_object": fields(may("type", words(16))),
			"json_schema": fields(append(jsonSchema(), may("type", words(16)))...),
		})))),
		may("reasoning", fields(may("effort", effort), may("summary", among("auto", "concise", "detailed")), may("generate_summary", among("auto", "concise", "detailed")))),
		may("include", listOf(0, 16, words(64))),
		may("truncation", among("auto", "disabled")),
		may("previous_response_id", words(256)),
		may("conversation", either(words(256), fields(need("id", words(256))))),
		may("background", flag),
		may("service_tier", words(32)),
		may("store", flag),
		may("metadata", metadata),
		may("user", words(512)),
		may("prompt_cache_key", words(256)),
		may("prompt_cache_retention", among("in_memory", "24h")),
		may("safety_identifier", words(256)),
	),
	Embeddings: fields(
		need("model", words(maxModel)),
		need("input", either(texts(1, 1<<20), listOf(1, maxPrompts, either(texts(1, 1<<20), either(token, listOf(1, maxTokens, token)))))),
		may("encoding_format", among("float", "base64")),
		may("dimensions", ints(1, 1<<16)),
		may("user", words(512)),
	),
}

const (
	maxPrompts = 2048    // prompts or inputs of one request
	maxTokens  = 1 << 17 // of one prompt that is given as tokens
)

// sampling are the fields that chat and completions share.
func sampling() []field {
	return []field{
		need("model", words(maxModel)),
		may("temperature", nums(0, 2)),
		may("top_p", nums(0, 1)),
		may("presence_penalty", nums(-2, 2)),
		may("frequency_penalty", nums(-2, 2)),
		may("logit_bias", mapOf(1024, nums(-100, 100))),
		may("seed", ints(-1<<63, 1<<63)),
		may("stop", either(texts(1, 1024), listOf(1, 4, texts(1, 1024)))),
		may("stream", flag),
		may("stream_options", fields(may("include_usage", flag), may("include_obfuscation", flag))),
		may("user", words(512)),
	}
}

// The parts that requests are made of.
var (
	token    = ints(0, 1<<31)
	effort   = among("none", "minimal", "low", "medium", "high", "xhigh", "max")
	degree   = among("low", "medium", "high")
	metadata = mapOf(16, texts(0, 512))
	toolName = formed(64, nameFault)
	callID   = words(128)
	detail   = among("auto", "low", "high")
	picture  = formed(1<<24, imageFault)
	asked    = texts(0, 1<<20) // what a model wrote as arguments: text that need not be JSON

	function = fields(functionFields()...)
	textPart = map[string]*shape{"text": fields(may("type", words(16)), need("text", texts(0, 1<<24)))}

	textParts = either(texts(0, 1<<24), listOf(1, 1024, tagged("type", "", textPart)))
	spoken    = either(texts(0, 1<<24), listOf(1, 1024, tagged("type", "", map[string]*shape{
		"text":    textPart["text"],
		"refusal": fields(may("type", words(16)), need("refusal", texts(0, 1<<20))),
	})))
	shown = either(texts(0, 1<<24), listOf(1, 1024, tagged("type", "", map[string]*shape{
		"text":        textPart["text"],
		"image_url":   fields(may("type", words(16)), need("image_url", fields(need("url", picture), may("detail", detail)))),
		"input_audio": fields(may("type", words(16)), need("input_audio", fields(need("data", formed(1<<24, base64Fault)), need("format", among("wav", "mp3"))))),
	})))

	call = tagged("type", "function", map[string]*shape{
		"function": fields(need("id", callID), may("type", words(16)), need("function", fields(need("name", toolName), need("arguments", asked))), may("index", ints(0, maxCalls-1))),
	})

	// message is one of a chat. What clients send back of an answer has fields that
	// say null.
	message = tagged("role", "", map[string]*shape{
		"system":    fields(may("role", words(16)), need("content", textParts), may("name", words(64))),
		"developer": fields(may("role", words(16)), need("content", textParts), may("name", words(64))),
		"user":      fields(may("role", words(16)), need("content", shown), may("name", words(64))),
		"assistant": fields(may("role", words(16)), may("content", spoken), may("name", words(64)), may("refusal", texts(0, 1<<20)),
			may("tool_calls", listOf(0, maxCalls, call)), may("audio", nothing), may("function_call", nothing), may("annotations", either(nothing, listOf(0, 0, nothing)))),
		"tool": fields(may("role", words(16)), need("content", textParts), need("tool_call_id", callID), may("name", toolName)),
	})

	// item is one of the input of a response: a message, or what was an item of an
	// earlier output.
	item = tagged("type", "message", map[string]*shape{
		"message": fields(may("type", words(32)), need("role", among("user", "assistant", "system", "developer")), may("id", words(256)), may("status", words(32)), may("phase", words(32)),
			need("content", either(texts(0, 1<<24), listOf(1, 1024, tagged("type", "", map[string]*shape{
				"input_text":  fields(may("type", words(16)), need("text", texts(0, 1<<24))),
				"input_image": fields(may("type", words(16)), need("image_url", picture), may("detail", detail)),
				"output_text": fields(may("type", words(16)), need("text", texts(0, 1<<24)), may("annotations", listOf(0, 0, nothing)), may("logprobs", listOf(0, 0, nothing))),
				"refusal":     fields(may("type", words(16)), need("refusal", texts(0, 1<<20))),
			}))))),
		"function_call":        fields(may("type", words(32)), need("call_id", callID), need("name", toolName), need("arguments", asked), may("id", words(256)), may("status", words(32))),
		"function_call_output": fields(may("type", words(32)), need("call_id", callID), need("output", texts(0, 1<<24)), may("id", words(256)), may("status", words(32))),
		"reasoning": fields(may("type", words(32)), may("id", words(256)), may("status", words(32)), may("encrypted_content", texts(0, 1<<20)),
			need("summary", listOf(0, 64, fields(need("type", among("summary_text")), need("text", texts(0, 1<<20))))),
			may("content", listOf(0, 64, fields(need("type", among("reasoning_text")), need("text", texts(0, 1<<20)))))),
	})
)

// functionFields describe a function that the model may ask for.
func functionFields() []field {
	return []field{need("name", toolName), may("description", texts(0, 1<<14)), may("parameters", freely()), may("strict", flag)}
}

// jsonSchema are the fields of a schema that the answer is to have.
func jsonSchema() []field {
	return []field{need("name", toolName), may("description", texts(0, 1<<14)), may("schema", freely()), may("strict", flag)}
}

// A Request asks a language model for an answer.
type Request struct {
	Document
	API API
	// Unknown are the paths of the fields that the protocol does not have, in the
	// order in which they came. They are not written unless Admit lets them.
	Unknown []string

	weight int      // bytes in memory of what was read
	count  int      // of prompts, in an outline, which has none
	tools  []string // names of the functions that the model may ask for
}

// ParseRequest reads a request. The error is a Fault of kind Invalid.
func ParseRequest(api API, body []byte, lim Limits) (*Request, error) {
	return Count(body, lim).ParseRequest(api)
}

// ParseRequest is ParseRequest of the body that was counted.
func (c *Counted) ParseRequest(api API) (*Request, error) {
	defer c.free()
	r := &Request{API: api}
	root, size, f := weigh(c)
	if f == nil {
		r.root, r.weight = root, size
		f = r.check(c.path[:0])
	}
	if f != nil {
		err := f.error(pavise.Invalid)
		err.Model = r.Model()
		return nil, err
	}
	return r, nil
}

// check holds the request to its table, and to what no table says.
func (r *Request) check(path []step) *fault {
	c := checker{unknown: &r.Unknown, path: path}
	if f := c.check(&r.root, tables[r.API]); f != nil {
		return f
	}
	r.offer()
	n, some := r.Int("n")
	best, several := r.Int("best_of")
	switch {
	case r.Has("stream_options") && !r.Stream():
		return faultf("leave it out, or set stream", "an answer that is not streamed has no stream options").in("stream_options")
	case several && (best < n || r.Stream()):
		return faultf("best_of is at least n, and not for streams", "best_of is %d of %d", best, max(n, 1)).in("best_of")
	case r.Has("top_logprobs") && r.API == Chat && !r.Flag("logprobs"):
		return faultf("set logprobs, too", "top_logprobs needs logprobs").in("top_logprobs")
	case some && n > 1 && r.Prompts()*int(n) > maxPrompts:
		return faultf("ask for fewer", "%d choices for %d prompts are more than %d", n, r.Prompts(), maxPrompts).in("n")
	case r.API == Completions || r.API == Embeddings:
		return r.mixed()
	case r.API == Chat:
		return r.calls()
	}
	return nil
}

// offer notes the names of the functions that the request offers.
func (r *Request) offer() {
	list := r.root.get("tools")
	if list == nil {
		return
	}
	for i := range list.items {
		name := list.items[i].str("function.name")
		if r.API == Responses {
			name = list.items[i].str("name")
		}
		r.tools = append(r.tools, name)
	}
}

// offered refuses the call of a function that the request does not offer: who asked may
// carry out whatever comes.
func (r *Request) offered(name string) *fault {
	if slices.Contains(r.tools, name) {
		return nil
	}
	return faultf("", "a call of the function %q, which nobody offered", clip(name))
}

// mixed refuses a list that holds prompts in one form and in another.
func (r *Request) mixed() *fault {
	list := r.prompts()
	for i := range list {
		if list[i].kind != list[0].kind {
			return faultf("send prompts in one form", "%s stands beside %s", kindNames[list[i].kind], kindNames[list[0].kind]).item(i).in(r.promptName())
		}
	}
	return nil
}

// calls refuses the answer of a tool that was not asked for before it, or twice: a
// chat template has no place for it, and what it makes of it nobody knows. What clients
// send along that says nothing more is held to the rest and taken out: the place of a call,
// which the package openai leaves in what it gathers from a stream, the name of the function
// beside the answer to its call, and an empty list of calls, which some servers answer with.
func (r *Request) calls() *fault {
	var open []*value
	messages := r.root.get("messages").items
	for i := range messages {
		m := &messages[i].value
		var f *fault
		switch m.str("role") {
		case "assistant":
			open, f = m.asks()
		case "tool":
			open, f = m.answers(open)
		default:
			open = open[:0]
		}
		if f != nil {
			return f.item(i).in("messages")
		}
	}
	return nil
}

// asks returns the calls of tools in an assistant's message.
func (m *value) asks() (open []*value, f *fault) {
	calls := m.get("tool_calls")
	if calls != nil && len(calls.items) == 0 {
		m.drop("tool_calls")
		calls = nil
	}
	if calls == nil {
		if m.get("content") == nil && m.get("refusal") == nil {
			return nil, faultf("add content, a refusal or tool_calls", "a message that says nothing")
		}
		return nil, nil
	}
	for j := range calls.items {
		c := &calls.items[j].value
		if at, said := c.get("index").integer(); said && at != int64(j) {
			return nil, faultf("leave it out", "the call %d of the message", j).in("index").item(j).in("tool_calls")
		}
		c.drop("index")
		if slices.ContainsFunc(open, func(o *value) bool { return o.str("id") == c.str("id") }) { // nobody could tell which one an answer is of
			return nil, faultf("give each call an id of its own", "two tool calls have the id %q", clip(c.str("id"))).item(j).in("tool_calls")
		}
		open = append(open, c)
	}
	return open, nil
}

// answers takes the call that a tool's message answers out of those that are open.
func (m *value) answers(open []*value) ([]*value, *fault) {
	id := m.str("tool_call_id")
	at := slices.IndexFunc(open, func(o *value) bool { return o.str("id") == id })
	if at < 0 {
		return nil, faultf("let each answer of a tool follow the message that asks for it", "no tool call %q is open here", clip(id)).in("tool_call_id")
	}
	if name := m.get("name"); name != nil && m.str("name") != open[at].str("function.name") {
		return nil, faultf("leave it out", "the call %q is of another function", clip(id)).in("name")
	}
	m.drop("name")
	return slices.Delete(open, at, at+1), nil
}

// Model returns the name of the model that is asked.
func (r *Request) Model() string { return r.Text("model") }

// Weight returns how many bytes the request takes in memory, with the text that it was
// read from and as many as it is when it is written.
func (r *Request) Weight() int { return r.weight + r.Written() }

// Stream reports whether the answer is to come as events.
func (r *Request) Stream() bool { return r.Flag("stream") }

// Choices returns how many answers each prompt is to get, at least 1.
func (r *Request) Choices() int {
	n, _ := r.Int("n")
	return int(max(n, 1))
}

func (r *Request) promptName() string {
	if r.API == Completions {
		return "prompt"
	}
	return "input"
}

// prompts are the members of a prompt or input that is a list, of completions and
// embeddings.
func (r *Request) prompts() []member {
	if r.API != Completions && r.API != Embeddings {
		return nil
	}
	if v := r.root.get(r.promptName()); v != nil {
		return v.items
	}
	return nil
}

// Prompts returns how many prompts, or inputs to embed, the request holds. A list of
// tokens is one.
func (r *Request) Prompts() int {
	list := r.prompts()
	switch {
	case r.count > 0:
		return r.count
	case len(list) == 0 || list[0].kind == number:
		return 1
	}
	return len(list)
}

// outlined are the fields of an outline that is not of a response: of that the answer
// repeats all but the input.
var outlined = []string{"model", "stream", "stream_options", "n", "best_of", "dimensions", "encoding_format"}

// Outline returns what an answer is held to, without what was asked: a model takes longer
// to answer than anybody needs the prompt. It shares no memory with the request.
func (r *Request) Outline() *Request {
	o := &Request{API: r.API, count: r.Prompts()}
	for _, name := range r.tools {
		o.tools = append(o.tools, strings.Clone(name))
	}
	o.root.kind = object
	for i := range r.root.items {
		m := &r.root.items[i]
		keep := slices.Contains(outlined, m.name) || r.API == Responses && m.name != "input"
		if keep && !m.alien {
			o.root.items = append(o.root.items, member{strings.Clone(m.name), m.clone()})
		}
	}
	return o
}

// Rows returns what the request is charged as: an answer that a model has to make is
// one row, whether it is given out or not.
func (r *Request) Rows() int {
	best, _ := r.Int("best_of")
	return r.Prompts() * max(r.Choices(), int(best))
}

// Admit lets fields be written that the protocol does not have: those at the top of
// the request whose names are listed. What it lets pass is no longer unknown.
func (r *Request) Admit(names []string) {
	r.Unknown = slices.DeleteFunc(r.Unknown, func(path string) bool {
		v := r.root.get(path)
		if v == nil || !slices.Contains(names, path) {
			return false
		}
		for i := range r.root.items {
			if m := &r.root.items[i]; m.name == path {
				m.alien = false
			}
		}
		return true
	})
}

// Links returns the paths of what the model server would fetch from elsewhere, images
// that are named by an address: the first maxUnknown of them.
func (r *Request) Links() (list []string) {
	var path [8]step // as deep as images stand
	for _, name := range []string{"messages", "input"} {
		if v := r.root.get(name); v != nil && r.API != Embeddings {
			list = v.links(list, append(path[:0], step{name: name}))
		}
	}
	return list
}

// links adds the addresses of images in the value, which stands at path.
func (v *value) links(list []string, path []step) []string {
	for i := range v.items {
		m := &v.items[i]
		if m.kind != text {
			if len(m.items) > 0 {
				list = m.links(list, append(path, step{m.name, i, v.kind == array}))
			}
			continue
		}
		named := m.name == "image_url" || m.name == "url" && path[len(path)-1].name == "image_url"
		if named && strings.HasPrefix(m.text, "https://") && len(list) < maxUnknown {
			list = append(list, spell(append(path, step{m.name, i, v.kind == array})))
		}
	}
	return list
}

// Without takes strings out of the list at a path, and reports whether any was there:
// a list that becomes empty goes whole.
func (d *Document) Without(path string, names ...string) bool {
	v := d.root.at(path)
	if v == nil || v.kind != array {
		return false
	}
	had := len(v.items)
	v.items = slices.DeleteFunc(v.items, func(m member) bool { return slices.Contains(names, m.text) })
	if len(v.items) == 0 {
		d.Drop(path)
	}
	return len(v.items) < had
}

// String says what is asked for, in a few words.
func (r *Request) String() string {
	return fmt.Sprintf("%s of %s, %d rows", r.API, r.Model(), r.Rows())
}
