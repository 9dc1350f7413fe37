package extproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	mode "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/pavise/pavise"
)

// A violation is what a proxy did that its protocol does not know.
type violation string

func (v violation) Error() string { return "the proxy does not keep to its protocol: " + string(v) }

// A state is what the handler of a session waits for.
type state int

const (
	runs        state = iota // for nothing
	readsBody                // more of the request's body
	asks                     // the answer to its question
	readsAnswer              // more of the model's answer
	done                     // it is gone
)

// A session is one exchange, on the stream that a proxy opened for it. One goroutine
// owns it. It turns the proxy's messages into what the handler waits for and what the
// handler does into the answers that the proxy waits for, in the order that the
// proxy's mode demands.
type session struct {
	server *Server
	stream proc.ExternalProcessor_ProcessServer
	call   *call
	state  state
	in     chan *proc.ProcessingRequest

	asked, answered half
	fields          []field // of the request
	path            string  // of the request, as it came
	status          int     // of the model's answer
	media           string  // of the answer, where the header went out before the handler knew its own; else ""
	forwarded       bool    // the model is asked
	over            bool    // all is said
}

// A half is one direction of an exchange.
type half struct {
	mode   mode.ProcessingMode_BodySendMode
	begun  bool    // its header came
	ended  bool    // its last part came
	empty  bool    // it was all header: there is nothing that a body could take the place of
	head   bool    // the header waits for our answer
	body   bool    // a part of the body does; never where both sides stream
	tail   bool    // the trailers do
	fields []field // of its header
	tails  []field // of its trailers
}

// duplex reports whether both sides stream, each as it likes.
func (h *half) duplex() bool { return h.mode == mode.ProcessingMode_FULL_DUPLEX_STREAMED }

// whole reports whether the body comes in one part.
func (h *half) whole() bool { return !h.duplex() && h.mode != mode.ProcessingMode_STREAMED }

// Process serves one exchange: envoy.service.ext_proc.v3.ExternalProcessor. It ends
// without an error only when all is said: an Envoy takes that for leave to go on alone.
func (s *Server) Process(stream proc.ExternalProcessor_ProcessServer) error {
	err := s.process(stream)
	var v violation
	switch {
	case err == nil:
		return nil
	case errors.As(err, &v):
		s.cfg.Refused(proxyOf(stream.Context()), err.Error())
		return status.Error(codes.InvalidArgument, err.Error())
	case pavise.KindOf(err) == pavise.Throttled:
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}

func (s *Server) process(stream proc.ExternalProcessor_ProcessServer) error {
	if !s.enter() {
		return s.tooMany(stream)
	}
	defer s.leave()
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(stream.Context()), maxLife, errors.New("the exchange took too long"))
	defer cancel()
	x := &session{server: s, stream: stream, call: newCall(ctx), in: make(chan *proc.ProcessingRequest)}
	defer x.call.cancel(nil)
	go x.receive()
	first, err := x.first()
	if err != nil {
		return err
	}
	if err := x.open(first); err != nil {
		return x.refuse(err)
	}
	err = x.run()
	x.call.stop(err)
	return err
}

// tooMany refuses an exchange before it is looked at.
func (s *Server) tooMany(stream proc.ExternalProcessor_ProcessServer) error {
	e := &pavise.Error{Kind: pavise.Throttled, Msg: fmt.Sprintf("%d exchanges of proxies are under way, which is all there may be", s.cfg.MaxOpen), Hint: "try again"}
	_, header, body := refusal(e)
	header.Set("Retry-After", "1")
	answer := immediate(http.StatusServiceUnavailable, header, body)
	if err := stream.Send(&proc.ProcessingResponse{Response: &proc.ProcessingResponse_ImmediateResponse{ImmediateResponse: answer}}); err != nil {
		return fmt.Errorf("answer the proxy: %w", err)
	}
	return e
}

// proxyOf is the address of the proxy on a stream.
func proxyOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "proxy"
	}
	if host, _, err := net.SplitHostPort(p.Addr.String()); err == nil {
		return host
	}
	return p.Addr.String()
}

// errGone is why an exchange ends whose proxy went away.
var errGone = errors.New("the proxy gave the exchange up")

// receive takes messages off the stream, one at a time, until it or the session ends.
func (x *session) receive() {
	for {
		m, err := x.stream.Recv()
		if err != nil {
			close(x.in)
			return
		}
		n := protobuf.Size(m) // attributes and fields, too
		if !x.server.hold(n) {
			x.call.cancel(&pavise.Error{Kind: pavise.Throttled, Msg: "the bodies of the exchanges under way are too large together"})
			return
		}
		select {
		case x.in <- m:
			x.server.release(n)
		case <-x.call.ctx.Done():
			x.server.release(n)
			return
		}
	}
}

// first waits for the first message.
func (x *session) first() (*proc.ProcessingRequest, error) {
	select {
	case m, ok := <-x.in:
		if !ok {
			return nil, errGone
		}
		return m, nil
	case <-x.call.ctx.Done():
		return nil, context.Cause(x.call.ctx)
	case <-time.After(firstTime):
		return nil, violation("a stream without a message")
	}
}

// open reads the first message, and starts the handler on what it says.
func (x *session) open(m *proc.ProcessingRequest) error {
	if err := known(m); err != nil {
		return err
	}
	h := m.GetRequestHeaders()
	if h == nil {
		return violation("an exchange that does not begin with the header of a request")
	}
	fields, err := fieldsOf(h.GetHeaders())
	if err != nil {
		return err
	}
	x.fields, x.asked.begun, x.asked.head = fields, true, true
	x.asked.ended, x.asked.empty = h.GetEndOfStream(), h.GetEndOfStream()
	r, err := requestOf(fields)
	if err != nil {
		return err
	}
	if err := x.modes(m.GetProtocolConfig()); err != nil {
		return err
	}
	if r.RemoteAddr = sourceOf(addressIn(m), r.Header, proxyOf(x.stream.Context())); x.server.cfg.TrustCertificates {
		if r.TLS, err = callerOf(r.Header); err != nil {
			return err
		}
	}
	if x.path = r.RequestURI; x.asked.ended {
		r.ContentLength = 0
	} else {
		r.Body = x.call.request
	}
	x.call.start(x.server.cfg.Handler, r)
	return nil
}

// addressIn is the attribute source.address, where the filter is set to send it.
func addressIn(m *proc.ProcessingRequest) string {
	for _, group := range m.GetAttributes() {
		if v := group.GetFields()["source.address"]; v != nil {
			return v.GetStringValue()
		}
	}
	return ""
}

// modes reads in which way bodies will come, and refuses those in which something
// could go past us.
func (x *session) modes(c *proc.ProtocolConfiguration) error {
	unusable := func(what, hint string) error {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the proxy " + what, Hint: "its operator sets processing_mode of the filter: " + hint}
	}
	if c == nil {
		return unusable("does not say how it sends bodies", "an Envoy from 1.34 on, or an agentgateway, does")
	}
	x.asked.mode, x.answered.mode = c.GetRequestBodyMode(), c.GetResponseBodyMode()
	for _, m := range []mode.ProcessingMode_BodySendMode{x.asked.mode, x.answered.mode} {
		if m < mode.ProcessingMode_NONE || m > mode.ProcessingMode_FULL_DUPLEX_STREAMED || m == mode.ProcessingMode_BUFFERED_PARTIAL {
			return unusable("sends bodies in a way that is not taken, "+m.String(), "BUFFERED or FULL_DUPLEX_STREAMED")
		}
	}
	switch {
	case c.GetSendBodyWithoutWaitingForHeaderResponse() && x.asked.mode == mode.ProcessingMode_STREAMED:
		return unusable("sends a body before the header is looked at", "send_body_without_waiting_for_header_response: false")
	case x.asked.mode == mode.ProcessingMode_NONE && !x.asked.ended: // it would go on behind its header, and whether a ModeOverride is heeded nobody tells us before
		return unusable("does not show what callers send", "request_body_mode: BUFFERED or FULL_DUPLEX_STREAMED")
	case x.answered.mode == mode.ProcessingMode_NONE:
		return unusable("does not show what models answer", "response_body_mode: BUFFERED or FULL_DUPLEX_STREAMED")
	}
	return nil
}

// refuse answers a request that no handler can be given.
func (x *session) refuse(err error) error {
	var v violation
	if errors.As(err, &v) {
		return err
	}
	x.server.cfg.Refused(proxyOf(x.stream.Context()), "a request that cannot be inspected")
	e := &pavise.Error{}
	if !errors.As(err, &e) {
		return err
	}
	code, header, body := refusal(e)
	if err := x.send(&proc.ProcessingResponse{Response: &proc.ProcessingResponse_ImmediateResponse{ImmediateResponse: immediate(code, header, body)}}); err != nil {
		return err
	}
	return x.close()
}

// errEndless is why an answer breaks off of which nobody wants more.
var errEndless = errors.New("the model's answer does not end")

// run drives the exchange until all is said and the proxy has ended the stream.
func (x *session) run() error {
	var late <-chan time.Time
	for !x.over {
		var in chan *proc.ProcessingRequest
		if x.state != runs {
			in = x.in
		}
		if x.state == done && late == nil {
			late = time.After(closingTime)
		}
		var err error
		select {
		case e := <-x.call.events:
			err = x.heed(e)
		case m, ok := <-in:
			if !ok {
				return errGone
			}
			err = x.take(m)
		case <-late:
			return errEndless
		case <-x.call.ctx.Done():
			return context.Cause(x.call.ctx)
		case <-x.stream.Context().Done():
			return errGone
		}
		if err != nil {
			return err
		}
	}
	return x.close()
}

// close waits until the proxy ends the stream. What it had sent already is passed over.
func (x *session) close() error {
	late := time.After(closingTime)
	for {
		select {
		case m, ok := <-x.in:
			if !ok {
				return nil
			}
			if known(m) != nil {
				return violation("a message after the end")
			}
		case <-x.stream.Context().Done():
			return nil
		case <-late:
			return nil
		}
	}
}

// errUntaken is why an exchange ends whose proxy reads nothing.
var errUntaken = errors.New("the proxy does not take what it is told")

// send sends one message. A proxy that takes nothing would hold us for as long as it
// keeps its stream, so the wait has an end; that of the stream ends what is still sent.
func (x *session) send(m *proc.ProcessingResponse) error {
	sent := make(chan error, 1)
	go func() { sent <- x.stream.Send(m) }()
	late := time.NewTimer(takeTime)
	defer late.Stop()
	select {
	case err := <-sent:
		if errors.Is(err, io.EOF) {
			return errGone
		}
		if err != nil {
			return fmt.Errorf("answer the proxy: %w", err)
		}
		return nil
	case <-late.C:
		return errUntaken
	}
}

// immediate ends the exchange with what the handler answered.
func (x *session) immediate() error {
	code, header := x.call.writer.head()
	if code == 0 {
		code, header = http.StatusOK, http.Header{}
	}
	x.over = true
	outcome := "answered"
	if code/100 != 2 {
		outcome = "refused"
	}
	return x.send(&proc.ProcessingResponse{
		Response:        &proc.ProcessingResponse_ImmediateResponse{ImmediateResponse: immediate(code, header, x.call.writer.take())},
		DynamicMetadata: told(header, outcome),
	})
}
