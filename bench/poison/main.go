// Poison plants poisons into tables that are taken for clean, screens them, and says how high
// the poisoned rows rank: by each screen, and by all together, with a trusted baseline and
// without.
//
// Run it from the bench directory; NSL-KDD is looked for in $PAVISE_DATA or ../../shared/data.
// Each part can be run alone, and says on standard error how far it is:
//
//	go run ./poison [--part study] [--seeds 3] --write
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/anomaly"
	"github.com/pavise/pavise/internal/poison"
)

const perTable = 4500 // rows of a file, and of a baseline

func main() {
	seeds := flag.Int("seeds", 3, "draws of each poison")
	part := flag.String("part", "", "one of the parts: study, orders, other, rates, adaptive, clusters, speed, tables")
	dir := flag.String("dir", "", "for the part tables: a directory of CSV files")
	only := flag.String("only", "", "poisons whose names hold this")
	write := flag.Bool("write", false, "keep the results in RESULTS.md")
	flag.Parse()
	result.Main("poison", func(ctx context.Context) error { return run(ctx, *seeds, *part, *only, *dir, *write) })
}

// A part is one section of the results.
type part struct {
	name, title string
	real        bool // it takes NSL-KDD
	make        func(ctx context.Context, out *strings.Builder) error
}

func run(ctx context.Context, seeds int, name, only, dir string, write bool) error {
	generated := orders(10000, 30, 5)
	real, err := flows("KDDTrain+_20Percent.txt.gz")
	if err != nil {
		fmt.Fprintln(os.Stderr, "without NSL-KDD:", err)
	}
	each := func(worlds []*world, list []attack, rows int) func(context.Context, *strings.Builder) error {
		return func(ctx context.Context, out *strings.Builder) error {
			for _, w := range worlds {
				for _, based := range []bool{false, true} {
					t := trial{world: w, based: based, rows: rows, seeds: seeds}
					if err := t.measure(ctx, out, list, only); err != nil {
						return err
					}
				}
			}
			return nil
		}
	}
	for _, p := range []part{
		{"study", "Screens of poisoned training data", true, each([]*world{real}, study(), perTable)},
		{"orders", "Screens of poisoned training data, on another table", false, each([]*world{generated}, study(), perTable)},
		{"other", "Screens on a table that nothing was tuned on", false, each([]*world{sensors(10000, 6)}, study(), perTable)},
		{"rates", "Screens by how little is poisoned", true, each([]*world{real}, rates(), 12000)},
		{"adaptive", "Screens against somebody who has read them", true, each([]*world{real}, adaptive(), perTable)},
		{"clusters", "Screens of injected clusters, draw by draw", true, func(ctx context.Context, out *strings.Builder) error { return clusters(ctx, out, seeds) }},
		{"speed", "Time of the screens", false, large},
		{"tables", "Screens of tables that are taken for clean", false, directory(dir, seeds, only)},
	} {
		if name != "" && name != p.name || name == "" && dir == "" && p.name == "tables" || p.real && real == nil {
			continue
		}
		conditions := result.Observe(".")
		var out strings.Builder
		if err := p.make(ctx, &out); err != nil {
			return err
		}
		how := p.name
		if dir != "" {
			how += " --dir DIR"
		}
		text := fmt.Sprintf("## %s\n\nMade by `cd bench && go run ./poison --part %s --seeds %d --write`.\n\n%s%s", p.title, how, seeds, conditions, out.String())
		fmt.Println(text)
		if write {
			if err := result.Write(result.File, "poison-"+p.name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// A trial is how poisons are measured.
type trial struct {
	*world
	based       bool
	rows, seeds int
}

// A tally is what came of one poison over the seeds.
type tally struct {
	mu                 sync.Mutex
	area               map[string]float64 // by screen, and "all": the mean
	least, low, higher float64            // of all screens together: the least AUC, recall at 1 % and at 5 %
	caught, clean      int                // rows in quarantine: poisoned, and others
	bad, good          int
	by                 map[string]int // clean rows in quarantine, by screen; nil: nobody asks
}

var shown = []string{"labels", "neighbours", "outliers", "triggers", "clusters", "gradients", "novelty"}

func (t trial) measure(ctx context.Context, out *strings.Builder, list []attack, only string) error {
	how := "without a baseline"
	if t.based {
		how = "with a baseline"
	}
	fmt.Fprintf(out, "\n### %s, %s\n\n%s; %d rows, %d seeds. AUC (mean) by screen; of all together also the least, recall at 1 %% and 5 %% false alarms, and what is in quarantine.\n\n", t.name, how, t.about, t.rows, t.seeds)
	fmt.Fprintf(out, "| poison | %s | all | least | at 1 %% | at 5 %% | caught | clean rows | floor |\n|---|%s\n", strings.Join(shown, " | "), strings.Repeat("---|", len(shown)+7))
	nothing := attack{name: "none", act: func(s *scene) []bool { return make([]bool, s.file.Rows()) }}
	list = slices.DeleteFunc(append([]attack{nothing}, list...), func(a attack) bool { return !strings.Contains(a.name, only) })
	tallies := make([]tally, len(list))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for k, a := range list {
		tallies[k].area, tallies[k].least = map[string]float64{}, 1
		for seed := range t.seeds {
			group.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				area, err := tallies[k].draw(t, a, uint64(seed))
				fmt.Fprintf(os.Stderr, "%s, %s, %s, seed %d: AUC %.3f\n", t.name, how, a.name, seed, area)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for k, a := range list {
		tallies[k].row(out, a)
	}
	return nil
}

// draw plants a poison once and screens, and returns the AUC of all screens together; 0 where
// nothing was planted.
func (t *tally) draw(how trial, a attack, seed uint64) (area float64, err error) {
	s := &scene{world: how.world, rng: rand.New(rand.NewPCG(seed, 3))}
	s.file, s.baseline = how.world.draw(how.rows, s.rng)
	if !how.based {
		s.baseline = nil
	}
	bad := a.act(s)
	report, found, err := screen(s.file, s.baseline)
	if err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	score := make([]float64, len(bad))
	planted := false
	for i, row := range report.Rows {
		score[i] = row.Score
		planted = planted || bad[i]
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
				t.blame(row)
			}
		}
	}
	if !planted {
		return 0, nil
	}
	for _, f := range found {
		if f.Evidence != nil {
			one := make([]float64, len(bad))
			for i := range one {
				one[i] = float64(f.Evidence[i])
			}
			t.area[f.Screen] += auc(one, bad) / float64(how.seeds)
		}
	}
	area = auc(score, bad)
	t.area["all"] += area / float64(how.seeds)
	t.least = min(t.least, area)
	t.low += recall(score, bad, 0.01) / float64(how.seeds)
	t.higher += recall(score, bad, 0.05) / float64(how.seeds)
	return area, nil
}

// blame counts the screens that send a row to quarantine.
func (t *tally) blame(row poison.Row) {
	for _, r := range row.Reasons {
		if r.Score >= 1 && t.by != nil {
			t.by[r.Screen]++
		}
	}
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

func (t *tally) row(out *strings.Builder, a attack) {
	_, high := anomaly.ClopperPearson(t.clean, t.good, 0.95)
	clean := fmt.Sprintf("%d of %d (≤ %.2f %%)", t.clean, t.good, 100*high)
	fmt.Fprintf(out, "| %s |", a.name)
	if t.bad == 0 {
		fmt.Fprintf(out, "%s %s | |\n", strings.Repeat(" |", len(shown)+5), clean)
		return
	}
	for _, s := range append(slices.Clone(shown), "all") {
		if x, ok := t.area[s]; ok {
			fmt.Fprintf(out, " %.3f |", x)
		} else {
			fmt.Fprint(out, " – |")
		}
	}
	floor := ""
	if a.floor > 0 {
		floor = fmt.Sprintf("%.2f", a.floor)
		if t.area["all"] < a.floor {
			floor += ", escapes"
		}
	}
	fmt.Fprintf(out, " %.3f | %.2f | %.2f | %d of %d | %s | %s |\n", t.least, t.low, t.higher, t.caught, t.bad, clean, floor)
}

// large measures 100,000 rows of 50 columns, one screen behind the other, in processor time.
func large(_ context.Context, out *strings.Builder) error {
	all := orders(150000, 50, 9).all
	rows := make([]int, all.Rows())
	for i := range rows {
		rows[i] = i
	}
	file, trusted := pick(all, rows[:100000]), pick(all, rows[100000:])
	for _, b := range []struct {
		how      string
		baseline *poison.Table
	}{{"without a baseline", nil}, {"with a baseline of 50,000 rows", trusted}} {
		cost, err := result.Measure(time.Nanosecond, func() (int, error) {
			_, _, err := screen(file, b.baseline)
			return 1, err
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n100,000 rows of 50 columns, %s: %.1f s of processor time.\n", b.how, cost.CPU/1e9)
	}
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
