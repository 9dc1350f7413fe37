package onnx

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// operators are those understood, by domain and name.
var operators = map[string]operator{
	":Abs":        unary(func(x float32) float32 { return float32(math.Abs(float64(x))) }),
	":Erf":        unary(wide(math.Erf)),
	":Exp":        unary(Exp),
	":Log":        unary(wide(math.Log)),
	":Neg":        unary(func(x float32) float32 { return -x }),
	":Reciprocal": unary(func(x float32) float32 { return 1 / x }),
	":Relu":       unary(func(x float32) float32 { return max(x, 0) }),
	":Sigmoid":    unary(Sigmoid),
	":Softplus":   unary(wide(softplus)),
	":Sqrt":       unary(wide(math.Sqrt)),
	":Tanh":       unary(wide(math.Tanh)),
	":Elu":        sloped(1, func(x, alpha float32) float32 { return alpha * float32(math.Expm1(float64(x))) }),
	":LeakyRelu":  sloped(0.01, func(x, alpha float32) float32 { return alpha * x }),

	":Add":     paired(func(a, b float32) float32 { return a + b }),
	":Sub":     paired(func(a, b float32) float32 { return a - b }),
	":Mul":     paired(func(a, b float32) float32 { return a * b }),
	":Div":     paired(func(a, b float32) float32 { return a / b }),
	":Max":     paired(func(a, b float32) float32 { return max(a, b) }),
	":Min":     paired(func(a, b float32) float32 { return min(a, b) }),
	":Pow":     paired(func(a, b float32) float32 { return float32(math.Pow(float64(a), float64(b))) }),
	":Equal":   compare(func(a, b float32) bool { return a == b }),
	":Greater": compare(func(a, b float32) bool { return a > b }),
	":Less":    compare(func(a, b float32) bool { return a < b }),

	":Gemm":               gemm,
	":MatMul":             matMul,
	":BatchNormalization": batchNormalization,
	":Softmax":            softened(Softmax),
	":LogSoftmax":         softened(logSoftmax),
	":ReduceSum":          reduceSum,
	":Not":                not,
	":ArgMax":             argMaxRows,
	":Clip":               clip,

	":Cast":     cast,
	":Concat":   concat,
	":Constant": constant,
	":Dropout":  dropout,
	":Flatten":  flatten,
	":Gather":   gather,
	":Identity": identity,
	":Reshape":  reshape,

	"ai.onnx.ml:ArrayFeatureExtractor":  extractFeatures,
	"ai.onnx.ml:LinearClassifier":       linearClassifier,
	"ai.onnx.ml:Normalizer":             normalizer,
	"ai.onnx.ml:Scaler":                 scaler,
	"ai.onnx.ml:TreeEnsembleClassifier": treeClassifier,
	"ai.onnx.ml:TreeEnsembleRegressor":  treeRegressor,
	"ai.onnx.ml:ZipMap":                 zipMap,
}

// softened applies a function that changes a row in place.
func softened(soften func([]float32)) operator {
	return func(c *compiler, n *node) error {
		x, err := c.alongRows(n)
		if err != nil {
			return err
		}
		y, err := c.result(n, x, x.cols)
		c.step(func(f *frame) {
			copy(f.data[y.slot], f.data[x.slot])
			for i := range f.rows {
				soften(f.data[y.slot][i*x.cols : (i+1)*x.cols])
			}
		})
		return err
	}
}

// logSoftmax is the logarithm of softmax, exact where that is all but zero.
func logSoftmax(row []float32) {
	top, sum := row[argMax(row)], 0.0
	for _, v := range row {
		sum += math.Exp(float64(v - top))
	}
	shift := float32(math.Log(sum))
	for j := range row {
		row[j] -= top + shift
	}
}

// reduceSum adds up each row. The axes are an input, or an attribute before
// operator set 13.
func reduceSum(c *compiler, n *node) error {
	if err := n.arity(1, 2, 1); err != nil {
		return err
	}
	x, err := c.table(n, 0)
	if err != nil {
		return err
	}
	var axes []int64
	if a, err := n.attr("axes", attrTypeInts); err != nil {
		return err
	} else if a != nil {
		axes = a.ints
	}
	if len(n.inputs) == 2 {
		t, err := c.constant(n, 1, integer)
		if err != nil {
			return err
		}
		axes = t.ints
	}
	if !slices.Equal(axes, []int64{1}) && !slices.Equal(axes, []int64{-1}) {
		return fmt.Errorf("axes %v are not supported, only [1]", axes)
	}
	if err := n.only("keepdims", 1); err != nil {
		return err
	}
	if err := n.only("noop_with_empty_axes", 0, 1); err != nil {
		return err
	}
	y, err := c.result(n, x, 1)
	c.step(func(f *frame) {
		for i := range f.rows {
			var sum float32
			for _, v := range f.data[x.slot][i*x.cols : (i+1)*x.cols] {
				sum += v
			}
			f.data[y.slot][i] = sum
		}
	})
	return err
}

// alongRows checks a node with one input and an axis that must be the last.
func (c *compiler) alongRows(n *node) (value, error) {
	if err := n.arity(1, 1, 1); err != nil {
		return value{}, err
	}
	x, err := c.table(n, 0)
	if err == nil {
		err = n.only("axis", -1, 1)
	}
	return x, err
}

// argMaxRows gives the column of the largest element, as an integer.
func argMaxRows(c *compiler, n *node) error {
	axis, err := n.int("axis", 0)
	if err == nil && axis == 0 {
		err = errors.New("attribute axis=0 is not supported")
	}
	if err != nil {
		return err
	}
	x, err := c.alongRows(n)
	if err != nil {
		return err
	}
	keep, err := n.int("keepdims", 1)
	if err == nil {
		err = n.only("select_last_index", 0)
	}
	if err != nil {
		return err
	}
	y, err := c.slot(1)
	if err != nil {
		return err
	}
	if y.kind = integer; keep == 0 {
		y.shape = list
	}
	c.step(func(f *frame) {
		for i := range f.rows {
			f.data[y.slot][i] = float32(argMax(f.data[x.slot][i*x.cols : (i+1)*x.cols]))
		}
	})
	return c.define(n.outputs[0], y)
}

func gather(c *compiler, n *node) error {
	if err := n.arity(2, 2, 1); err != nil {
		return err
	}
	x, err := c.rows(n, 0)
	if err != nil {
		return err
	}
	index, err := c.constant(n, 1, integer)
	if err != nil {
		return err
	}
	axis, err := n.int("axis", 0)
	if err != nil {
		return err
	}
	if x.shape != table || axis != 1 && axis != -1 || len(index.dims) != 1 {
		return errors.New("only a list of columns of a table, axis 1, can be gathered")
	}
	return c.columnsOf(n, x, index.ints)
}

// columnsOf adds the step that makes output 0 of n of the columns of x with the
// given indices.
func (c *compiler) columnsOf(n *node, x value, indices []int64) error {
	y, err := c.slot(len(indices))
	if err != nil {
		return err
	}
	columns := make([]int, len(indices))
	for i, k := range indices {
		if k < 0 {
			k += int64(x.cols)
		}
		if k < 0 || k >= int64(x.cols) {
			return fmt.Errorf("column %d of %d", indices[i], x.cols)
		}
		columns[i] = int(k)
	}
	c.step(func(f *frame) {
		for i := range f.rows {
			src := f.data[x.slot][i*x.cols : (i+1)*x.cols]
			dst := f.data[y.slot][i*y.cols : (i+1)*y.cols]
			for j, k := range columns {
				dst[j] = src[k]
			}
		}
	})
	y.kind = x.kind
	return c.define(n.outputs[0], y)
}

func concat(c *compiler, n *node) error {
	if err := n.arity(1, maxArity, 1); err != nil {
		return err
	}
	axis, err := n.attr("axis", attrTypeInt)
	if err != nil {
		return err
	}
	if axis == nil || axis.whole != 1 && axis.whole != -1 {
		return errors.New("only columns, axis 1, can be joined")
	}
	parts := make([]value, len(n.inputs))
	cols := 0
	for i := range parts {
		if parts[i], err = c.rows(n, i); err != nil {
			return err
		}
		if parts[i].kind != parts[0].kind || parts[i].shape != table {
			return fmt.Errorf("cannot join %v %v and %v %v", parts[0].kind, parts[0].shape, parts[i].kind, parts[i].shape)
		}
		cols += parts[i].cols
	}
	y, err := c.slot(cols)
	if err != nil {
		return err
	}
	y.kind = parts[0].kind
	c.step(func(f *frame) {
		at := 0
		for _, p := range parts {
			for i := range f.rows {
				copy(f.data[y.slot][i*cols+at:], f.data[p.slot][i*p.cols:(i+1)*p.cols])
			}
			at += p.cols
		}
	})
	return c.define(n.outputs[0], y)
}

// cast changes the kind. Only the ways from float change a number.
func cast(c *compiler, n *node) error {
	if err := n.arity(1, 1, 1); err != nil {
		return err
	}
	x, err := c.rows(n, 0)
	if err != nil {
		return err
	}
	to, err := n.int("to", 0)
	if err != nil {
		return err
	}
	if x.kind == text && to == typeString {
		return c.define(n.outputs[0], x)
	}
	k, err := kindOf(uint64(to))
	if err == nil {
		err = n.only("saturate", 1, 0)
	}
	if err == nil && x.kind == text {
		err = fmt.Errorf("input %q is %v, which is no number", n.inputs[0], x.kind)
	}
	if err != nil {
		return err
	}
	if k == x.kind || k == real || x.kind == boolean {
		x.kind = k
		return c.define(n.outputs[0], x)
	}
	y, err := c.slot(x.cols)
	if err != nil {
		return err
	}
	y.kind, y.shape = k, x.shape
	change := func(v float32) float32 { return float32(math.Trunc(float64(v))) }
	if k == boolean {
		change = func(v float32) float32 {
			if v != 0 {
				return 1
			}
			return 0
		}
	}
	c.step(func(f *frame) {
		for i, v := range f.data[x.slot] {
			f.data[y.slot][i] = change(v)
		}
	})
	return c.define(n.outputs[0], y)
}

func constant(c *compiler, n *node) error {
	if err := n.arity(0, 0, 1); err != nil {
		return err
	}
	a, err := n.attr("value", attrTypeTensor)
	if err != nil {
		return err
	}
	if a == nil || a.tensor == nil {
		return errors.New("only a constant given as a tensor is supported")
	}
	return c.define(n.outputs[0], value{constant: a.tensor, kind: a.tensor.kind})
}

func identity(c *compiler, n *node) error {
	if err := n.arity(1, 1, 1); err != nil {
		return err
	}
	x, err := c.in(n, 0)
	if err != nil {
		return err
	}
	return c.define(n.outputs[0], x)
}

// dropout does nothing outside training.
func dropout(c *compiler, n *node) error {
	if err := n.arity(1, 2, 1); err != nil {
		return err
	}
	if _, err := n.float("ratio", 0); err != nil {
		return err
	}
	if _, err := n.int("seed", 0); err != nil {
		return err
	}
	if len(n.inputs) == 2 {
		if _, err := c.constant(n, 1, real); err != nil {
			return err
		}
	}
	x, err := c.rows(n, 0)
	if err != nil {
		return err
	}
	return c.define(n.outputs[0], x)
}

func flatten(c *compiler, n *node) error {
	if err := n.arity(1, 1, 1); err != nil {
		return err
	}
	x, err := c.rows(n, 0)
	if err == nil && x.shape != table {
		err = fmt.Errorf("input %q is %v, want %v", n.inputs[0], x.shape, table)
	}
	if err == nil {
		err = n.only("axis", 1, -1)
	}
	if err != nil {
		return err
	}
	return c.define(n.outputs[0], x)
}

// reshape lets rows be: [-1] of a single column, and [-1, columns].
func reshape(c *compiler, n *node) error {
	if err := n.arity(2, 2, 1); err != nil {
		return err
	}
	x, err := c.rows(n, 0)
	if err != nil {
		return err
	}
	to, err := c.constant(n, 1, integer)
	if err == nil {
		err = n.only("allowzero", 0, 1)
	}
	if err != nil {
		return err
	}
	switch {
	case x.cols == 1 && slices.Equal(to.ints, []int64{-1}):
		x.shape = list
	case slices.Equal(to.ints, []int64{-1, int64(x.cols)}):
		x.shape = table
	default:
		return fmt.Errorf("a shape of %v for rows of %d columns", to.ints, x.cols)
	}
	return c.define(n.outputs[0], x)
}

// zipMap lets scores be the table that they are: the maps from class to score
// that it makes of them say no more.
func zipMap(c *compiler, n *node) error {
	if err := n.arity(1, 1, 1); err != nil {
		return err
	}
	x, err := c.table(n, 0)
	if err != nil {
		return err
	}
	names, err := n.labels("classlabels_int64s")
	if err != nil {
		return err
	}
	if names.count != x.cols {
		return fmt.Errorf("%d classes for %d columns", names.count, x.cols)
	}
	return c.define(n.outputs[0], x)
}
