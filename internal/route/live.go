package route

import (
	"context"
	"iter"
	"maps"
	"reflect"

	"github.com/pavise/pavise/internal/classifier"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/shadow"
	"github.com/pavise/pavise/internal/telemetry"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/upstream"
)

// KindShadowed is the kind of the note that says how a shadow did, once a minute while
// it is asked.
const KindShadowed = "route.shadowed"

// A Live route is one that requests take. Nothing of it changes but what its parts count:
// another route is another Live.
type Live struct {
	Route
	Gate      firewall.Gate // what a request and its answer must be like
	Predictor Predictor     // of tensors; nil for a language model. Of several ONNX models the first: Pick says which is asked
	Chat      *infer.Chat   // a language model; nil for one of tensors
	// Judge is asked what they make of each request; nil: nobody is.
	Judge   *classifier.Classifier
	Mirror  *shadow.Shadow   // hears requests for the route's shadow; nil: there is none
	Counter *telemetry.Model // counts what is asked here
	Said    string           // what records say answered
	Is      string           // what answers, as the plan of a release says it: another one is another version
	Shaped  string           // how they say that answers are shaped
	Watch   *firewall.Watch  // of the inputs; nil: the route has no baseline
	// ForAmber is what callers in amber get.
	ForAmber tier.Measure

	loaded []*running      // its ONNX models, as Route.models has them
	wheel  *upstream.Wheel // picks one of Versions; nil: there is one
}

// A Predictor answers a checked request. Infer may be called from many goroutines;
// its error is of kind Unavailable when the model cannot answer now.
type Predictor interface {
	Infer(context.Context, *tensor.Request) (*tensor.Response, error)
}

// liveOf returns a route that has no model yet.
func (t *Table) liveOf(route Route) *Live {
	l := &Live{
		Route: route, Gate: firewall.NewGate(route.Signature, route.MaxRows), Counter: t.watch.Model(route.Model.ID),
		Said: route.answers(), Is: route.is(), Shaped: route.Shape.String(), Watch: t.watchOf(route), ForAmber: route.Measure(),
	}
	if c := route.Prompts.Classifier; c != nil {
		l.Judge, _ = classifier.New(*c) // the route was checked; without a judge none gives an opinion
	}
	return l
}

// watchOf returns what watches the inputs of a route: the watch of the one it takes the
// place of, with what that has counted, unless the baseline is another.
func (t *Table) watchOf(route Route) *firewall.Watch {
	if route.Drift == nil {
		return nil
	}
	if was := (*t.live.Load())[route.Model]; was != nil && reflect.DeepEqual(was.Drift, route.Drift) && reflect.DeepEqual(was.Signature.Inputs, route.Signature.Inputs) {
		return was.Watch
	}
	return firewall.NewWatch(*route.Drift, route.Signature.Inputs)
}

// stop ends a route's use of its model server. There may be none.
func (l *Live) stop() {
	if l == nil {
		return
	}
	if up, ok := l.Predictor.(*infer.Upstream); ok {
		up.Close()
	}
	if l.Chat != nil {
		l.Chat.Close()
	}
	if l.Judge != nil {
		l.Judge.Close()
	}
	l.Mirror.End()
}

// Spoken is the protocol in which a request goes to the model, and in which a record
// commits to it.
func (l *Live) Spoken() tensor.Protocol {
	if m, ok := l.Predictor.(interface{ Spoken() tensor.Protocol }); ok {
		return m.Spoken()
	}
	return tensor.OIP
}

// All returns the routes that requests take now, in no order.
func (t *Table) All() iter.Seq[*Live] { return maps.Values(*t.live.Load()) }

// Len is how many there are.
func (t *Table) Len() int { return len(*t.live.Load()) }

// Servers returns the model servers behind the routes, each once for the routes that share
// its connections.
func (t *Table) Servers() (all []upstream.EndpointStats) {
	seen := map[*upstream.Cluster]bool{}
	for l := range t.All() {
		var cluster *upstream.Cluster
		if up, ok := l.Predictor.(*infer.Upstream); ok {
			cluster = up.Cluster()
		} else if l.Chat != nil {
			cluster = l.Chat.Cluster()
		}
		if cluster == nil || seen[cluster] {
			continue
		}
		seen[cluster] = true
		all = append(all, cluster.Stats().Endpoints...)
	}
	return all
}

// tell notes how the shadow of a route did since that was last noted, if it has one that
// was asked.
func (t *Table) tell(ctx context.Context, l *Live) {
	if l.Mirror == nil {
		return
	}
	if tally, said := l.Mirror.Take(); said {
		// A log that takes no note takes no inference either: the tally is what it misses least.
		_ = t.guard.Note(context.WithoutCancel(ctx), KindShadowed, nil, routeName(l.Model.String()), tally)
	}
}

// TellShadows notes how the shadow of each route did since that was last noted.
//
// Unguarded: it acts for nobody; it notes what the house has counted.
func (t *Table) TellShadows(ctx context.Context) {
	for l := range t.All() {
		t.tell(ctx, l)
	}
}
