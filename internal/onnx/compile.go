package onnx

import (
	"errors"
	"fmt"
	"slices"
)

// An operator checks one node and adds the steps that compute it.
type operator func(*compiler, *node) error

// A compiler turns a model into the steps of a Graph, node by node. What a step
// relies on is checked here, so that no step can fail.
type compiler struct {
	graph   *Graph
	values  map[string]value
	later   map[string]bool       // what some node makes, before or after
	turned  map[*tensor][]float32 // weights transposed, once however often used
	finite  map[*tensor]bool
	columns int // of all values so far
	work    int // multiplications to a row so far
}

// A value is what a name in the graph stands for: a constant, or a slot that
// steps fill.
type value struct {
	constant *tensor // if not nil, there is no slot
	slot     int
	cols     int
	kind     kind
	shape    shape
}

// A shape says how a value of N rows declares itself. In memory all are row by
// row.
type shape int

const (
	table shape = iota // [N, cols]
	list               // [N]
	flat               // [1, N], which only ArrayFeatureExtractor makes
)

func (s shape) String() string { return [...]string{"[N, columns]", "[N]", "[1, N]"}[s] }

func compile(m *model) (*Graph, error) {
	c := &compiler{
		graph: &Graph{}, values: map[string]value{}, later: map[string]bool{},
		turned: map[*tensor][]float32{}, finite: map[*tensor]bool{},
	}
	if err := c.declare(m); err != nil {
		return nil, invalid(fmt.Sprintf("ONNX model: %v", err), "")
	}
	for i := range m.nodes {
		n := &m.nodes[i]
		if err := c.compile(n); err != nil {
			return nil, refuse(n, err)
		}
	}
	if err := c.finish(m.outputs); err != nil {
		return nil, invalid(fmt.Sprintf("ONNX model: %v", err), "")
	}
	return c.graph, nil
}

// declare defines what the graph starts with: its constants and its inputs. A
// constant may be listed as an input too; then it is a default that older
// runtimes let a caller replace, and here stays as it is.
func (c *compiler) declare(m *model) error {
	for i := range m.tensors {
		t := &m.tensors[i]
		if err := c.define(t.name, value{constant: t, kind: t.kind}); err != nil {
			return fmt.Errorf("constant %q: %w", t.name, err)
		}
	}
	for _, in := range m.inputs {
		if v, ok := c.values[in.name]; ok && v.constant != nil {
			continue
		}
		if err := c.input(in); err != nil {
			return fmt.Errorf("input %q: %w", in.name, err)
		}
	}
	if len(c.graph.inputs) == 0 {
		return errors.New("it has no input")
	}
	for _, n := range m.nodes {
		for _, out := range n.outputs {
			c.later[out] = true
		}
	}
	return nil
}

func (c *compiler) input(in info) error {
	if in.elem != typeFloat || len(in.dims) != 2 || in.dims[1] < 1 || in.dims[1] > MaxCols {
		return fmt.Errorf("want a tensor of FLOAT [N, columns] with a fixed number of columns, at most %d; have element type %d, dimensions %v", MaxCols, in.elem, in.dims)
	}
	v, err := c.slot(int(in.dims[1]))
	if err != nil {
		return err
	}
	c.graph.inputs = append(c.graph.inputs, Port{Name: in.name, Cols: v.cols})
	return c.define(in.name, v)
}

func (c *compiler) compile(n *node) error {
	op, ok := operators[n.domain+":"+n.op]
	if !ok {
		return errors.New("the operator is not supported")
	}
	for i := range n.attrs {
		for j := range i {
			if n.attrs[i].name == n.attrs[j].name {
				return fmt.Errorf("attribute %q is given twice", n.attrs[i].name)
			}
		}
	}
	if err := op(c, n); err != nil {
		return err
	}
	for _, a := range n.attrs {
		if !a.used {
			return fmt.Errorf("attribute %q is not supported", a.name)
		}
	}
	return nil
}

func (c *compiler) finish(outputs []info) error {
	g := c.graph
	if len(outputs) == 0 {
		return errors.New("it has no output")
	}
	for _, out := range outputs {
		v, ok := c.values[out.name]
		if !ok || v.constant != nil {
			return fmt.Errorf("output %q: no node makes it", out.name)
		}
		if slices.ContainsFunc(g.outputs, func(p Port) bool { return p.Name == out.name }) {
			return fmt.Errorf("output %q: declared twice", out.name)
		}
		if v.shape == flat {
			return fmt.Errorf("output %q: its shape is %v", out.name, v.shape)
		}
		if v.kind == text {
			continue
		}
		g.outputs = append(g.outputs, Port{Name: out.name, Cols: v.cols})
		g.results = append(g.results, v.slot)
	}
	if len(g.outputs) == 0 {
		return errors.New("its outputs are texts, which a table of numbers cannot hold: let the scores be an output")
	}
	g.frames.New = func() any { return g.newFrame() }
	return nil
}

// define gives a name to a value, once.
func (c *compiler) define(name string, v value) error {
	if name == "" {
		return errors.New("it has no name")
	}
	if _, ok := c.values[name]; ok {
		return fmt.Errorf("the name %q is taken", name)
	}
	c.values[name] = v
	return nil
}

// slot makes room for a real table of the given width.
func (c *compiler) slot(cols int) (value, error) {
	if cols < 1 || cols > MaxCols {
		return value{}, fmt.Errorf("a value of %d columns; at most %d are allowed", cols, MaxCols)
	}
	if c.columns += cols; c.columns > maxColumns {
		return value{}, fmt.Errorf("all values together have more than %d columns", maxColumns)
	}
	c.graph.widths = append(c.graph.widths, cols)
	return value{slot: len(c.graph.widths) - 1, cols: cols, kind: real}, c.spend(cols)
}

// spend counts multiplications to a row, or what takes about as long.
func (c *compiler) spend(work int) error {
	if c.work += work; c.work > maxWork {
		return fmt.Errorf("a row would take more than %d multiplications", maxWork)
	}
	return nil
}

func (c *compiler) step(s step) { c.graph.steps = append(c.graph.steps, s) }

// result makes room for output 0 of n, of the given width, like x in all else.
func (c *compiler) result(n *node, x value, cols int) (value, error) {
	y, err := c.slot(cols)
	if err != nil {
		return y, err
	}
	y.shape = x.shape
	return y, c.define(n.outputs[0], y)
}

// arity checks the number of inputs and outputs. An optional one may be left
// out by an empty name.
func (n *node) arity(least, most, outputs int) error {
	if len(n.inputs) < least || len(n.inputs) > most {
		return fmt.Errorf("it has %d inputs, want %d to %d", len(n.inputs), least, most)
	}
	if len(n.outputs) == 0 || len(n.outputs) > outputs {
		return fmt.Errorf("it has %d outputs, want 1 to %d", len(n.outputs), outputs)
	}
	return nil
}

// in returns input i of n.
func (c *compiler) in(n *node, i int) (value, error) {
	v, ok := c.values[n.inputs[i]]
	switch {
	case ok:
		return v, nil
	case c.later[n.inputs[i]]:
		return v, fmt.Errorf("input %q is made by a later node: the nodes are out of order or form a cycle", n.inputs[i])
	}
	return v, fmt.Errorf("input %q does not exist", n.inputs[i])
}

// rows returns input i of n, which must not be constant.
func (c *compiler) rows(n *node, i int) (value, error) {
	v, err := c.in(n, i)
	if err == nil && v.constant != nil {
		err = fmt.Errorf("input %q is constant; only rows are supported there", n.inputs[i])
	}
	return v, err
}

// table returns input i of n, which must be a real table of [N, columns].
func (c *compiler) table(n *node, i int) (value, error) {
	v, err := c.rows(n, i)
	if err == nil && (v.kind != real || v.shape != table) {
		err = fmt.Errorf("input %q is %v %v, want float %v", n.inputs[i], v.kind, v.shape, table)
	}
	return v, err
}

// constant returns input i of n, which must be constant and of the kind.
func (c *compiler) constant(n *node, i int, k kind) (*tensor, error) {
	v, err := c.in(n, i)
	if err != nil {
		return nil, err
	}
	if v.constant == nil || v.kind != k {
		return nil, fmt.Errorf("input %q must be a constant of kind %v", n.inputs[i], k)
	}
	return v.constant, nil
}

// row returns constant input i of n as one row of the given width: a scalar is
// repeated.
func (c *compiler) row(n *node, i, cols int) ([]float32, error) {
	t, err := c.constant(n, i, real)
	if err != nil {
		return nil, err
	}
	if !t.oneRow() || len(t.floats) != 1 && len(t.floats) != cols {
		return nil, fmt.Errorf("constant %q of shape %v does not fit %d columns", n.inputs[i], t.dims, cols)
	}
	if len(t.floats) == cols {
		return t.floats, nil
	}
	return slices.Repeat(t.floats, cols), nil
}

// oneRow reports whether every dimension but the last is 1.
func (t *tensor) oneRow() bool {
	for _, d := range t.dims[:max(len(t.dims)-1, 0)] {
		if d != 1 {
			return false
		}
	}
	return true
}

// attr returns the named attribute of n, or nil if it is not given.
func (n *node) attr(name string, kind uint64) (*attribute, error) {
	for i := range n.attrs {
		a := &n.attrs[i]
		if a.name != name {
			continue
		}
		if a.used = true; a.kind != kind {
			return nil, fmt.Errorf("attribute %q has type %d, want %d", name, a.kind, kind)
		}
		return a, nil
	}
	return nil, nil
}

func (n *node) int(name string, otherwise int64) (int64, error) {
	a, err := n.attr(name, attrTypeInt)
	if a == nil {
		return otherwise, err
	}
	return a.whole, nil
}

func (n *node) float(name string, otherwise float32) (float32, error) {
	a, err := n.attr(name, attrTypeFloat)
	if a == nil {
		return otherwise, err
	}
	return a.number, nil
}

func (n *node) text(name, otherwise string) (string, error) {
	a, err := n.attr(name, attrTypeString)
	if a == nil {
		return otherwise, err
	}
	return a.text, nil
}

// only checks that an integer attribute, if given, is one of the values that
// are supported, the first of which is the default.
func (n *node) only(name string, values ...int64) error {
	v, err := n.int(name, values[0])
	if err == nil && !slices.Contains(values, v) {
		err = fmt.Errorf("attribute %s=%d is not supported", name, v)
	}
	return err
}
