package poison

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// A linear model gives each class a weighted sum of a row's coordinates, and a softmax over
// them.
type linear struct {
	classes, width int
	weight         []float64 // by class: the coordinates, then a constant
}

// Settings of linear models.
const (
	linearSteps = 30000 // rows that are learned from, again and again
	linearRows  = 1 << 13
)

// fit trains a linear model on rows by stochastic gradient descent, with steps that get
// smaller and weights that are averaged over the second half.
func (v *View) fit(rows []int32, rng *rand.Rand) *linear {
	m := &linear{classes: len(v.classes), width: len(v.point[0]) + 1}
	m.weight = make([]float64, m.classes*m.width)
	mean := make([]float64, len(m.weight))
	p := make([]float64, m.classes)
	for step := range linearSteps {
		i := rows[rng.IntN(len(rows))]
		m.shares(v.point[i], p)
		p[v.label[i]]--
		rate := 0.5 / (float64(m.width) * (1 + 4*float64(step)/linearSteps))
		for k, g := range p {
			w := m.weight[k*m.width : (k+1)*m.width]
			for d, x := range v.point[i] {
				w[d] -= rate * (g*float64(x) + 1e-4*w[d])
			}
			w[m.width-1] -= rate * g
		}
		if step == linearSteps/2 {
			copy(mean, m.weight)
		} else if step > linearSteps/2 && step%16 == 0 {
			share := 16 / float64(step-linearSteps/2+16)
			for d, w := range m.weight {
				mean[d] += share * (w - mean[d])
			}
		}
	}
	m.weight = mean
	return m
}

// shares sets p to the probability of each class.
func (m *linear) shares(point []float32, p []float64) {
	top := math.Inf(-1)
	for k := range p {
		w := m.weight[k*m.width : (k+1)*m.width]
		s := w[m.width-1]
		for d, x := range point {
			s += w[d] * float64(x)
		}
		p[k], top = s, max(top, s)
	}
	sum := 0.0
	for k := range p {
		p[k] = math.Exp(p[k] - top)
		sum += p[k]
	}
	for k := range p {
		p[k] /= sum
	}
}

// gradients is the screen of rows that pull a linear model in one direction together (Sever:
// Diakonikolas and others, "Sever: A Robust Meta-Algorithm for Stochastic Optimization",
// 2019, algorithm 1): the gradients of each class are centred, and a row's score is how far
// its own reaches along the direction in which they differ most. Those that reach farthest
// are left out, and it is done again.
func (v *View) gradients() Finding {
	const screen = "gradients"
	if len(v.classes) < 2 || len(v.features) == 0 || v.all < 100 {
		return silent(screen, "it takes two classes and 100 rows")
	}
	f := Finding{Screen: screen, Evidence: make([]float32, v.all), Limit: 9}
	f.Words = "it pulls a linear model the way few rows do"
	rng := v.rng(screen)
	left := make([]int32, v.all)
	for i := range left {
		left[i] = int32(i)
	}
	for range 2 {
		rng.Shuffle(len(left), func(a, b int) { left[a], left[b] = left[b], left[a] })
		m := v.fit(left[:min(len(left), linearRows)], rng)
		for y := range v.classes {
			v.pull(m, y, f.Evidence)
		}
		slices.SortStableFunc(left, func(a, b int32) int {
			switch {
			case f.Evidence[a] < f.Evidence[b]:
				return -1
			case f.Evidence[a] > f.Evidence[b]:
				return 1
			}
			return int(a - b)
		})
		left = left[:len(left)-len(left)/50]
	}
	return f
}

// pull sets the evidence of a class's rows.
func (v *View) pull(m *linear, class int, evidence []float32) {
	rows := v.members[class]
	if len(rows) < 20 {
		return
	}
	p := make([]float64, m.classes)
	vectors := make([][]float32, len(rows))
	for k, i := range rows {
		m.shares(v.point[i], p)
		g := make([]float32, m.width-1)
		for d, x := range v.point[i] {
			g[d] = x * float32(1-p[class])
		}
		vectors[k] = g
	}
	for k, s := range reach(vectors) {
		evidence[rows[k]] = max(evidence[rows[k]], float32(math.Log1p(s)))
	}
}

// reach is how far each vector, less their mean, goes along the direction in which they
// differ most, in what is usual (by the median, so that few do not set the measure).
func reach(vectors [][]float32) []float64 {
	width := len(vectors[0])
	mean := make([]float64, width)
	for _, g := range vectors {
		for d, x := range g {
			mean[d] += float64(x) / float64(len(vectors))
		}
	}
	way := make([]float64, width)
	for d := range way {
		way[d] = 1 + 0.01*float64(d%7)
	}
	out := make([]float64, len(vectors))
	for range 12 {
		next := make([]float64, width)
		for k, g := range vectors {
			out[k] = 0
			for d, x := range g {
				out[k] += (float64(x) - mean[d]) * way[d]
			}
			for d, x := range g {
				next[d] += (float64(x) - mean[d]) * out[k]
			}
		}
		length := 0.0
		for _, x := range next {
			length += x * x
		}
		if length == 0 {
			break
		}
		for d := range next {
			way[d] = next[d] / math.Sqrt(length)
		}
	}
	for k := range out {
		out[k] = math.Abs(out[k])
	}
	sorted := slices.Clone(out)
	slices.Sort(sorted)
	usual := max(sorted[len(sorted)/2], sorted[len(sorted)*9/10]/4, 1e-9)
	for k := range out {
		out[k] /= usual
	}
	return out
}

// Spectral is the screen of embeddings by spectral signatures (Tran, Li and Madry, "Spectral
// Signatures in Backdoor Attacks", 2018): rows whose embedding reaches far along the
// direction in which those of their class differ most. It needs embeddings that a model
// learned, one for each row of the file: on raw columns it tells nothing.
func (v *View) Spectral(embeddings [][]float32) Job {
	const screen = "spectral"
	return Job{screen, func() Finding {
		f := Finding{Screen: screen, Evidence: make([]float32, v.all), Limit: 8, Untold: true, Words: "its embedding stands out of its class"}
		for _, members := range v.members {
			var rows []int32
			var vectors [][]float32
			for _, i := range members {
				if int(i) < v.rows {
					rows, vectors = append(rows, i), append(vectors, embeddings[i])
				}
			}
			if len(rows) < 20 || len(vectors[0]) == 0 {
				continue
			}
			for k, s := range reach(vectors) {
				f.Evidence[rows[k]] = float32(s)
			}
		}
		return f
	}}
}

// Harm is what learning from a source, too, does to a model that is measured on rows of the
// baseline that it did not see.
type Harm struct {
	Source   string  `json:"source"`
	Rows     int     `json:"rows"`
	Without  float64 `json:"without"` // share of the baseline's rows that are told right, in [0, 1]
	With     float64 `json:"with"`
	Surprise float64 `json:"surprise"` // by how many standard errors the loss grows
}

// Limits of harm: beyond both a source does harm.
const (
	harmErrors = 4
	harmShare  = 0.005
)

// harm is the screen of sources by rejection on negative impact (Nelson and others,
// "Exploiting Machine Learning to Subvert Your Spam Filter", 2008): a model is fitted to one
// half of the baseline with and without a source, and measured on the other.
func (v *View) harm() Finding {
	const screen = "sources"
	if v.source == nil || v.all-v.rows < 200 || len(v.classes) < 2 || len(v.features) == 0 {
		return silent(screen, "it takes sources, two classes, and a baseline of 200 rows")
	}
	trusted := make([]int32, 0, v.all-v.rows)
	for i := v.rows; i < v.all; i++ {
		trusted = append(trusted, int32(i))
	}
	rng := v.rng(screen)
	rng.Shuffle(len(trusted), func(a, b int) { trusted[a], trusted[b] = trusted[b], trusted[a] })
	learn, test := trusted[:len(trusted)/2], trusted[len(trusted)/2:]
	learn, test = learn[:min(len(learn), linearRows)], test[:min(len(test), linearRows)]
	f := Finding{Screen: screen, Evidence: make([]float32, v.all), Limit: harmErrors, Words: "a model that learns from its source, too, is worse on the baseline"}
	before, right := v.losses(v.fit(learn, v.rng("fit")), test)
	senders, beyond := v.bySource()
	f.Remarks = beyond
	for _, from := range senders {
		s, rows := from.source, from.rows
		if len(rows) < 30 {
			continue
		}
		after, now := v.losses(v.fit(append(slices.Clone(learn), rows[:min(len(rows), linearRows)]...), v.rng("fit")), test)
		h := Harm{Source: v.sources[s], Rows: len(rows), Without: right, With: now, Surprise: paired(after, before)}
		f.Harm = append(f.Harm, h)
		if h.Surprise < harmErrors || h.Without-h.With < harmShare {
			continue
		}
		f.Remarks = append(f.Remarks, fmt.Sprintf("source %q does harm: a model that learns from its %d rows, too, tells %.1f %% of the baseline right, and %.1f %% without", h.Source, h.Rows, 100*h.With, 100*h.Without))
		for _, i := range rows {
			f.Evidence[i] = float32(h.Surprise)
		}
	}
	return f
}

// losses returns the loss of each row, and the share of those told right.
func (v *View) losses(m *linear, rows []int32) (loss []float64, right float64) {
	p := make([]float64, m.classes)
	for _, i := range rows {
		m.shares(v.point[i], p)
		loss = append(loss, -math.Log(max(p[v.label[i]], 1e-9)))
		if slices.Max(p) == p[v.label[i]] {
			right += 1 / float64(len(rows))
		}
	}
	return loss, right
}

// paired is by how many standard errors a is above b, pair by pair.
func paired(a, b []float64) float64 {
	n, sum, square := float64(len(a)), 0.0, 0.0
	for k := range a {
		d := a[k] - b[k]
		sum, square = sum+d, square+d*d
	}
	mean := sum / n
	return mean / math.Sqrt(max(square/n-mean*mean, 1e-12)/n)
}
