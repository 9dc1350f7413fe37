package poison_test

import (
	"math/rand/v2"
	"testing"

	"github.com/pavise/pavise/internal/poison"
)

// noveltyOf screens a file by novelty alone.
func noveltyOf(t *testing.T, file, baseline *poison.Table) *poison.Report {
	t.Helper()
	v, err := poison.Prepare(file, baseline, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range v.Jobs() {
		if j.Screen == "novelty" {
			return v.Combine([]poison.Finding{j.Run()})
		}
	}
	t.Fatal("there is no screen of novelty")
	return nil
}

// TestNoveltyInLargeFiles: rows that the baseline has none like are found in a file that is
// many times larger, and hardly any other.
func TestNoveltyInLargeFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and nothing pure races")
	}
	rng := rand.New(rand.NewPCG(31, 4))
	file, baseline := people(6000, rng), people(400, rng)
	var bad []int
	for i := range 300 {
		for j := range 6 {
			file.Columns[j].Values[i] = 6 + rng.NormFloat64()/4
		}
		bad = append(bad, i)
	}
	hits, others := quarantined(noveltyOf(t, file, baseline), bad)
	if hits*10 < len(bad)*8 || others > 60 {
		t.Errorf("%d of %d rows that are new and %d others are to be quarantined", hits, len(bad), others)
	}
}
