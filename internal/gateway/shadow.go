package gateway

import (
	"time"

	"github.com/pavise/pavise/internal/shadow"
	"github.com/pavise/pavise/internal/tensor"
)

// shadowEvery is how often a note says how a shadow did.
const shadowEvery = time.Minute

// forShadow is a copy of the exchange for the route's shadow, or nil: there is none, it
// gets no copy, or there is no answer to compare.
func (x *Exchange) forShadow(truth *tensor.Response, wrong error) *shadow.Copy {
	if x.route.Mirror == nil || wrong != nil {
		return nil
	}
	return x.route.Mirror.Copy(x.request, truth)
}
