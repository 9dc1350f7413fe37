package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// An endpoint is one server, with the connections to it.
type endpoint struct {
	address
	c    *Cluster
	seed uint64      // of its place among the keys
	tls  *tls.Config // when its URL is https
	h2   *h2         // how it is asked when it speaks HTTP/2; else nil

	active    atomic.Int32  // calls and streams under way
	answers   atomic.Uint64 // calls that it answered
	failed    atomic.Uint64 // calls that it did not
	ejections atomic.Uint64
	ailing    atomic.Bool // health.row is not 0

	weight int // Cluster.mu guards it, and the next two
	credit int // of taking turns
	health

	mu      sync.Mutex     // guards what follows
	gone    bool           // removed, or the cluster is closed: a connection ends with its call
	idle    []*conn        // the one used last is last, and is taken first
	conns   map[*conn]bool // all that are there
	open    int            // how many are there or are being made
	waiting []*waiter      // who waits for one; the first came first
}

// A waiter waits for a connection. What is sent is one, or nil: leave to make one.
type waiter struct{ ready chan *conn }

// waiters are kept: their channel is made once.
var waiters = sync.Pool{New: func() any { return &waiter{ready: make(chan *conn, 1)} }}

var errFull = errors.New("as many calls wait for a connection as may")

// get returns a connection for one call: the idle one that was used last, or else a
// new one, or else the next that is given back. When fresh, it is new or was not idle.
// now may be zero: not known.
func (e *endpoint) get(ctx context.Context, now, until time.Time, fresh bool) (*conn, *Fault) {
	for {
		cn, w, err := e.claim(fresh)
		switch {
		case err != nil:
			return nil, &Fault{Reason: Full, Err: err, Wait: time.Second}
		case cn != nil && cn.usable(e.c.clock(now)):
			cn.reused, cn.waited = true, false
			return cn, nil
		case cn != nil:
			e.drop(cn)
			continue
		case w == nil:
			return e.connect(ctx, until)
		}
		cn, fault := e.wait(ctx, until, w)
		if fault != nil {
			return nil, fault
		}
		if cn != nil && cn.usable(e.c.clock(time.Time{})) && cn.isQuiet() {
			cn.reused, cn.waited = true, true
			return cn, nil
		}
		if cn != nil { // its leave is ours now
			e.mu.Lock()
			e.end(cn)
			e.mu.Unlock()
		}
		return e.connect(ctx, until)
	}
}

// claim takes an idle connection, or leave to make one (all nil), or a place in the
// line.
func (e *endpoint) claim(fresh bool) (*conn, *waiter, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.idle); n > 0 && fresh && e.open >= e.c.o.Pool.MaxOpen {
		e.end(e.idle[0])
		e.idle = slices.Delete(e.idle, 0, 1)
		e.open--
	} else if n > 0 && !fresh {
		cn := e.idle[n-1]
		e.idle[n-1] = nil
		e.idle = e.idle[:n-1]
		return cn, nil, nil
	}
	if e.open < e.c.o.Pool.MaxOpen {
		e.open++
		return nil, nil, nil
	}
	if len(e.waiting) >= e.c.o.Breaker.MaxPending {
		return nil, nil, errFull
	}
	w := waiters.Get().(*waiter)
	e.waiting = append(e.waiting, w)
	return nil, w, nil
}

// wait stands in line. It returns a connection, or nil and no fault: leave to make one.
func (e *endpoint) wait(ctx context.Context, until time.Time, w *waiter) (*conn, *Fault) {
	timer := time.NewTimer(min(time.Until(until), e.c.o.Timeouts.Wait))
	defer timer.Stop()
	fault := &Fault{Reason: Full, Wait: time.Second}
	select {
	case cn := <-w.ready:
		waiters.Put(w)
		return cn, nil
	case <-timer.C:
	case <-ctx.Done():
		fault = &Fault{Reason: Gone, Err: ctx.Err()}
	}
	e.mu.Lock()
	i := slices.Index(e.waiting, w)
	if i >= 0 {
		e.waiting = slices.Delete(e.waiting, i, i+1)
	}
	e.mu.Unlock()
	if i < 0 { // its turn came meanwhile
		if cn := <-w.ready; cn != nil {
			e.put(cn)
		} else {
			e.forgo()
		}
	}
	waiters.Put(w)
	return nil, fault
}

// put gives a connection back after a whole exchange.
func (e *endpoint) put(cn *conn) {
	now := e.c.clock(time.Time{})
	e.mu.Lock()
	switch {
	case e.gone || now.Sub(cn.born) > e.c.o.Pool.Age:
	case len(e.waiting) > 0:
		e.next() <- cn
		e.mu.Unlock()
		return
	case len(e.idle) < e.c.o.Pool.MaxIdle:
		cn.since = now
		e.idle = append(e.idle, cn)
		e.mu.Unlock()
		e.c.sweepLater()
		return
	}
	e.mu.Unlock()
	e.drop(cn)
}

// drop ends a connection that was taken.
func (e *endpoint) drop(cn *conn) {
	e.mu.Lock()
	e.end(cn)
	e.mu.Unlock()
	e.forgo()
}

// end closes a connection. e.mu is held.
func (e *endpoint) end(cn *conn) {
	delete(e.conns, cn)
	cn.close()
}

// forgo gives back leave to make a connection.
func (e *endpoint) forgo() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) > 0 {
		e.next() <- nil
		return
	}
	e.open--
}

// next takes the first out of the line. e.mu is held. What is sent to it does not
// block: it is sent one thing.
func (e *endpoint) next() chan<- *conn {
	w := e.waiting[0]
	e.waiting[0] = nil
	e.waiting = e.waiting[1:]
	return w.ready
}

// retire lets connections end: the idle ones now, the others with their call. Calls
// that were on their way here are still answered.
func (e *endpoint) retire() {
	e.mu.Lock()
	e.gone = true
	for _, cn := range e.idle {
		e.end(cn)
		e.open--
	}
	e.idle = nil
	e.mu.Unlock()
	if e.h2 != nil {
		e.h2.close()
	}
}

// sever ends all connections, with their calls.
func (e *endpoint) sever() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for cn := range e.conns {
		cn.close()
	}
}

// sweep ends idle connections that were unused or are old for too long, and reports
// whether any stays.
func (e *endpoint) sweep(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	stay := e.idle[:0]
	for _, cn := range e.idle {
		if e.c.stale(cn, now) {
			e.end(cn)
			e.open--
		} else {
			stay = append(stay, cn)
		}
	}
	clear(e.idle[len(stay):])
	e.idle = stay
	return len(stay) > 0
}
