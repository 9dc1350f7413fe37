package gateway

import (
	"context"
	"time"

	"github.com/pavise/pavise/internal/shadow"
	"github.com/pavise/pavise/internal/tensor"
)

// KindShadowed is the kind of the note that says how a shadow did, once a minute while
// it is asked.
const KindShadowed = "route.shadowed"

// shadowEvery is how often a note says how a shadow did.
const shadowEvery = time.Minute

// forShadow is a copy of the exchange for the route's shadow, or nil: there is none, it
// gets no copy, or there is no answer to compare.
func (x *Exchange) forShadow(truth *tensor.Response, wrong error) *shadow.Copy {
	if x.route.shadow == nil || wrong != nil {
		return nil
	}
	return x.route.shadow.Copy(x.request, truth)
}

// tell notes how the shadow of a route did since that was last noted, if it has one that
// was asked.
func (r *Routes) tell(ctx context.Context, l *live) {
	if l.shadow == nil {
		return
	}
	if tally, said := l.shadow.Take(); said {
		// A log that takes no note takes no inference either: the tally is what it misses least.
		_ = r.guard.Note(context.WithoutCancel(ctx), KindShadowed, nil, routeName(l.Model.String()), tally)
	}
}

// tellAll is tell of all routes.
func (r *Routes) tellAll(ctx context.Context) {
	for _, l := range *r.live.Load() {
		r.tell(ctx, l)
	}
}
