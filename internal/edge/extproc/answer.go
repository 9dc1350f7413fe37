package extproc

import (
	"cmp"
	"encoding/json"
	"mime"
	"net/http"

	mode "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/pavise/pavise"
)

// refusal spells an error that is answered without the handler.
func refusal(e *pavise.Error) (status int, header http.Header, body []byte) {
	msg := e.Msg
	if e.Hint != "" {
		msg += "; " + e.Hint
	}
	body, _ = json.Marshal(map[string]string{"error": msg}) // two strings always encode
	return e.Kind.HTTPStatus(), http.Header{"Content-Type": {"application/json"}}, body
}

// heed acts on what the handler does.
func (x *session) heed(e event) error {
	switch e {
	case wantsBody:
		if x.asked.ended {
			return nil // it is about to read the end
		}
		x.state = readsBody
		return x.acknowledge(&x.asked)
	case asksModel:
		x.state = asks
		if x.asked.ended {
			return x.forward()
		}
		return x.acknowledge(&x.asked)
	case wantsAnswer:
		if x.answered.ended {
			return nil
		}
		x.state = readsAnswer
		return x.acknowledge(&x.answered)
	case wrote:
		return x.push()
	}
	x.state = done
	return x.finish()
}

// acknowledge lets the proxy send the next part, where it waits for our word on the one
// before: with nothing in its place, or with what the handler has made of it.
func (x *session) acknowledge(h *half) error {
	switch {
	case h == &x.answered && h.duplex():
		return x.push()
	case h.duplex():
		return nil
	case h.head:
		h.head = false
		return x.acknowledgeHead(h)
	case h.body && h == &x.asked:
		h.body = false
		return x.send(requestBody(&proc.CommonResponse{BodyMutation: replaced(nil)}))
	case h.body:
		h.body = false
		return x.send(responseBody(&proc.CommonResponse{BodyMutation: replaced(x.call.writer.take())}))
	}
	return nil
}

// acknowledgeHead lets the body come. The header loses what must not go on with it; that
// of an answer that the proxy keeps for the body does so then.
func (x *session) acknowledgeHead(h *half) error {
	common := &proc.CommonResponse{}
	if h == &x.asked {
		common.HeaderMutation = strip(x.fields, append([]string{"content-type"}, passed...), nil)
		return x.send(&proc.ProcessingResponse{Response: &proc.ProcessingResponse_RequestHeaders{RequestHeaders: &proc.HeadersResponse{Response: common}}})
	}
	m := &proc.ProcessingResponse{}
	events := x.status == http.StatusOK && isEvents(h.fields)
	if h.mode == mode.ProcessingMode_BUFFERED && events {
		// As it comes, if the proxy heeds us, and whole if it does not.
		h.mode, m.ModeOverride = mode.ProcessingMode_STREAMED, &mode.ProcessingMode{ResponseBodyMode: mode.ProcessingMode_STREAMED}
	}
	if !h.whole() {
		code, header := x.call.writer.head()
		if code == 0 { // what it will be nobody knows yet, and what the model calls it does not count
			if x.media = mediaJSON; events {
				x.media = mediaEvents
			}
			header = http.Header{"Content-Type": {x.media}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}}
		}
		common.HeaderMutation = strip(h.fields, nil, header)
	}
	m.Response = &proc.ProcessingResponse_ResponseHeaders{ResponseHeaders: &proc.HeadersResponse{Response: common}}
	return x.send(m)
}

// The media types of answers in parts.
const (
	mediaJSON   = "application/json"
	mediaEvents = "text/event-stream"
)

// mistold reports whether the header that went out says another media type than the
// handler's own: then nobody could read the answer, tensors in binary above all.
func (x *session) mistold(header http.Header) bool {
	return x.media != "" && header.Get("Content-Type") != x.media
}

// isEvents reports whether an answer is a stream of events.
func isEvents(fields []field) bool {
	for _, f := range fields {
		if f.name == "content-type" {
			media, _, err := mime.ParseMediaType(f.value)
			return err == nil && media == mediaEvents
		}
	}
	return false
}

// forward lets the request go to the model, as the handler encoded it.
func (x *session) forward() error {
	q := x.call.question
	set := withLength(q.header, q.body)
	if q.path != x.path {
		set[":path"] = []string{q.path}
	}
	// The proxy looks for the server anew, by the path that is asked: how the caller wrote
	// it must not lead elsewhere.
	common := &proc.CommonResponse{HeaderMutation: strip(x.fields, passed, set), ClearRouteCache: q.path != x.path}
	var out []*proc.ProcessingResponse
	switch h := &x.asked; {
	case h.duplex() && !h.empty:
		out = append(out, &proc.ProcessingResponse{Response: &proc.ProcessingResponse_RequestHeaders{RequestHeaders: &proc.HeadersResponse{Response: common}}})
		for _, p := range parts(q.body, !h.tail) {
			out = append(out, requestBody(p))
		}
		if h.tail {
			out = append(out, &proc.ProcessingResponse{Response: &proc.ProcessingResponse_RequestTrailers{
				RequestTrailers: &proc.TrailersResponse{HeaderMutation: strip(h.tails, nil, nil)},
			}})
		}
	case h.whole() && h.body:
		common.BodyMutation = replaced(q.body)
		out = append(out, requestBody(common))
	case h.body && q.path == x.path: // the header is on its way already
		out = append(out, requestBody(&proc.CommonResponse{BodyMutation: replaced(q.body)}))
	default:
		return x.decline()
	}
	x.asked.head, x.asked.body, x.asked.tail, x.forwarded = false, false, false, true
	for _, m := range out {
		if err := x.send(m); err != nil {
			return err
		}
	}
	return nil
}

// errOtherwise is why a question is not put in a mode in which the header is gone already.
var errOtherwise = &pavise.Error{
	Kind: pavise.Unavailable, Msg: "the proxy cannot ask the model otherwise than the caller asked",
	Hint: "ask without a query; a route to another name or another protocol takes ext_proc in the mode BUFFERED or FULL_DUPLEX_STREAMED",
}

// decline tells the handler that its question cannot be put in the proxy's mode.
func (x *session) decline() error {
	x.call.refused <- errOtherwise
	x.state = runs
	return nil
}

// push sends what the handler has written, in the modes that let it.
func (x *session) push() error {
	h := &x.answered
	code, header := x.call.writer.head()
	switch {
	case !h.begun || h.whole() || h.empty || code == 0:
		return nil
	case h.head && code != x.status:
		return nil // it is answered for at the end
	case !h.duplex() && h.head:
		h.head = false
		return x.acknowledgeHead(h)
	case !h.duplex():
		return nil
	case h.head:
		h.head = false
		if err := x.send(responseHead(strip(h.fields, nil, header), header)); err != nil {
			return err
		}
	}
	for _, p := range parts(x.call.writer.take(), false) {
		if err := x.send(responseBody(p)); err != nil {
			return err
		}
	}
	return nil
}

// finish says what the handler answered, once it is gone.
func (x *session) finish() error {
	h := &x.answered
	code, header := x.call.writer.head()
	code = cmp.Or(code, http.StatusOK)
	switch {
	case !x.forwarded || !h.begun || code != x.status || h.head && !h.duplex() || h.whole() && !h.body || h.empty || x.mistold(header):
		return x.immediate()
	case h.duplex():
		return x.finishDuplex(header)
	case h.whole():
		body := x.call.writer.take()
		x.over, h.body = true, false
		m := responseBody(&proc.CommonResponse{HeaderMutation: strip(h.fields, nil, withLength(header, body)), BodyMutation: replaced(body)})
		m.DynamicMetadata = told(header, "answered")
		return x.send(m)
	case h.body:
		h.body, x.over = false, h.ended
		m := responseBody(&proc.CommonResponse{BodyMutation: replaced(x.call.writer.take())})
		m.DynamicMetadata = told(header, "answered")
		return x.send(m)
	case h.tail:
		return x.immediate() // nothing may be sent before the trailers
	}
	return nil // the rest goes out in the place of what comes yet
}

// finishDuplex sends what is left. The end is said when the model's answer has ended.
func (x *session) finishDuplex(header http.Header) error {
	h, body := &x.answered, x.call.writer.take()
	if h.head {
		h.head = false
		if h.ended {
			header = withLength(header, body)
		}
		if err := x.send(responseHead(strip(h.fields, nil, header), header)); err != nil {
			return err
		}
	}
	for _, p := range parts(body, h.ended && !h.tail) {
		if err := x.send(responseBody(p)); err != nil {
			return err
		}
	}
	if x.over = h.ended; h.tail {
		return x.send(&proc.ProcessingResponse{Response: &proc.ProcessingResponse_ResponseTrailers{
			ResponseTrailers: &proc.TrailersResponse{HeaderMutation: strip(h.tails, nil, nil)},
		}})
	}
	return nil
}

func requestBody(c *proc.CommonResponse) *proc.ProcessingResponse {
	return &proc.ProcessingResponse{Response: &proc.ProcessingResponse_RequestBody{RequestBody: &proc.BodyResponse{Response: c}}}
}

func responseBody(c *proc.CommonResponse) *proc.ProcessingResponse {
	return &proc.ProcessingResponse{Response: &proc.ProcessingResponse_ResponseBody{ResponseBody: &proc.BodyResponse{Response: c}}}
}

func responseHead(mutation *proc.HeaderMutation, header http.Header) *proc.ProcessingResponse {
	return &proc.ProcessingResponse{
		Response:        &proc.ProcessingResponse_ResponseHeaders{ResponseHeaders: &proc.HeadersResponse{Response: &proc.CommonResponse{HeaderMutation: mutation}}},
		DynamicMetadata: told(header, "answered"),
	}
}
