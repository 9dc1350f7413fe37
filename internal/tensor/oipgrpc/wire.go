package oipgrpc

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// A wire reads one protobuf message from front to back. It has no idea of messages in
// general: every step says which fields may stand there, and anything else is a fault.
type wire struct {
	text []byte // of this message
	pos  int    // in it
	base int    // of the message in the whole, for faults
	kind protowire.Type
	seen uint64 // the singular fields that were read, by number
	lim  tensor.Limits
	left int // elements that may still be declared
}

func newWire(body []byte, lim tensor.Limits) *wire {
	return &wire{text: body, lim: lim, left: lim.MaxElements}
}

// fault returns a fault at the current byte.
func (w *wire) fault(hint, format string, args ...any) *fault {
	return &fault{byte: w.base + w.pos, msg: fmt.Sprintf(format, args...), hint: hint}
}

// A fault is what is wrong at one byte. Its path grows as it travels outwards.
type fault struct {
	byte            int
	path, msg, hint string
}

// in adds an outer step, ".id" or "[3]", to the path. A nil fault stays nil.
func (f *fault) in(step string) *fault {
	if f != nil {
		f.path = step + f.path
	}
	return f
}

// item is in for an index.
func (f *fault) item(i int) *fault {
	if f != nil {
		f.path = fmt.Sprintf("[%d]%s", i, f.path)
	}
	return f
}

// error returns the fault as the error that the sender sees.
func (f *fault) error(kind pavise.Kind) error {
	path := strings.TrimPrefix(f.path, ".")
	if path == "" {
		path = "message"
	}
	return &pavise.Error{Kind: kind, Msg: fmt.Sprintf("%s: %s, at byte %d", path, f.msg, f.byte), Hint: f.hint}
}

// message reads a message's fields to its end, and calls member at each value.
func (w *wire) message(member func(protowire.Number) *fault) *fault {
	if len(w.text) > w.lim.MaxBody {
		return w.fault("send fewer rows at once", "%d bytes, more than the limit of %d", len(w.text), w.lim.MaxBody)
	}
	for w.pos < len(w.text) {
		num, f := w.field()
		if f == nil {
			f = member(num)
		}
		if f != nil {
			return f
		}
	}
	return nil
}

// field reads the tag of the next field.
func (w *wire) field() (protowire.Number, *fault) {
	v, n := protowire.ConsumeVarint(w.text[w.pos:])
	num, kind := protowire.DecodeTag(v)
	switch {
	case n < 0:
		return 0, w.fault("", "the message ends inside a field's number, or the number is none")
	case v>>3 != uint64(num) || !num.IsValid():
		return 0, w.fault("", "a field without a number")
	}
	w.pos, w.kind = w.pos+n, kind
	return num, nil
}

// unknown says that a field is none of the message's.
func (w *wire) unknown(num protowire.Number) *fault {
	return w.fault("send only the fields of grpc_predict_v2.proto", "unknown field %d", num)
}

// first says that a singular field comes a second time.
func (w *wire) first(num protowire.Number) *fault {
	if w.seen&(1<<num) != 0 {
		return w.fault("write each field once: the last of two would count", "the field appears twice")
	}
	w.seen |= 1 << num
	return nil
}

// once reads a singular field of text.
func (w *wire) once(num protowire.Number, read func(*wire) (string, *fault)) (string, *fault) {
	if f := w.first(num); f != nil {
		return "", f
	}
	return read(w)
}

// bytes reads a value of so many bytes. It shares memory with the message.
func (w *wire) bytes() ([]byte, *fault) {
	if w.kind != protowire.BytesType {
		return nil, w.wrongKind()
	}
	b, n := protowire.ConsumeBytes(w.text[w.pos:])
	if n < 0 {
		return nil, w.fault("", "the message ends inside a value")
	}
	w.pos += n
	return b, nil
}

func (w *wire) wrongKind() *fault {
	return w.fault("", "a value of wire type %d, which the field does not have", w.kind)
}

// label reads text that names something: printable and bounded.
func (w *wire) label() (string, *fault) {
	b, f := w.bytes()
	if f != nil {
		return "", f
	}
	name, hint, why := w.lim.Label(b)
	if why != "" {
		return "", w.fault(hint, "%s", why)
	}
	return name, nil
}

// inside reads a message within this one. It may be read once only when it comes as
// one value, which every field of such a type is here.
func (w *wire) inside(fields []string, member func(protowire.Number) *fault) *fault {
	b, f := w.bytes()
	if f != nil {
		return f
	}
	return w.later(b, w.base+w.pos-len(b), func() *fault {
		return w.message(func(num protowire.Number) *fault { return member(num).in(named(fields, num)) })
	})
}

// later reads a message within whose bytes, which begin at a byte of the whole, were
// read before.
func (w *wire) later(b []byte, at int, read func() *fault) *fault {
	outer := *w
	w.text, w.base, w.pos, w.seen = b, at, 0, 0
	f := read()
	*w = outer
	return f
}

// varints reads one varint, or a packed run of them.
func (w *wire) varints(each func(uint64) *fault) *fault {
	switch w.kind {
	case protowire.VarintType:
		v, n := protowire.ConsumeVarint(w.text[w.pos:])
		if n < 0 {
			return w.fault("", "the message ends inside a number, or it is none")
		}
		w.pos += n
		return each(v)
	case protowire.BytesType:
		b, f := w.bytes()
		for f == nil && len(b) > 0 {
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return w.fault("", "a packed run ends inside a number, or it is none")
			}
			b = b[n:]
			f = each(v)
		}
		return f
	}
	return w.wrongKind()
}

// fixeds reads one float of datatype FP32 or FP64, or a packed run of them.
func (w *wire) fixeds(d tensor.Datatype, each func(float64) *fault, room func() *fault) *fault {
	size, kind := 4, protowire.Fixed32Type
	if d == tensor.FP64 {
		size, kind = 8, protowire.Fixed64Type
	}
	var b []byte
	switch w.kind {
	case kind:
		if len(w.text)-w.pos < size {
			return w.fault("", "the message ends inside a number")
		}
		b = w.text[w.pos : w.pos+size]
		w.pos += size
	case protowire.BytesType:
		var f *fault
		if b, f = w.bytes(); f != nil {
			return f
		}
		if len(b)%size != 0 {
			return w.fault("", "a packed run ends inside a number")
		}
	default:
		return w.wrongKind()
	}
	for ; len(b) > 0; b = b[size:] {
		if f := room(); f != nil {
			return f
		}
		if f := each(float(b[:size])); f != nil {
			return f
		}
	}
	return nil
}

// float is a float of four or eight bytes, little-endian.
func float(b []byte) float64 {
	if len(b) == 4 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b))
}

// rawSize is the parameter that says how many raw bytes an input has, in the form of the
// protocol that has JSON before them.
const rawSize = "binary_data_size"

// inputParameters reads the entry of an input's parameters that stands here: a size of its
// raw contents, and nothing else. Clients that fill in one tensor for both forms of the
// protocol (kserve) leave it there in gRPC. It travels no further, and settle holds the
// contents to it, for two readers could differ on which counts.
func (w *wire) inputParameters(size *int64) *fault {
	start := w.pos
	key, n, f := w.parameter()
	switch {
	case f != nil:
		return f
	case key != rawSize:
		w.pos = start
		return w.noParameters()
	case *size >= 0:
		return w.fault("say it once", "parameter %q appears twice", key)
	case n < 0:
		return w.fault("say it as int64_param", "parameter %q is no count of bytes", key)
	}
	*size = n
	return nil
}

// noParameters refuses the entry of parameters that stands here: nothing of them
// travels on, so anything in them would be silently ignored.
func (w *wire) noParameters() *fault {
	key, _, f := w.parameter()
	if f != nil {
		return f
	}
	hint, msg := tensor.Barred([]byte(key))
	return w.fault(hint, "%s", msg)
}

// dropParameters reads the entry of parameters that stands here, and keeps nothing.
func (w *wire) dropParameters() *fault {
	_, _, f := w.parameter()
	return f
}

// parameter reads an entry of a map of InferParameter, and returns its key, and what it is
// where it is an int64 of 0 or more; -1 where not.
func (w *wire) parameter() (key string, number int64, f *fault) {
	number = -1
	f = w.inside(nil, func(num protowire.Number) (f *fault) {
		switch num {
		case 1:
			key, f = w.once(num, (*wire).label)
		case 2:
			if f = w.first(num); f == nil {
				number, f = w.value()
			}
		default:
			f = w.unknown(num)
		}
		return f
	})
	return key, number, f
}

// The fields of InferParameter, which holds one of them: bool, int64 and string of the
// protocol; double and uint64 of Triton.
var valueKinds = []protowire.Type{1: protowire.VarintType, 2: protowire.VarintType, 3: protowire.BytesType, 4: protowire.Fixed64Type, 5: protowire.VarintType}

// value reads an InferParameter, and returns it where it is an int64 of 0 or more; -1
// where not.
func (w *wire) value() (number int64, f *fault) {
	given := 0
	number = -1
	f = w.inside(nil, func(num protowire.Number) *fault {
		if int(num) >= len(valueKinds) {
			return w.unknown(num)
		}
		if given++; given > 1 {
			return w.fault("give each parameter one value", "two values of one parameter")
		}
		if w.kind != valueKinds[num] {
			return w.wrongKind()
		}
		n := protowire.ConsumeFieldValue(num, w.kind, w.text[w.pos:])
		if n < 0 {
			return w.fault("", "the message ends inside a value")
		}
		if num == 2 {
			v, _ := protowire.ConsumeVarint(w.text[w.pos:])
			number = max(int64(v), -1)
		}
		w.pos += n
		return nil
	})
	return number, f
}
