package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	mode "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pavise/pavise/internal/edge/extproc"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
)

// The file holds a proxy: Envoy's ext_proc filter as its protocol and its documentation
// describe it, with a caller on one side and a model server on the other. It checks that
// every message gets the answer that its mode demands, and does what it is told.

// A world is a data plane with the processor in front of it.
type world struct {
	*edgetest.World
	conn    *grpc.ClientConn
	refused chan string // what was counted as refused
}

// external puts the model behind the proxy.
func external(s *route.Spec) {
	s.ONNX, s.Upstream = nil, "external"
	s.Signature = infer.SignatureText(tensor.Signature{
		Inputs:  []tensor.Port{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, 2}}},
		Outputs: []tensor.Port{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{-1, 3}}},
	})
}

func newWorld(t testing.TB, handler func(http.Handler) http.Handler, cfg extproc.Config) *world {
	t.Helper()
	w := &world{World: edgetest.New(t), refused: make(chan string, 1024)}
	cfg.Handler = w.Edge.Handler()
	if handler != nil {
		cfg.Handler = handler(cfg.Handler)
	}
	cfg.Refused = func(_, reason string) {
		select {
		case w.refused <- reason:
		default:
		}
	}
	w.conn = serve(t, cfg)
	return w
}

// serve runs a processor and returns a connection to it.
func serve(t testing.TB, cfg extproc.Config) *grpc.ClientConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- extproc.New(cfg).Run(ctx, l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("the server stopped with %v", err)
		}
	})
	return conn
}

// A message is what goes over one side of the proxy.
type message struct {
	status   int // of an answer
	header   [][2]string
	body     []byte
	trailers [][2]string
}

func (m message) get(name string) string {
	for _, f := range m.header {
		if f[0] == name {
			return f[1]
		}
	}
	return ""
}

// envoy is how the filter is set up.
type envoy struct {
	request, response mode.ProcessingMode_BodySendMode
	override          bool // allow_mode_override
	unsaid            bool // an old one, which sends no protocol_config
	eager             bool // send_body_without_waiting_for_header_response
	observe           bool // observability_mode
	chunk             int  // size of streamed parts; 0: 64 KiB
	model             func(message) message
}

const (
	none     = mode.ProcessingMode_NONE
	buffered = mode.ProcessingMode_BUFFERED
	partial  = mode.ProcessingMode_BUFFERED_PARTIAL
	streamed = mode.ProcessingMode_STREAMED
	duplex   = mode.ProcessingMode_FULL_DUPLEX_STREAMED
)

// result is what became of an exchange.
type result struct {
	message                  // what the caller got
	reset     bool           // an answer was broken off after its header
	immediate bool           // the filter answered by itself
	rerouted  bool           // the server was looked for anew
	sent      *message       // what the model server got; nil: nothing
	err       error          // of the stream; the caller gets a 500
	metadata  map[string]any // dynamic metadata, merged
	parts     []string       // of the answer's body, as they were let go
}

// An exchange is one run of the filter.
type exchange struct {
	envoy
	stream proc.ExternalProcessor_ProcessClient
	result result
	first  bool
}

var errImmediate = errors.New("immediate response")

// do plays one exchange.
func (e envoy) do(t testing.TB, conn *grpc.ClientConn, ask message) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stream, err := proc.NewExternalProcessorClient(conn).Process(ctx)
	if err != nil {
		return result{message: message{status: 500}, err: err}
	}
	if e.chunk == 0 {
		e.chunk = 64 << 10
	}
	x := &exchange{envoy: e, stream: stream, first: true, result: result{metadata: map[string]any{}}}
	if err := x.run(ask); err != nil && !errors.Is(err, errImmediate) {
		x.result.err = err
		x.result.status = 500
		return x.result
	}
	stream.CloseSend()
	if m, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end came %v, %v", m, err)
	}
	return x.result
}

func (x *exchange) run(ask message) error {
	up, err := x.half(ask, x.request, true)
	if err != nil {
		return err
	}
	x.result.sent = &up
	answer, err := x.half(x.model(up), x.response, false)
	if err != nil {
		return err
	}
	x.result.message = answer
	return nil
}

// send sends one message, with the configuration if it is the first.
func (x *exchange) send(m *proc.ProcessingRequest) error {
	if x.first && !x.unsaid {
		m.ProtocolConfig = &proc.ProtocolConfiguration{
			RequestBodyMode: x.request, ResponseBodyMode: x.response, SendBodyWithoutWaitingForHeaderResponse: x.eager,
		}
	}
	x.first = false
	m.ObservabilityMode = x.observe
	if err := x.stream.Send(m); err != nil {
		_, err = x.stream.Recv() // it says why
		return err
	}
	return nil
}

// recv returns the next answer, and heeds what any of them may carry.
func (x *exchange) recv() (*proc.ProcessingResponse, error) {
	m, err := x.stream.Recv()
	if err != nil {
		return nil, err
	}
	for space, v := range m.GetDynamicMetadata().GetFields() {
		if space != extproc.Metadata {
			return nil, fmt.Errorf("metadata for %q", space)
		}
		for k, v := range v.GetStructValue().GetFields() {
			x.result.metadata[k] = v.GetStringValue()
		}
	}
	if i := m.GetImmediateResponse(); i != nil {
		x.result.message = message{status: int(i.GetStatus().GetCode()), body: i.GetBody(), header: [][2]string{{"content-type", "text/plain"}}}
		x.result.immediate = true
		if err := mutate(&x.result.message, i.GetHeaders(), false); err != nil {
			return nil, err
		}
		return nil, errImmediate
	}
	return m, nil
}

// mutate does to a header what it is told.
func mutate(m *message, h *proc.HeaderMutation, request bool) error {
	for _, name := range h.GetRemoveHeaders() {
		if strings.HasPrefix(name, ":") || name == "host" || strings.HasPrefix(name, "x-envoy-") {
			return fmt.Errorf("%s cannot be removed", name)
		}
		m.header = slices.DeleteFunc(m.header, func(f [2]string) bool { return f[0] == name })
	}
	for _, o := range h.GetSetHeaders() {
		name, value := o.GetHeader().GetKey(), string(o.GetHeader().GetRawValue())
		switch {
		case name != strings.ToLower(name) || o.GetHeader().GetValue() != "":
			return fmt.Errorf("%s is set in a form that Envoy does not take", name)
		case name == ":method" || name == ":scheme" || name == ":authority" || name == "host" || strings.HasPrefix(name, "x-envoy-"):
			return fmt.Errorf("%s cannot be set", name)
		case name == ":path" && !request:
			return fmt.Errorf("an answer has no path")
		}
		if o.GetAppendAction() == core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			m.header = slices.DeleteFunc(m.header, func(f [2]string) bool { return f[0] == name })
		}
		m.header = append(m.header, [2]string{name, value})
	}
	return nil
}

// half carries one direction through the filter.
func (x *exchange) half(m message, how mode.ProcessingMode_BodySendMode, request bool) (message, error) {
	out := message{status: m.status, header: slices.Clone(m.header)}
	if m.status != 0 {
		m.header = append([][2]string{{":status", fmt.Sprint(m.status)}}, m.header...)
	}
	eos := len(m.body) == 0 && m.trailers == nil
	head := &proc.HttpHeaders{Headers: headerMap(m.header), EndOfStream: eos}
	if err := x.send(headMessage(head, request)); err != nil {
		return out, err
	}
	if how == duplex {
		return x.duplexHalf(m, out, eos, request)
	}
	r, err := x.recv()
	if err != nil {
		return out, err
	}
	common, err := x.headOf(r, request)
	if err != nil {
		return out, err
	}
	if err := mutate(&out, common.GetHeaderMutation(), request); err != nil {
		return out, err
	}
	if o := r.GetModeOverride(); o != nil && x.override {
		if request {
			return out, errors.New("the mode of requests is changed, which not every filter heeds")
		}
		how = o.GetResponseBodyMode()
	}
	if common.GetStatus() == proc.CommonResponse_CONTINUE_AND_REPLACE {
		return out, errors.New("replaced at the header, which nothing here has reason to")
	}
	switch {
	case eos:
		return out, nil
	case how == none:
		out.body, out.trailers = m.body, m.trailers
		return out, nil
	case how == buffered:
		return x.bufferedHalf(m, out, request)
	case how == streamed:
		return x.streamedHalf(m, out, request)
	}
	return out, fmt.Errorf("mode %v went on", how)
}

func (x *exchange) bufferedHalf(m, out message, request bool) (message, error) {
	common, err := x.body(m.body, m.trailers == nil, request)
	if err != nil {
		return out, err
	}
	if err := mutate(&out, common.GetHeaderMutation(), request); err != nil {
		return out, err
	}
	out.body = replace(common, m.body)
	if n := out.get("content-length"); n != "" && n != fmt.Sprint(len(out.body)) {
		return out, fmt.Errorf("content-length %s for %d bytes: Envoy answers 500", n, len(out.body))
	}
	if m.trailers != nil {
		if err := x.send(tailMessage(m.trailers, request)); err != nil {
			return out, err
		}
		if _, err := x.recv(); err != nil {
			return out, err
		}
		out.trailers = m.trailers
	}
	return out, nil
}

func (x *exchange) streamedHalf(m, out message, request bool) (message, error) {
	out.header = slices.DeleteFunc(out.header, func(f [2]string) bool { return f[0] == "content-length" })
	for rest, more := m.body, true; more; {
		n := min(x.chunk, len(rest))
		part := rest[:n]
		rest = rest[n:]
		more = len(rest) > 0
		common, err := x.body(part, !more && m.trailers == nil, request)
		if err != nil {
			x.result.reset = !request
			return out, err
		}
		if common.GetHeaderMutation() != nil {
			return out, errors.New("a header is changed that is gone")
		}
		x.letGo(&out, replace(common, part), request)
	}
	if m.trailers != nil {
		if err := x.send(tailMessage(m.trailers, request)); err != nil {
			return out, err
		}
		if _, err := x.recv(); err != nil {
			return out, err
		}
		out.trailers = m.trailers
	}
	return out, nil
}

// letGo passes a part of a body on.
func (x *exchange) letGo(out *message, part []byte, request bool) {
	out.body = append(out.body, part...)
	if !request && len(part) > 0 {
		x.result.parts = append(x.result.parts, string(part))
	}
}

// body shows one part and returns what is to be done with it.
func (x *exchange) body(part []byte, last, request bool) (*proc.CommonResponse, error) {
	if err := x.send(bodyMessage(part, last, request)); err != nil {
		return nil, err
	}
	r, err := x.recv()
	if err != nil {
		return nil, err
	}
	if r.GetModeOverride() != nil {
		return nil, errors.New("the mode changes in the middle of a body")
	}
	b := r.GetRequestBody()
	if !request {
		b = r.GetResponseBody()
	}
	if b == nil {
		return nil, fmt.Errorf("%T in the place of a body", r.GetResponse())
	}
	x.result.rerouted = x.result.rerouted || b.GetResponse().GetClearRouteCache()
	if b.GetResponse().GetBodyMutation().GetStreamedResponse() != nil {
		return nil, errors.New("a streamed part in a mode without any")
	}
	return b.GetResponse(), nil
}

func replace(c *proc.CommonResponse, was []byte) []byte {
	switch m := c.GetBodyMutation().GetMutation().(type) {
	case *proc.BodyMutation_Body:
		return m.Body
	case *proc.BodyMutation_ClearBody:
		return nil
	}
	return was
}

// duplexHalf sends everything and takes what comes, in the order header, body, trailers.
func (x *exchange) duplexHalf(m, out message, eos, request bool) (message, error) {
	var fail error
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for rest := m.body; !eos && len(rest) > 0; {
			n := min(x.chunk, len(rest))
			if fail = x.send(bodyMessage(rest[:n], n == len(rest) && m.trailers == nil, request)); fail != nil {
				return
			}
			rest = rest[n:]
		}
		if m.trailers != nil {
			fail = x.send(tailMessage(m.trailers, request))
		}
	}()
	defer func() { <-sent }()
	header, last := false, eos
	for !header || !last {
		r, err := x.recv()
		if err != nil {
			x.result.reset = header && !request
			return out, err
		}
		switch v := r.GetResponse().(type) {
		case *proc.ProcessingResponse_RequestHeaders, *proc.ProcessingResponse_ResponseHeaders:
			common, err := x.headOf(r, request)
			if err != nil || header {
				return out, fmt.Errorf("header again, or %v", err)
			}
			header = true
			if err := mutate(&out, common.GetHeaderMutation(), request); err != nil {
				return out, err
			}
		case *proc.ProcessingResponse_RequestBody, *proc.ProcessingResponse_ResponseBody:
			b := r.GetRequestBody().GetResponse()
			if !request {
				b = r.GetResponseBody().GetResponse()
			}
			s := b.GetBodyMutation().GetStreamedResponse()
			if s == nil || !header || last || len(s.GetBody()) > 64<<10 {
				return out, fmt.Errorf("%v where a streamed part should be", r)
			}
			x.letGo(&out, s.GetBody(), request)
			last = s.GetEndOfStream()
		case *proc.ProcessingResponse_RequestTrailers, *proc.ProcessingResponse_ResponseTrailers:
			if !header || last {
				return out, errors.New("trailers out of order")
			}
			mutation := r.GetRequestTrailers().GetHeaderMutation()
			if !request {
				mutation = r.GetResponseTrailers().GetHeaderMutation()
			}
			tail := message{header: slices.Clone(m.trailers)}
			if err := mutate(&tail, mutation, request); err != nil {
				return out, err
			}
			out.trailers, last = tail.header, true
		default:
			return out, fmt.Errorf("%T", v)
		}
	}
	<-sent
	return out, fail
}

func (x *exchange) headOf(r *proc.ProcessingResponse, request bool) (*proc.CommonResponse, error) {
	h := r.GetRequestHeaders()
	if !request {
		h = r.GetResponseHeaders()
	}
	if h == nil {
		return nil, fmt.Errorf("%T in the place of a header", r.GetResponse())
	}
	x.result.rerouted = x.result.rerouted || h.GetResponse().GetClearRouteCache()
	return h.GetResponse(), nil
}

func headMessage(h *proc.HttpHeaders, request bool) *proc.ProcessingRequest {
	if request {
		return &proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestHeaders{RequestHeaders: h}}
	}
	return &proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseHeaders{ResponseHeaders: h}}
}

func bodyMessage(part []byte, last, request bool) *proc.ProcessingRequest {
	b := &proc.HttpBody{Body: part, EndOfStream: last}
	if request {
		return &proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestBody{RequestBody: b}}
	}
	return &proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseBody{ResponseBody: b}}
}

func tailMessage(trailers [][2]string, request bool) *proc.ProcessingRequest {
	h := &proc.HttpTrailers{Trailers: headerMap(trailers)}
	if request {
		return &proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestTrailers{RequestTrailers: h}}
	}
	return &proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseTrailers{ResponseTrailers: h}}
}

func headerMap(fields [][2]string) *core.HeaderMap {
	m := &core.HeaderMap{}
	for _, f := range fields {
		m.Headers = append(m.Headers, &core.HeaderValue{Key: f[0], RawValue: []byte(f[1])})
	}
	return m
}

// A modeOf is how the bodies of one direction are shown.
type modeOf = mode.ProcessingMode_BodySendMode
