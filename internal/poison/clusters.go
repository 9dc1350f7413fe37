package poison

import (
	"fmt"
	"math"
	"slices"
)

// clusters is the screen of labels by the neighbourhood of whole clusters, in the spirit of
// Severi and others ("Model-agnostic clean-label backdoor mitigation in cybersecurity
// environments", arXiv 2407.08159): rows that lie close together are judged as one, by what
// lies around them all, so that many that are alike cannot vouch for each other.
func (v *View) clusters() Finding {
	const screen = "clusters"
	if len(v.classes) < 2 || len(v.features) == 0 || v.all < 100 {
		return silent(screen, "it takes two classes and 100 rows")
	}
	firsts, t := v.firstNear()
	f := Finding{Screen: screen, Evidence: make([]float32, v.all), Bounded: true, Limit: 2.6}
	reach := v.spacing(t, firsts)
	size := make([]int32, v.all)
	for _, share := range []float32{0.35, 0.6} {
		v.ball(t, firsts, share*reach, &f, size)
	}
	f.Reason = func(i int) string {
		return fmt.Sprintf("it is one of %d rows called %q that lie close together where nothing around them is", size[i], v.classes[v.label[i]])
	}
	return f
}

// spacing is the usual distance of a row to its third nearest.
func (v *View) spacing(t *thicket, firsts []int32) float32 {
	var away []float64
	var found []near
	for k := 0; k < len(firsts); k += max(len(firsts)/2000, 1) {
		if found = t.find(firsts[k], 3, found); len(found) > 0 {
			away = append(away, math.Sqrt(float64(found[len(found)-1].away)))
		}
	}
	slices.Sort(away)
	return float32(away[len(away)/2])
}

// ball judges clusters of one size: each row joins the nearest centre within reach, or is
// one. Clusters of few rows are left to the screens that look at rows.
func (v *View) ball(t *thicket, firsts []int32, reach float32, f *Finding, size []int32) {
	center := v.centers(t, firsts, reach)
	of := make([]int32, v.all)
	first := make([]int32, len(firsts))
	for _, i := range firsts {
		first[v.twin[i]] = i
	}
	classes := len(v.classes)
	count := make([]float32, v.all*classes)
	for i := range of {
		of[i] = center[first[v.twin[i]]]
		count[int(of[i])*classes+v.label[i]]++
	}
	var centers []int32
	for _, i := range firsts {
		if center[i] == i {
			centers = append(centers, i)
		}
	}
	if len(centers) < 3*neighbours {
		return
	}
	around := newThicket(v.point, centers, v.rng("around"))
	var found []near
	for _, c := range centers {
		for y, n := range count[int(c)*classes : int(c+1)*classes] {
			if n < 3 {
				continue // a few alone are no cluster
			}
			found = around.find(c, 4*neighbours, found)
			votes, kin := v.surround(found, y, 2.25*reach*reach, count)
			if n += kin; n < 12 || float64(n) >= muchAlike*float64(len(v.members[y])) {
				continue // too few to tell, or so many that they are the class
			}
			other := 0.0
			for k, x := range votes {
				if k != y {
					other = max(other, x)
				}
			}
			evidence := float32(math.Log(other+0.5) - math.Log(votes[y]+0.5))
			for _, i := range v.members[y] {
				if of[i] == c && evidence > f.Evidence[i] {
					f.Evidence[i], size[i] = evidence, int32(n)
				}
			}
		}
	}
}

// surround is what the clusters around one are called, each with one vote. Those that touch
// it and are called the same are parts of it, and have none: kin is how many rows those hold.
func (v *View) surround(found []near, class int, touch float32, count []float32) (votes []float64, kin float32) {
	votes = make([]float64, len(v.classes))
	left := neighbours
	for _, n := range found {
		theirs := count[int(n.row)*len(votes) : int(n.row+1)*len(votes)]
		sum := float32(0)
		for _, m := range theirs {
			sum += m
		}
		if n.away < touch && 2*theirs[class] > sum {
			kin += theirs[class]
			continue
		}
		if left--; left < 0 {
			break
		}
		for k, m := range theirs {
			votes[k] += float64(m / sum)
		}
	}
	return votes, kin
}

// centers returns for each of the rows the centre that it belongs to.
func (v *View) centers(t *thicket, rows []int32, reach float32) []int32 {
	center := make([]int32, v.all)
	for i := range center {
		center[i] = -1
	}
	for _, i := range rows {
		best, limit := i, reach*reach
		for k := range t.rows {
			from := t.leaf[k][i]
			for _, j := range t.rows[k][from : from+t.size[k][i]] {
				if center[j] != j {
					continue
				}
				away := float32(0)
				p, q := v.point[i], v.point[j]
				for d := 0; d < len(p) && away < limit; d++ {
					away += (p[d] - q[d]) * (p[d] - q[d])
				}
				if away < limit {
					best, limit = j, away
				}
			}
		}
		center[i] = best
	}
	return center
}
