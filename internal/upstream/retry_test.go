package upstream

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// dead is an address that nobody listens on.
func dead(t testing.TB) string {
	s := serve(t, echo)
	s.Close()
	return s.url()
}

// TestWhatIsTriedAgain counts how often a request was executed, for each way in which
// a connection may die, and for requests that may and may not be repeated.
func TestWhatIsTriedAgain(t *testing.T) {
	// stale serves one request on its first connection, and then does as the test
	// says with the next; other connections serve all.
	stale := func(second func(c *peer)) func(*server, *peer, int64) {
		return func(s *server, c *peer, n int64) {
			if n > 1 {
				echo(s, c, n)
				return
			}
			c.request()
			c.say(ok("first"))
			second(c)
		}
	}
	executes := func(c *peer) { c.request() }
	tests := map[string]struct {
		second   func(c *peer)
		body     int // bytes of the second request
		again    bool
		method   string
		want     string
		executed int64 // in all, with the first
	}{
		"dies after it executed":         {executes, 10, false, "POST", "broken", 2},
		"resets after it executed":       {func(c *peer) { c.request(); c.reset() }, 10, false, "POST", "broken", 2},
		"repeatable, dies":               {executes, 10, true, "POST", "ok", 3},
		"a GET, dies":                    {executes, 0, false, "GET", "ok", 3},
		"repeatable, answers a byte":     {func(c *peer) { c.request(); c.say("H") }, 10, true, "POST", "broken", 2},
		"repeatable, says to wait":       {func(c *peer) { c.request(); c.say("HTTP/1.1 102 Wait\r\n\r\n") }, 10, true, "POST", "broken", 2},
		"repeatable, answers nonsense":   {func(c *peer) { c.request(); c.say("x\r\n\r\n") }, 10, true, "POST", "malformed", 2},
		"repeatable, slow":               {func(c *peer) { c.request(); c.stay() }, 10, true, "POST", "slow", 2},
		"reads half of it, resets":       {func(c *peer) { io.ReadFull(c.in, make([]byte, 1000)); c.reset() }, 16 << 20, false, "POST", "ok", 2},
		"repeatable, but says a status":  {func(c *peer) { c.request(); c.say("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") }, 10, true, "POST", "ok", 2},
		"was closed before it was asked": {func(c *peer) {}, 10, false, "POST", "ok", 2},
		"was reset before it was asked":  {func(c *peer) { c.reset() }, 10, false, "POST", "ok", 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done := make(chan bool)
			s := serve(t, func(s *server, c *peer, n int64) {
				stale(tt.second)(s, c, n)
				if n == 1 {
					c.Close()
					close(done)
				}
			})
			c := cluster(t, Options{}, s.url())
			if err := c.Do(t.Context(), post("first"), &Answer{}); err != nil {
				t.Fatal(err)
			}
			if tt.want == "slow" {
				c.o.Timeouts.FirstByte = brief
			}
			if strings.Contains(name, "before it was asked") {
				<-done
			}
			r := post(strings.Repeat("x", tt.body))
			r.Method, r.Repeatable = tt.method, tt.again
			err := c.Do(t.Context(), r, &Answer{})
			if reason(err) != tt.want || s.executed.Load() != tt.executed {
				t.Errorf("%v, want %s; executed %d times, want %d", err, tt.want, s.executed.Load(), tt.executed)
			}
			polite(t, err)
			if got := c.Stats().Endpoints[0]; tt.want == "ok" && !strings.Contains(name, "status") && got.Failures != 0 {
				t.Errorf("the end of an idle connection is held against the server: %+v", got)
			}
		})
	}
}

// TestFreshConnectionIsNotTriedAgain holds to the rule even for what is repeatable:
// a server that dies on a new connection dies on the next as well.
func TestFreshConnectionIsNotTriedAgain(t *testing.T) {
	s := serve(t, func(s *server, c *peer, n int64) { c.request() })
	c := cluster(t, Options{}, s.url(), serve(t, func(s *server, c *peer, n int64) { c.request() }).url())
	r := post("x")
	r.Repeatable = true
	if err := c.Do(t.Context(), r, &Answer{}); reason(err) != "broken" || s.executed.Load() > 1 {
		t.Errorf("%v, executed %d", err, s.executed.Load())
	}
}

// TestConnectFailureGoesElsewhere loses no POST when one of two servers is away.
func TestConnectFailureGoesElsewhere(t *testing.T) {
	s := serve(t, echo)
	c := cluster(t, Options{}, dead(t), s.url())
	for i := range 20 {
		a := Answer{}
		if err := c.Do(t.Context(), post(fmt.Sprint(i)), &a); err != nil || string(a.Body) != fmt.Sprint(i) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if got := c.Stats(); s.executed.Load() != 20 || got.Retried == 0 || !got.Endpoints[0].Ejected {
		t.Errorf("executed %d, %+v", s.executed.Load(), got)
	}
}

// TestRetryBudget bounds the further tries when everything fails, and none are made
// where none may be.
func TestRetryBudget(t *testing.T) {
	c := cluster(t, Options{Breaker: Breaker{MaxRetries: -1}}, dead(t), dead(t))
	if err := c.Do(t.Context(), post(""), &Answer{}); reason(err) != "unreachable" || c.Stats().Retried != 0 {
		t.Errorf("%v, %d", err, c.Stats().Retried)
	}
	c = cluster(t, Options{}, dead(t), serve(t, echo).url())
	for range 3 {
		if !c.mayRetry() {
			t.Fatal("three may always")
		}
	}
	if c.mayRetry() {
		t.Error("a fourth further try with no calls under way")
	}
	c.active.Store(100)
	if !c.mayRetry() {
		t.Error("three tries of a hundred calls are as many as may")
	}
	c.active.Store(0)
	c.tries.Store(0)
}

// TestKeepAliveRace has a server that closes each connection right after an answer: a
// repeatable call never fails of it, and no other is executed twice.
func TestKeepAliveRace(t *testing.T) {
	s := serve(t, func(s *server, c *peer, n int64) {
		for i := range int(n%3) + 1 {
			body, more := c.request()
			if !more {
				return
			}
			if c.say(ok(body)); i%2 == 1 {
				time.Sleep(time.Duration(n%5) * 100 * time.Microsecond)
			}
		}
	})
	c := cluster(t, Options{Breaker: Breaker{RetryShare: 100}}, s.url())
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 100 {
				r, a := post(fmt.Sprint(w, "-", i)), Answer{}
				r.Repeatable = w%2 == 0
				err := c.Do(t.Context(), r, &a)
				switch {
				case err == nil && string(a.Body) != string(r.Body):
					t.Errorf("asked %s, answered %s", r.Body, a.Body)
				case err != nil && r.Repeatable:
					t.Errorf("%v", err)
				case err != nil && reason(err) != "broken":
					t.Errorf("%v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := s.executed.Load(); n > 800 {
		t.Errorf("%d executed of 800", n)
	}
}

// TestConnectionStorm has far more callers than connections: none is lost, the bound
// holds, and answers go to whom they belong.
func TestConnectionStorm(t *testing.T) {
	s := serve(t, echo)
	c := cluster(t, Options{Pool: Pool{MaxOpen: 8}}, s.url())
	var wg sync.WaitGroup
	for w := range 1000 {
		wg.Go(func() {
			want := fmt.Sprint("caller ", w)
			a := Answer{}
			if err := c.Do(t.Context(), post(want), &a); err != nil || string(a.Body) != want {
				t.Errorf("%q: %v", a.Body, err)
			}
		})
	}
	wg.Wait()
	if got := c.Stats().Endpoints[0]; s.conns.Load() > 8 || got.Open > 8 || got.Open != got.Idle || got.Pending != 0 {
		t.Errorf("%d connections, %+v", s.conns.Load(), got)
	}
}

// TestBreakers refuses as throttled, with when to come again.
func TestBreakers(t *testing.T) {
	release := make(chan bool)
	s := serve(t, func(s *server, c *peer, n int64) {
		for {
			body, more := c.request()
			if !more {
				return
			}
			<-release
			c.say(ok(body))
		}
	})
	for name, o := range map[string]Options{
		"requests": {Breaker: Breaker{MaxRequests: 2}},
		"pending":  {Pool: Pool{MaxOpen: 1}, Breaker: Breaker{MaxPending: 1}},
		"none":     {Pool: Pool{MaxOpen: 2}, Breaker: Breaker{MaxPending: -1}},
	} {
		c := cluster(t, o, s.url())
		done := make(chan error, 2)
		for i := range 2 {
			go func() { done <- c.Do(t.Context(), post(""), &Answer{}) }()
			for c.Stats().Active <= i || i == 1 && name == "pending" && c.Stats().Endpoints[0].Pending == 0 || name != "pending" && c.Stats().Endpoints[0].Open <= i {
				time.Sleep(time.Millisecond)
			}
		}
		err := c.Do(t.Context(), post(""), &Answer{})
		if reason(err) != "full" || FaultOf(err).Wait == 0 {
			t.Errorf("%s: %v", name, err)
		}
		polite(t, err)
		release <- true
		release <- true
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestWaitEnds refuses a call for which no connection comes free, long before its own
// time is up, and leaves no place in the line taken.
func TestWaitEnds(t *testing.T) {
	s := serve(t, func(s *server, c *peer, n int64) { c.stay() })
	c := cluster(t, Options{Pool: Pool{MaxOpen: 1}, Timeouts: Timeouts{Wait: time.Millisecond, Total: time.Hour}}, s.url())
	e := (*c.members.Load())[0]
	cn, fault := e.get(t.Context(), time.Time{}, time.Now().Add(time.Minute), false)
	if fault != nil {
		t.Fatal(fault)
	}
	err := c.Do(t.Context(), post(""), &Answer{})
	if reason(err) != "full" || FaultOf(err).Wait == 0 || c.Stats().Endpoints[0].Pending != 0 || c.Stats().Endpoints[0].Failures != 0 {
		t.Errorf("%v, %+v", err, c.Stats())
	}
	polite(t, err)
	e.put(cn)
}

// TestWaitingIsNotTheServersFault does not blame a server for the time that was left
// when a call got its connection.
func TestWaitingIsNotTheServersFault(t *testing.T) {
	s := serve(t, func(s *server, c *peer, n int64) { c.stay() })
	c := cluster(t, Options{Pool: Pool{MaxOpen: 1}, Timeouts: Timeouts{Total: 400 * time.Millisecond}}, s.url())
	e := (*c.members.Load())[0]
	cn, fault := e.get(t.Context(), time.Time{}, time.Now().Add(time.Minute), false)
	if fault != nil {
		t.Fatal(fault)
	}
	given := make(chan bool)
	time.AfterFunc(300*time.Millisecond, func() { e.put(cn); close(given) })
	if err := c.Do(t.Context(), post(""), &Answer{}); reason(err) != "slow" && reason(err) != "full" || c.Stats().Endpoints[0].Failures != 0 {
		t.Errorf("%v, %+v", err, c.Stats())
	}
	<-given
	if err := c.Do(t.Context(), post(""), &Answer{}); reason(err) != "slow" || c.Stats().Endpoints[0].Failures != 1 {
		t.Errorf("%v, %+v", err, c.Stats())
	}
}

// TestPool keeps the connection used last, no more than may idle, and none too long.
func TestPool(t *testing.T) {
	s := serve(t, echo)
	c := cluster(t, Options{Pool: Pool{MaxIdle: 2, Idle: time.Minute, Age: time.Hour}}, s.url())
	clock := time.Now()
	c.now = func() time.Time { return clock }
	e := (*c.members.Load())[0]
	var taken []*conn
	for range 3 {
		cn, fault := e.get(t.Context(), time.Time{}, time.Now().Add(time.Minute), false)
		if fault != nil {
			t.Fatal(fault)
		}
		taken = append(taken, cn)
	}
	for _, cn := range taken {
		e.put(cn)
	}
	if got := c.Stats().Endpoints[0]; got.Open != 2 || got.Idle != 2 {
		t.Errorf("%+v", got)
	}
	if cn, _ := e.get(t.Context(), time.Time{}, time.Now().Add(time.Minute), false); cn != taken[1] {
		t.Error("the connection that was used last is not taken first")
	} else {
		e.put(cn)
	}
	clock = clock.Add(2 * time.Minute)
	if c.sweep() {
		t.Error("connections stay that nobody used for two minutes")
	}
	cn, _ := e.get(t.Context(), time.Time{}, time.Now().Add(time.Minute), false)
	clock = clock.Add(2 * time.Hour)
	e.put(cn)
	if got := c.Stats().Endpoints[0]; got.Open != 0 {
		t.Errorf("an old connection is kept: %+v", got)
	}
	if len(e.conns) != 0 {
		t.Errorf("%d connections are remembered", len(e.conns))
	}
}

// TestIdleConnectionsEnd has those that nobody takes any more end by themselves.
func TestIdleConnectionsEnd(t *testing.T) {
	s := serve(t, echo)
	c := cluster(t, Options{Pool: Pool{Idle: time.Millisecond}}, s.url())
	for range 3 {
		if err := c.Do(t.Context(), post("x"), &Answer{}); err != nil {
			t.Fatal(err)
		}
		for c.Stats().Endpoints[0].Open > 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// TestLargeBodies carries bodies beyond every buffer there and back.
func TestLargeBodies(t *testing.T) {
	s := serve(t, func(s *server, c *peer, n int64) {
		c.in = bufio.NewReaderSize(c, 1<<20)
		echo(s, c, n)
	})
	c := cluster(t, Options{}, s.url())
	a := Answer{}
	for _, n := range []int{0, 1, 4095, 4096, 8192, 65_536, 65_537, 5 << 20} {
		want := strings.Repeat("y", n)
		if err := c.Do(t.Context(), post(want), &a); err != nil || string(a.Body) != want {
			t.Errorf("%d: %d bytes, %v", n, len(a.Body), err)
		}
	}
	if s.conns.Load() != 1 {
		t.Errorf("%d connections", s.conns.Load())
	}
	a.Limit = 1000
	if err := c.Do(t.Context(), post(strings.Repeat("y", 1000)), &a); err != nil {
		t.Error(err)
	}
	if err := c.Do(t.Context(), post(strings.Repeat("y", 1001)), &a); reason(err) != "too_large" {
		t.Error(err)
	}
}
