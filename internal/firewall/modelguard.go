package firewall

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/pavise/pavise"
)

const (
	// guardMargin is by how much the top score stays above the others, unless told
	// otherwise: that of the authors.
	guardMargin = 1e-4
	// guardFloor keeps the logarithm of a score of 0 finite: that of the authors.
	guardFloor = 1e-6
	// sumSlack is how far the scores of a row may be from adding up to 1: what two
	// decimals leave of a few classes. Logits are farther.
	sumSlack = 0.01
	// goldenSteps halve an interval, or take its golden section, down to 1e-12 of it.
	goldenSteps = 62
)

// A ModelGuard changes rows of probabilities so that they mislead whoever trains on
// them as much as a bound on the change allows, and keeps the top class. It is
// ModelGuard-W (Tang et al., ModelGuard: Information-Theoretic Defense Against Model
// Extraction Attacks, USENIX Security 2024): of all rows y' that add up to
// what y does, have no score below 0, differ from y by at most Epsilon in L1 and keep
// their top Margin above the others, it is one with the least sum of log(yᵢ + 1e-6)·y'ᵢ.
//
// The authors ask a solver of linear programs. Here the minimum is found without: with
// the top score fixed, the rest is best spread greedily, from what is likely to what is
// not; and the least sum is convex in the top score, so golden section finds it.
//
// A thief who takes the top class alone learns from such rows what labels tell, and no
// less. Equal rows are answered equally, so asking again averages nothing out.
//
// The zero ModelGuard changes nothing. One keeps the room that rows take between calls,
// and is not safe for concurrent use.
type ModelGuard struct {
	Epsilon float64 // the bound on the change of a row, in L1: 0 to 2, of which 2 bounds nothing
	Margin  float64 // of the top over the others; 0 means 1e-4
	// Grain is the share of the true row that is mixed in, 0 to 1: with 1e-5, scores that
	// were emptied or levelled have as many digits as others, so that neither their text
	// nor its length tells, and the sum is 1e-4 above the least. 0 is the exact minimum.
	Grain float64

	room []rank  // of the classes but the top, from the least likely; the last one only sums
	top  float64 // score of the top
	log  float64 // and its logarithm, with the floor
	mass float64 // of the whole row
}

// A rank is a class of a row in order of its score, with sums over those before it.
type rank struct {
	score, log        float64
	scores, logs, mix float64 // of score, log, and log·score
	class             int
}

// Validate reports, as an error of kind Invalid, which number has no meaning.
func (g *ModelGuard) Validate() error {
	for _, n := range []struct {
		name        string
		value, most float64
	}{{"epsilon", g.Epsilon, 2}, {"margin", g.Margin, 0.1}, {"grain", g.Grain, 1}} {
		if !(n.value >= 0 && n.value <= n.most) {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("ModelGuard with the %s %v", n.name, n.value), Hint: fmt.Sprintf("use 0 to %v", n.most)}
		}
	}
	return nil
}

// Row writes the changed row to dst, which has the length of row and may be row itself.
// It says why a row cannot be changed, and leaves dst as it is then: the row is no
// probabilities of two classes or more, or its top cannot be set apart within Epsilon.
func (g *ModelGuard) Row(dst, row []float64) (why string) {
	if why := g.take(row); why != "" {
		return why
	}
	top := argmax(row)
	if !(g.Epsilon > 0) {
		copy(dst, row)
		return ""
	}
	lo, hi := g.reach()
	if lo > hi {
		return fmt.Sprintf("has two scores at the top, and %v is too little to set them apart", g.Epsilon)
	}
	g.write(dst, top, g.golden(lo, hi))
	return ""
}

// margin is Margin, or what it is when it is not said.
func (g *ModelGuard) margin() float64 { return cmp.Or(g.Margin, guardMargin) }

// take ranks the classes of a row, or says why it has no probabilities.
func (g *ModelGuard) take(row []float64) (why string) {
	if len(row) < 2 {
		return fmt.Sprintf("has %d classes, and ModelGuard needs two or more", len(row))
	}
	g.mass = 0
	for i, v := range row {
		if !(v >= 0 && v <= 1+sumSlack) { // NaN, too
			return fmt.Sprintf("has the score %v for class %d, which is no probability", v, i)
		}
		g.mass += v
	}
	if math.Abs(g.mass-1) > sumSlack {
		return fmt.Sprintf("has scores that add up to %v, and not to 1", g.mass)
	}
	top := argmax(row)
	g.top, g.log = row[top], math.Log(row[top]+guardFloor)
	g.room = g.room[:0]
	for i, v := range row {
		if i != top {
			g.room = append(g.room, rank{score: v, class: i})
		}
	}
	slices.SortFunc(g.room, func(a, b rank) int {
		return cmp.Or(cmp.Compare(a.score, b.score), a.class-b.class)
	})
	g.room = append(g.room, rank{})
	for i := range len(row) - 1 {
		r := &g.room[i]
		r.log = math.Log(r.score + guardFloor)
		g.room[i+1].scores = r.scores + r.score
		g.room[i+1].logs = r.logs + r.log
		g.room[i+1].mix = r.mix + r.log*r.score
	}
	return ""
}

// reach returns the least and the largest top score that the bounds allow; the least is
// above the largest when there is none. Mass that moves counts twice in L1, so half of
// Epsilon may move.
func (g *ModelGuard) reach() (lo, hi float64) {
	n, half := float64(len(g.room)-1), g.Epsilon/2
	lo, hi = max((g.mass+n*g.margin())/(n+1), g.top-half), min(g.mass, g.top+half)
	moved := func(t float64) float64 {
		_, forced := g.above(t - g.margin())
		return forced + max(g.top-t, 0)
	}
	switch {
	case lo > hi || moved(lo) <= half:
		return lo, hi
	case moved(hi) > half:
		return 1, 0
	}
	high := hi
	for range goldenSteps { // the more the top has, the less must go from the others
		if middle := (lo + high) / 2; moved(middle) <= half {
			high = middle
		} else {
			lo = middle
		}
	}
	return high, hi
}

// above returns how many of the ranks are at most at the cap, and how much the others
// have above it.
func (g *ModelGuard) above(most float64) (under int, forced float64) {
	n := len(g.room) - 1
	if g.room[n-1].score <= most {
		return n, 0
	}
	under = sort.Search(n, func(i int) bool { return g.room[i].score > most })
	return under, max(g.room[n].scores-g.room[under].scores-float64(n-under)*most, 0)
}

// A guess is a top score, and the sum that it leaves.
type guess struct{ t, sum float64 }

// golden returns the top score from lo to hi with the least sum: the true one, or the
// nearest that may be, when no other does better. The sum is made of straight pieces, so
// the search ends when those on both sides of the least are met; else it closes in on it.
func (g *ModelGuard) golden(lo, hi float64) float64 {
	const ratio, noise = math.Phi - 1, 1e-13 // of sums of about 14
	try := func(t float64) guess { return guess{t, g.plan(t).sum} }
	best := try(min(max(g.top, lo), hi))
	keep := func(t float64) guess {
		now := try(t)
		if now.sum < best.sum-noise {
			best = now
		}
		return now
	}
	left, right := keep(lo), keep(hi)
	a, b := keep(hi-ratio*(hi-lo)), keep(lo+ratio*(hi-lo))
	for range goldenSteps {
		width := right.t - left.t
		if width < 1e-13 || math.Abs(a.sum-left.sum-(right.sum-left.sum)*(a.t-left.t)/width) < noise {
			break // straight from left to right
		}
		// Three points on a line, well apart, are on one piece: so both lines are tangents.
		if t, least := meet(left, a, b, right); t > a.t+width/100 && t < b.t-width/100 && keep(t).sum <= least+noise {
			break
		}
		if a.sum <= b.sum {
			right, b = b, a
			a = keep(right.t - ratio*(right.t-left.t))
		} else {
			left, a = a, b
			b = keep(left.t + ratio*(right.t-left.t))
		}
	}
	return best.t
}

// meet returns where the line through left and a, if it falls, meets that through b and
// right, if it rises: no convex sum is below both. Else t is below left.
func meet(left, a, b, right guess) (t, sum float64) {
	falls, rises := (a.sum-left.sum)/(a.t-left.t), (right.sum-b.sum)/(right.t-b.t)
	if !(falls <= 0 && rises >= 0 && falls < rises) {
		return left.t - 1, 0
	}
	t = (b.sum - a.sum + falls*a.t - rises*b.t) / (falls - rises)
	return t, a.sum + falls*(t-a.t)
}

// A spread is how the classes but the top best share what a top score leaves them: each
// is cut to most, the unlikely get gain, and the likely lose loss.
type spread struct {
	most, gain, loss float64
	under            int // of the ranks, those that are at most at most
	sum              float64
}

// plan returns the best spread under a top score t within reach, with the sum to be
// made small.
func (g *ModelGuard) plan(t float64) spread {
	n := len(g.room) - 1
	s := spread{most: t - g.margin()}
	var forced float64
	s.under, forced = g.above(s.most)
	drop := g.top - t
	bound := (g.Epsilon - math.Abs(drop) + drop) / 2
	s.gain = max(min(bound, g.meet(s, g.mass-t)), forced+drop, 0)
	s.loss = max(s.gain-forced-drop, 0)
	end, under := &g.room[n], &g.room[s.under]
	s.sum = g.log*t + under.mix + s.most*(end.logs-under.logs) + g.filled(s) - g.emptied(s)
	return s
}

// meet returns how much the unlikely have got when the next to get something is the next
// to lose something: the first ones are full then, and the last ones empty.
func (g *ModelGuard) meet(s spread, rest float64) float64 {
	full := s.under
	if float64(full)*s.most > rest {
		full = int(rest / s.most)
	}
	r := &g.room[full]
	got := float64(full)*s.most - r.scores
	if full < s.under {
		got += max(rest-float64(full)*s.most-r.score, 0)
	}
	return got
}

// filled returns what the gain adds to the sum: the least likely are filled first, each
// up to the most.
func (g *ModelGuard) filled(s spread) float64 {
	full := sort.Search(s.under, func(i int) bool { return float64(i+1)*s.most-g.room[i+1].scores > s.gain })
	r := &g.room[full]
	sum := s.most*r.logs - r.mix
	if full < s.under {
		sum += (s.gain - (float64(full)*s.most - r.scores)) * r.log
	}
	return sum
}

// emptied returns what the loss takes from the sum: the likeliest are emptied first,
// those above the most from there.
func (g *ModelGuard) emptied(s spread) float64 {
	n := len(g.room) - 1
	end, under := &g.room[n], &g.room[s.under]
	if cut := float64(n-s.under) * s.most; s.loss < cut {
		full := min(int(s.loss/s.most), n-s.under-1)
		first := &g.room[n-full]
		return s.most*(end.logs-first.logs) + (s.loss-float64(full)*s.most)*g.room[n-full-1].log
	}
	left := s.loss - float64(n-s.under)*s.most
	first := sort.Search(s.under, func(i int) bool { return under.scores-g.room[i].scores <= left })
	r := &g.room[first]
	sum := s.most*(end.logs-under.logs) + under.mix - r.mix
	if first > 0 {
		sum += (left - (under.scores - r.scores)) * g.room[first-1].log
	}
	return sum
}

// write writes the row with the top score t, and the grain of the true one.
func (g *ModelGuard) write(dst []float64, top int, t float64) {
	s := g.plan(t)
	ranks := g.room[:len(g.room)-1]
	gain, loss := s.gain, s.loss
	for i := range ranks {
		r := &ranks[i]
		r.scores = min(r.score, s.most) // of no use as a sum any more
		if add := min(s.most-r.scores, gain); add > 0 {
			r.scores += add
			gain -= add
		}
	}
	for i := len(ranks) - 1; i >= 0 && loss > 0; i-- {
		take := min(ranks[i].scores, loss)
		ranks[i].scores -= take
		loss -= take
	}
	for i := range ranks {
		r := &ranks[i]
		dst[r.class] = r.scores + g.Grain*(r.score-r.scores)
	}
	dst[top] = t + g.Grain*(g.top-t)
}
