package infer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/tensor"
)

const request = `{"id":"r1","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,-2]}]}`

// oipAt is the model m on a server of the Open Inference Protocol.
func oipAt(address string) Place {
	return Place{Address: address, Model: "m", Protocol: tensor.NameOIP}
}

func parsed(t *testing.T) *tensor.Request {
	t.Helper()
	r, err := tensor.ParseRequest([]byte(request), tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNative(t *testing.T) {
	w := onnx.NewWriter("relu")
	w.Node("Relu", "y", []string{w.Input("x", 2)})
	w.Output("y", 2)
	m, err := NewNative("relu", w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := m.Infer(context.Background(), parsed(t))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s %s %v %v", answer.ID, answer.Outputs[0].Name, answer.Outputs[0].Shape, answer.Outputs[0].Data.Floats)
	if want := "r1 y [1 2] [1 0]"; got != want {
		t.Errorf("answer %s, want %s", got, want)
	}
	if err := m.Signature().Validate(); err != nil {
		t.Error(err)
	}
}

func TestNativeRefusesGarbage(t *testing.T) {
	if _, err := NewNative("x", []byte("not a model")); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "not an ONNX model that the gateway can run: ") {
		t.Errorf("garbage: %v", err)
	}
}

// TestUpstreamLies has a model server do what a broken or hostile one may do.
func TestUpstreamLies(t *testing.T) {
	const good = `{"model_name":"m","id":"r1","outputs":[{"name":"y","datatype":"FP32","shape":[1,1],"data":[0.5]}]}`
	limits := tensor.DefaultLimits()
	limits.MaxBody = 4096
	tests := map[string]struct {
		serve http.HandlerFunc
		want  string // in the error; empty: none
	}{
		"good":    {say(200, good), ""},
		"status":  {say(500, good), "status 500"},
		"unknown": {say(404, good), "does not know the model"},
		"refuses": {say(422, good), "refused the request with status 422"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, "status 307"},
		"not json":      {say(200, "<html>"), ""},
		"endless":       {say(200, strings.Repeat(" ", 10_000)+good), "more than 4096"},
		"wrong id":      {say(200, strings.Replace(good, "r1", "r2", 1)), "another request"},
		"shape lie":     {say(200, strings.Replace(good, "[1,1]", "[1,2]", 1)), "data"},
		"nan":           {say(200, strings.Replace(good, "0.5", "NaN", 1)), "data"},
		"duplicate key": {say(200, strings.Replace(good, `"id":"r1",`, `"id":"r1","id":"r1",`, 1)), "id"},
		"cut short": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "999")
			fmt.Fprint(w, good)
		}, "broke off"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tt.serve)
			defer server.Close()
			u, err := NewUpstream(oipAt(server.URL), tensor.Signature{}, limits)
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			_, err = u.Infer(context.Background(), parsed(t))
			switch {
			case name == "good" && err != nil:
				t.Errorf("refused: %v", err)
			case name != "good" && pavise.KindOf(err) != pavise.Unavailable:
				t.Errorf("kind %v: %v", pavise.KindOf(err), err)
			case err != nil && !strings.Contains(err.Error(), tt.want):
				t.Errorf("error %q, want %q in it", err, tt.want)
			}
		})
	}
}

// TestOldServer takes the answer of one that says by closing that it is over, as the
// simplest servers do, and no half of it.
func TestOldServer(t *testing.T) {
	for cut, want := range map[int]bool{0: true, 1: false, 30: false} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.ReadAll(r.Body)
			nc, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			io.WriteString(nc, "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"+answer[:len(answer)-cut])
		}))
		u, err := NewUpstream(oipAt(server.URL), tensor.Signature{}, tensor.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Infer(t.Context(), parsed(t)); (err == nil) != want || !want && pavise.KindOf(err) != pavise.Unavailable {
			t.Errorf("cut by %d: %v", cut, err)
		}
		u.Close()
		server.Close()
	}
}

func say(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func TestUpstreamGetsOnlyOurBytes(t *testing.T) {
	var got string
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := new(strings.Builder)
		if _, err := fmt.Fprint(buf, r.URL.Path); err != nil {
			t.Error(err)
		}
		body := make([]byte, r.ContentLength)
		r.Body.Read(body)
		got, header = buf.String()+" "+string(body), r.Header.Clone()
		fmt.Fprint(w, `{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1]}]}`)
	}))
	defer server.Close()
	u, err := NewUpstream(oipAt(server.URL+"/serving"), tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Infer(context.Background(), parsed(t)); err != nil {
		t.Fatal(err)
	}
	want, _ := parsed(t).AppendJSON(nil)
	if got != "/serving/v2/models/m/infer "+string(want) {
		t.Errorf("upstream got %s", got)
	}
	if header.Get("Authorization") != "" || header.Get("Accept-Encoding") != "" {
		t.Errorf("upstream got headers %v", header)
	}
}

func TestUpstreamAway(t *testing.T) {
	u, err := NewUpstream(oipAt("http://127.0.0.1:1"), tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := u.Infer(ctx, parsed(t)); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("away: %v", err)
	}
	if _, err := u.Describe(ctx); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("away: %v", err)
	}
}

func TestUpstreamAddress(t *testing.T) {
	for _, bad := range []string{"", "host:80", "ftp://h", "http://", "http://u:p@h", "http://h?x=1", "http://h#f"} {
		if _, err := NewUpstream(oipAt(bad), tensor.Signature{}, tensor.DefaultLimits()); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("address %q: %v", bad, err)
		}
	}
}

// TestUpstreamDoesNotKnow hints at the name the model may have on the server.
func TestUpstreamDoesNotKnow(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	u, err := NewUpstream(oipAt(server.URL), tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	_, err = u.Describe(t.Context())
	if e, ok := errors.AsType[*pavise.Error](err); !ok || !strings.Contains(e.Hint, "--remote NAME") {
		t.Errorf("%+v", err)
	}
}
