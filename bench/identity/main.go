// Command identity measures how long it takes to know who calls: with a bearer token or a
// workload certificate that was seen before, with a proof of possession (DPoP), which is
// a new one each time, and with tokens never seen before.
//
// What is counted is processor time, on one processor; see bench/policy.
//
// Run it from the bench directory:
//
//	go run ./identity [--rounds 7] [--millis 300] [--write]
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/pavise/pavise/bench/result"
)

func main() { result.Main("identity", run) }

func run(ctx context.Context) error {
	rounds := flag.Int("rounds", 7, "how often each proof is measured")
	millis := flag.Int("millis", 300, "milliseconds that it is measured for each time, about; proofs that are good once are made beforehand, 2000 of them")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()
	if *rounds < 1 {
		return fmt.Errorf("--rounds: %d is none", *rounds)
	}

	runtime.GOMAXPROCS(1)
	conditions := result.Observe(".")
	proofs, err := newProofs()
	if err != nil {
		return err
	}
	costs := make([][]result.Cost, len(proofs))
	for round := range *rounds {
		for _, i := range rand.New(rand.NewPCG(uint64(round), 0)).Perm(len(proofs)) {
			cost, err := proofs[i].measure(ctx, time.Duration(*millis)*time.Millisecond)
			if err != nil {
				return fmt.Errorf("%s: %w", proofs[i].name, err)
			}
			fmt.Fprintf(os.Stderr, "round %d: %-40s %8.0f ns\n", round+1, proofs[i].name, cost.CPU)
			costs[i] = append(costs[i], cost)
		}
	}
	text := report(proofs, costs, *rounds, *millis, conditions.String())
	fmt.Print(text)
	if *write {
		return result.Write(result.File, "identity", text)
	}
	return nil
}

func report(proofs []proof, costs [][]result.Cost, rounds, millis int, conditions string) string {
	var b strings.Builder
	b.WriteString("## Identity: knowing who calls\n\n")
	fmt.Fprintf(&b, "Made by `cd bench && go run ./identity --rounds %d --millis %d --write`.\n\n", rounds, millis)
	t := result.NewTable("proof", "CPU ns, median", "min", "B", "allocations", "goal")
	for i, p := range proofs {
		median, least := result.Summary(costs[i])
		t.Row(p.name, fmt.Sprintf("%.0f", median.CPU), fmt.Sprintf("%.0f", least), fmt.Sprintf("%.0f", median.Bytes), fmt.Sprintf("%.0f", median.Allocs), p.judged(median.CPU))
	}
	fmt.Fprintf(&b, "%s\nConditions:\n\n%s", t, conditions)
	return b.String()
}

// judged says whether the goal was met.
func (p proof) judged(ns float64) string {
	switch {
	case p.goal == 0:
		return ""
	case ns <= float64(p.goal):
		return fmt.Sprintf("≤ %v: met", p.goal)
	}
	return fmt.Sprintf("≤ %v: **not met**", p.goal)
}
