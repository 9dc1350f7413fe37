// Command start measures the first minute with Pavise: how long a cold build
// takes and how big it is, how soon `pavise up` is ready, and how much memory it
// holds, idle and after inferences. The goals are printed beside the numbers.
//
// Run it from the bench directory:
//
//	go run ./start [--starts 5] [--inferences 2000] [--cold=false] [--write]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pavise/pavise/bench/result"
)

func main() { result.Main("start", run) }

func run(ctx context.Context) error {
	starts := flag.Int("starts", 5, "how often pavise is started on a fresh directory, and again on the same one")
	inferences := flag.Int("inferences", 2000, "how many inferences the last one answers before its memory is read again")
	cold := flag.Bool("cold", true, "measure a build with an empty build cache, which takes minutes")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()

	work, err := os.MkdirTemp("", "bench-start-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	conditions := result.Observe(work)
	built, err := build(ctx, work, *cold)
	if err != nil {
		return err
	}
	m := &measured{built: built}
	for i := range *starts {
		last := i == *starts-1
		if err := m.pair(ctx, filepath.Join(work, fmt.Sprintf("data-%d", i)), last, *inferences); err != nil {
			return err
		}
	}
	text := m.report(conditions.String())
	fmt.Print(text)
	if *write {
		return result.Write(result.File, "start", text)
	}
	return nil
}

// A measured is everything that was found out.
type measured struct {
	built
	fresh, again []time.Duration // from exec until ready
	idle, busy   memory
	answered     int // inferences before busy was read
	refused      int
}

// pair starts pavise on a new directory and once more on the same. The second
// time, if it is the last, it works before it stops.
func (m *measured) pair(ctx context.Context, data string, last bool, inferences int) error {
	first, err := start(ctx, m.binary, data)
	if err != nil {
		return err
	}
	m.fresh = append(m.fresh, first.ready)
	if err := first.stop(); err != nil {
		return err
	}
	second, err := start(ctx, m.binary, data)
	if err != nil {
		return err
	}
	m.again = append(m.again, second.ready)
	if last {
		if err := m.use(ctx, second, inferences); err != nil {
			return fmt.Errorf("%w (stopped: %v)", err, second.stop())
		}
	}
	return second.stop()
}

// use reads the memory of a running pavise before and after inferences.
func (m *measured) use(ctx context.Context, s *server, inferences int) (err error) {
	time.Sleep(2 * time.Second) // what starting needed has been let go
	if m.idle, err = s.memory(); err != nil {
		return err
	}
	if m.answered, m.refused, err = s.infer(ctx, inferences); err != nil {
		return err
	}
	m.busy, err = s.memory()
	return err
}

func (m *measured) report(conditions string) string {
	t := result.NewTable("what", "measured", "goal")
	t.Row("binary, stripped", mb(m.stripped), "≤ 70 MB")
	t.Row("binary, as built", mb(m.whole), "")
	t.Row("packages compiled", fmt.Sprint(m.packages), "")
	if m.cold > 0 {
		t.Row("build with an empty cache, modules already here", m.cold.Round(100*time.Millisecond).String(), "≤ 3 min")
	}
	t.Row("ready, fresh directory", spread(m.fresh), "≤ 2 s")
	t.Row("ready, second start", spread(m.again), "≤ 2 s")
	t.Row("resident, idle (peak)", fmt.Sprintf("%s (%s)", mb(m.idle.now), mb(m.idle.peak)), "≤ 100 MB")
	t.Row(fmt.Sprintf("resident after %d inferences (peak)", m.answered), fmt.Sprintf("%s (%s)", mb(m.busy.now), mb(m.busy.peak)), "≤ 100 MB")

	var s strings.Builder
	fmt.Fprintf(&s, "## The first minute\n\nMade by `cd bench && go run ./start --starts %d --write`.\n\n%s\n", len(m.fresh), t)
	fmt.Fprintf(&s, "Ready is the time from exec until `GET /v2/health/ready` answers 200, median (slowest) of %d.\n", len(m.fresh))
	if m.refused > 0 {
		fmt.Fprintf(&s, "%d inferences were refused by the route's limits and are not counted.\n", m.refused)
	}
	fmt.Fprintf(&s, "\nConditions:\n\n%s", conditions)
	return s.String()
}

func spread(times []time.Duration) string {
	slowest := result.Quantile(sorted(times), 1)
	return fmt.Sprintf("%s (%s)", result.Median(times).Round(time.Millisecond), slowest.Round(time.Millisecond))
}

func mb(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }
