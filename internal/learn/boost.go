package learn

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise/internal/onnx"
)

// A booster adds trees, each of which corrects what those before it say.
type booster struct {
	cfg               TreeConfig
	grower            *grower
	train, validation view
	base              []float32
}

// A view is a set with what the trees so far say of it.
type view struct {
	Set
	scores        []float32 // outputs to a row
	probabilities Matrix
}

// newBooster starts from scores that give every class its share.
func newBooster(cfg TreeConfig, g *grower, train, validation Set) *booster {
	weights := make([]float64, cfg.Classes)
	all := 0.0
	for _, y := range train.Y {
		w := weightOf(cfg.Weights, y)
		weights[y], all = weights[y]+w, all+w
	}
	b := &booster{cfg: cfg, grower: g}
	for k := range weights {
		weights[k] = max(weights[k]/all, 1e-6) // a class that never was is not impossible
		b.base = append(b.base, float32(math.Log(weights[k])))
	}
	if cfg.Classes == 2 {
		b.base = []float32{float32(math.Log(weights[1] / weights[0]))}
	}
	b.train, b.validation = b.view(train), b.view(validation)
	return b
}

func (b *booster) view(s Set) view {
	v := view{Set: s, scores: slices.Repeat(b.base, s.X.Rows), probabilities: NewMatrix(s.X.Rows, b.cfg.Classes)}
	v.link()
	return v
}

// link makes probabilities of the scores.
func (v *view) link() {
	for i := range v.X.Rows {
		p := v.probabilities.Row(i)
		if len(p) == 2 {
			p[0], p[1] = onnx.Sigmoid(-v.scores[i]), onnx.Sigmoid(v.scores[i])
			continue
		}
		copy(p, v.scores[i*len(p):])
		onnx.Softmax(p)
	}
}

// add lets trees move the scores, and the probabilities follow.
func (v *view) add(trees []tree, outputs int) {
	for _, t := range trees {
		for i := range v.X.Rows {
			v.scores[i*outputs+t.class] += t.values[t.find(v.X.Row(i))]
		}
	}
	v.link()
}

// boost runs the rounds, and returns the trees of those that were worth it.
func (b *booster) boost(rng *rand.Rand) []tree {
	var trees []tree
	best, bestLoss, since := 0, math.Inf(1), 0
	for round := range b.cfg.Rounds {
		grown, split := b.round(rng)
		if !split && round > 0 {
			break // no tree of this round tells anything apart
		}
		trees = append(trees, grown...)
		b.train.add(grown, outputs(b.cfg.Classes))
		b.validation.add(grown, outputs(b.cfg.Classes))
		held := lossOf(b.cfg, b.validation.probabilities, b.validation.Y)
		since++
		if held < bestLoss {
			best, bestLoss, since = len(trees), held, 0
		}
		if b.cfg.Progress != nil {
			loss := lossOf(b.cfg, b.train.probabilities, b.train.Y)
			b.cfg.Progress(Epoch{Number: round + 1, Loss: loss, Validation: held, Best: since == 0})
		}
		if b.cfg.Patience > 0 && since >= b.cfg.Patience {
			break
		}
	}
	return trees[:best]
}

// round grows a tree for each score, all from the same probabilities.
func (b *booster) round(rng *rand.Rand) (trees []tree, split bool) {
	g := b.grower
	rows := g.draw(rng, b.cfg.Rows)
	for k := range outputs(b.cfg.Classes) {
		b.differentiate(k)
		t := g.grow(rows, drawColumns(rng, len(g.bins.codes), b.cfg.Columns))
		t.class = k
		split = split || len(t.nodes) > 1
		trees = append(trees, t)
	}
	return trees, split
}

// differentiate sets the first and second derivative of the loss by score k of
// every row. Of more than two classes the second is scaled as in section 4.6 of
// Friedman's paper, since their scores share one degree of freedom.
func (b *booster) differentiate(k int) {
	class, scale := k, float64(b.cfg.Classes)/float64(b.cfg.Classes-1)
	if b.cfg.Classes == 2 {
		class, scale = 1, 1
	}
	for i, y := range b.train.Y {
		w := weightOf(b.cfg.Weights, y)
		p := float64(b.train.probabilities.Row(i)[class])
		truth := 0.0
		if y == class {
			truth = 1
		}
		b.grower.first[i] = w * (p - truth)
		b.grower.second[i] = w * p * (1 - p) * scale
	}
}

// lossOf returns the weighted mean cross-entropy of probabilities, in nats.
func lossOf(cfg TreeConfig, p Matrix, y []int) float64 {
	loss, weight := 0.0, 0.0
	for i, class := range y {
		w := weightOf(cfg.Weights, class)
		loss, weight = loss+float64(w*crossEntropy(p.Row(i)[class])), weight+w
	}
	return loss / weight
}

// weightOf is the weight of a row of the class.
func weightOf(weights []float32, class int) float64 {
	if weights == nil {
		return 1
	}
	return float64(weights[class])
}

// drawColumns returns the share of n columns that a tree may ask for, at least
// one, in their order.
func drawColumns(rng *rand.Rand, n int, share float64) []int {
	columns := make([]int, n)
	for j := range columns {
		columns[j] = j
	}
	if share == 0 || share == 1 {
		return columns
	}
	rng.Shuffle(n, func(i, j int) { columns[i], columns[j] = columns[j], columns[i] })
	columns = columns[:max(int(share*float64(n)), 1)]
	slices.Sort(columns)
	return columns
}
