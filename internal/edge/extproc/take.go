package extproc

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	"github.com/pavise/pavise"
)

// known refuses messages with a field that this build does not know, for it could be
// what matters, and messages of a proxy that only watches.
func known(m *proc.ProcessingRequest) error {
	h, a := m.GetRequestHeaders(), m.GetResponseHeaders()
	for _, part := range []proto.Message{
		m, h, a, h.GetHeaders(), a.GetHeaders(), m.GetRequestBody(), m.GetResponseBody(),
		m.GetRequestTrailers(), m.GetResponseTrailers(), m.GetProtocolConfig(),
	} {
		if part.ProtoReflect().IsValid() && len(part.ProtoReflect().GetUnknown()) > 0 {
			return violation("a field that this version does not know")
		}
	}
	for _, b := range []*proc.HttpBody{m.GetRequestBody(), m.GetResponseBody()} {
		if b.GetEndOfStreamWithoutMessage() || b.GetGrpcMessageCompressed() || b.GetDrainComplete() {
			return violation("a body of a mode that was not agreed on")
		}
	}
	switch {
	case m.GetObservabilityMode():
		return violation("a filter in observability_mode, in which nobody heeds what is decided; a route can observe instead")
	case m.GetFlowControlInit() != nil || m.GetClientWindowUpdate() != nil:
		return violation("flow control that was not agreed on")
	case m.GetRequest() == nil:
		return violation("a message that says nothing")
	}
	return nil
}

// take acts on a message of the proxy.
func (x *session) take(m *proc.ProcessingRequest) error {
	if err := known(m); err != nil {
		return err
	}
	switch m := m.GetRequest().(type) {
	case *proc.ProcessingRequest_RequestBody:
		return x.takeBody(&x.asked, x.call.request, m.RequestBody)
	case *proc.ProcessingRequest_RequestTrailers:
		return x.takeTrailers(&x.asked, x.call.request, m.RequestTrailers.GetTrailers())
	case *proc.ProcessingRequest_ResponseHeaders:
		return x.takeAnswer(m.ResponseHeaders)
	case *proc.ProcessingRequest_ResponseBody:
		return x.takeBody(&x.answered, x.call.answer, m.ResponseBody)
	case *proc.ProcessingRequest_ResponseTrailers:
		return x.takeTrailers(&x.answered, x.call.answer, m.ResponseTrailers.GetTrailers())
	}
	return violation("a second header of a request")
}

// inOrder refuses what may not come now.
func (x *session) inOrder(h *half) error {
	switch {
	case !h.begun:
		return violation("a body or trailers before the header")
	case h.ended:
		return violation("something after the end of a body")
	case h == &x.asked && x.answered.begun:
		return violation("a request that goes on after its answer began")
	case !h.duplex() && (h.head || h.body):
		return violation("a part before we answered to the one before")
	}
	return nil
}

// errPart is why a body is refused of which the proxy shows a part.
var errPart = &pavise.Error{
	Kind: pavise.Invalid, Msg: "the proxy shows a part of the body only",
	Hint: "send less, and without trailers; the proxy's operator finds in docs/envoy.md how bodies are to be shown",
}

// errTrailers is why a body is refused that ends with trailers, in a mode that lets
// nothing go before them.
var errTrailers = &pavise.Error{
	Kind: pavise.Invalid, Msg: "trailers are not taken after a body that is shown in parts",
	Hint: "send none; the proxy's operator may set the mode FULL_DUPLEX_STREAMED",
}

func (x *session) takeBody(h *half, to *feed, b *proc.HttpBody) error {
	if err := x.inOrder(h); err != nil {
		return err
	}
	h.ended, h.body = b.GetEndOfStream(), !h.duplex()
	if h.whole() && !h.ended {
		return x.breakOff(h, to, errPart)
	}
	if len(b.GetBody()) > 0 {
		if err := x.feed(h, to, b.GetBody()); err != nil {
			return err
		}
	}
	if h.ended {
		close(to.parts)
	}
	return x.goOn(h)
}

func (x *session) takeTrailers(h *half, to *feed, trailers *core.HeaderMap) error {
	if err := x.inOrder(h); err != nil {
		return err
	}
	fields, err := fieldsOf(trailers)
	if err != nil {
		return err
	}
	h.ended, h.tail, h.tails = true, true, fields
	if !h.duplex() {
		return x.breakOff(h, to, errTrailers)
	}
	close(to.parts)
	return x.goOn(h)
}

// breakOff ends a body with an error, to which the handler answers in its own words.
func (x *session) breakOff(h *half, to *feed, err error) error {
	switch {
	case x.state == done:
		return x.finish()
	case h == &x.asked && x.state == asks:
		return x.decline()
	case x.state == h.reads(x):
		x.state = runs
	}
	to.fail(err)
	return nil
}

// reads is the state in which the handler waits for more of a half.
func (h *half) reads(x *session) state {
	if h == &x.asked {
		return readsBody
	}
	return readsAnswer
}

// feed gives a part to the handler if it still reads. Otherwise nobody will.
func (x *session) feed(h *half, to *feed, part []byte) error {
	if x.state != h.reads(x) {
		return nil
	}
	for {
		select {
		case to.parts <- part:
			x.state = runs
			return nil
		case e := <-x.call.events: // it had waited long enough, and does something else
			if err := x.heed(e); err != nil || x.over {
				return err
			}
			if x.state == done {
				return nil
			}
		case <-x.call.ctx.Done():
			return context.Cause(x.call.ctx)
		}
	}
}

// goOn has what was fed taken further: by the handler, if it waits for this half, or by
// us, if it does not any more.
func (x *session) goOn(h *half) error {
	switch {
	case x.over:
		return nil
	case x.state == done:
		return x.finish()
	case x.state == h.reads(x) && h.ended:
		x.state = runs // it reads the end
	case x.state == h.reads(x):
		return x.acknowledge(h) // an empty part; it waits for the next
	case h == &x.asked && x.state == asks && h.ended:
		return x.forward()
	case h == &x.asked && x.state == asks:
		return x.acknowledge(h) // the handler has read enough
	}
	return nil
}

// takeAnswer begins the second half: the model has answered, or the proxy by itself.
func (x *session) takeAnswer(m *proc.HttpHeaders) error {
	fields, err := fieldsOf(m.GetHeaders())
	if err != nil {
		return err
	}
	status, header, err := statusOf(fields)
	switch {
	case err != nil:
		return err
	case x.answered.begun:
		return violation("a second answer")
	case !x.forwarded && status < 400:
		return violation("an answer to a request that we did not let through")
	}
	x.answered.begun, x.answered.head, x.answered.fields = true, true, fields
	x.answered.ended, x.answered.empty = m.GetEndOfStream(), m.GetEndOfStream()
	if !x.forwarded { // the proxy, or a filter of it, answers for itself: a body that is too large, for example
		x.call.stop(errGone)
		return x.instead(status)
	}
	x.status, x.call.answer = status, newFeed(x.call.question.ctx, x.call.events, wantsAnswer)
	if x.state == done {
		return x.finish()
	}
	a := &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: header, ContentLength: -1, Body: x.call.answer,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if x.answered.ended {
		close(x.call.answer.parts)
	}
	return x.deliver(a)
}

// deliver hands the model's answer to the handler, if it still waits.
func (x *session) deliver(a *http.Response) error {
	select {
	case x.call.answers <- a:
		x.state = runs
		return nil
	case e := <-x.call.events:
		return x.heed(e)
	case <-x.call.ctx.Done():
		return context.Cause(x.call.ctx)
	}
}

// instead answers where the proxy answered by itself: with its status, and no word of it.
func (x *session) instead(status int) error {
	x.over = true
	header := http.Header{"Content-Type": {"application/json"}}
	what := cmp.Or(strings.ToLower(http.StatusText(status)), "status "+strconv.Itoa(status))
	body := []byte(`{"error":"` + what + `: the proxy did not let the request through"}`)
	return x.send(&proc.ProcessingResponse{Response: &proc.ProcessingResponse_ImmediateResponse{ImmediateResponse: immediate(status, header, body)}})
}
