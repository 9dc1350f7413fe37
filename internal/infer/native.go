package infer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/tensor"
)

// A Native is an ONNX model that runs in this process. It is safe for
// concurrent use.
type Native struct {
	name   string
	digest string
	size   int
	graph  *onnx.Graph
}

// NewNative reads an ONNX model of float32 tables. The error is of kind Invalid
// and names what the runtime does not know.
func NewNative(name string, model []byte) (*Native, error) {
	graph, err := onnx.Parse(model)
	if err != nil {
		return nil, refused(err)
	}
	sum := sha256.Sum256(model)
	return &Native{name: name, digest: "sha256:" + hex.EncodeToString(sum[:]), size: len(model), graph: graph}, nil
}

// refused says first what it is about: whoever gave the wrong file does not know
// the words of the format.
func refused(err error) error {
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok || e.Kind != pavise.Invalid {
		return err
	}
	return &pavise.Error{Kind: e.Kind, Msg: "this is not an ONNX model that the gateway can run: " + e.Msg, Hint: e.Hint, Err: e.Err}
}

// Digest returns "sha256:" and the hex digest of the ONNX bytes.
func (n *Native) Digest() string { return n.digest }

// Size returns how many ONNX bytes there are.
func (n *Native) Size() int { return n.size }

// Signature returns what the model takes and gives.
func (n *Native) Signature() tensor.Signature {
	return tensor.Signature{Inputs: ports(n.graph.Inputs()), Outputs: ports(n.graph.Outputs())}
}

func ports(from []onnx.Port) []tensor.Port {
	out := make([]tensor.Port, len(from))
	for i, p := range from {
		out[i] = tensor.Port{Name: p.Name, Datatype: tensor.FP32, Shape: []int64{-1, int64(p.Cols)}}
	}
	return out
}

// Infer carries the request's rows through the model. The request has passed a
// gate of the model's signature. It runs to its end: a native model is small,
// and half an answer is of no use.
func (n *Native) Infer(_ context.Context, r *tensor.Request) (*tensor.Response, error) {
	inputs := make(map[string]onnx.Matrix, len(r.Inputs))
	for _, t := range r.Inputs {
		m, err := matrix(t)
		if err != nil {
			return nil, err
		}
		inputs[t.Name] = m
	}
	outputs, err := n.graph.Run(inputs)
	if err != nil {
		return nil, err
	}
	answer := &tensor.Response{Model: n.name, ID: r.ID}
	for _, p := range n.graph.Outputs() {
		if wanted(r.Outputs, p.Name) {
			answer.Outputs = append(answer.Outputs, toTensor(p.Name, outputs[p.Name]))
		}
	}
	return answer, nil
}

// matrix narrows a checked FP32 tensor to what the graph computes on.
func matrix(t tensor.Tensor) (onnx.Matrix, error) {
	if t.Datatype != tensor.FP32 || len(t.Shape) != 2 {
		return onnx.Matrix{}, &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("input %q is %s with %d dimensions; a native model takes FP32 with 2", t.Name, t.Datatype, len(t.Shape)),
		}
	}
	m := onnx.NewMatrix(int(t.Shape[0]), int(t.Shape[1]))
	for i, v := range t.Data.Floats {
		m.Data[i] = float32(v)
	}
	return m, nil
}

func toTensor(name string, m onnx.Matrix) tensor.Tensor {
	t := tensor.Tensor{Name: name, Datatype: tensor.FP32, Shape: []int64{int64(m.Rows), int64(m.Cols)}}
	t.Data.Floats = make([]float64, len(m.Data))
	for i, v := range m.Data {
		t.Data.Floats[i] = float64(v)
	}
	return t
}

// wanted reports whether an output was asked for; asking for none means all.
func wanted(asked []string, name string) bool {
	return len(asked) == 0 || slices.Contains(asked, name)
}
