package upstream

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// weighted is a cluster that is never dialled.
func weighted(t *testing.T, b Balance, weights ...int) *Cluster {
	t.Helper()
	c, err := New(named(weights...), Options{Balance: b})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func named(weights ...int) []Endpoint {
	all := make([]Endpoint, len(weights))
	for i, w := range weights {
		all[i] = Endpoint{URL: fmt.Sprintf("http://host-%d:80", i), Weight: w}
	}
	return all
}

// peek picks for a call that is over at once.
func peek(c *Cluster, key string, t *tried) (*endpoint, bool) {
	e, probe := c.pick(key, t)
	if e != nil {
		e.active.Add(-1)
	}
	return e, probe
}

// TestWeights has each way to pick keep to the weights. Turns are exact; the others
// are less than four in a hundred off, twenty times their deviation.
func TestWeights(t *testing.T) {
	const n = 20_000
	for _, b := range []Balance{RoundRobin, LeastRequest, Hash} {
		c := weighted(t, b, 5, 3, 2, 0)
		count := map[string]int{}
		for i := range n {
			e, _ := peek(c, fmt.Sprint("tenant-", i), &tried{})
			count[e.url]++
		}
		for i, want := range []int{n * 5 / 10, n * 3 / 10, n * 2 / 10, 0} {
			got, off := count[fmt.Sprintf("http://host-%d:80", i)], n/25
			if b == RoundRobin {
				off = 1
			}
			if got < want-off || got > want+off {
				t.Errorf("balance %d: endpoint %d was picked %d times of %d, want about %d", b, i, got, n, want)
			}
		}
	}
}

// TestTurnsAreSmooth has a heavy endpoint not come in a row.
func TestTurnsAreSmooth(t *testing.T) {
	c, order := weighted(t, RoundRobin, 5, 1, 1), ""
	for range 7 {
		e, _ := peek(c, "", &tried{})
		order += e.url[12:13]
	}
	if order != "0010200" {
		t.Errorf("order %s", order)
	}
}

// TestHashIsStable has a change of one endpoint move only the keys that it gains or
// loses, a change of weights only towards who gained, and other processes pick alike.
func TestHashIsStable(t *testing.T) {
	const keys = 5000
	where := func(c *Cluster) []string {
		at := make([]string, keys)
		for i := range at {
			e, _ := peek(c, fmt.Sprint("tenant-", i), &tried{})
			at[i] = e.url
		}
		return at
	}
	c := weighted(t, Hash, 1, 1, 1, 1)
	was := where(c)
	if again := where(weighted(t, Hash, 1, 1, 1, 1)); fmt.Sprint(again) != fmt.Sprint(was) {
		t.Error("another process picks others")
	}
	if err := c.Set(named(1, 1, 1, 1, 1)); err != nil {
		t.Fatal(err)
	}
	moved := 0
	for i, at := range where(c) {
		if at != was[i] {
			if moved++; at != "http://host-4:80" {
				t.Fatalf("key %d went from %s to %s, where nothing is new", i, was[i], at)
			}
		}
	}
	if moved < keys/5-keys/20 || moved > keys/5+keys/20 {
		t.Errorf("%d of %d keys moved to one new endpoint of five", moved, keys)
	}
	if err := c.Set(named(1, 0, 1, 1)); err != nil {
		t.Fatal(err)
	}
	for i, at := range where(c) {
		if at != was[i] && was[i] != "http://host-1:80" {
			t.Fatalf("key %d left %s, which stayed", i, was[i])
		}
	}
}

// TestHashBoundsTheLoad lets no key load its endpoint beyond a quarter over its share.
func TestHashBoundsTheLoad(t *testing.T) {
	c := weighted(t, Hash, 1, 1, 1, 1)
	for n := 1; n <= 400; n++ {
		e, _ := c.pick("one tenant", &tried{})
		if got, most := int(e.active.Load()), (5*n+15)/16; got > most {
			t.Fatalf("of %d calls %d are on one of four endpoints", n, got)
		}
	}
}

// TestLeastRequest prefers who has less to do.
func TestLeastRequest(t *testing.T) {
	c := weighted(t, LeastRequest, 1, 1)
	(*c.members.Load())[0].active.Store(10)
	for range 100 {
		if e, _ := peek(c, "", &tried{}); e.url != "http://host-1:80" {
			t.Fatal("the busy one was picked of two")
		}
	}
}

// sick is a cluster with a clock of the test's, in which all endpoints serve.
func sick(t *testing.T, n int) (*Cluster, []*endpoint, *time.Time) {
	weights := make([]int, n)
	for i := range weights {
		weights[i] = 1
	}
	c := weighted(t, RoundRobin, weights...)
	clock := time.Unix(1e9, 0)
	c.now = func() time.Time { return clock }
	return c, *c.members.Load(), &clock
}

// TestEjection follows an endpoint out, through probes that fail, for longer each
// time, and back.
func TestEjection(t *testing.T) {
	c, e, clock := sick(t, 3)
	picks := func() (n, probes int) {
		for range 30 {
			if got, probe := peek(c, "", &tried{}); got == e[0] {
				if n++; probe {
					probes++
				}
			}
		}
		return n, probes
	}
	for range 4 {
		c.unwell(e[0], false)
	}
	c.well(e[0], false) // not five in a row
	for range 4 {
		c.unwell(e[0], false)
	}
	if n, _ := picks(); n == 0 {
		t.Fatal("ejected too early")
	}
	c.unwell(e[0], false)
	for i, wait := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300} {
		if n, _ := picks(); n != 0 {
			t.Fatalf("ejection %d: picked %d times", i, n)
		}
		if got := c.Stats().Endpoints[0]; !got.Ejected || got.Until.Sub(*clock) != wait*time.Second || got.Times != uint64(i+1) {
			t.Fatalf("ejection %d: %+v at %v", i, got, clock)
		}
		*clock = clock.Add(wait*time.Second - 1)
		if n, _ := picks(); n != 0 {
			t.Fatalf("ejection %d: picked before its end", i)
		}
		*clock = clock.Add(1)
		if n, probes := picks(); n != 1 || probes != 1 {
			t.Fatalf("ejection %d: %d picks, %d probes at its end, want one", i, n, probes)
		}
		c.well(e[0], false) // a call from before the ejection says nothing
		if n, _ := picks(); n != 0 {
			t.Fatal("two probes at once")
		}
		c.unwell(e[0], true)
	}
	*clock = clock.Add(300 * time.Second)
	for range 3 { // a probe that was not waited for is made again
		for {
			if got, probe := peek(c, "", &tried{}); got == e[0] && probe {
				break
			}
		}
		c.unknown(e[0], true)
	}
	picks()
	c.well(e[0], true)
	if n, probes := picks(); n != 10 || probes != 0 {
		t.Errorf("%d picks, %d probes after a good probe", n, probes)
	}
	*clock = clock.Add(time.Hour)
	for range 5 {
		c.unwell(e[0], false)
	}
	if got := c.Stats().Endpoints[0]; got.Until.Sub(*clock) != 5*time.Second {
		t.Errorf("what was an hour ago is not forgiven: %v", got.Until.Sub(*clock))
	}
}

// TestFailureRate ejects who fails half of the time, never in a row.
func TestFailureRate(t *testing.T) {
	c, e, _ := sick(t, 3)
	for i := range 19 {
		if i%2 == 0 {
			c.unwell(e[0], false)
		} else {
			c.well(e[0], false)
		}
	}
	if c.Stats().Endpoints[0].Ejected {
		t.Error("ejected below the volume")
	}
	c.well(e[0], false)
	c.unwell(e[0], false)
	if !c.Stats().Endpoints[0].Ejected {
		t.Error("half of the calls fail, and it is not ejected")
	}
	for i := range 100 {
		if i%4 == 0 {
			c.unwell(e[1], false)
		} else {
			c.well(e[1], false)
		}
	}
	if c.Stats().Endpoints[1].Ejected {
		t.Error("a quarter fails, and it is ejected")
	}
}

// TestNeverMoreThanHalf keeps half of the endpoints, whatever fails: what ejects all of
// them would be a way to close a route. Endpoints that leave do not change that.
func TestNeverMoreThanHalf(t *testing.T) {
	for n := 1; n <= 6; n++ {
		c, e, _ := sick(t, n)
		for range 50 {
			for _, e := range e {
				c.unwell(e, false)
			}
		}
		out := 0
		for _, s := range c.Stats().Endpoints {
			if s.Ejected {
				out++
			}
		}
		if out != n/2 {
			t.Errorf("%d of %d are out", out, n)
		}
	}
	c, e, _ := sick(t, 4)
	for range 5 {
		c.unwell(e[0], false)
		c.unwell(e[1], false)
	}
	if err := c.Set(named(1, 1)); err != nil {
		t.Fatal(err)
	}
	if a, b := c.Stats().Endpoints[0].Ejected, c.Stats().Endpoints[1].Ejected; a == b {
		t.Errorf("two are left of four, and those that are out: %v, %v", a, b)
	}
	c = weighted(t, RoundRobin, 1, 0)
	for range 50 {
		c.unwell((*c.members.Load())[0], false)
	}
	if e, _ := peek(c, "", &tried{}); e == nil {
		t.Error("the only endpoint with a weight is out")
	}
}

// TestStatusesThatEject counts what gateways say of the server, and nothing that the
// content of a request can bring about.
func TestStatusesThatEject(t *testing.T) {
	for status, want := range map[int]bool{200: false, 400: false, 404: false, 429: false, 500: false, 501: false, 502: true, 503: true, 504: true} {
		bad := serve(t, always(fmt.Sprintf("HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n", status)))
		c := cluster(t, Options{}, bad.url(), serve(t, echo).url())
		for range 20 {
			if err := c.Do(t.Context(), post(""), &Answer{}); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.Stats().Endpoints[0].Ejected; got != want {
			t.Errorf("status %d: ejected %v", status, got)
		}
	}
}

// TestReturnOfAServer ejects a real one that dies, and has it back when it lives.
func TestReturnOfAServer(t *testing.T) {
	var ill atomic.Bool
	s := serve(t, func(s *server, c *peer, n int64) {
		for {
			body, more := c.request()
			if !more || ill.Load() {
				return
			}
			c.say(ok(body))
		}
	})
	c := cluster(t, Options{Ejection: Ejection{Base: time.Millisecond}}, s.url(), serve(t, echo).url())
	ill.Store(true)
	for !c.Stats().Endpoints[0].Ejected {
		c.Do(t.Context(), post(""), &Answer{})
	}
	ill.Store(false)
	for c.Stats().Endpoints[0].Ejected {
		if err := c.Do(t.Context(), post(""), &Answer{}); err != nil && reason(err) != "broken" {
			t.Fatal(err)
		}
	}
}

// TestDrain waits for calls under way, refuses new ones, and loses none.
func TestDrain(t *testing.T) {
	s := serve(t, echo)
	c := cluster(t, Options{}, s.url())
	var wg sync.WaitGroup
	var answered atomic.Int64
	for range 8 {
		wg.Go(func() {
			for {
				err := c.Do(t.Context(), post("x"), &Answer{})
				if reason(err) == "closed" {
					polite(t, err)
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for answered.Load() < 100 {
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if got := c.Stats(); got.Active != 0 || got.Endpoints[0].Open != 0 {
		t.Errorf("after it: %+v", got)
	}
	wg.Wait()
	if answered.Load() != s.executed.Load() {
		t.Errorf("%d answered, %d executed", answered.Load(), s.executed.Load())
	}
}

// TestDrainEndsWhatDoesNotEnd cuts what is left when its time is over.
func TestDrainEndsWhatDoesNotEnd(t *testing.T) {
	s := serve(t, func(s *server, c *peer, n int64) { c.request(); c.stay() })
	c := cluster(t, Options{}, s.url())
	failed := make(chan error)
	go func() { failed <- c.Do(t.Context(), post(""), &Answer{}) }()
	for s.executed.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.Drain(ctx); err == nil {
		t.Error("a call is under way, and nothing is said of it")
	}
	if err := <-failed; reason(err) != "closed" {
		t.Error(err)
	}
}

// TestSetKeepsConnections changes weights, and takes a server out under load.
func TestSetKeepsConnections(t *testing.T) {
	one, two := serve(t, echo), serve(t, echo)
	c := cluster(t, Options{}, one.url())
	var wg sync.WaitGroup
	done := make(chan bool)
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := c.Do(t.Context(), post("x"), &Answer{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	sets := [][]Endpoint{{{one.url(), 1}, {two.url(), 1}}, {{one.url(), 7}, {two.url(), 3}}, {{one.url(), 1}, {two.url(), 0}}, {{one.url(), 1}}}
	for i := range 80 {
		if err := c.Set(sets[i%4]); err != nil {
			t.Fatal(err)
		}
		for n := one.executed.Load(); one.executed.Load() < n+3 && !t.Failed(); {
		}
	}
	close(done)
	wg.Wait()
	if n := one.conns.Load(); n > 4 {
		t.Errorf("%d connections to the server that stayed, for four callers", n)
	}
	if two.executed.Load() == 0 {
		t.Error("the second was never asked")
	}
	if got := c.Stats(); len(got.Endpoints) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestEndpointsThatAreRefused(t *testing.T) {
	for _, bad := range [][]Endpoint{
		nil, named(0), named(-1, 1), named(MaxWeight + 1), make([]Endpoint, MaxEndpoints+1),
		{{"http://h", 1}, {"http://h/", 1}}, {{"", 1}}, {{"h:80", 1}}, {{"ftp://h", 1}}, {{"http://u:p@h", 1}},
		{{"http://h?x=1", 1}}, {{"http://h?", 1}}, {{"http://h#f", 1}}, {{"http://:80", 1}}, {{"http://h\r\nX: y", 1}},
	} {
		if _, err := New(bad, Options{}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
	a, err := parseAddress("https://[::1]/serving/v1/")
	if err != nil || a.at != "[::1]:443" || a.base != "/serving/v1" || a.host != "[::1]" || a.server != "::1" || !a.secure {
		t.Errorf("%+v, %v", a, err)
	}
}
