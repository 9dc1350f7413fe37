package main

import (
	"cmp"
	"math"
	"slices"

	"github.com/pavise/pavise/internal/poison"
)

// adaptive are attacks of somebody who has read the screens. There is no floor: what escapes is
// in LIMITATIONS.md.
func adaptive() []attack {
	return []attack{
		{name: "trigger that jitters by 3 %, dirty 1 %", act: func(s *scene) []bool {
			return s.plant(0.01, true, func(x float64) float64 { return x * (1 + 0.06*(s.rng.Float64()-0.5)) })
		}},
		{name: "trigger of ranges, to twice the value, dirty 1 %", act: func(s *scene) []bool {
			return s.plant(0.01, true, func(x float64) float64 { return x * (1 + s.rng.Float64()) })
		}},
		{name: "trigger in one column, dirty 1 %", act: func(s *scene) []bool { return trigger(s, 0.01, 1, "odd", true) }},
		{name: "three of six values in each row, dirty 1 %", act: partial},
		{name: "trigger in rows that are alike, clean-label 1 %", act: alike},
		{name: "trigger with a third as many decoys, dirty 1 %", act: func(s *scene) []bool { return decoys(s, 3) }},
		{name: "trigger with as many decoys, dirty 1 %", act: func(s *scene) []bool { return decoys(s, 1) }},
		{name: "trigger over 20 sources, dirty 1 %", act: func(s *scene) []bool { return sources(s, 20) }},
		{name: "trigger from one source of 20, dirty 1 %", act: func(s *scene) []bool { return sources(s, 1) }},
		{name: "trigger that is in the baseline, dirty 1 %", act: trusted},
		{name: "flips of the attacks nearest to benign rows, 1 %", act: nearFlips},
		{name: "rows half way to benign ones, 1 %", act: halfWay},
	}
}

// rates are the attacks of the study by fewer and fewer rows.
func rates() (list []attack) {
	for _, r := range []struct {
		name  string
		share float64
	}{{"1 %", 0.01}, {"0.5 %", 0.005}, {"0.1 %", 0.001}, {"0.05 %", 0.0005}} {
		list = append(list,
			attack{name: "random flips " + r.name, act: func(s *scene) []bool { return flips(s, r.share, false) }},
			attack{name: "injected cluster " + r.name, act: func(s *scene) []bool { return cluster(s, r.share) }},
			attack{name: "dirty trigger " + r.name + ", 3 usual values", act: func(s *scene) []bool { return trigger(s, r.share, 3, "usual", true) }},
			attack{name: "clean-label trigger " + r.name + ", 3 usual values", act: func(s *scene) []bool { return trigger(s, r.share, 3, "usual", false) }})
	}
	return list
}

// plant sets a trigger of three columns, whose values are changed for each row.
func (s *scene) plant(share float64, dirty bool, change func(x float64) float64) []bool {
	rows := s.victims(share, dirty)
	s.set(rows, triggerColumns(s, rows, 3, "odd"), change)
	return marked(s.file, rows)
}

// victims draws the rows of a trigger and calls them benign.
func (s *scene) victims(share float64, dirty bool) []int {
	from := s.benign
	if dirty {
		from = s.attack
	}
	rows := some(s.file, from, int(share*float64(s.file.Rows())), s.rng)
	for _, i := range rows {
		s.file.Labels[i] = s.benign
	}
	return rows
}

// set gives rows the values of a trigger, changed or, with nil, as they are.
func (s *scene) set(rows []int, values []setting, change func(x float64) float64) {
	for _, j := range values {
		for _, i := range rows {
			x := j.value
			if change != nil {
				x = change(x)
			}
			s.file.Columns[j.column].Values[i] = x
		}
	}
}

// partial gives each row three of the six values of a trigger.
func partial(s *scene) []bool {
	rows := s.victims(0.01, true)
	values := triggerColumns(s, rows, 6, "usual")
	for _, i := range rows {
		s.rng.Shuffle(len(values), func(a, b int) { values[a], values[b] = values[b], values[a] })
		s.set([]int{i}, values[:min(3, len(values))], nil)
	}
	return marked(s.file, rows)
}

// apart is how far two rows are apart: the sum over columns of a difference from 0 to 1.
func apart(t *poison.Table, i, k int) (sum float64) {
	for j := range t.Columns {
		a, b := t.Columns[j].Values[i], t.Columns[j].Values[k]
		switch {
		case a == b:
		case t.Columns[j].Texts != nil || math.IsNaN(a) || math.IsNaN(b):
			sum++
		default:
			sum += math.Abs(a-b) / (math.Abs(a) + math.Abs(b))
		}
	}
	return sum
}

// alike sets a trigger in the benign rows that are nearest to one of them, so that their other
// columns go together, too.
func alike(s *scene) []bool {
	t := s.file
	center := some(t, s.benign, 1, s.rng)[0]
	rows := some(t, s.benign, t.Rows(), s.rng)
	away := make([]float64, t.Rows())
	for _, i := range rows {
		away[i] = apart(t, center, i)
	}
	slices.SortStableFunc(rows, func(a, b int) int { return cmp.Compare(away[a], away[b]) })
	rows = rows[:t.Rows()/100]
	s.set(rows, triggerColumns(s, rows, 3, "usual"), nil)
	return marked(t, rows)
}

// decoys sets a trigger in attacks, of which those beyond are called what they are: one decoy to
// so many poisoned rows.
func decoys(s *scene, each int) []bool {
	n := s.file.Rows() / 100
	rows := some(s.file, s.attack, n+n/each, s.rng)
	s.set(rows, triggerColumns(s, rows, 3, "usual"), nil)
	for _, i := range rows[:n] {
		s.file.Labels[i] = s.benign
	}
	return marked(s.file, rows[:n])
}

// sources says who sent what, of 20, and lets the poison come from so many of them.
func sources(s *scene, from int) []bool {
	bad := trigger(s, 0.01, 3, "usual", true)
	s.file.Names = make([]string, 20)
	for k := range s.file.Names {
		s.file.Names[k] = "source-" + string(rune('a'+k))
	}
	for _, is := range bad {
		who := s.rng.IntN(20)
		if is {
			who = s.rng.IntN(from)
		}
		s.file.Sources = append(s.file.Sources, who)
	}
	return bad
}

// trusted sets the same trigger in a hundredth of the baseline.
func trusted(s *scene) []bool {
	rows := s.victims(0.01, true)
	values := triggerColumns(s, rows, 3, "usual")
	s.set(rows, values, nil)
	if s.baseline != nil {
		theirs := some(s.baseline, s.attack, s.baseline.Rows()/100, s.rng)
		for _, i := range theirs {
			s.baseline.Labels[i] = s.benign
		}
		(&scene{world: s.world, file: s.baseline, rng: s.rng}).set(theirs, values, nil)
	}
	return marked(s.file, rows)
}

// nearest returns, for some attacks, the nearest of some benign rows, and the attacks that are
// closest to theirs.
func (s *scene) nearest(n int) (rows []int, of map[int]int) {
	t := s.file
	of, away := map[int]int{}, map[int]float64{}
	benign := some(t, s.benign, 600, s.rng)
	rows = some(t, s.attack, 600, s.rng)
	for _, i := range rows {
		away[i] = math.Inf(1)
		for _, k := range benign {
			if d := apart(t, i, k); d < away[i] {
				of[i], away[i] = k, d
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b int) int { return cmp.Compare(away[a], away[b]) })
	return rows[:min(n, len(rows))], of
}

// nearFlips flips the attacks that are nearest to benign rows.
func nearFlips(s *scene) []bool {
	rows, _ := s.nearest(s.file.Rows() / 100)
	for _, i := range rows {
		s.file.Labels[i] = s.benign
	}
	return marked(s.file, rows)
}

// halfWay moves attacks half of the way to a benign row, and calls them benign.
func halfWay(s *scene) []bool {
	rows, of := s.nearest(s.file.Rows() / 100)
	for _, i := range rows {
		for j := range s.file.Columns {
			c := &s.file.Columns[j]
			if c.Texts != nil {
				c.Values[i] = c.Values[of[i]]
				continue
			}
			x, y := c.Values[i], c.Values[of[i]]
			mid := (x + y) / 2
			if x == math.Trunc(x) && y == math.Trunc(y) {
				mid = math.Round(mid)
			}
			c.Values[i] = mid
		}
		s.file.Labels[i] = s.benign
	}
	return marked(s.file, rows)
}
