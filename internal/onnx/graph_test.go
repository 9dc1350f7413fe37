package onnx

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pavise/pavise"
)

// inML adds a node of the domain ai.onnx.ml, whose outputs are split at commas.
func (w *Writer) inML(op, output string, inputs []string, attrs ...Attr) string {
	w.NodeML(op, strings.Split(output, ","), inputs, attrs...)
	return output
}

// sample is a batch of two rows of three columns.
var sample = Matrix{Rows: 2, Cols: 3, Data: []float32{-2, 0, 3, 0.5, 1, -1}}

func TestOperators(t *testing.T) {
	e := func(x float64) float32 { return float32(math.Exp(x)) }
	for _, tc := range []struct {
		name  string
		build func(w *Writer, x string) // from x to "y"
		want  []float32
	}{
		{"Relu", func(w *Writer, x string) { w.Node("Relu", "y", []string{x}) }, []float32{0, 0, 3, 0.5, 1, 0}},
		{"Abs", func(w *Writer, x string) { w.Node("Abs", "y", []string{x}) }, []float32{2, 0, 3, 0.5, 1, 1}},
		{"Neg", func(w *Writer, x string) { w.Node("Neg", "y", []string{x}) }, []float32{2, 0, -3, -0.5, -1, 1}},
		{"Exp", func(w *Writer, x string) { w.Node("Exp", "y", []string{x}) }, []float32{e(-2), 1, e(3), e(0.5), e(1), e(-1)}},
		{"Tanh", func(w *Writer, x string) { w.Node("Tanh", "y", []string{x}) }, []float32{-0.9640276, 0, 0.9950548, 0.46211717, 0.7615942, -0.7615942}},
		{"Sigmoid", func(w *Writer, x string) { w.Node("Sigmoid", "y", []string{x}) }, []float32{0.11920292, 0.5, 0.95257413, 0.62245935, 0.7310586, 0.26894143}},
		{"Softplus", func(w *Writer, x string) { w.Node("Softplus", "y", []string{x}) }, []float32{0.126928, 0.6931472, 3.0485873, 0.974077, 1.3132617, 0.3132617}},
		{"Erf", func(w *Writer, x string) { w.Node("Erf", "y", []string{x}) }, []float32{-0.9953223, 0, 0.9999779, 0.5204999, 0.8427008, -0.8427008}},
		{"Elu", func(w *Writer, x string) { w.Node("Elu", "y", []string{x}, Float("alpha", 2)) }, []float32{2 * (e(-2) - 1), 0, 3, 0.5, 1, 2 * (e(-1) - 1)}},
		{"Reciprocal", func(w *Writer, x string) {
			w.Node("Exp", "e", []string{x})
			w.Node("Reciprocal", "y", []string{"e"})
		}, []float32{e(2), 1, e(-3), e(-0.5), e(-1), e(1)}},
		{"LogSoftmax", func(w *Writer, x string) { w.Node("LogSoftmax", "y", []string{x}) },
			[]float32{-5.0549853, -3.0549853, -0.0549853, -1.0549569, -0.5549569, -2.5549569}},
		{"Not", func(w *Writer, x string) {
			w.Node("Cast", "b", []string{x}, Int("to", typeBool))
			w.Node("Not", "y", []string{"b"})
		}, []float32{0, 1, 0, 0, 0, 0}},
		{"ReduceSum", func(w *Writer, x string) {
			w.Node("ReduceSum", "s", []string{x, w.Ints("axes", []int64{1})})
			w.Node("Div", "y", []string{x, "s"})
		}, []float32{-2, 0, 3, 1, 2, -2}},
		{"LeakyRelu", func(w *Writer, x string) { w.Node("LeakyRelu", "y", []string{x}) }, []float32{-0.02, 0, 3, 0.5, 1, -0.01}},
		{"Log of Sqrt", func(w *Writer, x string) {
			w.Node("Abs", "a", []string{x})
			w.Node("Sqrt", "s", []string{"a"})
			w.Node("Log", "y", []string{"s"})
		}, []float32{0.34657359, float32(math.Inf(-1)), 0.54930614, -0.34657359, 0, 0}},
		{"Add row", func(w *Writer, x string) {
			w.Node("Add", "y", []string{x, w.Floats("c", []int{3}, []float32{1, 2, 3})})
		}, []float32{-1, 2, 6, 1.5, 3, 2}},
		{"row Sub", func(w *Writer, x string) {
			w.Node("Sub", "y", []string{w.Floats("c", []int{1, 3}, []float32{1, 2, 3}), x})
		}, []float32{3, 2, 0, 0.5, 1, 4}},
		{"Mul self", func(w *Writer, x string) { w.Node("Mul", "y", []string{x, x}) }, []float32{4, 0, 9, 0.25, 1, 1}},
		{"Div scalar", func(w *Writer, x string) {
			w.Node("Div", "y", []string{x, w.Floats("c", nil, []float32{2})})
		}, []float32{-1, 0, 1.5, 0.25, 0.5, -0.5}},
		{"Pow", func(w *Writer, x string) {
			w.Node("Pow", "y", []string{x, w.Floats("c", nil, []float32{2})})
		}, []float32{4, 0, 9, 0.25, 1, 1}},
		{"Min then Max", func(w *Writer, x string) {
			w.Node("Min", "m", []string{x, w.Floats("one", nil, []float32{1})})
			w.Node("Max", "y", []string{"m", w.Floats("minus", nil, []float32{-1})})
		}, []float32{-1, 0, 1, 0.5, 1, -1}},
		{"Clip", func(w *Writer, x string) {
			w.Node("Clip", "y", []string{x, w.Floats("lo", nil, []float32{-1}), w.Floats("hi", nil, []float32{0.75})})
		}, []float32{-1, 0, 0.75, 0.5, 0.75, -1}},
		{"Clip above only", func(w *Writer, x string) {
			w.Node("Clip", "y", []string{x, "", w.Floats("hi", nil, []float32{0.75})})
		}, []float32{-2, 0, 0.75, 0.5, 0.75, -1}},
		{"Clip by attributes", func(w *Writer, x string) {
			w.Node("Clip", "y", []string{x}, Float("min", 0))
		}, []float32{0, 0, 3, 0.5, 1, 0}},
		{"ArrayFeatureExtractor of columns", func(w *Writer, x string) {
			w.inML("ArrayFeatureExtractor", "y", []string{x, w.Ints("i", []int64{2, 0, 2})})
		}, []float32{3, -2, 3, -1, 0.5, -1}},
		{"Gather", func(w *Writer, x string) {
			w.Node("Gather", "y", []string{x, w.Ints("i", []int64{2, -3, 2})}, Int("axis", 1))
		}, []float32{3, -2, 3, -1, 0.5, -1}},
		{"one-hot", func(w *Writer, x string) {
			w.Node("Gather", "g", []string{x, w.Ints("i", []int64{1})}, Int("axis", 1))
			w.Node("Equal", "q", []string{"g", w.Floats("codes", []int{1, 4}, []float32{0, 1, 2, 3})})
			w.Node("Cast", "y", []string{"q"}, Int("to", typeFloat))
		}, []float32{1, 0, 0, 0, 0, 1, 0, 0}},
		{"Greater", func(w *Writer, x string) {
			w.Node("Greater", "y", []string{x, w.Floats("c", nil, []float32{0})})
		}, []float32{0, 0, 1, 1, 1, 0}},
		{"Less", func(w *Writer, x string) {
			w.Node("Less", "y", []string{x, w.Floats("c", nil, []float32{0})})
		}, []float32{1, 0, 0, 0, 0, 1}},
		{"Cast to integer", func(w *Writer, x string) {
			w.Node("Div", "d", []string{x, w.Floats("c", nil, []float32{0.4})})
			w.Node("Cast", "y", []string{"d"}, Int("to", typeInt64))
		}, []float32{-5, 0, 7, 1, 2, -2}},
		{"Concat", func(w *Writer, x string) {
			w.Node("Neg", "n", []string{x})
			w.Node("Concat", "y", []string{"n", x}, Int("axis", -1))
		}, []float32{2, 0, -3, -2, 0, 3, -0.5, -1, 1, 0.5, 1, -1}},
		{"Softmax", func(w *Writer, x string) { w.Node("Softmax", "y", []string{x}) },
			[]float32{0.0063774609, 0.0471234165, 0.9464991226, 0.3482074279, 0.5740969930, 0.0776955791}},
		{"ArgMax", func(w *Writer, x string) { w.Node("ArgMax", "y", []string{x}, Int("axis", 1), Int("keepdims", 0)) }, []float32{2, 1}},
		{"MatMul", func(w *Writer, x string) {
			w.Node("MatMul", "y", []string{x, w.Floats("w", []int{3, 2}, []float32{1, 2, 3, 4, 5, 6})})
		}, []float32{13, 14, -1.5, -1}},
		{"Gemm", func(w *Writer, x string) {
			w.Node("Gemm", "y", []string{x, w.Floats("w", []int{2, 3}, []float32{1, 3, 5, 2, 4, 6}), w.Floats("c", []int{2}, []float32{1, -1})},
				Int("transB", 1), Float("alpha", 2), Float("beta", 3))
		}, []float32{29, 25, 0, -5}},
		{"zero meets infinity", func(w *Writer, x string) {
			w.Node("MatMul", "y", []string{x, w.Floats("w", []int{3, 1}, []float32{1, float32(math.Inf(1)), 1})})
		}, []float32{float32(math.NaN()), float32(math.Inf(1))}},
		{"BatchNormalization", func(w *Writer, x string) {
			w.Node("BatchNormalization", "y", []string{x, w.Floats("s", []int{3}, []float32{1, 2, 1}), w.Floats("b", []int{3}, []float32{0, 1, 0}),
				w.Floats("m", []int{3}, []float32{1, 1, 1}), w.Floats("v", []int{3}, []float32{4, 1, 4})}, Float("epsilon", 0))
		}, []float32{-1.5, -1, 1, -0.25, 1, -1}},
		{"nothing changes", func(w *Writer, x string) {
			w.Node("Identity", "i", []string{x})
			w.Node("Flatten", "f", []string{"i"})
			w.Node("Dropout", "d", []string{"f"})
			w.Node("Reshape", "y", []string{"d", w.Ints("s", []int64{-1, 3})})
		}, sample.Data},
		{"Scaler", func(w *Writer, x string) {
			w.inML("Scaler", "y", []string{x}, Floats("offset", []float32{1, 0, 1}), Floats("scale", []float32{2}))
		}, []float32{-6, 0, 4, -1, 2, -4}},
		{"Normalizer", func(w *Writer, x string) { w.inML("Normalizer", "y", []string{x}, Text("norm", "L1")) },
			[]float32{-0.4, 0, 0.6, 0.2, 0.4, -0.4}},
		{"LinearClassifier label", func(w *Writer, x string) {
			w.inML("LinearClassifier", "y,scores", []string{x}, Floats("coefficients", []float32{1, 0, 0, 0, 0, 1}), Floats("intercepts", []float32{0, 0}),
				Ints("classlabels_ints", []int64{10, 20}), Text("post_transform", "SOFTMAX"))
		}, []float32{20, 10}},
		{"LinearClassifier scores", func(w *Writer, x string) {
			w.inML("LinearClassifier", "label,y", []string{x}, Floats("coefficients", []float32{1, 0, 0, 0, 0, 1}), Floats("intercepts", []float32{0, 1}),
				Ints("classlabels_ints", []int64{10, 20}), Text("post_transform", "LOGISTIC"))
		}, []float32{0.11920292, 0.98201379, 0.62245933, 0.5}},
		{"label by index", func(w *Writer, x string) {
			w.Node("ArgMax", "a", []string{x}, Int("axis", 1))
			w.inML("ArrayFeatureExtractor", "l", []string{w.Ints("labels", []int64{7, 8, 9}), "a"})
			w.Node("Reshape", "y", []string{"l", w.Ints("s", []int64{-1})})
		}, []float32{9, 8}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := NewWriter("test")
			tc.build(w, w.Input("x", 3))
			w.Output("y", len(tc.want)/2)
			g, err := Parse(w.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			out, err := g.Run(map[string]Matrix{"x": sample})
			if err != nil {
				t.Fatal(err)
			}
			if y := out["y"]; y.Rows != 2 || !closeTo(y.Data, tc.want) {
				t.Errorf("have %v, want %v", y, tc.want)
			}
		})
	}
}

func closeTo(have, want []float32) bool {
	return slices.EqualFunc(have, want, func(a, b float32) bool {
		return a == b || a != a && b != b || math.Abs(float64(a-b)) <= 1e-6*max(1, math.Abs(float64(b)))
	})
}

func TestRunConcurrently(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	g := sampleGraph(t, rng)
	x := randomMatrix(rng, 40, 122)
	want, err := g.Run(map[string]Matrix{"x": x})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			part := Matrix{Rows: 40 - i, Cols: 122, Data: x.Data[i*122:]}
			for range 20 {
				out, err := g.Run(map[string]Matrix{"x": part})
				if err != nil || !slices.Equal(out["y"].Data, want["y"].Data[i*5:]) {
					t.Errorf("rows from %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestRunRefuses(t *testing.T) {
	g := sampleGraph(t, rand.New(rand.NewPCG(1, 1)))
	for name, in := range map[string]map[string]Matrix{
		"nothing":       {},
		"another name":  {"z": NewMatrix(1, 122)},
		"one more":      {"x": NewMatrix(1, 122), "z": NewMatrix(1, 1)},
		"narrow":        {"x": NewMatrix(1, 121)},
		"short data":    {"x": {Rows: 2, Cols: 122, Data: make([]float32, 122)}},
		"negative rows": {"x": {Rows: -1, Cols: 122}},
		"zero columns":  {"x": {Rows: 1}},
		"overflow":      {"x": {Rows: math.MaxInt/122 + 2, Cols: 122, Data: make([]float32, 122)}},
	} {
		if _, err := g.Run(in); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v, want an error of kind Invalid", name, err)
		}
	}
	w := NewWriter("two")
	w.Node("Add", "y", []string{w.Input("a", 2), w.Input("b", 2)})
	w.Output("y", 2)
	two, err := Parse(w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Run(map[string]Matrix{"a": NewMatrix(2, 2), "b": NewMatrix(3, 2)}); err == nil {
		t.Error("inputs of 2 and 3 rows are accepted")
	}
}

// TestParseRefuses holds graphs that say something Pavise must not guess at.
// Each must be refused, and the message name what is wrong.
func TestParseRefuses(t *testing.T) {
	scalar := func(w *Writer) string { return w.Floats("c", nil, []float32{1}) }
	for _, tc := range []struct {
		name  string
		build func(w *Writer, x string)
		want  []string
	}{
		{"operator", func(w *Writer, x string) { w.Node("Loop", "y", []string{x}) }, []string{`"y"`, "Loop", "not supported"}},
		{"domain", func(w *Writer, x string) { w.inML("Relu", "y", []string{x}) }, []string{"ai.onnx.ml.Relu"}},
		{"attribute", func(w *Writer, x string) { w.Node("Relu", "y", []string{x}, Int("beta", 1)) }, []string{"Relu", `"beta"`}},
		{"attribute twice", func(w *Writer, x string) {
			w.Node("Softmax", "y", []string{x}, Int("axis", 1), Int("axis", 0))
		}, []string{`"axis"`, "twice"}},
		{"attribute type", func(w *Writer, x string) { w.Node("Softmax", "y", []string{x}, Float("axis", 1)) }, []string{`"axis"`, "type"}},
		{"axis", func(w *Writer, x string) { w.Node("Softmax", "y", []string{x}, Int("axis", 0)) }, []string{"axis=0"}},
		{"default axis", func(w *Writer, x string) { w.Node("ArgMax", "y", []string{x}) }, []string{"axis=0"}},
		{"transA", func(w *Writer, x string) {
			w.Node("Gemm", "y", []string{x, w.Floats("w", []int{3, 1}, make([]float32, 3))}, Int("transA", 1))
		}, []string{"Gemm", "transA=1"}},
		{"cycle", func(w *Writer, x string) {
			w.Node("Add", "a", []string{x, "y"})
			w.Node("Relu", "y", []string{"a"})
		}, []string{`"a"`, "cycle"}},
		{"self", func(w *Writer, x string) { w.Node("Add", "y", []string{x, "y"}) }, []string{"cycle"}},
		{"missing", func(w *Writer, x string) { w.Node("Add", "y", []string{x, "ghost"}) }, []string{`"ghost"`, "does not exist"}},
		{"name taken", func(w *Writer, x string) {
			w.Node("Relu", "y", []string{x})
			w.Node("Neg", "y", []string{x})
		}, []string{"Neg", "taken"}},
		{"input twice", func(w *Writer, x string) { w.Node("Relu", "y", []string{w.Input("x", 3)}) }, []string{`"x"`, "taken"}},
		{"constant twice", func(w *Writer, x string) {
			w.Node("Add", "y", []string{x, scalar(w)})
			scalar(w)
		}, []string{`"c"`, "taken"}},
		{"no output", func(w *Writer, x string) { w.Node("Relu", "z", []string{x}) }, []string{`"y"`, "no node"}},
		{"constant output", func(w *Writer, _ string) { w.Floats("y", nil, []float32{1}) }, []string{"no node"}},
		{"too few inputs", func(w *Writer, x string) { w.Node("Add", "y", []string{x}) }, []string{"1 inputs"}},
		{"no inputs", func(w *Writer, x string) { w.Node("Concat", "y", nil, Int("axis", 1)) }, []string{"0 inputs"}},
		{"both constant", func(w *Writer, _ string) { c := scalar(w); w.Node("Add", "y", []string{c, c}) }, []string{"constant"}},
		{"columns", func(w *Writer, x string) {
			w.Node("Add", "y", []string{x, w.Floats("c", []int{2}, make([]float32, 2))})
		}, []string{"3 columns do not meet 2"}},
		{"column vector", func(w *Writer, x string) {
			w.Node("Add", "y", []string{x, w.Floats("c", []int{3, 1}, make([]float32, 3))})
		}, []string{"not one row"}},
		{"inner size", func(w *Writer, x string) {
			w.Node("MatMul", "y", []string{x, w.Floats("w", []int{2, 3}, make([]float32, 6))})
		}, []string{"take 2 columns"}},
		{"weights of one dimension", func(w *Writer, x string) {
			w.Node("MatMul", "y", []string{x, w.Floats("w", []int{3}, make([]float32, 3))})
		}, []string{"two dimensions"}},
		{"bias", func(w *Writer, x string) {
			w.Node("Gemm", "y", []string{x, w.Floats("w", []int{3, 2}, make([]float32, 6)), w.Floats("b", []int{3}, make([]float32, 3))})
		}, []string{`"b"`, "2 columns"}},
		{"gather out of range", func(w *Writer, x string) {
			w.Node("Gather", "y", []string{x, w.Ints("i", []int64{0, 3})}, Int("axis", 1))
		}, []string{"column 3 of 3"}},
		{"extracted column", func(w *Writer, x string) {
			w.inML("ArrayFeatureExtractor", "y", []string{x, w.Ints("i", []int64{3})})
		}, []string{"column 3 of 3"}},
		{"extracted from the end", func(w *Writer, x string) {
			w.inML("ArrayFeatureExtractor", "y", []string{x, w.Ints("i", []int64{-1})})
		}, []string{"counted from 0"}},
		{"gather far below", func(w *Writer, x string) {
			w.Node("Gather", "y", []string{x, w.Ints("i", []int64{math.MinInt64})}, Int("axis", 1))
		}, []string{"of 3"}},
		{"gather rows", func(w *Writer, x string) { w.Node("Gather", "y", []string{x, w.Ints("i", []int64{0})}) }, []string{"axis 1"}},
		{"kinds", func(w *Writer, x string) {
			w.Node("Equal", "q", []string{x, scalar(w)})
			w.Node("Add", "y", []string{"q", x})
		}, []string{"cannot mix bool and float"}},
		{"bool arithmetic", func(w *Writer, x string) {
			w.Node("Equal", "q", []string{x, scalar(w)})
			w.Node("Add", "y", []string{"q", "q"})
		}, []string{"cannot mix"}},
		{"join kinds", func(w *Writer, x string) {
			w.Node("Equal", "q", []string{x, scalar(w)})
			w.Node("Concat", "y", []string{"q", x}, Int("axis", 1))
		}, []string{"cannot join"}},
		{"cast to double", func(w *Writer, x string) { w.Node("Cast", "y", []string{x}, Int("to", 11)) }, []string{"element type 11"}},
		{"integer beyond float32", func(w *Writer, x string) {
			w.Node("Cast", "k", []string{x}, Int("to", typeInt64))
			w.Node("Equal", "y", []string{"k", w.Ints("i", []int64{1 << 40})})
		}, []string{"2^24"}},
		{"reshape", func(w *Writer, x string) { w.Node("Reshape", "y", []string{x, w.Ints("s", []int64{3, -1})}) }, []string{"[3 -1]"}},
		{"computed weights", func(w *Writer, x string) { w.Node("MatMul", "y", []string{x, x}) }, []string{"must be a constant"}},
		{"Not of numbers", func(w *Writer, x string) { w.Node("Not", "y", []string{x}) }, []string{"bool"}},
		{"sum of rows", func(w *Writer, x string) {
			w.Node("ReduceSum", "y", []string{x, w.Ints("axes", []int64{0})})
		}, []string{"axes [0]"}},
		{"sum of all", func(w *Writer, x string) { w.Node("ReduceSum", "y", []string{x}) }, []string{"axes"}},
		{"no labels", func(w *Writer, x string) {
			w.inML("LinearClassifier", "y,z", []string{x}, Floats("coefficients", []float32{1, 0, 0, 0, 0, 1}), Floats("intercepts", []float32{0, 0}))
		}, []string{"exactly one", "classlabels_strings"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := NewWriter("test")
			tc.build(w, w.Input("x", 3))
			w.Output("y", 3)
			refused(t, w.Bytes(), tc.want...)
		})
	}
}

func refused(t *testing.T, model []byte, want ...string) {
	t.Helper()
	_, err := Parse(model)
	if err == nil {
		t.Fatal("accepted")
	}
	if pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("error of kind %v: %v", pavise.KindOf(err), err)
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}
