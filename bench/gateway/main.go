// Command gateway measures what it costs to put Pavise before a model server, beside
// nginx, haproxy, Caddy and Portkey before the same one, in the same minutes and on the
// same two cores: one for the proxy, one for the model server and the load. Pavise is
// the binary as it is shipped, with everything on: the caller's token, Cedar, rates and
// budgets, the gate before the model, shaping, and the record. Its peers are plain.
//
// Run it from the bench directory:
//
//	go run ./gateway [--rounds 3] [--seconds 4] [--only small,large-tls] [--write]
//
// nginx and haproxy are taken from the machine; Caddy is built once from its Go module
// and Portkey installed once from npm, below the user's cache directory. A peer that is
// not to be had is left out, and the report says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pavise/pavise/bench/result"
)

func main() { result.Main("gateway", run) }

// A setting is how the measurement was asked for.
type setting struct {
	rounds, seconds, connections, rate, many int
	limit                                    int // of open files in one process
	only                                     string
	fetch                                    bool
	unread                                   bool // nobody looks at prompts and answers
}

func run(ctx context.Context) (err error) {
	be := flag.String("be", "", "for the measurement itself: run as its model server (upstream) or its load (load)")
	var s setting
	flag.IntVar(&s.rounds, "rounds", 3, "how often every proxy is measured in each scenario, in turns")
	flag.IntVar(&s.seconds, "seconds", 4, "how long each time, after a second of warming up")
	flag.IntVar(&s.connections, "connections", 32, "connections that ask at the same time")
	flag.IntVar(&s.rate, "rate", 2000, "requests a second of the open loop")
	flag.IntVar(&s.many, "many", 10000, "connections or streams that are held, and that come at once")
	flag.StringVar(&s.only, "only", "", "scenarios, by comma: small, large, small-tls, large-tls, least, chat, open, streams, streams-h2, idle, storm, allocations; all if empty")
	flag.BoolVar(&s.fetch, "fetch", true, "build Caddy and install Portkey if they are not there yet")
	flag.BoolVar(&s.unread, "unread", false, "have nobody look at prompts and answers, as a route of a language model does unless told otherwise")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()
	s.limit = files()
	switch *be {
	case "upstream":
		return upstream()
	case "load":
		return generate()
	}
	if s.unread && *write {
		return errors.New("what is written is measured as routes are by themselves: leave --unread or --write out")
	}
	if s.rounds < 1 || s.seconds < 1 || s.connections < 1 || s.many < 1 {
		return errors.New("rounds, seconds, connections and many are at least 1")
	}
	conditions := result.Observe(".")
	b, err := newBench(ctx, s)
	if err == nil {
		err = b.measure(ctx)
	}
	if err = errors.Join(err, b.close()); err != nil {
		return err
	}
	text := b.report(conditions.String())
	fmt.Print(text)
	if *write {
		return result.Write(result.File, "gateway", text)
	}
	return nil
}

// A bench is everything that runs, and what was found.
type bench struct {
	setting
	place   place
	issuer  *issuer
	proxies []*proxy
	absent  []string                       // peers left out, and why
	found   map[string]map[string][]window // by scenario and proxy
	crowds  map[string]map[string]*crowded // by scenario and proxy
	allocs  [][]string                     // of the product's benchmark: name, ns, bytes, allocations
	close   func() error
}

// newBench starts the model server and all proxies. Its close is good also when
// something fails.
func newBench(ctx context.Context, s setting) (b *bench, err error) {
	b = &bench{setting: s, found: map[string]map[string][]window{}, crowds: map[string]map[string]*crowded{}, close: func() error { return nil }}
	dir, err := os.MkdirTemp("", "bench-gateway-")
	if err != nil {
		return b, err
	}
	b.close = func() error { return os.RemoveAll(dir) }
	cache, err := os.UserCacheDir()
	if err != nil {
		return b, err
	}
	b.place = place{dir: dir, fetch: s.fetch, unread: s.unread, tools: filepath.Join(cache, "pavise-bench"), connections: s.limit - 200}
	if err := b.place.certificate(); err != nil {
		return b, err
	}
	server, addr, stop, err := startUpstream()
	if err != nil {
		return b, err
	}
	b.place.upstream = addr
	b.proxies = append(b.proxies, &proxy{name: "direct", addr: addr, process: server})
	b.close = func() error {
		var errs []error
		for _, p := range b.proxies[1:] {
			errs = append(errs, p.stop())
		}
		return errors.Join(append(errs, stop(), os.RemoveAll(dir))...)
	}
	if err := b.startPavise(ctx); err != nil {
		return b, err
	}
	return b, b.startPeers(ctx)
}

func (b *bench) startPavise(ctx context.Context) (err error) {
	binary, err := b.place.buildPavise(ctx)
	if err != nil {
		return err
	}
	if b.issuer, err = b.place.issuer(); err != nil {
		return err
	}
	for _, begin := range []func(context.Context, string, *issuer) (*proxy, error){b.place.up, b.place.fleet} {
		p, err := begin(ctx, binary, b.issuer)
		if p != nil && p.process != nil {
			b.proxies = append(b.proxies, p)
		}
		if err != nil {
			return fmt.Errorf("start pavise: %w", err)
		}
	}
	return nil
}

func (b *bench) startPeers(ctx context.Context) error {
	for _, begin := range []func(context.Context) (*proxy, error){b.place.nginx, b.place.haproxy, b.place.caddy, b.place.portkey, b.place.plain, b.place.checked} {
		p, err := begin(ctx)
		switch {
		case errors.Is(err, errNotHere):
			b.absent = append(b.absent, err.Error())
			fmt.Fprintln(os.Stderr, err)
		case err != nil:
			return err
		default:
			b.proxies = append(b.proxies, p)
		}
	}
	return nil
}

// wanted reports whether a scenario is to be measured.
func (b *bench) wanted(id string) bool {
	return b.only == "" || strings.Contains(","+b.only+",", ","+id+",")
}

// measure goes through the scenarios.
func (b *bench) measure(ctx context.Context) error {
	for _, s := range scenarios() {
		if b.wanted(s.id) {
			if err := b.rounds(ctx, s, "closed"); err != nil {
				return err
			}
		}
	}
	if s := scenarios()[0]; b.wanted("open") {
		s.id = "open"
		if err := b.rounds(ctx, s, "open"); err != nil {
			return err
		}
	}
	for _, kind := range []string{"idle", "streams", overH2, "storm"} {
		if b.wanted(kind) {
			if err := b.crowd(ctx, kind); err != nil {
				return err
			}
		}
	}
	if b.wanted("allocations") {
		return b.allocations(ctx)
	}
	return nil
}

// rounds measures every proxy that takes what a scenario asks, in turns.
func (b *bench) rounds(ctx context.Context, s scenario, kind string) error {
	answers := map[*proxy][]byte{}
	for _, p := range b.proxies {
		if _, ok := p.takes(s); !ok || kind == "open" && p.chat {
			continue
		}
		text, err := answer(ctx, p, s)
		if err != nil {
			b.absent = append(b.absent, fmt.Sprintf("%s: %v", s.id, err))
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		answers[p] = text
	}
	b.found[s.id] = map[string][]window{}
	for round := range b.setting.rounds {
		for _, p := range b.proxies {
			want, ok := answers[p]
			if !ok {
				continue
			}
			addr, _ := p.takes(s)
			w, err := under(ctx, p.process, job{
				Kind: kind, Addr: addr, TLS: s.tls, Request: p.request(s.path, s.body), Answer: want, Connections: b.connections,
				Warm: time.Second, For: time.Duration(b.seconds) * time.Second, Rate: b.rate,
			}, nil)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", s.id, p.name, err)
			}
			if w.Broken > 0 || len(w.Refused) > 0 || w.Done == 0 {
				return fmt.Errorf("%s, %s: %d requests broke and %v were refused, so this is no measurement: %s", s.id, p.name, w.Broken, w.Refused, w.First)
			}
			fmt.Fprintf(os.Stderr, "%s round %d %-16s %7.0f/s p50 %v p99 %v\n", s.id, round+1, p.name, float64(w.Done)/w.Took.Seconds(), w.P50, w.P99)
			b.found[s.id][p.name] = append(b.found[s.id][p.name], w)
			time.Sleep(200 * time.Millisecond)
		}
	}
	return nil
}
