package poison_test

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/pavise/pavise/internal/poison"
)

// kdd reads rows of NSL-KDD, drawn by a seed; told makes a class of an attack's name.
func kdd(t *testing.T, n int, seed uint64, told func(name string) string) *poison.Table {
	t.Helper()
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	f, err := os.Open(filepath.Join(dir, "nsl-kdd", "KDDTrain+_20Percent.txt.gz"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no data: set PAVISE_DATA")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	table := &poison.Table{Columns: make([]poison.Column, 41)}
	for _, i := range rand.New(rand.NewPCG(seed, 1)).Perm(len(lines))[:n] {
		for j := range table.Columns {
			c := &table.Columns[j]
			c.Name = strconv.Itoa(j)
			x, err := strconv.ParseFloat(lines[i][j], 64)
			if j >= 1 && j <= 3 {
				x, err = float64(numbered(&c.Texts, lines[i][j])), nil
			}
			if err != nil {
				t.Fatal(err)
			}
			c.Values = append(c.Values, x)
		}
		table.Labels = append(table.Labels, numbered(&table.Classes, told(lines[i][41])))
	}
	return table
}

// numbered is the place of a text in a list, which it is put at the end of where it is new.
func numbered(list *[]string, text string) int {
	k := slices.Index(*list, text)
	if k < 0 {
		k = len(*list)
		*list = append(*list, text)
	}
	return k
}

func attack(name string) string {
	if name == "normal" {
		return name
	}
	return "attack"
}

// TestFlipsInTraffic: labels of NSL-KDD that were flipped rank above the others.
func TestFlipsInTraffic(t *testing.T) {
	table := kdd(t, 4500, 7, attack)
	flipped := make([]bool, table.Rows())
	for _, i := range rand.New(rand.NewPCG(7, 2)).Perm(table.Rows())[:table.Rows()/20] {
		table.Labels[i], flipped[i] = 1-table.Labels[i], true
	}
	if auc := auc(screened(t, table, nil).Rows, flipped); auc < 0.97 || math.IsNaN(auc) {
		t.Errorf("flipped labels are told from others with an AUC of %.4f", auc)
	}
}

// auc is the share of pairs of a bad row and another in which the bad one looks worse.
func auc(rows []poison.Row, bad []bool) float64 {
	worse, pairs := 0.0, 0.0
	for i := range bad {
		for k := range bad {
			if bad[i] && !bad[k] {
				pairs++
				if rows[i].Rank < rows[k].Rank {
					worse++
				}
			}
		}
	}
	return worse / pairs
}

// TestFloorsInTraffic plants poisons into 3,000 rows of NSL-KDD or more, each by the seed 7: rows
// close together that are called normal, three values that no row has, and three that are the
// medians of their columns, both in attacks that are called normal.
func TestFloorsInTraffic(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and nothing pure races")
	}
	for _, tt := range []struct {
		name               string
		rows               int     // 0: 3,000
		away               float64 // of a cluster's rows from its middle, in shares of it
		recall, auc, share float64
		value              func(sorted []float64) float64
	}{
		{name: "a cluster", away: 0.03, recall: 0.99, auc: 0.99, share: 0.03},
		{name: "a cluster among more rows", rows: 15_000, away: 0.05, recall: 0.99, auc: 0.99, share: 0.03},
		{name: "fixed values", auc: 0.99, share: 0.02, value: func(sorted []float64) float64 { return 0.37 * sorted[len(sorted)-1] }},
		{name: "three medians", auc: 0.9, share: 0.02, value: func(sorted []float64) float64 { return sorted[len(sorted)/2] }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := kdd(t, cmp.Or(tt.rows, 3000), 7, attack)
			rng := rand.New(rand.NewPCG(7, 3))
			benign := slices.Index(table.Classes, "normal")
			bad, rows := make([]bool, table.Rows()), []int(nil)
			for _, i := range rng.Perm(table.Rows()) {
				if (tt.value == nil || table.Labels[i] != benign) && len(rows) < int(tt.share*float64(table.Rows())) {
					rows, bad[i] = append(rows, i), true
				}
			}
			if center := slices.Index(table.Labels, 1-benign); tt.value == nil {
				crowd(table, rows, center, tt.away, rng)
			} else {
				trigger(table, rows, tt.value, rng)
			}
			for _, i := range rows {
				table.Labels[i] = benign
			}
			found, hits := screened(t, table, nil).Rows, 0
			for _, i := range rows {
				if found[i].Score >= 1 {
					hits++
				}
			}
			recall, auc := float64(hits)/float64(len(rows)), auc(found, bad)
			t.Logf("%d of %d to quarantine, AUC %.4f", hits, len(rows), auc)
			if recall < tt.recall || !(auc >= tt.auc) {
				t.Errorf("recall %.3f, AUC %.4f; the floors are %g and %g", recall, auc, tt.recall, tt.auc)
			}
		})
	}
}

// crowd makes rows nearly the same as one.
func crowd(table *poison.Table, rows []int, center int, away float64, rng *rand.Rand) {
	for j := range table.Columns {
		c := &table.Columns[j]
		mid := c.Values[center]
		for _, i := range rows {
			if c.Values[i] = mid; c.Texts == nil {
				if c.Values[i] = mid * (1 + away*rng.NormFloat64()); mid == math.Trunc(mid) {
					c.Values[i] = math.Round(c.Values[i])
				}
			}
		}
	}
}

// trigger sets three columns of numbers, which that changes in half of the rows or more.
func trigger(table *poison.Table, rows []int, value func(sorted []float64) float64, rng *rand.Rand) {
	left := 3
	for _, j := range rng.Perm(len(table.Columns)) {
		c := &table.Columns[j]
		if c.Texts != nil || left == 0 {
			continue
		}
		x, changed := value(slices.Sorted(slices.Values(c.Values))), 0
		for _, i := range rows {
			if c.Values[i] != x {
				changed++
			}
		}
		if 2*changed < len(rows) {
			continue
		}
		left--
		for _, i := range rows {
			c.Values[i] = x
		}
	}
}

// TestTrafficPasses: at most one in a hundred rows of NSL-KDD is to be quarantined, by
// whether it is an attack and by which one it is.
func TestTrafficPasses(t *testing.T) {
	for name, told := range map[string]func(string) string{"attack or not": attack, "which attack": func(name string) string { return name }} {
		table := kdd(t, 4500, 7, told)
		bad, by := 0, map[string]int{}
		for _, row := range screened(t, table, nil).Rows {
			if row.Score >= 1 {
				bad++
				for _, r := range row.Reasons {
					if r.Score >= 1 {
						by[r.Screen]++
					}
				}
			}
		}
		t.Logf("%s: %d of %d, %v", name, bad, table.Rows(), by)
		if bad*100 > table.Rows() {
			t.Errorf("%s: %d of %d rows are to be quarantined: %v", name, bad, table.Rows(), by)
		}
	}
}
