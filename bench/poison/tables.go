package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pavise/pavise/internal/poison"
)

// planted is what the tables of a directory are poisoned with: what sends fewer clean rows to
// quarantine must not send fewer of these.
func planted() []attack {
	return []attack{
		{name: "none", act: func(s *scene) []bool { return make([]bool, s.file.Rows()) }},
		{name: "flips 1 %", act: func(s *scene) []bool { return flips(s, 0.01, false) }},
		{name: "trigger 1 %, 3 usual", act: func(s *scene) []bool { return trigger(s, 0.01, 3, "usual", true) }},
		{name: "trigger 1 %, 3 odd", act: func(s *scene) []bool { return trigger(s, 0.01, 3, "odd", true) }},
		{name: "clean-label trigger 2 %, 3 usual", act: func(s *scene) []bool { return trigger(s, 0.02, 3, "usual", false) }},
	}
}

// directory measures every CSV file of a directory, whose column called label has the class: a third
// of its rows is the baseline.
func directory(dir string, seeds int, only string) func(context.Context, *strings.Builder) error {
	return func(ctx context.Context, out *strings.Builder) error {
		files, err := filepath.Glob(filepath.Join(dir, "*.csv"))
		if err != nil {
			return err
		}
		if dir == "" || len(files) == 0 {
			return errors.New("it takes --dir, a directory of CSV files: poison/tables.py makes one")
		}
		list := slices.DeleteFunc(planted(), func(a attack) bool { return a.name != "none" && !strings.Contains(a.name, only) })
		for _, based := range []bool{false, true} {
			how := "without a baseline"
			if based {
				how = "with a third of the rows as a baseline"
			}
			fmt.Fprintf(out, "\n### %s\n\n%d draws; of clean rows the share in quarantine, and the screens that sent more than one in 1,000 there; of poison the AUC and the share in quarantine.\n\n| table | rows × columns | classes | clean rows | by |", how, seeds)
			for _, a := range list[1:] {
				fmt.Fprintf(out, " %s |", a.name)
			}
			fmt.Fprintf(out, "\n|---|%s\n", strings.Repeat("---|", 3+len(list)))
			if err := measured(ctx, out, files, list, based, seeds); err != nil {
				return err
			}
		}
		return nil
	}
}

// measured writes the lines of all files, as many at once as there are processors.
func measured(ctx context.Context, out *strings.Builder, files []string, list []attack, based bool, seeds int) error {
	lines := make([]string, len(files))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for k, file := range files {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			w, err := tableOf(file)
			if err != nil {
				return err
			}
			lines[k], err = w.held(list, based, seeds)
			fmt.Fprint(os.Stderr, lines[k])
			return err
		})
	}
	err := group.Wait()
	fmt.Fprint(out, strings.Join(lines, ""))
	return err
}

// held is the line of one table.
func (w *world) held(list []attack, based bool, seeds int) (string, error) {
	t := trial{world: w, based: based, rows: w.all.Rows() - w.all.Rows()/3, seeds: seeds}
	line := fmt.Sprintf("| %s | %d × %d | %d |", w.name, t.rows, len(w.all.Columns), len(w.all.Classes))
	for _, a := range list {
		one := tally{area: map[string]float64{}, by: map[string]int{}}
		for seed := range seeds {
			if _, err := one.draw(t, a, uint64(seed)); err != nil {
				return "", fmt.Errorf("%s, %s: %w", w.name, a.name, err)
			}
		}
		if one.bad > 0 {
			line += fmt.Sprintf(" %.3f, %.0f %% |", one.area["all"], 100*float64(one.caught)/float64(one.bad))
			continue
		}
		line += fmt.Sprintf(" %.2f %% |", 100*float64(one.clean)/float64(one.good))
		for _, s := range slices.Sorted(maps.Keys(one.by)) {
			if 1000*one.by[s] > one.good {
				line += fmt.Sprintf(" %s %.1f %%", s, 100*float64(one.by[s])/float64(one.good))
			}
		}
		line += " |"
	}
	return line + "\n", nil
}

// tableOf reads a table that is taken for clean. A column is of numbers if most of its cells are;
// poison is called what most rows are called, and is of the next class.
func tableOf(file string) (*world, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	label := slices.Index(lines[0], "label")
	if label < 0 {
		return nil, fmt.Errorf("%s: it has no column called label", file)
	}
	t := &poison.Table{}
	for j, head := range lines[0] {
		if j == label {
			classes := column(lines[1:], j, true)
			t.Classes = classes.Texts
			for _, y := range classes.Values {
				t.Labels = append(t.Labels, int(y))
			}
			continue
		}
		if c := column(lines[1:], j, false); len(known(c.Values)) > 0 {
			c.Name = head
			t.Columns = append(t.Columns, c)
		}
	}
	count := make([]int, len(t.Classes))
	for _, y := range t.Labels {
		count[y]++
	}
	order := make([]int, len(count))
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(count[b], count[a]) })
	if len(order) < 2 {
		return nil, fmt.Errorf("%s: all its rows are of one class", file)
	}
	return &world{name: strings.TrimSuffix(filepath.Base(file), ".csv"), all: t, benign: order[0], attack: order[1]}, nil
}

// column makes a column of cells: of texts if it is to be, or if most cells are no numbers.
func column(lines [][]string, j int, texts bool) (c poison.Column) {
	words, codes := 0, map[string]int{}
	c.Texts, c.Values = []string{}, make([]float64, len(lines))
	numbers := make([]float64, len(lines))
	for i, cells := range lines {
		x, err := strconv.ParseFloat(cells[j], 64)
		if numbers[i] = x; err != nil {
			numbers[i] = math.NaN()
		}
		switch {
		case cells[j] == "":
			words--
		case err != nil:
			words += 2
		}
		k, ok := codes[cells[j]]
		if !ok {
			k = len(c.Texts)
			c.Texts, codes[cells[j]] = append(c.Texts, cells[j]), k
		}
		c.Values[i] = float64(k)
	}
	if !texts && words < len(lines) {
		c.Texts, c.Values = nil, numbers
	}
	return c
}
