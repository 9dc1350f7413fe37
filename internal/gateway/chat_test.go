package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
)

const (
	question = `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
	answered = `{"id":"a","object":"chat.completion","created":1,"model":"up","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}`
)

var somebody = pavise.Principal{Tenant: tenant, Kind: pavise.Workload, ID: "app", Issuer: issuer.LocalURL("test"), Roles: []string{"caller"}}

// languageModel puts a route to a model on a server that says one thing.
func (w *world) languageModel(t *testing.T, media, text string, edit func(*route.Spec)) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", media)
		io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	w.put(t, func(s *route.Spec) {
		s.ONNX, s.Upstream, s.Remote, s.Protocol = nil, server.URL, "up", tensor.NameOpenAI
		if edit != nil {
			edit(s)
		}
	})
}

func asking(body string) ChatCall { return ChatCall{API: chat.Chat, Body: strings.NewReader(body)} }

// TestChatCommitments open to what the caller got, of a whole answer and of a stream.
func TestChatCommitments(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.languageModel(t, "application/json", answered, nil)
	x, err := w.BeginChat(t.Context(), somebody, asking(question))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := x.Answer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.opens(t, answer.Record, answer.Body)

	event := `data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"up","choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":"stop"}]}` + "\n\n"
	if err := w.Routes.Delete(t.Context(), operator, theModel); err != nil {
		t.Fatal(err)
	}
	w = newWorld(t, t.TempDir())
	w.languageModel(t, "text/event-stream", event+"data: [DONE]\n\n", func(s *route.Spec) { s.Durable = new(true) })
	if x, err = w.BeginChat(t.Context(), somebody, asking(strings.Replace(question, "{", `{"stream":true,`, 1))); err != nil {
		t.Fatal(err)
	}
	index := w.log.Size()
	var got []byte
	err = x.Stream(t.Context(), func(b []byte) error {
		if w.log.Head().Size <= index {
			t.Error("a durable route sent the end before its record survives power loss")
		}
		got = append(got, b...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, events, _ := bytes.Cut(got, []byte("\n\n")) // the comment that names the record
	w.opens(t, index, events)
}

// opens checks a record's commitment to what was sent.
func (w *world) opens(t *testing.T, index uint64, sent []byte) {
	t.Helper()
	r, err := w.log.Read(index)
	if err != nil {
		t.Fatal(err)
	}
	var trail ChatTrail
	if err := json.Unmarshal(r.Detail, &trail); err != nil {
		t.Fatal(err)
	}
	plain, err := w.open(t, r)
	if err != nil {
		t.Fatal(err)
	}
	x := Exchange{}
	if err := json.Unmarshal(plain, &x.kept); err != nil {
		t.Fatal(err)
	}
	if got := x.commit(sent); got != trail.Output {
		t.Errorf("the commitment to %q does not open: %s, want %s", sent, got, trail.Output)
	}
}

// TestChatObserved lets pass what it would refuse, and says so; but what nobody knows
// does not go on.
func TestChatObserved(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.languageModel(t, "application/json", answered, func(s *route.Spec) { s.Observe, s.MaxRows = new(true), 1 })
	x, err := w.BeginChat(t.Context(), somebody, asking(strings.Replace(question, "{", `{"logit_bias":{"1":5},"top_k":5,`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(x.body, []byte("logit_bias")) || bytes.Contains(x.body, []byte("top_k")) {
		t.Errorf("the server is asked %s", x.body)
	}
	answer, err := x.Answer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.log.Read(answer.Record)
	if err != nil {
		t.Fatal(err)
	}
	if !hasVerdict(r, "fields", pavise.Deny, true) || !hasVerdict(r, "fields", pavise.Alter, false) {
		t.Errorf("verdicts %+v", r.Verdicts)
	}
}

func hasVerdict(r record.Record, check string, outcome pavise.Outcome, observed bool) bool {
	for _, v := range r.Verdicts {
		if v.Check == check && v.Outcome == outcome && v.Observed == observed {
			return true
		}
	}
	return false
}

// TestLanguageRoutes are put, kept over a restart, and adopted; what means nothing for
// one is refused.
func TestLanguageRoutes(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.languageModel(t, "application/json", answered, func(s *route.Spec) { s.Fields = []byte(`{"trusted":["analyst"],"max_tokens":9}`) })
	want := firewall.Fields{Trusted: []string{"analyst"}, MaxTokens: 9}
	standing := w.Routes.Standings()
	if !reflect.DeepEqual(standing[0].Fields, want) || standing[0].Shape.Kind != firewall.Full {
		t.Errorf("%+v", standing[0])
	}
	for name, edit := range map[string]func(*route.Spec){
		"signature":   func(s *route.Spec) { s.Signature = []byte(`{}`) },
		"bounds":      func(s *route.Spec) { s.Bounds = []byte(`{}`) },
		"shape":       func(s *route.Spec) { s.Shape = "label" },
		"fields":      func(s *route.Spec) { s.Fields = []byte(`{"trusted":["a"],"Trusted":["b"]}`) },
		"unknown":     func(s *route.Spec) { s.Fields = []byte(`{"trust":["a"]}`) },
		"allowed":     func(s *route.Spec) { s.Fields = []byte(`{"allow":["logit_bias"]}`) },
		"of tensors":  func(s *route.Spec) { s.Name, s.ONNX, s.Fields = "local/model/n", softmaxModel(), []byte(`{}`) },
		"no protocol": func(s *route.Spec) { s.Protocol = "OpenAI" },
	} {
		spec := route.Spec{Name: theModel.String()}
		edit(&spec)
		if _, err := w.Routes.Put(t.Context(), operator, spec); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.close()
	again := newWorld(t, dir)
	if got := again.Routes.Standings(); !reflect.DeepEqual(got, standing) {
		t.Errorf("after a restart: %+v, want %+v", got, standing)
	}
	other := newWorld(t, t.TempDir())
	if err := other.Routes.Adopt(t.Context(), standing, 1, nil); err != nil {
		t.Fatal(err)
	}
	if x, err := other.BeginChat(t.Context(), somebody, asking(question)); err != nil {
		t.Error(err)
	} else if _, err := x.Answer(t.Context()); err != nil {
		t.Error(err)
	}
	standing[0].Signature.Inputs = []tensor.Port{{Name: "x"}}
	if err := other.Routes.Adopt(t.Context(), standing, 1, nil); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a language model with a signature: %v", err)
	}
}

// TestChatBodiesAreBounded takes no more of a body than its limit, whoever sends it.
func TestChatBodiesAreBounded(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.languageModel(t, "application/json", answered, nil)
	read := &endless{}
	_, err := w.BeginChat(t.Context(), somebody, ChatCall{API: chat.Chat, Body: read})
	if pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("endless body: %v", err)
	}
	if limit := chat.DefaultLimits().MaxBody; read.n > limit+1<<20 {
		t.Errorf("%d bytes were read of a body limited to %d", read.n, limit)
	}
	if all, callers := w.bodies.Held(); all != 0 || callers != 0 {
		t.Errorf("%d bytes are still held", all)
	}
	if _, err := w.BeginChat(t.Context(), pavise.Principal{Tenant: tenant, Kind: pavise.Workload, ID: "norole"}, asking(question)); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("without a role: %v", err)
	}
	if all, callers := w.bodies.Held(); all != 0 || callers != 0 {
		t.Errorf("%d bytes are still held after a denial", all)
	}
}

// TestWaitingLeavesRoomForOthers sends a body of a megabyte that is a hundred as values.
// While the model takes its time over it, its caller holds what is still needed of it,
// and not what reading it took: one caller's one request would keep everybody out.
func TestWaitingLeavesRoomForOthers(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.languageModel(t, "application/json", answered, nil)
	tokens := strings.Repeat(",1", 100_000)[1:]
	body := `{"model":"m","input":[[` + tokens + strings.Repeat("],["+tokens, 4) + `]]}`
	if weight := chat.Count([]byte(body), chat.DefaultLimits()).Weight(); weight < intake.Max/4 {
		t.Fatalf("it takes %d bytes to read: too few to tell", weight)
	}
	x, err := w.BeginChat(t.Context(), somebody, ChatCall{API: chat.Embeddings, Body: strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	if held, _ := w.bodies.Held(); held > 2*len(body) {
		t.Errorf("%d bytes are held for a body of %d while the model is asked", held, len(body))
	}
	x.Abort(io.ErrUnexpectedEOF)
	if held, _ := w.bodies.Held(); held != 0 {
		t.Errorf("%d bytes are still held", held)
	}
}
