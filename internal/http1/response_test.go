package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pavise/pavise"
)

// crlf makes a message of lines: "|" stands for CRLF.
func crlf(s string) string { return strings.ReplaceAll(s, "|", "\r\n") }

// answers are what a model server may say. An answer without err is taken.
var answers = []struct {
	name, method, text string
	closing            bool   // close-delimited bodies are permitted
	status             int    // when taken
	body               string // when taken
	reusable           bool
	err                string // is in the error
}{
	{name: "length", text: "HTTP/1.1 200 OK|Content-Length: 5||hello", status: 200, body: "hello", reusable: true},
	{name: "length 0", text: "HTTP/1.1 200 OK|Content-Length: 0||", status: 200, reusable: true},
	{name: "no reason", text: "HTTP/1.1 200 |Content-Length: 1||x", status: 200, body: "x", reusable: true},
	{name: "no reason and no space", text: "HTTP/1.1 200|Content-Length: 1||x", status: 200, body: "x", reusable: true},
	{name: "lower case, tabs", text: "HTTP/1.1 200 OK|content-length:\t 5 \t||hello", status: 200, body: "hello", reusable: true},
	{name: "close", text: "HTTP/1.1 200 OK|Connection: x, Close|Content-Length: 5||hello", status: 200, body: "hello"},
	{name: "HTTP/1.0", text: "HTTP/1.0 200 OK|Content-Length: 5||hello", status: 200, body: "hello"},
	{name: "HTTP/1.0 that would be kept", text: "HTTP/1.0 200 OK|Connection: keep-alive|Content-Length: 5||hello", status: 200, body: "hello"},
	{name: "chunked", text: "HTTP/1.1 200 OK|Transfer-Encoding: Chunked||5|hello|6| world|0||", status: 200, body: "hello world", reusable: true},
	{name: "chunked with zeros before", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||0005|hello|000||", status: 200, body: "hello", reusable: true},
	{name: "chunked with extension", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5;a=b|hello|0;z||", status: 200, body: "hello", reusable: true},
	{name: "chunked with trailers", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|hello|0|X: y|Content-Length: 9||", status: 200, body: "hello", reusable: true},
	{name: "204", text: "HTTP/1.1 204 No Content||", status: 204, reusable: true},
	{name: "204 with length 0", text: "HTTP/1.1 204 No Content|Content-Length: 0||", status: 204, reusable: true},
	{name: "304 with a length", text: "HTTP/1.1 304 Not Modified|Content-Length: 50||", status: 304, reusable: true},
	{name: "HEAD", method: "HEAD", text: "HTTP/1.1 200 OK|Content-Length: 50||", status: 200, reusable: true},
	{name: "HEAD chunked", method: "HEAD", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||", status: 200, reusable: true},
	{name: "interim", text: "HTTP/1.1 100 Continue||HTTP/1.1 103 Early Hints|Link: x||HTTP/1.1 200 OK|Content-Length: 1||x", status: 200, body: "x", reusable: true},
	{name: "until the end", text: "HTTP/1.1 200 OK||hello", closing: true, status: 200, body: "hello"},
	{name: "more behind the body", text: "HTTP/1.1 200 OK|Content-Length: 5||helloHTTP/1.1 200 OK|", status: 200, body: "hello"},
	{name: "more behind the last chunk", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||0||X", status: 200},
	{name: "more behind a HEAD", method: "HEAD", text: "HTTP/1.1 200 OK|Content-Length: 5||hello", status: 200},
	{name: "more behind a 304", text: "HTTP/1.1 304 Not Modified|Content-Length: 5||hello", status: 304},

	{name: "nothing", text: "", err: "did not answer"},
	{name: "half a line", text: "HTTP/1.1 20", err: "head broke off"},
	{name: "half a head", text: "HTTP/1.1 200 OK|Content-", err: "head broke off"},
	{name: "only interim", text: "HTTP/1.1 100 Continue||", err: "head broke off"},
	{name: "another protocol", text: "SSH-2.0-x||", err: "first line"},
	{name: "an old protocol", text: "HTTP/0.9 200 OK||", err: "first line"},
	{name: "a new protocol", text: "HTTP/1.2 200 OK|Content-Length: 0||", err: "first line"},
	{name: "http in lower case", text: "http/1.1 200 OK|Content-Length: 0||", err: "first line"},
	{name: "two spaces", text: "HTTP/1.1  200 OK|Content-Length: 0||", err: "first line"},
	{name: "status of two digits", text: "HTTP/1.1 20 OK|Content-Length: 0||", err: "first line"},
	{name: "status of four digits", text: "HTTP/1.1 2000 OK|Content-Length: 0||", err: "first line"},
	{name: "status with sign", text: "HTTP/1.1 +20 OK|Content-Length: 0||", err: "first line"},
	{name: "status 099", text: "HTTP/1.1 099 OK|Content-Length: 0||", err: "first line"},
	{name: "NUL in the reason", text: "HTTP/1.1 200 O\x00K|Content-Length: 0||", err: "first line"},
	{name: "CR in the reason", text: "HTTP/1.1 200 O\rK|Content-Length: 0||", err: "first line"},
	{name: "empty line first", text: "|HTTP/1.1 200 OK|Content-Length: 0||", err: "first line"},
	{name: "bare LF", text: "HTTP/1.1 200 OK\nContent-Length: 0\n\n", err: "LF alone"},
	{name: "bare LF at the end of the head", text: "HTTP/1.1 200 OK|Content-Length: 0|\nx", err: "LF alone"},
	{name: "bare CR", text: "HTTP/1.1 200 OK|X: a\rContent-Length: 9|Content-Length: 0||", err: "CR stands inside"},
	{name: "NUL", text: "HTTP/1.1 200 OK|X: a\x00|Content-Length: 0||", err: "control character"},
	{name: "DEL", text: "HTTP/1.1 200 OK|X: a\x7f|Content-Length: 0||", err: "control character"},
	{name: "folded", text: "HTTP/1.1 200 OK|X: a| b|Content-Length: 0||", err: "next line"},
	{name: "folded with tab", text: "HTTP/1.1 200 OK|X: a|\tb|Content-Length: 0||", err: "next line"},
	{name: "space before the first field", text: "HTTP/1.1 200 OK| Content-Length: 0||", err: "next line"},
	{name: "space before the colon", text: "HTTP/1.1 200 OK|Content-Length : 0||", err: "field's name"},
	{name: "no colon", text: "HTTP/1.1 200 OK|Content-Length 0||", err: "field's name"},
	{name: "no name", text: "HTTP/1.1 200 OK|: 0||", err: "field's name"},
	{name: "name above ASCII", text: "HTTP/1.1 200 OK|Content-Length\xa0: 0||", err: "field's name"},
	{name: "two lengths", text: "HTTP/1.1 200 OK|Content-Length: 5|Content-Length: 6||hello!", err: "more than one"},
	{name: "the same length twice", text: "HTTP/1.1 200 OK|Content-Length: 5|content-length: 5||hello", err: "more than one"},
	{name: "lengths in a list", text: "HTTP/1.1 200 OK|Content-Length: 5, 5||hello", err: "not a plain number"},
	{name: "length with sign", text: "HTTP/1.1 200 OK|Content-Length: +5||hello", err: "not a plain number"},
	{name: "negative length", text: "HTTP/1.1 200 OK|Content-Length: -5||hello", err: "not a plain number"},
	{name: "hexadecimal length", text: "HTTP/1.1 200 OK|Content-Length: 0x5||hello", err: "not a plain number"},
	{name: "length with zeros before", text: "HTTP/1.1 200 OK|Content-Length: 05||hello", err: "not a plain number"},
	{name: "length with a fraction", text: "HTTP/1.1 200 OK|Content-Length: 5.0||hello", err: "not a plain number"},
	{name: "empty length", text: "HTTP/1.1 200 OK|Content-Length:||hello", err: "not a plain number"},
	{name: "length beyond 64 bits", text: "HTTP/1.1 200 OK|Content-Length: 18446744073709551621||hello", err: "not a plain number"},
	{name: "huge length", text: "HTTP/1.1 200 OK|Content-Length: 999999999999||hello", err: "longer than 1000 bytes"},
	{name: "length and chunked", text: "HTTP/1.1 200 OK|Content-Length: 5|Transfer-Encoding: chunked||0||", err: "both"},
	{name: "chunked twice", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||", err: "Transfer-Encoding"},
	{name: "gzip, chunked", text: "HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked||0||", err: "Transfer-Encoding"},
	{name: "identity", text: "HTTP/1.1 200 OK|Transfer-Encoding: identity||0||", closing: true, err: "Transfer-Encoding"},
	{name: "chunked with a Kelvin sign", text: "HTTP/1.1 200 OK|Transfer-Encoding: chun\u212aed||0||", err: "Transfer-Encoding"},
	{name: "chunked and HTTP/1.0", text: "HTTP/1.0 200 OK|Transfer-Encoding: chunked||0||", err: "HTTP/1.0"},
	{name: "204 with a length", text: "HTTP/1.1 204 No Content|Content-Length: 5||hello", err: "204"},
	{name: "204 chunked", text: "HTTP/1.1 204 No Content|Transfer-Encoding: chunked||0||", err: "204"},
	{name: "101", text: "HTTP/1.1 101 Switching Protocols|Upgrade: x||", err: "changes the protocol"},
	{name: "flood of interim answers", text: strings.Repeat("HTTP/1.1 100 Continue||", 9) + "HTTP/1.1 200 OK|Content-Length: 0||", err: "interim"},
	{name: "no length", text: "HTTP/1.1 200 OK||hello", err: "how long"},
	{name: "head too long", text: "HTTP/1.1 200 OK|X: " + strings.Repeat("a", 2000) + "|Content-Length: 0||", err: "longer than 1000 bytes"},
	{name: "head that never ends", text: "HTTP/1.1 200 OK|X: " + strings.Repeat("a", 9000), err: "longer than 1000 bytes"},
	{name: "too many fields", text: "HTTP/1.1 200 OK|" + strings.Repeat("A:|", 21) + "Content-Length: 0||", err: "too many fields"},
	{name: "body cut", text: "HTTP/1.1 200 OK|Content-Length: 5||hell", err: "after 4 of 5 bytes"},
	{name: "chunk cut", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|hell", err: "in the middle"},
	{name: "last chunk missing", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|hello|", err: "in the middle"},
	{name: "empty line behind the last chunk missing", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||0|", err: "in the middle"},
	{name: "chunk longer than it says", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|hello!|0||", err: "does not end where"},
	{name: "chunk that ends with LF", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|hello\n0||", err: "does not end where"},
	{name: "size that ends with LF", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5\nhello|0||", err: "LF alone"},
	{name: "size with sign", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||+5|hello|0||", err: "chunk's size"},
	{name: "negative size", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||-5|hello|0||", err: "chunk's size"},
	{name: "size with 0x", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||0x5|hello|0||", err: "chunk's size"},
	{name: "size with space before", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked|| 5|hello|0||", err: "chunk's size"},
	{name: "size with space behind", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5 |hello|0||", err: "chunk's size"},
	{name: "size with space before the extension", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5 ;a|hello|0||", err: "chunk's size"},
	{name: "empty size", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked|||hello|0||", err: "chunk's size"},
	{name: "huge size", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||FFFFFFFFFFFFFFFF|hello|0||", err: "chunk's size"},
	{name: "size of 17 digits", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||00000000000000005|hello|0||", err: "chunk's size"},
	{name: "extension with CR", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5;a\rb|hello|0||", err: "extension"},
	{name: "extension with LF", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5;a\nb|hello|0||", err: "LF alone"},
	{name: "long extension", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5;" + strings.Repeat("a", 600) + "|hello|0||", err: "extension"},
	{name: "many extensions", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||" + strings.Repeat("1;"+strings.Repeat("a", 200)+"|x|", 100) + "0||", err: "something else than data"},
	{name: "long trailers", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||0|" + strings.Repeat("A: b|", 600) + "|", err: "trailers"},
	{name: "trailer that is none", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||0|HTTP/1.1 200 OK||", err: "field's name"},
	{name: "chunks beyond the limit", text: "HTTP/1.1 200 OK|Transfer-Encoding: chunked||" + strings.Repeat("64|"+strings.Repeat("a", 100)+"|", 11) + "0||", err: "longer than 1000 bytes"},
	{name: "an end that does not come", text: "HTTP/1.1 200 OK||" + strings.Repeat("a", 1001), closing: true, err: "longer than 1000 bytes"},
}

func TestResponses(t *testing.T) {
	for _, a := range answers {
		if a.method == "" {
			a.method = "POST"
		}
		for way, source := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "with its end": iotest.DataErrReader,
		} {
			t.Run(a.name+"/"+way, func(t *testing.T) {
				r := NewResponses(source(strings.NewReader(crlf(a.text))), Limits{Head: 1000, Fields: 20, Body: 1000})
				r.CloseDelimited = a.closing
				err := r.Next(a.method)
				var body []byte
				if err == nil {
					body, err = io.ReadAll(r)
				}
				if a.err != "" {
					if err == nil || !strings.Contains(err.Error(), a.err) || pavise.KindOf(err) != pavise.Unavailable || r.Reusable() {
						t.Fatalf("error %v, reusable %t; want %q of kind unavailable", err, r.Reusable(), a.err)
					}
					if next := r.Next(a.method); next == nil {
						t.Fatal("after an error another answer is read")
					}
					return
				}
				if err != nil || r.Status() != a.status || string(body) != a.body {
					t.Fatalf("status %d, body %q, error %v; want %d, %q", r.Status(), body, err, a.status, a.body)
				}
				if got := r.Reusable(); got != a.reusable && way == "whole" { // what comes later is not seen
					t.Fatalf("reusable: %t, want %t", got, a.reusable)
				}
			})
		}
	}
}

func TestNoAnswerIsToldFromHalfOfOne(t *testing.T) {
	for text, want := range map[string]bool{"": true, "H": false, "HTTP/1.1 100 Continue\r\n\r\n": false} {
		err := NewResponses(strings.NewReader(text), Limits{}).Next("GET")
		if got := errors.Is(err, ErrNoAnswer); got != want {
			t.Errorf("%q: ErrNoAnswer %t, want %t (%v)", text, got, want, err)
		}
	}
}

func TestAnswersInARow(t *testing.T) {
	one := crlf("HTTP/1.1 200 OK|X: one|Content-Length: 5000||") + strings.Repeat("a", 5000)
	two := crlf("HTTP/1.1 404 Not Found|X: two|Transfer-Encoding: chunked||3|two|0||")
	r := NewResponses(strings.NewReader(one+two+one), Limits{Head: 200})
	for i, want := range []int{5000, 3, 5000} {
		if err := r.Next("GET"); err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(iotest.HalfReader(r))
		if value, count := r.Field("x"); err != nil || len(body) != want || count != 1 || len(value) != 3 {
			t.Fatalf("answer %d: %d bytes, X %q, %v", i, len(body), value, err)
		}
	}
	if !r.Reusable() {
		t.Fatal("nothing is left, and it is not reusable")
	}
	if err := r.Next("GET"); !errors.Is(err, ErrNoAnswer) {
		t.Fatalf("behind the last: %v", err)
	}
}

func TestNextWantsTheBodyRead(t *testing.T) {
	r := NewResponses(strings.NewReader(crlf("HTTP/1.1 200 OK|Content-Length: 5||hello")), Limits{})
	if err := r.Next("GET"); err != nil || r.Reusable() {
		t.Fatal(err, r.Reusable())
	}
	if err := r.Next("GET"); pavise.KindOf(err) != pavise.Internal {
		t.Fatal(err)
	}
}

// TestEventsComeAsTheyAreSent reads a stream of which the end never comes.
func TestEventsComeAsTheyAreSent(t *testing.T) {
	pr, pw := io.Pipe()
	defer pw.Close()
	events := make(chan string)
	go func() {
		io.WriteString(pw, crlf("HTTP/1.1 200 OK|Transfer-Encoding: chunked||"))
		for e := range events {
			io.WriteString(pw, crlf("9|"+e+"|"))
		}
	}()
	r := NewResponses(pr, Limits{Body: -1})
	if err := r.Next("POST"); err != nil {
		t.Fatal(err)
	}
	for _, e := range []string{"data: 1\n\n", "data: 2\n\n"} {
		events <- e
		p := make([]byte, 4096)
		if n, err := r.Read(p); string(p[:n]) != e || err != nil {
			t.Fatalf("read %q, %v", p[:n], err)
		}
	}
	close(events)
}

func TestHeadsOfRequests(t *testing.T) {
	head, err := AppendHead(nil, Head{Method: "POST", Target: "/v2/models/m%20x/infer?a=b", Host: "[::1]:8000", Length: 3})
	if err == nil {
		head, err = AppendField(head, "Content-Type", "application/json")
	}
	if head = AppendEnd(head); err != nil {
		t.Fatal(err)
	}
	req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(head), strings.NewReader("abc"))))
	if err != nil || req.URL.Path != "/v2/models/m x/infer" || req.Host != "[::1]:8000" || req.ContentLength != 3 || req.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%+v, %v", req, err)
	}
	for _, h := range []Head{{"", "/", "h", 0}, {"GE T", "/", "h", 0}, {"GET", "x", "h", 0}, {"GET", "/ HTTP/1.1", "h", 0}, {"GET", "/\r\n", "h", 0}, {"GET", "/", "", 0}, {"GET", "/", "h\r\nX: y", 0}, {"GET", "/#", "h", 0}} {
		if _, err := AppendHead(nil, h); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%+v: %v", h, err)
		}
	}
	for _, f := range [][2]string{{"", "x"}, {"a b", "x"}, {"a:", "x"}, {"A", "x\r\nB: c"}, {"A", "x\x00"}, {"Content-length", "5"}, {"transfer-Encoding", "chunked"}, {"HOST", "x"}} {
		if _, err := AppendField(nil, f[0], f[1]); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%q: %v", f, err)
		}
	}
}

// again is a source that says the same for ever.
type again struct {
	text string
	at   int
}

func (a *again) Read(p []byte) (int, error) {
	n := copy(p, a.text[a.at:])
	a.at = (a.at + n) % len(a.text)
	return n, nil
}

func TestAnAnswerCostsNoAllocation(t *testing.T) {
	for _, text := range []string{
		"HTTP/1.1 200 OK|Content-Type: application/json|Date: x|Server: y|Content-Length: 5||hello",
		"HTTP/1.1 200 OK|Content-Type: text/event-stream|Transfer-Encoding: chunked||5|hello|0||",
	} {
		r := NewResponses(&again{text: crlf(text)}, Limits{})
		p := make([]byte, 100)
		var err error
		allocs := testing.AllocsPerRun(100, func() {
			if err == nil {
				err = r.Next("POST")
			}
			for err == nil {
				_, err = r.Read(p)
			}
			if err == io.EOF {
				err = nil
			}
		})
		if err != nil || allocs > 0 {
			t.Errorf("%q: %v allocations, error %v", text, allocs, err)
		}
	}
}

// FuzzResponse compares with net/http: what we take, it reads in the same way.
func FuzzResponse(f *testing.F) {
	for _, a := range answers {
		if len(a.text) < 4096 {
			f.Add(crlf(a.text), a.method == "HEAD", a.closing)
		}
	}
	f.Fuzz(func(t *testing.T, text string, head, closing bool) {
		method := map[bool]string{true: "HEAD", false: "POST"}[head]
		source := strings.NewReader(text)
		r := NewResponses(iotest.OneByteReader(source), Limits{Head: 2000, Interim: -1})
		r.CloseDelimited = closing
		if r.Next(method) != nil {
			return
		}
		ours, err := io.ReadAll(r)
		used := len(text) - source.Len() - r.Unread()

		source = strings.NewReader(text)
		buffered := bufio.NewReaderSize(source, 1<<16)
		theirs, theirErr := http.ReadResponse(buffered, &http.Request{Method: method})
		if theirErr != nil {
			t.Fatalf("they refuse it: %v", theirErr)
		}
		if theirs.StatusCode != r.Status() || theirs.Close && r.keep {
			t.Fatalf("status %d, they read %d; keep %t, close %t", r.Status(), theirs.StatusCode, r.keep, theirs.Close)
		}
		if length := r.Length(); length != theirs.ContentLength && theirs.StatusCode/100 == 2 && theirs.StatusCode != 204 {
			t.Fatalf("length %d, they read %d", length, theirs.ContentLength)
		}
		for _, f := range r.Fields() {
			if values := theirs.Header.Values(string(f.Name)); !is(f.Name, "transfer-encoding") && !is(f.Name, "connection") && !is(f.Name, "trailer") && !slices.Contains(values, string(f.Value)) {
				t.Fatalf("field %q: %q, they read %q", f.Name, f.Value, values)
			}
		}
		if err != nil {
			return
		}
		body, theirErr := io.ReadAll(theirs.Body)
		if theirErr != nil || !bytes.Equal(body, ours) {
			t.Fatalf("body %q, they read %q, %v", ours, body, theirErr)
		}
		if theirUsed := len(text) - source.Len() - buffered.Buffered(); used != theirUsed {
			t.Fatalf("we used %d bytes, they %d", used, theirUsed)
		}
	})
}

// A waiter counts how often it was waited for, and looks whether the reader has a
// buffer meanwhile.
type waiter struct {
	io.Reader
	of       *Responses
	waits    int
	buffered bool
	err      error
}

func (w *waiter) Ready() error {
	w.waits++
	w.buffered = w.buffered || w.of.win.buf != nil
	return w.err
}

// TestPatiently reads a body in pieces, between which the reader has no buffer; then the
// next answer, for which it has one again; and tells why nothing comes.
func TestPatiently(t *testing.T) {
	pieces := []string{
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
		"3\r\ntwo\r", "\n", "0\r", "\n\r\n",
		"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n", "no",
	}
	var readers []io.Reader
	for _, p := range pieces {
		readers = append(readers, strings.NewReader(p))
	}
	for _, limits := range []Limits{{Head: 4 << 10, Body: -1}, {Body: -1}} {
		for _, r := range readers {
			r.(*strings.Reader).Seek(0, io.SeekStart)
		}
		w := &waiter{Reader: io.MultiReader(readers...)}
		r := NewResponses(w, limits)
		w.of = r
		if err := r.Next("POST"); err != nil {
			t.Fatal(err)
		}
		r.Patiently(w)
		if body, err := io.ReadAll(r); string(body) != "onetwo" || err != nil {
			t.Fatalf("%q, %v", body, err)
		}
		if w.waits < 2 || w.buffered || len(r.Fields()) != 0 || !r.Reusable() {
			t.Errorf("waited %d times, with a buffer: %v; fields %d, reusable %v", w.waits, w.buffered, len(r.Fields()), r.Reusable())
		}
		waits := w.waits
		if err := r.Next("POST"); err != nil || r.Status() != 404 {
			t.Fatalf("%v, status %d", err, r.Status())
		}
		if body, err := io.ReadAll(r); string(body) != "no" || err != nil || w.waits != waits {
			t.Errorf("%q, %v, waited %d times", body, err, w.waits-waits)
		}
	}
	w := &waiter{Reader: strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), err: io.ErrNoProgress}
	r := NewResponses(w, Limits{Body: -1})
	w.of = r
	if err := r.Next("POST"); err != nil {
		t.Fatal(err)
	}
	r.Patiently(w)
	if _, err := r.Read(make([]byte, 10)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("%v", err)
	}
}
