package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise/bench/result"
)

// A job is what a generator of load is asked for, in a process of its own.
type job struct {
	Kind        string // closed, open, storm, streams, streams-h2 or idle
	Addr        string
	TLS         bool
	Request     []byte   // all bytes of it, head and body
	Callers     [][]byte // of a crowd: requests in turn, in the place of Request
	Answer      []byte   // the body that every answer must have
	Connections int
	Warm, For   time.Duration
	Rate        int // open: requests a second
}

// A tally is what a generator found.
type tally struct {
	Done    int            // requests answered as they should be, within the time measured
	Refused map[string]int // others that were answered, by status
	Broken  int            // not answered
	First   string         // what was wrong with the first of those
	Took    time.Duration
	P50     time.Duration
	P99     time.Duration
}

// generate does the job that stands on its input, and writes the tally. It says
// "begin" when the time measured begins and "end" when it ends; what keeps connections
// goes on holding them until a further line comes.
func generate() error {
	in := json.NewDecoder(os.Stdin)
	var j job
	if err := in.Decode(&j); err != nil {
		return err
	}
	kinds := map[string]func(job, io.Reader) (*tally, error){"closed": closed, "open": open, "storm": storm, "streams": hold, overH2: hold, "idle": hold}
	run, ok := kinds[j.Kind]
	if !ok {
		return fmt.Errorf("no load is called %q", j.Kind)
	}
	t, err := run(j, in.Buffered())
	if err != nil {
		return err
	}
	fmt.Println("end")
	return json.NewEncoder(os.Stdout).Encode(t)
}

// A conn asks over one connection.
type conn struct {
	net.Conn
	in   *bufio.Reader
	body []byte
}

func (j *job) dial() (*conn, error) {
	c, err := net.DialTimeout("tcp", j.Addr, 30*time.Second)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(j.Warm + j.For + time.Minute))
	if j.TLS {
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}) // loopback, and a certificate made for this run
		if err := t.Handshake(); err != nil {
			c.Close()
			return nil, err
		}
		c = t
	}
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 8<<10)}, nil
}

// errAnswer is an answer that came whole, and is not the one wanted.
type errAnswer struct{ status, body string }

func (e *errAnswer) Error() string { return e.status + " " + e.body }

// ask sends a request and reads its answer.
func (c *conn) ask(request, want []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	first, length, err := readHead(c.in)
	if err != nil {
		return err
	}
	if c.body, err = readBody(c.in, c.body[:0], length); err != nil {
		return err
	}
	if status := statusOf(first); status != "200" || !bytes.Equal(c.body, want) {
		return &errAnswer{status, fmt.Sprintf("%.200q", c.body)}
	}
	return nil
}

// statusOf returns the status of a response by its first line.
func statusOf(first string) string {
	_, rest, _ := strings.Cut(first, " ")
	status, _, _ := strings.Cut(rest, " ")
	return status
}

// A counter counts for several connections. Each has a part of its own.
type counter struct {
	latencies []time.Duration
	refused   map[string]int
	broken    int
	first     string
}

func (p *counter) note(took time.Duration, err error) {
	var answer *errAnswer
	switch {
	case err == nil:
		p.latencies = append(p.latencies, took)
		return
	case errors.As(err, &answer):
		if p.refused == nil {
			p.refused = map[string]int{}
		}
		p.refused[answer.status]++
	default:
		p.broken++
	}
	if p.first == "" {
		p.first = err.Error()
	}
}

// sum adds parts up.
func sum(parts []counter, took time.Duration) *tally {
	t := &tally{Took: took, Refused: map[string]int{}}
	var all []time.Duration
	for _, p := range parts {
		all = append(all, p.latencies...)
		t.Broken += p.broken
		for status, n := range p.refused {
			t.Refused[status] += n
		}
		if t.First == "" {
			t.First = p.first
		}
	}
	slices.Sort(all)
	t.Done, t.P50, t.P99 = len(all), result.Quantile(all, 0.5), result.Quantile(all, 0.99)
	return t
}

// closed asks over so many connections, each again as soon as it is answered.
func closed(j job, _ io.Reader) (*tally, error) {
	parts := make([]counter, j.Connections)
	began := time.Now().Add(j.Warm)
	ends := began.Add(j.For)
	time.AfterFunc(j.Warm, func() { fmt.Println("begin") })
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() {
			p := &parts[i]
			c, err := j.dial()
			if err != nil {
				p.note(0, err)
				return
			}
			defer c.Close()
			for sent := time.Now(); sent.Before(ends); {
				err := c.ask(j.Request, j.Answer)
				now := time.Now()
				if sent.After(began) || err != nil {
					p.note(now.Sub(sent), err)
				}
				if err != nil {
					return
				}
				sent = now
			}
		})
	}
	all.Wait()
	return sum(parts, j.For), nil
}

// open asks at moments that do not depend on answers. A latency counts from the moment
// at which its request was to be sent, if no connection was free then, and otherwise
// from when it was: the generator's own timer is not the proxy's.
func open(j job, _ io.Reader) (*tally, error) {
	free := make(chan *conn, j.Connections)
	for range j.Connections {
		c, err := j.dial()
		if err != nil {
			return nil, err
		}
		defer c.Close()
		free <- c
	}
	var mu sync.Mutex
	var part counter // guarded by mu
	var all sync.WaitGroup
	start := time.Now()
	began := start.Add(j.Warm)
	time.AfterFunc(j.Warm, func() { fmt.Println("begin") })
	for n := range int((j.Warm + j.For).Seconds() * float64(j.Rate)) {
		due := start.Add(time.Duration(n) * time.Second / time.Duration(j.Rate))
		time.Sleep(time.Until(due))
		var c *conn
		sent := due
		select {
		case c = <-free:
			sent = time.Now()
		default:
			c = <-free
		}
		all.Go(func() {
			err := c.ask(j.Request, j.Answer)
			took := time.Since(sent)
			free <- c
			if due.After(began) || err != nil {
				mu.Lock()
				part.note(took, err)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return sum([]counter{part}, j.For), nil
}

// storm opens all connections at once, asks once on each and closes it.
func storm(j job, _ io.Reader) (*tally, error) {
	parts := make([]counter, j.Connections)
	fmt.Println("begin")
	began := time.Now()
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() {
			c, err := j.dial()
			if err == nil {
				err = c.ask(j.Callers[i%len(j.Callers)], j.Answer)
				c.Close()
			}
			parts[i].note(time.Since(began), err)
		})
	}
	all.Wait()
	return sum(parts, time.Since(began)), nil
}

// hold opens connections, asks on each, and keeps them: streams after their first
// event, idle ones after their answer.
func hold(j job, in io.Reader) (*tally, error) {
	ask := j.alone
	if j.Kind == overH2 {
		ctx, stop := context.WithTimeout(context.Background(), j.Warm+j.For+time.Minute) // dial's deadline
		defer stop()
		ask = j.together(ctx)
	}
	parts := make([]counter, j.Connections)
	fmt.Println("begin")
	began := time.Now()
	todo := make(chan int, j.Connections)
	for i := range j.Connections {
		todo <- i
	}
	close(todo)
	var all sync.WaitGroup
	held := make([]io.Closer, j.Connections)
	for range min(64, j.Connections) {
		all.Go(func() {
			for i := range todo {
				var err error
				held[i], err = ask(i)
				parts[i].note(time.Since(began), err)
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	fmt.Println("held")
	bufio.NewReader(io.MultiReader(in, os.Stdin)).ReadString('.')
	for _, c := range held {
		if c != nil {
			c.Close()
		}
	}
	return sum(parts, took), nil
}

// alone asks over a connection for this alone.
func (j *job) alone(i int) (io.Closer, error) {
	c, err := j.dial()
	if err != nil {
		return nil, err
	}
	return c, j.greet(c, j.Callers[i%len(j.Callers)])
}

// greet asks, and of a stream reads the first event only. It lets the memory of reading
// go.
func (j *job) greet(c *conn, request []byte) error {
	defer func() { c.in, c.body = nil, nil }()
	if j.Kind == "idle" {
		return c.ask(request, j.Answer)
	}
	if _, err := c.Write(request); err != nil {
		return err
	}
	first, _, err := readHead(c.in)
	if err != nil {
		return err
	}
	if status := statusOf(first); status != "200" {
		return &errAnswer{status: status}
	}
	return readEvent(c.in)
}

// readEvent reads as far as something that the language model said.
func readEvent(in *bufio.Reader) error {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if bytes.Contains(line, []byte(chatWord)) {
			return nil
		}
	}
}

// overH2 are streams of callers who come over HTTP/2, each with eachCaller of them on one
// connection.
const (
	overH2     = "streams-h2"
	eachCaller = 100
)

// together returns what asks over connections that many questions share.
func (j *job) together(ctx context.Context) func(i int) (io.Closer, error) {
	conns := make([]http.Transport, (j.Connections+eachCaller-1)/eachCaller)
	for i := range conns {
		conns[i].TLSClientConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13} // as dial does
		conns[i].ForceAttemptHTTP2, conns[i].MaxConnsPerHost = true, 1
	}
	return func(i int) (io.Closer, error) {
		n := i / eachCaller
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(j.Callers[n%len(j.Callers)])))
		if err != nil {
			return nil, err
		}
		r.RequestURI, r.URL.Scheme, r.URL.Host = "", "https", j.Addr
		resp, err := conns[n].RoundTrip(r.WithContext(ctx))
		switch {
		case err != nil:
			return nil, err
		case resp.ProtoMajor != 2:
			return resp.Body, fmt.Errorf("the answer came over %s", resp.Proto)
		case resp.StatusCode != http.StatusOK:
			return resp.Body, &errAnswer{status: fmt.Sprint(resp.StatusCode)}
		}
		return resp.Body, readEvent(bufio.NewReader(resp.Body))
	}
}
