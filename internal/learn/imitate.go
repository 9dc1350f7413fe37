package learn

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/pavise/pavise/internal/onnx"
)

// Imitate fits an MLP to what another model says of the rows of x: wanted holds the
// probability of each class, of each row, and the loss is the cross-entropy against them
// (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015,
// section 2, at temperature 1). It returns the model of the epoch whose loss on the
// last rows, a share of held of them, was lowest; 0 holds none back and takes the last epoch.
// All chance comes from rng: the same arguments give the same bits. Settings or rows that
// make no sense, and a loss that leaves the finite numbers, are errors of kind Invalid.
// Config.Weights are for labels, and are refused.
func Imitate(cfg Config, x, wanted Matrix, held float64, rng *rand.Rand) (*MLP, error) {
	if err := checkWanted(cfg, x, wanted, held); err != nil {
		return nil, err
	}
	sizes := append([]int{x.Cols}, cfg.Hidden...)
	t := newTrainer(cfg, newMLP(append(sizes, cfg.Classes), rng))
	behind := int(held * float64(x.Rows))
	if behind == x.Rows {
		behind = 0
	}
	n := x.Rows - behind
	best, bestLoss, since := t.net, math.Inf(1), 0
	for epoch := range cfg.Epochs {
		loss := t.imitateEpoch(x, wanted, n, rng)
		watched := loss
		if behind > 0 {
			watched = t.imitateLoss(x, wanted, n)
		}
		if math.IsNaN(watched) || math.IsInf(watched, 0) {
			return nil, invalid(fmt.Sprintf("training: the loss left the finite numbers in epoch %d", epoch+1), "lower the rate")
		}
		if since++; behind == 0 || watched < bestLoss {
			best, bestLoss, since = t.net, watched, 0
			if behind > 0 {
				best = t.net.clone()
			}
		}
		if cfg.Progress != nil {
			cfg.Progress(Epoch{Number: epoch + 1, Loss: loss, Validation: watched, Best: since == 0})
		}
		if cfg.Patience > 0 && since >= cfg.Patience {
			break
		}
	}
	return best, nil
}

func checkWanted(cfg Config, x, wanted Matrix, held float64) error {
	labels := Set{X: x, Y: make([]int, max(x.Rows, 0))}
	switch {
	case cfg.Weights != nil:
		return invalid("training: weights of classes are for labels, and these are probabilities", "")
	case !(held >= 0) || held > 0.9:
		return invalid(fmt.Sprintf("training: a share of %v held back", held), "hold back 0 to 0.9")
	case wanted.Rows != x.Rows || wanted.Cols != cfg.Classes || len(wanted.Data) != wanted.Rows*wanted.Cols:
		return invalid(fmt.Sprintf("training: probabilities of %d by %d for %d rows and %d classes", wanted.Rows, wanted.Cols, x.Rows, cfg.Classes), "")
	}
	for i := range wanted.Rows {
		sum := 0.0
		for _, p := range wanted.Row(i) {
			if !(p >= 0) {
				return invalid(fmt.Sprintf("training: row %d wants a probability of %v", i, p), "")
			}
			sum += float64(p)
		}
		if math.Abs(sum-1) > 1e-3 {
			return invalid(fmt.Sprintf("training: the probabilities of row %d add up to %v", i, sum), "")
		}
	}
	return cfg.check(labels, labels)
}

// imitateEpoch takes one pass over the first n rows in a random order and returns the
// mean loss met on the way.
func (t *trainer) imitateEpoch(x, wanted Matrix, n int, rng *rand.Rand) float64 {
	order, loss := rng.Perm(n), 0.0
	top, errs := t.acts[len(t.acts)-1], t.errs[len(t.errs)-1]
	for start := 0; start < n; start += t.cfg.Batch {
		batch := order[start:min(start+t.cfg.Batch, n)]
		for i, r := range batch {
			copy(t.acts[0].Row(i), x.Row(r))
		}
		t.forward(len(batch))
		for i, r := range batch {
			loss += against(top.Row(i), wanted.Row(r))
			for j, p := range wanted.Row(r) {
				errs.Row(i)[j] = float32((top.Row(i)[j] - p) / float32(len(batch)))
			}
		}
		t.backward(len(batch))
		t.update()
	}
	return loss / float64(n)
}

// imitateLoss returns the mean loss on the rows from n on.
func (t *trainer) imitateLoss(x, wanted Matrix, n int) float64 {
	behind := Matrix{Rows: x.Rows - n, Cols: x.Cols, Data: x.Data[n*x.Cols:]}
	loss := 0.0
	for i, p := 0, t.net.Predict(behind); i < p.Rows; i++ {
		loss += against(p.Row(i), wanted.Row(n+i))
	}
	return loss / float64(behind.Rows)
}

// against is the cross-entropy of what is said against what is wanted.
func against(said, wanted []float32) (loss float64) {
	for j, p := range wanted {
		if p > 0 {
			loss += float64(float64(p) * crossEntropy(said[j]))
		}
	}
	return loss
}

// Gradient returns, for each row of x, how the logarithm of the probability of a class
// changes with each column of the row. class has one class for each row.
func (m *MLP) Gradient(x Matrix, class []int) Matrix {
	acts := []Matrix{x}
	for i, l := range m.layers {
		y := NewMatrix(x.Rows, l.out)
		l.forward(y, acts[i], i < len(m.layers)-1)
		acts = append(acts, y)
	}
	d := acts[len(acts)-1] // becomes the gradient before the softmax: 1 at the class, less the probabilities
	for i := range d.Rows {
		row := d.Row(i)
		onnx.Softmax(row)
		for j := range row {
			row[j] = -row[j]
		}
		row[class[i]]++
	}
	t := trainer{}
	for i := len(m.layers) - 1; i >= 0; i-- {
		l, below := m.layers[i], NewMatrix(x.Rows, m.layers[i].in)
		if t.back = make([]float32, len(l.w)); i > 0 {
			t.pass(l, acts[i], d, below)
		} else {
			back := onnx.Transpose(t.back, l.w, l.in, l.out)
			for r := range d.Rows {
				onnx.Accumulate(below.Row(r), d.Row(r), 1, l.out, back, true)
			}
		}
		d = below
	}
	return d
}
