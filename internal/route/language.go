package route

import (
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/tensor"
)

// language reports whether the route leads to a language model: one without tensors,
// columns and scores.
func (r Route) Language() bool { return r.Protocol == tensor.NameOpenAI }

// language fills in what the words say of a language model, and refuses what means
// nothing for one.
func (s Spec) language(r *Route) error {
	refuse := func(what, hint string) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: what, Hint: hint}
	}
	if !r.Language() {
		r.Fields = firewall.Fields{}
		if s.Fields != nil {
			return refuse("fields are of language models, and this route leads to none", "put it with --protocol "+tensor.NameOpenAI+", or leave them out")
		}
		return nil
	}
	if s.Signature != nil || s.Bounds != nil || s.Baseline != nil || s.Drift != "" || s.Shape != "" && s.Shape != DefaultShape && s.Shape != firewall.Full {
		return refuse("a language model has no signature, bounds, baseline or shape", "leave them out; what callers may ask for and get is said by --fields")
	}
	r.Shape, r.Signature, r.Drift = firewall.Shape{Kind: firewall.Full}, tensor.Signature{}, nil
	if s.Fields != nil {
		fields, err := plainjson.ReadKnown[firewall.Fields](s.Fields)
		if err != nil {
			return refuse(fmt.Sprintf("fields: %v", err), `write them as {"trusted": [ROLE, …], "max_tokens": 4096}`)
		}
		r.Fields = fields
	}
	return r.Fields.Validate()
}

// checkLanguage looks at a route to a language model that came from elsewhere.
func (r Route) checkLanguage() error {
	if len(r.Signature.Inputs)+len(r.Signature.Outputs) > 0 || r.Shape.Kind != firewall.Full || r.ONNX != "" || r.Drift != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is no route to a language model that can be put", r.Model)}
	}
	if err := r.Fields.Validate(); err != nil {
		return err
	}
	if _, err := r.Limits(); err != nil {
		return err
	}
	return r.Terms.Validate()
}
