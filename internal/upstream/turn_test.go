package upstream

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTurnWithoutRoom sends a request for which the socket has no room, or not enough, on
// a connection that was used before: the rest follows as the server reads.
func TestTurnWithoutRoom(t *testing.T) {
	filled := make(chan int64)
	s := serve(t, func(s *server, c *peer, n int64) {
		c.SetReadBuffer(4 << 10)
		body, _ := c.request()
		c.say(ok(body))
		for filler := range filled {
			time.Sleep(5 * time.Millisecond)
			io.CopyN(io.Discard, c.in, filler)
			if body, more := c.request(); more {
				c.say(ok(body))
			}
		}
	})
	defer close(filled)
	c := cluster(t, Options{}, s.url())
	a := &Answer{}
	if err := c.Do(t.Context(), post("small"), a); err != nil || string(a.Body) != "small" {
		t.Fatalf("%v, %q", err, a.Body)
	}
	cn := (*c.members.Load())[0].idle[0]
	cn.tcp.(*net.TCPConn).SetWriteBuffer(16 << 10)
	for i, less := range []int{0, 1 << 10, 4 << 10, 8 << 10} {
		filler := int64(0)
		for { // until there is no room, or a little
			cn.tcp.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			n, err := cn.tcp.Write(make([]byte, 512))
			if filler += int64(n); err != nil || less > 0 && filler > int64(less) {
				break
			}
		}
		body := strings.Repeat(string(rune('a'+i)), outSize-300)
		go func() { filled <- filler }()
		if err := c.Do(t.Context(), post(body), a); err != nil || string(a.Body) != body {
			t.Fatalf("%v, %d bytes", err, len(a.Body))
		}
		if !cn.reused || !cn.whole || cn.sent < outSize-300 || s.conns.Load() != 1 {
			t.Errorf("%d bytes sent, whole %t, %d connections", cn.sent, cn.whole, s.conns.Load())
		}
	}
}

// TestIdleEndsAreNoTries has a server end all connections while they are idle: the next
// call finds one after the other out, and is made once.
func TestIdleEndsAreNoTries(t *testing.T) {
	for _, how := range []string{"closed", "reset", "not quiet"} {
		end := make(chan struct{})
		var asked, ended sync.WaitGroup
		asked.Add(8)
		ended.Add(8)
		s := serve(t, func(s *server, c *peer, n int64) {
			if n > 8 {
				echo(s, c, n)
				return
			}
			body, _ := c.request()
			asked.Done()
			asked.Wait()
			c.say(ok(body))
			<-end
			switch how {
			case "reset":
				c.reset()
			case "not quiet":
				c.say(ok("of another question"))
			default:
				c.Close()
			}
			ended.Done()
			c.stay()
		})
		c := cluster(t, Options{Breaker: Breaker{MaxRetries: -1}}, s.url())
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() {
				if err := c.Do(t.Context(), post("first"), &Answer{}); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		close(end)
		ended.Wait()
		time.Sleep(20 * time.Millisecond) // for the last of them to come here
		a := &Answer{}
		if err := c.Do(t.Context(), post("second"), a); err != nil || string(a.Body) != "second" {
			t.Errorf("%s: %v, %q", how, err, a.Body)
		}
		if got := c.Stats(); got.Retried != 0 || got.Endpoints[0].Failures != 0 || got.Endpoints[0].Open != 1 || s.executed.Load() != 9 {
			t.Errorf("%s: %+v, %d executed", how, got, s.executed.Load())
		}
	}
}

// TestDeadlinesOfCallsInARow has calls on one connection that are shorter and longer than
// the deadline that the ones before have left there.
func TestDeadlinesOfCallsInARow(t *testing.T) {
	s := serve(t, func(s *server, c *peer, n int64) {
		for {
			body, more := c.request()
			if !more {
				return
			}
			wait, _ := time.ParseDuration(body)
			time.Sleep(wait)
			c.say(ok(body))
		}
	})
	c := cluster(t, Options{}, s.url())
	a := &Answer{}
	for _, wait := range []string{"0s", "1ms", "12ms", "0s", "25ms", "5ms", "8ms", "9ms", "45ms", "0s"} {
		ctx, cancel := context.WithCancel(t.Context())
		if err := c.Do(ctx, post(wait), a); err != nil || string(a.Body) != wait {
			t.Fatalf("%v, %q", err, a.Body)
		}
		cancel() // of a call that is over
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), brief)
	defer cancel()
	if err := c.Do(ctx, post("10s"), a); reason(err) != "gone" {
		t.Error(err)
	}
}
