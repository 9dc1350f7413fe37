package poison_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/poison"
)

// overlapping is a generated table of three classes that lie in each other.
func overlapping(n int, rng *rand.Rand) *poison.Table {
	t := &poison.Table{Classes: []string{"stays", "goes", "rises"}}
	for _, name := range strings.Fields("hours rating pay age") {
		t.Columns = append(t.Columns, poison.Column{Name: name})
	}
	for range n {
		y := rng.IntN(3)
		hours := 40 + 9*float64(y) + 7*rng.NormFloat64()
		rating := float64(1+rng.IntN(3)) + float64(y/2)*float64(rng.IntN(3))
		for j, x := range []float64{hours, rating, float64(rng.IntN(6)), 20 + 40*rng.Float64()} {
			t.Columns[j].Values = append(t.Columns[j].Values, x)
		}
		t.Labels = append(t.Labels, y)
	}
	return t
}

// TestOverlapIsNoPoison: where classes overlap, at most one row in 100 is to be quarantined by each
// screen of labels, the worst, and the report says why.
func TestOverlapIsNoPoison(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and nothing pure races")
	}
	for _, screen := range []string{"labels", "neighbours"} {
		said := 0
		for seed := range uint64(2) {
			table := overlapping(4000, rand.New(rand.NewPCG(seed, 41)))
			found, _, report := outcome(t, screen, table, nil)
			t.Logf("%s, seed %d: %d of %d, %v", screen, seed, len(found), table.Rows(), report.Screens[0].Remarks)
			if 100*len(found) > table.Rows() {
				t.Errorf("%s, seed %d: %d of %d rows are to be quarantined", screen, seed, len(found), table.Rows())
			}
			if strings.Contains(strings.Join(report.Screens[0].Remarks, "\n"), "as where classes overlap") {
				said++
			}
		}
		if said == 0 {
			t.Errorf("%s: no remark says that classes overlap", screen)
		}
	}
}

// TestTurnedLabelsStandOut: labels that were turned in classes that lie apart are not taken for overlap:
// more of them are to be quarantined than one row in 200.
func TestTurnedLabelsStandOut(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 42))
	table := people(3000, rng)
	for i, y := range table.Labels {
		for j := range 8 {
			table.Columns[j].Values[i] += 4 * float64(y)
		}
	}
	turned := rng.Perm(table.Rows())[:table.Rows()/20]
	for _, i := range turned {
		table.Labels[i] = 1 - table.Labels[i]
	}
	for _, screen := range []string{"labels", "neighbours"} {
		found, remarks, _ := outcome(t, screen, table, nil)
		hits := 0
		for _, i := range turned {
			if found[i] {
				hits++
			}
		}
		if 5*hits < len(turned) || len(found)-hits > 15 {
			t.Errorf("%s: %d of %d turned labels are among %d to quarantine: %s", screen, hits, len(turned), len(found), remarks)
		}
	}
}
