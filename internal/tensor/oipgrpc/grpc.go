// Package oipgrpc is the codec of the Open Inference Protocol v2, gRPC form: the
// messages ModelInferRequest and ModelInferResponse of
// inference.GRPCInferenceService. It stands beside the other codecs of package tensor
// because it alone reads protobuf.
//
// It is stricter than protobuf, where the last of two fields counts and one that is not
// known is skipped: here each singular field comes once, none is unknown, and a
// tensor's elements come one way, typed or raw.
package oipgrpc

import (
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// Protocol is the codec. Messages are written with raw contents, which hold every
// datatype. A request that is written does not name its model: a Request does not know
// what a model server calls it. AppendModel does.
var Protocol tensor.Protocol = codec{}

type codec struct{}

// The fields of the messages (grpc_predict_v2.proto of the Open Inference Protocol).
const (
	askModel, askVersion, askID, askParameters, askInputs, askOutputs, askRaw                 = 1, 2, 3, 4, 5, 6, 7
	tellModel, tellVersion, tellID, tellParameters, tellOutputs, tellRaw                      = 1, 2, 3, 4, 5, 6
	tensorName, tensorDatatype, tensorShape, tensorParameters, tensorContents                 = 1, 2, 3, 4, 5
	typedBool, typedInt, typedInt64, typedUint, typedUint64, typedFP32, typedFP64, typedBytes = 1, 2, 3, 4, 5, 6, 7, 8
)

// ParseRequest reads a ModelInferRequest.
func (codec) ParseRequest(m tensor.Message, _ tensor.Signature, lim tensor.Limits) (*tensor.Request, error) {
	w := newWire(m.Body, lim)
	r := lim.NewRequest()
	r.Raw.All = true
	if f := w.request(r); f != nil {
		return nil, f.error(pavise.Invalid)
	}
	return r, nil
}

// ParseResponse reads a ModelInferResponse. Its parameters are dropped: what is not in
// the exchange reaches nobody.
func (codec) ParseResponse(m tensor.Message, _ *tensor.Request, _ tensor.Signature, lim tensor.Limits) (*tensor.Response, error) {
	lim.Room = nil // the request is in it
	w := newWire(m.Body, lim)
	r := new(tensor.Response)
	if f := w.response(r); f != nil {
		return nil, f.error(pavise.Unavailable)
	}
	return r, nil
}

// AppendModel appends what names the model that a request is for.
func AppendModel(dst []byte, model, version string) []byte {
	dst = appendText(dst, askModel, model)
	if version != "" {
		dst = appendText(dst, askVersion, version)
	}
	return dst
}

// ModelOf returns the model that a ModelInferRequest names, from its beginning: the
// name is its first field, as every generated encoder writes it. The error is of kind
// Invalid. ParseRequest holds the whole message to it: a second name is refused.
func ModelOf(start []byte, lim tensor.Limits) (string, error) {
	w := newWire(start, lim)
	num, f := w.field()
	if f == nil && (num != askModel || w.kind != protowire.BytesType) {
		f = w.fault("write the fields in the order of their numbers, as generated code does", "the message does not begin with model_name")
	}
	var name string
	if f == nil {
		name, f = w.label()
		f = f.in(".model_name")
	}
	if f == nil && name == "" {
		f = w.fault("give it a name", "an empty name").in(".model_name")
	}
	if f != nil {
		return "", f.error(pavise.Invalid)
	}
	return name, nil
}

func (w *wire) request(r *tensor.Request) *fault {
	var raw [][]byte
	typed := false
	var sizes []int64 // that inputs say they have, up to the last that says one; -1 where none is said
	size := int64(-1)
	parameters := func(w *wire) *fault { return w.inputParameters(&size) }
	f := w.message(func(num protowire.Number) (f *fault) {
		switch num {
		case askModel:
			r.Model, f = w.once(num, (*wire).label)
		case askVersion:
			var version string
			if version, f = w.once(num, (*wire).label); f == nil && version != "" {
				f = w.fault("leave model_version empty", "a version of the model cannot be chosen here")
			}
		case askID:
			r.ID, f = w.once(num, (*wire).label)
		case askParameters:
			f = w.noParameters()
		case askInputs:
			if len(r.Inputs) == w.lim.MaxTensors {
				return w.fault("", "more than %d inputs", w.lim.MaxTensors)
			}
			r.Inputs = append(r.Inputs, tensor.Tensor{})
			var has bool
			has, f = w.array(&r.Inputs[len(r.Inputs)-1], r.Inputs[:len(r.Inputs)-1], false, parameters)
			typed = typed || has
			if size >= 0 {
				for len(sizes) < len(r.Inputs)-1 {
					sizes = append(sizes, -1)
				}
				sizes, size = append(sizes, size), -1
			}
			f = f.item(len(r.Inputs) - 1)
		case askOutputs:
			if len(r.Outputs) == w.lim.MaxTensors {
				return w.fault("", "more than %d outputs", w.lim.MaxTensors)
			}
			var name string
			if name, f = w.wanted(); f == nil && slices.Contains(r.Outputs, name) {
				f = w.fault("ask for each output once", "output %.40q is asked for twice", name)
			}
			r.Outputs = append(r.Outputs, name)
			f = f.item(len(r.Outputs) - 1)
		case askRaw:
			raw, f = w.raw(raw)
		default:
			f = w.unknown(num)
		}
		return f.in(named(requestFields, num))
	})
	if f != nil {
		return f
	}
	if len(r.Inputs) == 0 {
		return w.fault("give at least one", "no inputs")
	}
	for i, size := range sizes {
		if size >= 0 && (i >= len(raw) || int64(len(raw[i])) != size) {
			return w.fault("leave it out, or say how many raw bytes the input has", "parameter %q is %d, and its raw contents have another length", rawSize, size).in(".parameters").item(i).in(".inputs")
		}
	}
	return w.settle(r.Inputs, raw, typed, "inputs", "raw_input_contents")
}

func (w *wire) response(r *tensor.Response) *fault {
	var raw [][]byte
	typed := false
	f := w.message(func(num protowire.Number) (f *fault) {
		switch num {
		case tellModel:
			r.Model, f = w.once(num, (*wire).label)
		case tellVersion:
			r.Version, f = w.once(num, (*wire).label)
		case tellID:
			r.ID, f = w.once(num, (*wire).label)
		case tellParameters:
			f = w.dropParameters()
		case tellOutputs:
			if len(r.Outputs) == w.lim.MaxTensors {
				return w.fault("", "more than %d outputs", w.lim.MaxTensors)
			}
			r.Outputs = append(r.Outputs, tensor.Tensor{})
			var has bool
			has, f = w.array(&r.Outputs[len(r.Outputs)-1], r.Outputs[:len(r.Outputs)-1], true, (*wire).dropParameters)
			typed = typed || has
			f = f.item(len(r.Outputs) - 1)
		case tellRaw:
			raw, f = w.raw(raw)
		default:
			f = w.unknown(num)
		}
		return f.in(named(responseFields, num))
	})
	switch {
	case f != nil:
		return f
	case r.Model == "":
		return w.fault("", `"model_name" is missing`)
	case len(r.Outputs) == 0:
		return w.fault("", "no outputs")
	}
	return w.settle(r.Outputs, raw, typed, "outputs", "raw_output_contents")
}

// The names of fields, by number, for those who read what is wrong.
var (
	requestFields  = []string{"", "model_name", "model_version", "id", "parameters", "inputs", "outputs", "raw_input_contents"}
	responseFields = []string{"", "model_name", "model_version", "id", "parameters", "outputs", "raw_output_contents"}
	tensorFields   = []string{"", "name", "datatype", "shape", "parameters", "contents"}
	typedFields    = []string{"", "bool_contents", "int_contents", "int64_contents", "uint_contents", "uint64_contents", "fp32_contents", "fp64_contents", "bytes_contents"}
)

// named is the name of a field, as a step of a path.
func named(fields []string, num protowire.Number) string {
	if 0 < int(num) && int(num) < len(fields) {
		return "." + fields[num]
	}
	return ""
}

// volume is what the dimensions multiply to.
func volume(shape []int64) int64 {
	total := int64(1)
	for _, dim := range shape {
		total *= dim
	}
	return total
}

// settle fills in the elements of tensors that came as raw contents, and holds the two
// ways of sending them apart: servers differ on which counts.
func (w *wire) settle(list []tensor.Tensor, raw [][]byte, typed bool, what, field string) *fault {
	if len(raw) == 0 {
		for i := range list {
			if t := &list[i]; int64(t.Len()) != volume(t.Shape) {
				return w.fault("send exactly as many elements as the shape says", "%d elements of %s where the shape says %d", t.Len(), t.Datatype, volume(t.Shape)).in(".contents").item(i).in("." + what)
			}
		}
		return nil
	}
	switch {
	case typed:
		return w.fault("send all tensors one way", "contents and %s in one message, and servers differ on which counts", field)
	case len(raw) != len(list):
		return w.fault("send one for each tensor, in their order", "%d %s for %d %s", len(raw), field, len(list), what)
	}
	for i := range list {
		if hint, why := list[i].SetRaw(raw[i], w.lim); why != "" {
			return w.fault(hint, "%s", why).item(i).in("." + field)
		}
	}
	return nil
}

// array reads one tensor, and reports whether it has contents of its own. Those of an
// answer are none when they are empty: MLServer has them there beside raw ones.
func (w *wire) array(t *tensor.Tensor, others []tensor.Tensor, answer bool, parameters func(*wire) *fault) (typed bool, f *fault) {
	var contents []byte
	at := 0
	f = w.inside(tensorFields, func(num protowire.Number) (f *fault) {
		switch num {
		case tensorName:
			t.Name, f = w.once(num, (*wire).label)
		case tensorDatatype:
			t.Datatype, f = w.datatype(num)
		case tensorShape:
			f = w.shape(t)
		case tensorParameters:
			f = parameters(w)
		case tensorContents:
			if f = w.first(num); f == nil {
				contents, f = w.bytes()
				at = w.base + w.pos - len(contents)
			}
			typed = !answer || len(contents) > 0
		default:
			f = w.unknown(num)
		}
		return f
	})
	switch {
	case f != nil:
		return typed, f
	case t.Name == "":
		return typed, w.fault("give it a name", `"name" is missing`)
	case t.Datatype == "":
		return typed, w.fault("add it", `"datatype" is missing`)
	case len(t.Shape) == 0:
		return typed, w.fault("give at least one", "no dimensions").in(".shape")
	case slices.ContainsFunc(others, func(u tensor.Tensor) bool { return u.Name == t.Name }):
		return typed, w.fault("give each tensor its own name", "two tensors are named %.40q", t.Name)
	}
	if f := w.dimensions(t); f != nil {
		return typed, f.in(".shape")
	}
	if typed {
		f = w.later(contents, at, func() *fault { return w.typed(t) }).in(".contents")
	}
	return typed, f
}

// datatype reads the name of a datatype.
func (w *wire) datatype(num protowire.Number) (tensor.Datatype, *fault) {
	if f := w.first(num); f != nil {
		return "", f
	}
	b, f := w.bytes()
	if f != nil {
		return "", f
	}
	d := tensor.DatatypeOf(b)
	if d == "" {
		return "", w.fault("known are BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64 and BYTES", "unknown datatype %.40q", b)
	}
	return d, nil
}

// shape reads dimensions, packed or one by one, onto those that were read.
func (w *wire) shape(t *tensor.Tensor) *fault {
	return w.varints(func(v uint64) *fault {
		if len(t.Shape) == w.lim.MaxRank {
			return w.fault("", "more than %d dimensions", w.lim.MaxRank)
		}
		t.Shape = append(t.Shape, int64(v))
		return nil
	})
}

// dimensions checks the shape and takes its elements off the budget before anything is
// allocated for them.
func (w *wire) dimensions(t *tensor.Tensor) *fault {
	total := int64(1)
	for i, dim := range t.Shape {
		switch {
		case dim < 1:
			return w.fault("every dimension is at least 1", "a dimension of %d", dim).item(i)
		case i == 0 && dim > int64(w.lim.MaxRows):
			return w.fault("send fewer rows at once", "%d rows, more than the limit of %d", dim, w.lim.MaxRows).item(i)
		case dim > int64(w.left)/total:
			return w.fault("send fewer rows at once", "more elements than the limit of %d in all", w.lim.MaxElements).item(i)
		}
		total *= dim
	}
	w.left -= int(total)
	return nil
}

// wanted reads the name of an output asked for.
func (w *wire) wanted() (string, *fault) {
	var name string
	f := w.inside([]string{"", "name", "parameters"}, func(num protowire.Number) (f *fault) {
		switch num {
		case 1:
			name, f = w.once(num, (*wire).label)
		case 2:
			f = w.noParameters()
		default:
			f = w.unknown(num)
		}
		return f
	})
	if f == nil && name == "" {
		f = w.fault("give it a name", `"name" is missing`)
	}
	return name, f
}

// raw reads one entry of raw contents. It shares memory with the message.
func (w *wire) raw(list [][]byte) ([][]byte, *fault) {
	b, f := w.bytes()
	if f == nil && len(list) == w.lim.MaxTensors {
		f = w.fault("", "more than %d", w.lim.MaxTensors)
	}
	return append(list, b), f
}

// typedFor is the field of InferTensorContents for each datatype; 0 for those that
// travel raw only.
func typedFor(d tensor.Datatype) protowire.Number {
	switch d {
	case tensor.Bool:
		return typedBool
	case tensor.Int8, tensor.Int16, tensor.Int32:
		return typedInt
	case tensor.Int64:
		return typedInt64
	case tensor.Uint8, tensor.Uint16, tensor.Uint32:
		return typedUint
	case tensor.Uint64:
		return typedUint64
	case tensor.FP32:
		return typedFP32
	case tensor.FP64:
		return typedFP64
	case tensor.Bytes:
		return typedBytes
	}
	return 0
}

// typed reads InferTensorContents.
func (w *wire) typed(t *tensor.Tensor) *fault {
	want, most := typedFor(t.Datatype), int(volume(t.Shape))
	if want == 0 {
		return w.fault("send it as raw contents", "%s has no typed contents in the protocol", t.Datatype)
	}
	n := min(most, len(w.text))
	switch want {
	case typedBool:
		t.Data.Bools = make([]bool, 0, n)
	case typedInt, typedInt64:
		t.Data.Ints = make([]int64, 0, n)
	case typedUint, typedUint64:
		t.Data.Uints = make([]uint64, 0, n)
	case typedFP32, typedFP64:
		t.Data.Floats = make([]float64, 0, n)
	case typedBytes:
		t.Data.Bytes = make([][]byte, 0, n)
	}
	return w.message(func(num protowire.Number) *fault {
		step := named(typedFields, num)
		switch {
		case step == "":
			return w.unknown(num)
		case num != want:
			return w.fault("send them in the field of the datatype", "contents of a %s tensor", t.Datatype).in(step)
		}
		return w.element(t, num, most).in(step)
	})
}

// element reads one element or a packed run of them.
func (w *wire) element(t *tensor.Tensor, num protowire.Number, most int) *fault {
	room := func() *fault {
		if t.Len() == most {
			return w.fault("send exactly as many elements as the shape says", "more than %d elements where the shape says %d", most, most)
		}
		return nil
	}
	switch num {
	case typedFP32, typedFP64:
		return w.fixeds(t.Datatype, func(v float64) *fault {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return w.fault("give every element a finite value", "%v at element %d, which is no number that the model is asked about", v, len(t.Data.Floats))
			}
			t.Data.Floats = append(t.Data.Floats, v)
			return nil
		}, room)
	case typedBytes:
		b, f := w.bytes()
		if f == nil {
			f = room()
		}
		if f == nil && len(b) > w.lim.MaxBytesLen {
			f = w.fault("shorten it", "an element of more than %d bytes", w.lim.MaxBytesLen)
		}
		t.Data.Bytes = append(t.Data.Bytes, slices.Clone(b))
		return f
	}
	return w.varints(func(v uint64) *fault {
		if f := room(); f != nil {
			return f
		}
		return w.integer(t, v)
	})
}

// integer takes a varint as an element of the tensor. One that does not fit the
// datatype is refused, where protobuf would drop its upper bits.
func (w *wire) integer(t *tensor.Tensor, v uint64) *fault {
	bits := t.Datatype.Bits()
	fits := true
	switch t.Datatype.Family() {
	case tensor.Boolean:
		fits = v <= 1
		t.Data.Bools = append(t.Data.Bools, v == 1)
	case tensor.Signed:
		fits = int64(v)<<(64-bits)>>(64-bits) == int64(v)
		t.Data.Ints = append(t.Data.Ints, int64(v))
	default:
		fits = v<<(64-bits)>>(64-bits) == v
		t.Data.Uints = append(t.Data.Uints, v)
	}
	if !fits {
		return w.fault("send a value in range, or another datatype", "element %d is out of range for %s", t.Len()-1, t.Datatype)
	}
	return nil
}

// AppendRequest writes a ModelInferRequest but for the model's name.
func (codec) AppendRequest(dst []byte, r *tensor.Request) (tensor.Message, error) {
	if r.ID != "" {
		dst = appendText(dst, askID, r.ID)
	}
	dst, err := appendWire(dst, r.Inputs, askInputs)
	if err != nil {
		return tensor.Message{}, fmt.Errorf("encode request: %w", err)
	}
	for _, name := range r.Outputs {
		dst = protowire.AppendTag(dst, askOutputs, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(sizeText(1, name)))
		dst = appendText(dst, 1, name)
	}
	return tensor.Message{Body: appendContents(dst, r.Inputs, askRaw)}, nil
}

// AppendResponse writes a ModelInferResponse.
func (codec) AppendResponse(dst []byte, _ *tensor.Request, a *tensor.Response) (tensor.Message, error) {
	dst = appendText(dst, tellModel, a.Model)
	if a.Version != "" {
		dst = appendText(dst, tellVersion, a.Version)
	}
	if a.ID != "" {
		dst = appendText(dst, tellID, a.ID)
	}
	dst, err := appendWire(dst, a.Outputs, tellOutputs)
	if err != nil {
		return tensor.Message{}, fmt.Errorf("encode response: %w", err)
	}
	return tensor.Message{Body: appendContents(dst, a.Outputs, tellRaw)}, nil
}

// appendWire appends what tensors are, without their elements.
func appendWire(dst []byte, list []tensor.Tensor, num protowire.Number) ([]byte, error) {
	for i := range list {
		t := &list[i]
		if why := t.Unfit(); why != "" {
			return nil, &pavise.Error{Kind: pavise.Internal, Msg: fmt.Sprintf("tensor %q %s", t.Name, why)}
		}
		dims := 0
		for _, dim := range t.Shape {
			dims += protowire.SizeVarint(uint64(dim))
		}
		size := sizeText(tensorName, t.Name) + sizeText(tensorDatatype, string(t.Datatype)) + protowire.SizeTag(tensorShape) + protowire.SizeBytes(dims)
		dst = protowire.AppendTag(dst, num, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(size))
		dst = appendText(dst, tensorName, t.Name)
		dst = appendText(dst, tensorDatatype, string(t.Datatype))
		dst = protowire.AppendTag(dst, tensorShape, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(dims))
		for _, dim := range t.Shape {
			dst = protowire.AppendVarint(dst, uint64(dim))
		}
	}
	return dst, nil
}

// appendContents appends the elements of tensors, raw.
func appendContents(dst []byte, list []tensor.Tensor, num protowire.Number) []byte {
	for i := range list {
		dst = protowire.AppendTag(dst, num, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(list[i].RawLen()))
		dst = list[i].AppendRaw(dst)
	}
	return dst
}

func appendText(dst []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}

func sizeText(num protowire.Number, s string) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(len(s))
}
