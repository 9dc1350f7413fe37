package tier

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/tensor"
)

// The kinds of Measure that are no firewall.Shape.
const (
	Guard  = "guard"  // ModelGuard-W: probabilities that mislead whoever trains on them, and keep their top
	Budget = "budget" // answers as to everybody, on a quarter of the caller's rate and budget
)

const (
	// Tight is into how many parts the terms of callers are parted, of whom those in amber
	// get one where answers are not altered.
	Tight = 4
	// guardEpsilon bounds the change of a row, in L1: half of what is possible.
	guardEpsilon = 1
	// guardMost is how many numbers of one answer are guarded: two milliseconds of work,
	// whatever their classes. More are rounded instead.
	guardMost = 1 << 11
	// coarse is how many decimals the scores have that cannot be guarded.
	coarse = 2
)

// A Measure is what callers in amber get at a model. The zero Measure is Budget.
type Measure struct {
	shape firewall.Shape
	kind  string
}

// ParseMeasure reads guard, budget, label, round:DIGITS or topk:K. The error is of kind
// Invalid.
func ParseMeasure(text string) (Measure, error) {
	switch text {
	case Guard, Budget:
		return Measure{kind: text}, nil
	}
	s, err := firewall.ParseShape(text)
	if err != nil || s.Kind == firewall.Full {
		return Measure{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("amber %.60q is nothing that callers can get", text), Hint: "it is guard, round:DIGITS, topk:K, label, or budget, which alters nothing"}
	}
	return Measure{kind: s.Kind, shape: s}, nil
}

// Usual is the measure of a route of which nobody says another.
func Usual(alterable bool) Measure {
	if alterable {
		return Measure{kind: Guard}
	}
	return Measure{kind: Budget}
}

// Alters reports whether answers are other than those of callers in green.
func (m Measure) Alters() bool { return m.kind != Budget && m.kind != "" }

// String says the measure as ParseMeasure reads it.
func (m Measure) String() string {
	switch m.kind {
	case firewall.Round:
		return fmt.Sprintf("round:%d", m.shape.Digits)
	case firewall.TopK:
		return fmt.Sprintf("topk:%d", m.shape.K)
	case "":
		return Budget
	}
	return m.kind
}

// Validate reports whether a route may have the measure, whose answers have a shape
// already. The error is of kind Denied where answers may not be altered, and Invalid where
// the measure has no meaning.
func (m Measure) Validate(alterable bool, route firewall.Shape, sig tensor.Signature) error {
	if m.Alters() && !alterable {
		return &pavise.Error{
			Kind: pavise.Denied, Msg: fmt.Sprintf("%v alters the answers of callers in amber, and the route is not declared alterable", m),
			Hint: "use --amber budget; or, if you own the route, declare it --alterable, and tell its callers",
		}
	}
	if !m.Alters() {
		return nil
	}
	s := m.shape
	if m.kind == Guard { // what cannot be guarded is rounded
		s = firewall.Shape{Kind: firewall.Round, Digits: coarse}
	}
	s.Scores = route.Scores
	has := func(p tensor.Port) bool {
		return s.Covers(&tensor.Tensor{Name: p.Name, Datatype: p.Datatype}) && len(p.Shape) == 2 && p.Shape[1] != 1
	}
	if !slices.ContainsFunc(sig.Outputs, has) {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("no output of the model is scores of rows × classes, which %v is for", m), Hint: "use --amber budget"}
	}
	if err := s.Validate(alterable, ""); err != nil {
		return err
	}
	return s.ValidateFor(sig)
}

// guards are the rooms of ModelGuard, each for one exchange at a time.
var guards = sync.Pool{New: func() any { return new(firewall.ModelGuard) }}

// Apply returns the answer as a caller in amber gets it, before the route's own shape, and
// leaves r as it is. It says what was done, for the record. What cannot be guarded, because
// it is no probabilities or too many, has fewer digits instead.
func (m Measure) Apply(r *tensor.Response, route firewall.Shape) (_ *tensor.Response, how string, err error) {
	if !m.Alters() {
		return r, "", nil
	}
	coarser := firewall.Shape{Kind: firewall.Round, Digits: coarse, Scores: route.Scores}
	if m.kind != Guard {
		coarser = m.shape
		coarser.Scores = route.Scores
	} else if out, ok := guarded(r, route); ok {
		return out, Guard, nil
	}
	if route.Kind == firewall.Round && coarser.Kind == firewall.Round {
		coarser.Digits = min(coarser.Digits, route.Digits)
	}
	out, verdict := coarser.Apply(r)
	if verdict.Outcome == pavise.Deny && coarser.Kind != firewall.Round { // of logits no top is left by naming the others 0
		coarser = firewall.Shape{Kind: firewall.Round, Digits: coarse, Scores: route.Scores}
		out, verdict = coarser.Apply(r)
	}
	if verdict.Outcome == pavise.Deny { // nor would a caller in green be answered
		return nil, "", &pavise.Error{Kind: pavise.Unavailable, Msg: verdict.Reason}
	}
	return out, coarser.String(), nil
}

// guarded guards the scores of an answer; ok is false when some of them cannot be.
func guarded(r *tensor.Response, route firewall.Shape) (out *tensor.Response, ok bool) {
	total := 0
	for i := range r.Outputs {
		if t := &r.Outputs[i]; route.Covers(t) {
			if len(t.Shape) != 2 || t.Shape[1] < 2 || t.Unfit() != "" {
				return nil, false
			}
			total += len(t.Data.Floats)
		}
	}
	if total == 0 || total > guardMost {
		return nil, false
	}
	g := guards.Get().(*firewall.ModelGuard)
	defer guards.Put(g)
	g.Epsilon, g.Grain = guardEpsilon, grain(route)
	copied := *r
	copied.Outputs = append([]tensor.Tensor(nil), r.Outputs...)
	for i := range copied.Outputs {
		t := &copied.Outputs[i]
		if !route.Covers(t) {
			continue
		}
		g.Margin = margin(t.Datatype)
		truth := t.Data.Floats
		t.Data.Floats = make([]float64, len(truth))
		for at := 0; at < len(truth); at += int(t.Shape[1]) {
			row := t.Data.Floats[at : at+int(t.Shape[1])]
			if g.Row(row, truth[at:at+len(row)]) != "" {
				return nil, false
			}
			for k, v := range row {
				row[k] = t.Datatype.Round(v)
			}
		}
	}
	return &copied, true
}

// grain is how much of the true row is left in a guarded one: so much that scores that were
// emptied still have digits where the route shows any.
func grain(route firewall.Shape) float64 {
	if route.Kind != firewall.Round {
		return 1e-5
	}
	return max(1e-5, min(0.05, math.Pow10(coarse-route.Digits)))
}

// margin is how far the top stays above the others: further than a number of the type can
// tell apart.
func margin(d tensor.Datatype) float64 {
	switch d {
	case tensor.FP16:
		return 2e-3
	case tensor.BF16:
		return 2e-2
	}
	return 1e-4
}
