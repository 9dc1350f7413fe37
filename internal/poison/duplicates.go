package poison

import (
	"fmt"
	"math"
)

// quota is the share of the file that one source may send of rows that are nearly the same.
const quota = 0.01

// duplicates is the screen of rows that are there more than once: those that are the same in
// every column and called something else than most of their like, and how much of the file
// nearly the same rows of one source are.
func (v *View) duplicates() Finding {
	const screen = "duplicates"
	if len(v.features) == 0 {
		return silent(screen, "no column tells rows apart")
	}
	f := Finding{Screen: screen, Evidence: make([]float32, v.all), Limit: 3.1}
	same := make([]uint64, v.all)
	for j := range v.features {
		for i, c := range v.features[j].code {
			same[i] = mix(same[i], uint64(c))
		}
	}
	count := map[uint64]map[int]int{}
	for i, h := range same {
		if count[h] == nil {
			count[h] = map[int]int{}
		}
		count[h][v.label[i]]++
	}
	exact, contrary := 0, 0
	for i := range v.all {
		of := count[same[i]]
		mine, other := of[v.label[i]], 0
		for y, n := range of {
			if y != v.label[i] {
				other = max(other, n)
			}
		}
		if i < v.rows && mine+other > 1 {
			exact++
		}
		if other > 0 {
			if i < v.rows {
				contrary++
			}
			f.Evidence[i] = float32(math.Log(float64(other)+0.5) - math.Log(float64(mine)+0.5))
		}
	}
	f.Reason = func(i int) string {
		return fmt.Sprintf("of the rows that are the same in every column, %d are %q as it is, and more are not", count[same[i]][v.label[i]], v.classes[v.label[i]])
	}
	if exact > 0 {
		f.Remarks = append(f.Remarks, fmt.Sprintf("%d rows are the same as another one, in every column; %d of them are called something else", exact, contrary))
	}
	f.Remarks = append(f.Remarks, v.quotas()...)
	return f
}

// quotas says which sources send more than their quota of nearly the same rows.
func (v *View) quotas() (remarks []string) {
	if v.source == nil {
		return nil
	}
	type lot struct {
		source int
		twin   int32
	}
	rows := map[lot]int{}
	for i, s := range v.source {
		rows[lot{s, v.twin[i]}]++
	}
	extra := make([]int, len(v.sources))
	for l, n := range rows {
		extra[l.source] += n - 1
	}
	for s, n := range extra {
		if n >= 20 && float64(n) > quota*float64(v.rows) && len(remarks) < 20 {
			remarks = append(remarks, fmt.Sprintf("source %q sent %d rows that are nearly the same as others of its own, %.1f %% of the file; %.0f %% is its quota", v.sources[s], n, 100*float64(n)/float64(v.rows), 100*quota))
		}
	}
	return remarks
}
