package extproc

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	mode "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pavise/pavise/internal/infer"
)

// A line is a stream without a network, in time that a test makes up.
type line struct {
	grpc.ServerStream
	ctx   context.Context
	in    chan *proc.ProcessingRequest
	out   chan *proc.ProcessingResponse
	stuck bool // the proxy takes nothing
}

func (l *line) Context() context.Context { return l.ctx }

func (l *line) Recv() (*proc.ProcessingRequest, error) {
	select {
	case m, ok := <-l.in:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-l.ctx.Done():
		return nil, l.ctx.Err()
	}
}

func (l *line) Send(m *proc.ProcessingResponse) error {
	if !l.stuck {
		l.out <- m
		return nil
	}
	<-l.ctx.Done()
	return l.ctx.Err()
}

// pairs spells header fields.
func pairs(all ...string) *core.HeaderMap {
	m := &core.HeaderMap{}
	for i := 0; i < len(all); i += 2 {
		m.Headers = append(m.Headers, &core.HeaderValue{Key: all[i], RawValue: []byte(all[i+1])})
	}
	return m
}

// opening are the messages with which a model is asked in a mode.
func opening(how mode.ProcessingMode_BodySendMode) []*proc.ProcessingRequest {
	return []*proc.ProcessingRequest{
		{
			Request:        &proc.ProcessingRequest_RequestHeaders{RequestHeaders: &proc.HttpHeaders{Headers: pairs(":method", "POST", ":path", "/m")}},
			ProtocolConfig: &proc.ProtocolConfiguration{RequestBodyMode: how, ResponseBodyMode: how},
		},
		{Request: &proc.ProcessingRequest_RequestBody{RequestBody: &proc.HttpBody{Body: []byte("body"), EndOfStream: true}}},
	}
}

func answered(fields ...string) *proc.ProcessingRequest {
	return &proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseHeaders{ResponseHeaders: &proc.HttpHeaders{Headers: pairs(append([]string{":status", "200"}, fields...)...)}}}
}

func answerPart(text string) *proc.ProcessingRequest {
	return &proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseBody{ResponseBody: &proc.HttpBody{Body: []byte(text)}}}
}

// lasts runs one stream, to which feed sends, and returns how long it was open and how it
// ended. Whatever happens, nothing of it stays.
func lasts(t *testing.T, h http.HandlerFunc, stuck bool, feed func(*line)) (open time.Duration, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &line{ctx: ctx, in: make(chan *proc.ProcessingRequest), out: make(chan *proc.ProcessingResponse, 1<<14), stuck: stuck}
	s := New(Config{Handler: h, Refused: func(string, string) {}})
	go feed(l)
	began := time.Now()
	err = s.Process(l)
	open = time.Since(began)
	cancel() // as gRPC does
	synctest.Wait()
	if s.open.Load() != 0 || s.bodies.Load() != 0 {
		t.Errorf("%d exchanges and %d bytes stayed", s.open.Load(), s.bodies.Load())
	}
	return open, err
}

// show sends messages until the stream is gone.
func (l *line) show(all ...*proc.ProcessingRequest) {
	for _, m := range all {
		select {
		case l.in <- m:
		case <-l.ctx.Done():
			return
		}
	}
}

// asking is a handler that gives the model so much time, and then does as told.
func asking(within time.Duration, then func(http.ResponseWriter, *http.Response)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body)
		relay, _ := infer.RelayFrom(r.Context())
		ctx, cancel := context.WithTimeout(r.Context(), within)
		defer cancel()
		ask, _ := http.NewRequestWithContext(ctx, "POST", "http://proxy.invalid/m", strings.NewReader("asked"))
		answer, err := relay.RoundTrip(ask)
		if err != nil {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		then(w, answer)
	}
}

// TestTimes has each wait end that a proxy, a caller or a model could draw out, long before
// the exchange as a whole has to.
func TestTimes(t *testing.T) {
	whole := func(w http.ResponseWriter, a *http.Response) {
		if _, err := io.ReadAll(a.Body); err != nil {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "shaped")
	}
	first := func(w http.ResponseWriter, a *http.Response) { // it has enough after one event
		w.Header().Set("Content-Type", mediaEvents)
		a.Body.Read(make([]byte, 16))
		io.WriteString(w, "data: x\n\n")
		http.NewResponseController(w).Flush()
	}
	loud := func(w http.ResponseWriter, a *http.Response) {
		w.Header().Set("Content-Type", mediaEvents)
		for {
			if _, err := io.WriteString(w, "data: x\n\n"); err != nil {
				return
			}
			if http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	}
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	events := answered("content-type", mediaEvents)
	silent := func(l *line) {}
	part := func(every time.Duration, how mode.ProcessingMode_BodySendMode, all ...*proc.ProcessingRequest) func(*line) {
		return func(l *line) {
			l.show(append(opening(how), all...)...)
			for every > 0 && l.ctx.Err() == nil {
				select {
				case <-time.After(every):
					l.show(answerPart("data: y\n\n"))
				case <-l.ctx.Done():
				}
			}
		}
	}
	const stream, both = mode.ProcessingMode_STREAMED, mode.ProcessingMode_FULL_DUPLEX_STREAMED
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		stuck   bool
		feed    func(*line)
		most    time.Duration
		well    bool // it ends with an answer
	}{
		"a stream without a message":               {hang, false, silent, firstTime, false},
		"a model that does not answer":             {asking(time.Second, whole), false, part(0, both), time.Second + closingTime, true},
		"an answer whose body does not come":       {asking(time.Second, whole), false, part(0, both, answered()), time.Second + closingTime, true},
		"the same in parts":                        {asking(time.Second, whole), false, part(0, stream, answered()), time.Second + closingTime, true},
		"the same, whole":                          {asking(time.Second, whole), false, part(0, mode.ProcessingMode_BUFFERED, answered()), time.Second + closingTime, true},
		"a body that trickles":                     {asking(time.Minute, whole), false, part(59*time.Second, both, answered()), time.Minute + closingTime, true},
		"events that do not end":                   {asking(time.Minute, first), false, part(time.Millisecond, both, events), time.Second + closingTime, false},
		"events that do not end, in parts":         {asking(time.Minute, first), false, part(time.Millisecond, stream, events), time.Second + closingTime, false},
		"events that stop":                         {asking(time.Minute, first), false, part(0, both, events, answerPart("data: y\n\n")), time.Second + closingTime, false},
		"a proxy that takes nothing":               {asking(time.Minute, whole), true, part(0, stream), takeTime, false},
		"a proxy that takes no refusal":            {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusUnauthorized) }, true, part(0, both), takeTime, false},
		"a proxy that takes no more of the answer": {asking(time.Hour, loud), true, part(0, both, events), takeTime, false},
		"a handler that hangs":                     {hang, false, part(0, both), maxLife, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				open, err := lasts(t, c.handler, c.stuck, c.feed)
				if open > c.most || (err == nil) != c.well {
					t.Errorf("open for %v, and ended with %v", open, err)
				}
			})
		})
	}
}

// TestWaitingMessages bounds what waits to be looked at, of both protocols: headers and
// attributes count, too.
func TestWaitingMessages(t *testing.T) {
	s := New(Config{Handler: http.HandlerFunc(shaping), Refused: func(string, string) {}})
	s.bodies.Store(maxBodies - 10)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l := &line{ctx: ctx, in: make(chan *proc.ProcessingRequest), out: make(chan *proc.ProcessingResponse, 10)}
	go l.show(opening(mode.ProcessingMode_FULL_DUPLEX_STREAMED)[0])
	if err := s.Process(l); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the stream ended with %v", err)
	}
	question := &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{
		Http: &auth.AttributeContext_HttpRequest{Method: "POST", Path: "/m", RawBody: make([]byte, 100)},
	}}}
	if a, err := s.Check(ctx, question); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v, %v", a, err)
	}
	if n := s.bodies.Load(); n != maxBodies-10 || s.open.Load() != 0 {
		t.Errorf("%d bytes are held, of %d exchanges", n, s.open.Load())
	}
}
