package onnx

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"google.golang.org/protobuf/encoding/protowire"
)

// TestBombs holds small files that ask for the world.
func TestBombs(t *testing.T) {
	build := func(f func(w *Writer, x string)) []byte {
		w := NewWriter("bomb")
		f(w, w.Input("x", 3))
		w.Output("y", 3)
		return w.Bytes()
	}
	for name, tc := range map[string]struct {
		model []byte
		want  string
	}{
		"doubling": {build(func(w *Writer, x string) {
			for i := range 40 {
				x = w.Node("Concat", fmt.Sprint("c", i), []string{x, x}, Int("axis", 1))
			}
		}), "columns"},
		"many wide values": {build(func(w *Writer, x string) {
			wide := w.Floats("w", []int{3, MaxCols}, make([]float32, 3*MaxCols))
			for i := range 40 {
				w.Node("MatMul", fmt.Sprint("m", i), []string{x, wide})
			}
		}), "all values together"},
		"much work": {build(func(w *Writer, x string) {
			square := w.Floats("w", []int{1024, 1024}, make([]float32, 1024*1024))
			x = w.Node("MatMul", "first", []string{x, w.Floats("v", []int{3, 1024}, make([]float32, 3*1024))})
			for i := range 100 {
				x = w.Node("MatMul", fmt.Sprint("m", i), []string{x, square})
			}
		}), "multiplications"},
		"many nodes": {build(func(w *Writer, x string) {
			for i := range maxNodes + 1 {
				w.Node("Relu", fmt.Sprint(i), []string{x})
			}
		}), "more than 4096 times"},
		"negative dimension": {build(func(w *Writer, x string) { w.constant("c", []int{-1, 3}, typeFloat, nil) }), "dimension of -1"},
		"zero dimension":     {build(func(w *Writer, x string) { w.constant("c", []int{0}, typeFloat, nil) }), "dimension of 0"},
		"huge dimension":     {build(func(w *Writer, x string) { w.constant("c", []int{1 << 50}, typeFloat, []byte{1}) }), "dimension of"},
		"overflowing shape":  {build(func(w *Writer, x string) { w.constant("c", []int{1 << 20, 1 << 20, 1 << 24}, typeFloat, []byte{1}) }), "more than"},
		"short data":         {build(func(w *Writer, x string) { w.constant("c", []int{1 << 24}, typeFloat, []byte{1, 2, 3, 4}) }), "4 bytes for 16777216 numbers"},
		"half floats":        {build(func(w *Writer, x string) { w.constant("c", []int{1}, 10, []byte{1, 2}) }), "element type 10"},
		"odd bool":           {build(func(w *Writer, x string) { w.constant("c", []int{1}, typeBool, []byte{2}) }), "bool of 2"},
		"wide input":         {build(func(w *Writer, x string) { w.Input("z", MaxCols+1) }), `input "z"`},
		"long name":          {build(func(w *Writer, x string) { w.Input(strings.Repeat("n", maxName+1), 1) }), "name of 513 bytes"},
		"huge file":          {make([]byte, maxModel+1), "bytes; at most"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, tc.model, tc.want) })
	}
}

// TestForeignFiles holds ways in which two readers of one file could see two
// models.
func TestForeignFiles(t *testing.T) {
	w := NewWriter("test")
	w.Node("Relu", "y", []string{w.Input("x", 3)})
	w.Output("y", 3)
	good := w.Bytes()
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	external := appendVarint(nil, tensorType, typeFloat)
	external = appendVarint(external, tensorLocation, 1)
	external = appendMessage(external, tensorName, []byte("c"))
	graph := func(num protowire.Number, msg []byte) []byte {
		b := appendVarint(nil, modelIR, 8)
		b = appendMessage(b, modelOpset, appendVarint(nil, opsetVersion, 13))
		return appendMessage(b, modelGraph, appendMessage(nil, num, msg))
	}
	set := func(b []byte, domain string, version int) []byte {
		msg := appendMessage(nil, opsetDomain, []byte(domain))
		return appendMessage(slices.Clone(b), modelOpset, appendVarint(msg, opsetVersion, uint64(version)))
	}
	bare := good[:len(good)-len(appendMessage(nil, modelOpset, appendVarint(nil, opsetVersion, writeOpset)))]
	for name, tc := range map[string]struct {
		model []byte
		want  string
	}{
		"empty":               {nil, "no graph"},
		"text":                {[]byte("this is no model"), ""},
		"torn":                {good[:len(good)-3], ""},
		"second graph":        {appendMessage(slices.Clone(good), modelGraph, nil), "twice"},
		"second opset":        {appendMessage(slices.Clone(good), modelOpset, appendVarint(nil, opsetVersion, 12)), "two versions"},
		"old operators":       {set(bare, "", minOpset-1), "operator set 7"},
		"new operators":       {set(bare, "", maxOpset+1), "operator set 28"},
		"new operators of ML": {set(good, "ai.onnx.ml", maxOpsetML+1), "operator set 6 of ai.onnx.ml"},
		"operators of no set": {set(bare, "ai.onnx.ml", 1), "operator set 0"},
		"functions":           {appendMessage(slices.Clone(good), modelFunctions, nil), "functions"},
		"old":                 {appendVarint(slices.Clone(good), modelIR, 2), "IR version 2"},
		"new":                 {appendVarint(slices.Clone(good), modelIR, 99), "IR version 99"},
		"graph as int":        {appendVarint(nil, modelGraph, 1), "wire type"},
		"external":            {graph(graphInitializer, external), "another file"},
		"sparse":              {graph(graphSparseInitializer, nil), "sparse"},
		"two data":            {graph(graphInitializer, appendMessage(appendMessage(external[:2:2], tensorRaw, make([]byte, 4)), tensorFloats, make([]byte, 4))), "two fields"},
		"no input":            {graph(graphName, nil), "no input"},
		"odd float run":       {graph(graphInitializer, appendMessage(nil, tensorFloats, make([]byte, 5))), "whole floats"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, tc.model, tc.want) })
	}
}

// FuzzParse feeds bytes to the reader; what it accepts must run on any
// rows, and give what it promised.
func FuzzParse(f *testing.F) {
	w := NewWriter("network")
	perceptron(w, w.Input("x", 3), "y", rand.New(rand.NewPCG(1, 1)), 3, 4, 2)
	w.Output("y", 2)
	f.Add(w.Bytes())
	w = NewWriter("seed")
	x := w.Input("x", 3)
	w.Node("Gather", "g", []string{x, w.Ints("i", []int64{1})}, Int("axis", 1))
	w.Node("Equal", "q", []string{"g", w.Floats("k", []int{1, 4}, []float32{0, 1, 2, 3})})
	w.Node("Cast", "h", []string{"q"}, Int("to", typeFloat))
	w.Node("Concat", "all", []string{x, "h"}, Int("axis", 1))
	w.Node("Clip", "c", []string{"all", "", w.Floats("top", nil, []float32{5})})
	w.Node("ArgMax", "a", []string{"c"}, Int("axis", 1))
	w.inML("ArrayFeatureExtractor", "l", []string{w.Ints("labels", []int64{7, 8, 9}), "a"})
	w.Node("Reshape", "y", []string{"l", w.Ints("s", []int64{-1})})
	w.inML("LinearClassifier", "label,scores", []string{x}, Floats("coefficients", []float32{1, 0, 0, 0, 0, 1}), Floats("intercepts", []float32{0, 0}), Ints("classlabels_ints", []int64{1, 2}))
	w.Output("y", 1)
	w.Output("scores", 2)
	f.Add(w.Bytes())
	models, err := filepath.Glob("testdata/*.onnx")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range models {
		f.Add(readFile(f, path))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := Parse(b)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatalf("error of kind %v: %v", pavise.KindOf(err), err)
			}
			return
		}
		in := map[string]Matrix{}
		for _, p := range g.Inputs() {
			x := randomMatrix(rand.New(rand.NewPCG(1, 1)), 3, p.Cols)
			x.Data[0], x.Data[p.Cols] = float32(math.NaN()), float32(math.Inf(-1))
			in[p.Name] = x
		}
		out, err := g.Run(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range g.Outputs() {
			if y := out[p.Name]; y.Rows != 3 || y.Cols != p.Cols || !y.Valid() {
				t.Fatalf("output %q is %d by %d, promised %d columns", p.Name, y.Rows, y.Cols, p.Cols)
			}
		}
	})
}
