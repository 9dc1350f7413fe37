package poison_test

import (
	"compress/gzip"
	"encoding/csv"
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
		t.Skip("PAVISE_DATA names no data")
	}
	f, err := os.Open(filepath.Join(dir, "nsl-kdd", "KDDTrain+_20Percent.txt.gz"))
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
	below, pairs := 0.0, 0.0
	rows := screened(t, table, nil).Rows
	for i, bad := range flipped {
		for k, other := range flipped {
			if bad && !other {
				pairs++
				if rows[i].Rank < rows[k].Rank {
					below++
				}
			}
		}
	}
	if auc := below / pairs; auc < 0.97 || math.IsNaN(auc) {
		t.Errorf("flipped labels are told from others with an AUC of %.4f", auc)
	} else {
		t.Logf("AUC %.4f", auc)
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
