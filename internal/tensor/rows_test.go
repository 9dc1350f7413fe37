package tensor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// signatures are of the models that the tests of the row protocols ask.
var signatures = map[string]Signature{
	"vector": {
		Inputs:  []Port{{Name: "x", Datatype: FP32, Shape: []int64{-1, 2}}},
		Outputs: []Port{{Name: "y", Datatype: FP32, Shape: []int64{-1, 2}}},
	},
	"table": {
		Inputs:  []Port{{Name: "t", Datatype: FP64, Shape: []int64{-1, 3}, Columns: []Column{{Name: "a"}, {Name: "b"}, {Name: "ü \"c\""}}}},
		Outputs: []Port{{Name: "y", Datatype: Int64, Shape: []int64{-1}}},
	},
	"mixed": {
		Inputs: []Port{
			{Name: "n", Datatype: Int8, Shape: []int64{-1}}, {Name: "u", Datatype: Uint64, Shape: []int64{-1, 2}},
			{Name: "s", Datatype: Bytes, Shape: []int64{-1}}, {Name: "b", Datatype: Bool, Shape: []int64{-1, 1, 2}},
		},
		Outputs: []Port{{Name: "p", Datatype: FP64, Shape: []int64{-1, 2}}, {Name: "q", Datatype: Bytes, Shape: []int64{-1}}},
	},
	"text": {
		Inputs:  []Port{{Name: "s", Datatype: Bytes, Shape: []int64{-1}}},
		Outputs: []Port{{Name: "y", Datatype: FP16, Shape: []int64{-1}}},
	},
}

// rowProtocols are those whose tensors are typed by the signature.
var rowProtocols = map[string]Protocol{NameV1: V1, NameTFServing: TFServing, NameTorchServe: TorchServe, NameMLflow: MLflow}

// TestRows reads requests of every form, and finds what they hold.
func TestRows(t *testing.T) {
	mixed := `n [2] [1 -2]; u [2 2] [1 18446744073709551615 0 4]; s [2] [a ` + "\xff" + `]; b [2 1 2] [true false false true]`
	for _, tt := range []struct{ protocol, signature, body, want string }{
		{NameV1, "vector", `{"instances":[[1,2.5],[-3e1,0]]}`, "x [2 2] [1 2.5 -30 0]"},
		{NameV1, "vector", `{"instances":[{"x":[1,2]}]}`, "x [1 2] [1 2]"},
		{NameV1, "vector", ` { "signature_name" : "serving_default" , "instances" : [ [ 1 , 2 ] ] } `, "x [1 2] [1 2]"},
		{NameV1, "vector", `{"inputs":[[1,2]]}`, "x [1 2] [1 2]"},
		{NameV1, "vector", `{"inputs":{"x":[[1,2]]},"signature_name":"serving_default"}`, "x [1 2] [1 2]"},
		{NameV1, "vector", `{"instances":[1,2]}`, "x [2] [1 2]"},             // the gate refuses the shape
		{NameV1, "vector", `{"instances":[[[1]],[[2]]]}`, "x [2 1 1] [1 2]"}, // and this one
		{NameV1, "mixed", `{"instances":[{"n":1,"u":[1,18446744073709551615],"s":"a","b":[[true,false]]},{"b":[[false,true]],"s":{"b64":"/w=="},"u":[0,4],"n":-2}]}`, mixed},
		{NameTFServing, "mixed", `{"inputs":{"s":["a",{"b64":"/w=="}],"n":[1,-2],"b":[[[true,false]],[[false,true]]],"u":[[1,18446744073709551615],[0,4]]}}`, mixed},
		{NameV1, "text", `{"instances":["a",{"b64":"YQ=="},{"s":"c"},{"s":{"b64":""}}]}`, "s [4] [a a c ]"},
		{NameTorchServe, "vector", `[[1,2]]`, "x [1 2] [1 2]"},
		{NameTorchServe, "vector", `{"data":[[1,2]]}`, "x [1 2] [1 2]"},
		{NameTorchServe, "vector", `{"instances":[[1,2]]}`, "x [1 2] [1 2]"},
		{NameTorchServe, "text", `[{"s":"a"}]`, "s [1] [a]"},
		{NameMLflow, "table", `{"dataframe_split":{"columns":["b","a","ü \"c\""],"data":[[1,2,3],[4,5,6]]}}`, "t [2 3] [2 1 3 5 4 6]"},
		{NameMLflow, "table", `{"dataframe_split":{"index":[0,1],"data":[[1,2,3],[4,5,6]],"columns":["b","ü \u0022c\u0022","a"]}}`, "t [2 3] [3 1 2 6 4 5]"},
		{NameMLflow, "table", `{"dataframe_split":{"data":[[1,2,3]]}}`, "t [1 3] [1 2 3]"},
		{NameMLflow, "table", `{"dataframe_records":[{"b":1,"a":2,"ü \"c\"":3},{"a":4,"b":5,"ü \"c\"":6}]}`, "t [2 3] [2 1 3 4 5 6]"},
		{NameMLflow, "mixed", `{"dataframe_records":[{"n":1,"u":[1,18446744073709551615],"s":"a","b":[[true,false]]},{"n":-2,"u":[0,4],"s":{"b64":"/w=="},"b":[[false,true]]}]}`, mixed},
		{NameMLflow, "mixed", `{"dataframe_split":{"columns":["s","n","b","u"],"data":[["a",1,[[true,false]],[1,18446744073709551615]],[{"b64":"/w=="},-2,[[false,true]],[0,4]]]}}`, mixed},
		{NameMLflow, "vector", `{"inputs":[[1,2]]}`, "x [1 2] [1 2]"},
		{NameMLflow, "vector", `{"instances":[[1,2]]}`, "x [1 2] [1 2]"},
	} {
		r, err := rowProtocols[tt.protocol].ParseRequest(Message{[]byte(tt.body), NoHeader}, signatures[tt.signature], DefaultLimits())
		if err != nil {
			t.Errorf("%s %s: %v", tt.protocol, tt.body, err)
			continue
		}
		if got := say(r.Inputs); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.protocol, tt.body, got, tt.want)
		}
	}
}

// say says what tensors hold.
func say(list []Tensor) string {
	var all []string
	for i := range list {
		x := &list[i]
		elements := make([]string, x.Len())
		for j := range elements {
			elements[j] = element(x, j)
			if x.Datatype.IsFloat() {
				elements[j] = fmt.Sprint(x.Data.Floats[j])
			}
		}
		all = append(all, fmt.Sprint(x.Name, " ", x.Shape, " ", elements))
	}
	return strings.Join(all, "; ")
}

// TestEveryProtocolToEveryOther carries one request and its answer from each protocol
// to each, and back.
func TestEveryProtocolToEveryOther(t *testing.T) {
	all := map[string]Protocol{NameOIP: OIP}
	for name, p := range rowProtocols {
		all[name] = p
	}
	for name, sig := range signatures {
		request := &Request{Inputs: sample(sig.Inputs)}
		answer := &Response{Model: "m", Outputs: sample(sig.Outputs)}
		for from, caller := range all {
			for to, server := range all {
				if to == NameMLflow {
					server = MLflowOf(sig)
				}
				sent, err := caller.AppendRequest(nil, request)
				if err != nil {
					t.Fatal(err)
				}
				r := mustRead(t, from, caller, sent, sig)
				if sent, err = server.AppendRequest(nil, r); err != nil {
					t.Fatal(err)
				}
				if got := mustRead(t, to, server, sent, sig); say(got.Inputs) != say(request.Inputs) {
					t.Errorf("%s from %s to %s: %s, want %s", name, from, to, say(got.Inputs), say(request.Inputs))
				}
				said, err := server.AppendResponse(nil, r, answer)
				if err != nil {
					t.Fatal(err)
				}
				a, err := server.ParseResponse(said, r, sig, DefaultLimits())
				if err != nil || say(a.Outputs) != say(answer.Outputs) {
					t.Errorf("%s from %s to %s: answer %s: %v", name, from, to, said.Body, err)
				}
			}
		}
	}
}

func mustRead(t *testing.T, name string, p Protocol, m Message, sig Signature) *Request {
	t.Helper()
	r, err := p.ParseRequest(m, sig, DefaultLimits())
	if err != nil {
		t.Fatalf("%s: %s: %v", name, m.Body, err)
	}
	return r
}

// sample is two rows for each port.
func sample(ports []Port) []Tensor {
	var list []Tensor
	for _, p := range ports {
		x := Tensor{Name: p.Name, Datatype: p.Datatype, Shape: slices.Clone(p.Shape)}
		x.Shape[0] = 2
		n := int64(1)
		for _, dim := range x.Shape {
			n *= dim
		}
		for i := range n {
			x.Data.add(p.Datatype, i)
		}
		list = append(list, x)
	}
	return list
}

func (d *Data) add(t Datatype, i int64) {
	switch t.Family() {
	case Boolean:
		d.Bools = append(d.Bools, i%2 == 0)
	case Unsigned:
		d.Uints = append(d.Uints, uint64(i))
	case Signed:
		d.Ints = append(d.Ints, -i)
	case Floating:
		d.Floats = append(d.Floats, float64(i)/2)
	default:
		d.Bytes = append(d.Bytes, fmt.Append(nil, "é", i))
	}
}

// TestRowAnswers reads what servers say, and writes it as the caller asked.
func TestRowAnswers(t *testing.T) {
	for _, tt := range []struct{ protocol, signature, ask, answer, want string }{
		{NameV1, "vector", `{"instances":[[1,2]]}`, `{"predictions":[[0.25,1]]}`, `{"predictions":[[0.25,1.0]]}`},
		{NameV1, "vector", `{"inputs":[[1,2]]}`, `{"predictions":[{"y":[0.25,1]}]}`, `{"outputs":[[0.25,1.0]]}`},
		{NameTFServing, "vector", `{"inputs":[[1,2]]}`, `{"outputs":[[0.25,1e-7]]}`, `{"outputs":[[0.25,1e-07]]}`},
		{NameTFServing, "text", `{"inputs":["a"]}`, `{"outputs":{"y":[0.5]}}`, `{"outputs":[0.5]}`},
		{NameTorchServe, "vector", `[[1,2]]`, `{"predictions":[[1,2]]}`, `[[1.0,2.0]]`},
		{NameTorchServe, "vector", `{"instances":[[1,2]]}`, `[[1,2]]`, `{"predictions":[[1.0,2.0]]}`},
		{NameMLflow, "table", `{"dataframe_split":{"data":[[1,2,3]]}}`, `{"predictions":[7]}`, `{"predictions":[7]}`},
		{NameMLflow, "table", `{"dataframe_split":{"data":[[1,2,3]]}}`, `{"predictions":{"y":[7]}}`, `{"predictions":[7]}`},
	} {
		p, sig := rowProtocols[tt.protocol], signatures[tt.signature]
		r := mustRead(t, tt.protocol, p, Message{[]byte(tt.ask), NoHeader}, sig)
		a, err := p.ParseResponse(Message{[]byte(tt.answer), NoHeader}, r, sig, DefaultLimits())
		if err != nil {
			t.Errorf("%s %s: %v", tt.protocol, tt.answer, err)
			continue
		}
		if m, err := p.AppendResponse(nil, r, a); err != nil || string(m.Body) != tt.want {
			t.Errorf("%s %s: %s, %v, want %s", tt.protocol, tt.answer, m.Body, err, tt.want)
		}
	}
	r := &Request{Inputs: sample(signatures["mixed"].Inputs), Outputs: []string{"q"}}
	a, err := V1.ParseResponse(Message{[]byte(`{"predictions":[{"p":[1,2],"q":"a"},{"p":[1,2],"q":"b"}]}`), NoHeader}, r, signatures["mixed"], DefaultLimits())
	if err != nil || say(a.Outputs) != "q [2] [a b]" {
		t.Errorf("outputs that were not asked for: %+v, %v", a, err)
	}
	uneven := &Response{Outputs: []Tensor{{Name: "a", Datatype: Int8, Shape: []int64{1}, Data: Data{Ints: []int64{1}}}, {Name: "b", Datatype: Int8, Shape: []int64{2}, Data: Data{Ints: []int64{1, 2}}}}}
	for name, p := range rowProtocols {
		if _, err := p.AppendResponse(nil, &Request{}, uneven); pavise.KindOf(err) != pavise.Unavailable {
			t.Errorf("%s: rows that disagree: %v", name, err)
		}
		if _, err := p.AppendRequest(nil, &Request{Inputs: uneven.Outputs}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: rows that disagree: %v", name, err)
		}
		for _, lie := range []string{"", "null", "[]", "{}", `{"error":"x"}`, `{"predictions":[]}`, `{"predictions":null}`, `{"predictions":[[1]],"predictions":[[1]]}`, `{"Predictions":[[1,2]]}`, `{"predictions":[[NaN,1]]}`, `{"predictions":[[1,2],[1]]}`, `{"predictions":[[1,2]]}x`, `<html>`} {
			if a, err := p.ParseResponse(Message{[]byte(lie), NoHeader}, &Request{}, signatures["vector"], DefaultLimits()); pavise.KindOf(err) != pavise.Unavailable || a != nil {
				t.Errorf("%s: the server said %s: %+v, %v", name, lie, a, err)
			}
		}
	}
}

// FuzzRowProtocols parses a body as each protocol and each signature: what is accepted
// is valid JSON without a key twice, holds what encoding/json finds in it, and comes
// back the same from what is sent on.
func FuzzRowProtocols(f *testing.F) {
	for _, body := range []string{
		`{"instances":[[1,2.5],[-3e1,0]]}`, `{"signature_name":"serving_default","instances":[{"x":[1,2]}]}`, `{"inputs":{"x":[[1,2]]}}`,
		`{"instances":[{"n":1,"u":[1,2],"s":{"b64":"/w=="},"b":[[true,false]]}]}`, `["a",{"b64":"YQ=="},{"s":"\u00e9"}]`, `{"data":[[1,2]]}`,
		`{"dataframe_split":{"index":[0],"data":[[1,2,3]],"columns":["b","a","ü \"c\""]}}`, `{"dataframe_records":[{"b":1,"a":2,"ü \"c\"":3}]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, p := range rowProtocols {
			for of, sig := range signatures {
				r, err := p.ParseRequest(Message{body, NoHeader}, sig, narrow)
				if err != nil {
					if pavise.KindOf(err) != pavise.Invalid {
						t.Fatalf("kind of %v", err)
					}
					continue
				}
				checkText(t, body, nil)
				if got, want := say(r.Inputs), naive(t, body, sig); got != want {
					t.Fatalf("%s %s: %s holds %s, and encoding/json finds %s", name, of, body, got, want)
				}
				server := p
				if name == NameMLflow {
					server = &mlflow{}
				}
				sent, err := server.AppendRequest(nil, r)
				if err != nil {
					if pavise.KindOf(err) != pavise.Invalid { // columns of different lengths
						t.Fatal(err)
					}
					continue
				}
				checkText(t, sent.Body, nil)
				again, err := p.ParseRequest(sent, sig, DefaultLimits())
				if err != nil || !reflect.DeepEqual(again.Inputs, r.Inputs) {
					t.Fatalf("%s %s: %+v was written %s and read %+v, %v", name, of, r, sent.Body, again, err)
				}
			}
		}
	})
}

// FuzzRowAnswers does the same to what servers say.
func FuzzRowAnswers(f *testing.F) {
	for _, body := range []string{`{"predictions":[[0.25,1]]}`, `{"outputs":[[1,2]]}`, `[[1,2]]`, `{"predictions":{"y":[7]}}`, `{"predictions":[{"p":[1,2],"q":{"b64":"AA=="}}]}`} {
		f.Add([]byte(body), false)
		f.Add([]byte(body), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, columns bool) {
		r := &Request{}
		if columns {
			r.form = byColumn
		}
		for name, p := range rowProtocols {
			for _, sig := range signatures {
				a, err := p.ParseResponse(Message{body, NoHeader}, r, sig, narrow)
				if err != nil {
					if pavise.KindOf(err) != pavise.Unavailable {
						t.Fatalf("kind of %v", err)
					}
					continue
				}
				checkText(t, body, nil)
				sent, err := p.AppendResponse(nil, r, a)
				if err != nil {
					continue // columns of different lengths
				}
				if name == NameV1 && columns { // a caller's form, not a server's
					continue
				}
				again, err := p.ParseResponse(sent, r, sig, DefaultLimits())
				if err != nil || !reflect.DeepEqual(again, a) {
					t.Fatalf("%s: %+v was written %s and read %+v, %v", name, a, sent.Body, again, err)
				}
			}
		}
	})
}

// naive says what the standard library finds in a request, by the plainest reading of
// each protocol.
func naive(t *testing.T, body []byte, sig Signature) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	rows, columns := v, map[string]any(nil)
	if o, ok := v.(map[string]any); ok {
		rows = nil
		for key, value := range o {
			switch key {
			case "instances", "data", "dataframe_records":
				rows = value
			case "inputs":
				if columns, ok = value.(map[string]any); !ok {
					columns = map[string]any{sig.Inputs[0].Name: value}
				}
			case "dataframe_split":
				rows = records(value.(map[string]any))
			}
		}
	}
	if columns == nil {
		columns = map[string]any{}
		for _, p := range sig.Inputs {
			columns[p.Name] = column(rows.([]any), p)
		}
	}
	var list []Tensor
	for _, p := range sig.Inputs {
		x := Tensor{Name: p.Name, Datatype: p.Datatype}
		take(&x, columns[p.Name], 0)
		list = append(list, x)
	}
	return say(list)
}

// records are the rows of a data frame as objects, if its columns have names.
func records(frame map[string]any) []any {
	names, named := frame["columns"].([]any)
	var all []any
	for _, row := range frame["data"].([]any) {
		if !named {
			return frame["data"].([]any)
		}
		record := map[string]any{}
		for i, name := range names {
			record[name.(string)] = row.([]any)[i]
		}
		all = append(all, record)
	}
	return all
}

// column is what rows hold for a port.
func column(rows []any, p Port) any {
	var all []any
	for _, row := range rows {
		o, ok := row.(map[string]any)
		_, isBytes := o[b64]
		switch {
		case !ok || isBytes && p.Datatype == Bytes && p.Name != b64 && len(o) == 1:
			all = append(all, row)
		case o[p.Name] != nil:
			all = append(all, o[p.Name])
		default:
			var inner []any
			for _, c := range p.Columns {
				inner = append(inner, o[c.Name])
			}
			all = append(all, inner)
		}
	}
	return all
}

// take reads nested lists onto a tensor.
func take(x *Tensor, v any, depth int) {
	if list, ok := v.([]any); ok {
		if depth == len(x.Shape) {
			x.Shape = append(x.Shape, int64(len(list)))
		}
		for _, inner := range list {
			take(x, inner, depth+1)
		}
		return
	}
	text := fmt.Sprint(v)
	if o, ok := v.(map[string]any); ok {
		b, _ := base64.StdEncoding.DecodeString(o[b64].(string))
		text = string(b)
	}
	d := &x.Data
	switch x.Datatype.Family() {
	case Boolean:
		d.Bools = append(d.Bools, v.(bool))
	case Unsigned:
		var n uint64
		fmt.Sscan(text, &n)
		d.Uints = append(d.Uints, n)
	case Signed:
		var n int64
		fmt.Sscan(text, &n)
		d.Ints = append(d.Ints, n)
	case Floating:
		d.Floats = append(d.Floats, nearest(x.Datatype, json.Number(text)))
	default:
		d.Bytes = append(d.Bytes, []byte(text))
	}
}
