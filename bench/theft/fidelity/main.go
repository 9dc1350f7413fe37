// Command fidelity measures how like a model its copies are, against what was asked: each
// attack of ours against each defence, by a thief who believes the scores and by ones who
// know better.
//
// Run it from the bench directory; NSL-KDD is looked for in $PAVISE_DATA or ../../shared/data:
//
//	go run ./theft/fidelity [--seed 1] [--only mnist] [--seeds 3] [--write]
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

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/extraction"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/learn"
)

func main() { result.Main("theft/fidelity", run) }

// A world is a victim, what a thief holds, and the rows that copies are measured on.
type world struct {
	name   string
	words  string
	model  func(learn.Matrix) learn.Matrix
	data   extraction.Data
	held   learn.Set
	budget int
	lines  []line
}

// A line is one row of a table.
type line struct {
	attack, defence, answers, surrogate string
	budget, share                       int  // 0: the world's, all
	repeat                              int  // how often each row is asked, for the mean; 0: once
	last                                bool // measured at its end alone
	names, each                         int  // names that take turns asking, and the rows that one may ask; 0: one, any

	points []extraction.Point
}

var worlds = []struct {
	name string
	make func(uint64) (*world, error)
}{{"mnist", mnist}, {"mnist-linear", mnistLinear}, {"nsl-kdd", nslKDD}, {"nsl-kdd-tree", nslKDDTree}, {"sample", sample}}

func run(ctx context.Context) error {
	seed := flag.Uint64("seed", 1, "of everything")
	only := flag.String("only", "", "one world: mnist, mnist-linear, nsl-kdd, nsl-kdd-tree or sample")
	seeds := flag.Int("seeds", 0, "instead of the tables, whether the goals are the luck of a seed: so many, from --seed on")
	write := flag.Bool("write", false, "put the result into "+result.File)
	flag.Parse()
	conditions := result.Observe(".")
	b := &bench{seed: *seed, slots: make(chan struct{}, runtime.NumCPU())}
	if *seeds > 0 {
		text, err := b.luck(ctx, *seeds)
		if err != nil {
			return err
		}
		return keep("theft-seeds", text+"\n"+conditions.String(), *write)
	}
	reports := make([]string, len(worlds))
	group, ctx := errgroup.WithContext(ctx)
	for i, one := range worlds {
		if *only == "" || *only == one.name {
			group.Go(func() (err error) {
				reports[i], err = b.measure(ctx, one.name, one.make)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "## Model theft: fidelity against rows asked\n\nMade by `cd bench && go run ./theft/fidelity --seed %d --write`.\n\n%s", *seed, about)
	for _, report := range reports {
		text.WriteString(report)
	}
	text.WriteString("\nConditions:\n\n" + conditions.String())
	return keep("theft-fidelity", text.String(), *write)
}

// keep prints a section, and writes it where results are kept if it is to.
func keep(section, text string, write bool) error {
	fmt.Print(text)
	if !write {
		return nil
	}
	return result.Write(result.File, section, text)
}

const about = `The share of held-back rows on which copy and model agree, with half the width of its
95 % interval (Wilson). **scores** is a thief who believes what the defence lets out;
**top1** takes the class on top alone, which no defence here changes, so that it stands for
labels only, too; **lookup** knows the defence and undoes it by the scores that its first
copy says. A thief whose share is given hides among rows of the kind that honest callers ask, which are counted
and teach its copy nothing. One that **takes the mean** asks each row again; answers here are always the same, so that
it pays for nothing. **Names** take turns, and a budget is what each of them may ask. Copies are what ` + "`pavise redteam extract`" + ` makes: a perceptron of one layer of at most
64 units unless another is named; **own** is what the attack finds out itself. One seed; rows come from the same source as the model's own.
`

// A bench measures worlds beside each other: a processor has one line of a table to work on,
// or one victim.
type bench struct {
	seed  uint64
	slots chan struct{} // as many as there are processors
}

// do works once there is a processor for it, unless ctx ends.
func (b *bench) do(ctx context.Context, work func() error) error {
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-b.slots }()
	return work()
}

// measure trains the victim of a world, has it stolen, and says how like it the copies are.
func (b *bench) measure(ctx context.Context, name string, build func(uint64) (*world, error)) (string, error) {
	var w *world
	missing := b.do(ctx, func() (err error) {
		w, err = build(b.seed)
		return err
	})
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if missing != nil {
		fmt.Fprintln(os.Stderr, "left out:", missing)
		return fmt.Sprintf("\n### %s\n\nLeft out: its data are not here.\n", name), nil
	}
	held := extraction.Held{X: w.held.X, Victim: w.model(w.held.X).ArgMax(), Labels: w.held.Y}
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for i := range w.lines {
		l := &w.lines[i]
		group.Go(func() error {
			err := b.do(ctx, func() error { return w.steal(l, b.seed, held) })
			if err != nil {
				return fmt.Errorf("%s, %s, %s, %s: %w", name, l.who(), l.against(), l.answers, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, time.Since(began).Round(time.Second))
	return w.report(), nil
}

// steal runs one attack to its end and measures its copies.
func (w *world) steal(l *line, seed uint64, held extraction.Held) error {
	perturb := defend(l.defence)
	budget := w.budget
	if l.budget > 0 {
		budget = l.budget
	}
	a, err := extraction.New(extraction.Config{
		Attack: l.attack, Budget: budget, Seed: seed, Classes: w.model(learn.Matrix{Rows: 1, Cols: w.held.X.Cols, Data: w.held.X.Row(0)}).Cols,
		Answers: l.answers, Share: l.share, Repeat: l.repeat, Sybils: l.names,
	}, w.data)
	if err != nil {
		return err
	}
	for {
		rows, err := a.Next(512)
		if err != nil {
			return err
		}
		rows = l.admitted(a, rows)
		if rows.Rows == 0 {
			break
		}
		answers := w.model(rows)
		for i := range answers.Rows {
			if perturb != nil {
				perturb(answers.Row(i))
			}
		}
		if err := a.Answer(answers); err != nil {
			return err
		}
	}
	at := rungs(a.Rows())
	if l.last {
		at = at[len(at)-1:]
	}
	for _, n := range at {
		p, _, err := a.Measure(extraction.Theft{Surrogate: l.surrogate, Perturb: perturb}, n, held)
		if err != nil {
			return err
		}
		l.points = append(l.points, p)
	}
	return nil
}

// admitted are the first of some rows, as far as the names that ask them have budget left.
func (l *line) admitted(a *extraction.Attack, rows learn.Matrix) learn.Matrix {
	if l.each == 0 {
		return rows
	}
	names := a.Config().Sybils
	for i := range rows.Rows {
		if (a.Rows()+i)/names >= l.each { // names take turns
			return learn.Matrix{Rows: i, Cols: rows.Cols, Data: rows.Data[:i*rows.Cols]}
		}
	}
	return rows
}

// who is the attack with what it does to remain unseen, or to undo noise.
func (l *line) who() string {
	text := l.attack
	if l.share > 0 {
		text += fmt.Sprintf(", %d %% of the rows", l.share)
	}
	if l.repeat > 1 {
		text += fmt.Sprintf(", the mean of %d answers", l.repeat)
	}
	if l.names > 1 {
		text += fmt.Sprintf(", %d names", l.names)
	}
	return text
}

// against is the defence, the budget with it.
func (l *line) against() string {
	if l.each == 0 {
		return l.defence
	}
	return fmt.Sprintf("%d rows a name", l.each)
}

// rungs are those of the product's ladder from 300 on.
func rungs(rows int) []int {
	list := extraction.Ladder(rows)
	for len(list) > 1 && list[0] < 300 {
		list = list[1:]
	}
	return list
}

// defend is what a defence does to a row of scores; nil is nothing.
func defend(name string) func([]float32) {
	round, is := strings.CutPrefix(name, "round to ")
	switch {
	case is && round == "1 digit":
		return func(row []float32) {
			for k, v := range row {
				row[k] = float32(int(v*10+0.5)) / 10
			}
		}
	case name == "ModelGuard-W, ε = 1":
		return func(row []float32) {
			guard := firewall.ModelGuard{Epsilon: 1} // keeps room, and lines run side by side
			wide := make([]float64, len(row))
			for k, v := range row {
				wide[k] = float64(v)
			}
			if guard.Row(wide, wide) == "" {
				for k, v := range wide {
					row[k] = float32(v)
				}
			}
		}
	}
	return nil
}

func (w *world) report() string {
	heads := []string{"attack", "defence", "thief uses", "copy"}
	at := rungs(w.budget)
	for _, n := range at {
		heads = append(heads, fmt.Sprint(n))
	}
	t := result.NewTable(append(heads, "disclosed, KiB", "copy is right")...)
	for _, l := range w.lines {
		cells := []string{l.who(), l.against(), l.answers, l.surrogate}
		for _, n := range at {
			cells = append(cells, cellAt(l.points, n, at))
		}
		last, right := l.points[len(l.points)-1], "unknown"
		if last.Accuracy != nil {
			right = fmt.Sprintf("%.3f", last.Accuracy.Share)
		}
		t.Row(append(cells, fmt.Sprintf("%.0f", last.Bits/8192), right)...)
	}
	right := 0
	for i, top := range w.model(w.held.X).ArgMax() {
		if w.held.Y != nil && top == w.held.Y[i] {
			right++
		}
	}
	return fmt.Sprintf("\n### %s\n\n%s The model is right on %.3f of %d rows held back.\n\n%s%s", w.name, w.words, float64(right)/float64(w.held.X.Rows), w.held.X.Rows, t, w.goals())
}

// goals holds MNIST to what was aimed at for 10,000 rows of the model's own kind.
func (w *world) goals() string {
	if w.name != "mnist" {
		return ""
	}
	at := map[string]float64{}
	for _, l := range w.lines {
		if p := l.points[len(l.points)-1]; l.who() == "in-distribution" && l.each == 0 {
			at[l.defence+" "+l.answers] = p.Agreement.Share
		}
	}
	plain, naive := at["none "+extraction.Scores], at[guarded+" "+extraction.Scores]
	t := result.NewTable("goal, at 10,000 rows of the model's own kind", "measured", "")
	t.Row("undefended ≥ 0.96, or the other numbers say nothing", fmt.Sprintf("%.3f", plain), result.Met(plain >= 0.96))
	t.Row("ModelGuard-W, ε = 1, a thief who believes the scores: ≤ 0.60", fmt.Sprintf("%.3f", naive), result.Met(naive <= 0.6))
	t.Row("beside it, thieves who do not", fmt.Sprintf("%.3f by the top class alone, %.3f by undoing it", at["any "+extraction.Top1], at[guarded+" "+extraction.Lookup]), "")
	return "\n" + t.String()
}

// cellAt is the point of a number of rows; an attack that ended before has its last one
// under the number that it did not come to.
func cellAt(points []extraction.Point, n int, at []int) string {
	for i, p := range points {
		text := fmt.Sprintf("%.3f ± %.3f", p.Agreement.Share, (p.Agreement.High-p.Agreement.Low)/2)
		switch {
		case p.Rows == n:
			return text
		case i == len(points)-1 && p.Rows < n && !contains(at, p.Rows) && nextAbove(at, p.Rows) == n:
			return fmt.Sprintf("%s at %d", text, p.Rows)
		}
	}
	return ""
}

func contains(list []int, n int) bool { return nextAbove(list, n-1) == n }

// nextAbove is the first of a rising list that is larger than n.
func nextAbove(list []int, n int) int {
	for _, v := range list {
		if v > n {
			return v
		}
	}
	return -1
}

// perceptron trains a victim.
func perceptron(seed uint64, hidden []int, epochs int, train, validation learn.Set, classes int) (*learn.MLP, error) {
	return learn.Train(learn.Config{Hidden: hidden, Classes: classes, Epochs: epochs, Batch: 64, Rate: 2e-3}, train, validation, rand.New(rand.NewPCG(seed, 99)))
}
