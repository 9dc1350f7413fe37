package firewall

import (
	"math"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

func loginSignature() tensor.Signature {
	return tensor.Signature{
		Inputs: []tensor.Port{
			{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, 2}, Columns: []tensor.Column{{Name: "rate", Min: new(0.0), Max: new(1.0)}, {Name: "bytes", Min: nil, Max: nil}}},
			{Name: "port", Datatype: tensor.Int64, Shape: []int64{-1, 1}, Columns: []tensor.Column{{Name: "port", Min: new(1.0), Max: new(65535.0)}}},
			{Name: "n", Datatype: tensor.Uint64, Shape: []int64{-1, 1}, Columns: []tensor.Column{{Name: "n", Min: nil, Max: new(10.0)}}},
		},
		Outputs: []tensor.Port{
			{Name: "scores", Datatype: tensor.FP32, Shape: []int64{-1, 3}},
			{Name: "label", Datatype: tensor.Int64, Shape: []int64{-1}},
		},
	}
}

func loginRequest() *tensor.Request {
	return &tensor.Request{Inputs: []tensor.Tensor{
		{Name: "x", Datatype: tensor.FP32, Shape: []int64{2, 2}, Data: tensor.Data{Floats: []float64{0, -5, 1, 1e9}}},
		{Name: "port", Datatype: tensor.Int64, Shape: []int64{2, 1}, Data: tensor.Data{Ints: []int64{1, 65535}}},
		{Name: "n", Datatype: tensor.Uint64, Shape: []int64{2, 1}, Data: tensor.Data{Uints: []uint64{0, 10}}},
	}, Outputs: []string{"scores"}}
}

func TestGateCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*tensor.Request)
		reason string // "" for allow
	}{
		"as it should be": {func(*tensor.Request) {}, ""},
		"any order":       {func(r *tensor.Request) { r.Inputs[0], r.Inputs[2] = r.Inputs[2], r.Inputs[0] }, ""},
		"no input":        {func(r *tensor.Request) { r.Inputs = nil }, `input "x" is missing`},
		"missing":         {func(r *tensor.Request) { r.Inputs = r.Inputs[1:] }, `input "x" is missing`},
		"unexpected":      {func(r *tensor.Request) { r.Inputs[1].Name = "Port" }, `unexpected input "Port"; the model has "x", "port", "n"`},
		"twice":           {func(r *tensor.Request) { r.Inputs[2] = r.Inputs[1] }, `input "port" is given twice`},
		"datatype":        {func(r *tensor.Request) { r.Inputs[0].Datatype = tensor.FP64 }, `input "x" is FP64; the model has FP32`},
		"rank":            {func(r *tensor.Request) { r.Inputs[0].Shape = []int64{4} }, `has 1 dimensions; the model has 2`},
		"dimension":       {func(r *tensor.Request) { r.Inputs[0].Shape = []int64{1, 4} }, `has the shape [1 4]; the model has [-1 2]`},
		"rows differ":     {func(r *tensor.Request) { r.Inputs[1].Shape = []int64{1, 1} }, `input "x" has 2 rows and input "port" has 1`},
		"output":          {func(r *tensor.Request) { r.Outputs = []string{"logits"} }, `unknown output "logits"; the model has "scores", "label"`},
		"below":           {func(r *tensor.Request) { r.Inputs[0].Data.Floats[2] = -0.01 }, `input "x" row 1 column 0 (rate): -0.01 is outside 0 to 1`},
		"above":           {func(r *tensor.Request) { r.Inputs[0].Data.Floats[0] = 1.5 }, `row 0 column 0 (rate): 1.5 is outside`},
		"NaN":             {func(r *tensor.Request) { r.Inputs[0].Data.Floats[0] = math.NaN() }, `NaN is outside 0 to 1`},
		"NaN, no bounds":  {func(r *tensor.Request) { r.Inputs[0].Data.Floats[1] = math.NaN() }, `NaN is outside -Inf to +Inf`},
		"integer":         {func(r *tensor.Request) { r.Inputs[1].Data.Ints[1] = 65536 }, `row 1 column 0 (port): 65536 is outside`},
		"least integer":   {func(r *tensor.Request) { r.Inputs[1].Data.Ints[0] = math.MinInt64 }, `-9223372036854775808 is outside`},
		"unsigned":        {func(r *tensor.Request) { r.Inputs[2].Data.Uints[0] = math.MaxUint64 }, `18446744073709551615 is outside -Inf to 10`},
	} {
		r := loginRequest()
		tt.change(r)
		checkVerdict(t, name, NewGate(loginSignature(), 2).Check(r), tt.reason)
	}
	text := tensor.Signature{Inputs: []tensor.Port{{Name: "s", Datatype: tensor.Bytes, Shape: []int64{-1, 1}, Columns: []tensor.Column{{Name: "text"}}}}}
	asks := &tensor.Request{Inputs: []tensor.Tensor{{Name: "s", Datatype: tensor.Bytes, Shape: []int64{1, 1}, Data: tensor.Data{Bytes: [][]byte{[]byte("a")}}}}}
	checkVerdict(t, "text has no bounds", NewGate(text, 1).Check(asks), "")
	asks.Inputs[0].Shape = nil
	checkVerdict(t, "no shape", NewGate(text, 1).Check(asks), "has 0 dimensions")
	checkVerdict(t, "zero gate", Gate{}.Check(&tensor.Request{}), "no inputs")
	checkVerdict(t, "rows", NewGate(loginSignature(), 1).Check(loginRequest()), "2 rows in one request; the limit is 1")
}

func TestGateCheckAnswer(t *testing.T) {
	scores := tensor.Tensor{Name: "scores", Datatype: tensor.FP32, Shape: []int64{2, 3}, Data: tensor.Data{Floats: make([]float64, 6)}}
	label := tensor.Tensor{Name: "label", Datatype: tensor.Int64, Shape: []int64{2}, Data: tensor.Data{Ints: make([]int64, 2)}}
	for name, tt := range map[string]struct {
		wanted  []string
		outputs []tensor.Tensor
		reason  string
	}{
		"all":             {nil, []tensor.Tensor{label, scores}, ""},
		"as asked":        {[]string{"label"}, []tensor.Tensor{label}, ""},
		"not asked":       {[]string{"label"}, []tensor.Tensor{label, scores}, `unexpected output "scores"; the model has "label"`},
		"missing":         {nil, []tensor.Tensor{label}, `output "scores" is missing`},
		"scores as text":  {nil, []tensor.Tensor{{Name: "scores", Datatype: tensor.Bytes, Shape: []int64{2, 3}, Data: tensor.Data{}}, label}, `output "scores" is BYTES; the model has FP32`},
		"too many rows":   {[]string{"scores"}, []tensor.Tensor{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{3, 3}, Data: tensor.Data{}}}, `output "scores" has 3 rows for a request of 2`},
		"wrong dimension": {[]string{"scores"}, []tensor.Tensor{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{2, 4}, Data: tensor.Data{}}}, `has the shape [2 4]`},
	} {
		r := loginRequest()
		r.Outputs = tt.wanted
		checkVerdict(t, name, NewGate(loginSignature(), 9).CheckAnswer(r, &tensor.Response{Outputs: tt.outputs}), tt.reason)
	}
}

func checkVerdict(t *testing.T, name string, v pavise.Verdict, reason string) {
	t.Helper()
	if v.Check != "gate" || (v.Outcome == pavise.Deny) != (reason != "") || !strings.Contains(v.Reason, reason) {
		t.Errorf("%s: got %+v, want %q", name, v, reason)
	}
}

func TestSignatureValidate(t *testing.T) {
	if err := loginSignature().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*tensor.Signature){
		"no input":              func(s *tensor.Signature) { s.Inputs = nil },
		"no output":             func(s *tensor.Signature) { s.Outputs = nil },
		"listed twice":          func(s *tensor.Signature) { s.Inputs[1].Name = "x" },
		"no name":               func(s *tensor.Signature) { s.Inputs[1].Name = "" },
		"unknown datatype":      func(s *tensor.Signature) { s.Outputs[0].Datatype = "BF8" },
		"no shape":              func(s *tensor.Signature) { s.Outputs[0].Shape = nil },
		"neither -1":            func(s *tensor.Signature) { s.Outputs[0].Shape = []int64{-2} },
		"2 columns and the":     func(s *tensor.Signature) { s.Inputs[0].Shape = []int64{-1, 3} },
		"1 columns and the":     func(s *tensor.Signature) { s.Inputs[1].Shape = []int64{1} },
		"no finite number":      func(s *tensor.Signature) { s.Inputs[0].Columns[0].Max = new(math.Inf(1)) },
		"bounded to nothing":    func(s *tensor.Signature) { s.Inputs[0].Columns[0].Max = new(-1.0) },
		"2^53":                  func(s *tensor.Signature) { s.Inputs[1].Columns[0].Max = new(0x1p53) },
		"does not hold numbers": func(s *tensor.Signature) { s.Inputs[0].Datatype = tensor.Bytes },
	} {
		s := loginSignature()
		change(&s)
		if err := s.Validate(); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

// A route's limits are what its requests can need, and never more than the
// general ones.
func TestGateLimits(t *testing.T) {
	most := tensor.DefaultLimits()
	port := func(d tensor.Datatype, shape ...int64) tensor.Port {
		return tensor.Port{Name: "x", Datatype: d, Shape: shape}
	}
	for name, tt := range map[string]struct {
		rows    int
		outputs int
		inputs  []tensor.Port
		tensors int
		total   int
		body    int
	}{
		"table":       {256, 1, []tensor.Port{port(tensor.FP32, -1, 41)}, 1, 256 * 41, 64<<10 + 64*256*41},
		"two inputs":  {10, 1, []tensor.Port{port(tensor.FP32, -1, 2), port(tensor.Int64, -1)}, 2, 30, 64<<10 + 64*30},
		"more out":    {10, 3, []tensor.Port{port(tensor.FP32, -1)}, 3, 10, 64<<10 + 640},
		"fixed rows":  {10, 1, []tensor.Port{port(tensor.FP32, 1, 3)}, 1, 30, 64<<10 + 64*30},
		"free":        {10, 1, []tensor.Port{port(tensor.FP32, -1, 3, -1)}, 1, most.MaxElements, most.MaxBody},
		"one is free": {10, 1, []tensor.Port{port(tensor.FP32, -1, 3), port(tensor.FP32, -1, -1)}, 2, most.MaxElements, most.MaxBody},
		"overflow":    {1 << 16, 1, []tensor.Port{port(tensor.FP32, -1, 1<<40, 1<<40)}, 1, most.MaxElements, most.MaxBody},
		"texts":       {10, 1, []tensor.Port{port(tensor.Bytes, -1)}, 1, 10, most.MaxBody},
		"closed":      {0, 1, []tensor.Port{port(tensor.FP32, -1, 41)}, 1, 0, 64 << 10},
	} {
		lim := NewGate(tensor.Signature{Inputs: tt.inputs, Outputs: make([]tensor.Port, tt.outputs)}, tt.rows).Limits(most)
		want := most
		want.MaxRows, want.MaxTensors, want.MaxElements, want.MaxBody = tt.rows, tt.tensors, tt.total, tt.body
		if lim != want {
			t.Errorf("%s: %+v, want %+v", name, lim, want)
		}
	}
}

// What a gate lets pass, its limits let be read, however it is written.
func TestGateLimitsLetPass(t *testing.T) {
	gate := NewGate(tensor.Signature{Inputs: []tensor.Port{{Name: "x", Datatype: tensor.FP64, Shape: []int64{-1, 41}}}, Outputs: []tensor.Port{{Name: "y", Datatype: tensor.FP64, Shape: []int64{-1}}}}, 64)
	row := "\n        [" + strings.Repeat("\n          -1.2345678901234567e-300,", 40) + "\n          0\n        ]"
	body := `{"inputs":[{"name":"x","shape":[64,41],"datatype":"FP64","data":[` + strings.Repeat(row+",", 63) + row + `]}]}`
	r, err := tensor.ParseRequest([]byte(body), gate.Limits(tensor.DefaultLimits()))
	if err != nil {
		t.Fatal(err)
	}
	checkVerdict(t, "full", gate.Check(r), "")
}

// A verdict goes into the record, so it tells little of what a caller wrote.
func TestReasonsQuoteLittle(t *testing.T) {
	long := strings.Repeat("n", 128)
	bodies := []string{
		`{"` + long + `":1}`, `{"parameters":{"` + long + `":1}}`, `{"inputs":[{"datatype":"` + long + `"}]}`, `{"inputs":[{"datatype":"` + strings.Repeat("f", 128) + `"}]}`,
		`{"outputs":[{"name":"` + long + `"},{"name":"` + long + `"}]}`,
		`{"inputs":[{"name":"` + long + `","shape":[1],"datatype":"FP32","data":[1]},{"name":"` + long + `","shape":[1],"datatype":"FP32","data":[1]}]}`,
		`{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[` + strings.Repeat("1", 128) + `]}]}`,
		`{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[` + strings.Repeat("1", 128) + `]}]}`,
	}
	said := []string{}
	for _, body := range bodies {
		_, err := tensor.ParseRequest([]byte(body), tensor.DefaultLimits())
		if err == nil {
			t.Fatalf("%s passes", body)
		}
		said = append(said, err.Error())
	}
	r := loginRequest()
	r.Outputs = []string{long}
	said = append(said, NewGate(loginSignature(), 9).Check(r).Reason)
	r.Inputs[0].Name = long
	said = append(said, NewGate(loginSignature(), 9).Check(r).Reason)
	for _, reason := range said {
		for _, c := range []string{"n", "1", "f"} {
			if strings.Contains(reason, strings.Repeat(c, 41)) {
				t.Errorf("it quotes more than 40 characters: %s", reason)
			}
		}
	}
}
