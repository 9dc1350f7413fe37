// Package cohorttest is pods whose logging is misconfigured: the tests of cohort and the
// program that measures it break the same pods in the same ways. It owns the list of faults.
package cohorttest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pavise/pavise/internal/cohort"
)

// A Pod is the lines of a pod, and for each which kind of line it is.
type Pod struct{ Lines, Kinds []string }

// A Fault is what happens to the lines of one pod.
type Fault struct {
	Name string
	Must bool                                 // it is one of the four that must be found
	Do   func(p Pod, rng *rand.Rand) []string // the lines as the pod prints them
}

// Faults returns the faults. The four that must be found are lines that are cut off, wrapped
// twice and run together, and a kind of line that is lost.
func Faults() []Fault {
	return []Fault{
		{"truncation at 30 bytes", true, func(p Pod, _ *rand.Rand) []string { return cut(p, 30) }},
		{"truncation at 50 bytes", false, func(p Pod, _ *rand.Rand) []string { return cut(p, 50) }},
		{"JSON wrapped twice", true, func(p Pod, _ *rand.Rand) []string { return each(p.Lines, wrap) }},
		{"most frequent template lost", true, func(p Pod, _ *rand.Rand) []string { return p.Without(0) }},
		{"second template lost", false, func(p Pod, _ *rand.Rand) []string { return p.Without(1) }},
		{"lines merged in pairs", true, merged},
		{"a fifth of the lines debug flood", false, flooded},
		{"30 % of all lines lost", false, thinned},
		{"each line twice", false, func(p Pod, _ *rand.Rand) []string { return slices.Concat(p.pairs()...) }},
	}
}

// Required returns the four that must be found.
func Required() []Fault {
	return slices.DeleteFunc(Faults(), func(f Fault) bool { return !f.Must })
}

// Judge has the pods judged by their lines.
func Judge(pods [][]string) []cohort.Judgement {
	names := make([]string, len(pods))
	for i := range pods {
		names[i] = fmt.Sprintf("pod-%d", i)
	}
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

// pairs has each line twice.
func (p Pod) pairs() (all [][]string) {
	for _, line := range p.Lines {
		all = append(all, []string{line, line})
	}
	return all
}

// Without returns the lines but those of a kind: 0 is the most frequent one of the pod.
func (p Pod) Without(rank int) (out []string) {
	counts := map[string]int{}
	for _, kind := range p.Kinds {
		counts[kind]++
	}
	kinds := slices.Collect(maps.Keys(counts))
	slices.SortFunc(kinds, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	for i, line := range p.Lines {
		if rank >= len(kinds) || p.Kinds[i] != kinds[rank] {
			out = append(out, line)
		}
	}
	return out
}

func each(lines []string, change func(string) string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = change(line)
	}
	return out
}

func cut(p Pod, n int) []string {
	return each(p.Lines, func(line string) string { return line[:min(len(line), n)] })
}

func wrap(line string) string {
	b, err := json.Marshal(map[string]string{"log": line + "\n", "stream": "stdout"})
	if err != nil {
		panic(err) // of texts there is no error
	}
	return string(b)
}

func merged(p Pod, _ *rand.Rand) (out []string) {
	for pair := range slices.Chunk(p.Lines, 2) {
		out = append(out, strings.Join(pair, ""))
	}
	return out
}

func flooded(p Pod, rng *rand.Rand) (out []string) {
	for i, line := range p.Lines {
		if out = append(out, line); i%4 == 3 {
			out = append(out, fmt.Sprintf("DEBUG cache lookup key=%d hit=false", rng.IntN(1000)))
		}
	}
	return out
}

func thinned(p Pod, rng *rand.Rand) (out []string) {
	for _, line := range p.Lines {
		if rng.Float64() >= 0.3 {
			out = append(out, line)
		}
	}
	return out
}
