package gateway

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tier"
)

// KindCommitted is the kind of the note of which key marks answers of a model from now on:
// before the first mark, and at each start.
const KindCommitted = "watermark.committed"

// maxMarks is how many bytes of marks are kept of one answer: no more inputs are marked than
// that has room for, and the record counts the others.
const maxMarks = tier.MarkRoom

// stand finds out how the caller stands at the model, and refuses who is red. The caller
// is told no measure, for that would tell a thief what to change; the operator is.
func (x *Exchange) stand() error {
	x.tier = x.gateway.Tiers.Of(x.call.Model, x.entry.Who().Name())
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
	cluster := x.gateway.Tiers.Cluster(x.call.Model, x.entry.Who().Name())
	verdict, retry := x.gateway.meter.Charge(x.gateway.now(), x.entry.Who().Name(), clusterOf(x.call.Model, cluster), x.call.Model, x.trail.Rows, parts)
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

// twofold reports whether callers in amber get other answers on the route than those in
// green. Both are then made for every caller, and one is thrown away: which one it is shows
// neither in the time that it takes nor in the length.
func (x *Exchange) twofold() bool {
	return x.route.Alterable && !x.route.Observe && !x.past && (x.route.ForAmber.Alters() || x.route.Mark > 0)
}

// shape returns the model's answer as the caller gets it, which lies on the desk, and leaves
// the model's own as it is. altered says that it has other numbers than the model's in more
// than their decimals. Only a route that its owner declared alterable has another for
// callers in amber, and only what is another than in green counts as altered for it.
func (x *Exchange) shape(ctx context.Context, truth *tensor.Response) (shaped *tensor.Response, altered bool, err error) {
	shaped, verdict := x.route.Shape.ApplyIn(&x.desk.shaped, truth)
	if verdict.Outcome != pavise.Deny && x.twofold() {
		given, how, err := x.inAmber(ctx, truth)
		if err != nil && x.tier == tier.Amber {
			return nil, false, err
		}
		if err == nil {
			other, said := x.route.Shape.ApplyIn(&x.desk.amber, given)
			if x.tier == tier.Amber && (said.Outcome == pavise.Deny || differ(shaped, other)) {
				shaped, verdict, altered = other, said, true
				x.entry.Verdict(pavise.Verdict{Check: "tier", Outcome: pavise.Alter, Reason: how})
			}
		}
	}
	x.entry.Verdict(verdict)
	if verdict.Outcome == pavise.Deny {
		return nil, false, &pavise.Error{Kind: pavise.Unavailable, Msg: verdict.Reason}
	}
	return shaped, altered || verdict.Outcome == pavise.Alter, nil
}

// inAmber returns the answer as callers in amber get it, before the route's own shape, and
// what was done. Of a caller in another tier nothing of it is kept.
func (x *Exchange) inAmber(ctx context.Context, truth *tensor.Response) (given *tensor.Response, how string, err error) {
	given, marks := truth, 0
	if x.route.Mark > 0 {
		given, marks = x.mark(ctx, truth)
	}
	if given, how, err = x.route.ForAmber.Apply(given, tier.Route{Shape: x.route.Shape, MaxRows: x.route.MaxRows}); err != nil {
		return nil, "", err
	}
	if marks > 0 {
		how = strings.TrimPrefix(how+", marked", ", ")
	}
	return given, how, nil
}

// differ reports whether two answers of the same form have other scores.
func differ(a, b *tensor.Response) bool {
	return !slices.EqualFunc(a.Outputs, b.Outputs, func(a, b tensor.Tensor) bool { return slices.Equal(a.Data.Floats, b.Data.Floats) })
}

// level fills the text of an answer up with spaces, to a length that follows from its form:
// that of scores that are all as long as scores of such decimals get. So length tells nothing
// of how a caller stands. What is longer still, as logits may be, leaves in longer steps.
func (x *Exchange) level(m tensor.Message, shaped *tensor.Response) (tensor.Message, error) {
	if infer.NameOf(x.call.Protocol) == tensor.NameOIPGRPC { // whose numbers have one length
		return m, nil
	}
	blank, room, numbers := *shaped, 0, 0
	blank.Outputs = slices.Clone(shaped.Outputs)
	for i := range blank.Outputs {
		t := &blank.Outputs[i]
		if !x.route.Shape.Covers(t) || infer.NameOf(x.call.Protocol) == tensor.NameOIP && x.request.RawOutput(t.Name) {
			continue
		}
		n := len(t.Data.Floats)
		t.Data.Floats = make([]float64, n)
		room, numbers = room+n*(widest(t.Datatype, x.route.Shape)-1), numbers+n // a 0 has one letter
	}
	if numbers == 0 {
		return m, nil
	}
	empty, err := x.call.Protocol.AppendResponse(x.desk.blank[:0], x.request, &blank)
	if err != nil {
		return m, err
	}
	intake.Room(&x.desk.blank, empty.Body)
	fill := len(empty.Body) + room - len(m.Body)
	for fill < 0 {
		fill += max(numbers, 64)
	}
	spaces := bytes.Repeat([]byte{' '}, fill)
	if m.Header == tensor.NoHeader {
		m.Body = append(m.Body, spaces...)
		return m, nil
	}
	m.Body = slices.Insert(m.Body, m.Header, spaces...)
	m.Header += fill
	return m, nil
}

// widest is how many letters a probability has at most in an answer of a shape, or, where
// nothing is rounded, hardly ever more.
func widest(d tensor.Datatype, shape firewall.Shape) int {
	switch {
	case shape.Kind == firewall.Round:
		return shape.Digits + 2
	case d == tensor.FP64:
		return 22
	case d == tensor.FP32:
		return 13
	}
	return 9
}

// mark marks the answer where the model's key says so, and returns in how many rows. Nothing
// is marked where the key's commitment is not in the log, and what cannot be is said.
func (x *Exchange) mark(ctx context.Context, truth *tensor.Response) (given *tensor.Response, marks int) {
	amber := x.tier == tier.Amber
	tell := func(reason string) {
		if amber {
			x.entry.Verdict(pavise.Verdict{Check: "tier", Outcome: pavise.Allow, Observed: true, Reason: reason})
		}
	}
	m, err := x.gateway.marking(ctx, x.call.Model, x.route.Mark)
	if err != nil {
		tell("nothing is marked: " + err.Error())
		return truth, 0
	}
	asked, said := x.route.Ordered(x.request, truth)
	made := m.Apply(&asked, &said, maxMarks)
	if made.Unfit != "" {
		tell("nothing is marked: " + made.Unfit)
		return truth, 0
	}
	if made.Dropped > 0 {
		tell(fmt.Sprintf("%d marks and controls found no room to be kept, and were not given", made.Dropped))
	}
	if len(made.Kept) > 0 {
		x.marks = made.Kept
		if sum := x.commit(made.Kept); amber {
			x.kept.Marks, x.trail.Marks = made.Kept, sum
		}
	}
	if made.Marks == 0 {
		return truth, 0
	}
	return made.Response, made.Marks
}

// A markedModel is one whose answers are marked at a rate.
type markedModel struct {
	model pavise.Name
	rate  float64
}

const (
	// markWait is how long a request waits at most for the key of a model, and for the log to
	// have its commitment. A caller who goes away sooner ends neither.
	markWait = 2 * time.Second
	// markAgain is for how long nothing is marked at a model after that was in vain: requests
	// do not queue for a store or a log that takes nothing.
	markAgain = 10 * time.Second
)

// A vainMarking is why the answers of a model cannot be marked, and since when.
type vainMarking struct {
	at  time.Time
	why error
}

// marking returns what marks the answers of a model. Before it first does, the log says by
// which key. Why it could not is remembered for some seconds.
func (g *Gateway) marking(ctx context.Context, model pavise.Name, rate float64) (*tier.Marking, error) {
	g.marks.Lock()
	defer g.marks.Unlock()
	at := markedModel{model, rate}
	if m := g.markings[at]; m != nil {
		return m, nil
	}
	if ago := g.now().Sub(g.unmarked[at].at); ago >= 0 && ago < markAgain {
		return nil, g.unmarked[at].why
	}
	m, err := g.beginMarking(ctx, at)
	if err != nil {
		g.unmarked[at] = vainMarking{g.now(), err}
		return nil, err
	}
	g.markings[at] = m
	delete(g.unmarked, at)
	return m, nil
}

// beginMarking has the key of a model, and says in the log which it is.
func (g *Gateway) beginMarking(ctx context.Context, at markedModel) (*tier.Marking, error) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), markWait)
	defer stop()
	m, err := g.Tiers.Marking(ctx, at.model, at.rate, g.markMaster(at.model.Tenant))
	if err != nil {
		return nil, err
	}
	detail := struct {
		Commitment string  `json:"commitment"` // of the key
		Rate       float64 `json:"rate"`       // share of inputs
		Created    string  `json:"created"`
	}{m.Key.Commitment(), at.rate, m.Key.Created.Format("2006-01-02T15:04:05Z07:00")}
	if err := g.guard.Note(ctx, KindCommitted, nil, at.model, detail); err != nil {
		return nil, err
	}
	return m, nil
}

// markMaster is what the keys that mark answers of a tenant's models are derived from.
func (g *Gateway) markMaster(tenant string) []byte {
	if g.kek == nil {
		return nil
	}
	return g.kek.Marks(tenant).MAC("marks")
}
