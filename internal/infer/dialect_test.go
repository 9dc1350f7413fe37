package infer

import (
	"net/http"
	"strings"
	"testing"
	"unicode"

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

// FuzzDescriptions reads what a server says of a model, and of which models it has. What
// passes can be used, and what is wrong is said in a few words, whatever the server wrote.
func FuzzDescriptions(f *testing.F) {
	f.Add([]byte(`{"name":"m","versions":["1"],"platform":"x","inputs":[{"name":"x","datatype":"FP32","shape":[-1,4]}],"outputs":[{"name":"y","datatype":"BYTES","shape":[-1]}]}`))
	f.Add([]byte(`{"name":"m","name":"n","inputs":[{"name":"x","datatype":"FP33","shape":[-2,9223372036854775807]}]}`))
	f.Add([]byte(`{"object":"list","data":[{"id":"m"},{"id":"llama:7b"},{"id":"\u0000\n"},{"id":"` + strings.Repeat("x", 300) + `"},{"id":"a"},{"id":"b"},{"id":"c"}]}`))
	f.Add([]byte(`{"data":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if s, err := readOIP(body); err == nil && s.Validate() == nil {
			for _, p := range append(s.Inputs, s.Outputs...) {
				if p.Name == "" || !p.Datatype.Valid() {
					t.Fatalf("%s gives a port %+v", body, p)
				}
			}
		}
		err := listed(&Aside{Status: http.StatusOK, Body: body}, Place{Model: "llama", Protocol: tensor.NameOpenAI})
		if err == nil {
			return
		}
		if said := err.Error(); len(said) > 4096 || strings.ContainsFunc(said, unicode.IsControl) {
			t.Fatalf("%q is told as %q", body, said)
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
