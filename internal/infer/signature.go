package infer

import (
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/tensor"
)

// SignatureExample is a signature as people write one.
const SignatureExample = `{"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}], "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 2]}]}`

// ReadSignature reads the JSON text in which people say what a model takes and gives.
// The error is of kind Invalid and shows one.
func ReadSignature(text []byte) (tensor.Signature, error) {
	s, err := plainjson.ReadKnown[tensor.Signature](text)
	if err == nil {
		err = usable(s)
	}
	if err != nil {
		return s, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("signature: %v", err), Hint: "write one as " + SignatureExample, Err: err}
	}
	return s, nil
}

// usable says what is wrong with a signature, which comes from a server or from a file: it is
// valid, and a message within the bounds of requests can have the form that it describes. So
// its names print, in records and on terminals as well.
func usable(s tensor.Signature) error {
	if err := s.Validate(); err != nil {
		return err
	}
	lim := tensor.DefaultLimits()
	refuse := func(format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: "correct the model's signature"}
	}
	for _, ports := range [][]tensor.Port{s.Inputs, s.Outputs} {
		if len(ports) > lim.MaxTensors {
			return refuse("%d inputs or outputs, more than %d", len(ports), lim.MaxTensors)
		}
		for _, p := range ports {
			if len(p.Shape) > lim.MaxRank {
				return refuse("%.40q has %d dimensions, more than %d", p.Name, len(p.Shape), lim.MaxRank)
			}
			if _, _, why := lim.Label([]byte(p.Name)); why != "" {
				return refuse("%.40q is no name of an input or output: %s", p.Name, why)
			}
			for _, c := range p.Columns {
				if _, _, why := lim.Label([]byte(c.Name)); why != "" {
					return refuse("%.40q is no name of a column of %q: %s", c.Name, p.Name, why)
				}
			}
		}
	}
	return nil
}

// SignatureText spells a signature as [ReadSignature] takes it.
func SignatureText(s tensor.Signature) json.RawMessage {
	text, err := json.Marshal(s)
	if err != nil {
		return json.RawMessage{} // a bound that is no number: no signature, and refused as such
	}
	return text
}
