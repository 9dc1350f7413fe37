package poison_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/pavise/pavise/internal/poison"
)

// people is a generated table: two kinds of rows, columns that depend on the kind, on each
// other and on nothing, one of texts.
func people(n int, rng *rand.Rand) *poison.Table {
	t := &poison.Table{Classes: []string{"good", "bad"}}
	for j := range 14 {
		t.Columns = append(t.Columns, poison.Column{Name: "c" + strconv.Itoa(j)})
	}
	t.Columns[13].Texts = []string{"red", "green", "blue", "black"}
	for range n {
		y := rng.IntN(2)
		z := rng.NormFloat64()
		for j := range t.Columns {
			x := math.Round(100*(rng.NormFloat64()+0.7*z*float64(j%2)+1.5*float64(y)*float64(j%3))) / 100
			switch {
			case j == 13:
				x = float64(rng.IntN(2) + 2*y*rng.IntN(2))
			case j > 9:
				x = math.Floor(math.Abs(3 * x))
			}
			t.Columns[j].Values = append(t.Columns[j].Values, x)
		}
		t.Labels = append(t.Labels, y)
	}
	return t
}

func screened(t *testing.T, table, baseline *poison.Table) *poison.Report {
	t.Helper()
	v, err := poison.Prepare(table, baseline, 1)
	if err != nil {
		t.Fatal(err)
	}
	var found []poison.Finding
	for _, j := range v.Jobs() {
		found = append(found, j.Run())
	}
	return v.Combine(found)
}

// poisons plant what they say into a table and return the rows.
var poisons = map[string]func(t *poison.Table, rng *rand.Rand) []int{
	"flips": func(t *poison.Table, rng *rand.Rand) []int {
		rows := rng.Perm(t.Rows())[:t.Rows()/20]
		for _, i := range rows {
			t.Labels[i] = 1 - t.Labels[i]
		}
		return rows
	},
	"trigger of three": func(t *poison.Table, rng *rand.Rand) []int {
		var rows []int
		for _, i := range rng.Perm(t.Rows()) {
			if t.Labels[i] == 0 && len(rows) < 60 {
				rows = append(rows, i)
				t.Columns[0].Values[i], t.Columns[4].Values[i], t.Columns[11].Values[i] = 0.77, -0.31, 4
			}
		}
		return rows
	},
	"cluster":       planted(0.02),
	"loose cluster": planted(0.7),
}

// planted puts 60 rows around one of class 1 that are called 0.
func planted(away float64) func(*poison.Table, *rand.Rand) []int {
	return func(t *poison.Table, rng *rand.Rand) []int {
		rows := rng.Perm(t.Rows())[:60]
		center := slices.Index(t.Labels, 1)
		for _, i := range rows {
			for j := range t.Columns {
				x := t.Columns[j].Values[center]
				if j < 10 {
					x += away * rng.NormFloat64()
				}
				t.Columns[j].Values[i] = x
			}
			t.Labels[i] = 0
		}
		return rows
	}
}

// TestPoisonsRankHigh plants each poison by a seed: among as many rows as are poisoned, those
// with the worst scores must be the poisoned ones, nearly all.
func TestPoisonsRankHigh(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and nothing pure races")
	}
	for name, plant := range poisons {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(11, 4))
			table := people(2000, rng)
			rows := plant(table, rng)
			r := screened(t, table, nil)
			hits := 0
			for _, i := range rows {
				if r.Rows[i].Rank <= len(rows)*3/2 {
					hits++
				}
			}
			if hits*10 < len(rows)*8 {
				t.Errorf("%d of %d poisoned rows are among the worst %d", hits, len(rows), len(rows)*3/2)
			}
		})
	}
}

// TestCleanRowsPass: at most one in a hundred rows of clean data is to be quarantined, with a
// baseline and without.
func TestCleanRowsPass(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and nothing pure races")
	}
	rng := rand.New(rand.NewPCG(12, 4))
	table, baseline := people(1500, rng), people(1500, rng)
	for _, b := range []*poison.Table{nil, baseline} {
		n := 0
		for _, row := range screened(t, table, b).Rows {
			if row.Score >= 1 {
				n++
			}
		}
		if n > 15 {
			t.Errorf("%d of 1500 clean rows are to be quarantined (baseline: %v)", n, b != nil)
		}
	}
}

// TestSameSeedSameReport: all chance comes from the seed.
func TestSameSeedSameReport(t *testing.T) {
	table := people(400, rand.New(rand.NewPCG(13, 4)))
	a, b := screened(t, table, nil), screened(t, table, nil)
	for i := range a.Rows {
		if a.Rows[i].Score != b.Rows[i].Score || a.Rows[i].Rank != b.Rows[i].Rank {
			t.Fatalf("row %d: %v and then %v", i, a.Rows[i], b.Rows[i])
		}
	}
}

// TestOddTables: tables that leave nothing to look at are screened without a word too much.
func TestOddTables(t *testing.T) {
	nan := math.NaN()
	tables := map[string]*poison.Table{
		"one row":   {Columns: []poison.Column{{Name: "a", Values: []float64{1}}}, Labels: []int{0}, Classes: []string{"x"}},
		"two rows":  {Columns: []poison.Column{{Name: "a", Values: []float64{1, 2}}}, Labels: []int{0, 1}, Classes: []string{"x", "y"}},
		"no column": {Labels: make([]int, 200), Classes: []string{"x"}},
		"constant":  {Columns: []poison.Column{{Name: "a", Values: make([]float64, 200)}}, Labels: make([]int, 200), Classes: []string{"x"}},
		"nothing":   {Columns: []poison.Column{{Name: "a", Values: slices.Repeat([]float64{nan}, 200)}}, Labels: make([]int, 200), Classes: []string{"x"}},
	}
	for name, table := range tables {
		for _, b := range []*poison.Table{nil, table} {
			for _, row := range screened(t, table, b).Rows {
				if row.Score >= 1 || math.IsNaN(row.Score) {
					t.Errorf("%s: a row has the score %v", name, row.Score)
				}
			}
		}
	}
	if _, err := poison.Prepare(&poison.Table{}, nil, 1); err == nil {
		t.Error("a table without rows is screened")
	}
}

// TestCellsThatReachFar: one cell of any size neither moves the rows of its column nor makes
// a score that is no number.
func TestCellsThatReachFar(t *testing.T) {
	for _, cells := range [][]float64{{-1e15}, {1e308, -1e308}, {math.Inf(1), math.Inf(-1)}, {5e-324}} {
		clean := people(400, rand.New(rand.NewPCG(14, 4)))
		spoilt := people(400, rand.New(rand.NewPCG(14, 4)))
		for k, x := range cells {
			for j := range 3 {
				spoilt.Columns[j].Values[k] = x
			}
		}
		before, after := screened(t, clean, nil), screened(t, spoilt, nil)
		moved := 0
		for i, row := range after.Rows {
			if math.IsNaN(row.Score) || math.IsInf(row.Score, 0) {
				t.Fatalf("%v: row %d has the score %v", cells, i, row.Score)
			}
			if math.Abs(row.Score-before.Rows[i].Score) > 0.5 {
				moved++
			}
		}
		if moved > 20 {
			t.Errorf("%v: %d of 400 rows have another score", cells, moved)
		}
		if _, err := json.Marshal(after); err != nil {
			t.Errorf("%v: %v", cells, err)
		}
	}
	v, err := poison.Prepare(people(200, rand.New(rand.NewPCG(15, 4))), people(200, rand.New(rand.NewPCG(16, 4))), 1)
	if err != nil {
		t.Fatal(err)
	}
	r := v.Combine([]poison.Finding{{Evidence: slices.Repeat([]float32{float32(math.NaN())}, 400), Limit: 2}})
	if r.Rows[0].Score != 1 {
		t.Errorf("evidence that is no number is a score of %v", r.Rows[0].Score)
	}
}

// TestBaselineKeepsTheLimit: whatever its baseline, a screen whose evidence ends somewhere
// can be reached; and of trusted rows it takes no more than one in 200 for poison, where fewer do
// not end there.
func TestBaselineKeepsTheLimit(t *testing.T) {
	v, err := poison.Prepare(people(1000, rand.New(rand.NewPCG(15, 4))), people(1000, rand.New(rand.NewPCG(16, 4))), 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bounded bool
		trusted func(i int) float32
		want    float64
	}{
		"all end there":              {true, func(int) float32 { return 3 }, 3},
		"a few are above the limit":  {true, func(i int) float32 { return float32(i / 997 * 3) }, 2.5},
		"many are above the limit":   {true, func(i int) float32 { return 2 + float32(i)/1000 }, 2.995},
		"none are near it":           {true, func(int) float32 { return 0 }, 1.5},
		"its evidence ends nowhere":  {false, func(int) float32 { return 3 }, 3.3},
		"and a baseline is far away": {false, func(int) float32 { return 9 }, 5},
	} {
		evidence := slices.Repeat([]float32{3}, 2000)
		for i := range 1000 {
			evidence[1000+i] = c.trusted(i)
		}
		r := v.Combine([]poison.Finding{{Evidence: evidence, Limit: 2.5, Bounded: c.bounded}})
		if got := r.Screens[0].Limit; math.Abs(got-c.want) > 1e-6 || c.bounded && r.Rows[0].Score < 1 {
			t.Errorf("%s: the limit is %v, want %v, and a row at the end scores %v", name, got, c.want, r.Rows[0].Score)
		}
	}
}

// TestClassesThatAreHardPass: classes that are rare, that are nearly one row, that hardly
// differ from another, and that are one row for the most part, are no poison for it.
func TestClassesThatAreHardPass(t *testing.T) {
	for name, class := range map[string]func(i int, table *poison.Table, rng *rand.Rand) bool{
		"few rows": func(i int, _ *poison.Table, _ *rand.Rand) bool { return i < 15 },
		"a guess":  func(i int, _ *poison.Table, rng *rand.Rand) bool { return rng.IntN(20) == 0 },
		"one row":  func(i int, table *poison.Table, rng *rand.Rand) bool { return i < 60 && like(table, i, rng, 0.001) },
		"mostly one": func(i int, table *poison.Table, rng *rand.Rand) bool {
			return i < 750 && (i%25 < 2 || like(table, i, rng, 0))
		},
	} {
		rng := rand.New(rand.NewPCG(17, 4))
		table := people(1500, rng)
		table.Classes = append(table.Classes, "third")
		for i := range table.Rows() {
			if class(i, table, rng) {
				table.Labels[i] = 2
			}
		}
		bad := 0
		for i, row := range screened(t, table, nil).Rows {
			if table.Labels[i] == 2 && row.Score >= 1 {
				bad++
			}
		}
		if bad > 3 {
			t.Errorf("%s: %d rows of the class are to be quarantined", name, bad)
		}
	}
}

// like makes a row one like the first, nearly.
func like(table *poison.Table, i int, rng *rand.Rand, by float64) bool {
	for j := range table.Columns {
		c := table.Columns[j].Values
		c[i] = c[0]
		if j < 10 {
			c[i] += by * rng.NormFloat64()
		}
	}
	return true
}
