package onnx

import (
	"fmt"
	"slices"
	"sync"

	"github.com/pavise/pavise"
)

// MaxCols is the most columns that one value may have.
const MaxCols = 1 << 14

// Limits on what running a model may take for each row, whatever its file
// says: a few small constants, used often, could otherwise ask for the world.
const (
	maxColumns = 1 << 17 // columns of all values together
	maxWork    = 1 << 26 // multiplications
)

// The versions of ONNX understood. Older operator sets give the same names to
// other meanings; newer ones than these have not been read.
const (
	minIR, maxIR       = 3, 14
	minOpset, maxOpset = 8, 27
	maxOpsetML         = 5 // of ai.onnx.ml
)

// blockRows is how many rows are carried through the graph together: enough to
// keep weights in cache between rows, few enough to keep the values there too.
const blockRows = 32

// A Port is an input or an output of a graph: float32 [N, Cols] for any N.
// Integer and boolean outputs, such as a class index, are given as float32, and
// one of a single dimension [N] as [N, 1].
type Port struct {
	Name string
	Cols int
}

// A Graph is an ONNX model made ready to run. It is safe for concurrent use.
type Graph struct {
	inputs  []Port
	outputs []Port
	results []int // results[i] is the slot of outputs[i]
	widths  []int // columns of each slot
	steps   []step
	frames  sync.Pool // of *frame
}

// A step computes one operator on the block of rows in a frame.
type step func(*frame)

// A frame is the memory of one run over one block of rows, by slot. The first
// slots are the inputs, which belong to the caller and are only read.
type frame struct {
	rows int
	data [][]float32 // each rows*width long
	own  [][]float32 // what data is cut from, blockRows*width long
}

// Parse reads a model whose inputs and outputs are tables, float32 [N,
// columns] with the number of columns fixed. It understands the operators of
// feed-forward models that the package comment lists. Whatever it does not
// know, or finds larger, deeper or other than it should be, is an error of kind
// Invalid that names the node and the operator.
func Parse(b []byte) (*Graph, error) {
	m, err := readModel(b)
	if err != nil {
		return nil, invalid(fmt.Sprintf("ONNX model: %v", err), "export the model again as ONNX with float32 weights inside the file")
	}
	if err := m.checkVersions(); err != nil {
		return nil, err
	}
	return compile(m)
}

func (m *model) checkVersions() error {
	if m.ir < minIR || m.ir > maxIR {
		return invalid(fmt.Sprintf("ONNX model: IR version %d is not supported", m.ir), fmt.Sprintf("export it with IR version %d to %d", minIR, maxIR))
	}
	if v, declared := m.opsets[""]; (v < minOpset || v > maxOpset) && (declared || m.uses("")) {
		return invalid(fmt.Sprintf("ONNX model: operator set %d is not supported", v), fmt.Sprintf("export it with operator set %d to %d", minOpset, maxOpset))
	}
	if v := m.opsets["ai.onnx.ml"]; v > maxOpsetML {
		return invalid(fmt.Sprintf("ONNX model: operator set %d of ai.onnx.ml is not supported", v), fmt.Sprintf("export it with operator set 1 to %d of ai.onnx.ml", maxOpsetML))
	}
	return nil
}

// uses reports whether a node is of the domain.
func (m *model) uses(domain string) bool {
	return slices.ContainsFunc(m.nodes, func(n node) bool { return n.domain == domain })
}

// Inputs returns what Run must be given, in the order of the model.
func (g *Graph) Inputs() []Port { return slices.Clone(g.inputs) }

// Outputs returns what Run gives, in the order of the model.
func (g *Graph) Outputs() []Port { return slices.Clone(g.outputs) }

// Run carries rows through the graph. Every input must be there by name, with
// its columns, and all with the same number of rows; the answer holds every
// output, with as many rows. The inputs are only read; the outputs are the
// caller's. Inputs of another shape are an error of kind Invalid; there is no
// other error.
func (g *Graph) Run(inputs map[string]Matrix) (map[string]Matrix, error) {
	rows, err := g.check(inputs)
	if err != nil {
		return nil, err
	}
	outputs := make(map[string]Matrix, len(g.outputs))
	for _, p := range g.outputs {
		outputs[p.Name] = NewMatrix(rows, p.Cols)
	}
	f := g.frames.Get().(*frame)
	defer g.release(f)
	for start := 0; start < rows; start += blockRows {
		end := min(start+blockRows, rows)
		f.rows = end - start
		for i, p := range g.inputs {
			f.data[i] = inputs[p.Name].Data[start*p.Cols : end*p.Cols]
		}
		for i := len(g.inputs); i < len(g.widths); i++ {
			f.data[i] = f.own[i][:f.rows*g.widths[i]]
		}
		for _, s := range g.steps {
			s(f)
		}
		for i, p := range g.outputs {
			copy(outputs[p.Name].Data[start*p.Cols:], f.data[g.results[i]])
		}
	}
	return outputs, nil
}

func (g *Graph) check(inputs map[string]Matrix) (rows int, err error) {
	if len(inputs) != len(g.inputs) {
		return 0, invalid(fmt.Sprintf("model takes %d inputs, not %d", len(g.inputs), len(inputs)), "")
	}
	for i, p := range g.inputs {
		x, ok := inputs[p.Name]
		if !ok {
			return 0, invalid(fmt.Sprintf("model input %q is missing", p.Name), "")
		}
		if x.Cols != p.Cols || !x.Valid() {
			return 0, invalid(fmt.Sprintf("model input %q: %d by %d holding %d numbers, want %d columns", p.Name, x.Rows, x.Cols, len(x.Data), p.Cols), "")
		}
		if i > 0 && x.Rows != rows {
			return 0, invalid(fmt.Sprintf("model input %q: %d rows where the others have %d", p.Name, x.Rows, rows), "")
		}
		rows = x.Rows
	}
	return rows, nil
}

// newFrame returns memory for one run. The slots of inputs have none of their
// own.
func (g *Graph) newFrame() *frame {
	f := &frame{data: make([][]float32, len(g.widths)), own: make([][]float32, len(g.widths))}
	for i := len(g.inputs); i < len(g.widths); i++ {
		f.own[i] = make([]float32, blockRows*g.widths[i])
	}
	return f
}

// release gives a frame back, without what belongs to the caller.
func (g *Graph) release(f *frame) {
	clear(f.data[:len(g.inputs)])
	g.frames.Put(f)
}

// refuse returns the error for a model that cannot be used because of a node.
func refuse(n *node, err error) *pavise.Error {
	op := n.op
	if n.domain != "" {
		op = n.domain + "." + op
	}
	return invalid(fmt.Sprintf("ONNX model: node %q (%s): %v", n.name, op, err), "feed-forward models and trees over tables run in place; serve others from a model server")
}

func invalid(msg, hint string) *pavise.Error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: msg, Hint: hint}
}
