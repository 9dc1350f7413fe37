package chat

import (
	"strings"
)

// chunks are what the events of chat and completions look like.
var chunks = map[API]*shape{
	Chat: fields(
		need("id", ident), need("object", among("chat.completion.chunk")), need("created", created), need("model", ident),
		need("choices", listOf(0, 128, fields(need("index", ints(0, 127)), need("delta", delta), may("finish_reason", orNull(ended)), may("logprobs", chatLogprobs)))),
		may("usage", tokenUsage), may("system_fingerprint", orNull(words(256))), may("service_tier", orNull(words(64))), may("obfuscation", texts(0, 1<<12))),
	Completions: fields(
		need("id", ident), need("object", among("text_completion")), need("created", created), need("model", ident),
		need("choices", listOf(0, maxPrompts, fields(need("index", ints(0, maxPrompts-1)), need("text", prose), may("finish_reason", orNull(ended)), may("logprobs", textLogprobs), may("prompt_logprobs", orNull(free))))),
		may("usage", tokenUsage), may("system_fingerprint", orNull(words(256))), may("obfuscation", texts(0, 1<<12))),
}

// delta is what one event adds to a choice.
var delta = fields(
	may("role", among("assistant")), may("content", prose), may("refusal", prose), may("reasoning_content", prose), may("reasoning", prose),
	may("tool_calls", listOf(0, maxCalls, fields(need("index", ints(0, maxCalls-1)), may("id", callID), may("type", among("function")),
		may("function", fields(may("name", toolName), may("arguments", asked)))))))

const maxCalls = 128 // tool calls of one choice

// steps are what the events of a response look like, by their type. Others are
// dropped.
var steps = map[string]*shape{
	"response.created":     whole(),
	"response.queued":      whole(),
	"response.in_progress": whole(),
	"response.completed":   whole(),
	"response.incomplete":  whole(),

	"response.output_item.added":             atItem(need("item", output)),
	"response.output_item.done":              atItem(need("item", output)),
	"response.content_part.added":            inPart(need("part", part)),
	"response.content_part.done":             inPart(need("part", part)),
	"response.output_text.delta":             inPart(need("delta", prose), may("logprobs", listOf(0, 1<<16, logprob)), may("obfuscation", texts(0, 1<<12))),
	"response.output_text.done":              inPart(need("text", prose), may("logprobs", listOf(0, 1<<16, logprob))),
	"response.output_text.annotation.added":  inPart(need("annotation_index", ints(0, 1<<16)), need("annotation", freely())),
	"response.refusal.delta":                 inPart(need("delta", prose), may("obfuscation", texts(0, 1<<12))),
	"response.refusal.done":                  inPart(need("refusal", prose)),
	"response.function_call_arguments.delta": atItem(need("item_id", ident), need("delta", prose), may("obfuscation", texts(0, 1<<12))),
	"response.function_call_arguments.done":  atItem(need("item_id", ident), need("arguments", asked), may("name", toolName)),

	"response.reasoning_text.delta":         inPart(need("delta", prose), may("obfuscation", texts(0, 1<<12))),
	"response.reasoning_text.done":          inPart(need("text", prose)),
	"response.reasoning_summary_part.added": inSummary(need("part", summary)),
	"response.reasoning_summary_part.done":  inSummary(need("part", summary)),
	"response.reasoning_summary_text.delta": inSummary(need("delta", prose), may("obfuscation", texts(0, 1<<12))),
	"response.reasoning_summary_text.done":  inSummary(need("text", prose)),
}

func numbered(list ...field) *shape {
	return fields(append(list, need("type", ident), may("sequence_number", count))...)
}

func whole() *shape { return numbered(need("response", response)) }

func atItem(list ...field) *shape {
	return numbered(append(list, need("output_index", ints(0, 1023)))...)
}

func inPart(list ...field) *shape {
	return atItem(append(list, need("item_id", ident), need("content_index", ints(0, 1023)))...)
}

func inSummary(list ...field) *shape {
	return atItem(append(list, need("item_id", ident), need("summary_index", ints(0, 1023)))...)
}

// An Event is one event of a streamed answer.
type Event struct {
	Document
	Name string // of events that have one: those of a response
	// Closing is true for the events from which on an answer is whole: a caller who
	// has them has everything.
	Closing bool
	done    bool // the mark [DONE], which is no JSON
}

// Thought reports whether an event is nothing but a model's own thoughts.
func (e *Event) Thought() bool { return strings.HasPrefix(e.Name, "response.reasoning_") }

// Empty reports whether an event of chat says nothing: its thoughts were taken out,
// or the usage that nobody asked for.
func (e *Event) Empty() bool {
	choices := e.root.get("choices")
	if e.done || choices == nil || e.Has("usage") {
		return false
	}
	for i := range choices.items {
		c := &choices.items[i].value
		if d := c.get("delta"); d == nil || len(d.items) > 0 || c.str("finish_reason") != "" {
			return false
		}
	}
	return true
}

// AppendSSE appends the event as the stream carries it.
func (e *Event) AppendSSE(dst []byte) []byte {
	if e.done {
		return append(dst, "data: [DONE]\n\n"...)
	}
	if e.Name != "" {
		dst = append(append(append(dst, "event: "...), e.Name...), '\n')
	}
	dst = e.AppendJSON(append(dst, "data: "...))
	return append(dst, "\n\n"...)
}

// Failure returns the event that tells a caller that a stream breaks off: after it
// nothing comes. seq numbers it among the events of a response.
func Failure(api API, msg, class, code string, seq int64) *Event {
	e := &Event{}
	if api == Responses {
		e.Name = "error"
		e.root = value{kind: object, items: []member{
			{"type", ofText("error")}, {"code", ofText(code)}, {"message", ofText(msg)}, {"param", value{}}, {"sequence_number", ofInt(seq)},
		}}
		return e
	}
	e.root = value{kind: object, items: []member{{"error", errorValue(msg, class, "", code)}}}
	return e
}
