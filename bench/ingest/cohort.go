package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/cohort"
	"github.com/pavise/pavise/internal/cohort/cohorttest"
)

const aboutCohort = `## Misconfigured pods among their siblings

Made by ` + "`cd bench && go run ./ingest --only cohort --write`" + `. A service prints lines drawn from a corpus of loghub; of its
10 pods one is misconfigured. Found is how many of the misconfigured pods are odd; volume is how many print far less or far
more than their siblings, on which no verdict rests. Healthy pods are those beside them, and all pods of the row "healthy".

`

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
		healthyOdd, healthy, found, must := 0, 0, 0, 0
		for _, f := range append([]cohorttest.Fault{{Name: "healthy"}}, cohorttest.Faults()...) {
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
			if f.Must {
				found, must = found+t.found, must+t.faulty
			}
			table.Row(f.Name, fmt.Sprintf("%d of %d", t.found, t.faulty), fmt.Sprint(t.volume), fmt.Sprintf("%d of %d", t.healthyOdd, t.healthy), fmt.Sprint(t.healthyVolume))
		}
		text += fmt.Sprintf("### %s\n\n%s\nOf the four that must be found (%s) %d of %d are; of %d healthy pods %d are taken for odd.\n\n", size.name, table, required(), found, must, healthy, healthyOdd)
	}
	return text, nil
}

// A tally counts pods.
type tally struct {
	faulty, found, volume              int
	healthy, healthyOdd, healthyVolume int
}

// add makes ten pods of a corpus, does something to one, and has them judged.
func (t *tally) add(c corpus, f cohorttest.Fault, rng *rand.Rand, least, most int) {
	const n = 10
	pods := make([][]string, n)
	odd := rng.IntN(n)
	for i := range pods {
		var p cohorttest.Pod
		for range least + rng.IntN(most-least+1) {
			k := rng.IntN(len(c.lines))
			p.Lines, p.Kinds = append(p.Lines, c.lines[k]), append(p.Kinds, c.truth[k])
		}
		if pods[i] = p.Lines; i == odd && f.Do != nil {
			pods[i] = f.Do(p, rng)
		}
	}
	for i, j := range cohorttest.Judge(pods) {
		isOdd, volume := j.Verdict == cohort.Odd, j.Volume != ""
		if i == odd && f.Do != nil {
			t.faulty++
			t.found, t.volume = t.found+count(isOdd), t.volume+count(volume)
		} else {
			t.healthy++
			t.healthyOdd, t.healthyVolume = t.healthyOdd+count(isOdd), t.healthyVolume+count(volume)
		}
	}
}

// required names the faults that must be found.
func required() string {
	var names []string
	for _, f := range cohorttest.Required() {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}
