package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/policy"
)

func main() { result.Main("policy", run) }

func run(ctx context.Context) error {
	rounds := flag.Int("rounds", 7, "how often every engine runs")
	millis := flag.Int("millis", 300, "milliseconds of processor that it is measured for each time, about")
	sizes := flag.String("sizes", "50,810,10000", "policies of the tenant")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()

	runtime.GOMAXPROCS(1)
	conditions := result.Observe(".")
	var tables []*comparison
	for size := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil || n < len(bans) {
			return fmt.Errorf("--sizes: %q is no number of policies from %d", size, len(bans))
		}
		c, err := compare(ctx, n, *rounds, time.Duration(*millis)*time.Millisecond)
		if err != nil {
			return fmt.Errorf("%d policies: %w", n, err)
		}
		tables = append(tables, c)
	}
	text := report(tables, *rounds, *millis, *sizes, conditions.String())
	fmt.Print(text)
	if *write {
		return result.Write(result.File, "policy", text)
	}
	return nil
}

// asks is how many questions are asked in turn.
const asks = 400

// A comparison is every engine over one corpus.
type comparison struct {
	policies int // of the tenant
	fences   int // guardrails before them
	allowed  int // of the questions
	engines  []engine
	samples  map[string][]result.Cost // by engine name, one per round
	skipped  []string
}

// compare builds the engines, has them answer everything once, and measures them.
func compare(ctx context.Context, n, rounds int, window time.Duration) (*comparison, error) {
	c := &comparison{policies: n, samples: map[string][]result.Cost{}}
	if err := c.build(ctx); err != nil {
		return nil, err
	}
	if err := c.agree(); err != nil {
		return nil, err
	}
	for round := range rounds {
		for _, i := range rand.New(rand.NewPCG(uint64(round), 0)).Perm(len(c.engines)) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			e := c.engines[i]
			s, err := measure(e, window)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(os.Stderr, "%d policies, round %d: %-32s %8.0f ns\n", n, round+1, e.Name(), s.CPU)
			c.samples[e.Name()] = append(c.samples[e.Name()], s)
		}
	}
	return c, nil
}

// build makes the engines, over one and the same corpus and questions.
func (c *comparison) build(ctx context.Context) error {
	schema, err := policy.NewSchema(nil)
	if err != nil {
		return err
	}
	sources, questions := corpus(c.policies), questions(schema, asks, 1)
	policies, err := everything(sources)
	if err != nil {
		return err
	}
	c.fences = len(policies) - len(sources)
	keeping, fresh, err := newIndexed(schema, sources, questions)
	if err != nil {
		return err
	}
	c.engines = []engine{keeping, fresh, newScan(policies, questions)}
	for _, s := range styles {
		if c.policies > s.most {
			c.skipped = append(c.skipped, s.name)
			continue
		}
		peer, err := newOPA(ctx, s, schema.Actions(), policies, questions)
		if err != nil {
			return err
		}
		c.engines = append(c.engines, peer)
	}
	return nil
}

// agree fails unless every engine gives every question the same answer.
func (c *comparison) agree() error {
	for i := range asks {
		want, err := c.engines[0].Decide(i)
		if err != nil {
			return err
		}
		if want {
			c.allowed++
		}
		for _, e := range c.engines[1:] {
			if got, err := e.Decide(i); err != nil || got != want {
				return fmt.Errorf("question %d: %s says %t (%v), %s says %t", i, c.engines[0].Name(), want, err, e.Name(), got)
			}
		}
	}
	return nil
}

// measure asks one engine all questions again and again until the window has passed.
func measure(e engine, window time.Duration) (result.Cost, error) {
	return result.Measure(window, func() (int, error) {
		for i := range asks {
			if _, err := e.Decide(i); err != nil {
				return 0, err
			}
		}
		return asks, nil
	})
}
