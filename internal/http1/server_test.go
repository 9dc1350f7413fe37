package http1

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// dial connects for the length of a test.
func dial(t testing.TB, addr string) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// ways are handlers that answer in every way there is. Ours and net/http's answer must be
// the same to a client.
var ways = map[string]http.HandlerFunc{
	"nothing":        func(w http.ResponseWriter, r *http.Request) {},
	"status":         func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) },
	"unknown status": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(799); io.WriteString(w, "x") },
	"no content":     func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204); writes(w, "x") },
	"not modified":   func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(304); writes(w, "x") },
	"small":          func(w http.ResponseWriter, r *http.Request) { writes(w, "hello ", "world") },
	"html":           func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>hello") },
	"large":          func(w http.ResponseWriter, r *http.Request) { writes(w, strings.Repeat("a", 100_000)) },
	"many": func(w http.ResponseWriter, r *http.Request) {
		writes(w, strings.Fields(strings.Repeat("word ", 5000))...)
	},
	"many, as strings": func(w http.ResponseWriter, r *http.Request) {
		for range 5000 {
			io.WriteString(w, "word")
		}
	},
	"declared": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		writes(w, "hello")
	},
	"declared, large": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100001")
		writes(w, strings.Repeat("a", 100_000), "b")
	},
	"flushed":       func(w http.ResponseWriter, r *http.Request) { writes(w, "a"); flush(w); writes(w, "b", "c"); flush(w) },
	"flushed first": func(w http.ResponseWriter, r *http.Request) { flush(w); writes(w, "a") },
	"flushed, declared": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "2")
		flush(w)
		writes(w, "a")
		flush(w)
		writes(w, "b")
	},
	"fields": func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-A", "1")
		h.Add("X-A", "2")
		h.Set("X-Split", "a\r\nX-Evil: b")
		h["Bad Name"] = []string{"x"}
		h.Set("Content-Type", "application/json")
		h.Set("Date", "never")
		w.WriteHeader(201)
		h.Set("X-Late", "x")
		writes(w, "{}")
	},
	"encoded": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "x")
		writes(w, "<html>")
	},
	"no type": func(w http.ResponseWriter, r *http.Request) { w.Header()["Content-Type"] = nil; writes(w, "<html>") },
	"reads": func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprint(w, len(body), err)
	},
	"closes": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close"); writes(w, "bye") },
	"interim": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "x")
		w.WriteHeader(103)
		writes(w, "a")
	},
	"controls": func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		fmt.Fprint(w, c.SetReadDeadline(time.Now().Add(time.Second)), c.SetWriteDeadline(time.Time{}), c.Flush())
	},
	"context": func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), contextKey{}, "b"), time.Minute)
		defer cancel()
		_, isServer := ctx.Value(http.ServerContextKey).(*http.Server)
		_, isAddr := ctx.Value(http.LocalAddrContextKey).(net.Addr)
		fmt.Fprint(w, ctx.Value("a"), ctx.Value("c"), isServer, isAddr, ctx.Err())
	},
}

func writes(w io.Writer, parts ...string) {
	for _, p := range parts {
		w.Write([]byte(p))
	}
}

func flush(w http.ResponseWriter) { w.(http.Flusher).Flush() }

func TestAnswersAreThoseOfNetHTTP(t *testing.T) {
	mux := http.NewServeMux()
	for name, h := range ways {
		mux.Handle("/"+strings.ReplaceAll(name, " ", "_"), h)
	}
	ours, theirs := start(t, &Server{Handler: mux}), start(t, newAny("net-http", mux))
	client := &http.Client{}
	defer client.CloseIdleConnections()
	for name := range ways {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			get := func(addr string) string {
				req, _ := http.NewRequest(method, "http://"+addr+"/"+strings.ReplaceAll(name, " ", "_"), strings.NewReader(strings.Repeat("b", 3000)))
				if method != "POST" {
					req.Body, req.ContentLength = nil, 0
				}
				r, err := client.Do(req)
				if err != nil {
					return err.Error()
				}
				defer r.Body.Close()
				body, err := io.ReadAll(r.Body)
				if r.Header.Get("Date") == "" {
					t.Errorf("%s %s: no Date", method, name)
				}
				if r.Header.Get("Date") != "never" {
					r.Header.Del("Date")
				}
				if method == "HEAD" && r.ContentLength > 2048 {
					r.ContentLength = -1 // net/http does not count that far
					r.Header.Del("Content-Length")
				}
				return fmt.Sprintf("%d %v %d %v %v close %t\n%s", r.StatusCode, r.Header, r.ContentLength, r.TransferEncoding, err, r.Close, body)
			}
			if a, b := get(ours), get(theirs); a != b {
				t.Errorf("%s %s:\n%.300s\nand by net/http\n%.300s", method, name, a, b)
			}
		}
	}
}

// TestReplies are answers in one step: the same as in several, or none.
func TestReplies(t *testing.T) {
	large := strings.Repeat("b", 50_000)
	addr := start(t, &Server{Lend: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := map[string]string{"/small": "hello", "/empty": "", "/large": large}[r.URL.Path]
		switch r.URL.Path {
		case "/set":
			w.Header().Set("X-Before", "1")
		case "/begun":
			flush(w)
		}
		did := w.(*answer).Reply(http.StatusOK, "Content-Type: a/b\r\nX-Number: ", 18446744073709551615, []byte(body))
		if again := w.(*answer).Reply(http.StatusOK, "X-Number: ", 2, []byte("two")); again {
			t.Error("it replies twice")
		}
		if _, err := w.Write([]byte("x")); did && err == nil {
			t.Error("more than the reply is written")
		}
	})})
	client := &http.Client{}
	defer client.CloseIdleConnections()
	for _, row := range []struct{ method, path, number, body string }{
		{"GET", "/small", "18446744073709551615", "hello"},
		{"POST", "/empty", "18446744073709551615", ""},
		{"GET", "/large", "18446744073709551615", large},
		{"GET", "/small", "18446744073709551615", "hello"},
		{"HEAD", "/small", "", ""},
		{"GET", "/set", "", "x"},
		{"GET", "/begun", "", "x"},
	} {
		req, _ := http.NewRequest(row.method, "http://"+addr+row.path, nil)
		r, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if number := r.Header.Get("X-Number"); err != nil || string(body) != row.body || number != row.number {
			t.Errorf("%s %s: %.50q, number %q, %v", row.method, row.path, body, number, err)
		}
		if row.number != "" && (r.Header.Get("Content-Type") != "a/b" || r.ContentLength != int64(len(row.body)) || r.Header.Get("Date") == "") {
			t.Errorf("%s %s: %v", row.method, row.path, r.Header)
		}
	}
}

// TestBodiesThatHaveArrived waits for nobody, and says so of no other.
func TestBodiesThatHaveArrived(t *testing.T) {
	addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ours := r.Body.(*requestBody)
		fmt.Fprint(w, ours && body.Arrived())
	})})
	for text, want := range map[string]string{
		"Content-Length: 5||hello":                 "true",
		"Content-Length: 5||hell":                  "false",
		"Transfer-Encoding: chunked||0||":          "false",
		"Content-Length: 5|Expect: 100-continue||": "false",
	} {
		c := dial(t, addr)
		io.WriteString(c, crlf("POST / HTTP/1.1|Host: h|Connection: close|"+text))
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(r.Body); string(got) != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// TestHandlersThatAreWrong shows what a handler cannot do to its caller.
func TestHandlersThatAreWrong(t *testing.T) {
	addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		switch r.URL.Path {
		case "/more":
			h.Set("Content-Length", "5")
			writes(w, "hello")
			if _, err := io.WriteString(w, "!"); err != http.ErrContentLength {
				t.Error(err)
			}
		case "/less":
			h.Set("Content-Length", "5")
			writes(w, "hell")
		case "/nonsense":
			h.Set("Content-Length", "5, 6")
			writes(w, "hello")
		case "/codings":
			h.Set("Transfer-Encoding", "gzip")
			h.Set("Trailer", "X")
			h.Set(http.TrailerPrefix+"X", "y")
			writes(w, "hello")
		case "/fields":
			h["X-A"] = []string{"b\x00c\rd\ne"}
			h["X:-B"], h["X-C\r\nX-D"], h[""] = []string{"x"}, []string{"x"}, []string{"x"}
		}
	})})
	for path, want := range map[string]string{
		"/more":     "Content-Type: text/plain; charset=utf-8|Content-Length: 5||hello",
		"/less":     "Content-Type: text/plain; charset=utf-8|Content-Length: 5||hell",
		"/nonsense": "Content-Type: text/plain; charset=utf-8|Content-Length: 5||hello",
		"/codings":  "Content-Type: text/plain; charset=utf-8|Content-Length: 5||hello",
		"/fields":   "X-A: b c d e|Content-Length: 0||",
	} {
		c := dial(t, addr)
		io.WriteString(c, crlf("GET "+path+" HTTP/1.1|Host: h||"))
		got := make([]byte, len(crlf("HTTP/1.1 200 OK|"+want))+len("Date: |")+1+len(http.TimeFormat))
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatalf("%s: %q, %v", path, got, err)
		}
		before, after, _ := strings.Cut(string(got), "Date: ")
		if text := strings.TrimPrefix(before, "HTTP/1.1 200 OK\r\n") + after[len(http.TimeFormat)+2:]; text != crlf(want) {
			t.Errorf("%s: %q", path, text)
		}
		if path == "/less" {
			ended(t, c)
		}
	}
}

func TestPipelineIsAnsweredInOrder(t *testing.T) {
	addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/0" {
			time.Sleep(20 * time.Millisecond)
		}
		io.Copy(w, r.Body)
		io.WriteString(w, r.URL.Path+" ")
	})})
	var text, want strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n%03d", i, i)
		fmt.Fprintf(&want, "%03d/%d ", i, i)
	}
	c := dial(t, addr)
	go io.WriteString(c, text.String())
	in := bufio.NewReader(c)
	var got strings.Builder
	for range 500 {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(&got, r.Body)
	}
	if got.String() != want.String() {
		t.Fatal("out of order")
	}
}

// TestLentRequestsAreClean asks for many different things over one connection that uses
// everything again.
func TestLentRequestsAreClean(t *testing.T) {
	c := dial(t, start(t, &Server{Handler: echo, Lend: true}))
	theirs := dial(t, start(t, newAny("net-http", echo)))
	in, theirIn := bufio.NewReader(c), bufio.NewReader(theirs)
	for i := range 100 {
		var text strings.Builder
		fmt.Fprintf(&text, "%s /%d?q%d HTTP/1.1\r\nHost: h%d\r\n", []string{"GET", "POST", "PUT"}[i%3], i, i%7, i)
		for f := range i * 7 % 40 {
			fmt.Fprintf(&text, "X-%d: %d\r\n", f*i%50, f)
		}
		switch i % 4 {
		case 0:
			text.WriteString("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
		case 1:
			text.WriteString("Content-Length: 3\r\n\r\nabc")
		default:
			text.WriteString("\r\n")
		}
		var bodies [2]string
		for n, to := range []struct {
			net.Conn
			in *bufio.Reader
		}{{c, in}, {theirs, theirIn}} {
			io.WriteString(to, text.String())
			r, err := http.ReadResponse(to.in, nil)
			if err != nil {
				t.Fatal(i, err)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(i, err)
			}
			bodies[n] = string(body)
		}
		if bodies[0] != bodies[1] {
			t.Fatalf("seen %s, and by net/http %s", bodies[0], bodies[1])
		}
	}
}

func TestHalfClosedIsAnswered(t *testing.T) {
	addr := start(t, &Server{Handler: echo})
	c := dial(t, addr)
	io.WriteString(c, crlf("POST /a HTTP/1.1|Host: h|Content-Length: 5||hello"))
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || !bytes.Contains(got, []byte(`"hello"`)) {
		t.Fatalf("%q, %v", got, err)
	}
}

// ended waits until the server has closed c, and returns what came before.
func ended(t *testing.T, c net.Conn) string {
	t.Helper()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	got, err := io.ReadAll(c)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Fatal("the connection is still open")
	}
	return string(got)
}

func TestSlowCallersAreLetGo(t *testing.T) {
	addr := start(t, &Server{Handler: echo, ReadHeaderTimeout: 50 * time.Millisecond})
	for name, text := range map[string]string{
		"says nothing": "", "half a head": "GET / HTTP/1.1\r\nHost: h\r\nX-", "half a line": "GE",
	} {
		c := dial(t, addr)
		io.WriteString(c, text)
		if got := ended(t, c); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
	drip := dial(t, addr)
	go func() {
		for {
			if _, err := io.WriteString(drip, "a"); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	ended(t, drip)
	idle := dial(t, start(t, &Server{Handler: echo, IdleTimeout: 50 * time.Millisecond}))
	io.WriteString(idle, crlf("GET / HTTP/1.1|Host: h||"))
	if got := ended(t, idle); !strings.HasPrefix(got, "HTTP/1.1 200 OK") {
		t.Errorf("idle: %q", got)
	}
}

func TestSlowBodyEndsAtTheHandlersDeadline(t *testing.T) {
	for name, s := range map[string]*Server{"ReadTimeout": {ReadTimeout: 50 * time.Millisecond}, "SetReadDeadline": {}, "from elsewhere": {}} {
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := http.NewResponseController(w)
			switch name {
			case "SetReadDeadline":
				c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			case "from elsewhere":
				go func() {
					time.Sleep(50 * time.Millisecond)
					c.SetReadDeadline(time.Now())
				}()
			}
			body, err := io.ReadAll(r.Body)
			ne, ok := errors.AsType[net.Error](err)
			fmt.Fprint(w, string(body), ok && ne.Timeout())
		})
		c := dial(t, start(t, s))
		io.WriteString(c, crlf("POST / HTTP/1.1|Host: h|Content-Length: 5||hell"))
		if got := ended(t, c); !strings.HasSuffix(got, "helltrue") || !strings.Contains(got, "Connection: close") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestSlowReaderIsLetGo(t *testing.T) {
	failed := make(chan error, 1)
	addr := start(t, &Server{WriteTimeout: 50 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				failed <- err
				return
			}
		}
	})})
	c := dial(t, addr)
	io.WriteString(c, crlf("GET / HTTP/1.1|Host: h||"))
	if ne, ok := errors.AsType[net.Error](<-failed); !ok || !ne.Timeout() {
		t.Fatal(ne)
	}
}

func TestBodiesThatNobodyWanted(t *testing.T) {
	addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) })})
	for size, kept := range map[int]bool{10: true, 5000: true, 60_000: true, 100_000: false, 10 << 20: false} {
		c := dial(t, addr)
		go fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s%s", size, strings.Repeat("a", size), crlf("GET /2 HTTP/1.1|Host: h|Connection: close||"))
		got := ended(t, c)
		if n := strings.Count(got, "HTTP/1.1 401"); n != 1 && !kept || n != 2 && kept {
			t.Errorf("%d bytes: %d answers: %q", size, n, got)
		}
	}
}

// TestEndsThatNobodyRead keeps connections whose handlers stop before the end of what has
// arrived, and no others.
func TestEndsThatNobodyRead(t *testing.T) {
	addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.ReadFull(r.Body, make([]byte, 3))
		r.Body.Close()
	})})
	for text, answers := range map[string]int{
		"Content-Length: 3||abc":                             2,
		"Content-Length: 6||abcdef":                          2,
		"Transfer-Encoding: chunked||3|abc|0||":              2,
		"Transfer-Encoding: chunked||3|abc|3|def|0||":        2,
		"Transfer-Encoding: chunked||3|abc|3|def|0|X: y||":   1,
		"Transfer-Encoding: chunked||3|abc|3|defg|0||":       1,
		"Transfer-Encoding: chunked||3|abc|fff|GET / HTTP||": 1,
	} {
		got := say(t, addr, crlf("POST / HTTP/1.1|Host: h|"+text+"GET /2 HTTP/1.1|Host: h|Connection: close||"))
		if n := strings.Count(got, "HTTP/1.1 200 OK"); n != answers {
			t.Errorf("%s: %d answers: %q", text, n, got)
		}
	}
}

// A pipeListener gives connections that are no sockets.
type pipeListener chan net.Conn

// Accept returns the next one.
func (l pipeListener) Accept() (net.Conn, error) {
	if c, ok := <-l; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// Close ends Accept.
func (l pipeListener) Close() error {
	defer func() { recover() }() // closed before
	close(l)
	return nil
}

// Addr is nobody's.
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestConnectionsThatAreNoSockets(t *testing.T) {
	l := make(pipeListener)
	s := &Server{Handler: echo}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	c, theirs := net.Pipe()
	l <- theirs
	in := bufio.NewReader(c)
	for range 3 {
		go io.WriteString(c, crlf("POST /a HTTP/1.1|Host: h|Content-Length: 5||hello"))
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(r.Body); err != nil || !bytes.Contains(body, []byte(`"hello"`)) {
			t.Fatal(string(body), err)
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != http.ErrServerClosed {
		t.Fatal(err)
	}
}

func TestExpectContinue(t *testing.T) {
	addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(403)
			return
		}
		io.Copy(w, r.Body)
	})})
	c := dial(t, addr)
	in := bufio.NewReader(c)
	io.WriteString(c, crlf("POST / HTTP/1.1|Host: h|Expect: 100-Continue|Content-Length: 5||"))
	if line, err := in.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	io.WriteString(c, "hello")
	in.ReadString('\n')
	r, err := http.ReadResponse(in, nil)
	if err != nil || r.ContentLength != 5 || r.Close {
		t.Fatal(r, err)
	}
	io.Copy(io.Discard, r.Body)
	io.WriteString(c, crlf("POST /no HTTP/1.1|Host: h|Expect: 100-continue|Content-Length: 5||"))
	if r, err = http.ReadResponse(in, nil); err != nil || r.StatusCode != 403 || !r.Close {
		t.Fatal(r, err)
	}
}

func TestPanicsEndTheirConnectionAndNoOther(t *testing.T) {
	var text bytes.Buffer
	var mu sync.Mutex
	addr := start(t, &Server{ErrorLog: log.New(lockedWriter{&mu, &text}, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		switch r.URL.Path {
		case "/panic":
			panic("oh no")
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/exit":
			runtime.Goexit()
		}
	})})
	for _, path := range []string{"/abort", "/exit", "/panic"} {
		if got := say(t, addr, crlf("GET "+path+" HTTP/1.1|Host: h||")+crlf("GET /2 HTTP/1.1|Host: h||")); got != "" {
			t.Errorf("%s: %q", path, got)
		}
	}
	if got := say(t, addr, crlf("GET / HTTP/1.1|Host: h|Connection: close||")); !strings.HasSuffix(got, "half") {
		t.Errorf("after them: %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(text.String(), "panic serving"); n != 1 || !strings.Contains(text.String(), "oh no") {
		t.Errorf("logged: %s", text.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// TestWhatIsKeptIsOver keeps everything that a handler gets and may keep, and uses it while
// the same connection serves others.
func TestWhatIsKeptIsOver(t *testing.T) {
	for _, lend := range []bool{false, true} {
		keepAndUse(t, lend)
	}
}

func keepAndUse(t *testing.T, lend bool) {
	type kept struct {
		w    http.ResponseWriter
		r    *http.Request
		ctx  context.Context
		body io.Reader
	}
	keeps := make(chan kept, 1)
	addr := start(t, &Server{Lend: lend, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keep" {
			r.Context().Done()
			keeps <- kept{w, r, r.Context(), r.Body}
			return
		}
		io.Copy(w, r.Body)
	})})
	c := dial(t, addr)
	in := bufio.NewReader(c)
	io.WriteString(c, crlf("POST /keep?q HTTP/1.1|Host: one|X-A: one|Content-Length: 3||one"))
	if _, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	}
	k := <-keeps
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			k.w.Header().Set("X-Late", "x")
			k.w.WriteHeader(500)
			n, err := k.w.Write([]byte("late"))
			control := http.NewResponseController(k.w)
			if n != 0 || err == nil || control.Flush() == nil || control.SetReadDeadline(time.Now()) == nil || control.SetWriteDeadline(time.Now()) == nil {
				t.Error("an answer that is over takes more")
			}
			if n, err := k.body.Read(make([]byte, 100)); n != 0 || err != http.ErrBodyReadAfterClose {
				t.Error("a body that is over has", n, err)
			}
			if !lend && (k.r.Context() != k.ctx || k.r.Host != "one" || k.r.Header.Get("X-A") != "one" || k.r.URL.RawQuery != "q") {
				t.Error("a request that is over is another", k.r)
			}
			if k.ctx.Err() == nil {
				t.Error("a request that is over goes on")
			}
			<-k.ctx.Done()
		}
	})
	for i := range 200 {
		fmt.Fprintf(c, "POST /%d HTTP/1.1\r\nHost: two\r\nX-A: two\r\nContent-Length: 5\r\n\r\n%05d", i, i)
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(r.Body); string(body) != fmt.Sprintf("%05d", i) || r.StatusCode != 200 || r.Header.Get("X-Late") != "" {
			t.Fatal(string(body), r, err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestGoroutinesLeftBehindEndTheConnection(t *testing.T) {
	for _, way := range []string{"/read", "/write"} {
		left := make(chan error, 1)
		addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			started := make(chan struct{})
			go func() {
				close(started)
				var err error
				for err == nil {
					if way == "/read" {
						_, err = r.Body.Read(make([]byte, 10))
					} else {
						_, err = w.Write(make([]byte, 1<<20))
					}
				}
				left <- err
			}()
			<-started
			time.Sleep(50 * time.Millisecond)
		})})
		c := dial(t, addr)
		io.WriteString(c, crlf("POST "+way+" HTTP/1.1|Host: h|Content-Length: 10||x"))
		if err := <-left; err == nil || err == io.EOF {
			t.Error(way, err)
		}
		ended(t, c)
	}
}

// contextKey is one of a handler's own.
type contextKey struct{}

// TestTwoLengthsOverHTTP2 sends a request of HTTP/2 with two lengths, of which the first is
// right: nobody is to read the second.
func TestTwoLengthsOverHTTP2(t *testing.T) {
	var mu sync.Mutex
	told := ""
	addr := start(t, &Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") }),
		Refused: func(_ string, status int, why string) {
			mu.Lock()
			defer mu.Unlock()
			told = fmt.Sprint(status, " ", why)
		},
	})
	frame := func(kind, flags byte, stream uint32, payload string) string {
		return string([]byte{0, 0, byte(len(payload)), kind, flags}) + string(binary.BigEndian.AppendUint32(nil, stream)) + payload
	}
	for lengths, want := range map[string]string{"5": "served", "5 5": "two fields Content-Length", "5 6": "two fields Content-Length"} {
		head := "\x83\x86\x84" // POST, http and /, of HPACK's static table
		for _, f := range append([]string{":authority h"}, strings.Split("content-length "+strings.ReplaceAll(lengths, " ", ",content-length "), ",")...) {
			name, value, _ := strings.Cut(f, " ")
			head += "\x00" + string(rune(len(name))) + name + string(rune(len(value))) + value
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+frame(4, 0, 0, "")+frame(1, 4, 1, head)+frame(0, 1, 1, "hello"))
		got := make([]byte, 0, 4096)
		for !strings.Contains(string(got), want) {
			n, err := c.Read(got[len(got):cap(got)])
			if got = got[:len(got)+n]; err != nil {
				t.Errorf("lengths %s are answered with %q, %v", lengths, got, err)
				break
			}
		}
		c.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	if told != "400 it has two fields Content-Length" {
		t.Errorf("it was told as %q", told)
	}
}
