package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Cluster is one logical model server. It is safe for concurrent use.
type Cluster struct {
	o      Options
	tls    *tls.Config
	dialer net.Dialer
	now    func() time.Time // for ages and ejections; nil: the system's clock
	grace  time.Duration    // for what ends a body after all that was in it was read

	members atomic.Pointer[[]*endpoint] // those that Set named last; Set swaps it, under mu
	closed  atomic.Bool                 // by Close and by Drain: connections end with their call
	refuse  atomic.Bool                 // by Drain: no new calls
	life    context.Context             // ends when Drain does not wait any longer
	cut     context.CancelFunc

	active  atomic.Int64 // calls and streams under way
	tries   atomic.Int64 // further tries under way
	faults  [reasons]atomic.Uint64
	retried atomic.Uint64
	ejected atomic.Uint64 // ejections of endpoints, of those that left, too
	empty   chan struct{} // one thing in it when active came to 0 after refuse

	mu         sync.Mutex // guards what picking needs: weights, turns, healths
	balance    Balance
	candidates []*endpoint

	sweeping atomic.Bool // a timer runs that ends connections nobody uses
	leaving  []*endpoint // removed, with calls under way; mu guards it
}

// New returns a cluster of endpoints. The error is of kind Invalid: an address, a
// weight, or a file of TLS. Nothing is dialled before the first call.
func New(endpoints []Endpoint, o Options) (*Cluster, error) {
	c := &Cluster{o: o.withDefaults(), grace: 2 * time.Millisecond, empty: make(chan struct{}, 1), balance: o.Balance}
	c.life, c.cut = context.WithCancel(context.Background())
	var err error
	if c.tls, err = c.o.TLS.load(); err != nil {
		return nil, err
	}
	c.members.Store(new([]*endpoint))
	return c, c.Set(endpoints)
}

// Set makes endpoints the cluster's, at once and without a call being lost: one that
// stays keeps its connections and its health, one that is new starts with none, and
// one that is not named any more gets no new calls and ends those it has. The error
// is of kind Invalid, and then nothing was changed.
func (c *Cluster) Set(endpoints []Endpoint) error {
	addresses, err := checkEndpoints(endpoints)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	was := map[string]*endpoint{}
	for _, e := range *c.members.Load() {
		was[e.url] = e
	}
	next := make([]*endpoint, len(endpoints))
	for i, a := range addresses {
		e := was[a.url]
		if delete(was, a.url); e == nil {
			e = c.newEndpoint(a)
		}
		e.weight = endpoints[i].Weight
		next[i] = e
	}
	c.members.Store(&next)
	c.leaving = slices.DeleteFunc(c.leaving, func(e *endpoint) bool { return e.active.Load() == 0 })
	for _, e := range was {
		c.leaving = append(c.leaving, e)
		e.retire()
	}
	c.keepHalf(next)
	return nil
}

// Rebalance has the next calls pick their endpoints in another way.
func (c *Cluster) Rebalance(b Balance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.balance = b
}

// keepHalf takes endpoints back when more are out than may: others have left. c.mu is
// held.
func (c *Cluster) keepHalf(all []*endpoint) {
	for _, e := range all {
		if e.out && e.weight > 0 && !c.mayBeOut(0) {
			e.readmit()
		}
	}
}

func (c *Cluster) newEndpoint(a address) *endpoint {
	e := &endpoint{address: a, c: c, seed: hash(a.url), conns: map[*conn]bool{}}
	if a.secure {
		e.tls = c.tls.Clone()
		if e.tls.ServerName == "" {
			e.tls.ServerName = a.server
		}
		if c.o.HTTP2 {
			e.tls.NextProtos = []string{"h2"}
		} else {
			e.tls.NextProtos = []string{"http/1.1"}
		}
	}
	if c.o.HTTP2 {
		e.h2 = newH2(e)
	}
	if c.closed.Load() {
		e.gone = true
	}
	return e
}

// clock is the time for ages and ejections: known, if that is not zero, or else read now.
// A call reads the clock as seldom as it can, at 50 ns each on a virtual machine.
func (c *Cluster) clock(known time.Time) time.Time {
	switch {
	case c.now != nil:
		return c.now()
	case known.IsZero():
		return time.Now()
	}
	return known
}

// enter counts a call in. A Fault says why it may not come in.
func (c *Cluster) enter() *Fault {
	n := c.active.Add(1)
	switch {
	case c.refuse.Load():
		c.leave()
		return &Fault{Reason: Closed, Wait: time.Second}
	case c.o.Breaker.MaxRequests >= 0 && n > int64(c.o.Breaker.MaxRequests):
		c.leave()
		return &Fault{Reason: Full, Wait: time.Second}
	}
	return nil
}

// leave counts a call out.
func (c *Cluster) leave() {
	if c.active.Add(-1) == 0 && c.refuse.Load() {
		select {
		case c.empty <- struct{}{}:
		default:
		}
	}
}

// mayRetry counts one further try in, if it may be made. The share of
// tries is bounded, so that a cluster that fails is not asked twice as much for it.
func (c *Cluster) mayRetry() bool {
	most := max(3, c.active.Load()*int64(c.o.Breaker.RetryShare)/100)
	if c.tries.Add(1) > most {
		c.tries.Add(-1)
		return false
	}
	c.retried.Add(1)
	return true
}

// Close ends the connections: idle ones now, the others with their call. A call that
// comes later is still answered, on a connection of its own: when a route changes,
// there are callers who have just taken the old one.
func (c *Cluster) Close() {
	c.closed.Store(true)
	c.eachEndpoint((*endpoint).retire)
}

// Drain refuses new calls, waits until those under way have ended, and ends the
// connections. When ctx ends first it ends them with their calls, and returns why
// ctx ended.
func (c *Cluster) Drain(ctx context.Context) error {
	c.refuse.Store(true)
	c.Close()
	var err error
	for err == nil && c.active.Load() > 0 {
		select {
		case <-c.empty:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	c.cut()
	c.eachEndpoint((*endpoint).sever)
	return err
}

// eachEndpoint does something to the endpoints there are, and to those that leave.
func (c *Cluster) eachEndpoint(do func(*endpoint)) {
	c.mu.Lock()
	all := slices.Concat(*c.members.Load(), c.leaving)
	c.mu.Unlock()
	for _, e := range all {
		do(e)
	}
}

// sweepLater sees to it that a connection which nobody takes any more ends. One
// timer serves all, and there is none while no connection is idle.
func (c *Cluster) sweepLater() {
	if c.sweeping.Load() || !c.sweeping.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(c.o.Pool.Idle/2+time.Millisecond, func() {
		c.sweeping.Store(false)
		if c.sweep() {
			c.sweepLater()
		}
	})
}

func (c *Cluster) sweep() (stay bool) {
	now := c.clock(time.Time{})
	for _, e := range *c.members.Load() {
		if e.sweep(now) {
			stay = true
		}
	}
	return stay
}
