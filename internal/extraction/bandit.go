package extraction

import (
	"math"
	"math/rand/v2"

	"github.com/pavise/pavise/internal/learn"
)

// bandit asks rows of the pool, from groups that it learns to prefer: the gradient bandit
// of Knockoff Nets (Orekondy, Schiele and Fritz, 2019, section 4.1.2). Groups are the
// labels of the data, where the pool has them, or clusters.
//
// The paper trains its copy with every query. Here a linear one is trained anew whenever
// the rows asked have grown by half.
type bandit struct {
	taste  []float64 // preference of each group
	used   []int     // rows taken of each group, in its order
	pulled []int     // group of each row asked and not yet rewarded
	mean   float64   // of the rewards so far
	seen   int       // rewards so far
	groups [][]int   // rows of the pool by group; derived, not kept
	judge  *copied   // the copy that judges; derived from the answers, not kept
}

const (
	maxGroups  = 16
	firstPulls = 64
)

func (b *bandit) plan(a *Attack, room int) (learn.Matrix, error) {
	if b.groups == nil {
		b.begin(a)
	}
	if err := b.reward(a); err != nil {
		return learn.Matrix{}, err
	}
	n := min(room, max(firstPulls, a.asked.Rows/2))
	var rows []int
	b.pulled = b.pulled[:0]
	for range n {
		g, ok := b.pull(a.rng)
		if !ok {
			break
		}
		rows = append(rows, b.groups[g][b.used[g]])
		b.used[g]++
		b.pulled = append(b.pulled, g)
	}
	return pick(a.data.Pool, rows), nil
}

// begin groups the pool, and orders each group at random.
func (b *bandit) begin(a *Attack) {
	rng := rand.New(rand.NewPCG(a.cfg.Seed, clusterStream))
	of := a.data.Labels
	if of == nil || a.foreign {
		of = cluster(a.data.Pool, columns(a.data.Pool), min(maxGroups, a.data.Pool.Rows), rng)
	}
	place := map[int]int{}
	for i, label := range of {
		g, known := place[label]
		if !known {
			g = len(b.groups)
			place[label] = g
			b.groups = append(b.groups, nil)
		}
		b.groups[g] = append(b.groups[g], i)
	}
	for _, g := range b.groups {
		rng.Shuffle(len(g), func(i, j int) { g[i], g[j] = g[j], g[i] })
	}
	if b.taste == nil {
		b.taste, b.used = make([]float64, len(b.groups)), make([]int, len(b.groups))
	}
}

// pull draws a group that has rows left, by preference.
func (b *bandit) pull(rng *rand.Rand) (int, bool) {
	share, sum := b.shares(), 0.0
	for g := range share {
		if b.used[g] == len(b.groups[g]) {
			share[g] = 0
		}
		sum += share[g]
	}
	if sum == 0 {
		return 0, false
	}
	at, last := rng.Float64()*sum, 0
	for g, s := range share {
		if s == 0 {
			continue
		}
		if last = g; at < s {
			break
		}
		at -= s
	}
	return last, true
}

// shares is the softmax of the preferences, none of it zero.
func (b *bandit) shares() []float64 {
	share, sum := make([]float64, len(b.taste)), 0.0
	for g, t := range b.taste {
		share[g] = math.Exp(min(max(t, -10), 10))
		sum += share[g]
	}
	for g := range share {
		share[g] /= sum
	}
	return share
}

// reward moves the preferences by what the last answers were worth: how sure the victim
// is, how far that class is above its mean so far, and how wrong the copy was.
func (b *bandit) reward(a *Attack) error {
	n := min(len(b.pulled), a.asked.Rows)
	if n == 0 {
		return nil
	}
	before := a.asked.Rows - n
	said := probabilities(a.answers, a.cfg.Answers)
	usual := means(head(said, before))
	var guess learn.Matrix
	if b.judge == nil && before > 0 {
		if err := b.retrain(a, before); err != nil {
			return err
		}
	}
	if b.judge != nil {
		guess = b.judge.Predict(learn.Matrix{Rows: n, Cols: a.asked.Cols, Data: a.asked.Data[before*a.asked.Cols:]})
	}
	for i, g := range b.pulled[:n] {
		row := said.Row(before + i)
		r := margin(row)
		for k, p := range row {
			if before > 0 {
				r += max(0, float64(p)-usual[k]) / float64(len(row))
			}
			if guess.Rows > 0 && p > 0 {
				r -= float64(p) * math.Log(max(float64(guess.Row(i)[k]), 1e-3)) / math.Log(1e3)
			}
		}
		b.seen++
		b.mean += (r - b.mean) / float64(b.seen)
		share := b.shares()
		const rate = 0.5
		for h := range b.taste {
			if h == g {
				b.taste[h] += rate * (r - b.mean) * (1 - share[h])
			} else {
				b.taste[h] -= rate * (r - b.mean) * share[h]
			}
		}
	}
	b.pulled = b.pulled[:0]
	return b.retrain(a, a.asked.Rows)
}

func (b *bandit) retrain(a *Attack, rows int) (err error) {
	b.judge, err = quick(a, rows)
	return err
}

func (b *bandit) code(c *coder, a *Attack) {
	c.floats(&b.taste, maxGroupsOf(a))
	c.counts(&b.used, maxGroupsOf(a), a.data.Pool.Rows)
	c.counts(&b.pulled, a.cfg.Budget, maxGroupsOf(a))
	c.float(&b.mean)
	c.count(&b.seen, a.cfg.Budget)
	if !c.reading || c.err != nil || len(b.taste) == 0 {
		return
	}
	b.begin(a)
	c.check(len(b.taste) == len(b.groups) && len(b.used) == len(b.groups))
	for g := range b.groups {
		c.check(c.err != nil || b.used[g] <= len(b.groups[g]))
	}
	for _, g := range b.pulled {
		c.check(g < len(b.groups))
	}
}

func maxGroupsOf(a *Attack) int { return max(a.data.Pool.Rows, maxGroups) }

// margin is by how much the largest of a row leads.
func margin(row []float32) float64 {
	var first, second float32
	for _, p := range row {
		switch {
		case p > first:
			first, second = p, first
		case p > second:
			second = p
		}
	}
	return float64(first - second)
}

// means are the means of the columns of m, zeros if it has no rows.
func means(m learn.Matrix) []float64 {
	mean := make([]float64, m.Cols)
	for i := range m.Rows {
		for k, p := range m.Row(i) {
			mean[k] += float64(p) / float64(m.Rows)
		}
	}
	return mean
}

// clusterRows bounds the rows that clusters are made of; others go to the nearest.
const clusterRows = 2000

// cluster parts rows into at most k groups by Lloyd's algorithm, ten rounds of it.
func cluster(m learn.Matrix, cols []column, k int, rng *rand.Rand) []int {
	sample := rng.Perm(m.Rows)[:min(m.Rows, clusterRows)]
	centre := make([][]float64, k)
	for g := range centre {
		centre[g] = make([]float64, m.Cols)
		for j, v := range m.Row(sample[g%len(sample)]) {
			centre[g][j] = float64(v)
		}
	}
	nearest := func(row []float32) int {
		best, least := 0, math.Inf(1)
		for g := range centre {
			d := 0.0
			for j, v := range row {
				if !cols[j].negligible {
					e := (float64(v) - centre[g][j]) / cols[j].span()
					d += e * e
				}
			}
			if d < least {
				best, least = g, d
			}
		}
		return best
	}
	for range 10 {
		sum, n := make([][]float64, k), make([]int, k)
		for _, r := range sample {
			g := nearest(m.Row(r))
			if sum[g] == nil {
				sum[g] = make([]float64, m.Cols)
			}
			for j, v := range m.Row(r) {
				sum[g][j] += float64(v)
			}
			n[g]++
		}
		for g := range centre {
			for j := range sum[g] {
				centre[g][j] = sum[g][j] / float64(n[g])
			}
		}
	}
	of := make([]int, m.Rows)
	for i := range of {
		of[i] = nearest(m.Row(i))
	}
	return of
}
