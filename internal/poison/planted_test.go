package poison_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/poison"
)

// outcome runs the screens on what plant made of a table, and returns what one of them found: the
// rows that it alone sends to quarantine, and its remarks.
func outcome(t *testing.T, screen string, table, baseline *poison.Table, more ...[][]float32) (rows map[int]bool, remarks string, report *poison.Report) {
	t.Helper()
	v, err := poison.Prepare(table, baseline, 1)
	if err != nil {
		t.Fatal(err)
	}
	jobs := v.Jobs()
	for _, embeddings := range more {
		jobs = append(jobs, v.Spectral(embeddings))
	}
	var found []poison.Finding
	for _, j := range jobs {
		if j.Screen == screen {
			found = append(found, j.Run())
		}
	}
	if len(found) != 1 || found[0].Silence != "" {
		t.Fatalf("%s: %+v", screen, found)
	}
	report, rows = v.Combine(found), map[int]bool{}
	for i, row := range report.Rows {
		if row.Score >= 1 {
			rows[i] = true
		}
	}
	return rows, strings.Join(found[0].Remarks, "\n"), report
}

// held holds the rows that a screen found to those that were planted: all of them, and no more
// than a few others.
func held(t *testing.T, found map[int]bool, planted []int, others int) {
	t.Helper()
	hits := 0
	for _, i := range planted {
		if found[i] {
			hits++
		}
	}
	if hits < len(planted) || len(found)-hits > others {
		t.Errorf("%d of %d planted rows are among %d to quarantine", hits, len(planted), len(found))
	}
}

// TestDuplicatesThatContradict copies rows, many times, and calls one copy of each something else.
func TestDuplicatesThatContradict(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 4))
	table := people(1000, rng)
	var planted []int
	for of := range 3 {
		from := 100 * of
		for k := range 40 {
			i := from + 1 + k
			for j := range table.Columns {
				table.Columns[j].Values[i] = table.Columns[j].Values[from]
			}
			table.Labels[i] = table.Labels[from]
		}
		table.Labels[from+40] = 1 - table.Labels[from]
		planted = append(planted, from+40)
	}
	found, remarks, _ := outcome(t, "duplicates", table, nil)
	held(t, found, planted, 0)
	if !strings.Contains(remarks, "are the same as another one") {
		t.Errorf("it remarks %q", remarks)
	}
}

// sent says of each row who sent it, of so many sources in turn.
func sent(table *poison.Table, sources int) {
	for s := range sources {
		table.Names = append(table.Names, fmt.Sprint("source ", s))
	}
	for i := range table.Rows() {
		table.Sources = append(table.Sources, i%sources)
	}
}

// TestSourceThatDiffers moves a column of one of five sources; that is remarked, and no row gets a
// score for it.
func TestSourceThatDiffers(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 4))
	table := people(1500, rng)
	sent(table, 5)
	for i, s := range table.Sources {
		if s == 3 {
			table.Columns[1].Values[i] += 2
		}
	}
	found, remarks, report := outcome(t, "contrast", table, nil)
	held(t, found, nil, 0)
	if len(report.Shifts) == 0 || report.Shifts[0].Part != "source 3" || report.Shifts[0].Column != table.Columns[1].Name {
		t.Errorf("%+v", report.Shifts)
	}
	if !strings.Contains(remarks, `of "source 3" is not distributed as elsewhere`) {
		t.Errorf("it remarks %q", remarks)
	}
}

// TestManySources has the source that differs behind 300 that sent little: it is looked at, for
// it sent most, and how many were not is said.
func TestManySources(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 4))
	table := people(1500, rng)
	sent(table, 300)
	table.Names = append(table.Names, "the last")
	for i := range 400 {
		table.Sources[i] = 300
		table.Columns[1].Values[i] += 2
	}
	_, remarks, report := outcome(t, "contrast", table, nil)
	if len(report.Shifts) == 0 || report.Shifts[0].Part != "the last" {
		t.Errorf("%+v", report.Shifts)
	}
	if !strings.Contains(remarks, "256 sources with most rows were looked at, and 45 others were not") {
		t.Errorf("it remarks %q", remarks)
	}
}

// TestSourceThatHarms turns the labels of one of five sources: its rows are to be quarantined, for
// a model that learns from them is worse on the baseline.
func TestSourceThatHarms(t *testing.T) {
	rng := rand.New(rand.NewPCG(24, 4))
	table, baseline := people(1500, rng), people(1000, rng)
	sent(table, 5)
	var planted []int
	for i, s := range table.Sources {
		if s == 2 {
			table.Labels[i] = 1 - table.Labels[i]
			planted = append(planted, i)
		}
	}
	found, remarks, report := outcome(t, "sources", table, baseline)
	held(t, found, planted, 0)
	if !strings.Contains(remarks, `source "source 2" does harm`) || len(report.Sources) != 5 {
		t.Errorf("it remarks %q of %+v", remarks, report.Sources)
	}
}

// TestEmbeddingsThatStandOut moves the embeddings of some rows of a class one way together.
func TestEmbeddingsThatStandOut(t *testing.T) {
	rng := rand.New(rand.NewPCG(25, 4))
	table := people(1000, rng)
	var planted []int
	embeddings := make([][]float32, table.Rows())
	for i := range embeddings {
		for range 16 {
			embeddings[i] = append(embeddings[i], float32(rng.NormFloat64()))
		}
		if table.Labels[i] == 0 && len(planted) < 15 {
			planted = append(planted, i)
			for k := range 8 {
				embeddings[i][k] += 8
			}
		}
	}
	found, _, _ := outcome(t, "spectral", table, nil, embeddings)
	held(t, found, planted, 5)
}
