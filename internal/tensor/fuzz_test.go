package tensor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/pavise/pavise"
)

// narrow limits keep the fuzzer among small bodies and make it meet limits.
var narrow = Limits{MaxBody: 1 << 16, MaxTensors: 4, MaxElements: 1 << 10, MaxRows: 64, MaxRank: 4, MaxNameLen: 32, MaxBytesLen: 64}

func FuzzParseRequest(f *testing.F) {
	for _, c := range hostile(f) {
		if len(c.Body) < 1024 {
			f.Add(c.Body)
		}
	}
	f.Add([]byte(`{"inputs":[{"name":"x","shape":[3],"datatype":"FP32","data":[0.48291,0.5,-1.25001]}]}`))
	f.Add([]byte(`{"id":"a","inputs":[{"name":"x","shape":[2,1],"datatype":"FP32","data":[[1.5],[-2e3]]},{"data":["\ud83d\ude00"],"name":"s","shape":[1],"datatype":"BYTES"}],"outputs":[{"name":"y"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRequest(body, narrow)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		checkText(t, body, requestKeys)
		checkTensors(t, body, "inputs", r.Inputs)
		sent, err := r.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		checkRoom(t, body, sent)
		checkTensors(t, sent, "inputs", r.Inputs)
		again, err := ParseRequest(sent, DefaultLimits())
		r.Raw, r.Model = Raw{}, "" // say nothing of what is asked
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v was written %s and read %+v, %v", r, sent, again, err)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte(`{"model_name":"m","model_version":"1","id":null,"parameters":{"a":1,"b":null},"outputs":[{"name":"y","shape":[1,2],"datatype":"FP16","data":[[0.1,1e-7]]}]}`))
	f.Add([]byte(`{"model_name":"m","outputs":[{"name":"y","shape":[1],"datatype":"INT64","parameters":{"x":"y"},"data":[-9007199254740993]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseResponse(body, narrow)
		if err != nil {
			if pavise.KindOf(err) != pavise.Unavailable {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		checkText(t, body, nil)
		checkTensors(t, body, "outputs", r.Outputs)
		sent, err := r.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseResponse(sent, DefaultLimits())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v was written %s and read %+v, %v", r, sent, again, err)
		}
	})
}

// checkRoom holds what is sent of a body that was read into a room, where text may be
// kept, against what is written of the same numbers without one.
func checkRoom(t *testing.T, body, want []byte) {
	t.Helper()
	lim := narrow
	lim.Room = new(Room)
	r, err := ParseRequest(body, lim)
	if err != nil {
		t.Fatal(err)
	}
	if sent, err := r.AppendJSON(nil); err != nil || !bytes.Equal(sent, want) {
		t.Fatalf("in a room %s is sent, and elsewhere %s: %v", sent, want, err)
	}
	// A number that is changed is written as it is then.
	if t := &r.Inputs[0]; t.Datatype == FP32 {
		t.Data.Floats[0] = -t.Data.Floats[0]
	}
	moved := &Request{ID: r.ID, Inputs: r.Inputs, Outputs: r.Outputs}
	want, _ = moved.AppendJSON(nil)
	if sent, err := r.AppendJSON(nil); err != nil || !bytes.Equal(sent, want) {
		t.Fatalf("changed, in a room %s is sent, and elsewhere %s: %v", sent, want, err)
	}
}

// checkText holds accepted text against the standard library's reading of it: one
// valid value, no key twice in an object, and, where top is given, only those keys
// at the top.
func checkText(t *testing.T, body []byte, top []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	checkValue(t, d, top)
	if _, err := d.Token(); err != io.EOF {
		t.Fatalf("accepted more than one value: %s", body)
	}
}

// checkValue walks one value token by token.
func checkValue(t *testing.T, d *json.Decoder, keys []string) {
	t.Helper()
	token, err := d.Token()
	if err != nil {
		t.Fatalf("accepted what encoding/json does not: %v", err)
	}
	delim, _ := token.(json.Delim)
	seen := make(map[any]bool)
	for delim != 0 && d.More() {
		if delim == '{' {
			key, err := d.Token()
			if err != nil || seen[key] || keys != nil && !slices.Contains(keys, key.(string)) {
				t.Fatalf("accepted the key %v, twice or unknown: %v", key, err)
			}
			seen[key] = true
		}
		checkValue(t, d, nil)
	}
	if delim != 0 {
		if _, err := d.Token(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkTensors holds the tensors against what encoding/json reads in body.
func checkTensors(t *testing.T, body []byte, key string, list []Tensor) {
	t.Helper()
	var all map[string]json.RawMessage
	var want []struct {
		Name, Datatype string
		Shape          []int64
		Data           []any
	}
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(all[key]))
	d.UseNumber()
	if err := d.Decode(&want); err != nil || len(want) != len(list) {
		t.Fatalf("%d tensors, want %d: %v", len(list), len(want), err)
	}
	for i, w := range want {
		x := &list[i]
		if x.Name != w.Name || string(x.Datatype) != w.Datatype || !slices.Equal(x.Shape, w.Shape) {
			t.Fatalf("got %+v, want %+v", x, w)
		}
		flat := flatten(w.Data)
		if len(flat) != x.Len() {
			t.Fatalf("%d elements, want %d", x.Len(), len(flat))
		}
		for j, v := range flat {
			if got, want := element(x, j), reading(x.Datatype, v); got != want {
				t.Fatalf("%s element %d: got %q, want %q", x.Datatype, j, got, want)
			}
		}
	}
}

func flatten(data []any) []any {
	var flat []any
	for _, v := range data {
		if inner, ok := v.([]any); ok {
			flat = append(flat, flatten(inner)...)
		} else {
			flat = append(flat, v)
		}
	}
	return flat
}

// element returns element j of t as text.
func element(t *Tensor, j int) string {
	switch t.Datatype.Family() {
	case Boolean:
		return fmt.Sprint(t.Data.Bools[j])
	case Unsigned:
		return fmt.Sprint(t.Data.Uints[j])
	case Signed:
		return fmt.Sprint(t.Data.Ints[j])
	case Floating:
		return fmt.Sprint(math.Float64bits(t.Data.Floats[j]))
	}
	return string(t.Data.Bytes[j])
}

// reading returns, as element does, what v of encoding/json means as datatype d.
func reading(d Datatype, v any) string {
	n, isNumber := v.(json.Number)
	if !isNumber || !d.IsFloat() {
		return fmt.Sprint(v)
	}
	return fmt.Sprint(math.Float64bits(nearest(d, n)))
}

// nearest is the value of datatype d nearest to n, as the standard library has it.
func nearest(d Datatype, n json.Number) float64 {
	x, _ := strconv.ParseFloat(string(n), max(32, d.Bits()))
	if d == FP16 {
		x, _ = strconv.ParseFloat(string(n), 64)
		x = nearestHalf(x)
	}
	return x
}
