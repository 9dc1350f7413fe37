package classifier

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/prompt"
)

// serve answers each request with a status and a body.
func serve(t *testing.T, h http.HandlerFunc) *Classifier {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // a server sees who goes away only behind the body
		r.Body = io.NopCloser(strings.NewReader(string(b)))
		h(w, r)
	}))
	t.Cleanup(s.Close)
	c, err := New(prompt.Classifier{URL: s.URL + "/judge?v=1", Timeout: 300})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestOpinion asks, in the form of docs/formats/classifier.md, and gets an opinion.
func TestOpinion(t *testing.T) {
	var asked, path string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		asked, path = string(b), r.Method+" "+r.RequestURI
		io.WriteString(w, `{"flagged":true,"score":0.93,"label":"injection","model":"guard-1"}`)
	})
	o, err := c.Ask(context.Background(), "acme/model/chat", []Text{{"user", "a \"b\""}})
	if err != nil || o.String() != "flagged as injection, score 0.930" {
		t.Fatal(o, err)
	}
	if want := `{"version":1,"model":"acme/model/chat","texts":[{"role":"user","text":"a \"b\""}]}`; asked != want || path != "POST /judge?v=1" {
		t.Errorf("it was asked %s at %s", asked, path)
	}
	if o := (Opinion{Score: 0}); o.String() != "passed, score 0.000" {
		t.Error(o)
	}
}

// TestBadClassifiers has none that lies, fails or hangs be more than unavailable, in time.
func TestBadClassifiers(t *testing.T) {
	const text = "a prompt that nobody else is to read"
	for name, h := range map[string]http.HandlerFunc{
		"5xx": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"nothing":   func(http.ResponseWriter, *http.Request) {},
		"no json":   func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "flagged") },
		"no word":   func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"score":0.5}`) },
		"two words": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"flagged":true,"flagged":false}`) },
		"in cases":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"flagged":true,"Flagged":false}`) },
		"too sure":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"flagged":true,"score":2}`) },
		"no number": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"flagged":true,"score":1e999}`) },
		"a tale":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"flagged":true,"label":"`+text+`"}`) },
		"too much": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"flagged":true}`+strings.Repeat(" ", 1<<20))
		},
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"drips": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, " "); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		},
		"goes away": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, h)
			o, err := c.Ask(context.Background(), "m", []Text{{"user", text}})
			if pavise.KindOf(err) != pavise.Unavailable || o.Flagged {
				t.Fatalf("%+v, %v", o, err)
			}
			if strings.Contains(err.Error(), "prompt") {
				t.Error(err)
			}
		})
	}
	gone, err := New(prompt.Classifier{URL: "http://127.0.0.1:1/", Timeout: 200})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Ask(context.Background(), "m", nil); pavise.KindOf(err) != pavise.Unavailable {
		t.Error(err)
	}
}

// TestAddresses refuses those that are none.
func TestAddresses(t *testing.T) {
	for _, address := range []string{"", "http://", "ftp://h/", "http://u:p@h/", "://"} {
		if c, err := New(prompt.Classifier{URL: address}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v %v", address, c, err)
		}
	}
}

func FuzzOpinion(f *testing.F) {
	f.Add([]byte(`{"flagged":true,"score":0.5,"label":"x"}`))
	f.Add([]byte(`{"flagged":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := read(body)
		if err == nil && (!json.Valid(body) || o.Score < 0 || o.Score > 1 || len(o.Label) > 32) {
			t.Fatalf("%q is %+v", body, o)
		}
	})
}
