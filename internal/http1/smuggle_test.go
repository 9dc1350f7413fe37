package http1

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// What a server makes of bytes.
const (
	served = "served" // by us, as net/http would
	passed = "passed" // to net/http, and the connection ends behind it
)

// smuggling are the ways to make two readers differ about requests, and some honest ones.
// fate is served, passed, or the status of a refusal. Behind each the same connection
// carries a second request, "GET /second": only behind one that is served is it answered.
var smuggling = []struct{ name, text, fate string }{
	{"plain GET", "GET /a HTTP/1.1|Host: h||", served},
	{"plain POST", "POST /a HTTP/1.1|Host: h|Content-Length: 5||hello", served},
	{"GET with a body", "GET /a HTTP/1.1|Host: h|Content-Length: 5||hello", served},
	{"length 0", "POST /a HTTP/1.1|Host: h|Content-Length: 0||", served},
	{"query and escapes", "GET /a%20b/%2f?x=%20&y HTTP/1.1|Host: h||", served},
	{"two slashes", "GET //h2/a HTTP/1.1|Host: h||", served},
	{"dots", "GET /a/../b/./c HTTP/1.1|Host: h||", served},
	{"host with port", "GET / HTTP/1.1|Host: [::1]:80||", served},
	{"lower case and tabs", "GET / HTTP/1.1|host:\th\t|x-a:  b c ||", served},
	{"field twice", "GET / HTTP/1.1|Host: h|X-A: 1|x-a: 2||", served},
	{"bytes above ASCII in a value", "GET / HTTP/1.1|Host: h|X-A: \xe9\xff||", served},
	{"pragma", "GET / HTTP/1.1|Host: h|Pragma: no-cache||", served},
	{"keep-alive", "GET / HTTP/1.1|Host: h|Connection: Keep-Alive||", served},
	{"chunked", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||5|hello|0||", served},
	{"chunked, in capitals", "POST /a HTTP/1.1|Host: h|transfer-encoding: CHUNKED||5|hello|0||", served},
	{"underscore in a length's name", "POST /a HTTP/1.1|Host: h|Content_Length: 5|Content-Length: 3||abc", served},

	{"HTTP/1.0", "GET / HTTP/1.0|Host: h||", passed},
	{"HTTP/1.0 that is kept", "GET / HTTP/1.0|Host: h|Connection: keep-alive||", passed},
	{"HTTP/1.0 without Host", "GET / HTTP/1.0||", passed},
	{"another method", "PROPFIND / HTTP/1.1|Host: h||", passed},
	{"method in lower case", "get / HTTP/1.1|Host: h||", passed},
	{"absolute form", "GET http://h/a HTTP/1.1|Host: h||", passed},
	{"target with braces", "GET /{a} HTTP/1.1|Host: h||", passed},
	{"empty Host", "GET / HTTP/1.1|Host:||", passed},
	{"upgrade", "GET / HTTP/1.1|Host: h|Connection: Upgrade|Upgrade: x||", passed},
	{"upgrade to h2c", "GET / HTTP/1.1|Host: h|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: AAMAAABk||", passed},
	{"option that names a field", "GET / HTTP/1.1|Host: h|Connection: X-A|X-A: b||", passed},
	{"TE", "GET / HTTP/1.1|Host: h|TE: trailers||", passed},
	{"trailers announced", "POST / HTTP/1.1|Host: h|Trailer: X|Content-Length: 0||", passed},
	{"passed with a body", "PROPFIND /a HTTP/1.1|Host: h|Content-Length: 5||hello", passed},
	{"another expectation", "POST /a HTTP/1.1|Host: h|Expect: x|Content-Length: 5||hello", "417"},
	{"escape that is none", "GET /%zz HTTP/1.1|Host: h||", "400"},

	{"length and chunked", "POST / HTTP/1.1|Host: h|Content-Length: 6|Transfer-Encoding: chunked||0||X", "400"},
	{"chunked and length", "POST / HTTP/1.1|Host: h|Transfer-Encoding: chunked|Content-Length: 3||0||", "400"},
	{"length 0 and chunked", "POST / HTTP/1.1|Host: h|Transfer-Encoding: chunked|Content-Length: 0||0||", "400"},
	{"two lengths", "POST / HTTP/1.1|Host: h|Content-Length: 5|Content-Length: 6||hello!", "400"},
	{"the same length twice", "POST / HTTP/1.1|Host: h|Content-Length: 5|Content-Length: 5||hello", "400"},
	{"lengths in a list", "POST / HTTP/1.1|Host: h|Content-Length: 5, 5||hello", "400"},
	{"length with plus", "POST / HTTP/1.1|Host: h|Content-Length: +5||hello", "400"},
	{"length with minus", "POST / HTTP/1.1|Host: h|Content-Length: -1||", "400"},
	{"length with zero before", "POST / HTTP/1.1|Host: h|Content-Length: 05||hello", "400"},
	{"hexadecimal length", "POST / HTTP/1.1|Host: h|Content-Length: 0x5||hello", "400"},
	{"length with underscore", "POST / HTTP/1.1|Host: h|Content-Length: 1_0||hello", "400"},
	{"length with exponent", "POST / HTTP/1.1|Host: h|Content-Length: 1e1||hello", "400"},
	{"empty length", "POST / HTTP/1.1|Host: h|Content-Length:||hello", "400"},
	{"length beyond 64 bits", "POST / HTTP/1.1|Host: h|Content-Length: 18446744073709551621||hello", "400"},
	{"length with space inside", "POST / HTTP/1.1|Host: h|Content-Length: 1 0||hello", "400"},
	{"length with vertical tab", "POST / HTTP/1.1|Host: h|Content-Length: \v5||hello", "400"},
	{"length folded", "POST / HTTP/1.1|Host: h|Content-Length:| 5||hello", "400"},
	{"space before the colon of a length", "POST / HTTP/1.1|Host: h|Content-Length : 5||hello", "400"},
	{"tab before the colon", "POST / HTTP/1.1|Host: h|Transfer-Encoding\t: chunked||0||", "400"},
	{"space before a name", "GET / HTTP/1.1|Host: h| Transfer-Encoding: chunked||0||", "400"},
	{"space before the first name", "GET / HTTP/1.1| Host: h||", "400"},
	{"folded value", "GET / HTTP/1.1|Host: h|X-A: b| c||", "400"},
	{"folded with tab", "GET / HTTP/1.1|Host: h|X-A: b|\tc||", "400"},
	{"chunked twice", "POST / HTTP/1.1|Host: h|Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||", "400"},
	{"chunked and identity", "POST / HTTP/1.1|Host: h|Transfer-Encoding: chunked|Transfer-Encoding: identity||0||", "400"},
	{"identity", "POST / HTTP/1.1|Host: h|Transfer-Encoding: identity|Content-Length: 0||", "400"},
	{"chunked, identity", "POST / HTTP/1.1|Host: h|Transfer-Encoding: chunked, identity||0||", "400"},
	{"gzip, chunked", "POST / HTTP/1.1|Host: h|Transfer-Encoding: gzip, chunked||0||", "400"},
	{"xchunked", "POST / HTTP/1.1|Host: h|Transfer-Encoding: xchunked||0||", "400"},
	{"chunked in quotes", "POST / HTTP/1.1|Host: h|Transfer-Encoding: \"chunked\"||0||", "400"},
	{"chunked with a comma", "POST / HTTP/1.1|Host: h|Transfer-Encoding: chunked,||0||", "400"},
	{"chunked with a parameter", "POST / HTTP/1.1|Host: h|Transfer-Encoding: chunked;a=b||0||", "400"},
	{"chunked with vertical tab", "POST / HTTP/1.1|Host: h|Transfer-Encoding:\vchunked||0||", "400"},
	{"chunked with NUL", "POST / HTTP/1.1|Host: h|Transfer-Encoding: chunked\x00||0||", "400"},
	{"chunked with a Kelvin sign", "POST / HTTP/1.1|Host: h|Transfer-Encoding: chun\u212aed||0||", "400"},
	{"empty coding", "POST / HTTP/1.1|Host: h|Transfer-Encoding:||0||", "400"},
	{"chunked in HTTP/1.0", "POST / HTTP/1.0|Host: h|Transfer-Encoding: chunked||0||", "400"},
	{"chunked with upgrade", "POST / HTTP/1.1|Host: h|Connection: Upgrade|Upgrade: h2c|Transfer-Encoding: chunked||0||", "400"},
	{"bare LF", "GET / HTTP/1.1\nHost: h\n\n", "400"},
	{"bare LF behind the first line", "GET / HTTP/1.1\nHost: h||", "400"},
	{"bare LF behind a field", "GET / HTTP/1.1|Host: h\nX-A: b||", "400"},
	{"bare LF as the empty line", "GET / HTTP/1.1|Host: h|\n", "400"},
	{"bare CR in a value", "GET / HTTP/1.1|Host: h|X-A: b\rContent-Length: 5||", "400"},
	{"bare CR between lines", "GET / HTTP/1.1\rHost: h||", "400"},
	{"CR CR LF", "GET / HTTP/1.1|Host: h\r||", "400"},
	{"NUL in a value", "GET / HTTP/1.1|Host: h|X-A: b\x00c||", "400"},
	{"NUL in a name", "GET / HTTP/1.1|Host: h|X\x00A: b||", "400"},
	{"DEL in a value", "GET / HTTP/1.1|Host: h|X-A: \x7f||", "400"},
	{"no colon", "GET / HTTP/1.1|Host: h|Content-Length||", "400"},
	{"no name", "GET / HTTP/1.1|Host: h|: x||", "400"},
	{"name above ASCII", "GET / HTTP/1.1|Host: h|X-\xc3\xa9: b||", "400"},
	{"name in quotes", "GET / HTTP/1.1|Host: h|\"X\": b||", "400"},
	{"a second first line among the fields", "GET / HTTP/1.1|Host: h|GET /x HTTP/1.1|Host: h||", "400"},
	{"no Host", "GET / HTTP/1.1|X-A: b||", "400"},
	{"two Hosts", "GET / HTTP/1.1|Host: h|Host: h||", "400"},
	{"two different Hosts", "GET / HTTP/1.1|Host: h|Host: other||", "400"},
	{"Host with a path", "GET / HTTP/1.1|Host: h/x||", "400"},
	{"Host with user", "GET / HTTP/1.1|Host: a@h||", "400"},
	{"Host with space", "GET / HTTP/1.1|Host: h x||", "400"},
	{"Hosts in a list", "GET / HTTP/1.1|Host: h, other||", "400"},
	{"absolute form with another host", "GET http://other/a HTTP/1.1|Host: h||", "400"},
	{"absolute form with user", "GET http://h@other/a HTTP/1.1|Host: h||", "400"},
	{"absolute form with fragment", "GET http://h#@other/a HTTP/1.1|Host: h||", "400"},
	{"absolute form of HTTP/1.0 without Host", "GET http://h/a HTTP/1.0||", "400"},
	{"another scheme", "GET file:///etc/passwd HTTP/1.1|Host: h||", "400"},
	{"target without slash", "GET a HTTP/1.1|Host: h||", "400"},
	{"star", "GET * HTTP/1.1|Host: h||", "400"},
	{"target with fragment", "GET /a#b HTTP/1.1|Host: h||", "400"},
	{"target with backslash", "GET /a\\b HTTP/1.1|Host: h||", "400"},
	{"target above ASCII", "GET /\xc3\xa9 HTTP/1.1|Host: h||", "400"},
	{"target with tab", "GET /a\tb HTTP/1.1|Host: h||", "400"},
	{"target with NUL", "GET /a\x00 HTTP/1.1|Host: h||", "400"},
	{"space in the target", "GET /a b HTTP/1.1|Host: h||", "400"},
	{"two spaces", "GET  /a HTTP/1.1|Host: h||", "400"},
	{"two spaces before the version", "GET /a  HTTP/1.1|Host: h||", "400"},
	{"space behind the version", "GET /a HTTP/1.1 |Host: h||", "400"},
	{"tabs between", "GET\t/a\tHTTP/1.1|Host: h||", "400"},
	{"space before the method", " GET /a HTTP/1.1|Host: h||", "400"},
	{"empty line before", "|GET /a HTTP/1.1|Host: h||", "400"},
	{"LF before", "\nGET /a HTTP/1.1|Host: h||", "400"},
	{"no version", "GET /a|Host: h||", "400"},
	{"version in lower case", "GET /a http/1.1|Host: h||", "400"},
	{"version with zeros", "GET /a HTTP/01.1|Host: h||", "400"},
	{"version 1.10", "GET /a HTTP/1.10|Host: h||", "400"},
	{"version 1.2", "GET /a HTTP/1.2|Host: h||", "505"},
	{"version 2.0", "GET /a HTTP/2.0|Host: h||", "505"},
	{"version 0.9", "GET /a HTTP/0.9|Host: h||", "505"},
	{"TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"},
	{"method with a bracket", "G(T /a HTTP/1.1|Host: h||", "400"},
	{"too many fields", "GET / HTTP/1.1|Host: h|" + strings.Repeat("A: b|", 100) + "|", "431"},
	{"head too long", "GET / HTTP/1.1|Host: h|X: " + strings.Repeat("a", 40<<10) + "||", "431"},

	// What is wrong with the chunks is found when the body is read: the handler sees an
	// error, and nothing behind it is a request.
	{"size with 0x", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||0x5|hello|0||", "body"},
	{"size with plus", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||+5|hello|0||", "body"},
	{"size with space before", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked|| 5|hello|0||", "body"},
	{"size with space behind", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||5 |hello|0||", "body"},
	{"size beyond 64 bits", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||10000000000000005|hello|0||", "body"},
	{"negative size", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||-5|hello|0||", "body"},
	{"size that overflows", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||FFFFFFFFFFFFFFFB|hello|0||", "body"},
	{"extension", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||5;a=b|hello|0||", "body"},
	{"extension with LF", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||5;a\nhello|0||", "body"},
	{"size that ends with LF", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||5\nhello|0||", "body"},
	{"size that ends with CR", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||5\rhello|0||", "body"},
	{"chunk that ends with LF", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||5|hello\n0||", "body"},
	{"chunk that ends with anything", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||5|helloXX0||", "body"},
	{"chunk longer than it says", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||5|hello!|0||", "body"},
	{"trailers", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||5|hello|0|X: y||", "body"},
	{"trailer with a length", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||5|hello|0|Content-Length: 5||", "body"},
	{"last chunk with LF", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked||5|hello|0\n\n", "body"},
	{"empty size", "POST /a HTTP/1.1|Host: h|Transfer-Encoding: chunked|||", "body"},
}

// seen is what a handler saw of a request.
type seen struct {
	Method, Path, RawPath, Query, URI, Host, Proto, Body, Err string
	Header                                                    http.Header
	Length                                                    int64
	Coding                                                    []string
	Close                                                     bool
}

func see(r *http.Request) seen {
	body, err := io.ReadAll(r.Body)
	s := seen{r.Method, r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.RequestURI, r.Host, r.Proto, string(body), "", r.Header, r.ContentLength, r.TransferEncoding, r.Close}
	if err != nil {
		s.Err = err.Error()
	}
	return s
}

// echo answers with what it saw.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	s := see(r)
	if _, ours := w.(*answer); ours {
		w.Header().Set("Served", served)
	} else {
		w.Header().Set("Served", passed)
	}
	if s.Err != "" {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
	json.NewEncoder(w).Encode(s)
})

// An anyServer is ours or net/http's.
type anyServer interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// newAny makes a server of the given name with the limits that a gateway sets.
func newAny(which string, h http.Handler) anyServer {
	if which == "net-http" {
		return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	}
	return &Server{Handler: h, Lend: which == "lending", ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute}
}

// start serves h on a port of this machine until the test ends.
func start(t testing.TB, s anyServer) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// say sends text and returns all that comes back until the server closes.
func say(t testing.TB, addr, text string) string {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, text)
	got, err := io.ReadAll(c)
	if err != nil && len(got) == 0 {
		t.Fatalf("%q: %v", text, err)
	}
	return string(got)
}

func TestSmuggling(t *testing.T) {
	servers := map[string]string{"": start(t, &Server{Handler: echo}), ", lending": start(t, &Server{Handler: echo, Lend: true})}
	theirs := httptest.NewServer(echo)
	t.Cleanup(theirs.Close)
	const second = "GET /second HTTP/1.1|Host: h|Connection: close||"
	for _, row := range smuggling {
		for how, addr := range servers {
			t.Run(row.name+how, func(t *testing.T) {
				t.Parallel()
				body := checkFate(t, row.fate, say(t, addr, crlf(row.text+second)))
				if row.fate != served && row.fate != passed {
					return
				}
				want := say(t, theirs.Listener.Addr().String(), crlf(row.text+second))
				first, err := http.ReadResponse(bufio.NewReader(strings.NewReader(want)), nil)
				if err != nil {
					t.Fatal(err)
				}
				if theirBody, _ := io.ReadAll(first.Body); !bytes.Equal(body, theirBody) {
					t.Fatalf("seen %s, and by net/http %s", body, theirBody)
				}
			})
		}
	}
}

// TestMisframedBodies tells chunks that are not as HTTP has them from a body that broke off.
func TestMisframedBodies(t *testing.T) {
	told := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		if m, is := err.(interface{ Misframed() string }); is {
			io.WriteString(w, m.Misframed())
		} else if err != nil {
			io.WriteString(w, "no more")
		}
	})
	addr := start(t, &Server{Handler: told})
	for body, want := range map[string]string{"5;a=b|hello|0||": "has an extension", "5|hello|0|X: y||": "trailers", "0x5|hello|0||": "hexadecimal", "4|hello|0||": "does not end", "5|hel": "no more"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, crlf("POST /a HTTP/1.1|Host: h|Connection: close|Transfer-Encoding: chunked||"+body))
		c.(*net.TCPConn).CloseWrite()
		if got, _ := io.ReadAll(c); !strings.Contains(string(got), want) {
			t.Errorf("%q is told as %q, want %s", body, got, want)
		}
		c.Close()
	}
}

// checkFate reads what came back, and returns the body of the first answer.
func checkFate(t *testing.T, fate, text string) (body []byte) {
	t.Helper()
	got := bufio.NewReader(strings.NewReader(text))
	first, err := http.ReadResponse(got, nil)
	if err == nil {
		body, err = io.ReadAll(first.Body)
	}
	if err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(got)
	if another := bytes.Contains(rest, []byte(`"/second"`)); another != (fate == served) || !another && len(rest) > 0 {
		t.Fatalf("behind it came %q", rest)
	}
	status, by, closes := 0, "", true
	switch fate {
	case served, passed:
		status, by, closes = 200, fate, fate == passed
	case "body":
		status, by = 422, served
	default:
		fmt.Sscan(fate, &status)
	}
	if first.StatusCode != status || first.Header.Get("Served") != by || first.Close != closes {
		t.Fatalf("%s %v, want %s: %s", first.Status, first.Header, fate, body)
	}
	return body
}

// FuzzRequest compares with net/http what we serve ourselves: the same request, and the
// next one begins at the same byte. A request that is lent is the same, whatever came before
// it on its connection.
func FuzzRequest(f *testing.F) {
	for _, row := range smuggling {
		if len(row.text) < 4096 {
			f.Add(crlf(row.text))
			f.Add(crlf(row.text + row.text))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		ours, used, ok := readOurs(text, newSheets(t, ""))
		for _, before := range []string{text, "POST /a?b HTTP/1.1|Host: h|X: y|content-length: 5|Content-Type: a/b||", "GET / HTTP/1.1|Content-Length: 5|Host: H|X: y|X: z|A: b|A: b||"} {
			lent, lentUsed, lentOK := readOurs(text, newSheets(t, crlf(before)))
			if lentOK != ok || lentUsed != used || !reflect.DeepEqual(lent, ours) {
				t.Fatalf("lent behind %q it is %+v\nand else %+v", before, lent, ours)
			}
		}
		if !ok {
			return
		}
		source := strings.NewReader(text)
		buffered := bufio.NewReaderSize(source, 1<<16)
		r, err := http.ReadRequest(buffered)
		if err != nil {
			t.Fatalf("they refuse it: %v", err)
		}
		delete(r.Header, "Host") // as their server does
		theirs := see(r)
		if ours.Err != "" {
			theirs.Err, theirs.Body = ours.Err, ours.Body // we may refuse chunks that they take
		}
		if !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("we read  %+v\nthey read %+v", ours, theirs)
		}
		if theirUsed := len(text) - source.Len() - buffered.Buffered(); ours.Err == "" && used != theirUsed {
			t.Fatalf("we used %d bytes, they %d", used, theirUsed)
		}
	})
}

// newSheets returns a connection that has read a request before, and lends it; or one that
// has read none and lends none.
func newSheets(t *testing.T, before string) *conn {
	c := &conn{server: &Server{MaxHeaderBytes: 32 << 10, ReadHeaderTimeout: time.Second, Lend: before != ""}}
	c.readBy.tell, c.readBy.lazy, c.writeBy.tell = noDeadline, true, noDeadline
	if before != "" {
		readOurs(before, c)
		giveBack(c.win.buf)
		c.win = window{}
	}
	return c
}

// readOurs reads text as a connection would, from a source that gives a byte at a time, and
// says how many it took.
func readOurs(text string, c *conn) (s seen, used int, ok bool) {
	source := strings.NewReader(text)
	c.rwc = textConn{iotest.OneByteReader(source)}
	c.win.buf = borrow()
	if c.win.fill(c.rwc) != nil {
		return s, 0, false
	}
	head, err := c.readHead(true)
	if err != nil {
		return s, 0, false
	}
	a := &ask{}
	v, err := a.read(head)
	if err != nil || v != taken {
		return s, 0, false
	}
	x, err := c.newExchange(a, head)
	if err != nil {
		return s, 0, false
	}
	c.win.r += len(head)
	clear(head) // what the handler gets must not point there
	c.now.Store(x)
	s = see(&c.sheet.req)
	return s, len(text) - source.Len() - (c.win.w - c.win.r), true
}

// FuzzValue compares the quick look at a field's value with the plain one.
func FuzzValue(f *testing.F) {
	for b := range 256 {
		for at := range 9 {
			text := []byte("012345678")
			text[at] = byte(b)
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := allValue(text), all(text, isValue); got != want {
			t.Fatalf("%q: %t, and byte by byte %t", text, got, want)
		}
	})
}

func noDeadline(time.Time) error { return nil }

// A textConn is a connection from which text comes.
type textConn struct{ io.Reader }

func (textConn) Write(p []byte) (int, error)      { return len(p), nil }
func (textConn) Close() error                     { return nil }
func (textConn) LocalAddr() net.Addr              { return nil }
func (textConn) RemoteAddr() net.Addr             { return nil }
func (textConn) SetDeadline(time.Time) error      { return nil }
func (textConn) SetReadDeadline(time.Time) error  { return nil }
func (textConn) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkExchange is what a server does for a request beside the kernel: it reads the
// head, makes what the handler gets, has the body read and the answer put together.
func BenchmarkExchange(b *testing.B) {
	c := &conn{server: &Server{MaxHeaderBytes: 32 << 10, ReadHeaderTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second, Lend: true}}
	body := make([]byte, 4096)
	c.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for n, err := 0, error(nil); err == nil; {
			n, err = r.Body.Read(body)
			_ = n
		}
		w.(*answer).Reply(http.StatusOK, "Content-Type: application/json\r\nPavise-Record: ", 4711, answerBody)
	})
	c.readBy.tell, c.readBy.lazy, c.writeBy.tell = noDeadline, true, noDeadline
	c.rwc = textConn{}
	b.ReportAllocs()
	for b.Loop() {
		c.free()
		c.win.buf = borrow()
		c.win.w = copy(c.win.buf, smallRequest)
		head, err := c.readHead(false)
		if err != nil || !c.serveHead(head) {
			b.Fatal(err)
		}
	}
}
