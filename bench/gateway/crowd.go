package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"time"
)

// A crowded is what a crowd of connections met, and took.
type crowded struct {
	window
	before, during int64 // resident memory, in bytes
}

// size is how many come: a proxy holds a file on both sides for each, but for streams of
// HTTP/2, of which many share one towards their caller.
func (b *bench) size(kind string) int {
	if kind == overH2 {
		return min(b.many, b.limit-1000)
	}
	return min(b.many, (b.limit-500)/2)
}

// asCallers is in how many callers' names a crowd comes.
const asCallers = 100

// settled is how long a crowd has been there when the memory of a proxy is looked at: who came
// has been answered, and what that left behind may have been put in order.
const settled = 3 * time.Second

// crowd lets many connections come to each proxy: "idle" ones that ask once and stay,
// "streams" that stay in the middle of an answer, by HTTP/1.1 or by TLS and HTTP/2, and a
// "storm" that comes at once.
func (b *bench) crowd(ctx context.Context, kind string) error {
	s := scenarios()[0]
	if kind == "streams" || kind == overH2 {
		s = scenario{path: "/v1/chat/completions", body: chatQuestion(true), chat: true, tls: kind == overH2}
	}
	b.crowds[kind] = map[string]*crowded{}
	for _, p := range b.proxies {
		addr, ok := p.takes(s)
		if !ok || p.chat || p.measure || p.name == "direct" {
			continue
		}
		j := job{Kind: kind, Addr: addr, Connections: b.size(kind), Warm: time.Minute}
		if !s.chat {
			want, err := answer(ctx, p, s)
			if err != nil {
				return err
			}
			j.Answer = want
		}
		for i := range asCallers {
			token := ""
			if p.token != "" {
				var err error
				if token, err = b.issuer.token(fmt.Sprint("app-", i)); err != nil {
					return err
				}
			}
			j.Callers = append(j.Callers, p.as(token, s.path, s.body))
		}
		c := &crowded{before: p.process.rss()}
		w, err := under(ctx, p.process, j, func(string) {
			time.Sleep(settled)
			c.during = p.process.rss()
		})
		if err != nil {
			return fmt.Errorf("%s, %s: %w", kind, p.name, err)
		}
		c.window = w
		if c.during == 0 {
			c.during = w.rss
		}
		fmt.Fprintf(os.Stderr, "%s %-16s %d done, refused %v, %d broken (%s) in %v; %d MB, then %d MB\n", kind, p.name, w.Done, w.Refused, w.Broken, w.First, w.Took, c.before>>20, c.during>>20)
		b.crowds[kind][p.name] = c
		time.Sleep(2 * time.Second)
	}
	return nil
}

// benchmark is the product's own, in package edge: a whole exchange without a network.
var benchmark = regexp.MustCompile(`(?m)^BenchmarkInfer/(\S+?)(?:-\d+)?\s+\d+\s+(\d+) ns/op.*?(\d+) B/op\s+(\d+) allocs/op`)

// allocations runs it.
func (b *bench) allocations(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkInfer$", "-benchmem", "./internal/edge")
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test: %w\n%s", err, out)
	}
	for _, m := range benchmark.FindAllStringSubmatch(string(out), -1) {
		b.allocs = append(b.allocs, m[1:])
	}
	return nil
}
