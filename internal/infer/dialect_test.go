package infer

import (
	"testing"

	"github.com/pavise/pavise/internal/tensor"
)

// FuzzReadTFServing reads what a model server says of itself: a signature that is valid,
// or an error.
func FuzzReadTFServing(f *testing.F) {
	f.Add([]byte(`{"metadata":{"signature_def":{"signature_def":{"serving_default":{"inputs":{"x":{"dtype":"DT_FLOAT","tensor_shape":{"dim":[{"size":"-1"},{"size":"2"}]}}},"outputs":{"y":{"dtype":"DT_STRING","tensor_shape":{"dim":[{"size":"-1"}]}}}}}}}}`))
	f.Add([]byte(`{"metadata":{"signature_def":{"signature_def":{"serving_default":{"inputs":{"x":{"dtype":"DT_VARIANT","tensor_shape":{"unknown_rank":true}}}}}}}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := readTFServing(body)
		if err != nil {
			return
		}
		for _, p := range append(s.Inputs, s.Outputs...) {
			if !p.Datatype.Valid() {
				t.Fatalf("%s gives a port %+v", body, p)
			}
		}
	})
}

func TestPlaceRefuses(t *testing.T) {
	for name, p := range map[string]Place{
		"protocol":             {Model: "m", Protocol: "thrift"},
		"no model":             {Protocol: tensor.NameOIP},
		"a model that climbs":  {Model: "..", Protocol: tensor.NameOIP},
		"a version that does":  {Model: "m", Version: "..", Protocol: tensor.NameOIP},
		"a version with paths": {Model: "m", Version: "1/../../x", Protocol: tensor.NameTFServing},
		"a version of none":    {Model: "m", Version: "1", Protocol: tensor.NameMLflow},
	} {
		if err := p.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
