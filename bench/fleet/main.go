// Command fleet measures how long it takes until a change of policy holds at every gateway:
// from the moment at which the last approval is sent until both of two gateways refuse what
// it forbids. A control plane and two gateways run in this process, on loopback, as pavise
// serve and pavise gateway do, with mutual TLS and with everything on disk.
//
// With --backs it measures instead how long it takes, once a gateway has confirmed that a version is
// bad, until the version before answers at that gateway, and at the other one.
//
// Run it from the bench directory:
//
//	go run ./fleet [--changes 20] [--write]
//	go run ./fleet --backs 20 [--mib 31] [--write]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise/bench/result"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
)

// goal is how long a change may take to hold everywhere.
const goal = time.Second

func main() { result.Main("fleet", run) }

func run(ctx context.Context) (err error) {
	changes := flag.Int("changes", 20, "how many changes of policy are approved")
	backs := flag.Int("backs", 0, "how many bad versions are taken back, each in a fleet of its own, instead")
	mib := flag.Int("mib", 0, "how large each version is beside its few weights, in MiB")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()
	if *changes < 1 || *backs < 0 || *mib < 0 {
		return fmt.Errorf("--changes %d, --backs %d, --mib %d: they are numbers of something", *changes, *backs, *mib)
	}
	conditions := result.Observe(".")
	if *backs > 0 {
		all, err := measureBacks(ctx, *backs, *mib)
		if err != nil {
			return err
		}
		text := reportBacks(all, *mib, conditions.String())
		fmt.Print(text)
		if *write {
			err = result.Write(result.File, "back", text)
		}
		return err
	}
	dir, err := os.MkdirTemp("", "bench-fleet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, stop := context.WithCancel(ctx)
	f, err := newFleet(ctx, dir, threatdetector.Model(), nil)
	if err == nil {
		var took []time.Duration
		if took, err = f.measure(ctx, *changes); err == nil {
			text := report(took, conditions.String())
			fmt.Print(text)
			if *write {
				err = result.Write(result.File, "fleet", text)
			}
		}
	}
	stop()
	f.wait()
	return err
}

// report writes the result, of which there is at least one.
func report(took []time.Duration, conditions string) string {
	slices.Sort(took)
	most := took[len(took)-1]
	judged := "met"
	if most > goal {
		judged = "**not met**"
	}
	ms := func(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Millisecond)) }
	t := result.NewTable("changes", "p50, ms", "p90, ms", "longest, ms", "goal")
	t.Row(fmt.Sprint(len(took)), ms(result.Quantile(took, 0.5)), ms(result.Quantile(took, 0.9)), ms(most), fmt.Sprintf("the longest ≤ %v: %s", goal, judged))
	var b strings.Builder
	b.WriteString("## A fleet: until a change of policy holds at both gateways\n\n")
	fmt.Fprintf(&b, "Made by `cd bench && go run ./fleet --changes %d --write`.\n\n%s\n", len(took), t)
	b.WriteString("From sending the last approval, so that running the change and writing it down are in it, until each gateway has refused a request that the policy forbids. Both are asked again every 2 ms, on the two cores that also serve them.\n\n")
	fmt.Fprintf(&b, "Conditions:\n\n%s", conditions)
	return b.String()
}
