package poison

import (
	"fmt"
	"math"
	"slices"
)

// ballSizes are the sizes of the balls that rows are gathered in, in usual distances of a row to
// its third nearest. How loose a cluster is that somebody puts in is theirs to choose, and the
// more rows a table has, the closer they lie.
var ballSizes = []float32{0.25, 0.5, 1, 2}

// Bounds of clusters.
const (
	clusterRows  = 12  // fewer rows are judged by the screens that look at rows
	touching     = 1.5 // sizes of a ball that the centres of two are apart at most, to touch
	clusterShare = 0.1 // of the rows where a cluster lies are its own, or they are no cluster
	tightShare   = 0.1 // of other rows are as close to their like in tables that have such clusters by nature
	tightWeight  = 0.5 // of how rare it is to be that close, for it is not all that clusters differ in
)

// clusters is the screen of labels by the neighbourhood of whole clusters, in the spirit of
// Severi and others ("Model-agnostic clean-label backdoor mitigation in cybersecurity
// environments", arXiv 2407.08159): rows of a class that lie close together are judged as one,
// by what lies around them all, so that many that are alike cannot vouch for each other.
func (v *View) clusters() Finding {
	const screen = "clusters"
	if len(v.classes) < 2 || len(v.features) == 0 || v.all < 100 {
		return silent(screen, "it takes two classes and 100 rows")
	}
	s := v.newGathering()
	f := Finding{Screen: screen, Evidence: make([]float32, v.all), Bounded: true, Limit: 2.6}
	firsts, t := v.firstNear()
	usual, worst := v.spacing(t, firsts), make([]*cluster, v.all)
	for _, share := range ballSizes {
		for _, c := range s.gather(share * usual) {
			evidence := c.evidence()
			for _, i := range c.rows {
				if evidence > f.Evidence[i] {
					f.Evidence[i], worst[i] = evidence, c
				}
			}
		}
	}
	f.Reason = func(i int) string {
		where := "nothing around them is"
		if worst[i].label() < float64(f.Limit) {
			where = "most around them is not, closer than nearly all other rows"
		}
		return fmt.Sprintf("it is one of %d rows called %q that lie close together where %s", len(worst[i].rows), v.classes[v.label[i]], where)
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

// A gathering puts the rows of each class into clusters, over and over. Rows of other classes
// between them neither part them nor are taken into them.
type gathering struct {
	*View
	first  []int32   // by row: the first of its class that is nearly it
	groups [][]int32 // by class: those
	own    *thicket  // finds near ones among those of a class
	close  []float64 // by row: how far its tenth nearest of the class is
	sorted []float64 // of those
}

func (v *View) newGathering() *gathering {
	s := &gathering{View: v, first: make([]int32, v.all), groups: make([][]int32, len(v.classes)), close: make([]float64, v.all)}
	known, like := map[[2]int]int32{}, make([]int, v.all)
	for i, y := range v.label {
		k, ok := known[[2]int{int(v.twin[i]), y}]
		if !ok {
			k = int32(i)
			known[[2]int{int(v.twin[i]), y}] = k
			s.groups[y] = append(s.groups[y], k)
		}
		s.first[i] = k
		like[k]++
	}
	s.own = newThicket(v.point, s.groups, v.rng("own"))
	var found []near
	for _, i := range slices.Concat(s.groups...) {
		found = s.own.find(i, neighbours, found)
		n := like[i] - 1
		for k := 0; k < len(found) && n < neighbours; k++ {
			n += like[found[k].row]
			s.close[i] = math.Sqrt(float64(found[k].away))
		}
		if n < neighbours {
			s.close[i] = math.MaxFloat64
		}
	}
	for i, k := range s.first {
		s.close[i] = s.close[k]
	}
	s.sorted = slices.Sorted(slices.Values(s.close))
	return s
}

// gather returns the clusters that are made of balls of one size: each row joins the nearest
// centre of its class within reach, or is one, and balls that touch are of one cluster.
func (s *gathering) gather(reach float32) []*cluster {
	of := s.centers(s.own, slices.Concat(s.groups...), reach)
	rows := make([][]int32, s.all) // by centre
	for i, k := range s.first {
		rows[of[k]] = append(rows[of[k]], int32(i))
	}
	byClass := make([][]int32, len(s.groups))
	for y, firsts := range s.groups {
		for _, i := range firsts {
			if of[i] == i {
				byClass[y] = append(byClass[y], i)
			}
		}
	}
	centers := slices.Concat(byClass...)
	if len(centers) < 3*neighbours {
		return nil
	}
	touch := touching * touching * reach * reach
	joined := joinBalls(newThicket(s.point, byClass, s.rng("touch")), centers, touch)
	by := make([]*cluster, s.all) // by the ball that stands for it
	var all []*cluster
	for _, c := range centers {
		root := joined.root(c)
		if by[root] == nil {
			by[root] = &cluster{class: s.label[c], votes: make([]float64, len(s.classes))}
			all = append(all, by[root])
		}
		by[root].balls, by[root].rows = append(by[root].balls, c), append(by[root].rows, rows[c]...)
	}
	all = slices.DeleteFunc(all, func(c *cluster) bool {
		return len(c.rows) < clusterRows || float64(len(c.rows)) >= muchAlike*float64(len(s.members[c.class]))
	})
	around, inside := newThicket(s.point, [][]int32{centers}, s.rng("around")), make([]*cluster, s.all)
	for _, c := range all {
		c.hear(s, around, joined, inside, rows, touch)
		c.rare = s.rare(c.rows)
	}
	return all
}

// rare is the share of other rows that are as close to their like as half of these are.
func (s *gathering) rare(rows []int32) float64 {
	within := make([]float64, len(rows))
	for k, i := range rows {
		within[k] = s.close[i]
	}
	slices.Sort(within)
	upTo := func(sorted []float64) int {
		n, _ := slices.BinarySearch(sorted, math.Nextafter(within[len(within)/2], math.Inf(1)))
		return n
	}
	return float64(upTo(s.sorted)-upTo(within)) / float64(s.all-len(rows))
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

// joinBalls makes one cluster of balls of a class that touch, and of what these touch in turn.
func joinBalls(own *thicket, centers []int32, touch float32) joins {
	j := make(joins, len(own.point))
	for i := range j {
		j[i] = int32(i)
	}
	var found []near
	for _, c := range centers {
		found = own.find(c, neighbours, found)
		for _, n := range found {
			if n.away < touch {
				j[j.root(c)] = j.root(n.row)
			}
		}
	}
	return j
}

// A cluster is rows of a class that lie close together, and what lies around them.
type cluster struct {
	class   int
	balls   []int32 // their centres
	rows    []int32
	between int       // rows of other classes that lie where it does
	votes   []float64 // by class: of the balls around it
	heard   float64   // votes together
	rare    float64   // share of other rows that are as close to their like
}

// hear asks, for each ball, the nearest that are no part of the cluster and touch none of its
// balls. Balls of its class that touch one are part of it: were others heard from as near, a
// cluster would look to be among strangers wherever two classes overlap.
func (c *cluster) hear(s *gathering, around *thicket, joined joins, inside []*cluster, rows [][]int32, touch float32) {
	root := joined.root(c.balls[0])
	var found []near
	beyond := make([][]near, len(c.balls))
	for k, ball := range c.balls {
		found = around.find(ball, 8*neighbours, found)
		for _, n := range found {
			switch {
			case joined.root(n.row) == root:
			case n.away >= touch:
				beyond[k] = append(beyond[k], n)
			case s.label[n.row] != c.class && inside[n.row] != c:
				inside[n.row] = c
				c.between += len(rows[n.row])
			}
		}
	}
	for _, balls := range beyond {
		left := neighbours
		for _, n := range balls {
			if left > 0 && inside[n.row] != c {
				left--
				c.votes[s.label[n.row]]++
				c.heard++
			}
		}
	}
}

// label is how much more the balls around it speak for another class than for its own, as if so
// many had been asked as a row has neighbours.
func (c *cluster) label() float64 {
	if c.heard < neighbours/2 {
		return 0
	}
	other := 0.0
	for k, n := range c.votes {
		if k != c.class {
			other = max(other, n)
		}
	}
	scale := neighbours / c.heard
	return math.Log(scale*other+0.5) - math.Log(scale*c.votes[c.class]+0.5)
}

// evidence is that, and how much closer its rows are than is usual where clusters are natural;
// less where it is a few of the rows that lie there.
func (c *cluster) evidence() float32 {
	if c.heard < neighbours/2 {
		return 0
	}
	tight := tightWeight * max(math.Log(tightShare/(c.rare+0.001)), 0)
	share := float64(len(c.rows)) / float64(len(c.rows)+c.between)
	return float32(c.label() + tight + min(math.Log(share/clusterShare), 0))
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
