package gateway

import (
	"fmt"
	"maps"
	"sync"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/embedding"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/route"
)

// checkVectors is the name under which records say what was done to vectors.
const checkVectors = "embeddings"

// maxSizes bounds the sizes of vectors for which a rotation is kept, by model: callers may
// choose the size.
const maxSizes = 4

// A vectors alters the answers of one model of embeddings. It is safe for concurrent use.
type vectors struct {
	terms embedding.Terms
	key   [32]byte         // the tenant's
	meter *embedding.Meter // what each caller covers; nil: nobody asks

	mu        sync.Mutex // guards what follows
	rotations map[int]*embedding.Rotation
}

// vectorsOf returns what alters the vectors of a route that says so. What callers have
// covered stays when the route is put anew.
func (g *Gateway) vectorsOf(l *route.Live) (*vectors, error) {
	if g.embeddings == nil {
		return nil, &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("the vectors of %s are to be altered, and this gateway has no key for that", l.Model),
			Hint: "the operator names the fleet's key in pavise.yaml, as embedding_key",
		}
	}
	g.altering.Lock()
	defer g.altering.Unlock()
	was := g.vectors[l.Model]
	if was != nil && was.terms == l.Embeddings {
		return was, nil
	}
	v := &vectors{terms: l.Embeddings, key: [32]byte(g.embeddings.MAC(l.Model.Tenant)), rotations: map[int]*embedding.Rotation{}}
	if l.Embeddings.Noise != (embedding.Noise{}) {
		if was != nil && was.meter != nil {
			v.meter = was.meter
		} else {
			v.meter = embedding.NewMeter(v.key)
		}
	}
	maps.DeleteFunc(g.vectors, func(name pavise.Name, _ *vectors) bool {
		now, err := g.Routes.Find(name)
		return err != nil || now.Embeddings.IsZero()
	})
	g.vectors[l.Model] = v
	return v, nil
}

// rotation returns the rotation of vectors of a size.
func (v *vectors) rotation(dim int) (*embedding.Rotation, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if r := v.rotations[dim]; r != nil {
		return r, nil
	}
	r, err := embedding.NewRotation(v.key, v.terms.Rotate, dim)
	if err != nil {
		return nil, err
	}
	if len(v.rotations) >= maxSizes {
		for size := range v.rotations { // any
			delete(v.rotations, size)
			break
		}
	}
	v.rotations[dim] = r
	return r, nil
}

// embed alters the vectors of an answer as the route says, and keeps the model's own for
// the record. Callers of the house get no noise; the rotation is everybody's, for vectors
// of one tenant belong together.
func (x *ChatExchange) embed(answer *chat.Answer) error {
	terms := x.route.Embeddings
	if terms.IsZero() || x.said.API != chat.Embeddings {
		return nil
	}
	how, err := x.gateway.vectorsOf(x.route)
	if err != nil {
		return err
	}
	own := answer.AppendJSON(nil)
	caller, noisy := x.entry.Who().Name().String(), false
	err = answer.EditVectors(func(index int, v []float64) (changed bool, err error) {
		if len(v) > embedding.MaxDim {
			return false, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the model's vectors have %d numbers, and at most %d can be altered", len(v), embedding.MaxDim), Hint: "the route's owner can take --embeddings away"}
		}
		if how.meter != nil {
			x.said.Coverage = how.meter.See(caller, v)
			if x.said.Tier != firewall.Internal && index < len(x.inputs) {
				changed = terms.Noise.Add(v, how.key, x.inputs[index], x.said.Coverage)
				noisy = noisy || changed
			}
		}
		if terms.Rotate == 0 {
			return changed, nil
		}
		rotation, err := how.rotation(len(v))
		if err == nil {
			rotation.Apply(v)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	if terms.Rotate == 0 && !noisy {
		return nil
	}
	x.entry.Verdict(pavise.Verdict{Check: checkVectors, Outcome: pavise.Alter, Reason: reasonOf(terms, noisy, x.said.Coverage)})
	x.trail.Altered, x.trail.Truth = true, x.commit(own)
	if len(own) <= maxKept {
		x.kept.Truth = own
	}
	return nil
}

// reasonOf says what was done.
func reasonOf(terms embedding.Terms, noisy bool, coverage float64) string {
	text := "vectors as the model gave them"
	if terms.Rotate != 0 {
		text = fmt.Sprintf("vectors rotated, epoch %d", terms.Rotate)
	}
	if noisy {
		text += fmt.Sprintf(", with noise of %.2g of their length, for a caller who covers %.1f %% of the space", terms.Noise.Strength(coverage), 100*coverage)
	}
	return text
}
