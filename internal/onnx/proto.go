package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// The field numbers and enumerations of ONNX that the package reads or writes,
// from https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. The wire format
// is small and frozen; generated code for all of ONNX would be larger than this
// package.
const (
	modelIR, modelProducer, modelGraph, modelOpset, modelFunctions = 1, 2, 7, 8, 25
	opsetDomain, opsetVersion                                      = 1, 2

	graphNode, graphName, graphInitializer           = 1, 2, 5
	graphInput, graphOutput, graphSparseInitializer  = 11, 12, 15
	nodeInput, nodeOutput, nodeName, nodeOp          = 1, 2, 3, 4
	nodeAttribute, nodeDomain                        = 5, 7
	attrName, attrFloat, attrInt, attrString         = 1, 2, 3, 4
	attrTensor, attrFloats, attrInts                 = 5, 7, 8
	attrStrings, attrType                            = 9, 20
	infoName, infoType, typeTensor                   = 1, 2, 1
	tensorTypeElem, tensorTypeShape, shapeDim        = 1, 2, 1
	dimValue, dimParam                               = 1, 2
	tensorDims, tensorType, tensorFloats, tensorI32s = 1, 2, 4, 5
	tensorI64s, tensorName, tensorRaw                = 7, 8, 9
	tensorExternal, tensorLocation                   = 13, 14

	typeFloat, typeInt32, typeInt64, typeString, typeBool = 1, 6, 7, 8, 9

	attrTypeFloat, attrTypeInt, attrTypeString, attrTypeTensor, attrTypeFloats, attrTypeInts, attrTypeStrings = 1, 2, 3, 4, 6, 7, 8
)

// What a model may hold. A tabular model is far below all of them; they bound
// the memory that parsing hostile bytes can take.
const (
	maxModel   = 32 << 20 // bytes
	maxNodes   = 4096
	maxTensors = 4096
	maxPorts   = 64
	maxAttrs   = 32
	maxArity   = 256 // inputs or outputs of a node
	maxTexts   = MaxTreeNodes
	maxName    = 512 // bytes
)

// A model is an ONNX file taken apart and not yet understood.
type model struct {
	ir      uint64
	opsets  map[string]uint64 // by domain
	graph   []byte
	nodes   []node
	tensors []tensor
	inputs  []info
	outputs []info
}

// An info names an input or output of the graph.
type info struct {
	name string
	elem uint64
	dims []int64 // -1 where the model leaves it open
}

// A node is one operator.
type node struct {
	name, op, domain string
	inputs, outputs  []string
	attrs            []attribute
}

// An attribute is a setting of a node, whose value is in the field that its
// kind, an attrType constant, says.
type attribute struct {
	name   string
	kind   uint64
	number float32
	whole  int64
	text   string
	floats []float32
	ints   []int64
	texts  []string
	tensor *tensor
	used   bool // by the operator; what no operator asks for is refused
}

// A field is one field of a message, as it came.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	value uint64 // if a varint or of fixed size
	bytes []byte // if length-delimited
}

// eachField calls visit on every field of a message, and stops at its error.
func eachField(b []byte, visit func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		f := field{num: num, typ: typ}
		switch typ {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.value = uint64(v)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			return fmt.Errorf("field %d has wire type %d, which ONNX does not use", num, typ)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

func (f field) want(typ protowire.Type) error {
	if f.typ != typ {
		return fmt.Errorf("field %d has wire type %d, want %d", f.num, f.typ, typ)
	}
	return nil
}

// once sets *to to the bytes of a message that may appear once. Protobuf would
// merge the second with the first; two readers that merge differently would
// see two models in one file.
func (f field) once(to *[]byte) error {
	if *to != nil {
		return fmt.Errorf("field %d appears twice", f.num)
	}
	*to = f.bytes[:len(f.bytes):len(f.bytes)]
	if *to == nil {
		*to = []byte{}
	}
	return f.want(protowire.BytesType)
}

func (f field) number(to *uint64) error {
	*to = f.value
	return f.want(protowire.VarintType)
}

func (f field) text(to *string) error {
	if len(f.bytes) > maxName {
		return fmt.Errorf("field %d is a name of %d bytes; at most %d are read", f.num, len(f.bytes), maxName)
	}
	*to = string(f.bytes)
	return f.want(protowire.BytesType)
}

// ints appends a repeated integer, which may come packed or alone.
func (f field) ints(to *[]int64) error {
	if f.typ != protowire.BytesType {
		*to = append(*to, int64(f.value))
		return f.want(protowire.VarintType)
	}
	count := 0
	for _, b := range f.bytes {
		if b < 0x80 {
			count++ // the last byte of a varint
		}
	}
	*to = slices.Grow(*to, count)
	for b := f.bytes; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		*to, b = append(*to, int64(v)), b[n:]
	}
	return nil
}

// floats appends a repeated float, which may come packed or alone.
func (f field) floats(to *[]float32) error {
	if f.typ != protowire.BytesType {
		*to = append(*to, math.Float32frombits(uint32(f.value)))
		return f.want(protowire.Fixed32Type)
	}
	if len(f.bytes)%4 != 0 {
		return fmt.Errorf("field %d holds %d bytes, not whole floats", f.num, len(f.bytes))
	}
	*to = slices.Grow(*to, len(f.bytes)/4)
	for b := f.bytes; len(b) > 0; b = b[4:] {
		*to = append(*to, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return nil
}

func readModel(b []byte) (*model, error) {
	if len(b) > maxModel {
		return nil, fmt.Errorf("%d bytes; at most %d are read", len(b), maxModel)
	}
	m := &model{opsets: map[string]uint64{}}
	err := eachField(b, func(f field) error {
		switch f.num {
		case modelIR:
			return f.number(&m.ir)
		case modelGraph:
			return f.once(&m.graph)
		case modelOpset:
			return m.readOpset(f)
		case modelFunctions:
			return errors.New("it defines functions, which are not supported")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if m.graph == nil {
		return nil, errors.New("it holds no graph")
	}
	return m, eachField(m.graph, m.readGraphField)
}

func (m *model) readOpset(f field) error {
	if err := f.want(protowire.BytesType); err != nil {
		return err
	}
	domain, version := "", uint64(0)
	err := eachField(f.bytes, func(f field) error {
		switch f.num {
		case opsetDomain:
			return f.text(&domain)
		case opsetVersion:
			return f.number(&version)
		}
		return nil
	})
	if domain == "ai.onnx" {
		domain = ""
	}
	if v, known := m.opsets[domain]; known && v != version || len(m.opsets) == maxPorts {
		return fmt.Errorf("operator set %q is imported in two versions, or too many are", domain)
	}
	m.opsets[domain] = version
	return err
}

func (m *model) readGraphField(f field) error {
	switch f.num {
	case graphNode:
		return appendTo(&m.nodes, maxNodes, f, readNode)
	case graphInitializer:
		return appendTo(&m.tensors, maxTensors, f, readTensor)
	case graphInput:
		return appendTo(&m.inputs, maxPorts+maxTensors, f, readInfo)
	case graphOutput:
		return appendTo(&m.outputs, maxPorts, f, readInfo)
	case graphSparseInitializer:
		return errors.New("it holds a sparse initialiser, which is not supported")
	}
	return nil
}

// appendTo reads one message and appends it to a list of at most limit.
func appendTo[T any](list *[]T, limit int, f field, read func([]byte) (T, error)) error {
	if len(*list) == limit {
		return fmt.Errorf("field %d appears more than %d times", f.num, limit)
	}
	if err := f.want(protowire.BytesType); err != nil {
		return err
	}
	v, err := read(f.bytes)
	*list = append(*list, v)
	return err
}

func readNode(b []byte) (node, error) {
	var n node
	err := eachField(b, func(f field) error {
		switch f.num {
		case nodeInput:
			return appendTo(&n.inputs, maxArity, f, readName)
		case nodeOutput:
			return appendTo(&n.outputs, maxArity, f, readName)
		case nodeName:
			return f.text(&n.name)
		case nodeOp:
			return f.text(&n.op)
		case nodeDomain:
			return f.text(&n.domain)
		case nodeAttribute:
			return appendTo(&n.attrs, maxAttrs, f, readAttribute)
		}
		return nil
	})
	if n.domain == "ai.onnx" {
		n.domain = ""
	}
	if n.name == "" && len(n.outputs) > 0 {
		n.name = n.outputs[0]
	}
	return n, err
}

func readName(b []byte) (string, error) {
	if len(b) > maxName {
		return "", fmt.Errorf("a name of %d bytes; at most %d are read", len(b), maxName)
	}
	return string(b), nil
}

// readText reads one of a list of texts. The modes of tree nodes, of which there
// may be very many, share their memory.
func readText(b []byte) (string, error) {
	for _, mode := range treeModes {
		if string(b) == mode {
			return mode, nil
		}
	}
	return string(b), nil
}

func readAttribute(b []byte) (attribute, error) {
	var a attribute
	var value []byte
	err := eachField(b, func(f field) error {
		switch f.num {
		case attrName:
			return f.text(&a.name)
		case attrFloat:
			a.number = math.Float32frombits(uint32(f.value))
			return f.want(protowire.Fixed32Type)
		case attrInt:
			a.whole = int64(f.value)
			return f.want(protowire.VarintType)
		case attrString:
			return f.text(&a.text)
		case attrFloats:
			return f.floats(&a.floats)
		case attrInts:
			return f.ints(&a.ints)
		case attrStrings:
			return appendTo(&a.texts, maxTexts, f, readText)
		case attrTensor:
			return f.once(&value)
		case attrType:
			return f.number(&a.kind)
		}
		return nil
	})
	if err != nil || value == nil {
		return a, err
	}
	t, err := readTensor(value)
	a.tensor = &t
	return a, err
}

// readInfo reads a ValueInfoProto, of which only tensors are known.
func readInfo(b []byte) (info, error) {
	var in info
	var typ, tensor, shape []byte
	err := eachField(b, func(f field) error {
		switch f.num {
		case infoName:
			return f.text(&in.name)
		case infoType:
			return f.once(&typ)
		}
		return nil
	})
	if err == nil {
		err = eachField(typ, func(f field) error {
			if f.num != typeTensor {
				return nil
			}
			return f.once(&tensor)
		})
	}
	if err == nil {
		err = eachField(tensor, func(f field) error {
			switch f.num {
			case tensorTypeElem:
				return f.number(&in.elem)
			case tensorTypeShape:
				return f.once(&shape)
			}
			return nil
		})
	}
	if err == nil {
		err = eachField(shape, func(f field) error {
			if f.num != shapeDim {
				return nil
			}
			return appendTo(&in.dims, maxDims, f, readDim)
		})
	}
	return in, err
}

func readDim(b []byte) (int64, error) {
	size := int64(-1)
	err := eachField(b, func(f field) error {
		if f.num != dimValue {
			return nil
		}
		if size = int64(f.value); size < 0 {
			return fmt.Errorf("a dimension of %d", size)
		}
		return f.want(protowire.VarintType)
	})
	return size, err
}
