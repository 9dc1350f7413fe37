package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/cohort"
)

const aboutCohort = `## Misconfigured pods among their siblings

Made by ` + "`cd bench && go run ./ingest --only cohort --write`" + `. A service prints lines drawn from a corpus of loghub; of its
10 pods one is misconfigured. Found is how many of the misconfigured pods are odd; volume is how many print far less or far
more than their siblings, on which no verdict rests. Healthy pods are those beside them, and all pods of the row "healthy".

`

// A fault is what happens to the lines of one pod.
type fault struct {
	name string
	do   func(p *drawn, rng *rand.Rand) []string
}

// drawn are the lines of a pod with their true groups, and the groups of the corpus from the
// most frequent on.
type drawn struct {
	lines, truth []string
	ranked       []string
}

var faults = []fault{
	{"healthy", func(p *drawn, _ *rand.Rand) []string { return p.lines }},
	{"truncation at 30 bytes", cut(30)},
	{"truncation at 50 bytes", cut(50)},
	{"JSON wrapped twice", func(p *drawn, _ *rand.Rand) []string { return each(p.lines, wrap) }},
	{"most frequent template lost", func(p *drawn, _ *rand.Rand) []string { return p.without(p.ranked[0]) }},
	{"second template lost", func(p *drawn, _ *rand.Rand) []string { return p.without(p.ranked[1]) }},
	{"lines merged in pairs", func(p *drawn, _ *rand.Rand) (out []string) {
		for pair := range slices.Chunk(p.lines, 2) {
			out = append(out, strings.Join(pair, ""))
		}
		return out
	}},
	{"a fifth of the lines debug flood", func(p *drawn, rng *rand.Rand) (out []string) {
		for i, line := range p.lines {
			if out = append(out, line); i%4 == 3 {
				out = append(out, fmt.Sprintf("DEBUG cache lookup key=%d hit=false", rng.IntN(1000)))
			}
		}
		return out
	}},
	{"30 % of all lines lost", func(p *drawn, rng *rand.Rand) (out []string) {
		for _, line := range p.lines {
			if rng.Float64() >= 0.3 {
				out = append(out, line)
			}
		}
		return out
	}},
}

func cut(n int) func(*drawn, *rand.Rand) []string {
	return func(p *drawn, _ *rand.Rand) []string {
		return each(p.lines, func(line string) string { return line[:min(len(line), n)] })
	}
}

func wrap(line string) string {
	b, _ := json.Marshal(map[string]string{"log": line + "\n", "stream": "stdout"})
	return string(b)
}

func each(lines []string, change func(string) string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = change(line)
	}
	return out
}

func (p *drawn) without(group string) (out []string) {
	for i, line := range p.lines {
		if p.truth[i] != group {
			out = append(out, line)
		}
	}
	return out
}

// services are the corpora that play them.
var services = []string{"BGL", "HDFS", "OpenSSH", "Spark", "Zookeeper"}

// cohorts counts which pods are found, for pods of several sizes.
func cohorts(corpora []corpus, trials int) (string, error) {
	text := aboutCohort
	for _, size := range []struct {
		name        string
		least, most int // lines of a pod
	}{{"100 lines a pod", 100, 100}, {"200 lines a pod", 200, 200}, {"400 lines a pod", 400, 400}, {"1,000 lines a pod", 1000, 1000}, {"100 to 2,000 lines a pod", 100, 2000}} {
		table := result.NewTable("fault", "found", "volume", "healthy taken for odd", "healthy, volume")
		healthyOdd, healthy := 0, 0
		for _, f := range faults {
			var t tally
			for _, c := range corpora {
				if !slices.Contains(services, c.name) {
					continue
				}
				for trial := range trials {
					t.add(c, f, rand.New(rand.NewPCG(uint64(trial), uint64(size.most))), size.least, size.most)
				}
			}
			healthyOdd, healthy = healthyOdd+t.healthyOdd, healthy+t.healthy
			table.Row(f.name, fmt.Sprintf("%d of %d", t.found, t.faulty), fmt.Sprint(t.volume), fmt.Sprintf("%d of %d", t.healthyOdd, t.healthy), fmt.Sprint(t.healthyVolume))
		}
		text += fmt.Sprintf("### %s\n\n%s\nOf %d healthy pods %d are taken for odd.\n\n", size.name, table, healthy, healthyOdd)
	}
	return text, nil
}

// A tally counts pods.
type tally struct {
	faulty, found, volume              int
	healthy, healthyOdd, healthyVolume int
}

// add makes ten pods of a corpus, does something to one, and has them judged.
func (t *tally) add(c corpus, f fault, rng *rand.Rand, least, most int) {
	const n = 10
	names, pods := make([]string, n), make([][]string, n)
	odd := rng.IntN(n)
	ranked := ranking(c.truth)
	for i := range pods {
		p := &drawn{ranked: ranked}
		for range least + rng.IntN(most-least+1) {
			k := rng.IntN(len(c.lines))
			p.lines, p.truth = append(p.lines, c.lines[k]), append(p.truth, c.truth[k])
		}
		if pods[i] = p.lines; i == odd {
			pods[i] = f.do(p, rng)
		}
	}
	judged := judge(names, pods)
	for i, j := range judged {
		isOdd, volume := j.Verdict == cohort.Odd, j.Volume != ""
		if i == odd && f.name != "healthy" {
			t.faulty++
			t.found, t.volume = t.found+count(isOdd), t.volume+count(volume)
		} else {
			t.healthy++
			t.healthyOdd, t.healthyVolume = t.healthyOdd+count(isOdd), t.healthyVolume+count(volume)
		}
	}
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

func judge(names []string, pods [][]string) []cohort.Judgement {
	c := cohort.New(names)
	for _, lines := range pods {
		for _, line := range lines {
			c.Learn([]byte(line))
		}
	}
	for i, lines := range pods {
		for _, line := range lines {
			c.Count(i, []byte(line))
		}
	}
	return c.Judge()
}

// ranking lists groups from the most frequent on.
func ranking(truth []string) []string {
	counts := map[string]int{}
	for _, group := range truth {
		counts[group]++
	}
	var all []string
	for group := range counts {
		all = append(all, group)
	}
	slices.SortFunc(all, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	return all
}
