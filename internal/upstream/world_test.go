package upstream

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// A server answers each connection as a test says.
type server struct {
	net.Listener
	conns    atomic.Int64 // accepted
	executed atomic.Int64 // whole requests that were read
}

// serve starts one. do gets each connection, counted from 1, and may read requests.
func serve(t testing.TB, do func(s *server, c *peer, n int64)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			n := s.conns.Add(1)
			go func() {
				defer nc.Close()
				do(s, &peer{TCPConn: nc.(*net.TCPConn), s: s, in: bufio.NewReader(nc)}, n)
			}()
		}
	}()
	return s
}

func (s *server) url() string { return "http://" + s.Addr().String() }

// A peer is one connection, as the server has it.
type peer struct {
	*net.TCPConn
	s  *server
	in *bufio.Reader
}

// request reads one request whole, and counts it as executed.
func (p *peer) request() (string, bool) {
	r, err := http.ReadRequest(p.in)
	if err != nil {
		return "", false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", false
	}
	p.s.executed.Add(1)
	return string(body), true
}

func (p *peer) say(text string) { io.WriteString(p, text) }

// reset ends the connection with RST.
func (p *peer) reset() {
	p.SetLinger(0)
	p.Close()
}

// stay waits until the other side ends the connection.
func (p *peer) stay() { io.Copy(io.Discard, p.in) }

func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: application/json\r\n\r\n%s", len(body), body)
}

// echo answers each request with its body.
func echo(s *server, c *peer, n int64) {
	for {
		body, more := c.request()
		if !more {
			return
		}
		c.say(ok(body))
	}
}

// always answers each request with the same bytes.
func always(text string) func(*server, *peer, int64) {
	return func(s *server, c *peer, n int64) {
		for {
			if _, more := c.request(); !more {
				return
			}
			c.say(text)
		}
	}
}

// brief is how long tests wait for what does not come. Only those do: a machine that is
// busy must not make the others fail.
const brief = 150 * time.Millisecond

// timeouts are brief for who expects a call to be slow.
func timeouts(want string) (o Timeouts) {
	if want == "slow" {
		o.FirstByte, o.Gap = brief, brief
	}
	return o
}

func cluster(t testing.TB, o Options, urls ...string) *Cluster {
	t.Helper()
	endpoints := make([]Endpoint, len(urls))
	for i, u := range urls {
		endpoints[i] = Endpoint{URL: u, Weight: 1}
	}
	if o.Name == "" {
		o.Name = "m"
	}
	c, err := New(endpoints, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { settled(t, c) })
	return c
}

// settled fails when a cluster counts calls or connections that are no more.
func settled(t testing.TB, c *Cluster) {
	c.Close()
	s := c.Stats()
	bad := s.Active != 0 || c.tries.Load() != 0
	for _, e := range s.Endpoints {
		bad = bad || e.Active != 0 || e.Open != 0 || e.Pending != 0
	}
	if bad {
		t.Errorf("after the last call: %d further tries, %+v", c.tries.Load(), s)
	}
}

func post(body string) *Request {
	return &Request{Method: "POST", Path: "/infer", Body: []byte(body), Fields: []Field{{"Content-Type", "application/json"}}}
}

// reason is the label of what went wrong, or "ok".
func reason(err error) string {
	if err == nil {
		return "ok"
	}
	if f := FaultOf(err); f != nil {
		return f.Reason.String()
	}
	return err.Error()
}

// polite fails when an error says to its caller what the server said, or where it is.
func polite(t testing.TB, err error, secrets ...string) {
	t.Helper()
	var e *pavise.Error
	if err == nil {
		return
	}
	e, _ = err.(*pavise.Error)
	if e == nil {
		t.Fatalf("not an error for people: %v", err)
	}
	for _, s := range append(secrets, "127.0.0.1") {
		if strings.Contains(e.Msg+e.Hint, s) {
			t.Errorf("the caller is told %q: %s; %s", s, e.Msg, e.Hint)
		}
	}
}
