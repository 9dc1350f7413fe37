package tensor

import "slices"

// A Datatype is the element type of a tensor, spelled as in the Open Inference
// Protocol v2. BF16 is missing on purpose: the protocol has no JSON form of it.
type Datatype string

// The datatypes.
const (
	Bool   Datatype = "BOOL"
	Uint8  Datatype = "UINT8"
	Uint16 Datatype = "UINT16"
	Uint32 Datatype = "UINT32"
	Uint64 Datatype = "UINT64"
	Int8   Datatype = "INT8"
	Int16  Datatype = "INT16"
	Int32  Datatype = "INT32"
	Int64  Datatype = "INT64"
	FP16   Datatype = "FP16"
	FP32   Datatype = "FP32"
	FP64   Datatype = "FP64"
	Bytes  Datatype = "BYTES"
)

// A Family is what a datatype's elements are held as.
type Family int

// The families.
const (
	unknown  Family = iota
	Boolean         // Data.Bools
	Unsigned        // Data.Uints
	Signed          // Data.Ints
	Floating        // Data.Floats
	Octets          // Data.Bytes
)

// datatypes is the one table of what each datatype is.
var datatypes = map[Datatype]struct {
	family Family
	bits   int
}{
	Bool:  {Boolean, 1},
	Uint8: {Unsigned, 8}, Uint16: {Unsigned, 16}, Uint32: {Unsigned, 32}, Uint64: {Unsigned, 64},
	Int8: {Signed, 8}, Int16: {Signed, 16}, Int32: {Signed, 32}, Int64: {Signed, 64},
	FP16: {Floating, 16}, FP32: {Floating, 32}, FP64: {Floating, 64},
	Bytes: {Octets, 0},
}

// Valid reports whether d is one of the datatypes above.
func (d Datatype) Valid() bool { return d.Family() != unknown }

// IsFloat reports whether d is FP16, FP32 or FP64.
func (d Datatype) IsFloat() bool { return d.Family() == Floating }

// Bits returns the size of one element: 8 to 64 for numbers, 1 for BOOL, and 0
// for BYTES, whose elements have no fixed size.
func (d Datatype) Bits() int { return datatypes[d].bits }

// Family returns what the elements of d are held as; none of the above for a datatype
// that is not valid.
func (d Datatype) Family() Family { return datatypes[d].family }

// Data holds the elements of a tensor, row-major. Exactly one field is in use,
// the one that the tensor's datatype names. Integers are exact. Floats hold
// values of the tensor's own datatype: an FP32 element is a float32 widened,
// already rounded, so that the checks see the number that the model computes on.
type Data struct {
	Bools  []bool    // BOOL
	Uints  []uint64  // UINT8 to UINT64
	Ints   []int64   // INT8 to INT64
	Floats []float64 // FP16, FP32, FP64; always finite after a parse
	Bytes  [][]byte  // BYTES
}

// A Tensor is one named array. A parsed tensor has at least one dimension, every
// dimension is at least 1, and Data holds exactly as many elements as the
// dimensions multiply to.
type Tensor struct {
	Name     string
	Datatype Datatype
	Shape    []int64 // dimension 0 counts rows
	Data     Data
}

// Rows returns dimension 0, or 0 for a tensor without dimensions.
func (t *Tensor) Rows() int {
	if len(t.Shape) == 0 {
		return 0
	}
	return int(t.Shape[0])
}

// Len returns how many elements Data holds for the tensor's datatype.
func (t *Tensor) Len() int {
	switch t.Datatype.Family() {
	case Boolean:
		return len(t.Data.Bools)
	case Unsigned:
		return len(t.Data.Uints)
	case Signed:
		return len(t.Data.Ints)
	case Floating:
		return len(t.Data.Floats)
	case Octets:
		return len(t.Data.Bytes)
	}
	return 0
}

// A Request asks a model for answers. Which model is asked stands in the URL,
// not in the body, so it is not here.
type Request struct {
	ID      string   // the caller's own mark; may be empty
	Inputs  []Tensor // at least one, names distinct
	Outputs []string // the outputs asked for; none means all

	form form // how the caller laid it out
}

// Rows returns the largest row count among the inputs, so that a request whose
// inputs disagree is never counted for less than it carries.
func (r *Request) Rows() int {
	rows := 0
	for i := range r.Inputs {
		rows = max(rows, r.Inputs[i].Rows())
	}
	return rows
}

// A Response is a model's answer.
type Response struct {
	Model   string   // the name that the server gives itself
	Version string   // may be empty
	ID      string   // the request's mark, if the server gave it back
	Outputs []Tensor // at least one, names distinct
}

// Clone returns a request that shares no memory with r.
func (r *Request) Clone() *Request {
	c := *r
	c.Inputs, c.Outputs = cloneTensors(r.Inputs), slices.Clone(r.Outputs)
	return &c
}

// Clone returns a response that shares no memory with r.
func (r *Response) Clone() *Response {
	c := *r
	c.Outputs = cloneTensors(r.Outputs)
	return &c
}

func cloneTensors(list []Tensor) []Tensor {
	out := slices.Clone(list)
	for i := range out {
		t := &out[i]
		t.Shape = slices.Clone(t.Shape)
		t.Data = Data{
			Bools: slices.Clone(t.Data.Bools), Uints: slices.Clone(t.Data.Uints), Ints: slices.Clone(t.Data.Ints),
			Floats: slices.Clone(t.Data.Floats), Bytes: slices.Clone(t.Data.Bytes),
		}
		for j, b := range t.Data.Bytes {
			t.Data.Bytes[j] = slices.Clone(b)
		}
	}
	return out
}
