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
		err = s.Validate()
	}
	if err != nil {
		return s, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("signature: %v", err), Hint: "write one as " + SignatureExample, Err: err}
	}
	return s, nil
}

// SignatureText spells a signature as [ReadSignature] takes it.
func SignatureText(s tensor.Signature) json.RawMessage {
	text, err := json.Marshal(s)
	if err != nil {
		return json.RawMessage{} // a bound that is no number: no signature, and refused as such
	}
	return text
}
