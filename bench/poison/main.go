// Poison plants poisons into tables that are taken for clean, screens them, and says how high
// the poisoned rows rank: by each screen, and by all together, with a trusted baseline and
// without.
//
// Run it from the bench directory; NSL-KDD is looked for in $PAVISE_DATA or ../../shared/data:
//
//	go run ./poison --write
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/anomaly"
	"github.com/pavise/pavise/internal/poison"
)

const perTable = 4500 // rows of a file, and of a baseline

func main() {
	seeds := flag.Int("seeds", 3, "draws of each poison")
	only := flag.String("only", "", "poisons whose names hold this")
	write := flag.Bool("write", false, "keep the results in RESULTS.md")
	flag.Parse()
	result.Main("poison", func(ctx context.Context) error { return run(ctx, *seeds, *only, *write) })
}

func run(ctx context.Context, seeds int, only string, write bool) error {
	conditions := result.Observe(".")
	var out strings.Builder
	worlds := []*world{orders(10000, 30, 5)}
	if kdd, err := flows(); err == nil {
		worlds = append([]*world{kdd}, worlds...)
	} else {
		fmt.Fprintln(os.Stderr, "without NSL-KDD:", err)
	}
	for _, w := range worlds {
		for _, based := range []bool{false, true} {
			if err := measure(ctx, &out, w, based, seeds, only); err != nil {
				return err
			}
		}
	}
	if err := large(&out); err != nil {
		return err
	}
	text := "## Screens of poisoned training data\n\n" + conditions.String() + out.String()
	fmt.Print(text)
	if write {
		return result.Write(result.File, "poison", text)
	}
	return nil
}

// A tally is what came of one poison over the seeds.
type tally struct {
	area               map[string]float64 // by screen, and "all": the mean
	least, low, higher float64            // of all screens together: the least AUC, recall at 1 % and at 5 %
	caught, clean      int                // rows in quarantine: poisoned, and others
	bad, good          int
}

func measure(ctx context.Context, out *strings.Builder, w *world, based bool, seeds int, only string) error {
	how := "without a baseline"
	if based {
		how = "with a baseline"
	}
	fmt.Fprintf(out, "\n### %s, %s\n\n%s; %d rows, %d seeds. AUC (mean) by screen; of all together also the least, recall at 1 %% and 5 %% false alarms, and what is in quarantine.\n\n", w.name, how, w.about, perTable, seeds)
	screens := []string{"labels", "neighbours", "outliers", "triggers", "clusters", "gradients", "novelty"}
	fmt.Fprintf(out, "| poison | %s | all | least | at 1 %% | at 5 %% | caught | clean rows | floor |\n|---|%s\n", strings.Join(screens, " | "), strings.Repeat("---|", len(screens)+7))
	nothing := attack{name: "none", act: func(_ *world, t *poison.Table, _ *rand.Rand) []bool { return make([]bool, t.Rows()) }}
	for _, a := range append([]attack{nothing}, attacks()...) {
		if !strings.Contains(a.name, only) {
			continue
		}
		t := tally{area: map[string]float64{}, least: 1}
		for seed := range seeds {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := t.draw(w, a, based, uint64(seed), seeds); err != nil {
				return err
			}
		}
		t.row(out, a, screens)
	}
	return nil
}

// draw plants a poison once and screens.
func (t *tally) draw(w *world, a attack, based bool, seed uint64, seeds int) error {
	rng := rand.New(rand.NewPCG(seed, 3))
	file, baseline := w.draw(perTable, rng)
	if !based {
		baseline = nil
	}
	bad := a.act(w, file, rng)
	report, found, err := screen(file, baseline)
	if err != nil {
		return err
	}
	score := make([]float64, len(bad))
	for i, row := range report.Rows {
		score[i] = row.Score
		switch {
		case bad[i]:
			t.bad++
			if row.Score >= 1 {
				t.caught++
			}
		default:
			t.good++
			if row.Score >= 1 {
				t.clean++
			}
		}
	}
	if t.bad == 0 {
		return nil
	}
	for _, f := range found {
		if f.Evidence != nil {
			one := make([]float64, len(bad))
			for i := range one {
				one[i] = float64(f.Evidence[i])
			}
			t.area[f.Screen] += auc(one, bad) / float64(seeds)
		}
	}
	area := auc(score, bad)
	t.area["all"] += area / float64(seeds)
	t.least = min(t.least, area)
	t.low += recall(score, bad, 0.01) / float64(seeds)
	t.higher += recall(score, bad, 0.05) / float64(seeds)
	return nil
}

func screen(file, baseline *poison.Table) (*poison.Report, []poison.Finding, error) {
	v, err := poison.Prepare(file, baseline, 1)
	if err != nil {
		return nil, nil, err
	}
	var found []poison.Finding
	for _, j := range v.Jobs() {
		found = append(found, j.Run())
	}
	return v.Combine(found), found, nil
}

func (t *tally) row(out *strings.Builder, a attack, screens []string) {
	_, high := anomaly.ClopperPearson(t.clean, t.good, 0.95)
	clean := fmt.Sprintf("%d of %d (≤ %.2f %%)", t.clean, t.good, 100*high)
	fmt.Fprintf(out, "| %s |", a.name)
	if t.bad == 0 {
		fmt.Fprintf(out, "%s %s | |\n", strings.Repeat(" |", len(screens)+5), clean)
		return
	}
	for _, s := range append(screens, "all") {
		if x, ok := t.area[s]; ok {
			fmt.Fprintf(out, " %.3f |", x)
		} else {
			fmt.Fprint(out, " – |")
		}
	}
	met := ""
	if t.area["all"] < a.floor {
		met = ", escapes"
	}
	fmt.Fprintf(out, " %.3f | %.2f | %.2f | %d of %d | %s | %.2f%s |\n", t.least, t.low, t.higher, t.caught, t.bad, clean, a.floor, met)
}

// large times 100,000 rows of 50 columns, one screen behind the other.
func large(out *strings.Builder) error {
	file := orders(100000, 50, 9).all
	began := time.Now()
	if _, _, err := screen(file, nil); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n100,000 rows of 50 columns, without a baseline, one screen behind the other on one core: %.1f s\n", time.Since(began).Seconds())
	return nil
}

// auc is the probability that a poisoned row scores above another one.
func auc(score []float64, bad []bool) float64 {
	order := make([]int, len(score))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(score[a], score[b]) })
	sum, n := 0.0, 0.0
	for from := 0; from < len(order); {
		to, here := from, 0.0
		for ; to < len(order) && score[order[to]] == score[order[from]]; to++ {
			if bad[order[to]] {
				here++
			}
		}
		sum += here * float64(from+to+1) / 2
		n += here
		from = to
	}
	return (sum - n*(n+1)/2) / (n * (float64(len(score)) - n))
}

// recall is the share of the poisoned rows above the score that a share of the others reaches.
func recall(score []float64, bad []bool, share float64) float64 {
	var clean []float64
	for i, s := range score {
		if !bad[i] {
			clean = append(clean, s)
		}
	}
	slices.Sort(clean)
	limit := clean[max(len(clean)-1-int(math.Floor(share*float64(len(clean)))), 0)]
	hits, n := 0.0, 0.0
	for i, s := range score {
		if bad[i] {
			n++
			if s > limit {
				hits++
			}
		}
	}
	return hits / n
}
