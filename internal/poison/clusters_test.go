package poison_test

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/pavise/pavise/internal/poison"
)

// bells is a table of two classes, one of them a share of the rows, that overlap: its columns
// are normal and differ by so much between them.
func bells(n, columns int, share, apart float64, rng *rand.Rand) *poison.Table {
	t := &poison.Table{Classes: []string{"good", "bad"}}
	for range n {
		y := 0
		if rng.Float64() < share {
			y = 1
		}
		t.Labels = append(t.Labels, y)
	}
	for j := range columns {
		c := poison.Column{Name: "c" + strconv.Itoa(j)}
		for _, y := range t.Labels {
			c.Values = append(c.Values, rng.NormFloat64()+apart*float64(y))
		}
		t.Columns = append(t.Columns, c)
	}
	return t
}

// inject makes rows of a place near one of a class and calls them another.
func inject(t *poison.Table, n, from int, away float64, rng *rand.Rand) (rows []int) {
	center := -1
	for _, i := range rng.Perm(t.Rows()) {
		if center < 0 && t.Labels[i] == from {
			center = i
		} else if len(rows) < n {
			rows = append(rows, i)
		}
	}
	for _, i := range rows {
		for j := range t.Columns {
			t.Columns[j].Values[i] = t.Columns[j].Values[center] + away*rng.NormFloat64()
		}
		t.Labels[i] = 1 - from
	}
	return rows
}

// TestClusterWhereClassesOverlap: rows that lie closer together than any others of the table are
// held to be poison where some of those around them are called the same.
func TestClusterWhereClassesOverlap(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 26))
		table := bells(2000, 10, 0.5, 1.2, rng)
		if found, _, _ := outcome(t, "clusters", table, nil); len(found) > 0 {
			t.Errorf("of clean rows, %d are to be quarantined", len(found))
		}
		rows := inject(table, 30, 1, 0.05, rng)
		found, _, _ := outcome(t, "clusters", table, nil)
		held(t, found, rows, 3)
	}
}

// TestLooseCluster: rows that lie among more of another class, and no closer together than those,
// are held to be one cluster, whatever lies between them.
func TestLooseCluster(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 27))
		table := bells(2000, 8, 0.5, 4, rng)
		var rows []int
		row := func(class int) {
			table.Labels = append(table.Labels, class)
			for j := range table.Columns {
				table.Columns[j].Values = append(table.Columns[j].Values, 4+0.3*rng.NormFloat64())
			}
		}
		for range 120 {
			row(1)
		}
		for range 60 {
			rows = append(rows, table.Rows())
			row(0)
		}
		found, _, _ := outcome(t, "clusters", table, nil)
		held(t, found, rows, 0)
	}
}

// TestOverlapIsNoCluster: where rows of two classes lie in the same places, those of
// the rarer class that lie close together are no cluster among strangers.
func TestOverlapIsNoCluster(t *testing.T) {
	for seed := range uint64(3) {
		table := bells(3000, 3, 0.1, 0.3, rand.New(rand.NewPCG(seed, 28)))
		if found, _, _ := outcome(t, "clusters", table, nil); len(found) > 0 {
			t.Errorf("of clean rows, %d are to be quarantined", len(found))
		}
	}
}
