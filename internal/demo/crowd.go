package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// How often a client asks, and about how many rows at most.
const (
	askEvery = 900 * time.Millisecond
	most     = 3
	// content is after how many rows a client has what it wanted: within its budget,
	// however fast the play is.
	content = 300
)

// A crowd are the clients that use the model as it is meant to be used, the whole time.
type crowd struct {
	play   *play
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	joined int

	mu      sync.Mutex // guards what follows
	next    int        // the next row to ask about
	told    []arrival  // the first answer to each client
	asked   int        // questions
	passed  int        // of those, answered
	rows    int        // judged
	attacks int        // of those, called one
	right   int        // of those, called what the file calls them
	last    *uint64    // the record of the newest answer
	said    string     // why somebody was refused, if anybody was
	err     error      // of a server that is away
}

// An arrival is the first answer to a client.
type arrival struct {
	id string
	answer
}

func newCrowd(p *play) *crowd { return &crowd{play: p} }

// join lets a client in. Its goroutine ends with the context or at stop.
func (c *crowd) join(ctx context.Context, id, token string) {
	if c.cancel == nil {
		c.ctx, c.cancel = context.WithCancel(ctx)
	}
	rng := rand.New(rand.NewPCG(c.play.cfg.Seed, uint64(c.joined)+100))
	c.joined++
	c.group.Go(func() {
		for had := 0; had < content && c.ctx.Err() == nil; {
			n := 1 + rng.IntN(most)
			c.once(id, token, n)
			had += n
			wait := time.Duration(float64(askEvery) * (0.5 + rng.Float64()) / c.play.cfg.Speed)
			select {
			case <-time.After(max(wait, 10*time.Millisecond)):
			case <-c.ctx.Done():
			}
		}
	})
}

// once asks about some rows.
func (c *crowd) once(id, token string, n int) {
	rows := c.play.cfg.Rows
	c.mu.Lock()
	first := c.next
	c.next += n
	c.mu.Unlock()
	a, err := c.play.ask(c.ctx, token, rows.request(first, n))
	if c.ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.err = err
		return
	}
	if c.asked++; c.first(id) {
		c.told = append(c.told, arrival{id, a})
	}
	if a.decision() != Allowed {
		c.said = a.said
		return
	}
	c.passed++
	c.last = a.record
	for i, scores := range a.scores {
		c.rows++
		if best(scores) != 0 {
			c.attacks++
		}
		if rows.labels != nil && best(scores) == rows.labels[(first+i)%rows.count()] {
			c.right++
		}
	}
}

// first reports whether a client has had no answer yet. The caller holds mu.
func (c *crowd) first(id string) bool {
	for _, t := range c.told {
		if t.id == id {
			return false
		}
	}
	return true
}

// stop sends all home and waits for them.
func (c *crowd) stop() {
	if c.cancel != nil {
		c.cancel()
		c.group.Wait()
	}
}

// A count is how far the crowd has come.
type count struct {
	asked, passed, rows, attacks, right int
	last                                *uint64
	said                                string
	err                                 error
}

func (c *crowd) count() count {
	c.mu.Lock()
	defer c.mu.Unlock()
	return count{c.asked, c.passed, c.rows, c.attacks, c.right, c.last, c.said, c.err}
}

// waited returns the first answers once each client has had one.
func (c *crowd) waited(ctx context.Context) ([]arrival, error) {
	for {
		c.mu.Lock()
		told, err := c.told, c.err
		c.mu.Unlock()
		if err != nil || len(told) == c.joined {
			return told, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// arrivals tells of each client's first answer.
func (p *play) arrivals(ctx context.Context) error {
	told, err := p.crowd.waited(ctx)
	if err != nil {
		return err
	}
	why := []string{
		"Who it is was proved by a token, a policy lets it ask, the values are such as a connection can have, and it is within its budget. The record was written before the answer left.",
		"The record commits to question and answer, and holds neither: whoever has the salt, which is kept sealed, can check them against it.",
		"Each client has a budget of its own. The scores are rounded to four digits, which costs a user nothing and a thief something.",
	}
	for i, t := range told {
		if err := p.at(ctx, 1+float64(i)); err != nil {
			return err
		}
		rows, what := len(t.scores), "connections"
		if rows == 1 {
			what = "connection"
		}
		p.expected(Act{Actor: t.id, Did: fmt.Sprintf("asks about %d %s", rows, what), Decision: t.decision(), Record: t.record}, Allowed, why[i%len(why)], t.said)
	}
	return nil
}

// meanwhile tells how the clients fare.
func (p *play) meanwhile() error {
	n := p.crowd.count()
	if n.err != nil {
		return n.err
	}
	a := Act{Actor: fmt.Sprintf("%d clients", p.crowd.joined), Did: fmt.Sprintf("have asked %d times, about %d connections", n.asked, n.rows), Decision: Allowed, Record: n.last}
	if n.passed < n.asked {
		a.Decision = Denied
	}
	p.expected(a, Allowed, fmt.Sprintf("Every one of their questions was answered; the model called %d of the connections an attack. What others do takes nothing from them.", n.attacks), n.said)
	return nil
}
