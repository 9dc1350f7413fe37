package onnx

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The versions written: IR version 8 and operator set 13 are understood by
// every runtime since ONNX 1.10 (2021), version 1 of ai.onnx.ml by all.
const (
	writeIR      = 8
	writeOpset   = 13
	writeOpsetML = 1
)

// A Writer puts an ONNX model together, in the order of its calls. Values are
// known by name; a node must follow what it reads. It checks nothing:
// Parse does.
type Writer struct {
	name                              string
	nodes, constants, inputs, outputs []byte
	ml                                bool // there is a node of ai.onnx.ml
}

// NewWriter starts a model whose graph has the given name.
func NewWriter(name string) *Writer { return &Writer{name: name} }

// Input declares an input of float32 [N, cols] and returns its name.
func (w *Writer) Input(name string, cols int) string {
	w.inputs = appendMessage(w.inputs, graphInput, port(name, cols))
	return name
}

// Output declares the value of the given name, float32 [N, cols], an output.
func (w *Writer) Output(name string, cols int) {
	w.outputs = appendMessage(w.outputs, graphOutput, port(name, cols))
}

// Floats adds a constant of float32 and returns its name. The shape's product
// is len(data); an empty shape is a scalar.
func (w *Writer) Floats(name string, shape []int, data []float32) string {
	raw := make([]byte, 0, 4*len(data))
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	w.constant(name, shape, typeFloat, raw)
	return name
}

// Ints adds a constant list of int64 and returns its name.
func (w *Writer) Ints(name string, data []int64) string {
	raw := make([]byte, 0, 8*len(data))
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	w.constant(name, []int{len(data)}, typeInt64, raw)
	return name
}

func (w *Writer) constant(name string, shape []int, elem uint64, raw []byte) {
	var t []byte
	for _, d := range shape {
		t = appendVarint(t, tensorDims, uint64(d))
	}
	t = appendVarint(t, tensorType, elem)
	t = appendMessage(t, tensorName, []byte(name))
	t = appendMessage(t, tensorRaw, raw)
	w.constants = appendMessage(w.constants, graphInitializer, t)
}

// An Attr is a setting of a node.
type Attr struct{ encoded []byte }

// Int returns an integer attribute.
func Int(name string, v int64) Attr {
	b := appendMessage(nil, attrName, []byte(name))
	b = appendVarint(b, attrInt, uint64(v))
	return Attr{appendVarint(b, attrType, attrTypeInt)}
}

// Float returns a float attribute.
func Float(name string, v float32) Attr {
	b := appendMessage(nil, attrName, []byte(name))
	b = protowire.AppendTag(b, attrFloat, protowire.Fixed32Type)
	b = protowire.AppendFixed32(b, math.Float32bits(v))
	return Attr{appendVarint(b, attrType, attrTypeFloat)}
}

// Floats returns an attribute that is a list of floats.
func Floats(name string, values []float32) Attr {
	b := appendMessage(nil, attrName, []byte(name))
	packed := make([]byte, 0, 4*len(values))
	for _, v := range values {
		packed = binary.LittleEndian.AppendUint32(packed, math.Float32bits(v))
	}
	return Attr{appendVarint(appendMessage(b, attrFloats, packed), attrType, attrTypeFloats)}
}

// Ints returns an attribute that is a list of integers.
func Ints(name string, values []int64) Attr {
	b := appendMessage(nil, attrName, []byte(name))
	var packed []byte
	for _, v := range values {
		packed = protowire.AppendVarint(packed, uint64(v))
	}
	return Attr{appendVarint(appendMessage(b, attrInts, packed), attrType, attrTypeInts)}
}

// Text returns an attribute that is a text.
func Text(name, value string) Attr {
	b := appendMessage(nil, attrName, []byte(name))
	return Attr{appendVarint(appendMessage(b, attrString, []byte(value)), attrType, attrTypeString)}
}

// Texts returns an attribute that is a list of texts.
func Texts(name string, values []string) Attr {
	b := appendMessage(nil, attrName, []byte(name))
	for _, v := range values {
		b = appendMessage(b, attrStrings, []byte(v))
	}
	return Attr{appendVarint(b, attrType, attrTypeStrings)}
}

// Node adds an operator that reads the values named by inputs and makes the
// value named output, which it returns. The node bears the same name.
func (w *Writer) Node(op, output string, inputs []string, attrs ...Attr) string {
	w.node("", op, []string{output}, inputs, attrs)
	return output
}

// NodeML adds an operator of the domain ai.onnx.ml, which may have more outputs
// than one. The node bears the name of the last.
func (w *Writer) NodeML(op string, outputs, inputs []string, attrs ...Attr) {
	w.ml = true
	w.node("ai.onnx.ml", op, outputs, inputs, attrs)
}

func (w *Writer) node(domain, op string, outputs, inputs []string, attrs []Attr) {
	var n []byte
	for _, in := range inputs {
		n = appendMessage(n, nodeInput, []byte(in))
	}
	for _, out := range outputs {
		n = appendMessage(n, nodeOutput, []byte(out))
	}
	n = appendMessage(n, nodeName, []byte(outputs[len(outputs)-1]))
	n = appendMessage(n, nodeOp, []byte(op))
	if domain != "" {
		n = appendMessage(n, nodeDomain, []byte(domain))
	}
	for _, a := range attrs {
		n = appendMessage(n, nodeAttribute, a.encoded)
	}
	w.nodes = appendMessage(w.nodes, graphNode, n)
}

// Bytes returns the model: the same calls give the same bytes.
func (w *Writer) Bytes() []byte {
	graph := append([]byte{}, w.nodes...)
	graph = appendMessage(graph, graphName, []byte(w.name))
	graph = append(graph, w.constants...)
	graph = append(graph, w.inputs...)
	graph = append(graph, w.outputs...)
	b := appendVarint(nil, modelIR, writeIR)
	b = appendMessage(b, modelProducer, []byte("pavise"))
	b = appendMessage(b, modelGraph, graph)
	b = appendMessage(b, modelOpset, appendVarint(nil, opsetVersion, writeOpset))
	if w.ml {
		ml := appendMessage(nil, opsetDomain, []byte("ai.onnx.ml"))
		b = appendMessage(b, modelOpset, appendVarint(ml, opsetVersion, writeOpsetML))
	}
	return b
}

// port encodes a ValueInfoProto of float32 ["N", cols].
func port(name string, cols int) []byte {
	shape := appendMessage(nil, shapeDim, appendMessage(nil, dimParam, []byte("N")))
	shape = appendMessage(shape, shapeDim, appendVarint(nil, dimValue, uint64(cols)))
	tensor := appendVarint(nil, tensorTypeElem, typeFloat)
	tensor = appendMessage(tensor, tensorTypeShape, shape)
	info := appendMessage(nil, infoName, []byte(name))
	return appendMessage(info, infoType, appendMessage(nil, typeTensor, tensor))
}

func appendMessage(b []byte, num protowire.Number, msg []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), msg)
}

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}
