package learn

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/onnx"
)

// A Config says how Train fits a model.
type Config struct {
	Hidden   []int     // widths of the hidden layers; none makes a linear model
	Classes  int       // number of classes, at least 2
	Epochs   int       // passes over the training set, at least 1
	Batch    int       // rows to a step, at least 1
	Rate     float64   // Adam's step size, above 0; 1e-3 is usual
	L2       float64   // weight of the squared weights in the loss; 0 is off
	Weights  []float32 // weight of each class in the loss; nil weighs all rows alike
	Patience int       // epochs without a better validation loss before stopping; 0 never stops early

	// Progress, if set, is called after each epoch.
	Progress func(Epoch)
}

// An Epoch is how far training has come.
type Epoch struct {
	Number     int     // counted from 1
	Loss       float64 // mean cross-entropy on the training set, in nats
	Validation float64 // the same on the validation set
	Best       bool    // lowest validation loss so far
}

// Train fits an MLP to the training set by minimising cross-entropy with Adam
// (Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015) over
// mini-batches, and returns the model of the epoch whose loss on the
// validation set was lowest. All chance comes from rng: the same arguments give
// the same bits. Settings or sets that make no sense, and a loss that leaves
// the finite numbers, are errors of kind Invalid.
func Train(cfg Config, train, validation Set, rng *rand.Rand) (*MLP, error) {
	if err := cfg.check(train, validation); err != nil {
		return nil, err
	}
	sizes := append([]int{train.X.Cols}, cfg.Hidden...)
	t := newTrainer(cfg, newMLP(append(sizes, cfg.Classes), rng))
	best, bestLoss, since := t.net.clone(), math.Inf(1), 0
	for epoch := range cfg.Epochs {
		loss := t.epoch(train, rng)
		held := t.loss(validation)
		if math.IsNaN(loss+held) || math.IsInf(loss+held, 0) {
			return nil, invalid(fmt.Sprintf("training: the loss left the finite numbers in epoch %d", epoch+1), "lower the rate")
		}
		since++
		if held < bestLoss {
			best, bestLoss, since = t.net.clone(), held, 0
		}
		if cfg.Progress != nil {
			cfg.Progress(Epoch{Number: epoch + 1, Loss: loss, Validation: held, Best: since == 0})
		}
		if cfg.Patience > 0 && since >= cfg.Patience {
			break
		}
	}
	return best, nil
}

func (cfg Config) check(train, validation Set) error {
	switch {
	case cfg.Classes < 2 || cfg.Epochs < 1 || cfg.Batch < 1:
		return invalid("training: there must be at least 2 classes, 1 epoch and 1 row to a batch", "")
	case !(cfg.Rate > 0) || !(cfg.L2 >= 0):
		return invalid("training: the rate must be above 0 and L2 at least 0", "")
	}
	if err := checkWeights(cfg.Weights, cfg.Classes); err != nil {
		return err
	}
	for _, width := range cfg.Hidden {
		if width < 1 || width > onnx.MaxCols {
			return invalid(fmt.Sprintf("training: a hidden layer of %d", width), fmt.Sprintf("layers are 1 to %d wide", onnx.MaxCols))
		}
	}
	return checkSets(cfg.Classes, train, validation)
}

func checkWeights(weights []float32, classes int) error {
	if weights != nil && len(weights) != classes {
		return invalid(fmt.Sprintf("training: %d class weights for %d classes", len(weights), classes), "")
	}
	return nil
}

func checkSets(classes int, train, validation Set) error {
	if err := train.check(classes, train.X.Cols); err != nil {
		return invalid(fmt.Sprintf("training set: %v", err), "")
	}
	if err := validation.check(classes, train.X.Cols); err != nil {
		return invalid(fmt.Sprintf("validation set: %v", err), "")
	}
	return nil
}

func (s Set) check(classes, cols int) error {
	if !s.X.Valid() || s.X.Rows == 0 || s.X.Cols != cols || len(s.Y) != s.X.Rows {
		return fmt.Errorf("%d labels for a matrix of %d by %d holding %d numbers", len(s.Y), s.X.Rows, s.X.Cols, len(s.X.Data))
	}
	for i, y := range s.Y {
		if y < 0 || y >= classes {
			return fmt.Errorf("row %d: class %d of %d", i, y, classes)
		}
	}
	for i, v := range s.X.Data {
		if v-v != 0 {
			return fmt.Errorf("row %d, column %d: not a finite number", i/cols, i%cols)
		}
	}
	return nil
}

// A trainer holds the network being fitted and the buffers of one batch.
type trainer struct {
	cfg  Config
	net  *MLP
	acts []Matrix  // acts[0] is the batch; acts[i+1] what layer i made of it
	errs []Matrix  // errs[i] is the gradient of the loss at the output of layer i
	back []float32 // the weights of one layer, transposed
	grad []layer   // gradients of net.layers
	adam []moments // two to a layer: weights, biases
	step float64
}

func newTrainer(cfg Config, net *MLP) *trainer {
	t := &trainer{cfg: cfg, net: net, acts: []Matrix{NewMatrix(cfg.Batch, net.Inputs())}}
	widest := 0
	for _, l := range net.layers {
		t.acts = append(t.acts, NewMatrix(cfg.Batch, l.out))
		t.errs = append(t.errs, NewMatrix(cfg.Batch, l.out))
		t.grad = append(t.grad, layer{in: l.in, out: l.out, w: make([]float32, len(l.w)), b: make([]float32, len(l.b))})
		t.adam = append(t.adam, newMoments(len(l.w)), newMoments(len(l.b)))
		widest = max(widest, len(l.w))
	}
	t.back = make([]float32, widest)
	return t
}

// epoch takes one pass over the set in a random order and returns the mean
// loss met on the way.
func (t *trainer) epoch(s Set, rng *rand.Rand) float64 {
	order := rng.Perm(s.X.Rows)
	loss, weight := 0.0, 0.0
	labels := make([]int, 0, t.cfg.Batch)
	for start := 0; start < len(order); start += t.cfg.Batch {
		labels = labels[:0]
		for i, r := range order[start:min(start+t.cfg.Batch, len(order))] {
			copy(t.acts[0].Row(i), s.X.Row(r))
			labels = append(labels, s.Y[r])
		}
		t.forward(len(labels))
		l, w := t.differentiate(labels)
		loss, weight = loss+l, weight+w
		t.backward(len(labels))
		t.update()
	}
	return loss / weight
}

// loss returns the weighted mean cross-entropy of the network on a set.
func (t *trainer) loss(s Set) float64 {
	loss, weight := 0.0, 0.0
	for i, p := 0, t.net.Predict(s.X); i < p.Rows; i++ {
		w := weightOf(t.cfg.Weights, s.Y[i])
		loss, weight = loss+float64(w*crossEntropy(p.Row(i)[s.Y[i]])), weight+w
	}
	return loss / weight
}

func (t *trainer) forward(rows int) {
	for i, l := range t.net.layers {
		l.forward(head(t.acts[i+1], rows), head(t.acts[i], rows), i < len(t.net.layers)-1)
	}
	top := t.acts[len(t.acts)-1]
	for i := range rows {
		onnx.Softmax(top.Row(i))
	}
}

// differentiate sets the gradient at the last layer, before the softmax: the
// probabilities less the truth, by the weight of the row's class. It returns
// the summed loss and weight of the batch.
func (t *trainer) differentiate(labels []int) (loss, weight float64) {
	for _, y := range labels {
		weight += weightOf(t.cfg.Weights, y)
	}
	p, d := t.acts[len(t.acts)-1], t.errs[len(t.errs)-1]
	for i, y := range labels {
		w := weightOf(t.cfg.Weights, y)
		loss += float64(w * crossEntropy(p.Row(i)[y]))
		share := float32(w / weight)
		for j, v := range p.Row(i) {
			d.Row(i)[j] = float32(v * share)
		}
		d.Row(i)[y] -= share
	}
	return loss, weight
}

func (t *trainer) backward(rows int) {
	for i := len(t.net.layers) - 1; i >= 0; i-- {
		l, g, x, d := t.net.layers[i], t.grad[i], t.acts[i], head(t.errs[i], rows)
		clear(g.b)
		for r := range rows {
			for j, v := range d.Row(r) {
				g.b[j] += v
			}
		}
		for k := range l.in {
			row := g.w[k*l.out : (k+1)*l.out]
			for j, w := range l.w[k*l.out : (k+1)*l.out] {
				row[j] = float32(float32(t.cfg.L2) * w)
			}
			onnx.Accumulate(row, x.Data[k:], l.in, rows, d.Data, true)
		}
		if i > 0 {
			t.pass(l, head(x, rows), d, t.errs[i-1])
		}
	}
}

// pass carries the gradient d at the output of l to its input, whose values
// were x; a rectifier that was shut passes nothing.
func (t *trainer) pass(l layer, x, d, below Matrix) {
	back := onnx.Transpose(t.back[:len(l.w)], l.w, l.in, l.out)
	for r := range d.Rows {
		row := below.Row(r)
		clear(row)
		onnx.Accumulate(row, d.Row(r), 1, l.out, back, true)
		for j, v := range x.Row(r) {
			if v <= 0 {
				row[j] = 0
			}
		}
	}
}

func (t *trainer) update() {
	t.step++
	for i, l := range t.net.layers {
		t.adam[2*i].move(l.w, t.grad[i].w, t.cfg.Rate, t.step)
		t.adam[2*i+1].move(l.b, t.grad[i].b, t.cfg.Rate, t.step)
	}
}

// moments are Adam's running means of the gradient and of its square.
type moments struct {
	first, second []float32
}

func newMoments(n int) moments { return moments{make([]float32, n), make([]float32, n)} }

// move takes one step with the constants of the paper. The corrections for the
// zero start are folded into the rate and epsilon, as in its section 2.
func (m moments) move(w, grad []float32, rate, step float64) {
	const beta1, beta2, epsilon = 0.9, 0.999, 1e-8
	correct := math.Sqrt(1 - math.Pow(beta2, step))
	size := float32(rate * correct / (1 - math.Pow(beta1, step)))
	eps := float32(epsilon * correct)
	for i, g := range grad {
		m.first[i] = float32(beta1*m.first[i]) + float32((1-beta1)*g)
		m.second[i] = float32(beta2*m.second[i]) + float32((1-beta2)*float32(g*g))
		w[i] -= float32(size * m.first[i] / (float32(math.Sqrt(float64(m.second[i]))) + eps))
	}
}

// head returns the first rows of m.
func head(m Matrix, rows int) Matrix {
	return Matrix{Rows: rows, Cols: m.Cols, Data: m.Data[:rows*m.Cols]}
}

// crossEntropy is -ln p, held finite: below 1e-12 a prediction is as wrong as
// it gets.
func crossEntropy(p float32) float64 { return -math.Log(max(float64(p), 1e-12)) }

func invalid(msg, hint string) *pavise.Error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: msg, Hint: hint}
}
