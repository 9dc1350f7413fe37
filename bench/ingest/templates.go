package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/template"
)

const aboutTemplates = `## Log templates beside Drain3

Made by ` + "`cd bench && go run ./ingest --only templates --write`" + `. Each corpus is 2,000 lines of loghub. Grouping
accuracy is the share of lines whose group has exactly the lines of one true group. Speed is lines for a second of
processor time, both sides with the lines in memory, in rounds that take turns; medians. Each goes over a corpus once before it is
measured, and then for half a second at least.

`

// templates compares grouping and speed with Drain3.
func templates(ctx context.Context, corpora []corpus, rounds int) (string, error) {
	peer := os.Getenv("PAVISE_DRAIN3")
	runtime.GOMAXPROCS(1)
	table := result.NewTable("corpus", "accuracy of Drain3", "unmasked", "masked", "Drain3, lines/s", "unmasked, lines/s", "masked, lines/s", "unmasked, times Drain3", "masked, times Drain3")
	var unmaskedTimes, maskedTimes []float64
	for _, c := range corpora {
		lines := make([][]byte, len(c.lines))
		for i, line := range c.lines {
			lines[i] = []byte(line)
		}
		var speeds [3][]float64
		theirs := "not run"
		for range rounds {
			for i, o := range []template.Options{{Unmasked: true}, {}} {
				speed, err := minerSpeed(lines, o)
				if err != nil {
					return "", err
				}
				speeds[i] = append(speeds[i], speed)
			}
			if peer == "" {
				continue
			}
			got, err := askDrain3(ctx, peer, c.lines)
			if err != nil {
				return "", err
			}
			speeds[2] = append(speeds[2], got.Speed)
			theirs = fmt.Sprintf("%.4f", groupingAccuracy(c.truth, got.IDs))
		}
		unmasked, masked, drain3 := result.Median(speeds[0]), result.Median(speeds[1]), result.Median(speeds[2])
		times := func(ours float64, all *[]float64) string {
			if drain3 == 0 {
				return "—"
			}
			*all = append(*all, ours/drain3)
			return fmt.Sprintf("%.1f", ours/drain3)
		}
		table.Row(c.name, theirs, accuracy(c, template.Options{Unmasked: true}), accuracy(c, template.Options{}),
			fmt.Sprintf("%.0f", drain3), fmt.Sprintf("%.0f", unmasked), fmt.Sprintf("%.0f", masked), times(unmasked, &unmaskedTimes), times(masked, &maskedTimes))
	}
	text := aboutTemplates + table.String()
	if peer != "" {
		text += fmt.Sprintf("\nOf all corpora, the median is %.1f times Drain3 unmasked and %.1f times masked.\n", result.Median(unmaskedTimes), result.Median(maskedTimes))
	}
	return text, nil
}

// minerSpeed is how many lines a second of processor time does.
func minerSpeed(lines [][]byte, o template.Options) (float64, error) {
	m := template.New(o)
	batch := func() (int, error) {
		for _, line := range lines {
			m.Add(line)
		}
		return len(lines), nil
	}
	if _, err := batch(); err != nil {
		return 0, err
	}
	cost, err := result.Measure(500*time.Millisecond, batch)
	return 1e9 / cost.CPU, err
}

func accuracy(c corpus, o template.Options) string {
	m := template.New(o)
	ids := make([]int, len(c.lines))
	for i, line := range c.lines {
		ids[i] = m.Add([]byte(line))
	}
	return fmt.Sprintf("%.4f", groupingAccuracy(c.truth, ids))
}

// groupingAccuracy is the share of lines whose group has exactly the lines of one true group.
func groupingAccuracy(truth []string, found []int) float64 {
	sizes, groups, kinds := map[string]int{}, map[int]int{}, map[int]map[string]bool{}
	for i, id := range found {
		sizes[truth[i]]++
		groups[id]++
		if kinds[id] == nil {
			kinds[id] = map[string]bool{}
		}
		kinds[id][truth[i]] = true
	}
	right := 0
	for id, kind := range kinds {
		for one := range kind {
			if len(kind) == 1 && groups[id] == sizes[one] {
				right += groups[id]
			}
		}
	}
	return float64(right) / float64(len(found))
}

// drain3 mines a JSON list of lines: the cluster of each, and lines for a second of processor
// time once they are known.
const drain3 = `
import json, sys, time
from drain3.drain import Drain
lines = json.load(sys.stdin)
drain = Drain()
ids = [drain.add_log_message(line)[0].cluster_id for line in lines]
n, began = 0, time.process_time()
while time.process_time() - began < 0.5:
    for line in lines:
        drain.add_log_message(line)
    n += len(lines)
json.dump({"ids": ids, "speed": n / (time.process_time() - began)}, sys.stdout)
`

type drained struct {
	IDs   []int   `json:"ids"`
	Speed float64 `json:"speed"`
}

func askDrain3(ctx context.Context, python string, lines []string) (got drained, err error) {
	text, err := json.Marshal(lines)
	if err != nil {
		return got, err
	}
	cmd := exec.CommandContext(ctx, python, "-c", drain3)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(text), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return got, fmt.Errorf("run Drain3 with %s: %w", python, err)
	}
	return got, json.Unmarshal(out, &got)
}
