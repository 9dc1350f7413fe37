package tensor

import (
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// input wraps one tensor into a request.
func input(shape, datatype, data string) string {
	return `{"inputs":[{"name":"x","shape":` + shape + `,"datatype":"` + datatype + `","data":` + data + `}]}`
}

func TestParseRequest(t *testing.T) {
	body := `{
		"id": "call \u00e9\ud83d\ude00",
		"parameters": {},
		"inputs": [
			{"name": "a", "shape": [2, 3], "datatype": "FP32", "data": [[1, -0.5, 1e2], [0.1, 0, 2.5E-1]], "parameters": {}},
			{"data": ["tr[ue", "\"\n\\", ""], "datatype": "BYTES", "name": "b", "shape": [3]},
			{"name": "c", "data": [[[true]], [[false]]], "shape": [2, 1, 1], "datatype": "BOOL"},
			{"name": "d", "shape": [2], "datatype": "INT64", "data": [-9223372036854775808, 9223372036854775807]},
			{"name": "e", "shape": [1, 1], "datatype": "UINT64", "data": [18446744073709551615]}
		],
		"outputs": [{"name": "y"}, {"parameters": {}, "name": "z"}]
	}`
	want := &Request{
		ID: "call é😀",
		Inputs: []Tensor{
			{"a", FP32, []int64{2, 3}, Data{Floats: []float64{1, -0.5, 100, float64(float32(0.1)), 0, 0.25}}},
			{"b", Bytes, []int64{3}, Data{Bytes: [][]byte{[]byte("tr[ue"), []byte("\"\n\\"), {}}}},
			{"c", Bool, []int64{2, 1, 1}, Data{Bools: []bool{true, false}}},
			{"d", Int64, []int64{2}, Data{Ints: []int64{math.MinInt64, math.MaxInt64}}},
			{"e", Uint64, []int64{1, 1}, Data{Uints: []uint64{math.MaxUint64}}},
		},
		Outputs: []string{"y", "z"},
	}
	body = strings.Replace(body, "\"\\\"\n", `"\"\n`, 1)
	got, err := ParseRequest([]byte(body), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got.Rows() != 3 {
		t.Errorf("Rows() = %d, want the largest, 3", got.Rows())
	}
	sent, err := got.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseRequest(sent, DefaultLimits())
	if err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("re-encoded to %s: %v", sent, err)
	}
}

// A request must not change when the buffer it was read from is used again.
func TestParseSharesNothing(t *testing.T) {
	body := []byte(input("[1]", "BYTES", `["secret"]`))
	r, err := ParseRequest(body, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for i := range body {
		body[i] = 'X'
	}
	if x := r.Inputs[0]; x.Name != "x" || string(x.Data.Bytes[0]) != "secret" {
		t.Errorf("the request changed with its buffer: %+v", x)
	}
}

func TestAppendJSONForm(t *testing.T) {
	r := &Request{
		ID:      "\x01\"é",
		Inputs:  []Tensor{{"x", FP32, []int64{1, 4}, Data{Floats: []float64{float64(float32(0.1)), 1e21, 1e-7, math.Copysign(0, -1)}}}},
		Outputs: []string{"y"},
	}
	const want = `{"id":"\u0001\"é","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[0.1,1e+21,1e-07,-0]}],"outputs":[{"name":"y"}]}`
	got, err := r.AppendJSON(nil)
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	if got := string(AppendError(nil, "bad \"x\"\xff")); got != `{"error":"bad \"x\"`+"\ufffd"+`"}` {
		t.Errorf("AppendError: %s", got)
	}
}

// What cannot be said in JSON is an error and never a different number.
func TestAppendJSONRefuses(t *testing.T) {
	for name, x := range map[string]Tensor{
		"NaN":             {"x", FP32, []int64{1}, Data{Floats: []float64{math.NaN()}}},
		"Inf":             {"x", FP64, []int64{1}, Data{Floats: []float64{math.Inf(-1)}}},
		"FP32 overflow":   {"x", FP32, []int64{1}, Data{Floats: []float64{1e39}}},
		"FP16 overflow":   {"x", FP16, []int64{1}, Data{Floats: []float64{65520}}},
		"half NaN":        {"x", FP16, []int64{1}, Data{Floats: []float64{math.NaN()}}},
		"too few":         {"x", FP32, []int64{2}, Data{Floats: []float64{1}}},
		"wrong field":     {"x", FP32, []int64{1}, Data{Ints: []int64{1}}},
		"no shape":        {"x", FP32, nil, Data{Floats: []float64{1}}},
		"zero dimension":  {"x", FP32, []int64{0}, Data{}},
		"huge dimension":  {"x", FP32, []int64{1 << 33, 1 << 33}, Data{}},
		"bytes not UTF-8": {"x", Bytes, []int64{1}, Data{Bytes: [][]byte{{0xff}}}},
		"BF16":            {"x", BF16, []int64{1}, Data{Floats: []float64{1}}},
		"no datatype":     {"x", "", []int64{1}, Data{}},
	} {
		if b, err := (&Request{Inputs: []Tensor{x}}).AppendJSON(nil); err == nil || pavise.KindOf(err) != pavise.Internal && x.textless() == "" {
			t.Errorf("%s: request written as %s, %v", name, b, err)
		}
		if b, err := (&Response{Outputs: []Tensor{x}}).AppendJSON(nil); err == nil {
			t.Errorf("%s: response written as %s", name, b)
		}
	}
}

func TestParseResponse(t *testing.T) {
	body := `{"model_name":"m","model_version":null,"id":null,"parameters":{"took":1.5,"warm":true,"note":"x","none":null},
		"outputs":[{"name":"y","shape":[1,2],"datatype":"FP64","parameters":null,"data":[0.25,0.75]}]}`
	got, err := ParseResponse([]byte(body), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	want := &Response{Model: "m", Outputs: []Tensor{{"y", FP64, []int64{1, 2}, Data{Floats: []float64{0.25, 0.75}}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	got.Version, got.ID = "3", "call"
	sent, err := got.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	const form = `{"model_name":"m","model_version":"3","id":"call","outputs":[{"name":"y","shape":[1,2],"datatype":"FP64","data":[0.25,0.75]}]}`
	if string(sent) != form {
		t.Errorf("written as %s", sent)
	}
	if again, err := ParseResponse(sent, DefaultLimits()); err != nil || !reflect.DeepEqual(again, got) {
		t.Errorf("read back as %+v, %v", again, err)
	}
}

// A model server's answer is foreign bytes too, and never the caller's fault.
func TestParseResponseRefuses(t *testing.T) {
	output := `"outputs":[{"name":"y","shape":[1],"datatype":"FP32","data":[1]}]`
	for _, tt := range []struct{ body, want string }{
		{`{` + output + `}`, `"model_name" is missing`},
		{`{"model_name":"m"}`, `"outputs" is missing`},
		{`{"model_name":null,` + output + `}`, "a string"},
		{`{"model_name":"m","error":"x",` + output + `}`, "unknown key"},
		{`{"model_name":"m","Outputs":[],` + output + `}`, "in case only"},
		{`{"model_name":"m","parameters":{"a":1,"a":2},` + output + `}`, "appears twice"},
		{`{"model_name":"m","parameters":{"a":{}},` + output + `}`, `parameters."a": '{'`},
		{`{"model_name":"m","parameters":{"a":[]},` + output + `}`, "'['"},
		{`{"model_name":"m","parameters":{"a":01},` + output + `}`, "leading zero"},
		{`{"model_name":"m","parameters":{"":1},` + output + `}`, "empty name"},
		{`{"model_name":"m","parameters":{"a" 1},` + output + `}`, "':'"},
		{`{"model_name":"m","parameters":{"a":1 "b":1},` + output + `}`, "','"},
		{`{"model_name":"m","parameters":[],` + output + `}`, "'{'"},
		{`{"model_name":"m","parameters":{` + strings.Repeat(`"a`, 1) + many(33) + `},` + output + `}`, "more than 32 parameters"},
		{`{"model_name":"m","outputs":[{"name":"y","shape":[1],"datatype":"FP32","data":[NaN]}]}`, "outputs[0].data[0]: not a JSON number"},
		{`{"model_name":"m","outputs":[{"name":"y","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}`, `binary_data_size is 4, and 0 bytes are left`},
	} {
		_, err := ParseResponse([]byte(tt.body), DefaultLimits())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s\ngot  %v\nwant %s", tt.body, err, tt.want)
		}
		if pavise.KindOf(err) != pavise.Unavailable {
			t.Errorf("%s: kind %v", tt.body, pavise.KindOf(err))
		}
	}
}

// many returns the rest of n parameters after the opening `"a`.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(`,"a`)
		}
		b.WriteString(strings.Repeat("b", i) + `":1`)
	}
	return b.String()
}

// Every error names the field, the byte and the way out.
func TestParseErrorForm(t *testing.T) {
	body := input("[2,2]", "UINT8", "[[1,2],[3,300]]")
	_, err := ParseRequest([]byte(body), DefaultLimits())
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok || e.Kind != pavise.Invalid {
		t.Fatalf("got %v", err)
	}
	const want = "inputs[0].data[1][1]: 300 is out of range for UINT8 (0 to 255), at byte 73"
	if e.Msg != want || e.Hint == "" || body[73:76] != "300" {
		t.Errorf("got  %q (hint %q)\nwant %q", e.Msg, e.Hint, want)
	}
}

// The zero Limits admit nothing.
func TestZeroLimits(t *testing.T) {
	if _, err := ParseRequest([]byte(input("[1]", "BOOL", "[true]")), Limits{}); err == nil {
		t.Error("a request passed limits that nobody set")
	}
}

// What is declared costs nothing until it is sent.
func TestMemoryFollowsText(t *testing.T) {
	lim := DefaultLimits()
	lim.MaxElements, lim.MaxRows = 1<<40, 1<<40
	body := []byte(input("[1099511627776]", "FP64", "[1,2,3]"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := ParseRequest(body, lim); err == nil || !strings.Contains(err.Error(), "3 elements where the shape says 1099511627776") {
		t.Errorf("got %v", err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<10 {
		t.Errorf("%d bytes allocated for a body of %d", used, len(body))
	}
}
