package poison_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pavise/pavise/internal/poison"
)

// quarantined returns how many of the rows, and how many others, are to be quarantined.
func quarantined(r *poison.Report, bad []int) (hits, others int) {
	is := map[int]bool{}
	for _, i := range bad {
		is[i] = true
	}
	for i, row := range r.Rows {
		switch {
		case row.Score < 1:
		case is[i]:
			hits++
		default:
			others++
		}
	}
	return hits, others
}

// TestValuesThatFollow: where a value follows from another in every class, and is of one class
// for the most part, labels that are flipped make no trigger of the two.
func TestValuesThatFollow(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 4))
	table := people(2000, rng)
	past, ratio := poison.Column{Name: "past"}, poison.Column{Name: "ratio"}
	for i := range table.Rows() {
		x, r := float64(1+rng.IntN(9)), float64(rng.IntN(4000))
		if rng.Float64() < []float64{0.08, 0.85}[table.Labels[i]] {
			x, r = 0, 0
		}
		past.Values, ratio.Values = append(past.Values, x), append(ratio.Values, r)
	}
	table.Columns = append(table.Columns, past, ratio)
	var flipped []int
	for _, i := range rng.Perm(table.Rows()) {
		if table.Labels[i] == 1 && len(flipped) < 100 {
			table.Labels[i] = 0
			flipped = append(flipped, i)
		}
	}
	r := screened(t, table, nil)
	if _, others := quarantined(r, flipped); others > 20 {
		t.Errorf("%d clean rows are to be quarantined; the strongest trigger is %+v", others, r.Pattern[0])
	}
}

// TestDecoys: a trigger that is in rows of another class, too, a third as often, is found.
func TestDecoys(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 4))
	table := people(2000, rng)
	var bad []int
	count := []int{0, 0}
	for _, i := range rng.Perm(table.Rows()) {
		y := table.Labels[i]
		if count[y]++; count[y] > []int{60, 20}[y] {
			continue
		}
		table.Columns[0].Values[i], table.Columns[4].Values[i], table.Columns[11].Values[i] = 0.77, -0.31, 4
		if y == 0 {
			bad = append(bad, i)
		}
	}
	if hits, _ := quarantined(screened(t, table, nil), bad); hits < 50 {
		t.Errorf("%d of %d rows with the trigger are to be quarantined", hits, len(bad))
	}
}

// TestMedianTriggers: a trigger of three medians, which are no rare values, is found in rows of
// the class that it is of, and of those that have the values anyway few are taken for it.
func TestMedianTriggers(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 4))
	table := people(2000, rng)
	columns := []int{2, 7, 12}
	var values []float64
	for _, j := range columns {
		sorted := slices.Sorted(slices.Values(table.Columns[j].Values))
		values = append(values, sorted[len(sorted)/2])
	}
	var bad []int
	for _, i := range rng.Perm(table.Rows()) {
		if table.Labels[i] == 0 && len(bad) < 60 {
			for k, j := range columns {
				table.Columns[j].Values[i] = values[k]
			}
			bad = append(bad, i)
		}
	}
	if hits, others := quarantined(screened(t, table, nil), bad); hits < 55 || others > 20 {
		t.Errorf("%d of %d rows with the trigger and %d others are to be quarantined", hits, len(bad), others)
	}
}
