package route

import (
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/classifier"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/prompt"
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
		r.Fields, r.Prompts = firewall.Fields{}, prompt.Policy{}
		if s.Fields != nil || s.Prompts != nil || s.Classifier != "" {
			return refuse("fields, prompts and a classifier are of language models, and this route leads to none", "put it with --protocol "+tensor.NameOpenAI+", or leave them out")
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
	if err := s.prompts(r); err != nil {
		return err
	}
	return r.Fields.Validate()
}

// prompts fills in what requests and answers are looked at for.
func (s Spec) prompts(r *Route) error {
	if s.Prompts != nil {
		words, err := plainjson.ReadKnown[prompt.Words](s.Prompts)
		if err != nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("prompts: %v", err), Hint: `write them as {"callers": {"override": "refuse"}, "canaries": [TEXT, …]}`}
		}
		if r.Prompts, err = words.Policy(r.Model.String()); err != nil {
			return err
		}
	}
	switch s.Classifier {
	case "":
	case nothing:
		r.Prompts.Classifier = nil
	default:
		c := prompt.Classifier{}
		if was := r.Prompts.Classifier; was != nil {
			c = *was
		}
		c.URL = s.Classifier
		r.Prompts.Classifier = &c
	}
	return r.checkPrompts()
}

// checkPrompts looks at what requests and answers are looked at for.
func (r Route) checkPrompts() error {
	if err := r.Prompts.Validate(); err != nil || r.Prompts.Classifier == nil {
		return err
	}
	c, err := classifier.New(*r.Prompts.Classifier)
	if err == nil {
		c.Close() // nothing was dialled
	}
	return err
}

// checkLanguage looks at a route to a language model that came from elsewhere.
func (r Route) checkLanguage() error {
	if len(r.Signature.Inputs)+len(r.Signature.Outputs) > 0 || r.Shape.Kind != firewall.Full || r.ONNX != "" || r.Drift != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is no route to a language model that can be put", r.Model)}
	}
	if err := r.Fields.Validate(); err != nil {
		return err
	}
	if err := r.checkPrompts(); err != nil {
		return err
	}
	if _, err := r.Limits(); err != nil {
		return err
	}
	return r.Terms.Validate()
}
