package onnx

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// A product is x·w·alpha + bias, by rows.
type product struct {
	x, y   value
	w      []float32 // x.cols rows of y.cols
	finite bool      // all of w; zeros of x may then be skipped
	alpha  float32
	bias   []float32
}

func (p *product) run(f *frame) {
	for i := range f.rows {
		x := f.data[p.x.slot][i*p.x.cols : (i+1)*p.x.cols]
		y := f.data[p.y.slot][i*p.y.cols : (i+1)*p.y.cols]
		if p.alpha == 1 {
			copy(y, p.bias)
			Accumulate(y, x, 1, p.x.cols, p.w, p.finite)
			continue
		}
		clear(y)
		Accumulate(y, x, 1, p.x.cols, p.w, p.finite)
		for j := range y {
			y[j] = p.alpha*y[j] + p.bias[j]
		}
	}
}

func gemm(c *compiler, n *node) error {
	if err := n.arity(2, 3, 1); err != nil {
		return err
	}
	alpha, err := n.float("alpha", 1)
	if err != nil {
		return err
	}
	beta, err := n.float("beta", 1)
	if err != nil {
		return err
	}
	turned, err := n.int("transB", 0)
	if err == nil {
		err = n.only("transA", 0)
	}
	if err != nil {
		return err
	}
	p, err := c.product(n, turned != 0)
	if err != nil {
		return err
	}
	p.alpha = alpha
	if len(n.inputs) == 3 && n.inputs[2] != "" {
		row, err := c.row(n, 2, p.y.cols)
		if err != nil {
			return err
		}
		for j, v := range row {
			p.bias[j] = beta * v
		}
	}
	return nil
}

func matMul(c *compiler, n *node) error {
	if err := n.arity(2, 2, 1); err != nil {
		return err
	}
	_, err := c.product(n, false)
	return err
}

// product adds the step that multiplies input 0 of n by the constant matrix
// input 1, turned if so declared, with no bias yet.
func (c *compiler) product(n *node, turned bool) (*product, error) {
	x, err := c.table(n, 0)
	if err != nil {
		return nil, err
	}
	t, err := c.constant(n, 1, real)
	if err != nil {
		return nil, err
	}
	if len(t.dims) != 2 {
		return nil, fmt.Errorf("weights %q have shape %v, want two dimensions", t.name, t.dims)
	}
	in, out := int(t.dims[0]), int(t.dims[1])
	w := t.floats
	if turned {
		w, in, out = c.transposed(t), out, in
	}
	if in != x.cols {
		return nil, fmt.Errorf("weights %q take %d columns, input %q has %d", t.name, in, n.inputs[0], x.cols)
	}
	return c.multiply(n, x, w, out, c.isFinite(t))
}

func (c *compiler) multiply(n *node, x value, w []float32, out int, finite bool) (*product, error) {
	if err := c.spend(len(w)); err != nil {
		return nil, err
	}
	y, err := c.result(n, x, out)
	if err != nil {
		return nil, err
	}
	p := &product{x: x, y: y, w: w, finite: finite, alpha: 1, bias: make([]float32, out)}
	c.step(p.run)
	return p, nil
}

// transposed returns the numbers of a matrix turned, once for all its users.
func (c *compiler) transposed(t *tensor) []float32 {
	if c.turned[t] == nil {
		c.turned[t] = Transpose(make([]float32, len(t.floats)), t.floats, int(t.dims[0]), int(t.dims[1]))
	}
	return c.turned[t]
}

func (c *compiler) isFinite(t *tensor) bool {
	if _, known := c.finite[t]; !known {
		c.finite[t] = allFinite(t.floats)
	}
	return c.finite[t]
}

func allFinite(row []float32) bool {
	return !slices.ContainsFunc(row, func(v float32) bool { return v-v != 0 })
}

// affine adds the step y = x*scale + shift, column by column.
func (c *compiler) affine(n *node, x value, scale, shift []float32) error {
	y, err := c.result(n, x, x.cols)
	c.step(func(f *frame) {
		for i := range f.rows {
			dst := f.data[y.slot][i*x.cols : (i+1)*x.cols]
			for j, v := range f.data[x.slot][i*x.cols : (i+1)*x.cols] {
				dst[j] = v*scale[j] + shift[j]
			}
		}
	})
	return err
}

// batchNormalization is, outside training, (x-mean)/√(var+ε)·scale + shift.
func batchNormalization(c *compiler, n *node) error {
	if err := n.arity(5, 5, 1); err != nil {
		return err
	}
	x, err := c.table(n, 0)
	if err != nil {
		return err
	}
	epsilon, err := n.float("epsilon", 1e-5)
	if err == nil {
		_, err = n.float("momentum", 0)
	}
	if err == nil {
		err = n.only("training_mode", 0)
	}
	if err != nil {
		return err
	}
	var given [4][]float32 // scale, shift, mean, variance
	for i := range given {
		if given[i], err = c.row(n, i+1, x.cols); err != nil {
			return err
		}
	}
	scale, shift := make([]float32, x.cols), make([]float32, x.cols)
	for j := range scale {
		scale[j] = given[0][j] / float32(math.Sqrt(float64(given[3][j]+epsilon)))
		shift[j] = given[1][j] - given[2][j]*scale[j]
	}
	return c.affine(n, x, scale, shift)
}

// scaler is (x-offset)·scale.
func scaler(c *compiler, n *node) error {
	if err := n.arity(1, 1, 1); err != nil {
		return err
	}
	x, err := c.table(n, 0)
	if err != nil {
		return err
	}
	offset, err := n.row("offset", x.cols)
	if err != nil {
		return err
	}
	scale, err := n.row("scale", x.cols)
	if err != nil {
		return err
	}
	y, err := c.result(n, x, x.cols)
	c.step(func(f *frame) {
		for i := range f.rows {
			dst := f.data[y.slot][i*x.cols : (i+1)*x.cols]
			for j, v := range f.data[x.slot][i*x.cols : (i+1)*x.cols] {
				dst[j] = (v - offset[j]) * scale[j]
			}
		}
	})
	return err
}

// row returns a required attribute of floats as one row of the given width: a
// single one is repeated.
func (n *node) row(name string, cols int) ([]float32, error) {
	a, err := n.attr(name, attrTypeFloats)
	if err != nil {
		return nil, err
	}
	if a == nil || len(a.floats) != cols && len(a.floats) != 1 {
		return nil, fmt.Errorf("attribute %q must have 1 or %d floats", name, cols)
	}
	if len(a.floats) == cols {
		return a.floats, nil
	}
	return slices.Repeat(a.floats, cols), nil
}

// normalizer divides each row by its norm, unless that is zero.
func normalizer(c *compiler, n *node) error {
	if err := n.arity(1, 1, 1); err != nil {
		return err
	}
	x, err := c.table(n, 0)
	if err != nil {
		return err
	}
	kind, err := n.text("norm", "MAX")
	if err != nil {
		return err
	}
	norm, ok := map[string]func([]float32) float32{"MAX": slices.Max[[]float32], "L1": normL1, "L2": normL2}[kind]
	if !ok {
		return fmt.Errorf("attribute norm=%q is not supported", kind)
	}
	y, err := c.result(n, x, x.cols)
	c.step(func(f *frame) {
		for i := range f.rows {
			src := f.data[x.slot][i*x.cols : (i+1)*x.cols]
			by := norm(src)
			if by == 0 {
				by = 1
			}
			for j, v := range src {
				f.data[y.slot][i*x.cols+j] = v / by
			}
		}
	})
	return err
}

func normL1(row []float32) (sum float32) {
	for _, v := range row {
		sum += float32(math.Abs(float64(v)))
	}
	return sum
}

func normL2(row []float32) float32 {
	var sum float32
	for _, v := range row {
		sum += v * v
	}
	return float32(math.Sqrt(float64(sum)))
}

// linearClassifier gives a class label, its first output, and the score of each
// class, its second: x·wᵀ + intercepts, then a softmax, a logistic function or
// nothing.
func linearClassifier(c *compiler, n *node) error {
	if err := n.arity(1, 1, 2); err != nil {
		return err
	}
	if len(n.outputs) != 2 || n.outputs[0] == "" {
		return errors.New("both outputs, label and scores, must be named")
	}
	x, err := c.table(n, 0)
	if err != nil {
		return err
	}
	names, err := n.labels("classlabels_ints")
	if err != nil {
		return err
	}
	weights, err := n.attr("coefficients", attrTypeFloats)
	if err != nil {
		return err
	}
	if weights == nil || len(weights.floats) != names.count*x.cols {
		return fmt.Errorf("coefficients must be %d classes by %d columns", names.count, x.cols)
	}
	intercepts, err := n.row("intercepts", names.count)
	if err == nil {
		err = n.only("multi_class", 0, 1)
	}
	if err != nil {
		return err
	}
	post, err := n.text("post_transform", "NONE")
	if err != nil {
		return err
	}
	w := Transpose(make([]float32, len(weights.floats)), weights.floats, names.count, x.cols)
	scores := &node{outputs: n.outputs[1:]}
	p, err := c.multiply(scores, x, w, names.count, allFinite(w))
	if err != nil {
		return err
	}
	copy(p.bias, intercepts)
	finish, ok := transforms[post]
	if !ok || post == "SOFTMAX_ZERO" {
		return fmt.Errorf("attribute post_transform=%q is not supported", post)
	}
	return c.pick(n.outputs[0], p.y, names, finish)
}

// labels are the names of classes: numbers, or texts, which only their indices
// stand for.
type labels struct {
	count   int
	numbers []float32 // nil if texts
}

// labels returns the classes that n tells apart, whose names are in the given
// attribute or are texts.
func (n *node) labels(numbers string) (labels, error) {
	ints, err := n.attr(numbers, attrTypeInts)
	if err != nil {
		return labels{}, err
	}
	texts, err := n.attr("classlabels_strings", attrTypeStrings)
	if err != nil {
		return labels{}, err
	}
	l := labels{}
	switch {
	case ints != nil && texts == nil:
		l.count = len(ints.ints)
		l.numbers, err = (&tensor{name: numbers, kind: integer, ints: ints.ints}).numbers()
	case texts != nil && ints == nil:
		l.count = len(texts.texts)
	default:
		err = fmt.Errorf("exactly one of the attributes %s and classlabels_strings must be given", numbers)
	}
	if err == nil && (l.count < 2 || l.count > MaxCols) {
		err = fmt.Errorf("%d classes; there must be 2 to %d", l.count, MaxCols)
	}
	return l, err
}

// pick adds the step that gives the name of the best score, as an integer or a
// text, and then finishes the scores in place.
func (c *compiler) pick(name string, scores value, names labels, finish func([]float32)) error {
	y, err := c.slot(1)
	if err != nil {
		return err
	}
	y.kind, y.shape = text, list
	if names.numbers != nil {
		y.kind = integer
	}
	c.step(func(f *frame) {
		for i := range f.rows {
			row := f.data[scores.slot][i*scores.cols : (i+1)*scores.cols]
			best := float32(argMax(row))
			if names.numbers != nil {
				best = names.numbers[int(best)]
			}
			f.data[y.slot][i] = best
			finish(row)
		}
	})
	return c.define(name, y)
}

func sigmoids(row []float32) {
	for j, v := range row {
		row[j] = Sigmoid(v)
	}
}

// extractFeatures is ArrayFeatureExtractor in its two uses: columns of a table, by
// constant indices, and, of a constant row of labels, one to each row of the
// batch.
func extractFeatures(c *compiler, n *node) error {
	if err := n.arity(2, 2, 1); err != nil {
		return err
	}
	from, err := c.in(n, 0)
	if err != nil {
		return err
	}
	if from.constant != nil {
		return c.pickLabel(n)
	}
	index, err := c.constant(n, 1, integer)
	if err != nil {
		return err
	}
	if from.shape != table || !index.oneRow() || slices.Min(index.ints) < 0 {
		return errors.New("only a list of columns of a table, counted from 0, can be extracted")
	}
	return c.columnsOf(n, from, index.ints)
}

func (c *compiler) pickLabel(n *node) error {
	labels, err := c.constant(n, 0, integer)
	if err != nil {
		return err
	}
	row, err := labels.numbers()
	if err != nil {
		return err
	}
	x, err := c.rows(n, 1)
	if err != nil {
		return err
	}
	if x.kind != integer || x.cols != 1 || !labels.oneRow() {
		return errors.New("only labels of one row, by one index to a row, are supported")
	}
	y, err := c.slot(1)
	if err != nil {
		return err
	}
	y.kind, y.shape = integer, flat
	c.step(func(f *frame) {
		for i, at := range f.data[x.slot] {
			f.data[y.slot][i] = row[min(max(int(at), 0), len(row)-1)]
		}
	})
	return c.define(n.outputs[0], y)
}
