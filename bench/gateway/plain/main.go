// Command plain is a measure for the gateway's benchmark, and no peer: a proxy in Go that
// does as little as one can, over fasthttp, which gives up much of net/http for speed. With
// -checks it does of a firewall's work what costs least: it reads the caller's body strictly
// and makes an HMAC over it, counts the request, and rounds the numbers of the answer. It
// knows no caller, decides by no policy and writes no record.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"hash"
	"os"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

func main() {
	plain := flag.String("plain", "", "where it listens, host:port")
	secure := flag.String("secure", "", "where it listens for TLS, host:port")
	cert := flag.String("cert", "", "certificate, a PEM file")
	key := flag.String("key", "", "its key, a PEM file")
	upstream := flag.String("upstream", "", "the model server, host:port")
	checks := flag.Bool("checks", false, "read, sign, count and round")
	flag.Parse()
	if err := run(*plain, *secure, *cert, *key, *upstream, *checks); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves both ports until one of them ends.
func run(plain, secure, cert, key, upstream string, checks bool) error {
	p := &proxy{server: &fasthttp.HostClient{Addr: upstream, MaxConns: 4096}}
	handler := p.pass
	if checks {
		p.left, p.filled = most, time.Now()
		handler = p.check
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	s := &fasthttp.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}}
	ended := make(chan error)
	go func() { ended <- s.ListenAndServe(plain) }()
	go func() { ended <- s.ListenAndServeTLS(secure, "", "") }()
	return <-ended
}

// A proxy passes requests on to one server.
type proxy struct {
	server *fasthttp.HostClient

	mu     sync.Mutex
	left   float64   // of the bucket, requests; guarded by mu
	filled time.Time // when left was right; guarded by mu
}

// pass passes a request on.
func (p *proxy) pass(c *fasthttp.RequestCtx) {
	c.Request.URI().SetScheme("http")
	c.Request.Header.Del("Connection")
	if err := p.server.Do(&c.Request, &c.Response); err != nil {
		c.Error(err.Error(), fasthttp.StatusBadGateway)
	}
	c.Response.Header.Del("Connection")
}

// buffers are those that no answer is written in.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// check passes a request on if it is good, and its answer rounded.
func (p *proxy) check(c *fasthttp.RequestCtx) {
	body := c.Request.Body()
	if _, err := rewrite(nil, body, false); err != nil {
		c.Error(err.Error(), fasthttp.StatusBadRequest)
		return
	}
	if !p.take(time.Now()) {
		c.Error("too many requests", fasthttp.StatusTooManyRequests)
		return
	}
	mark(body)
	p.pass(c)
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	var err error
	if *b, err = rewrite((*b)[:0], c.Response.Body(), true); err != nil {
		c.Error(err.Error(), fasthttp.StatusBadGateway)
		return
	}
	c.Response.SetBody(*b)
}

// The bucket holds so many requests, and as many come in a second: none is refused here.
const most = 1e6

// take takes one request out of the bucket.
func (p *proxy) take(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = min(most, p.left+most*now.Sub(p.filled).Seconds())
	p.filled = now
	if p.left < 1 {
		return false
	}
	p.left--
	return true
}

// macs are those at rest. A new one would cost three times as much as using one again.
var macs = sync.Pool{New: func() any { return hmac.New(sha256.New, []byte("a key that is no secret here")) }}

// mark makes an HMAC over a body, which nobody looks at.
func mark(body []byte) (sum [sha256.Size]byte) {
	h := macs.Get().(hash.Hash)
	h.Reset()
	h.Write(body)
	h.Sum(sum[:0])
	macs.Put(h)
	return sum
}

// errSyntax is a body that is no JSON.
var errSyntax = errors.New("the body is no JSON")
