package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// maxDims is the most dimensions that a constant or an input may have.
const maxDims = 8

// maxExact is the largest integer up to which float32 holds them all.
const maxExact = 1 << 24

// A tensor is a constant of the model. Numbers are in floats, or in ints if its
// kind is integer or boolean.
type tensor struct {
	name   string
	kind   kind
	dims   []int64
	floats []float32
	ints   []int64
}

// A kind is what the numbers of a value stand for. All are calculated in
// float32, and kinds keep models honest about what they mix.
type kind int

const (
	real    kind = iota + 1
	integer      // within ±maxExact
	boolean      // 0 or 1
	text         // the index of a class whose name is a text; only outputs are
)

func (k kind) String() string {
	switch k {
	case real:
		return "float"
	case integer:
		return "integer"
	case boolean:
		return "bool"
	case text:
		return "text"
	}
	return "unknown"
}

// kindOf returns the kind of an ONNX element type.
func kindOf(elem uint64) (kind, error) {
	switch elem {
	case typeFloat:
		return real, nil
	case typeInt32, typeInt64:
		return integer, nil
	case typeBool:
		return boolean, nil
	}
	return 0, fmt.Errorf("element type %d is not supported: only FLOAT, INT32, INT64 and BOOL are", elem)
}

// readTensor reads a TensorProto. The numbers must be in the file and be as
// many as the shape says.
func readTensor(b []byte) (tensor, error) {
	var t tensor
	var raw []byte
	var elem, location uint64
	err := eachField(b, func(f field) error {
		switch f.num {
		case tensorDims:
			return f.ints(&t.dims)
		case tensorType:
			return f.number(&elem)
		case tensorName:
			return f.text(&t.name)
		case tensorRaw:
			return f.once(&raw)
		case tensorFloats:
			return f.floats(&t.floats)
		case tensorI32s, tensorI64s:
			return f.ints(&t.ints)
		case tensorLocation:
			return f.number(&location)
		case tensorExternal:
			location = 1
		}
		return nil
	})
	if err == nil && location != 0 {
		err = errors.New("its numbers are in another file, which is never opened")
	}
	if err == nil {
		t.kind, err = kindOf(elem)
	}
	if err == nil {
		err = t.fill(elem, raw)
	}
	if err != nil {
		return t, fmt.Errorf("constant %q: %w", t.name, err)
	}
	return t, nil
}

// fill decodes raw, if the numbers came that way, and checks their count.
func (t *tensor) fill(elem uint64, raw []byte) error {
	size, err := elements(t.dims)
	if err != nil {
		return err
	}
	if raw != nil && (t.floats != nil || t.ints != nil) || t.kind == real && t.ints != nil || t.kind != real && t.floats != nil {
		return errors.New("its numbers come in two fields, or in the wrong one")
	}
	width := int64(4)
	switch elem {
	case typeInt64:
		width = 8
	case typeBool:
		width = 1
	}
	if raw != nil && int64(len(raw)) != size*width {
		return fmt.Errorf("%d bytes for %d numbers of %d bytes", len(raw), size, width)
	}
	if raw != nil {
		t.decode(raw, int(size), elem)
	}
	if have := int64(len(t.floats) + len(t.ints)); have != size {
		return fmt.Errorf("%d numbers for a shape of %d", have, size)
	}
	for _, v := range t.ints {
		if t.kind == boolean && v != 0 && v != 1 {
			return fmt.Errorf("a bool of %d", v)
		}
	}
	return nil
}

func (t *tensor) decode(raw []byte, size int, elem uint64) {
	if elem == typeFloat {
		t.floats = make([]float32, size)
		for i := range t.floats {
			t.floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		return
	}
	t.ints = make([]int64, size)
	for i := range t.ints {
		switch elem {
		case typeInt32:
			t.ints[i] = int64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
		case typeInt64:
			t.ints[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		case typeBool:
			t.ints[i] = int64(raw[i])
		}
	}
}

// elements returns the number of elements in a shape, at most maxModel.
func elements(dims []int64) (int64, error) {
	if len(dims) > maxDims {
		return 0, fmt.Errorf("a shape of %d dimensions", len(dims))
	}
	size := int64(1)
	for _, d := range dims {
		if d < 1 || d > maxModel {
			return 0, fmt.Errorf("a dimension of %d", d)
		}
		if size *= d; size > maxModel {
			return 0, fmt.Errorf("a shape of more than %d numbers", maxModel)
		}
	}
	return size, nil
}

// numbers returns the elements as float32. Integers must be exact in it.
func (t *tensor) numbers() ([]float32, error) {
	if t.kind == real {
		return t.floats, nil
	}
	row := make([]float32, len(t.ints))
	for i, v := range t.ints {
		if v < -maxExact || v > maxExact {
			return nil, fmt.Errorf("constant %q holds the integer %d, beyond ±2^24", t.name, v)
		}
		row[i] = float32(v)
	}
	return row, nil
}
