package oipgrpc

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// mixed is a request with a tensor of every datatype.
func mixed() *tensor.Request {
	one := []int64{2}
	return &tensor.Request{ID: "r", Inputs: []tensor.Tensor{
		{Name: "a", Datatype: tensor.Bool, Shape: one, Data: tensor.Data{Bools: []bool{true, false}}},
		{Name: "b", Datatype: tensor.Uint8, Shape: one, Data: tensor.Data{Uints: []uint64{0, 255}}},
		{Name: "c", Datatype: tensor.Int16, Shape: one, Data: tensor.Data{Ints: []int64{-32768, 32767}}},
		{Name: "d", Datatype: tensor.FP16, Shape: one, Data: tensor.Data{Floats: []float64{-65504, 0x1p-24}}},
		{Name: "e", Datatype: tensor.BF16, Shape: one, Data: tensor.Data{Floats: []float64{-1.5, 0x1p-133}}},
		{Name: "f", Datatype: tensor.FP32, Shape: one, Data: tensor.Data{Floats: []float64{-math.MaxFloat32, math.SmallestNonzeroFloat32}}},
		{Name: "g", Datatype: tensor.FP64, Shape: one, Data: tensor.Data{Floats: []float64{math.Copysign(0, -1), math.MaxFloat64}}},
		{Name: "h", Datatype: tensor.Bytes, Shape: one, Data: tensor.Data{Bytes: [][]byte{{}, {0xff, 0}}}},
	}, Outputs: []string{"y", "z"}}
}

// same reports whether two requests ask the same, bit by bit.
func same(t *testing.T, a, b *tensor.Request) bool {
	t.Helper()
	x, err := tensor.OIPBinary.AppendRequest(nil, a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := tensor.OIPBinary.AppendRequest(nil, b)
	return err == nil && bytes.Equal(x.Body, y.Body)
}

// narrow limits keep the fuzzer among small messages and make it meet limits.
var narrow = tensor.Limits{MaxBody: 1 << 16, MaxTensors: 16, MaxElements: 1 << 10, MaxRows: 64, MaxRank: 4, MaxNameLen: 32, MaxBytesLen: 64}

func TestGRPCRoundTrip(t *testing.T) {
	r := mixed()
	r.Raw = tensor.Raw{All: true}
	m, err := Protocol.AppendRequest(AppendModel(nil, "m", ""), r)
	if err != nil {
		t.Fatal(err)
	}
	r.Model = "m"
	got, err := Protocol.ParseRequest(m, tensor.Signature{}, tensor.DefaultLimits())
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("%+v was written %x and read %+v, %v", r, m.Body, got, err)
	}
	if name, err := ModelOf(m.Body[:8], tensor.DefaultLimits()); err != nil || name != "m" {
		t.Errorf("the model is %q, %v", name, err)
	}
	a := &tensor.Response{Model: "m", Version: "1", ID: "r", Outputs: r.Inputs}
	if m, err = Protocol.AppendResponse(nil, r, a); err != nil {
		t.Fatal(err)
	}
	read, err := Protocol.ParseResponse(m, r, tensor.Signature{}, tensor.DefaultLimits())
	if err != nil || !reflect.DeepEqual(read, a) {
		t.Fatalf("%+v was written %x and read %+v, %v", a, m.Body, read, err)
	}
}

// A pb is a protobuf message as tests write them.
type pb []byte

func (b pb) msg(num protowire.Number, inner pb) pb { return b.str(num, string(inner)) }
func (b pb) str(num protowire.Number, s string) pb {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}
func (b pb) int(num protowire.Number, v int64) pb {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
}
func (b pb) f32(num protowire.Number, v float32) pb {
	return protowire.AppendFixed32(protowire.AppendTag(b, num, protowire.Fixed32Type), math.Float32bits(v))
}
func (b pb) f64(num protowire.Number, v float64) pb {
	return protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), math.Float64bits(v))
}
func (b pb) run(num protowire.Number, v ...uint64) pb {
	var run pb
	for _, v := range v {
		run = protowire.AppendVarint(run, v)
	}
	return b.msg(num, run)
}

// tensorOf is a tensor without contents.
func tensorOf(name string, d tensor.Datatype, shape ...uint64) pb {
	return pb{}.str(tensorName, name).str(tensorDatatype, string(d)).run(tensorShape, shape...)
}

// TestGRPCContents reads typed contents of every datatype that has them, packed and not.
func TestGRPCContents(t *testing.T) {
	neg := func(v int64) uint64 { return uint64(v) }
	for _, tt := range []struct {
		d        tensor.Datatype
		contents pb
		want     string
	}{
		{tensor.Bool, pb{}.run(typedBool, 1, 0), "[true false]"},
		{tensor.Bool, pb{}.int(typedBool, 0).int(typedBool, 1), "[false true]"},
		{tensor.Int8, pb{}.run(typedInt, neg(-128), 127), "[-128 127]"},
		{tensor.Int16, pb{}.int(typedInt, -32768).run(typedInt, 3), "[-32768 3]"},
		{tensor.Int32, pb{}.run(typedInt, neg(math.MinInt32), math.MaxInt32), "[-2147483648 2147483647]"},
		{tensor.Int64, pb{}.run(typedInt64, neg(math.MinInt64), 1), "[-9223372036854775808 1]"},
		{tensor.Uint8, pb{}.run(typedUint, 0, 255), "[0 255]"},
		{tensor.Uint16, pb{}.run(typedUint, 1, 65535), "[1 65535]"},
		{tensor.Uint32, pb{}.run(typedUint, 1, math.MaxUint32), "[1 4294967295]"},
		{tensor.Uint64, pb{}.run(typedUint64, 1, math.MaxUint64), "[1 18446744073709551615]"},
		{tensor.FP32, pb{}.f32(typedFP32, 1.5).f32(typedFP32, -2), "[1.5 -2]"},
		{tensor.FP32, pb{}.str(typedFP32, "\x00\x00\xc0\x3f\x00\x00\x00\xc0"), "[1.5 -2]"},
		{tensor.FP64, pb{}.f64(typedFP64, 1.5).f64(typedFP64, -2), "[1.5 -2]"},
		{tensor.Bytes, pb{}.str(typedBytes, "ab").str(typedBytes, ""), "[[97 98] []]"},
	} {
		body := pb{}.str(askModel, "m").msg(askInputs, tensorOf("x", tt.d, 2).msg(tensorContents, tt.contents))
		r, err := Protocol.ParseRequest(tensor.Message{Body: body}, tensor.Signature{}, tensor.DefaultLimits())
		if err != nil {
			t.Errorf("%s: %v", tt.d, err)
			continue
		}
		x := r.Inputs[0].Data
		got := map[tensor.Family]string{tensor.Boolean: fmt.Sprint(x.Bools), tensor.Unsigned: fmt.Sprint(x.Uints), tensor.Signed: fmt.Sprint(x.Ints), tensor.Floating: fmt.Sprint(x.Floats), tensor.Octets: fmt.Sprint(x.Bytes)}[tt.d.Family()]
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.d, got, tt.want)
		}
	}
}

// TestSizeOfRawContents takes what kserve's client sends by itself: the size of each
// input's raw bytes, as a parameter. It says nothing new, and is not passed on.
func TestSizeOfRawContents(t *testing.T) {
	size := func(n int64) pb { return pb{}.str(1, "binary_data_size").msg(2, pb{}.int(2, n)) }
	body := pb{}.str(askModel, "m").
		msg(askInputs, tensorOf("x", tensor.FP32, 1)).
		msg(askInputs, tensorOf("y", tensor.FP32, 2).msg(tensorParameters, size(8))).
		msg(askInputs, tensorOf("z", tensor.FP32, 1)).
		str(askRaw, rawOne).str(askRaw, rawOne+rawOne).str(askRaw, rawOne)
	r, err := Protocol.ParseRequest(tensor.Message{Body: body}, tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	m, err := Protocol.AppendRequest(nil, r)
	if err != nil || bytes.Contains(m.Body, []byte("binary_data_size")) || len(r.Inputs) != 3 {
		t.Errorf("%d inputs are passed on as %x, %v", len(r.Inputs), m.Body, err)
	}
}

const rawOne = "\x00\x00\x80\x3f"

// hostileGRPC are ModelInferRequests that must be refused.
func hostileGRPC() map[string]struct {
	body pb
	want string
} {
	model := func() pb { return pb{}.str(askModel, "m") }
	x := func() pb { return tensorOf("x", tensor.FP32, 1) }
	typed := func() pb { return x().msg(tensorContents, pb{}.f32(typedFP32, 1)) }
	param := func(key string, value pb) pb { return pb{}.str(1, key).msg(2, value) }
	good := func() pb { return model().msg(askInputs, typed()) }
	of := func(d tensor.Datatype, contents pb) pb {
		return model().msg(askInputs, tensorOf("x", d, 1).msg(tensorContents, contents))
	}
	return map[string]struct {
		body pb
		want string
	}{
		"nothing":                   {nil, "no inputs"},
		"no inputs":                 {model(), "no inputs"},
		"unknown field":             {good().int(8, 1), "unknown field 8"},
		"field zero":                {good().int(0, 1), "field"},
		"a huge field":              {append(good(), 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0), "field"},
		"a group":                   {append(good(), 0x1b, 0x1c), "wire type 3"},
		"cut in a tag":              {append(good(), 0x80), "ends inside a field"},
		"cut in a value":            {good()[:len(good())-1], "ends inside a value"},
		"a length past the end":     {append(good(), 0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f), "model_name: the field appears twice"},
		"model twice":               {good().str(askModel, "m"), "model_name: the field appears twice"},
		"another model":             {good().str(askModel, "other"), "model_name: the field appears twice"},
		"id twice":                  {good().str(askID, "a").str(askID, "b"), "id: the field appears twice"},
		"id not UTF-8":              {good().str(askID, "\xff"), "id: not valid UTF-8"},
		"id does not print":         {good().str(askID, "a\u202e"), "does not print"},
		"id too long":               {good().str(askID, strings.Repeat("x", 129)), "more than 128 bytes"},
		"a version":                 {good().str(askVersion, "2"), "a version of the model cannot be chosen"},
		"id a number":               {good().int(askID, 1), "wire type 0"},
		"sequence":                  {good().msg(askParameters, param("sequence_id", pb{}.int(2, 1))), "ties requests together"},
		"priority":                  {good().msg(askParameters, param("priority", pb{}.int(2, 1))), "is not allowed"},
		"binary output":             {good().msg(askParameters, param("binary_data_output", pb{}.int(1, 1))), "has no place here"},
		"raw size, and typed":       {model().msg(askInputs, typed().msg(tensorParameters, param("binary_data_size", pb{}.int(2, 4)))), "its raw contents have another length"},
		"raw size, too long":        {model().msg(askInputs, x().msg(tensorParameters, param("binary_data_size", pb{}.int(2, 8)))).str(askRaw, rawOne), "is 8, and its raw contents have another length"},
		"raw size, too short":       {model().msg(askInputs, x().msg(tensorParameters, param("binary_data_size", pb{}.int(2, 0)))).str(askRaw, rawOne), "is 0, and its raw contents have another length"},
		"raw size, negative":        {model().msg(askInputs, x().msg(tensorParameters, param("binary_data_size", pb{}.int(2, -4)))).str(askRaw, rawOne), "is no count of bytes"},
		"raw size, text":            {model().msg(askInputs, x().msg(tensorParameters, param("binary_data_size", pb{}.str(3, "4")))).str(askRaw, rawOne), "is no count of bytes"},
		"raw size, unsigned":        {model().msg(askInputs, x().msg(tensorParameters, param("binary_data_size", pb{}.int(5, 4)))).str(askRaw, rawOne), "is no count of bytes"},
		"raw size, no value":        {model().msg(askInputs, x().msg(tensorParameters, pb{}.str(1, "binary_data_size"))).str(askRaw, rawOne), "is no count of bytes"},
		"raw size, twice":           {model().msg(askInputs, x().msg(tensorParameters, param("binary_data_size", pb{}.int(2, 4))).msg(tensorParameters, param("binary_data_size", pb{}.int(2, 4)))).str(askRaw, rawOne), "appears twice"},
		"raw size, of an output":    {good().msg(askOutputs, pb{}.str(1, "y").msg(2, param("binary_data_size", pb{}.int(2, 4)))), "has no place here"},
		"raw size, of all":          {good().msg(askParameters, param("binary_data_size", pb{}.int(2, 4))), "has no place here"},
		"raw size, in another case": {model().msg(askInputs, x().msg(tensorParameters, param("Binary_data_size", pb{}.int(2, 4)))).str(askRaw, rawOne), "has no place here"},
		"shared memory":             {model().msg(askInputs, x().msg(tensorParameters, param("shared_memory_region", pb{}.str(3, "r")))), "memory that the firewall never sees"},
		"classification":            {good().msg(askOutputs, pb{}.str(1, "y").msg(2, param("classification", pb{}.int(2, 1)))), "turns scores into text"},
		"classification, case":      {good().msg(askOutputs, pb{}.str(1, "y").msg(2, param("Classification", pb{}.int(2, 1)))), "turns scores into text"},
		"an empty parameter":        {good().msg(askParameters, nil), "is not allowed"},
		"two values":                {good().msg(askParameters, param("x", pb{}.int(1, 1).int(2, 1))), "two values"},
		"key twice":                 {good().msg(askParameters, pb{}.str(1, "a").str(1, "b")), "appears twice"},
		"raw and typed":             {good().str(askRaw, rawOne), "contents and raw_input_contents in one message"},
		"raw and empty typed":       {model().msg(askInputs, x().msg(tensorContents, nil)).str(askRaw, rawOne), "one message"},
		"one raw, one typed":        {good().msg(askInputs, tensorOf("y", tensor.FP32, 1)).str(askRaw, rawOne), "one message"},
		"two raw":                   {model().msg(askInputs, x()).str(askRaw, rawOne).str(askRaw, rawOne), "2 raw_input_contents for 1 inputs"},
		"one raw of two":            {model().msg(askInputs, x()).msg(askInputs, tensorOf("y", tensor.FP32, 1)).str(askRaw, rawOne), "1 raw_input_contents for 2 inputs"},
		"empty raw":                 {model().msg(askInputs, x()).str(askRaw, ""), "0 raw bytes where 1 elements"},
		"long raw":                  {model().msg(askInputs, x()).str(askRaw, rawOne+rawOne), "8 raw bytes where 1 elements"},
		"raw NaN":                   {model().msg(askInputs, x()).str(askRaw, "\x00\x00\xc0\x7f"), "NaN at element 0"},
		"many raw":                  {model().msg(askInputs, x()).str(askRaw, strings.Repeat("x", 0)), "0 raw bytes"},
		"no contents":               {model().msg(askInputs, x()), "0 elements of FP32"},
		"contents twice":            {model().msg(askInputs, typed().msg(tensorContents, pb{}.f32(typedFP32, 1))), "the field appears twice"},
		"contents of fp64":          {of(tensor.FP32, pb{}.f64(typedFP64, 1)), "fp64_contents: contents of a FP32 tensor"},
		"contents of both":          {of(tensor.FP32, pb{}.f32(typedFP32, 1).f64(typedFP64, 1)), "fp64_contents: contents of a FP32 tensor"},
		"contents of int":           {of(tensor.Int64, pb{}.int(typedInt, 1)), "int_contents: contents of a INT64"},
		"unknown contents":          {of(tensor.FP32, pb{}.int(9, 1)), "unknown field 9"},
		"half typed":                {of(tensor.FP16, pb{}.f32(typedFP32, 1)), "FP16 has no typed contents"},
		"brain typed":               {of(tensor.BF16, nil), "BF16 has no typed contents"},
		"typed NaN":                 {of(tensor.FP32, pb{}.f32(typedFP32, float32(math.NaN()))), "NaN at element 0"},
		"typed Inf":                 {of(tensor.FP64, pb{}.f64(typedFP64, math.Inf(1))), "+Inf at element 0"},
		"INT8 of 128":               {of(tensor.Int8, pb{}.int(typedInt, 128)), "out of range for INT8"},
		"INT32, upper bits":         {of(tensor.Int32, pb{}.run(typedInt, 1<<32)), "out of range for INT32"},
		"INT32, five bytes":         {of(tensor.Int32, pb{}.run(typedInt, math.MaxUint32)), "out of range for INT32"},
		"UINT8 of 256":              {of(tensor.Uint8, pb{}.int(typedUint, 256)), "out of range for UINT8"},
		"BOOL of 2":                 {of(tensor.Bool, pb{}.int(typedBool, 2)), "out of range for BOOL"},
		"more elements":             {of(tensor.FP32, pb{}.f32(typedFP32, 1).f32(typedFP32, 1)), "more than 1 elements"},
		"fewer elements":            {model().msg(askInputs, tensorOf("x", tensor.FP32, 2).msg(tensorContents, pb{}.f32(typedFP32, 1))), "1 elements of FP32 where the shape says 2"},
		"a run cut short":           {of(tensor.FP32, pb{}.str(typedFP32, "\x00\x00\x80")), "a packed run ends inside"},
		"a number cut short":        {of(tensor.FP32, append(pb{}, 0x35, 0, 0)), "ends inside a number"},
		"a varint cut short":        {of(tensor.Int64, pb{}.str(typedInt64, "\x80")), "a packed run ends inside"},
		"a varint too long":         {of(tensor.Int64, pb{}.str(typedInt64, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), "or it is none"},
		"fixed as varint":           {of(tensor.FP32, pb{}.int(typedFP32, 1)), "wire type 0"},
		"bytes too long":            {of(tensor.Bytes, pb{}.str(typedBytes, strings.Repeat("x", 1<<16+1))), "more than 65536 bytes"},
		"no shape":                  {model().msg(askInputs, pb{}.str(tensorName, "x").str(tensorDatatype, "FP32")), "no dimensions"},
		"a negative dimension":      {model().msg(askInputs, tensorOf("x", tensor.FP32, math.MaxUint64)), "a dimension of -1"},
		"a dimension of zero":       {model().msg(askInputs, tensorOf("x", tensor.FP32, 1, 0)), "shape[1]: a dimension of 0"},
		"many dimensions":           {model().msg(askInputs, tensorOf("x", tensor.FP32, 1, 1, 1, 1, 1, 1, 1, 1, 1)), "more than 8 dimensions"},
		"shape overflow":            {model().msg(askInputs, tensorOf("x", tensor.FP32, 1, 1<<62, 1<<62)), "more elements than the limit"},
		"many rows":                 {model().msg(askInputs, tensorOf("x", tensor.FP32, 65537)), "65537 rows"},
		"elements in all":           {model().msg(askInputs, tensorOf("x", tensor.FP32, 1, 1<<20)).msg(askInputs, tensorOf("y", tensor.FP32, 1)), "inputs[1].shape[0]: more elements than the limit"},
		"the same name":             {good().msg(askInputs, typed()), `two tensors are named "x"`},
		"no name":                   {model().msg(askInputs, pb{}.str(tensorDatatype, "FP32").run(tensorShape, 1)), `"name" is missing`},
		"name twice":                {model().msg(askInputs, typed().str(tensorName, "x")), "appears twice"},
		"no datatype":               {model().msg(askInputs, pb{}.str(tensorName, "x").run(tensorShape, 1)), `"datatype" is missing`},
		"datatype in lower case":    {model().msg(askInputs, tensorOf("x", "fp32", 1)), "unknown datatype"},
		"unknown field in tensor":   {model().msg(askInputs, typed().int(6, 1)), "unknown field 6"},
		"output twice":              {good().msg(askOutputs, pb{}.str(1, "y")).msg(askOutputs, pb{}.str(1, "y")), "is asked for twice"},
		"output without a name":     {good().msg(askOutputs, nil), `"name" is missing`},
		"unknown field in output":   {good().msg(askOutputs, pb{}.str(1, "y").int(3, 1)), "unknown field 3"},
	}
}

func TestHostileGRPC(t *testing.T) {
	for name, tt := range hostileGRPC() {
		r, err := Protocol.ParseRequest(tensor.Message{Body: tt.body}, tensor.Signature{}, tensor.DefaultLimits())
		if err == nil || !strings.Contains(err.Error(), tt.want) || pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %+v, %v; want %q", name, r, err, tt.want)
		}
	}
	lim := tensor.DefaultLimits()
	lim.MaxTensors = 1
	two := pb{}.str(askModel, "m").msg(askInputs, tensorOf("x", tensor.FP32, 1)).msg(askInputs, tensorOf("y", tensor.FP32, 1))
	if _, err := Protocol.ParseRequest(tensor.Message{Body: two}, tensor.Signature{}, lim); err == nil || !strings.Contains(err.Error(), "more than 1 inputs") {
		t.Errorf("%v", err)
	}
}

// TestModelOf: the name stands first, whole, once.
func TestModelOf(t *testing.T) {
	for name, start := range map[string]pb{
		"nothing": nil, "an id first": pb{}.str(askID, "a").str(askModel, "m"), "no name": pb{}.str(askModel, ""),
		"cut": pb{}.str(askModel, "model")[:4], "a number": pb{}.int(askModel, 1), "a line": pb{}.str(askModel, "a\nb"),
		"long": pb{}.str(askModel, strings.Repeat("x", 129)),
	} {
		if model, err := ModelOf(start, tensor.DefaultLimits()); pavise.KindOf(err) != pavise.Invalid || err == nil {
			t.Errorf("%s: %q, %v", name, model, err)
		}
	}
}

// TestEmptyContentsOfAnAnswer are none beside raw ones: MLServer sends them so.
func TestEmptyContentsOfAnAnswer(t *testing.T) {
	output := pb{}.str(tellModel, "m").msg(tellOutputs, tensorOf("x", tensor.FP32, 1).msg(tensorContents, nil))
	a, err := Protocol.ParseResponse(tensor.Message{Body: output.str(tellRaw, rawOne), Header: tensor.NoHeader}, &tensor.Request{}, tensor.Signature{}, tensor.DefaultLimits())
	if err != nil || len(a.Outputs) != 1 || a.Outputs[0].Data.Floats[0] != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := Protocol.ParseResponse(tensor.Message{Body: output, Header: tensor.NoHeader}, &tensor.Request{}, tensor.Signature{}, tensor.DefaultLimits()); err == nil {
		t.Errorf("without elements: %+v", a)
	}
}

// described is the protocol as its proto file has it, for a reader that is none of ours.
var described = func() protoreflect.FileDescriptor {
	field := func(name string, num int32, kind descriptorpb.FieldDescriptorProto_Type, repeated bool, of string) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &num, Type: &kind, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
		if repeated {
			f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}
		if of != "" {
			f.TypeName = proto.String(".t." + of)
		}
		return f
	}
	const (
		text, bytes, message = descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_BYTES, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
		i32, i64             = descriptorpb.FieldDescriptorProto_TYPE_INT32, descriptorpb.FieldDescriptorProto_TYPE_INT64
		u32, u64             = descriptorpb.FieldDescriptorProto_TYPE_UINT32, descriptorpb.FieldDescriptorProto_TYPE_UINT64
		f32, f64             = descriptorpb.FieldDescriptorProto_TYPE_FLOAT, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE
	)
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("t.proto"), Package: proto.String("t"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Contents"), Field: []*descriptorpb.FieldDescriptorProto{
				field("a", 1, descriptorpb.FieldDescriptorProto_TYPE_BOOL, true, ""), field("b", 2, i32, true, ""), field("c", 3, i64, true, ""),
				field("d", 4, u32, true, ""), field("e", 5, u64, true, ""), field("f", 6, f32, true, ""), field("g", 7, f64, true, ""), field("h", 8, bytes, true, ""),
			}},
			{Name: proto.String("Tensor"), Field: []*descriptorpb.FieldDescriptorProto{
				field("name", 1, text, false, ""), field("datatype", 2, text, false, ""), field("shape", 3, i64, true, ""), field("contents", 5, message, false, "Contents"),
			}},
			{Name: proto.String("Wanted"), Field: []*descriptorpb.FieldDescriptorProto{field("name", 1, text, false, "")}},
			{Name: proto.String("Request"), Field: []*descriptorpb.FieldDescriptorProto{
				field("model_name", 1, text, false, ""), field("model_version", 2, text, false, ""), field("id", 3, text, false, ""),
				field("inputs", 5, message, true, "Tensor"), field("outputs", 6, message, true, "Wanted"), field("raw", 7, bytes, true, ""),
			}},
		},
	}, nil)
	if err != nil {
		panic(err)
	}
	return file
}()

// FuzzParseGRPC holds what is accepted against the reading of protobuf's own library:
// nothing unknown, and equal values.
func FuzzParseGRPC(f *testing.F) {
	for _, tt := range hostileGRPC() {
		if len(tt.body) < 1024 {
			f.Add([]byte(tt.body))
		}
	}
	m, err := Protocol.AppendRequest(AppendModel(nil, "m", ""), mixed())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Body)
	f.Add([]byte(pb{}.str(askModel, "m").msg(askInputs, tensorOf("x", tensor.Int32, 2, 1).msg(tensorContents, pb{}.int(typedInt, -1).run(typedInt, 7))).msg(askOutputs, pb{}.str(1, "y"))))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Protocol.ParseRequest(tensor.Message{Body: body}, tensor.Signature{}, narrow)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		theirs := dynamicpb.NewMessage(described.Messages().ByName("Request"))
		if err := proto.Unmarshal(body, theirs); err != nil {
			t.Fatalf("accepted what protobuf does not: %v", err)
		}
		checkGRPC(t, r, theirs)
		sent, err := Protocol.AppendRequest(AppendModel(nil, cmpName(r.Model), ""), r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Protocol.ParseRequest(sent, tensor.Signature{}, tensor.DefaultLimits())
		if err == nil {
			again.Model = r.Model
		}
		if err != nil || !same(t, again, r) {
			t.Fatalf("%+v was written %x and read %+v, %v", r, sent.Body, again, err)
		}
	})
}

func cmpName(s string) string {
	if s == "" {
		return "m"
	}
	return s
}

func checkGRPC(t *testing.T, r *tensor.Request, theirs protoreflect.Message) {
	t.Helper()
	get := func(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
		return m.Get(m.Descriptor().Fields().ByName(name))
	}
	if len(theirs.GetUnknown()) > 0 || get(theirs, "model_name").String() != r.Model || get(theirs, "id").String() != r.ID {
		t.Fatalf("read %+v of %v", r, theirs)
	}
	inputs, raw := get(theirs, "inputs").List(), get(theirs, "raw").List()
	if inputs.Len() != len(r.Inputs) || get(theirs, "outputs").List().Len() != len(r.Outputs) {
		t.Fatalf("read %+v of %v", r, theirs)
	}
	for i := range r.Inputs {
		x, m := &r.Inputs[i], inputs.Get(i).Message()
		contents := get(m, "contents").Message()
		if len(m.GetUnknown()) > 0 || len(contents.GetUnknown()) > 0 || get(m, "name").String() != x.Name || get(m, "datatype").String() != string(x.Datatype) || get(m, "shape").List().Len() != len(x.Shape) {
			t.Fatalf("read %+v of %v", x, m)
		}
		if raw.Len() > 0 {
			if !bytes.Equal(raw.Get(i).Bytes(), x.AppendRaw(nil)) {
				t.Fatalf("read %+v of the raw bytes %x", x, raw.Get(i).Bytes())
			}
			continue
		}
		list := contents.Get(contents.Descriptor().Fields().ByNumber(typedFor(x.Datatype))).List()
		if list.Len() != x.Len() {
			t.Fatalf("%d elements, want %d", x.Len(), list.Len())
		}
		for j := range list.Len() {
			ok, v := false, list.Get(j)
			switch x.Datatype.Family() {
			case tensor.Boolean:
				ok = x.Data.Bools[j] == v.Bool()
			case tensor.Unsigned:
				ok = x.Data.Uints[j] == v.Uint()
			case tensor.Signed:
				ok = x.Data.Ints[j] == v.Int()
			case tensor.Floating:
				ok = math.Float64bits(x.Data.Floats[j]) == math.Float64bits(v.Float())
			case tensor.Octets:
				ok = bytes.Equal(x.Data.Bytes[j], v.Bytes())
			}
			if !ok {
				t.Fatalf("element %d of %+v is read %v by protobuf", j, x, v)
			}
		}
	}
}

func FuzzParseGRPCResponse(f *testing.F) {
	m, err := Protocol.AppendResponse(nil, nil, &tensor.Response{Model: "m", ID: "r", Outputs: mixed().Inputs})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Body)
	f.Add([]byte(pb{}.str(tellModel, "m").str(tellVersion, "1").msg(tellParameters, pb{}.str(1, "a").msg(2, pb{}.int(1, 1))).msg(tellOutputs, tensorOf("x", tensor.FP32, 1).msg(tensorContents, pb{}.f32(typedFP32, 1)))))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := Protocol.ParseResponse(tensor.Message{Body: body}, nil, tensor.Signature{}, narrow)
		if err != nil {
			if pavise.KindOf(err) != pavise.Unavailable {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		sent, err := Protocol.AppendResponse(nil, nil, a)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Protocol.ParseResponse(sent, nil, tensor.Signature{}, tensor.DefaultLimits())
		if err != nil || !same(t, &tensor.Request{Inputs: again.Outputs, ID: again.ID}, &tensor.Request{Inputs: a.Outputs, ID: a.ID}) {
			t.Fatalf("%+v was written %x and read %+v, %v", a, sent.Body, again, err)
		}
	})
}
