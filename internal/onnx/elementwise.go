package onnx

import (
	"errors"
	"fmt"
	"math"
)

// wide makes a function of float32 of one of float64.
func wide(f func(float64) float64) func(float32) float32 {
	return func(x float32) float32 { return float32(f(float64(x))) }
}

// Sigmoid returns 1/(1+e**-x), by the side of zero on which Exp cannot overflow.
func Sigmoid(x float32) float32 {
	if x >= 0 {
		return 1 / (1 + Exp(-x))
	}
	e := Exp(x)
	return e / (1 + e)
}

// softplus is ln(1+eˣ) without overflow.
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// unary applies f to every element.
func unary(f func(float32) float32) operator {
	return func(c *compiler, n *node) error {
		if err := n.arity(1, 1, 1); err != nil {
			return err
		}
		return c.each(n, f)
	}
}

// each adds the step that makes output 0 of n from input 0 by applying f to
// every element.
func (c *compiler) each(n *node, f func(float32) float32) error {
	x, err := c.table(n, 0)
	if err != nil {
		return err
	}
	y, err := c.result(n, x, x.cols)
	c.step(func(fr *frame) {
		dst := fr.data[y.slot]
		for i, v := range fr.data[x.slot][:len(dst)] {
			dst[i] = f(v)
		}
	})
	return err
}

// sloped applies f, with the attribute alpha, to the elements below zero.
func sloped(alpha float32, f func(x, alpha float32) float32) operator {
	return func(c *compiler, n *node) error {
		if err := n.arity(1, 1, 1); err != nil {
			return err
		}
		alpha, err := n.float("alpha", alpha)
		if err != nil {
			return err
		}
		return c.each(n, func(x float32) float32 {
			if x < 0 {
				return f(x, alpha)
			}
			return x
		})
	}
}

// An operand is one side of a binary operator: a slot or a constant row. Its
// element in row i and column j is at i*stride + j*next of the data.
type operand struct {
	slot         int
	row          []float32 // if constant
	cols         int
	stride, next int
}

func (o *operand) data(f *frame, row int) []float32 {
	if o.row != nil {
		return o.row
	}
	return f.data[o.slot][row*o.stride:]
}

func paired(f func(a, b float32) float32) operator {
	return func(c *compiler, n *node) error { return c.pairs(n, real, f) }
}

func compare(f func(a, b float32) bool) operator {
	return func(c *compiler, n *node) error {
		return c.pairs(n, boolean, func(a, b float32) float32 {
			if f(a, b) {
				return 1
			}
			return 0
		})
	}
}

// pairs adds the step that makes output 0 of n, of the given kind, by applying
// f to the elements of both inputs. Each may be a table, a single column or, one
// of them, a constant row or scalar; one column meets every column of the other.
func (c *compiler) pairs(n *node, k kind, f func(a, b float32) float32) error {
	if err := n.arity(2, 2, 1); err != nil {
		return err
	}
	a, kindA, err := c.operand(n, 0)
	if err != nil {
		return err
	}
	b, kindB, err := c.operand(n, 1)
	if err != nil {
		return err
	}
	cols := max(a.cols, b.cols)
	switch {
	case a.row != nil && b.row != nil:
		return errors.New("both inputs are constant")
	case kindA != kindB || kindA == text || k == real && kindA != real:
		return fmt.Errorf("cannot mix %v and %v", kindA, kindB)
	case !a.spread(cols) || !b.spread(cols):
		return fmt.Errorf("%d columns do not meet %d", a.cols, b.cols)
	}
	y, err := c.slot(cols)
	if err != nil {
		return err
	}
	c.step(func(fr *frame) {
		for i := range fr.rows {
			x, z := a.data(fr, i), b.data(fr, i)
			for j, dst := 0, fr.data[y.slot][i*cols:(i+1)*cols]; j < len(dst); j++ {
				dst[j] = f(x[j*a.next], z[j*b.next])
			}
		}
	})
	y.kind = k
	return c.define(n.outputs[0], y)
}

func (c *compiler) operand(n *node, i int) (operand, kind, error) {
	v, err := c.in(n, i)
	if err != nil {
		return operand{}, 0, err
	}
	if v.constant == nil {
		if v.shape != table {
			err = fmt.Errorf("input %q is %v, want %v", n.inputs[i], v.shape, table)
		}
		return operand{slot: v.slot, cols: v.cols, stride: v.cols}, v.kind, err
	}
	row, err := v.constant.numbers()
	if err == nil && (len(v.constant.dims) > 2 || !v.constant.oneRow()) {
		err = fmt.Errorf("constant %q has shape %v, which is not one row", n.inputs[i], v.constant.dims)
	}
	return operand{row: row, cols: len(row)}, v.kind, err
}

// spread fits the operand to a result of the given width.
func (o *operand) spread(cols int) bool {
	if o.cols == cols {
		o.next = 1
	}
	return o.cols == cols || o.cols == 1
}

// clip bounds every element. The bounds are inputs, attributes before operator
// set 11, and may be left out.
func clip(c *compiler, n *node) error {
	if err := n.arity(1, 3, 1); err != nil {
		return err
	}
	var bounds [2]float32
	for i, otherwise := range [...]float64{math.Inf(-1), math.Inf(1)} {
		bound, err := n.float([...]string{"min", "max"}[i], float32(otherwise))
		if err == nil && len(n.inputs) > i+1 && n.inputs[i+1] != "" {
			var row []float32
			if row, err = c.row(n, i+1, 1); err == nil {
				bound = row[0]
			}
		}
		if err != nil {
			return err
		}
		bounds[i] = bound
	}
	return c.each(n, func(x float32) float32 { return min(max(x, bounds[0]), bounds[1]) })
}

func not(c *compiler, n *node) error {
	if err := n.arity(1, 1, 1); err != nil {
		return err
	}
	x, err := c.rows(n, 0)
	if err != nil {
		return err
	}
	if x.kind != boolean {
		return fmt.Errorf("input %q is %v, want bool", n.inputs[0], x.kind)
	}
	y, err := c.slot(x.cols)
	if err != nil {
		return err
	}
	y.kind, y.shape = boolean, x.shape
	c.step(func(f *frame) {
		for i, v := range f.data[x.slot] {
			f.data[y.slot][i] = 1 - v
		}
	})
	return c.define(n.outputs[0], y)
}
