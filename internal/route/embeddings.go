package route

import (
	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/embedding"
)

// vectors fills in what the words say of a model's vectors. It comes when it is known what
// the route leads to, and whether it is alterable.
func (s Spec) vectors(r *Route) (err error) {
	switch s.Embeddings {
	case "":
	case nothing:
		r.Embeddings = embedding.Terms{}
	default:
		if r.Embeddings, err = embedding.ParseTerms(s.Embeddings); err != nil {
			return err
		}
	}
	if !r.Language() && s.Embeddings == "" { // it was one of a language model before
		r.Embeddings = embedding.Terms{}
	}
	return r.checkVectors()
}

// checkVectors looks at what is done to vectors on a route that came from elsewhere.
func (r Route) checkVectors() error {
	switch {
	case r.Embeddings.IsZero():
		return nil
	case !r.Language():
		return &pavise.Error{Kind: pavise.Invalid, Msg: "embeddings are of language models, and this route leads to none", Hint: "leave them out"}
	case !r.Alterable:
		return &pavise.Error{
			Kind: pavise.Denied, Msg: "rotated and noisy vectors are altered answers, and the route is not declared alterable",
			Hint: "if you own the route, declare it so with --alterable, and tell its callers; or --embeddings none",
		}
	}
	return r.Embeddings.Validate()
}
