package infer

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"github.com/pavise/pavise"
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
		if s, err := readOIP(body); err == nil && usable(s) == nil {
			for _, p := range append(s.Inputs, s.Outputs...) {
				if p.Name == "" || len(p.Name) > 128 || strings.ContainsFunc(p.Name, unicode.IsControl) || len(p.Shape) > 8 || !p.Datatype.Valid() {
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

// TestSignaturesThatNobodyCanUse refuses what a server or a file says of a model where no
// request could have the form, or a name would act on the terminal that shows it. Such models
// were put, and each request to them failed.
func TestSignaturesThatNobodyCanUse(t *testing.T) {
	port := func(name, shape, more string) string {
		return fmt.Sprintf(`{"name":%q,"datatype":"FP32","shape":[%s]%s}`, name, shape, more)
	}
	about := func(ports ...string) string {
		return `{"inputs":[` + strings.Join(ports, ",") + `],"outputs":[` + port("y", "-1", "") + `]}`
	}
	var most []string
	for i := range 32 {
		most = append(most, port(fmt.Sprint(i), "-1", ""))
	}
	for name, tt := range map[string]struct {
		text string
		want string // "": it is taken
	}{
		"plain":                {about(port("x", "-1,4", "")), ""},
		"as many as there may": {about(most...), ""},
		"one more":             {about(append(most, port("x", "-1", ""))...), "33 inputs or outputs"},
		"as deep as it may":    {about(port("x", "-1,1,1,1,1,1,1,1", "")), ""},
		"deeper":               {about(port("x", "-1,1,1,1,1,1,1,1,1", "")), "9 dimensions"},
		"colours":              {about(strings.Replace(port("x", "-1", ""), `"x"`, `"x\u001b[31m"`, 1)), "does not print"},
		"right to left":        {about(strings.Replace(port("x", "-1", ""), `"x"`, `"x\u202e"`, 1)), "does not print"},
		"a long name":          {about(port(strings.Repeat("x", 129), "-1", "")), "more than 128 bytes"},
		"a column in colours":  {about(port("x", "-1,1", `,"columns":[{"name":"\u001b[2J"}]`)), "no name of a column"},
		"no inputs":            {about(), "no input"},
	} {
		_, err := ReadSignature([]byte(tt.text))
		if tt.want == "" && err != nil || tt.want != "" && (pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
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
