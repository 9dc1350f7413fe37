package extproc

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	mode "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
)

// What is asked and answered in made-up sequences: a good request of tensors and of a
// language model, and a good answer of each, with words in them that nobody may read.
const (
	tensorAsk    = `{ "inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.5, 0.25]}]}`
	tensorAnswer = `{"model_name":"m","model_version":"secret","outputs":[{"name":"scores","shape":[1,3],"datatype":"FP32","data":[0.42231879,0.42231879,0.15536241]}]}`
	chatAsk      = `{"model":"c","messages":[{"role":"user","content":"Hello"}],"stream":true}`
	chatSent     = `{"model":"secret","messages":[{"role":"user","content":"Hello"}],"stream":true,"max_completion_tokens":4096}`
	chatAnswer   = `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"secret","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
)

// A sequence is what bytes decode to: a proxy's messages, and what must come of them.
type sequence struct {
	messages []*proc.ProcessingRequest
	language bool   // it asks the language model
	named    bool   // somebody known asks for a model in a mode that is taken: there will be a record
	cancels  bool   // the proxy breaks the stream off after the messages, in the place of ending it
	asked    string // the request's body, up to where it ends
	askEnds  bool
	in, out  mode.ProcessingMode_BodySendMode
}

// modesOf are the modes of made-up sequences, two of which nobody takes.
var modesOf = []mode.ProcessingMode_BodySendMode{
	mode.ProcessingMode_BUFFERED, mode.ProcessingMode_STREAMED, mode.ProcessingMode_FULL_DUPLEX_STREAMED,
	mode.ProcessingMode_BUFFERED, mode.ProcessingMode_STREAMED, mode.ProcessingMode_FULL_DUPLEX_STREAMED,
	mode.ProcessingMode_NONE, mode.ProcessingMode_BUFFERED_PARTIAL,
}

// decode makes a sequence of bytes: two for how it begins, and one or two for each message.
func decode(b []byte, token string) *sequence {
	next := func() byte {
		if len(b) == 0 {
			return 0
		}
		c := b[0]
		b = b[1:]
		return c
	}
	modes, how := next(), next()
	q := &sequence{in: modesOf[modes&7], out: modesOf[modes>>3&7], language: how&1 != 0, cancels: how&2 != 0}
	known, ends := how&4 == 0, how&8 != 0
	path, ask, answer, media := "/v2/models/m/infer", tensorAsk, tensorAnswer, "application/json"
	if q.language {
		path, ask, answer, media = "/v1/chat/completions", chatAsk, chatAnswer, "text/event-stream"
	}
	header := []string{":method", "POST", ":path", path, "content-type", "application/json"}
	if known {
		header = append(header, "authorization", "Bearer "+token)
	}
	head := &proc.HttpHeaders{Headers: pairs(header...), EndOfStream: ends}
	q.add(&proc.ProcessingRequest{
		Request:        &proc.ProcessingRequest_RequestHeaders{RequestHeaders: head},
		ProtocolConfig: &proc.ProtocolConfiguration{RequestBodyMode: q.in, ResponseBodyMode: q.out},
	})
	taken := func(m mode.ProcessingMode_BodySendMode) bool { return m != mode.ProcessingMode_BUFFERED_PARTIAL }
	q.named = known && taken(q.in) && taken(q.out) && q.out != mode.ProcessingMode_NONE && (ends || q.in != mode.ProcessingMode_NONE)
	q.askEnds = ends
	said := answer
	cut := func(rest *string) string {
		n := min(int(next())%64, len(*rest))
		part := (*rest)[:n]
		*rest = (*rest)[n:]
		return part
	}
	for len(b) > 0 && len(q.messages) < 64 {
		switch next() % 20 {
		case 0:
			q.request(ask, true)
			ask = ""
		case 1, 2:
			q.request(cut(&ask), false)
		case 3:
			q.request("", false)
		case 4:
			q.request("", true)
		case 5:
			q.request(`{"inputs":[]}`, true)
		case 6:
			q.askEnds = q.askEnds || len(q.messages) > 1 // trailers end a body, too
			q.add(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestTrailers{RequestTrailers: &proc.HttpTrailers{Trailers: pairs("x", "secret")}}})
		case 7:
			q.add(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestHeaders{RequestHeaders: head}})
		case 8, 9:
			q.answer(false, ":status", "200", "content-type", media, "x", "secret")
		case 10:
			q.answer(next()&1 == 0, ":status", []string{"200", "204", "304", "400", "413", "500", "599", "99", "1000", "abc", ""}[int(next())%11], "x", "secret")
		case 11, 12:
			q.add(saidPart(said, true))
			said = ""
		case 13, 14:
			q.add(saidPart(cut(&said), false))
		case 15:
			q.add(saidPart("", next()&1 == 0))
		case 16:
			q.add(saidPart(`{"error":"secret"}`, true))
		case 17:
			q.add(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseTrailers{ResponseTrailers: &proc.HttpTrailers{Trailers: pairs("x", "secret")}}})
		case 18:
			q.add(&proc.ProcessingRequest{ObservabilityMode: next()&1 == 0})
		case 19:
			m := saidPart("", false)
			m.ProtocolConfig = &proc.ProtocolConfiguration{RequestBodyMode: modesOf[next()&7]}
			q.add(m)
		}
	}
	return q
}

func (q *sequence) add(m *proc.ProcessingRequest) { q.messages = append(q.messages, m) }

func (q *sequence) request(part string, last bool) {
	if !q.askEnds {
		q.asked, q.askEnds = q.asked+part, last
	}
	q.add(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestBody{RequestBody: &proc.HttpBody{Body: []byte(part), EndOfStream: last}}})
}

func (q *sequence) answer(last bool, fields ...string) {
	q.add(&proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseHeaders{ResponseHeaders: &proc.HttpHeaders{Headers: pairs(fields...), EndOfStream: last}}})
}

func saidPart(part string, last bool) *proc.ProcessingRequest {
	return &proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseBody{ResponseBody: &proc.HttpBody{Body: []byte(part), EndOfStream: last}}}
}

// A dataPlane is a processor before a whole data plane, for sequences.
type dataPlane struct {
	*edgetest.World
	server *Server
}

func newDataPlane(t testing.TB) *dataPlane {
	w := edgetest.New(t)
	w.Put(t, func(s *route.Spec) {
		s.ONNX, s.Upstream, s.Rate, s.Budget, s.ModelBudget = nil, "external", "1000000/1s", "1000000/1s", "1000000/1s"
		s.Signature = infer.SignatureText(tensor.Signature{
			Inputs:  []tensor.Port{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, 2}}},
			Outputs: []tensor.Port{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{-1, 3}}},
		})
	})
	w.Put(t, func(s *route.Spec) {
		s.Name, s.ONNX, s.Upstream, s.Protocol, s.Remote = "local/model/c", nil, "external", "openai", "secret"
		s.Rate, s.Budget, s.ModelBudget = "1000000/1s", "1000000/1s", "1000000/1s"
	})
	return &dataPlane{w, New(Config{Handler: w.Edge.Handler(), Refused: func(string, string) {}})}
}

// play runs a sequence to its end, and holds what came of it to what must hold of any.
func (d *dataPlane) play(t *testing.T, q *sequence) {
	t.Helper()
	size := d.Log.Size()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	l := &line{ctx: ctx, in: make(chan *proc.ProcessingRequest), out: make(chan *proc.ProcessingResponse, 1<<10)}
	go func() {
		l.show(q.messages...)
		if q.cancels {
			cancel()
		} else {
			close(l.in)
		}
	}()
	err := d.server.Process(l)
	late := ctx.Err() == context.DeadlineExceeded
	cancel()
	close(l.out)
	if late {
		t.Fatalf("the stream did not end: %v", err)
	}
	over, answered := q.heard(t, l.out)
	if err == nil && !over && !q.cancels {
		t.Error("the stream ended without an error before all was said")
	}
	infers := 0
	for ; size < d.Log.Size(); size++ {
		r, err := d.Log.Read(size)
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind == "model.infer" {
			infers++
		}
		if answered && r.Kind == "model.infer" && r.Error != nil {
			t.Errorf("what was answered is recorded as %v", r.Error)
		}
	}
	if infers != 1 && q.named || infers != 0 && !q.named {
		t.Errorf("%d records tell of it", infers)
	}
	for n := 0; d.server.open.Load() != 0 || d.server.bodies.Load() != 0; n++ {
		if time.Sleep(time.Millisecond); n > 2000 {
			t.Fatalf("%d exchanges and %d bytes stayed", d.server.open.Load(), d.server.bodies.Load())
		}
	}
}

// heard checks all that came: whether all was said, and whether a whole answer of the
// model's went out.
func (q *sequence) heard(t *testing.T, out <-chan *proc.ProcessingResponse) (over, answered bool) {
	t.Helper()
	sent, text, other := "", "", ""
	immediate := false
	for m := range out {
		if immediate {
			t.Errorf("after an immediate response came %v", m)
		}
		if now := m.GetImmediateResponse(); now != nil {
			immediate, over = true, true
			if code := now.GetStatus().GetCode(); code == 500 && strings.Contains(string(now.GetBody()), "internal error") || code < 200 || code > 599 {
				t.Errorf("something is wrong in here: %v", now)
			}
			other += now.String()
		}
		for _, b := range []*proc.BodyResponse{m.GetRequestBody(), m.GetResponseBody()} {
			if b != nil && b.GetResponse().GetBodyMutation().GetMutation() == nil {
				t.Errorf("a part goes on as it came: %v", m)
			}
		}
		sent += partOf(m.GetRequestBody())
		text += partOf(m.GetResponseBody())
		for _, o := range m.GetResponseHeaders().GetResponse().GetHeaderMutation().GetSetHeaders() {
			other += o.String()
		}
		over = over || m.GetResponseBody() != nil || m.GetResponseTrailers() != nil
	}
	ask, want := tensorAsk, edgetest.Good
	if q.language {
		ask, want = chatAsk, chatSent
	}
	if sent != "" && (sent != want || q.asked != ask || !q.askEnds || !q.named) {
		t.Errorf("of %q the model server was let have %q", q.asked, sent)
	}
	if strings.Contains(text+other, "secret") || text != "" && sent == "" {
		t.Errorf("the caller got %q, %q", text, other)
	}
	if strings.Contains(text, "outputs") && text != edgetest.Answer {
		t.Errorf("the caller got %q", text)
	}
	return over, !immediate && (text == edgetest.Answer || strings.Contains(text, "[DONE]"))
}

// partOf is what takes the place of a part of a body.
func partOf(b *proc.BodyResponse) string {
	m := b.GetResponse().GetBodyMutation()
	return string(m.GetBody()) + string(m.GetStreamedResponse().GetBody())
}

// FuzzSequence plays whatever order of messages bytes decode to, before a whole data plane.
// Nothing may fall over; a body that the gate refuses goes nowhere; nothing follows an
// immediate response; no word of the model's that is not for callers goes out; and each
// stream on which somebody known asked for a model leaves one record.
func FuzzSequence(f *testing.F) {
	const good, both = 0 | 0<<3, 2 | 2<<3 // whole bodies, and both sides stream
	for _, seed := range [][]byte{
		{good, 0, 0, 8, 11}, {both, 0, 0, 8, 11}, {1 | 1<<3, 0, 1, 10, 0, 8, 13, 20, 11}, {both, 1, 0, 8, 11}, {1 | 1<<3, 1, 0, 8, 11},
		{both, 0, 1, 255, 6, 8, 13, 255, 17}, {good, 0, 5, 8, 16}, {both, 0, 0, 10, 1, 9, 0, 16}, {good, 4, 0}, {6, 0, 0, 8, 11}, {good, 2, 0, 8}, {good, 8, 0, 18, 0},
	} {
		f.Add(seed)
	}
	d := newDataPlane(f)
	f.Fuzz(func(t *testing.T, b []byte) { d.play(t, decode(b, d.Token)) })
}

// TestRandomSequences plays thousands of sequences that are made up by chance, most of which
// begin well.
func TestRandomSequences(t *testing.T) {
	d := newDataPlane(t)
	random := rand.New(rand.NewPCG(3, 4))
	answered := 0
	for i := range 3000 {
		b := []byte{byte(random.IntN(64)), byte(random.IntN(4))}
		if random.IntN(4) > 0 { // the model is asked
			b = append(b, 0)
		}
		if random.IntN(4) > 0 { // and answers
			b = append(b, 8)
		}
		if random.IntN(2) > 0 { // and says all
			b = append(b, 11)
		}
		for range random.IntN(6) {
			b = append(b, byte(random.IntN(256)))
		}
		d.play(t, decode(b, d.Token))
		if t.Failed() {
			t.Fatalf("sequence %d, %v", i, b)
		}
	}
	for size := d.Log.Size(); size > 0; size-- {
		if r, err := d.Log.Read(size - 1); err == nil && r.Kind == "model.infer" && r.Error == nil {
			answered++
		}
	}
	if answered < 300 {
		t.Errorf("only %d of the sequences came to an answer", answered)
	}
}
