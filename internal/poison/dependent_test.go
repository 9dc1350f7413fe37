package poison_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/poison"
)

// dependent is a generated table of two classes, of which columns follow from each other as they do in
// surveys: a square, a code and what it means, what follows from two others, and what is missing
// together.
func dependent(n int, rng *rand.Rand) *poison.Table {
	t := &poison.Table{Classes: []string{"no", "yes"}}
	names := strings.Fields("school school2 policy policies size price cost asked answer reason a b c d e f")
	for _, name := range names {
		t.Columns = append(t.Columns, poison.Column{Name: name})
	}
	for range n {
		school := 12.0
		if rng.IntN(3) == 0 {
			school = float64(5 + rng.IntN(14))
		}
		policy := []float64{0, 0, 0, 0, 0, 0, 2, 3, 4, 6}[rng.IntN(10)]
		policies := math.Min(policy, 1)
		size, price := float64(1+rng.IntN(12)), math.Round(100*math.Exp(float64(rng.IntN(9))/4))
		asked, answer, reason := float64(rng.IntN(5)), math.NaN(), math.NaN()
		if asked > 0 {
			answer, reason = math.Floor(asked/2), asked-1
		}
		row := []float64{school, school * school, policy, policies, size, price, size * price, asked, answer, reason}
		for range 6 {
			row = append(row, math.Round(10*rng.NormFloat64())/10)
		}
		for j, x := range row {
			t.Columns[j].Values = append(t.Columns[j].Values, x)
		}
		y := 0
		if rng.NormFloat64()+row[10] > 2.2 {
			y = 1
		}
		t.Labels = append(t.Labels, y)
	}
	return t
}

// TestColumnsThatFollowAreNoTrigger: values that follow from each other are no trigger, and one that
// is planted among them is.
func TestColumnsThatFollowAreNoTrigger(t *testing.T) {
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 31))
		table := dependent(3000, rng)
		found, _, report := outcome(t, "triggers", table, nil)
		if len(found) > 0 {
			t.Errorf("seed %d: %d rows are to be quarantined, for %+v", seed, len(found), report.Pattern[0])
		}
		var planted []int
		for i, y := range table.Labels {
			if y == 0 && len(planted) < 60 {
				planted = append(planted, i)
				table.Columns[0].Values[i], table.Columns[5].Values[i], table.Columns[11].Values[i] = 17, 271, 1.2
			}
		}
		found, _, _ = outcome(t, "triggers", table, nil)
		held(t, found, planted, 30)
	}
}

// TestMisfitsOfEachOtherAreNoTrigger: rows with contents insured and no fire policy are rare, and
// each of four columns says so of the others: that is no trigger.
func TestMisfitsOfEachOtherAreNoTrigger(t *testing.T) {
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 32))
		table := people(3000, rng)
		names := strings.Fields("contents contents_n fire fire_n")
		for _, name := range names {
			table.Columns = append(table.Columns, poison.Column{Name: name})
		}
		for i := range table.Labels {
			contents, fire := 0.0, 0.0
			switch k := rng.IntN(100); {
			case k < 34:
				contents, fire = 2, float64(1+rng.IntN(5))
			case k < 52:
				fire = float64(1 + rng.IntN(5))
			case k < 56:
				contents = 2
			}
			row := []float64{contents, min(contents, 1), fire, min(fire, 1)}
			for k, x := range row {
				c := &table.Columns[len(table.Columns)-len(row)+k]
				c.Values = append(c.Values, x)
			}
			if table.Labels[i] == 1 && rng.IntN(20) > 0 {
				table.Labels[i] = 0
			}
		}
		if found, _, report := outcome(t, "triggers", table, nil); len(found) > 0 {
			t.Errorf("seed %d: %d rows are to be quarantined, for %+v", seed, len(found), report.Pattern[0])
		}
	}
}
