package firewall

import (
	"slices"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// FuzzShape shapes whatever answer is read at all.
func FuzzShape(f *testing.F) {
	f.Add([]byte(`{"model_name":"m","outputs":[{"name":"y","shape":[1,2],"datatype":"FP16","data":[[0.1,1e-7]]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := tensor.ParseResponse(body, tensor.DefaultLimits())
		if err != nil {
			return
		}
		for _, s := range []Shape{{Kind: Round, Digits: 2}, {Kind: TopK, K: 1}, {Kind: Label}} {
			checkShaped(t, s, r)
		}
	})
}

// checkShaped holds a shaped answer to the promise: same schema, same top.
func checkShaped(t *testing.T, s Shape, r *tensor.Response) {
	t.Helper()
	out, v := s.Apply(r)
	if v.Outcome == pavise.Deny {
		return
	}
	for i := range r.Outputs {
		before, after := &r.Outputs[i], &out.Outputs[i]
		if after.Name != before.Name || after.Datatype != before.Datatype || !slices.Equal(after.Shape, before.Shape) || after.Len() != before.Len() {
			t.Fatalf("%v changed the schema of %+v to %+v", s, before, after)
		}
		if !before.Datatype.IsFloat() {
			continue
		}
		classes := int(before.Shape[1])
		for at := 0; at < before.Len(); at += classes {
			was, is := before.Data.Floats[at:at+classes], after.Data.Floats[at:at+classes]
			if argmax(was) != argmax(is) {
				t.Fatalf("%v changed the top of %v to %v", s, was, is)
			}
		}
	}
}

// FuzzBound reads what a file says of columns: what is taken has a name and room for each.
func FuzzBound(f *testing.F) {
	f.Add([]byte(`{"input":"x","features":[{"name":"a","min":0,"max":1},{"name":"b"}]}`))
	f.Add([]byte(`{"input":"x","features":[{"name":"a","min":2,"max":1},{"name":""}]}`))
	f.Add([]byte(`{"input":"y","features":[{"name":"a"}]}`))
	f.Add([]byte(`{"input":"x","features":[null,null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		inputs := []tensor.Port{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, 2}}}
		err := Bound(inputs, text)
		columns := inputs[0].Columns
		if err != nil && (pavise.KindOf(err) != pavise.Invalid || columns != nil) || err == nil && len(columns) != 2 {
			t.Fatalf("%q: %v, %v", text, err, columns)
		}
		for _, c := range columns {
			if c.Name == "" || c.Min != nil && c.Max != nil && *c.Min > *c.Max {
				t.Fatalf("%q gives %+v", text, c)
			}
		}
	})
}
