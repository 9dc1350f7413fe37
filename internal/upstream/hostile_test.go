package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestHostileServer has a server do with whole answers what a broken or hostile one may do.
func TestHostileServer(t *testing.T) {
	const secret = "s3cret-of-the-server"
	once := func(text string) func(*server, *peer, int64) {
		return func(s *server, c *peer, n int64) {
			if _, more := c.request(); more {
				c.say(text)
			}
		}
	}
	tests := map[string]struct {
		do   func(*server, *peer, int64)
		want string
	}{
		"good":                  {once(ok("{}")), "ok"},
		"error status":          {once("HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}"), "ok"},
		"chunked":               {once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"), "ok"},
		"interim":               {once("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + ok("{}")), "ok"},
		"ends with connection":  {once("HTTP/1.1 200 OK\r\n\r\n{}"), "malformed"},
		"dies before":           {func(s *server, c *peer, n int64) { c.request() }, "broken"},
		"dies in the head":      {once("HTTP/1.1 200 OK\r\nContent-Le"), "broken"},
		"dies in the body":      {once("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"), "broken"},
		"dies in a chunk":       {once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"), "broken"},
		"resets":                {func(s *server, c *peer, n int64) { c.request(); c.reset() }, "broken"},
		"resets in the body":    {func(s *server, c *peer, n int64) { c.request(); c.say(ok("{}")[:60]); c.reset() }, "broken"},
		"silent":                {func(s *server, c *peer, n int64) { c.stay() }, "slow"},
		"silent after the head": {func(s *server, c *peer, n int64) { c.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"); c.stay() }, "slow"},
		"two lengths":           {once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), "malformed"},
		"length and chunked":    {once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"), "malformed"},
		"negative length":       {once("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}"), "malformed"},
		"too long":              {once(ok(strings.Repeat("x", 4097))), "too_large"},
		"says too long":         {once("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n"), "too_large"},
		"chunks too long":       {once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1001\r\n" + strings.Repeat("x", 4097) + "\r\n0\r\n\r\n"), "too_large"},
		"compressed":            {once("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"), "malformed"},
		"two types":             {once("HTTP/1.1 200 OK\r\nContent-Type: a/b\r\ncontent-type: c/d\r\nContent-Length: 2\r\n\r\n{}"), "malformed"},
		"upgrade":               {once("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), "malformed"},
		"endless interim":       {once(strings.Repeat("HTTP/1.1 102 Wait\r\n\r\n", 100)), "malformed"},
		"endless head":          {once("HTTP/1.1 200 OK\r\n" + strings.Repeat("A: "+secret+"\r\n", 10_000)), "malformed"},
		"another protocol":      {once("220 mail.example ESMTP " + secret + "\r\n\r\n"), "malformed"},
		"nonsense":              {once(secret + "\r\n\r\n"), "malformed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tt.do)
			c := cluster(t, Options{Timeouts: timeouts(tt.want)}, s.url())
			a := Answer{Limit: 4096, Want: []string{"content-type"}}
			err := c.Do(t.Context(), post("{}"), &a)
			if reason(err) != tt.want || tt.want == "slow" && !errors.Is(err, errGap) {
				t.Fatalf("%v, want %s", err, tt.want)
			}
			if err != nil && pavise.KindOf(err) != pavise.Unavailable {
				t.Errorf("kind %v", pavise.KindOf(err))
			}
			polite(t, err, secret)
			if n := s.executed.Load(); n > 1 {
				t.Errorf("executed %d times", n)
			}
			if err == nil && string(a.Body) != "{}" {
				t.Errorf("body %q", a.Body)
			}
		})
	}
}

// TestHostileStream is the same for streams: what came is read, and then the error.
func TestHostileStream(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	const event = "9\r\ndata: 1\n\n\r\n"
	tests := map[string]struct {
		do   func(c *peer)
		want string
		got  string
	}{
		"whole":     {func(c *peer) { c.say(head + event + event + "0\r\n\r\n") }, "ok", "data: 1\n\ndata: 1\n\n"},
		"dies":      {func(c *peer) { c.say(head + event) }, "broken", "data: 1\n\n"},
		"gap":       {func(c *peer) { c.say(head + event); c.stay() }, "slow", "data: 1\n\n"},
		"malformed": {func(c *peer) { c.say(head + event + "zz\r\n"); c.stay() }, "broken", "data: 1\n\n"},
		"never ends": {func(c *peer) {
			c.say(head)
			for {
				if _, err := io.WriteString(c, strings.Repeat(event, 100)); err != nil {
					return
				}
			}
		}, "too_large", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(s *server, c *peer, n int64) { c.request(); tt.do(c) })
			o := timeouts(tt.want)
			o.FirstByte = 0
			c := cluster(t, Options{Timeouts: o}, s.url())
			a := Answer{Limit: 100_000, Want: []string{"content-type"}}
			stream, err := c.Open(t.Context(), post("{}"), &a)
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			got, err := io.ReadAll(stream)
			if reason(err) != tt.want || tt.want == "slow" && !errors.Is(err, errGap) {
				t.Errorf("%v, want %s", err, tt.want)
			}
			polite(t, err)
			if len(got) > 100_000 || tt.got != "" && string(got) != tt.got || string(a.Got[0]) != "text/event-stream" {
				t.Errorf("%d bytes, %.80q, type %q", len(got), got, a.Got[0])
			}
		})
	}
}

// TestStreamClosedAtItsLastEvent keeps the connection when all that was left is what ends
// the body, be it there already or a moment later, and no other.
func TestStreamClosedAtItsLastEvent(t *testing.T) {
	const last = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n[DONE]\r\n"
	for name, tt := range map[string]struct {
		rest []string
		idle int
	}{
		"with it":    {[]string{last + "0\r\n\r\n"}, 1},
		"then":       {[]string{last, "0\r\n\r\n"}, 1},
		"never":      {[]string{last}, 0},
		"more":       {[]string{last + "1\r\nx\r\n0\r\n\r\n"}, 0},
		"and behind": {[]string{last + "0\r\n\r\nHTTP/1.1 200 OK\r\n"}, 0},
	} {
		read := make(chan bool)
		s := serve(t, func(s *server, c *peer, n int64) {
			c.request()
			for _, text := range tt.rest {
				c.say(text)
				<-read
			}
			c.stay()
		})
		c := cluster(t, Options{}, s.url())
		if name != "never" {
			c.grace = time.Minute
		}
		stream, err := c.Open(t.Context(), post(""), &Answer{})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.ReadFull(stream, make([]byte, 6)); err != nil {
			t.Error(n, err)
		}
		for range tt.rest {
			read <- true
		}
		stream.Close()
		stream.Close()
		if _, err := stream.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: a closed stream is read", name)
		}
		if got := c.Stats(); got.Endpoints[0].Idle != tt.idle || got.Active != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestTrickle ends an answer that comes a byte at a time, when the call's time is over.
func TestTrickle(t *testing.T) {
	s := serve(t, func(s *server, c *peer, n int64) {
		c.request()
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
		for {
			if _, err := c.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	c := cluster(t, Options{Timeouts: Timeouts{Total: 2 * brief}}, s.url())
	if err := c.Do(t.Context(), post(""), &Answer{}); reason(err) != "slow" || !errors.Is(err, errTotal) {
		t.Errorf("%v", err)
	}
}

// TestServerThatDoesNotRead ends a call whose body nobody takes.
func TestServerThatDoesNotRead(t *testing.T) {
	release := make(chan bool)
	s := serve(t, func(s *server, c *peer, n int64) { <-release })
	defer close(release)
	c := cluster(t, Options{Timeouts: Timeouts{Total: 2 * brief}}, s.url())
	if err := c.Do(t.Context(), post(strings.Repeat("x", 32<<20)), &Answer{}); reason(err) != "slow" {
		t.Errorf("%v", err)
	}
}

// TestEarlyAnswer takes the answer of a server that refuses before it read everything.
func TestEarlyAnswer(t *testing.T) {
	s := serve(t, func(s *server, c *peer, n int64) {
		c.in.ReadString('\n')
		c.say("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		c.CloseWrite()
		c.stay()
	})
	c := cluster(t, Options{}, s.url())
	a := Answer{}
	if err := c.Do(t.Context(), post(strings.Repeat("x", 1<<20)), &a); err != nil || a.Status != 413 {
		t.Errorf("status %d: %v", a.Status, err)
	}
}

// TestCallerGoesAway ends the upstream's connection with the caller's wait: whole
// answers, streams, and the line for a connection.
func TestCallerGoesAway(t *testing.T) {
	ended := make(chan bool, 4)
	s := serve(t, func(s *server, c *peer, n int64) {
		c.request()
		if n == 2 {
			c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		}
		c.stay()
		ended <- true
	})
	c := cluster(t, Options{Pool: Pool{MaxOpen: 1}}, s.url())
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 2)
	go func() { failed <- c.Do(ctx, post(""), &Answer{}) }()
	for s.executed.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	go func() { failed <- c.Do(ctx, post(""), &Answer{}) }()
	for c.Stats().Endpoints[0].Pending == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	for range 2 {
		if err := <-failed; reason(err) != "gone" {
			t.Errorf("%v", err)
		}
	}
	<-ended
	ctx, cancel = context.WithCancel(t.Context())
	stream, err := c.Open(ctx, post(""), &Answer{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := stream.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	cancel()
	if _, err := stream.Read(make([]byte, 10)); reason(err) != "gone" {
		t.Errorf("%v", err)
	}
	<-ended
	if s := c.Stats(); s.Active != 0 || s.Endpoints[0].Open != 0 || s.Endpoints[0].Row > 0 {
		t.Errorf("%+v", s)
	}
}

// TestUnwritable refuses what would be read as another request, and keeps the connection.
func TestUnwritable(t *testing.T) {
	s := serve(t, echo)
	c := cluster(t, Options{}, s.url())
	for _, r := range []*Request{
		{Method: "POST", Path: "/a b"}, {Method: "POST", Path: "x"}, {Method: "PO ST", Path: "/"},
		{Method: "POST", Path: "/\r\nX: y"},
		{Method: "POST", Path: "/", Fields: []Field{{"A", "b\r\nC: d"}}},
		{Method: "POST", Path: "/", Fields: []Field{{"Content-Length", "5"}}},
	} {
		if err := c.Do(t.Context(), r, &Answer{}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if err := c.Do(t.Context(), post("x"), &Answer{}); err != nil || s.conns.Load() != 1 || s.executed.Load() != 1 {
		t.Errorf("%v: %d connections, %d executed", err, s.conns.Load(), s.executed.Load())
	}
}

// TestAnswerThatNobodyAskedFor is not taken for the answer to the next request: neither
// with the last one, nor while the connection was idle.
func TestAnswerThatNobodyAskedFor(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprint(late), func(t *testing.T) {
			answered, forged := make(chan bool), make(chan bool)
			s := serve(t, func(s *server, c *peer, n int64) {
				for {
					body, more := c.request()
					if !more {
						return
					}
					if late {
						c.say(ok(body))
						<-answered
						c.say(ok("forged"))
						forged <- true
					} else {
						c.say(ok(body) + ok("forged"))
					}
				}
			})
			c := cluster(t, Options{}, s.url())
			for i := range 2 {
				a, want := Answer{}, fmt.Sprint("x", i)
				if err := c.Do(t.Context(), post(want), &a); err != nil || string(a.Body) != want {
					t.Errorf("%q: %v", a.Body, err)
				}
				if late {
					answered <- true
					<-forged
					// The forged bytes are in our kernel once the send returned on
					// loopback.
				}
			}
		})
	}
}
