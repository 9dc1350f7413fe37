package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	mode "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pavise/pavise/internal/edgetest"
)

// The file plays proxies that send what they like when they like it, and holds what comes
// back to what must hold of every stream, however odd.

// played is what a stream brought.
type played struct {
	all  []*proc.ProcessingResponse
	code int    // of an immediate response; 0: there was none
	text string // all that the caller could read: of immediate answers, bodies and fields
	sent string // the body that the model server was let have
	let  bool   // it was let have the request
	err  error  // how the stream ended; nil: well
}

// play opens a stream, does the steps, and reads on until the stream ends. A proxy ends
// its stream when it was told to answer at once, and so does this one.
func (w *world) play(t *testing.T, steps ...step) played {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream, err := proc.NewExternalProcessorClient(w.conn).Process(ctx)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan *proc.ProcessingResponse, 1<<14)
	s := &script{t: t, w: w, stream: &listened{stream, heard}}
	for _, step := range steps {
		step(s)
	}
	for s.err == nil {
		if over(s.last) {
			stream.CloseSend()
		}
		recv(s)
	}
	p := played{err: s.err}
	if errors.Is(p.err, io.EOF) {
		p.err = nil
	}
	close(heard)
	for m := range heard {
		p.all = append(p.all, m)
	}
	p.check(t)
	return p
}

// listened keeps what comes on a stream.
type listened struct {
	proc.ExternalProcessor_ProcessClient
	heard chan *proc.ProcessingResponse
}

func (l *listened) Recv() (*proc.ProcessingResponse, error) {
	m, err := l.ExternalProcessor_ProcessClient.Recv()
	if err == nil {
		l.heard <- m
	}
	return m, err
}

// over reports whether a message says all that there is to say of an exchange.
func over(m *proc.ProcessingResponse) bool {
	streamed := m.GetResponseBody().GetResponse().GetBodyMutation().GetStreamedResponse()
	return m.GetImmediateResponse() != nil || m.GetResponseTrailers() != nil || streamed.GetEndOfStream() ||
		m.GetResponseBody() != nil && streamed == nil && m.GetDynamicMetadata() != nil
}

// check holds a stream to what must hold of every one, and reads what it brought.
func (p *played) check(t *testing.T) {
	t.Helper()
	if code := status.Code(p.err); code == codes.Internal || code == codes.DeadlineExceeded {
		t.Errorf("the stream ended with %v", p.err)
	}
	done := false
	for i, m := range p.all {
		if p.code != 0 {
			t.Errorf("message %d came after an immediate response: %v", i, m)
		}
		if now := m.GetImmediateResponse(); now != nil {
			p.code = int(now.GetStatus().GetCode())
			p.text += string(now.GetBody()) + now.GetHeaders().String()
		}
		for _, b := range []*proc.BodyResponse{m.GetRequestBody(), m.GetResponseBody()} {
			if b != nil && b.GetResponse().GetBodyMutation().GetMutation() == nil {
				t.Errorf("a part goes on as it came: %v", m)
			}
		}
		p.text += m.GetResponseHeaders().String() + bodyOf(m.GetResponseBody())
		if head := m.GetRequestHeaders(); head != nil {
			p.let = p.let || setsLength(head.GetResponse())
		}
		if b := m.GetRequestBody(); b != nil {
			p.sent += bodyOf(b)
			p.let = p.let || setsLength(b.GetResponse()) || bodyOf(b) != ""
		}
		done = done || over(m)
	}
	if p.err == nil && !done {
		t.Errorf("the stream ended well after %v: an Envoy goes on alone then", p.all)
	}
	if p.let && p.sent != edgetest.Good && p.sent != "" {
		t.Errorf("the model server was let have %q", p.sent)
	}
	if strings.Contains(p.text, "secret") {
		t.Errorf("the caller read %s", p.text)
	}
}

// setsLength reports whether a request is let go on: what we send in the caller's place has
// its own length.
func setsLength(c *proc.CommonResponse) bool {
	for _, o := range c.GetHeaderMutation().GetSetHeaders() {
		if o.GetHeader().GetKey() == "content-length" {
			return true
		}
	}
	return false
}

// bodyOf is the text that takes a part's place.
func bodyOf(b *proc.BodyResponse) string {
	m := b.GetResponse().GetBodyMutation()
	return string(m.GetBody()) + string(m.GetStreamedResponse().GetBody())
}

// inferences are the records since size that tell of the model.
func (w *world) inferences(t *testing.T, size uint64) (n int) {
	t.Helper()
	for ; size < w.Log.Size(); size++ {
		r, err := w.Log.Read(size)
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind == "model.infer" {
			n++
		}
	}
	return n
}

// times repeats a step.
func times(n int, all ...step) step {
	return func(s *script) {
		for range n {
			for _, one := range all {
				one(s)
			}
		}
	}
}

// cut sends a body in parts of n bytes, and waits for an answer to each but the last
// where the mode demands it.
func cut(text string, n int, waits, request bool) step {
	return func(s *script) {
		for rest := text; rest != ""; {
			part := rest[:min(n, len(rest))]
			rest = rest[len(part):]
			send(bodyMessage([]byte(part), rest == "", request))(s)
			if waits && rest != "" {
				recv(s)
			}
		}
	}
}

// configured is a good first message with another idea of the filter's configuration.
func configured(c *proc.ProtocolConfiguration) step {
	return func(s *script) {
		m := headMessage(&proc.HttpHeaders{Headers: headerMap(s.w.asking(nil).header)}, true)
		m.ProtocolConfig = c
		send(m)(s)
	}
}

// ended is a good first message that says that no body follows.
func ended(in, out mode.ProcessingMode_BodySendMode) step {
	return func(s *script) {
		m := headMessage(&proc.HttpHeaders{Headers: headerMap(s.w.asking(nil).header), EndOfStream: true}, true)
		m.ProtocolConfig = &proc.ProtocolConfiguration{RequestBodyMode: in, ResponseBodyMode: out}
		send(m)(s)
	}
}

// ok is the head of a good answer, or of one with other fields.
func ok(fields ...[2]string) step { return send(answerHead(fields...)) }

// emptyOK is the head of an answer that has no body.
func emptyOK(s *script) {
	m := answerHead()
	m.GetResponseHeaders().EndOfStream = true
	send(m)(s)
}

func closing(s *script) { s.stream.CloseSend() }

// part is a part of a request's body or of an answer's.
func part(text string, last, request bool) step {
	return send(bodyMessage([]byte(text), last, request))
}

func trailers(request bool) step {
	return send(tailMessage([][2]string{{"x-late", "secret"}}, request))
}

// goes is what one sequence of messages must come to.
type goes struct {
	steps  []step
	code   int  // of the answer that the caller gets at once; 0: none
	broken bool // the stream ends with an error
	let    bool // the model server got the request
	free   bool // nobody could be named, and nothing is recorded by name
	says   string
}

func (w *world) goes(t *testing.T, c goes) {
	t.Helper()
	size := w.Log.Size()
	got := w.play(t, c.steps...)
	switch {
	case (got.err != nil) != c.broken:
		t.Errorf("the stream ended with %v after %v", got.err, got.all)
	case got.code != c.code:
		t.Errorf("the caller got %d, want %d: %s", got.code, c.code, got.text)
	case got.let != c.let:
		t.Errorf("let through: %t, want %t: %v", got.let, c.let, got.all)
	}
	if !strings.Contains(got.text+fmt.Sprint(got.err), c.says) {
		t.Errorf("it says %s, %v; not %q", got.text, got.err, c.says)
	}
	if n := w.inferences(t, size); n != 1 && !c.free || n != 0 && c.free {
		t.Errorf("%d records tell of it", n)
	}
}
