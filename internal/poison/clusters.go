package poison

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// ballSizes are the sizes of the balls that rows are gathered in, in usual distances of a row to
// its third nearest. How loose a cluster is that somebody puts in is theirs to choose, and the
// more rows a table has, the closer they lie.
var ballSizes = []float32{0.5, 1, 2}

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
	usual := v.spacing(t, firsts)
	size := make([]int32, v.all)
	for _, share := range ballSizes {
		v.gather(t, firsts, share*usual, &f, size)
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

// gather judges clusters made of balls of one size: each row joins the nearest centre within
// reach, or is one.
func (v *View) gather(t *thicket, firsts []int32, reach float32, f *Finding, size []int32) {
	of := v.centers(t, firsts, reach)
	first := make([]int32, len(firsts))
	for _, i := range firsts {
		first[v.twin[i]] = i
	}
	held := census{classes: len(v.classes), count: make([]float32, v.all*len(v.classes))}
	for i, y := range v.label {
		of[i] = of[first[v.twin[i]]]
		held.of(of[i])[y]++
	}
	var centers []int32
	for _, i := range firsts {
		if of[i] == i {
			centers = append(centers, i)
		}
	}
	if len(centers) < 3*neighbours {
		return
	}
	around := newThicket(v.point, centers, v.rng("around"))
	joined := joinBalls(around, centers, 2.25*reach*reach, held)
	clusters := v.surround(around, centers, joined, held)
	for i, y := range v.label {
		s := clusters[joined.root(of[i])]
		if s == nil || s.class != y || s.heard < neighbours/2 {
			continue // where a row is one of few in its ball the screens that look at rows judge it
		}
		if evidence := s.evidence(); evidence > f.Evidence[i] {
			f.Evidence[i], size[i] = evidence, s.rows
		}
	}
}

// A census is how many rows of each class the balls have, by their centres.
type census struct {
	classes int
	count   []float32
}

func (c census) of(center int32) []float32 {
	return c.count[int(center)*c.classes : int(center+1)*c.classes]
}

// most is what more than half of a ball's rows are called; -1 if there is no such class.
func (c census) most(center int32) int {
	sum := float32(0)
	for _, n := range c.of(center) {
		sum += n
	}
	return slices.IndexFunc(c.of(center), func(n float32) bool { return 2*n > sum })
}

// joins says which balls are parts of one cluster: each names another of them, or itself.
type joins []int32

// root is the ball that stands for the cluster.
func (j joins) root(ball int32) int32 {
	for j[ball] != ball {
		j[ball] = j[j[ball]]
		ball = j[ball]
	}
	return ball
}

// joinBalls makes one cluster of balls that touch and are called the same, and of what these
// touch in turn.
func joinBalls(around *thicket, centers []int32, touch float32, held census) joins {
	j := make(joins, len(around.point))
	for i := range j {
		j[i] = int32(i)
	}
	var found []near
	for _, c := range centers {
		y := held.most(c)
		if y < 0 {
			continue
		}
		found = around.find(c, neighbours, found)
		for _, n := range found {
			if n.away < touch && held.most(n.row) == y {
				j[j.root(c)] = j.root(n.row)
			}
		}
	}
	return j
}

// surroundings are what lies around a cluster.
type surroundings struct {
	class int
	rows  int32     // of its class, in it
	votes []float64 // by class: of the balls around it
	heard float64   // votes together
}

// surround hears the balls around each cluster, by the ball that stands for it: of each of its
// balls the nearest that are no part of it, each with one vote that its rows share. Clusters of
// too few rows to tell, and of so many that they are the class, are left out.
func (v *View) surround(around *thicket, centers []int32, joined joins, held census) map[int32]*surroundings {
	all := map[int32]*surroundings{}
	for _, c := range centers {
		if y := held.most(c); y >= 0 {
			s := all[joined.root(c)]
			if s == nil {
				s = &surroundings{class: y, votes: make([]float64, held.classes)}
				all[joined.root(c)] = s
			}
			s.rows += int32(held.of(c)[y])
		}
	}
	maps.DeleteFunc(all, func(_ int32, s *surroundings) bool {
		return s.rows < 12 || float64(s.rows) >= muchAlike*float64(len(v.members[s.class]))
	})
	var found []near
	for _, c := range centers {
		cluster := joined.root(c)
		s := all[cluster]
		if s == nil {
			continue
		}
		found = around.find(c, 4*neighbours, found)
		left := neighbours
		for _, n := range found {
			if joined.root(n.row) == cluster {
				continue
			}
			if left--; left < 0 {
				break
			}
			s.hear(held.of(n.row))
		}
	}
	return all
}

// hear adds the vote of a ball.
func (s *surroundings) hear(rows []float32) {
	sum := float32(0)
	for _, n := range rows {
		sum += n
	}
	for k, n := range rows {
		s.votes[k] += float64(n / sum)
	}
	s.heard++
}

// evidence is how much more they speak for another class than for the cluster's, as if so many
// had been asked as a row has neighbours.
func (s *surroundings) evidence() float32 {
	other := 0.0
	for k, n := range s.votes {
		if k != s.class {
			other = max(other, n)
		}
	}
	scale := neighbours / s.heard
	return float32(math.Log(scale*other+0.5) - math.Log(scale*s.votes[s.class]+0.5))
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
