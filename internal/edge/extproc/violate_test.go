package extproc_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pavise/pavise/internal/edge/extproc"
	"github.com/pavise/pavise/internal/record"
)

// A step is one message of a proxy, or a wait for one of ours.
type step func(*script)

// A script plays a proxy that does what it likes.
type script struct {
	t      *testing.T
	w      *world
	stream proc.ExternalProcessor_ProcessClient
	last   *proc.ProcessingResponse
	err    error
}

func send(m *proc.ProcessingRequest) step {
	return func(s *script) {
		if s.err == nil {
			if err := s.stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
				s.err = err
			}
		}
	}
}

func recv(s *script) {
	if s.err == nil {
		s.last, s.err = s.stream.Recv()
	}
}

// head is a good first message, in the modes given.
func head(in, out modeOf, edit func(*message)) step {
	return func(s *script) {
		m := headMessage(&proc.HttpHeaders{Headers: headerMap(s.w.asking(edit).header)}, true)
		m.ProtocolConfig = &proc.ProtocolConfiguration{RequestBodyMode: in, ResponseBodyMode: out}
		send(m)(s)
	}
}

// unknown adds a field that nobody knows.
func unknown(m proto.Message) {
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
}

func answerHead(fields ...[2]string) *proc.ProcessingRequest {
	if fields == nil {
		fields = [][2]string{{":status", "200"}, {"content-type", "application/json"}}
	}
	return headMessage(&proc.HttpHeaders{Headers: headerMap(fields)}, false)
}

// TestViolations has everything that the protocol does not know end the stream with an
// error, never without one, for then Envoy would go on alone; and has it counted. Where
// an exchange was under way, its record says that it was broken off.
func TestViolations(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	good := bodyMessage([]byte(spaced), true, true)
	half := bodyMessage([]byte(spaced[:9]), false, true)
	more := bodyMessage([]byte(scores), true, false)
	tail := [][2]string{{"x", "y"}}
	plain := head(buffered, buffered, nil)
	stream := head(streamed, streamed, nil)
	both := head(duplex, duplex, nil)
	odd := func(edit func(*proc.ProcessingRequest)) *proc.ProcessingRequest {
		m := bodyMessage([]byte(spaced), true, true)
		edit(m)
		return m
	}
	field := func(name, value string) step {
		return head(buffered, buffered, func(m *message) { m.header = append(m.header, [2]string{name, value}) })
	}
	for name, c := range map[string]struct {
		steps  []step
		record bool // an exchange was under way
		says   string
	}{
		"nothing said":               {[]step{send(&proc.ProcessingRequest{})}, false, "says nothing"},
		"a body first":               {[]step{send(good)}, false, "begin"},
		"an answer first":            {[]step{send(answerHead())}, false, "begin"},
		"trailers first":             {[]step{send(tailMessage(tail, true))}, false, "begin"},
		"a part of an answer first":  {[]step{send(more)}, false, "begin"},
		"a second header":            {[]step{plain, recv, plain}, true, "second header"},
		"a body too early":           {[]step{both, send(answerHead()), recv}, true, "let through"},
		"an answer in the middle":    {[]step{stream, recv, send(half), recv, send(answerHead())}, true, "let through"},
		"an answer's body first":     {[]step{plain, recv, send(good), recv, send(more)}, true, "before the header"},
		"two bodies":                 {[]step{plain, recv, send(good), recv, send(good)}, true, "after the end"},
		"a body after its end":       {[]step{both, send(good), recv, recv, send(half)}, true, "after the end"},
		"trailers after the end":     {[]step{both, send(good), recv, recv, send(tailMessage(tail, true))}, true, "after the end"},
		"two answers":                {[]step{plain, recv, send(good), recv, send(answerHead()), recv, send(answerHead())}, true, "second answer"},
		"a request after its answer": {[]step{plain, recv, send(good), recv, send(answerHead()), recv, send(good)}, true, ""},
		"an informational answer":    {[]step{plain, recv, send(good), recv, send(answerHead([2]string{":status", "103"}))}, true, "status"},
		"an answer without a status": {[]step{plain, recv, send(good), recv, send(answerHead([2]string{"a", "b"}))}, true, "status"},
		"an answer of words":         {[]step{plain, recv, send(good), recv, send(answerHead([2]string{":status", "ok"}))}, true, "status"},
		"two statuses":               {[]step{plain, recv, send(good), recv, send(answerHead([2]string{":status", "200"}, [2]string{":status", "500"}))}, true, "pseudo"},
		"a field of a future":        {[]step{plain, recv, send(odd(func(m *proc.ProcessingRequest) { unknown(m) }))}, true, "does not know"},
		"a body of a future":         {[]step{plain, recv, send(odd(func(m *proc.ProcessingRequest) { unknown(m.GetRequestBody()) }))}, true, "does not know"},
		"a body without a message":   {[]step{plain, recv, send(odd(func(m *proc.ProcessingRequest) { m.GetRequestBody().EndOfStreamWithoutMessage = true }))}, true, "agreed"},
		"a compressed message":       {[]step{plain, recv, send(odd(func(m *proc.ProcessingRequest) { m.GetRequestBody().GrpcMessageCompressed = true }))}, true, "agreed"},
		"a drain":                    {[]step{plain, recv, send(odd(func(m *proc.ProcessingRequest) { m.GetRequestBody().DrainComplete = true }))}, true, "agreed"},
		"flow control":               {[]step{plain, recv, send(odd(func(m *proc.ProcessingRequest) { m.ClientWindowUpdate = &proc.ProcessingRequest_ClientWindowUpdate{} }))}, true, "flow control"},
		"watching from now on":       {[]step{plain, recv, send(odd(func(m *proc.ProcessingRequest) { m.ObservabilityMode = true }))}, true, "observability_mode"},
		"a line end in a field":      {[]step{field("a", "b\r\nauthorization: x")}, false, "field"},
		"a zero in a field":          {[]step{field("a", "b\x00")}, false, "field"},
		"capitals in a name":         {[]step{field("Authorization", "Bearer x")}, false, "field"},
		"a space in a name":          {[]step{field("content-type ", "x")}, false, "field"},
		"no name":                    {[]step{field("", "x")}, false, "field"},
		"a field of two values":      {[]step{twoValues}, false, "two values"},
		"two paths":                  {[]step{field(":path", "/v2/models/other/infer")}, false, "two values"},
		"two hosts":                  {[]step{field("host", "elsewhere")}, false, "two values"},
		"a giant body":               {[]step{plain, recv, send(bodyMessage(make([]byte, 6<<20), true, true))}, true, ""},
		"the end too early":          {[]step{plain, recv, func(s *script) { s.stream.CloseSend() }}, true, "gave the exchange up"},
		"the end before an answer":   {[]step{plain, recv, send(good), recv, func(s *script) { s.stream.CloseSend() }}, true, "gave the exchange up"},
		"the end in an answer":       {[]step{plain, recv, send(good), recv, send(answerHead()), recv, func(s *script) { s.stream.CloseSend() }}, true, "gave the exchange up"},
		"the end without a word":     {[]step{func(s *script) { s.stream.CloseSend() }}, false, "gave the exchange up"},
	} {
		t.Run(name, func(t *testing.T) {
			size := w.Log.Size()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			stream, err := proc.NewExternalProcessorClient(w.conn).Process(ctx)
			if err != nil {
				t.Fatal(err)
			}
			s := &script{t: t, w: w, stream: stream}
			for _, step := range c.steps {
				step(s)
			}
			for s.err == nil {
				recv(s)
			}
			if s.err == io.EOF || status.Code(s.err) == codes.Internal || status.Code(s.err) == codes.DeadlineExceeded || !strings.Contains(s.err.Error(), c.says) {
				t.Fatalf("the stream ended with %v", s.err)
			}
			if last := s.last.GetResponseBody(); last != nil {
				t.Errorf("an answer went out: %v", s.last)
			}
			if !c.record {
				return
			}
			r := w.lastRecord(t, size)
			if r.Kind != "model.infer" || r.Error == nil {
				t.Errorf("the record is %+v", r)
			}
		})
	}
	close(w.refused)
	seen := map[string]bool{}
	for reason := range w.refused {
		seen[reason] = true
	}
	if len(seen) < 10 {
		t.Errorf("counted were %v", seen)
	}
}

func twoValues(s *script) {
	m := headMessage(&proc.HttpHeaders{Headers: headerMap(s.w.asking(nil).header)}, true)
	m.GetRequestHeaders().Headers.Headers = append(m.GetRequestHeaders().Headers.Headers, &core.HeaderValue{Key: "a", Value: "b", RawValue: []byte("c")})
	send(m)(s)
}

// lastRecord waits for the next record after size.
func (w *world) lastRecord(t *testing.T, size uint64) record.Record {
	t.Helper()
	for range 500 {
		if now := w.Log.Size(); now > size {
			r, err := w.Log.Read(now - 1)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no record was written")
	return record.Record{}
}

// TestProxysOwnAnswer has the proxy answer by itself before a request was let through:
// its status stands, none of its words do, and the exchange is over.
func TestProxysOwnAnswer(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	size := w.Log.Size()
	stream, err := proc.NewExternalProcessorClient(w.conn).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, w: w, stream: stream}
	for _, step := range []step{head(buffered, buffered, nil), recv, send(answerHead([2]string{":status", "413"}, [2]string{"content-type", "text/plain"})), recv} {
		step(s)
	}
	if i := s.last.GetImmediateResponse(); s.err != nil || i.GetStatus().GetCode() != 413 {
		t.Errorf("%v, %v", s.last, s.err)
	}
	if r := w.lastRecord(t, size); r.Error == nil {
		t.Errorf("the record is %+v", r)
	}
	stream.CloseSend()
}

// TestAbandoned ends an exchange whose proxy goes away: it is recorded, what was charged
// stays charged, and nothing of it stays in memory.
func TestAbandoned(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	size := w.Log.Size()
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := proc.NewExternalProcessorClient(w.conn).Process(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, w: w, stream: stream}
	for _, step := range []step{head(buffered, buffered, nil), recv, send(bodyMessage([]byte(spaced), true, true)), recv} {
		step(s)
	}
	if s.last.GetRequestBody() == nil {
		t.Fatalf("%v, %v", s.last, s.err)
	}
	cancel()
	r := w.lastRecord(t, size)
	if trail := trailOf(t, r); r.Error == nil || trail.Charged != 1 || trail.Output != "" || trail.Input == "" {
		t.Errorf("%+v, trail %+v", r, trail)
	}
}

// TestManyAtOnce keeps exchanges apart that are under way at one time.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t, nil, extproc.Config{})
	w.Put(t, external)
	done := make(chan result)
	const n = 64
	for i := range n {
		go func() {
			m := []modeOf{buffered, streamed, duplex}[i%3]
			done <- envoy{request: m, response: m, chunk: 1 + i, model: answering(200, scores)}.do(t, w.conn, w.asking(nil))
		}()
	}
	for range n {
		if got := <-done; got.status != 200 || got.err != nil {
			t.Errorf("%+v", got)
		}
	}
}

// TestPanic has a mistake in a handler end one exchange, and no more.
func TestPanic(t *testing.T) {
	w := newWorld(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a mistake") })
	}, extproc.Config{})
	for range 2 {
		got := envoy{request: buffered, response: buffered}.do(t, w.conn, w.asking(nil))
		if got.status != 500 || !got.immediate || strings.Contains(string(got.body), "mistake") {
			t.Errorf("%+v", got)
		}
	}
}
