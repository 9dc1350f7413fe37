package edge_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
)

// A slowTaker takes nothing and keeps what it was given, as net/http's HTTP/2 does when a
// caller resets a stream whose frame is being written.
type slowTaker struct {
	nowhere
	kept []byte
}

func (s *slowTaker) Write(p []byte) (int, error) {
	s.kept = p
	return 0, errors.New("stream closed")
}

// TestAnswersThatWereNotTaken has answers that the server could not take whole stay as they
// are, whatever is answered after them: their memory is no other answer's.
func TestAnswersThatWereNotTaken(t *testing.T) {
	if raced {
		t.Skip("the race detector has no pools: nothing would be used again")
	}
	chats := languages(t, says("application/json", strings.Replace(answered, "hello", strings.Repeat("The transfer leaves at noon. ", 20), 1)), nil)
	others := languages(t, says("application/json", strings.Replace(answered, "hello", strings.Repeat("Another answer for another one. ", 20), 1)), nil)
	tensors := edgetest.New(t)
	tensors.Put(t, func(s *route.Spec) { s.ONNX, s.Bounds = scorer(4), bounds(4) })
	ask := func(handler http.Handler, token, path, body string, w http.ResponseWriter) {
		req, err := http.NewRequest(http.MethodPost, path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.RemoteAddr = "127.0.0.1:4711"
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		handler.ServeHTTP(w, req)
	}
	for i, c := range []struct{ path, body, other string }{
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"when?"}]}`, `{"model":"m","messages":[{"role":"user","content":"and that?"}]}`},
		{"/v2/models/m/infer", string(row(4)), strings.ReplaceAll(string(row(4)), "0.48291", "0.1")},
	} {
		first, second := chats, others
		if i == 1 {
			first, second = tensors, tensors
		}
		for range 20 {
			w := &slowTaker{nowhere: nowhere{header: http.Header{}}}
			ask(first.Edge.Handler(), first.Token, c.path, c.body, w)
			if len(w.kept) == 0 || w.status != http.StatusOK {
				t.Fatalf("%s: status %d, %d bytes", c.path, w.status, len(w.kept))
			}
			was := string(w.kept)
			ask(second.Edge.Handler(), second.Token, c.path, c.other, &nowhere{header: http.Header{}})
			if string(w.kept) != was {
				t.Fatalf("%s: what one caller was to get became %.200q", c.path, w.kept)
			}
		}
	}
}
