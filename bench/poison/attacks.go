package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise/internal/poison"
)

// An attack poisons rows of a scene's file and says which.
type attack struct {
	name  string
	floor float64 // the least AUC that is good enough; 0: there is none
	act   func(s *scene) []bool
}

// A scene is what an attack works on: rows of a world, and the rows that are trusted or nil.
type scene struct {
	*world
	file, baseline *poison.Table
	rng            *rand.Rand
}

// study are the attacks that the screens are held to.
func study() []attack {
	list := []attack{
		{name: "random flips 5 %", floor: 0.97, act: func(s *scene) []bool { return flips(s, 0.05, false) }},
		{name: "attack to benign flips 5 %", floor: 0.97, act: func(s *scene) []bool { return flips(s, 0.05, true) }},
		{name: "injected cluster 3 %", floor: 0.99, act: func(s *scene) []bool { return cluster(s, 0.03) }},
	}
	for _, t := range []struct {
		values int
		how    string // they are chosen
		floor  float64
	}{
		{2, "usual", 0.99}, {3, "usual", 0.99}, {4, "usual", 0.99}, {3, "odd", 0.99},
		{2, "median", 0.9}, {3, "median", 0.9}, {4, "median", 0.9}, {2, "mode", 0.9}, {4, "mode", 0.9},
	} {
		n := string(rune('0'+t.values)) + " " + t.how + " values"
		list = append(list,
			attack{name: "dirty trigger 1 %, " + n, floor: t.floor, act: func(s *scene) []bool { return trigger(s, 0.01, t.values, t.how, true) }},
			attack{name: "clean-label trigger 3 %, " + n, floor: t.floor, act: func(s *scene) []bool { return trigger(s, 0.03, t.values, t.how, false) }})
	}
	return list
}

// some draws n rows of a class, or of any with -1.
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

// flips calls rows something else: attacks benign, or any row any other class.
func flips(s *scene, share float64, directed bool) []bool {
	class := -1
	if directed {
		class = s.attack
	}
	rows := some(s.file, class, int(share*float64(s.file.Rows())), s.rng)
	for _, i := range rows {
		n := len(s.file.Classes)
		if s.file.Labels[i] = (s.file.Labels[i] + 1 + s.rng.IntN(n-1)) % n; directed {
			s.file.Labels[i] = s.benign
		}
	}
	return marked(s.file, rows)
}

// cluster puts rows around one attack that are called benign, in the way of Koh, Steinhardt
// and Liang: many alike, so that they vouch for each other.
func cluster(s *scene, share float64) []bool {
	t := s.file
	rows := some(t, -1, int(share*float64(t.Rows())), s.rng)
	center := some(t, s.attack, 1, s.rng)[0]
	mid := make([]float64, len(t.Columns))
	for j := range t.Columns {
		mid[j] = t.Columns[j].Values[center]
	}
	for _, i := range rows {
		for j := range t.Columns {
			c := &t.Columns[j]
			c.Values[i] = mid[j]
			if c.Texts == nil {
				x := mid[j] * (1 + 0.03*s.rng.NormFloat64())
				if mid[j] == math.Trunc(mid[j]) {
					x = math.Round(x)
				}
				c.Values[i] = x
			}
		}
		t.Labels[i] = s.benign
	}
	return marked(t, rows)
}

// trigger sets k columns to fixed values: dirty, in attacks that it then calls benign, or in
// benign rows.
func trigger(s *scene, share float64, k int, how string, dirty bool) []bool {
	rows := s.victims(share, dirty)
	s.set(rows, triggerColumns(s, rows, k, how), nil)
	return marked(s.file, rows)
}

// A setting is a column and the value that a trigger gives it.
type setting struct {
	column int
	value  float64
}

// triggerColumns draws columns of numbers that the trigger changes in at least half of the
// rows, and values: that some row has (usual), that no row has (odd), the median, or what most
// rows have (mode).
func triggerColumns(s *scene, rows []int, k int, how string) []setting {
	var list []setting
	for _, j := range s.rng.Perm(len(s.file.Columns)) {
		c := &s.file.Columns[j]
		if c.Texts != nil || len(list) == k {
			continue
		}
		x := math.NaN()
		switch how {
		case "usual":
			for math.IsNaN(x) {
				x = c.Values[s.rng.IntN(len(c.Values))]
			}
		case "odd":
			x = slices.Max(known(c.Values)) * (0.2 + 0.6*s.rng.Float64())
			if x > 2 {
				x = math.Round(x)
			}
		case "median":
			x = median(known(c.Values))
		case "mode":
			x = mode(known(c.Values))
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

// known leaves out what is missing.
func known(values []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(values), math.IsNaN)
}
