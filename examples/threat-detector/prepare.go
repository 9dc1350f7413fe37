package threatdetector

import (
	"fmt"
	"math"

	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/onnx"
)

// The names of the model's input, [N, 41] of float32, and of its output, the
// probability of each class.
const (
	inputName  = "flow"
	outputName = "probabilities"
)

// clipAt bounds standardised features, in standard deviations. Beyond it a
// value is as strange as it gets, and must not drown the others.
const clipAt = 5

// rareCode is how many rows of the training set must carry a code for it to get
// a column; a weight learnt from fewer is noise.
const rareCode = 5

// A Preparation is the part of the graph before the network, fitted to a
// training set: it turns raw rows into what the network reads.
type Preparation struct {
	codes       [][]float32 // by feature: the codes that get a column
	mean, scale []float32   // of the columns, once logarithms are taken
}

// Prepare fits a preparation to raw rows.
func Prepare(x learn.Matrix) (*Preparation, error) {
	p := &Preparation{codes: make([][]float32, len(features))}
	for j, f := range features {
		p.codes[j] = frequent(x, j, len(f.Codes))
	}
	wide, err := run(p.unscaled(), x, "wide")
	if err != nil {
		return nil, err
	}
	p.standardise(wide)
	return p, nil
}

// frequent returns the codes of column j that are not rare.
func frequent(x learn.Matrix, j, codes int) []float32 {
	count := make([]int, codes+1)
	for i := range x.Rows {
		if codes > 0 {
			count[int(x.Row(i)[j])]++
		}
	}
	var kept []float32
	for code, n := range count[:codes] {
		if n >= rareCode {
			kept = append(kept, float32(code))
		}
	}
	return kept
}

// standardise sets mean and scale so that each column of the training set gets
// mean 0 and standard deviation 1. A column that never varies is silenced, and
// one-hot columns stay as they are.
func (p *Preparation) standardise(x learn.Matrix) {
	p.mean, p.scale = make([]float32, x.Cols), make([]float32, x.Cols)
	numeric := len(columns(plain)) + len(columns(heavy))
	for j := range x.Cols {
		if p.scale[j] = 1; j >= numeric {
			continue
		}
		sum, squares := 0.0, 0.0
		for i := range x.Rows {
			sum += float64(x.Row(i)[j])
		}
		mean := sum / float64(x.Rows)
		for i := range x.Rows {
			d := float64(x.Row(i)[j]) - mean
			squares += float64(d * d)
		}
		p.mean[j], p.scale[j] = float32(mean), 0
		if deviation := math.Sqrt(squares / float64(x.Rows)); deviation > 0 {
			p.scale[j] = float32(1 / deviation)
		}
	}
}

// Apply returns what the network reads for raw rows.
func (p *Preparation) Apply(x learn.Matrix) (learn.Matrix, error) {
	w := onnx.NewWriter("preparation")
	p.emit(w, w.Input(inputName, len(features)))
	w.Output("prepared", len(p.mean))
	return run(w.Bytes(), x, "prepared")
}

// Assemble returns the whole model as ONNX: the preparation and the network.
func Assemble(p *Preparation, m *learn.MLP) []byte {
	w := onnx.NewWriter("threat-detector")
	m.Emit(w, p.emit(w, w.Input(inputName, len(features))), outputName)
	w.Output(outputName, int(classes))
	return w.Bytes()
}

// emit adds the nodes of the preparation and returns the name of their result.
func (p *Preparation) emit(w *onnx.Writer, x string) string {
	x = p.widen(w, x)
	x = w.Node("Sub", "centred", []string{x, w.Floats("mean", []int{len(p.mean)}, p.mean)})
	x = w.Node("Mul", "scaled", []string{x, w.Floats("scale", []int{len(p.scale)}, p.scale)})
	return w.Node("Clip", "prepared", []string{x, w.Floats("lowest", nil, []float32{-clipAt}), w.Floats("highest", nil, []float32{clipAt})})
}

// widen takes logarithms and encodes the categorical features: plain columns,
// then heavy ones, then one-hot columns.
func (p *Preparation) widen(w *onnx.Writer, x string) string {
	parts := []string{w.Node("Gather", "plain", []string{x, w.Ints("plain.columns", columns(plain))}, onnx.Int("axis", 1))}
	counts := w.Node("Gather", "heavy", []string{x, w.Ints("heavy.columns", columns(heavy))}, onnx.Int("axis", 1))
	counts = w.Node("Max", "heavy.positive", []string{counts, w.Floats("zero", nil, []float32{0})})
	counts = w.Node("Add", "heavy.shifted", []string{counts, w.Floats("one", nil, []float32{1})})
	parts = append(parts, w.Node("Log", "heavy.log", []string{counts}))
	for _, j := range columns(encoded) {
		name, codes := features[j].Name, p.codes[j]
		code := w.Node("Gather", name, []string{x, w.Ints(name+".column", []int64{j})}, onnx.Int("axis", 1))
		code = w.Node("Equal", name+".equal", []string{code, w.Floats(name+".codes", []int{1, len(codes)}, codes)})
		const float = 1 // TensorProto.FLOAT
		parts = append(parts, w.Node("Cast", name+".onehot", []string{code}, onnx.Int("to", float)))
	}
	return w.Node("Concat", "wide", parts, onnx.Int("axis", 1))
}

// unscaled returns the part of the preparation that needs no fitting.
func (p *Preparation) unscaled() []byte {
	w := onnx.NewWriter("unscaled")
	p.widen(w, w.Input(inputName, len(features)))
	cols := len(columns(plain)) + len(columns(heavy))
	for _, codes := range p.codes {
		cols += len(codes)
	}
	w.Output("wide", cols)
	return w.Bytes()
}

// columns returns the features that are prepared in the given way.
func columns(s scale) []int64 {
	var list []int64
	for j, f := range features {
		if f.scale == s {
			list = append(list, int64(j))
		}
	}
	return list
}

func run(model []byte, x learn.Matrix, output string) (learn.Matrix, error) {
	g, err := onnx.Parse(model)
	if err != nil {
		return learn.Matrix{}, err
	}
	out, err := g.Run(map[string]learn.Matrix{inputName: x})
	if err != nil {
		return learn.Matrix{}, fmt.Errorf("run %s: %w", output, err)
	}
	return out[output], nil
}
