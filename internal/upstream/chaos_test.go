package upstream

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestChaos has servers that do anything at any byte, callers that go away, streams
// that are closed in the middle, and sets that change. What is answered belongs to who
// asked, nothing that may not be is executed twice, and in the end nothing is left.
func TestChaos(t *testing.T) {
	const callers, calls = 12, 60
	var executed sync.Map // body → true
	var answered atomic.Int64
	chaos := func(s *server, c *peer, n int64) {
		r := rand.New(rand.NewPCG(uint64(n), 7))
		for {
			body, more := c.request()
			if !more {
				return
			}
			if _, twice := executed.LoadOrStore(body, true); twice && !strings.HasPrefix(body, "again") {
				t.Errorf("%.20s was executed twice", body)
			}
			answer := ok(body)
			if r.IntN(3) == 0 {
				answer = fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
			}
			switch at := r.IntN(len(answer)); r.IntN(16) {
			case 0:
				c.say(answer[:at])
				return
			case 1:
				c.say(answer[:at])
				c.reset()
				return
			case 6:
				return
			case 2:
				c.say(answer[:at] + "\x00" + answer[at:])
			case 3:
				c.say(answer)
				return
			case 4:
				c.say(answer + answer)
			case 5:
				c.say("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
			default:
				c.say(answer[:at])
				c.say(answer[at:])
			}
		}
	}
	var sets [][]Endpoint
	urls := []string{serve(t, chaos).url(), serve(t, chaos).url(), serve(t, chaos).url(), dead(t)}
	for i := range urls {
		sets = append(sets, []Endpoint{{urls[i], 1}, {urls[(i+1)%4], 3}, {urls[(i+2)%4], i % 3}})
	}
	o := Options{Balance: Hash, Pool: Pool{MaxOpen: 4, MaxIdle: 2}, Ejection: Ejection{Base: time.Millisecond, Longest: 10 * time.Millisecond}}
	c := cluster(t, o, urls...)
	var wg sync.WaitGroup
	for w := range callers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 9))
			for i := range calls {
				q := post(fmt.Sprintf("%s-%d-%d %s", []string{"once", "again"}[w%2], w, i, strings.Repeat("x", r.IntN(20_000))))
				q.Key, q.Repeatable = fmt.Sprint(r.IntN(5)), w%2 == 1
				ctx, cancel := context.WithCancel(t.Context())
				if r.IntN(10) == 0 {
					time.AfterFunc(time.Duration(r.IntN(2000))*time.Microsecond, cancel)
				}
				got, err := ask(ctx, c, q, r.IntN(3))
				if got = strings.ReplaceAll(got, "\x00", ""); err == nil && !strings.HasPrefix(string(q.Body), got) {
					t.Errorf("%.20s was answered with %.20s", q.Body, got)
				}
				polite(t, err, "once-", "again-")
				if err == nil && got != "" {
					answered.Add(1)
				}
				cancel()
				if w == 0 && i%5 == 0 {
					if err := c.Set(sets[i/5%4]); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := answered.Load(); n < callers*calls/4 {
		t.Errorf("%d of %d were answered: %+v", n, callers*calls, c.Stats())
	}
}

// TestTurnThatIsNotTaken gives a connection, or leave to make one, to who has just gone.
func TestTurnThatIsNotTaken(t *testing.T) {
	s := serve(t, echo)
	c := cluster(t, Options{Pool: Pool{MaxOpen: 1}}, s.url())
	e := (*c.members.Load())[0]
	for i := range 100 {
		cn, fault := e.get(t.Context(), time.Time{}, time.Now().Add(time.Minute), false)
		if fault != nil {
			t.Fatal(fault)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Do(ctx, post("x"), &Answer{}) }()
		for c.Stats().Endpoints[0].Pending == 0 {
		}
		e.mu.Lock()
		cancel()
		time.Sleep(100 * time.Microsecond) // it wakes up, and waits for the lock
		if i%2 == 0 {
			e.next() <- cn
		} else {
			e.end(cn)
			e.next() <- nil
		}
		e.mu.Unlock()
		if err := <-done; err != nil && reason(err) != "gone" {
			t.Fatal(err)
		}
	}
	if got := c.Stats().Endpoints[0]; got.Open > 1 || got.Open != got.Idle {
		t.Errorf("%+v", got)
	}
}

// ask makes one call: whole, as a stream that is read to its end, or as one of which
// only the beginning is read. It returns what was answered to a 200.
func ask(ctx context.Context, c *Cluster, q *Request, how int) (string, error) {
	a := Answer{}
	if how == 0 {
		err := c.Do(ctx, q, &a)
		if a.Status != 200 {
			a.Body = nil
		}
		return string(a.Body), err
	}
	stream, err := c.Open(ctx, q, &a)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	from := io.Reader(stream)
	if how == 1 {
		from = io.LimitReader(stream, 10)
	}
	got, err := io.ReadAll(from)
	return string(got), err
}
