package extraction

import (
	"github.com/pavise/pavise/internal/learn"
)

// jacobian grows few seeds by moving every row asked so far along the gradient of a copy
// (Papernot and others, "Practical Black-Box Attacks against Machine Learning", 2017,
// section 4): that of the class which the victim gave it, or, targeted, of a random other
// one (Juuti and others, "PRADA", 2019, T-RND). Each round doubles the rows.
type jacobian struct {
	targeted bool
	round    int
}

const (
	maxSeeds  = 150
	jumpShare = 0.1 // of a column's range, the λ of both papers
)

func (g *jacobian) plan(a *Attack, room int) (learn.Matrix, error) {
	if g.round++; g.round == 1 {
		return pick(a.data.Rows, a.seeds(min(room, max(10, min(maxSeeds, a.cfg.Budget/8))))), nil
	}
	from := a.rng.Perm(a.asked.Rows)
	from = from[:min(room, len(from))]
	clone, err := fitMLP(a, a.asked.Rows, a.targets(a.answers), jumpPasses)
	if err != nil {
		return learn.Matrix{}, err
	}
	rows, class := pick(a.asked, from), make([]int, len(from))
	top := a.answers.ArgMax()
	for i, r := range from {
		if class[i] = top[r]; g.targeted {
			class[i] = (top[r] + 1 + a.rng.IntN(a.cfg.Classes-1)) % a.cfg.Classes
		}
	}
	slope := clone.mlp.Gradient(clone.scale.apply(rows), class)
	for i := range rows.Rows {
		for j, c := range a.column {
			step := jumpShare * c.span()
			if c.whole {
				step = max(step, 1)
			}
			// The copy scales columns without turning them, so the sign is that of the row itself.
			switch s := slope.Row(i)[j]; {
			case s > 0:
				rows.Row(i)[j] = c.fit(float64(rows.Row(i)[j]) + step)
			case s < 0:
				rows.Row(i)[j] = c.fit(float64(rows.Row(i)[j]) - step)
			}
		}
	}
	return rows, nil
}

// jumpPasses is how many rows the copy of each round is shown, repeated ones counted.
const jumpPasses = 20_000

// seeds are rows of the data to begin with: of every class in turn, if labels are there.
func (a *Attack) seeds(n int) []int {
	order := a.rng.Perm(a.data.Rows.Rows)
	if a.data.Labels == nil {
		return order[:min(n, len(order))]
	}
	var byClass [][]int
	place := map[int]int{}
	for _, r := range order {
		at, known := place[a.data.Labels[r]]
		if !known {
			at = len(byClass)
			place[a.data.Labels[r]] = at
			byClass = append(byClass, nil)
		}
		byClass[at] = append(byClass[at], r)
	}
	var seeds []int
	for round := 0; len(seeds) < min(n, len(order)); round++ {
		for _, rows := range byClass {
			if round < len(rows) && len(seeds) < n {
				seeds = append(seeds, rows[round])
			}
		}
	}
	return seeds
}

func (g *jacobian) code(c *coder, a *Attack) { c.count(&g.round, a.cfg.Budget+1) }
