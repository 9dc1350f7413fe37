package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise/internal/poison"
)

// A cloud is a cluster of rows that somebody puts in: many that lie close together around one
// place, and are called another class than what lies there.
type cloud struct {
	form   form
	jitter float64 // in each column that differs: shares of the value, or of the column's deviation
	share  float64 // of the rows that there were
	from   int     // the class that they lie in
	called int
}

// A form is how the rows of a cloud are made.
type form string

const (
	copies  form = "copies of a row"
	half    form = "copies of a row, half of the columns differ"
	mean    form = "around the mean of five rows"
	between form = "half way to a row of the other class"
)

// clouds are the clusters that are drawn: those of the study's kind in three sizes, and others.
func clouds(w *world) (list []cloud) {
	both := func(f form, jitter, share float64) {
		list = append(list, cloud{f, jitter, share, w.attack, w.benign}, cloud{f, jitter, share, w.benign, w.attack})
	}
	list = append(list, cloud{form: copies}) // nothing
	for _, share := range []float64{0.005, 0.01, 0.02} {
		both(copies, 0.05, share)
	}
	for _, jitter := range []float64{0, 0.01, 0.03, 0.1} {
		both(copies, jitter, 0.01)
	}
	both(half, 0.05, 0.01)
	both(mean, 0.05, 0.01)
	both(between, 0.01, 0.01)
	return list
}

const cloudTable = 15000 // rows of a file that clusters are put into

// clusters measures injected clusters on NSL-KDD's test set, draw by draw.
func clusters(ctx context.Context, out *strings.Builder, seeds int) error {
	w, err := flows("KDDTest+.txt.gz")
	if err != nil {
		return err
	}
	list := clouds(w)
	for _, based := range []bool{false, true} {
		how := "without a baseline"
		if based {
			how = "with a baseline"
		}
		drawn := make([]draw, len(list)*seeds)
		var group errgroup.Group
		group.SetLimit(runtime.GOMAXPROCS(0))
		for k := range drawn {
			group.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				d, err := list[k/seeds].draw(w, based, rand.New(rand.NewPCG(uint64(k%seeds), uint64(k/seeds))))
				fmt.Fprintf(os.Stderr, "%s: %s %d |\n", how, d.line, k%seeds)
				drawn[k] = d
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		fmt.Fprintf(out, "\n### nsl-kdd's test set, %s\n\n%d rows, and the cluster; %d seeds, each with rows of its own around a place of its own.\n\n", how, cloudTable, seeds)
		fmt.Fprintf(out, "| rows | differ by | of the file | called | AUC | caught | clean rows | seed |\n|---|---|---|---|---|---|---|---|\n")
		all, ranked, none, n := 0, 0, 0, 0
		for k, d := range drawn {
			fmt.Fprintf(out, "%s %d |\n", d.line, k%seeds)
			if d.planted {
				n++
				all, none, ranked = all+one(d.caught >= 0.99), none+one(d.caught < 0.1), ranked+one(d.area >= 0.98)
			}
		}
		fmt.Fprintf(out, "\nOf %d draws with a cluster %d have an AUC of 0.98 or more; in %d at least 99 %% of it are in quarantine, in %d less than 10 %%.\n", n, ranked, all, none)
	}
	return nil
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// A draw is what came of one cluster.
type draw struct {
	line         string // of the table, but for the seed
	planted      bool
	area, caught float64
}

// draw puts a cloud into rows of a world and screens them.
func (c cloud) draw(w *world, based bool, rng *rand.Rand) (draw, error) {
	file, baseline := w.draw(cloudTable, rng)
	if !based {
		baseline = nil
	}
	file, bad := c.add(file, rng)
	report, _, err := screen(file, baseline)
	if err != nil {
		return draw{}, err
	}
	score := make([]float64, len(bad))
	caught, planted, clean := 0, 0, 0
	for i, row := range report.Rows {
		score[i] = row.Score
		switch {
		case bad[i]:
			planted++
			if row.Score >= 1 {
				caught++
			}
		case row.Score >= 1:
			clean++
		}
	}
	others := fmt.Sprintf("%d of %d (%.2f %%)", clean, len(bad)-planted, 100*float64(clean)/float64(len(bad)-planted))
	if planted == 0 {
		return draw{line: fmt.Sprintf("| none | | | | | | %s |", others)}, nil
	}
	d := draw{planted: true, area: auc(score, bad), caught: float64(caught) / float64(planted)}
	d.line = fmt.Sprintf("| %s | %g %% | %g %% | %s | %.3f | %d of %d | %s |", c.form, 100*c.jitter, 100*c.share, file.Classes[c.called], d.area, caught, planted, others)
	return d, nil
}

// add appends the rows of a cloud to a table, in places drawn by chance, and says which they are.
func (c cloud) add(t *poison.Table, rng *rand.Rand) (*poison.Table, []bool) {
	center, loose := c.center(t, rng)
	n, more := t.Rows(), int(c.share*float64(t.Rows()))
	out := &poison.Table{Classes: t.Classes, Labels: make([]int, n+more)}
	bad, place := make([]bool, n+more), rng.Perm(n+more)
	for i, at := range place {
		if bad[at] = i >= n; bad[at] {
			out.Labels[at] = c.called
		} else {
			out.Labels[at] = t.Labels[i]
		}
	}
	for j := range t.Columns {
		col := &t.Columns[j]
		value := make([]float64, n+more)
		whole := whole(col.Values)
		for i, at := range place {
			switch {
			case i < n:
				value[at] = col.Values[i]
			case col.Texts != nil || !loose[j]:
				value[at] = center[j]
			default:
				x := center[j] + c.spread(col, center[j])*rng.NormFloat64()
				if whole {
					x = math.Round(x)
				} else {
					x = math.Round(1e4*x) / 1e4
				}
				value[at] = x
			}
		}
		out.Columns = append(out.Columns, poison.Column{Name: col.Name, Texts: col.Texts, Values: value})
	}
	return out, bad
}

// spread is how far rows of a cloud lie from its centre in a column.
func (c cloud) spread(col *poison.Column, x float64) float64 {
	if c.form != between {
		return c.jitter * math.Abs(x)
	}
	mid, square, values := 0.0, 0.0, known(col.Values)
	for _, x := range values {
		mid += x / float64(len(values))
	}
	for _, x := range values {
		square += (x - mid) * (x - mid) / float64(len(values))
	}
	return c.jitter * math.Sqrt(square)
}

// center draws the place that the rows lie around, and which columns differ between them.
func (c cloud) center(t *poison.Table, rng *rand.Rand) (center []float64, loose []bool) {
	of := 1
	if c.form == mean {
		of = 5
	}
	rows := some(t, c.from, of, rng)
	near := some(t, c.called, 1, rng)[0]
	for j := range t.Columns {
		col := &t.Columns[j]
		x := col.Values[rows[0]]
		if col.Texts == nil && c.form == mean {
			x = 0
			for _, i := range rows {
				x += col.Values[i] / float64(len(rows))
			}
		}
		if col.Texts == nil && c.form == between {
			x = (x + col.Values[near]) / 2
		}
		if col.Texts == nil && whole(col.Values) {
			x = math.Round(x)
		}
		center = append(center, x)
		loose = append(loose, c.form != half || rng.IntN(2) == 0)
	}
	return center, loose
}

// whole reports whether all values are whole numbers.
func whole(values []float64) bool {
	for _, x := range known(values) {
		if x != math.Trunc(x) {
			return false
		}
	}
	return true
}
