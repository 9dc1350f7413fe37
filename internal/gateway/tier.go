package gateway

import (
	"context"
	"fmt"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tier"
)

// KindCommitted is the kind of the note of which key marks answers of a model from now on:
// before the first mark, and at each start.
const KindCommitted = "watermark.committed"

// maxMarks is how many bytes of marks a record keeps, sealed: no more inputs of one answer
// are marked than that has room for.
const maxMarks = 12 << 10

// stand finds out how the caller stands at the model, and refuses who is red. The caller
// is told no measure, for that would tell a thief what to change; the operator is.
func (x *Exchange) stand() error {
	x.tier = x.gateway.Tiers.Of(x.call.Model, x.who.Name())
	if x.tier == tier.Green {
		return nil
	}
	x.trail.Standing = x.tier.String()
	if x.tier != tier.Red {
		return nil
	}
	reason := fmt.Sprintf("%s does not answer you for now", x.call.Model)
	if err := x.check(pavise.Verdict{Check: "tier", Outcome: pavise.Deny, Reason: reason}, pavise.Denied); err != nil {
		return &pavise.Error{Kind: pavise.Denied, Msg: reason, Hint: "the model's operator has said so, knows why, and can lift it"}
	}
	return nil
}

// charge charges the rows of the exchange: to callers in amber whose answers nobody alters,
// of a smaller rate and budget.
func (x *Exchange) charge() error {
	parts := 1
	if x.tier == tier.Amber && !x.alters() {
		parts = tier.Tight
	}
	cluster := x.gateway.Tiers.Cluster(x.call.Model, x.who.Name())
	verdict, retry := x.gateway.meter.Charge(x.gateway.now(), x.who.Name(), clusterOf(x.call.Model, cluster), x.call.Model, x.trail.Rows, parts)
	if verdict.Outcome != pavise.Deny {
		x.trail.Cluster = cluster
		x.trail.Charged = x.trail.Rows * parts
	}
	err := x.check(verdict, pavise.Throttled)
	if err != nil {
		x.retry = retry
	}
	return err
}

// clusterOf is the name under which a meter counts a cluster of a model's callers. No
// caller is of that kind.
func clusterOf(model pavise.Name, cluster string) pavise.Name {
	if cluster == "" {
		return pavise.Name{}
	}
	return pavise.Name{Tenant: model.Tenant, Kind: "cluster", ID: cluster}
}

// alters reports whether the caller's answer is to be another than the model's because of
// how the caller stands.
func (x *Exchange) alters() bool {
	return x.tier == tier.Amber && x.route.Alterable && x.route.ForAmber.Alters() && !x.route.Observe && !x.past
}

// inTier returns the answer as the caller's tier has it, and leaves the model's own as it
// is. Only a route that its owner declared alterable has another for callers in amber.
func (x *Exchange) inTier(ctx context.Context, truth *tensor.Response) (given *tensor.Response, altered bool, err error) {
	if x.tier != tier.Amber || !x.route.Alterable || x.route.Observe {
		return truth, false, nil
	}
	given, how := truth, ""
	if x.route.Mark > 0 {
		given, altered = x.mark(ctx, truth)
	}
	if given, how, err = x.route.ForAmber.Apply(given, x.route.Shape); err != nil {
		return nil, false, err
	}
	if altered {
		how = strings.TrimPrefix(how+", marked", ", ")
	}
	if how == "" {
		return truth, false, nil
	}
	x.entry.Verdict(pavise.Verdict{Check: "tier", Outcome: pavise.Alter, Reason: how})
	return given, true, nil
}

// mark marks the answer where the model's key says so. What cannot be kept in the record
// is not marked, and nothing is where the key's commitment is not in the log.
func (x *Exchange) mark(ctx context.Context, truth *tensor.Response) (given *tensor.Response, altered bool) {
	m, err := x.gateway.marking(ctx, x.call.Model, x.route.Mark)
	if err != nil {
		x.entry.Verdict(pavise.Verdict{Check: "tier", Outcome: pavise.Allow, Observed: true, Reason: "nothing is marked: " + err.Error()})
		return truth, false
	}
	asked, said := x.route.Ordered(x.request, truth)
	given, marks, altered := m.Apply(&asked, &said, maxMarks)
	if len(marks) > 0 {
		x.kept.Marks, x.trail.Marks = marks, x.commit(marks)
	}
	if !altered {
		return truth, false
	}
	return given, true
}

// A markedModel is one whose answers are marked at a rate.
type markedModel struct {
	model pavise.Name
	rate  float64
}

// marking returns what marks the answers of a model. Before it first does, the log says by
// which key.
func (g *Gateway) marking(ctx context.Context, model pavise.Name, rate float64) (*tier.Marking, error) {
	g.marks.Lock()
	defer g.marks.Unlock()
	at := markedModel{model, rate}
	if m := g.markings[at]; m != nil {
		return m, nil
	}
	m, err := g.Tiers.Marking(ctx, model, rate, g.markMaster(model.Tenant))
	if err != nil {
		return nil, err
	}
	detail := struct {
		Commitment string  `json:"commitment"` // of the key
		Rate       float64 `json:"rate"`       // share of inputs
		Created    string  `json:"created"`
	}{m.Key.Commitment(), rate, m.Key.Created.Format("2006-01-02T15:04:05Z07:00")}
	if err := g.guard.Note(ctx, KindCommitted, nil, model, detail); err != nil {
		return nil, err
	}
	g.markings[at] = m
	return m, nil
}

// markMaster is what the keys that mark answers of a tenant's models are derived from.
func (g *Gateway) markMaster(tenant string) []byte {
	if g.kek == nil {
		return nil
	}
	return g.kek.Marks(tenant).MAC("marks")
}
