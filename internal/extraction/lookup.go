package extraction

import (
	"cmp"
	"math"
	"slices"

	"github.com/pavise/pavise/internal/learn"
)

// The bounds of a table of scores and what a perturbation makes of them.
const (
	tableRows = 4000
	nearby    = 8
)

// undone estimates the scores behind perturbed ones: the thief takes what a first copy
// says, sharper and softer, for scores as the victim may have them, perturbs those, and
// looks up which of them came out like the answer (the partial Bayes attack and D-DAE's
// idea, in Tang and others, "ModelGuard", 2024, section 6).
func undone(answers, guesses learn.Matrix, perturb func([]float32)) learn.Matrix {
	before, after := shadows(guesses, perturb)
	byTop := make([][]int, answers.Cols)
	for i, top := range after.ArgMax() {
		byTop[top] = append(byTop[top], i)
	}
	plain := probabilities(answers, Scores)
	for i, top := range answers.ArgMax() {
		likely := byTop[top]
		if len(likely) == 0 {
			continue
		}
		type candidate struct {
			row  int
			away float64
		}
		list := make([]candidate, len(likely))
		for k, r := range likely {
			list[k] = candidate{r, apart(after.Row(r), answers.Row(i))}
		}
		slices.SortFunc(list, func(a, b candidate) int { return cmp.Or(cmp.Compare(a.away, b.away), a.row-b.row) })
		list = list[:min(nearby, len(list))]
		row := plain.Row(i)
		clear(row)
		for _, c := range list {
			for j, v := range before.Row(c.row) {
				row[j] += v / float32(len(list))
			}
		}
	}
	return plain
}

// shadows are scores that a victim may have, and what becomes of them.
func shadows(guesses learn.Matrix, perturb func([]float32)) (before, after learn.Matrix) {
	heats := []float64{0.5, 1, 2}
	n := min(guesses.Rows, tableRows/len(heats))
	before = learn.NewMatrix(0, guesses.Cols)
	for i := range n {
		for _, heat := range heats {
			row, sum := make([]float32, guesses.Cols), 0.0
			for j, p := range guesses.Row(i * guesses.Rows / n) {
				row[j] = float32(math.Pow(max(float64(p), 1e-9), 1/heat))
				sum += float64(row[j])
			}
			for j := range row {
				row[j] = float32(float64(row[j]) / sum)
			}
			grow(&before, row)
		}
	}
	after = learn.Matrix{Rows: before.Rows, Cols: before.Cols, Data: slices.Clone(before.Data)}
	for i := range after.Rows {
		perturb(after.Row(i))
	}
	return before, after
}

// apart is the L1 distance of two rows.
func apart(a, b []float32) (sum float64) {
	for j, v := range a {
		sum += math.Abs(float64(v - b[j]))
	}
	return sum
}
