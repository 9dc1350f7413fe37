// Command registry measures the registry of models as it is asked: over HTTP, with a token
// each, with policy and record, by callers beside each other. Nine in ten ask for a version
// and one adds another, durable in the log and in the store before it is answered; and both
// alone. The server is `pavise up` in a process of its own, and what it took of a processor is
// told beside the rate: a rate is the machine's, with all that runs on it, and the callers are
// on it too.
//
// Run it from the bench directory:
//
//	go run ./registry [--callers 32] [--seconds 10] [--rounds 3] [--write]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise/bench/result"
)

func main() { result.Main("registry", run) }

// A mix is what is asked for.
type mix struct {
	name  string
	every int // one in so many adds a version; 0: none does
}

var mixes = []mix{{"90 in 100 get, 10 add", 10}, {"all get", 0}, {"all add", 1}}

// goal is how many questions of the first mix are to be answered a second.
const goal = 2000

func run(ctx context.Context) error {
	callers := flag.Int("callers", 32, "how many ask beside each other")
	seconds := flag.Float64("seconds", 10, "how long each round takes")
	rounds := flag.Int("rounds", 3, "of each mix")
	binary := flag.String("binary", "", "a pavise that was built before; empty: it is built")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()
	if *callers < 1 || *rounds < 1 || *seconds <= 0 {
		return errors.New("--callers, --rounds and --seconds are more than none")
	}
	work, err := os.MkdirTemp(".", "bench-registry-") // on the disk that is under test, and not in memory
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	conditions := result.Observe(work)
	s, err := start(ctx, *binary, work)
	if err != nil {
		return err
	}
	all, err := measure(ctx, s, *callers, *rounds, time.Duration(*seconds*float64(time.Second)))
	if err = errors.Join(err, s.stop()); err != nil {
		return err
	}
	text := report(all, *callers, *rounds, *seconds, conditions.String())
	fmt.Print(text)
	if *write {
		return result.Write(result.File, "registry", text)
	}
	return nil
}

// A round is what one round of a mix came to.
type round struct {
	rate float64       // questions answered a second
	cpu  time.Duration // of the server, for each
	p50  time.Duration
	p99  time.Duration
	adds float64 // of them, that added a version
}

// measure asks in each mix, the mixes in turn.
func measure(ctx context.Context, s *server, callers, rounds int, window time.Duration) (map[string][]round, error) {
	people := make([]*caller, callers)
	for i := range people {
		c, err := s.caller(ctx, i)
		if err != nil {
			return nil, err
		}
		people[i] = c
	}
	all := map[string][]round{}
	for n := range rounds {
		for _, m := range mixes {
			r, err := ask(ctx, s, people, m, window)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
			fmt.Fprintf(os.Stderr, "round %d: %-24s %6.0f/s, %v of a processor each\n", n+1, m.name, r.rate, r.cpu)
			all[m.name] = append(all[m.name], r)
		}
	}
	return all, nil
}

// ask has all callers ask for a while.
func ask(ctx context.Context, s *server, people []*caller, m mix, window time.Duration) (r round, err error) {
	var group sync.WaitGroup
	took, adds, failures := make([][]time.Duration, len(people)), make([]float64, len(people)), make([]error, len(people))
	cpu, began := s.cpu(), time.Now()
	end := began.Add(window)
	for i, c := range people {
		group.Go(func() {
			for n := i; failures[i] == nil && time.Now().Before(end) && ctx.Err() == nil; n++ { // they do not add in step
				asked := time.Now()
				if m.every > 0 && n%m.every == 0 {
					failures[i] = c.add()
					adds[i]++
				} else {
					failures[i] = c.show()
				}
				took[i] = append(took[i], time.Since(asked))
			}
		})
	}
	group.Wait()
	elapsed, used := time.Since(began), s.cpu()-cpu
	if err := errors.Join(append(failures, ctx.Err())...); err != nil {
		return r, err
	}
	each := slices.Concat(took...)
	slices.Sort(each)
	r = round{rate: float64(len(each)) / elapsed.Seconds(), cpu: used / time.Duration(len(each)), p50: each[len(each)/2], p99: each[len(each)*99/100]}
	for _, n := range adds {
		r.adds += n / elapsed.Seconds()
	}
	return r, nil
}

// report is the result, in Markdown.
func report(all map[string][]round, callers, rounds int, seconds float64, conditions string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## The registry, asked over HTTP\n\n%s\n", conditions)
	fmt.Fprintf(&b, "`pavise up` in a process of its own, asked by %d callers over HTTP, each with a token and a model of its own; policy and record for each question. A version is `model.show`, an addition `model.add`, which is durable before it is answered. %d rounds of %g s each, the mixes in turn: the median of each. *Processor* is the server's alone, of all cores; *cores would* is what %d of them would answer if they did nothing else.\n\n", callers, rounds, seconds, runtime.NumCPU())
	fmt.Fprintf(&b, "| asked | answered a second | of them added | p50 | p99 | processor each | %d cores would |\n|---|---|---|---|---|---|---|\n", runtime.NumCPU())
	for _, m := range mixes {
		rs := all[m.name]
		of := func(part func(round) float64) float64 {
			var values []float64
			for _, r := range rs {
				values = append(values, part(r))
			}
			return result.Median(values)
		}
		cpu := time.Duration(of(func(r round) float64 { return float64(r.cpu) }))
		ms := func(ns float64) string { return fmt.Sprintf("%.1f ms", ns/1e6) }
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %s | %s | %d µs | %.0f |\n", m.name, of(func(r round) float64 { return r.rate }),
			of(func(r round) float64 { return r.adds }), ms(of(func(r round) float64 { return float64(r.p50) })), ms(of(func(r round) float64 { return float64(r.p99) })),
			cpu.Microseconds(), float64(runtime.NumCPU())*float64(time.Second)/float64(max(cpu, 1)))
	}
	fmt.Fprintf(&b, "\nThe goal is %d a second of the first.\n", goal)
	return b.String()
}

// minted is the answer of issuer.mint.
type minted struct {
	Token string `json:"token"`
}

// encode is v as JSON: of what is asked here, which can be.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
