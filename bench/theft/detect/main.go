// Command detect measures how soon the detectors find clients who copy a model, or look for
// inputs that it gets wrong, and how many honest clients they take for such. Clients differ
// from each other, and those who are judged were seen by neither the calibration nor its
// threshold.
//
// Run it from the bench directory; NSL-KDD is looked for in $PAVISE_DATA or ../../shared/data:
//
//	go run ./theft/detect [--seed 1] [--only mnist] [--write]
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/anomaly"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/theft"
)

func main() { result.Main("theft/detect", run) }

// alpha is the share of honest clients that may ever leave green.
const alpha = 0.005

// A size is how much is measured.
type size struct {
	clients int // honest ones to calibrate with, and as many to try
	others  int // clients that the calibration saw, and as many of a kind that it did not
	thieves int // of each attack and share
	rows    int // that a thief asks, the honest ones that it hides among with them
}

// shares are how many of a hundred rows are the thief's own.
var shares = []int{100, 50, 25, 10}

var worlds = []struct {
	name string
	make func(seed uint64) (*world, error)
}{{"mnist", mnist}, {"nsl-kdd", nslkdd}, {"sample", sample}, {"table", table}, {"two-classes", pair}, {"hundred-classes", hundred}}

func run(context.Context) error {
	seed := flag.Uint64("seed", 1, "of everything")
	only := flag.String("only", "", "one world: mnist, nsl-kdd, sample, table, two-classes or hundred-classes")
	write := flag.Bool("write", false, "put the result into "+result.File)
	n := size{others: 60, rows: 2000}
	flag.IntVar(&n.clients, "clients", 300, "honest clients to calibrate with, and as many to try")
	flag.IntVar(&n.thieves, "thieves", 8, "thieves of each kind")
	flag.Parse()
	if *write {
		if err := result.Write(result.File, "theft-detect", "## Model theft: rows until thieves are found\n\n"+about); err != nil {
			return err
		}
	}
	for _, one := range worlds {
		if *only != "" && *only != one.name {
			continue
		}
		conditions := result.Observe(".")
		w, err := one.make(*seed)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s is left out: %v\n", one.name, err)
			continue
		}
		f, err := w.measure(n, *seed)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		text := fmt.Sprintf("### Rows until thieves are found: %s\n\nMade by `cd bench && go run ./theft/detect --seed %d --only %s --write`.\n%s\n%s", w.name, *seed, w.name, f.report(w), conditions)
		fmt.Println(text)
		if *write {
			if err := result.Write(result.File, "theft-detect-"+w.name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

const about = `Found is how many thieves left green within 2,000 rows; the rows are all that they had asked
until then, honest ones among them, the median and the 95th percentile of all thieves (a dash:
that many were not found). At 50, 25 and 10 % the other rows are those of an honest client.
What a thief asks is made beforehand, of at most 1,000 rows of its own; jbda and line-search ask
real rows first. Honest clients
differ in what they ask (shares of the classes from a Dirichlet distribution, for some one class
alone, for some others after 400 rows), how much (20 to 1,500 rows, some the same ones again and again), and
on images in brightness and noise. All attacks of the product are as ` + "`pavise redteam extract`" + ` plays
them with scores. False alarms have the interval of Clopper and Pearson at 95 %.
`

// each calls work for every number below n, two at a time.
func each(n int, work func(i int) error) error {
	var group errgroup.Group
	group.SetLimit(2)
	for i := range n {
		group.Go(func() error { return work(i) })
	}
	return group.Wait()
}

// A finding is what was measured in a world.
type finding struct {
	c      *theft.Calibration
	honest []amber // those who left green
	tried  int
	rows   int     // of honest clients
	spoilt float64 // change of their answers in L1, summed, if amber answers are altered
	turned int     // of their answers, those whose top class changed
	again  int     // of those whom the calibration has seen, who went on and left green
	unseen int     // of a kind that no calibration saw, the same
	of     size
	found  map[string]map[int][]int // by attack and share: rows, in order; 0: not found
	why    map[string]map[string]int
}

// An amber is an honest client that left green.
type amber struct {
	client int
	s      theft.Sighting
}

func (w *world) measure(n size, seed uint64) (*finding, error) {
	traffic, err := w.record(n.clients, seed)
	if err != nil {
		return nil, err
	}
	f := &finding{of: n, tried: n.clients, found: map[string]map[int][]int{}, why: map[string]map[string]int{}}
	if f.c, err = theft.Calibrate(traffic, alpha, seed); err != nil {
		return nil, err
	}
	if err := w.tryHonest(f, n, seed); err != nil {
		return nil, err
	}
	for _, k := range attacks {
		streams, err := w.streams(k, n.thieves, n.rows/2, seed)
		if err != nil {
			return nil, err
		}
		f.found[k.name], f.why[k.name] = map[int][]int{}, map[string]int{}
		for _, share := range shares {
			found := make([]theft.Sighting, n.thieves)
			if err := each(n.thieves, func(i int) error {
				found[i] = w.hunt(f.c, streams[i], share, n.rows, seed<<32+uint64(i))
				return nil
			}); err != nil {
				return nil, err
			}
			for _, s := range found {
				f.found[k.name][share] = append(f.found[k.name][share], s.Rows)
				if s.Rows > 0 {
					f.why[k.name][s.Detector]++
				}
			}
			slices.Sort(f.found[k.name][share])
		}
	}
	return f, nil
}

// record plays the clients that a calibration is made of, once.
func (w *world) record(n int, seed uint64) (theft.Traffic, error) {
	clients := make([][]*theft.Asked, n)
	if err := each(n, func(i int) error {
		w.honest(i, -1, false, seed, func(a *theft.Asked) bool { clients[i] = append(clients[i], a); return true })
		return nil
	}); err != nil {
		return nil, err
	}
	return func(yield func(*theft.Asked, error) bool) {
		for _, rows := range clients {
			for _, a := range rows {
				if !yield(a, nil) {
					return
				}
			}
		}
	}, nil
}

// tryHonest plays clients whom the calibration has not seen, those whom it has, who go on,
// and such of a kind that it has not.
func (w *world) tryHonest(f *finding, n size, seed uint64) error {
	tried := make([]trial, n.clients+2*n.others)
	if err := each(len(tried), func(i int) error {
		switch t := &tried[i]; {
		case i < n.clients:
			w.honest(n.clients+i, -1, false, seed, t.watch(f.c))
		case i < n.clients+n.others:
			w.honest(i-n.clients, -1, true, seed, t.watch(f.c))
		default:
			w.honest(2*n.clients+i-n.clients-n.others, bursting, false, seed, t.watch(f.c))
		}
		return nil
	}); err != nil {
		return err
	}
	for i, t := range tried {
		switch {
		case i < n.clients:
			f.rows, f.spoilt, f.turned = f.rows+t.rows, f.spoilt+t.spoilt, f.turned+t.turned
			if t.left {
				f.honest = append(f.honest, amber{n.clients + i, t.why})
			}
		case t.left && i < n.clients+n.others:
			f.again++
		case t.left:
			f.unseen++
		}
	}
	return nil
}

// A trial is what became of one honest client.
type trial struct {
	left   bool // green
	why    theft.Sighting
	rows   int
	spoilt float64 // change of its answers in L1, summed, if amber answers are altered
	turned int     // of its answers, those whose top class changed
}

// watch returns what looks at each row of the client.
func (t *trial) watch(c *theft.Calibration) func(*theft.Asked) bool {
	e, guard := theft.NewExtraction(c), firewall.ModelGuard{Epsilon: 1}
	return func(a *theft.Asked) bool {
		t.rows++
		if s, ok := e.See(a); ok {
			t.left, t.why = true, s
		}
		if said := slices.Clone(a.Scores); t.left && guard.Row(said, a.Scores) == "" {
			t.spoil(said, a.Scores)
		}
		return true
	}
}

// spoil counts how an altered answer differs from the true one.
func (t *trial) spoil(said, scores []float64) {
	for k, v := range said {
		t.spoilt += math.Abs(v - scores[k])
	}
	if top(said) != top(scores) {
		t.turned++
	}
}

// hunt plays one thief who hides among rows of an honest client, until it is found. The rows
// are 0 if it is not.
func (w *world) hunt(c *theft.Calibration, own stream, share, most int, seed uint64) theft.Sighting {
	rng := rand.New(rand.NewPCG(seed, uint64(share)))
	h, e := w.habits(rng, plain), theft.NewExtraction(c)
	for range most {
		row := []float32(nil)
		if rng.IntN(100) >= share {
			row = w.draw(rng, h)
		} else if len(own) > 0 {
			row, own = own[0], own[1:]
		} else {
			break
		}
		if s, ok := e.See(w.answered("thief", row)); ok {
			return s
		}
	}
	return theft.Sighting{}
}

// at is the rows within which a share of the thieves are found; 0: they are not.
func at(sorted []int, share float64) int {
	missed, _ := slices.BinarySearch(sorted, 1)
	list := sorted[missed:]
	if i := int(math.Ceil(share*float64(len(sorted)))) - 1; i < len(list) {
		return list[i]
	}
	return 0
}

func (f *finding) report(w *world) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s The calibration has %d clients, of whom %d set the threshold: a bound of %.2g %%.\n\n", strings.ToUpper(w.about[:1])+w.about[1:], f.c.Clients, f.c.Judged, 100*f.c.Bound)
	heads := []string{"attack"}
	for _, s := range shares {
		heads = append(heads, fmt.Sprintf("%d %%: found, median, p95", s))
	}
	t := result.NewTable(append(heads, "by")...)
	for _, k := range attacks {
		cells := []string{k.name}
		for _, s := range shares {
			cells = append(cells, cell(f.found[k.name][s]))
		}
		t.Row(append(cells, names(f.why[k.name]))...)
	}
	b.WriteString(t.String() + "\n" + f.goals())
	low, high := anomaly.ClopperPearson(len(f.honest), f.tried, 0.95)
	fmt.Fprintf(&b, "\nOf %d other honest clients %d left green: %.2f %% (%.2f to %.2f %%).", f.tried, len(f.honest), 100*float64(len(f.honest))/float64(f.tried), 100*low, 100*high)
	for _, a := range f.honest {
		fmt.Fprintf(&b, " Client %d: %s.", a.client, a.s.Evidence)
	}
	fmt.Fprintf(&b, " If answers to who is amber are altered (ModelGuard-W, ε = 1), honest clients' %d answers change by %.5f in L1 on average, and the top class of %d.", f.rows, f.spoilt/float64(f.rows), f.turned)
	fmt.Fprintf(&b, " Of %d whom the calibration has seen, and who go on, %d left green; of %d who ask in bursts of thirty rows of one class, as none of the calibration does, %d.\n", f.of.others, f.again, f.of.others, f.unseen)
	return b.String()
}

// aimed are the attacks that are to be found: noise, near rows, knockoffs, Jacobian
// augmentation, and searches along lines.
var aimed = []string{"random", "gaussian", "near-ood", "knockoff-random", "knockoff-adaptive", "jbda", "jbda-tr", "line-search"}

// goals holds what was measured to what was aimed at.
func (f *finding) goals() string {
	t := result.NewTable("goal", "measured", "")
	for _, goal := range []struct{ share, rows int }{{100, 300}, {25, 1000}} {
		worst, name := 0, ""
		for _, attack := range aimed {
			median := at(f.found[attack][goal.share], 0.5)
			if median == 0 {
				median = math.MaxInt
			}
			if median > worst {
				worst, name = median, attack
			}
		}
		said := fmt.Sprintf("%d, %s", worst, name)
		if worst == math.MaxInt {
			said = "fewer than half of " + name + " are found"
		}
		t.Row(fmt.Sprintf("noise, near rows, knockoffs, jbda and line-search, at %d %%: half of each found within %d rows", goal.share, goal.rows), said, result.Met(worst <= goal.rows))
	}
	share := float64(len(f.honest)) / float64(f.tried)
	t.Row(fmt.Sprintf("at most %.1f %% of other honest clients leave green", 100*alpha), fmt.Sprintf("%.2f %%", 100*share), result.Met(share <= alpha))
	return t.String()
}

// cell says how many were found, and after how many rows.
func cell(sorted []int) string {
	said := func(n int) string {
		if n == 0 {
			return "—"
		}
		return fmt.Sprint(n)
	}
	missed, _ := slices.BinarySearch(sorted, 1)
	return fmt.Sprintf("%d of %d, %s, %s", len(sorted)-missed, len(sorted), said(at(sorted, 0.5)), said(at(sorted, 0.95)))
}

// names are the detectors that found, the ones that found most first.
func names(why map[string]int) string {
	list := make([]string, 0, len(why))
	for name := range why {
		list = append(list, name)
	}
	slices.SortFunc(list, func(a, b string) int {
		if why[a] != why[b] {
			return why[b] - why[a]
		}
		return strings.Compare(a, b)
	})
	return strings.Join(list[:min(3, len(list))], ", ")
}
