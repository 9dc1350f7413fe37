package chat

import (
	"bytes"
	"io"
	"strings"

	"github.com/pavise/pavise"
)

// A Stream reads an answer that comes as server-sent events (WHATWG HTML, 9.2). It
// holds every event to its table, and all of them to the request and to each other: a
// server may lie in each, and never end. How long it may take is for whoever reads
// from it to bound. One goroutine owns it.
type Stream struct {
	request *Request
	lim     Limits
	lines   lines
	read    int  // bytes so far
	ended   bool // the last event was returned

	choices  []choice // of chat and completions, by index
	finished int      // of them
	id       string   // of the answer, which does not change
	items    int      // of a response's output, so far
	begun    bool     // a response's first event was there
}

// A choice is what is known of one answer of several.
type choice struct {
	finished bool
	calls    int // tool calls begun
}

// NewStream reads the streamed answer to a request.
func NewStream(r *Request, from io.Reader, lim Limits) *Stream {
	s := &Stream{request: r, lim: lim, lines: lines{from: from}}
	if r.API != Responses {
		s.choices = make([]choice, r.Prompts()*r.Choices())
	}
	return s
}

// Next returns the next event that the protocol knows; io.EOF after the last one. The
// error is of kind Unavailable when the server breaks off, says that something went
// wrong, or does not speak the protocol. What it said is for our logs.
func (s *Stream) Next() (*Event, error) {
	for !s.ended {
		name, data, err := s.frame()
		if err != nil {
			return nil, err
		}
		if data == nil {
			continue
		}
		e, err := s.event(name, data)
		if err != nil || s.ended {
			s.lines.free()
		}
		if err != nil || e != nil {
			return e, err
		}
	}
	return nil, io.EOF
}

// frame reads lines up to an empty one. Data is nil when there was none.
func (s *Stream) frame() (name string, data []byte, err error) {
	size := 0
	for {
		line, err := s.line()
		if err != nil {
			return "", nil, err
		}
		if size += len(line); size > s.lim.MaxEvent {
			return "", nil, complain("has an event of more than %d bytes", s.lim.MaxEvent)
		}
		if len(line) == 0 {
			return name, data, nil
		}
		field, rest, _ := bytes.Cut(line, []byte(":"))
		rest = bytes.TrimPrefix(rest, []byte(" "))
		switch string(field) {
		case "data":
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, rest...)
		case "event":
			name = string(rest)
		case "", "id", "retry": // comments, and what is for browsers
		default:
			return "", nil, complain("has a line that no stream of events has")
		}
	}
}

// line reads one line, without its end.
func (s *Stream) line() ([]byte, error) {
	var long []byte
	for {
		part, err := s.lines.next()
		if s.read += len(part); s.read > s.lim.MaxStream {
			return nil, complain("is longer than %d bytes", s.lim.MaxStream)
		}
		if len(long)+len(part) > s.lim.MaxEvent+2 {
			return nil, complain("has an event of more than %d bytes", s.lim.MaxEvent)
		}
		switch {
		case err == nil && part[len(part)-1] != '\n':
			long = append(long, part...)
			continue
		case err != nil:
			s.lines.free()
			if err == io.EOF { // to whoever asks for the next event, that is the proper end
				err = io.ErrUnexpectedEOF
			}
			return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "the model server broke off its answer", Hint: "retry; what came of the answer is not the whole", Err: err}
		case long != nil:
			part = append(long, part...)
		}
		part = bytes.TrimSuffix(bytes.TrimSuffix(part, []byte("\n")), []byte("\r"))
		if bytes.IndexByte(part, '\r') >= 0 {
			return nil, complain("has a bare carriage return, which some take for the end of a line")
		}
		return part, nil
	}
}

// event reads what a frame holds. It is nil for one that the protocol does not know.
func (s *Stream) event(name string, data []byte) (*Event, error) {
	if s.request.API != Responses && string(data) == "[DONE]" {
		s.ended = true
		return &Event{done: true, Closing: true}, nil
	}
	lim := s.lim
	lim.MaxBody = lim.MaxEvent
	e := &Event{}
	root, f := parse(data, lim)
	skip := false
	switch e.root = root; {
	case f != nil:
	case s.failed(name, e):
		return nil, &pavise.Error{
			Kind: pavise.Unavailable, Msg: "the model server broke off its answer with an error",
			Hint: "retry; if it stays so, the operator should look at the server behind the route",
		}
	case s.request.API == Responses:
		skip, f = s.step(name, e)
	default:
		f = s.chunk(e)
	}
	if f != nil {
		return nil, f.error(pavise.Unavailable)
	}
	if skip {
		return nil, nil
	}
	return e, nil
}

// failed reports whether the server gave up. What it says of that is for its operator.
func (s *Stream) failed(name string, e *Event) bool {
	if s.request.API != Responses {
		return name == "error" || e.root.get("error") != nil
	}
	kind := e.Text("type")
	return name == "error" || kind == "error" || kind == "response.failed"
}

// chunk checks an event of chat or completions.
func (s *Stream) chunk(e *Event) *fault {
	c := checker{answer: true}
	if f := c.check(&e.root, chunks[s.request.API]); f != nil {
		return f
	}
	if s.id == "" {
		s.id = strings.Clone(e.Text("id")) // else the stream would hold on to all of its first event
	}
	if e.Text("id") != s.id {
		return faultf("", "an event of another answer").in("id")
	}
	e.SetText("model", s.request.Model())
	if !s.request.Flag("stream_options.include_usage") {
		e.Drop("usage")
	}
	list := e.root.get("choices")
	for i := range list.items {
		if f := s.choice(&list.items[i].value); f != nil {
			return f.item(i).in("choices")
		}
	}
	e.Closing = s.finished == len(s.choices)
	return nil
}

// choice follows what one event adds to one answer.
func (s *Stream) choice(v *value) *fault {
	index, _ := v.get("index").integer()
	if index >= int64(len(s.choices)) {
		return faultf("", "index %d of %d that were asked", index, len(s.choices))
	}
	c := &s.choices[index]
	if c.finished {
		return faultf("", "something after the end of choice %d", index)
	}
	if v.str("finish_reason") != "" {
		c.finished = true
		s.finished++
	}
	calls := v.at("delta.tool_calls")
	if calls == nil {
		return nil
	}
	for i := range calls.items {
		call := &calls.items[i].value
		n, _ := call.get("index").integer()
		switch {
		case n > int64(c.calls):
			return faultf("", "tool call %d begins after %d", n, c.calls)
		case n < int64(c.calls) && call.at("function.name") != nil: // clients would add it to the first
			return faultf("", "tool call %d is named twice", n)
		case n < int64(c.calls):
		case call.str("id") == "" || call.str("function.name") == "":
			return faultf("", "tool call %d begins without an id or a name", n)
		default:
			if f := s.request.offered(call.str("function.name")); f != nil {
				return f
			}
			c.calls++
		}
	}
	return nil
}

// step checks an event of a response. It is to be skipped when the protocol does not
// have it.
func (s *Stream) step(name string, e *Event) (skip bool, f *fault) {
	kind := e.Text("type")
	if name != "" && name != kind {
		return false, faultf("", "an event of two types, %q and %q", clip(name), clip(kind)).in("type")
	}
	shape := steps[kind]
	if shape == nil {
		return true, nil
	}
	c := checker{answer: true}
	if f := c.check(&e.root, shape); f != nil {
		return false, f
	}
	if first := kind == "response.created"; first == s.begun {
		return false, faultf("", "an event before the response was created, or its creation twice").in("type")
	}
	s.begun = true
	e.Name = kind
	if v := e.root.get("response"); v != nil {
		if s.id == "" {
			s.id = strings.Clone(v.str("id")) // as in chunk
		}
		if v.str("id") != s.id {
			return false, faultf("", "an event of another response").in("id").in("response")
		}
		if f := s.request.offeredItems(v.get("output")); f != nil {
			return false, f.in("output").in("response")
		}
		v.echo(s.request)
	}
	if name := e.root.get("name"); name != nil {
		if f := s.request.offered(name.text); f != nil {
			return false, f.in("name")
		}
	}
	if item := e.root.get("item"); item != nil {
		if f := s.request.offeredItem(item); f != nil {
			return false, f.in("item")
		}
	}
	s.ended = kind == "response.completed" || kind == "response.incomplete"
	e.Closing = s.ended
	return false, s.place(kind, e)
}

// place holds an event to the items of the output that there are.
func (s *Stream) place(kind string, e *Event) *fault {
	index, ok := e.Int("output_index")
	switch {
	case !ok:
	case kind == "response.output_item.added" && index == int64(s.items):
		s.items++
	case kind == "response.output_item.added", index >= int64(s.items):
		return faultf("", "item %d of an output of %d", index, s.items).in("output_index")
	}
	return nil
}
