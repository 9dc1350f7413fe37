package tensor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// mixed is a request with a tensor of every datatype, all of which are raw.
func mixed() *Request {
	one := []int64{2}
	return &Request{ID: "r", Inputs: []Tensor{
		{"a", Bool, one, Data{Bools: []bool{true, false}}},
		{"b", Uint8, one, Data{Uints: []uint64{0, 255}}},
		{"c", Uint16, one, Data{Uints: []uint64{1, 65535}}},
		{"d", Uint32, one, Data{Uints: []uint64{1, math.MaxUint32}}},
		{"e", Uint64, one, Data{Uints: []uint64{1, math.MaxUint64}}},
		{"f", Int8, one, Data{Ints: []int64{-128, 127}}},
		{"g", Int16, one, Data{Ints: []int64{-32768, 32767}}},
		{"h", Int32, one, Data{Ints: []int64{math.MinInt32, math.MaxInt32}}},
		{"i", Int64, one, Data{Ints: []int64{math.MinInt64, math.MaxInt64}}},
		{"j", FP16, one, Data{Floats: []float64{-65504, 0x1p-24}}},
		{"k", BF16, one, Data{Floats: []float64{-1.5, 0x1p-133}}},
		{"l", FP32, one, Data{Floats: []float64{-math.MaxFloat32, math.SmallestNonzeroFloat32}}},
		{"m", FP64, one, Data{Floats: []float64{math.Copysign(0, -1), math.MaxFloat64}}},
		{"n", Bytes, one, Data{Bytes: [][]byte{{}, {0xff, 0}}}},
	}, Outputs: []string{"y", "z"}, Raw: Raw{All: true}}
}

func TestBinaryRoundTrip(t *testing.T) {
	r := mixed()
	m, err := OIPBinary.AppendRequest(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OIP.ParseRequest(m, Signature{}, DefaultLimits())
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("%+v was written %q and read %+v, %v", r, m.Body, got, err)
	}
	answer := &Response{Model: "m", ID: "r", Outputs: r.Inputs}
	if m, err = OIP.AppendResponse([]byte{}, r, answer); err != nil {
		t.Fatal(err)
	}
	read, err := OIP.ParseResponse(m, r, Signature{}, DefaultLimits())
	if err != nil || !reflect.DeepEqual(read, answer) {
		t.Fatalf("%+v was written %q and read %+v, %v", answer, m.Body, read, err)
	}
}

// TestOIPWritesTextWhereItCan finds raw bytes only of what JSON cannot carry.
func TestOIPWritesTextWhereItCan(t *testing.T) {
	m, err := OIP.AppendRequest(nil, mixed())
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(m.Body[:m.Header], []byte("binary_data_size")); n != 2 { // BF16, and bytes that are not UTF-8
		t.Errorf("%d of the tensors are raw: %s", n, m.Body[:m.Header])
	}
	r := &Request{Inputs: mixed().Inputs[:2]}
	if m, _ := OIP.AppendRequest(nil, r); m.Header != NoHeader {
		t.Errorf("a text has the header %d", m.Header)
	}
}

// TestAnswersAsAsked: each output is carried as its own entry says, and else as the
// request does.
func TestAnswersAsAsked(t *testing.T) {
	for params, want := range map[string]string{
		`{"inputs":[%s]}`: "text text",
		`{"parameters":{"binary_data_output":true},"inputs":[%s]}`:                                                                          "raw raw",
		`{"parameters":{"binary_data_output":false},"inputs":[%s]}`:                                                                         "text text",
		`{"inputs":[%s],"outputs":[{"name":"y","parameters":{"binary_data":true}},{"name":"z"}]}`:                                           "raw text",
		`{"inputs":[%s],"outputs":[{"name":"y","parameters":{"binary_data":false}},{"name":"z"}],"parameters":{"binary_data_output":true}}`: "text raw",
		`{"inputs":[%s],"outputs":[{"name":"y","parameters":{}},{"parameters":{"binary_data":true},"name":"z"}]}`:                           "text raw",
		`{"outputs":[{"name":"y"},{"name":"z"}],"parameters":{"binary_data_output":true},"inputs":[{"parameters":{},` + rest + `]}`:         "raw raw",
	} {
		r, err := ParseRequest([]byte(strings.Replace(params, "%s", `{`+rest, 1)), DefaultLimits())
		if err != nil {
			t.Errorf("%s: %v", params, err)
			continue
		}
		word := map[bool]string{true: "raw", false: "text"}
		if got := word[r.RawOutput("y")] + " " + word[r.RawOutput("z")]; got != want {
			t.Errorf("%s: %s, want %s", params, got, want)
		}
	}
}

const rest = `"name":"x","shape":[1],"datatype":"FP32","data":[1]}`

// TestUnaskedText: what JSON cannot carry is an error that says what to ask for.
func TestUnaskedText(t *testing.T) {
	a := &Response{Model: "m", Outputs: []Tensor{{"y", BF16, []int64{1}, Data{Floats: []float64{1}}}}}
	_, err := OIP.AppendResponse(nil, &Request{}, a)
	if pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("%v", err)
	}
}

// TestHostileBinary are bodies with raw bytes that must be refused.
func TestHostileBinary(t *testing.T) {
	one := func(datatype, shape string, size int) string {
		return fmt.Sprintf(`{"inputs":[{"name":"x","shape":[%s],"datatype":"%s","parameters":{"binary_data_size":%d}}]}`, shape, datatype, size)
	}
	f32 := func(v ...float32) string {
		b, _ := binary.Append(nil, binary.LittleEndian, v)
		return string(b)
	}
	nan := f32(float32(math.NaN()))
	for _, tt := range []struct {
		name, text, raw string
		off             int // of the header from the text's length
		want            string
	}{
		{"short by one", one("FP32", "1", 4), f32(1)[:3], 0, "binary_data_size is 4, and 3 bytes are left"},
		{"no bytes", one("FP32", "1", 4), "", 0, "binary_data_size is 4, and 0 bytes are left"},
		{"one left over", one("FP32", "1", 4), f32(1) + "x", 0, "1 bytes are left over"},
		{"all left over", strings.Replace(one("FP32", "1", 4), `"parameters":{"binary_data_size":4}`, `"data":[1]`, 1), f32(1), 0, "4 bytes are left over"},
		{"a second tensor's bytes", one("FP32", "1", 4), f32(1, 2), 0, "4 bytes are left over"},
		{"fewer elements", one("FP32", "2", 4), f32(1), 0, "4 raw bytes where 2 elements of FP32 take 8"},
		{"more elements", one("FP32", "1", 8), f32(1, 2), 0, "8 raw bytes where 1 elements of FP32 take 4"},
		{"half an element", one("FP32", "1", 2), f32(1)[:2], 0, "2 raw bytes where"},
		{"an element and a half", one("FP32", "1", 6), f32(1, 2)[:6], 0, "6 raw bytes where"},
		{"NaN", one("FP32", "1", 4), nan, 0, "NaN at element 0"},
		{"Inf", one("FP64", "1", 8), "\x00\x00\x00\x00\x00\x00\xf0\xff", 0, "-Inf at element 0"},
		{"half NaN", one("FP16", "1", 2), "\x01\x7c", 0, "NaN at element 0"},
		{"half Inf", one("FP16", "1", 2), "\x00\xfc", 0, "-Inf at element 0"},
		{"brain Inf", one("BF16", "2", 4), "\x00\x00\x80\x7f", 0, "+Inf at element 1"},
		{"a bool of two", one("BOOL", "1", 1), "\x02", 0, "the byte 2 as BOOL"},
		{"shape overflow", one("FP64", "4294967296,4294967296", 8), "12345678", 0, "more than the limit"},
		{"a shape of many", one("FP64", "65536,1048576", 8), "12345678", 0, "more elements than the limit"},
		{"bytes without length", one("BYTES", "1", 3), "abc", 0, "do not hold 1 BYTES"},
		{"bytes that end", one("BYTES", "1", 6), "\x03\x00\x00\x00ab", 0, "element 0 has 3 bytes, and 2 follow"},
		{"bytes of four billion", one("BYTES", "1", 4), "\xff\xff\xff\xff", 0, "more than 65536"},
		{"bytes left over", one("BYTES", "1", 6), "\x01\x00\x00\x00ab", 0, "1 raw bytes follow"},
		{"bytes of fewer", one("BYTES", "2", 8), "\x04\x00\x00\x00abcd", 0, "the raw bytes end before element 1"},
		{"many empty bytes", one("BYTES", "65536", 4), "\x00\x00\x00\x00", 0, "do not hold 65536"},
		{"a header of one less", one("FP32", "1", 4), f32(1), -1, "the text ends where"},
		{"a header of one more", one("FP32", "1", 4), f32(1), 1, "and 3 bytes are left"},
		{"a header of one more, zero", one("FP32", "1", 4), f32(0), 1, "and 3 bytes are left"},
		{"a header past the end", one("FP32", "1", 4), f32(1), 5, "and the body has"},
		{"a negative header", "{}", "", -4, "Inference-Header-Content-Length is -2"},
		{"classification", strings.Replace(one("FP32", "1", 4), `]}`, `],"outputs":[{"name":"y","parameters":{"classification":1}}]}`, 1), f32(1), 0, ""},
		{"shared memory too", strings.Replace(one("FP32", "1", 4), `"binary_data_size":4`, `"binary_data_size":4,"shared_memory_region":"r"`, 1), f32(1), 0, "more parameters than"},
		{"size twice", strings.Replace(one("FP32", "1", 4), `"binary_data_size":4`, `"binary_data_size":4,"binary_data_size":4`, 1), f32(1), 0, "more parameters than"},
	} {
		m := Message{[]byte(tt.text + tt.raw), len(tt.text) + tt.off}
		r, err := OIP.ParseRequest(m, Signature{}, DefaultLimits())
		if err == nil || !strings.Contains(err.Error(), tt.want) || pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %+v, %v; want %q", tt.name, r, err, tt.want)
		}
	}
}

// TestOnlyRaw reads bodies without a text as the signature says, or refuses them.
func TestOnlyRaw(t *testing.T) {
	port := func(d Datatype, shape ...int64) Port { return Port{Name: "x", Datatype: d, Shape: shape} }
	for _, tt := range []struct {
		name  string
		ports []Port
		size  int
		want  string // the shape, or a piece of the error
	}{
		{"one row", []Port{port(FP32, -1, 2)}, 8, "[1 2]"},
		{"three rows", []Port{port(FP32, -1, 2)}, 24, "[3 2]"},
		{"fixed", []Port{port(Int64, 1, 2)}, 16, "[1 2]"},
		{"any width", []Port{port(Uint8, 1, -1)}, 5, "[1 5]"},
		{"half a row", []Port{port(FP32, -1, 2)}, 4, "4 raw bytes where the model takes 8"},
		{"fixed, more", []Port{port(FP32, 1, 2)}, 16, "16 raw bytes where"},
		{"nothing", []Port{port(FP32, -1, 2)}, 0, "0 raw bytes"},
		{"two inputs", []Port{port(FP32, -1, 2), {Name: "y", Datatype: FP32, Shape: []int64{-1}}}, 8, "does not say what they are"},
		{"no signature", nil, 8, "does not say what they are"},
		{"bytes", []Port{port(Bytes, -1)}, 8, "does not say what they are"},
		{"two open", []Port{port(FP32, -1, -1)}, 8, "more than one size"},
		{"too many rows", []Port{port(Uint8, -1, 1)}, 1<<16 + 1, "65537 rows"},
		{"too many elements", []Port{port(Uint8, 1, -1)}, 1<<20 + 1, "more elements than the limit"},
		{"a huge signature", []Port{port(FP32, 1<<40, 1<<40)}, 8, "more elements than the limit"},
	} {
		m := Message{make([]byte, tt.size), 0}
		r, err := OIP.ParseRequest(m, Signature{Inputs: tt.ports}, DefaultLimits())
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(r.Inputs[0].Shape)
		}
		if !strings.Contains(got, tt.want) || err == nil && (!r.Raw.All || r.Inputs[0].Len() != int(volume(r.Inputs[0].Shape))) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestHalves holds every FP16 and BF16 against its rounding and its bits.
func TestHalves(t *testing.T) {
	for bits := range uint64(1 << 16) {
		for _, d := range []Datatype{FP16, BF16} {
			v := floatOfBits(d, bits)
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			x := Tensor{"x", d, []int64{1}, Data{Floats: []float64{v}}}
			if got := little(x.AppendRaw(nil)); d.Round(v) != v || got != bits {
				t.Fatalf("%s %#x is %v, rounds to %v and is written %#x", d, bits, v, d.Round(v), got)
			}
		}
	}
}

func FuzzParseBinary(f *testing.F) {
	m, err := OIPBinary.AppendRequest(nil, mixed())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Body, m.Header)
	f.Add([]byte("12345678"), 0)
	f.Add([]byte(`{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}abcdefgh`), 93)
	sig := Signature{Inputs: []Port{{Name: "x", Datatype: FP32, Shape: []int64{-1, 2}}}}
	wide := narrow
	wide.MaxTensors = 16
	f.Fuzz(func(t *testing.T, body []byte, header int) {
		r, err := OIP.ParseRequest(Message{body, header}, sig, wide)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		room := wide
		room.Room = TakeRoom()
		defer room.Room.Free()
		if same, err := OIP.ParseRequest(Message{body, header}, sig, room); err != nil || !same.equal(r) {
			t.Fatalf("in a room it is read %+v, %v", same, err)
		}
		r.Raw = Raw{All: true}
		sent, err := OIPBinary.AppendRequest([]byte{}, r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := OIP.ParseRequest(sent, Signature{}, DefaultLimits())
		if err != nil || !again.equal(r) {
			t.Fatalf("%+v was written %q and read %+v, %v", r, sent.Body, again, err)
		}
	})
}

// equal compares what two requests ask.
func (r *Request) equal(o *Request) bool {
	if r.Model != o.Model || r.ID != o.ID || len(r.Inputs) != len(o.Inputs) || fmt.Sprint(r.Outputs) != fmt.Sprint(o.Outputs) {
		return false
	}
	for i := range r.Inputs {
		a, b := &r.Inputs[i], &o.Inputs[i]
		if a.Name != b.Name || a.Datatype != b.Datatype || fmt.Sprint(a.Shape) != fmt.Sprint(b.Shape) || a.Len() != b.Len() || !bytes.Equal(a.AppendRaw(nil), b.AppendRaw(nil)) {
			return false
		}
	}
	return true
}
