package tensor

import "slices"

// A Datatype is the element type of a tensor, spelled as in the Open Inference
// Protocol v2. BF16 has no JSON form in the protocol: it travels as raw bytes only.
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
	BF16   Datatype = "BF16"
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

// Valid reports whether d is one of the datatypes above.
func (d Datatype) Valid() bool { return d.Family() != unknown }

// IsFloat reports whether d is FP16, BF16, FP32 or FP64.
func (d Datatype) IsFloat() bool { return d.Family() == Floating }

// Bits returns the size of one element: 8 to 64 for numbers, 1 for BOOL, and 0
// for BYTES, whose elements have no fixed size.
func (d Datatype) Bits() int {
	_, bits := d.is()
	return bits
}

// Family returns what the elements of d are held as; none of the above for a datatype
// that is not valid.
func (d Datatype) Family() Family {
	family, _ := d.is()
	return family
}

// is is the one table of what each datatype is. It is asked for every tensor, and a
// switch on a string costs less than a map.
func (d Datatype) is() (family Family, bits int) {
	switch d {
	case FP32:
		return Floating, 32
	case FP64:
		return Floating, 64
	case FP16, BF16:
		return Floating, 16
	case Int8:
		return Signed, 8
	case Int16:
		return Signed, 16
	case Int32:
		return Signed, 32
	case Int64:
		return Signed, 64
	case Uint8:
		return Unsigned, 8
	case Uint16:
		return Unsigned, 16
	case Uint32:
		return Unsigned, 32
	case Uint64:
		return Unsigned, 64
	case Bool:
		return Boolean, 1
	case Bytes:
		return Octets, 0
	}
	return unknown, 0
}

// Data holds the elements of a tensor, row-major. Exactly one field is in use,
// the one that the tensor's datatype names. Integers are exact. Floats hold
// values of the tensor's own datatype: an FP32 element is a float32 widened,
// already rounded, so that the checks see the number that the model computes on.
type Data struct {
	Bools  []bool    // BOOL
	Uints  []uint64  // UINT8 to UINT64
	Ints   []int64   // INT8 to INT64
	Floats []float64 // FP16, BF16, FP32, FP64; always finite after a parse
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

// A Request asks a model for answers.
type Request struct {
	Model   string   // the model that the body names, if it does: whoever asks for one holds it to be the same
	ID      string   // the caller's own mark; may be empty
	Inputs  []Tensor // at least one, names distinct
	Outputs []string // the outputs asked for; none means all
	Raw     Raw      // how the caller wants them carried, where its protocol leaves the choice

	form   form     // how the caller laid it out
	room   *Room    // whose memory it is; nil: nobody else's
	spelt  spelling // of its only input, in room; empty: it is to be written anew
	sent   Message  // as Encode made it
	sentBy Protocol // in which protocol; nil: not yet
}

// NewRequest is where a request is read to: in the room of the limits, if they have
// one.
func (l Limits) NewRequest() *Request { return l.Room.newRequest() }

// Raw says which outputs a caller wants as raw bytes and not as text. It changes
// how an answer is spelled, never what it tells.
type Raw struct {
	All  bool   // those that no entry names
	Each []bool // of Request.Outputs, one by one; nil: as All says
}

// RawOutput reports whether the caller wants the output of that name as raw bytes.
func (r *Request) RawOutput(name string) bool {
	if i := slices.Index(r.Outputs, name); i >= 0 && i < len(r.Raw.Each) {
		return r.Raw.Each[i]
	}
	return r.Raw.All
}

// Encode returns the request in a protocol, as the model server gets it. It is
// encoded once: what a record commits to are the bytes that travel. They stay valid
// as long as the request, which must not change from then on. One goroutine at a
// time may call it.
func (r *Request) Encode(p Protocol) (Message, error) {
	if r.sentBy == p {
		return r.sent, nil
	}
	m, err := p.AppendRequest(r.room.text(), r)
	if err != nil {
		return Message{}, err
	}
	r.room.keepText(m.Body)
	r.sent, r.sentBy = m, p
	return m, nil
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
