package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise/internal/poison"
)

// An attack poisons rows of a table and says which.
type attack struct {
	name  string
	floor float64 // the least AUC that is good enough
	act   func(w *world, t *poison.Table, rng *rand.Rand) []bool
}

// attacks are those of the study, and the two that its miner did not find.
func attacks() []attack {
	list := []attack{
		{name: "random flips 5 %", floor: 0.97, act: func(w *world, t *poison.Table, rng *rand.Rand) []bool { return flips(w, t, 0.05, false, rng) }},
		{name: "attack to benign flips 5 %", floor: 0.97, act: func(w *world, t *poison.Table, rng *rand.Rand) []bool { return flips(w, t, 0.05, true, rng) }},
		{name: "injected cluster 3 %", floor: 0.99, act: cluster},
	}
	for _, k := range []int{2, 3, 4} {
		for _, how := range []string{"usual", "odd", "median", "mode"} {
			floor := 0.99
			if how == "median" || how == "mode" || k == 3 {
				floor = 0.9
			}
			n := string(rune('0' + k))
			list = append(list,
				attack{name: "dirty trigger 1 %, " + n + " " + how + " values", floor: floor, act: func(w *world, t *poison.Table, rng *rand.Rand) []bool {
					return trigger(w, t, 0.01, k, how, true, rng)
				}},
				attack{name: "clean-label trigger 3 %, " + n + " " + how + " values", floor: floor, act: func(w *world, t *poison.Table, rng *rand.Rand) []bool {
					return trigger(w, t, 0.03, k, how, false, rng)
				}})
		}
	}
	return list
}

// some draws n rows of a class.
func some(t *poison.Table, class, n int, rng *rand.Rand) []int {
	var rows []int
	for _, i := range rng.Perm(t.Rows()) {
		if (class < 0 || t.Labels[i] == class) && len(rows) < n {
			rows = append(rows, i)
		}
	}
	return rows
}

func marked(t *poison.Table, rows []int) []bool {
	bad := make([]bool, t.Rows())
	for _, i := range rows {
		bad[i] = true
	}
	return bad
}

func flips(w *world, t *poison.Table, share float64, directed bool, rng *rand.Rand) []bool {
	class := -1
	if directed {
		class = w.attack
	}
	rows := some(t, class, int(share*float64(t.Rows())), rng)
	for _, i := range rows {
		t.Labels[i] = w.benign + w.attack - t.Labels[i]
	}
	return marked(t, rows)
}

// cluster puts rows around one attack that are called benign, in the way of Koh, Steinhardt
// and Liang: many alike, so that they vouch for each other.
func cluster(w *world, t *poison.Table, rng *rand.Rand) []bool {
	rows := some(t, -1, int(0.03*float64(t.Rows())), rng)
	center := some(t, w.attack, 1, rng)[0]
	mid := make([]float64, len(t.Columns))
	for j := range t.Columns {
		mid[j] = t.Columns[j].Values[center]
	}
	for _, i := range rows {
		for j := range t.Columns {
			c := &t.Columns[j]
			c.Values[i] = mid[j]
			if c.Texts == nil {
				x := mid[j] * (1 + 0.03*rng.NormFloat64())
				if mid[j] == math.Trunc(mid[j]) {
					x = math.Round(x)
				}
				c.Values[i] = x
			}
		}
		t.Labels[i] = w.benign
	}
	return marked(t, rows)
}

// trigger sets k columns to fixed values: dirty, in attacks that it then calls benign, or in
// benign rows.
func trigger(w *world, t *poison.Table, share float64, k int, how string, dirty bool, rng *rand.Rand) []bool {
	from := w.benign
	if dirty {
		from = w.attack
	}
	rows := some(t, from, int(share*float64(t.Rows())), rng)
	for _, j := range triggerColumns(t, rows, k, how, rng) {
		c := &t.Columns[j.column]
		for _, i := range rows {
			c.Values[i] = j.value
		}
	}
	for _, i := range rows {
		t.Labels[i] = w.benign
	}
	return marked(t, rows)
}

// A setting is a column and the value that a trigger gives it.
type setting struct {
	column int
	value  float64
}

// triggerColumns draws columns of numbers that the trigger changes in at least half of the
// rows, and values: that some row has (usual), that no row has (odd), or the median.
func triggerColumns(t *poison.Table, rows []int, k int, how string, rng *rand.Rand) []setting {
	var list []setting
	for _, j := range rng.Perm(len(t.Columns)) {
		c := &t.Columns[j]
		if c.Texts != nil || len(list) == k {
			continue
		}
		x := median(c.Values)
		switch how {
		case "mode":
			x = mode(c.Values)
		case "usual":
			x = c.Values[rng.IntN(len(c.Values))]
		case "odd":
			x = slices.Max(c.Values) * (0.2 + 0.6*rng.Float64())
			if x > 2 {
				x = math.Round(x)
			}
		}
		changed := 0
		for _, i := range rows {
			if c.Values[i] != x {
				changed++
			}
		}
		if 2*changed >= len(rows) {
			list = append(list, setting{j, x})
		}
	}
	return list
}
