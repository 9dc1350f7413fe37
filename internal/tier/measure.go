package tier

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/watermark"
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
	// guardMost is how many numbers of one answer are guarded, in rows as they come: some
	// milliseconds of work. The rows beyond are drawn, which costs a hundredth.
	guardMost = 1 << 14
	// coarse is how many of a route's decimals a guarded row hides from who looks for what
	// is mixed into it.
	coarse = 2
	// drawn is what a record says of rows of which the top class alone is true.
	drawn = "drawn"
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

// Usual is the measure of a route of which nobody says another, whose answers have a shape
// already: one that tells the class alone leaves nothing to guard.
func Usual(alterable bool, route firewall.Shape) Measure {
	if alterable && !labels(route) {
		return Measure{kind: Guard}
	}
	return Measure{kind: Budget}
}

// Undone reports, as an error of kind Invalid, that callers in amber would be told by the
// measure what those in green are told by the route's shape: the top class, and nothing else.
func (m Measure) Undone(route firewall.Shape) error {
	if !m.Alters() || !labels(route) {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Invalid, Msg: fmt.Sprintf("the route's answers tell the top class alone (%v), and %v keeps it: callers in amber would be told the same as all", route, m),
		Hint: "use --amber budget, which is usual here; or another --shape",
	}
}

// labels reports whether a shape tells the class on top and nothing else, so that no measure
// that keeps the top changes what leaves.
func labels(s firewall.Shape) bool {
	return s.Kind == firewall.Label || s.Kind == firewall.Round && s.Digits == 0
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
	if m.kind == Guard { // as label, it has to have classes
		s = firewall.Shape{Kind: firewall.Label}
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
// leaves r as it is. It says what was done, for the record. Every row is guarded by itself.
// One that cannot be, because it is no probabilities or comes behind too many numbers, has
// the true class on top of scores that are drawn; and a single score has no decimals.
func (m Measure) Apply(r *tensor.Response, route firewall.Shape) (_ *tensor.Response, how string, err error) {
	if !m.Alters() {
		return r, "", nil
	}
	if m.kind == Guard {
		return guarded(r, route)
	}
	coarser := m.shape
	coarser.Scores = route.Scores
	if route.Kind == firewall.Round && coarser.Kind == firewall.Round {
		coarser.Digits = min(coarser.Digits, route.Digits)
	}
	out, verdict := coarser.Apply(r)
	// Of logits no top is left by naming the others 0, and a single score has no label.
	for _, kind := range []string{firewall.Label, firewall.Round} {
		if verdict.Outcome != pavise.Deny || coarser.Kind == firewall.Round {
			break
		}
		coarser = firewall.Shape{Kind: kind, Scores: route.Scores}
		out, verdict = coarser.Apply(r)
	}
	if verdict.Outcome == pavise.Deny { // nor would a caller in green be answered
		return nil, "", &pavise.Error{Kind: pavise.Unavailable, Msg: verdict.Reason}
	}
	return out, coarser.String(), nil
}

// guarded guards the scores of an answer, row by row.
func guarded(r *tensor.Response, route firewall.Shape) (out *tensor.Response, how string, err error) {
	copied := *r
	copied.Outputs = slices.Clone(r.Outputs)
	w := rowGuard{ModelGuard: guards.Get().(*firewall.ModelGuard), left: guardMost}
	defer guards.Put(w.ModelGuard)
	w.Epsilon, w.Grain, w.grain = guardEpsilon, 0, grain(route)
	for i := range copied.Outputs {
		t := &copied.Outputs[i]
		if !route.Covers(t) {
			continue
		}
		if why := t.Unfit(); why != "" || len(t.Shape) != 2 {
			return nil, "", &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("output %q %s", t.Name, cmp.Or(why, fmt.Sprintf("is no rows of scores, but of shape %d", t.Shape)))}
		}
		truth, classes := t.Data.Floats, int(t.Shape[1])
		t.Data.Floats = make([]float64, len(truth))
		w.Margin = margin(t.Datatype)
		for at := 0; at < len(truth); at += classes {
			w.row(t.Data.Floats[at:at+classes], truth[at:at+classes], t.Datatype)
		}
	}
	return &copied, w.how(), nil
}

// A rowGuard guards one row after another.
type rowGuard struct {
	*firewall.ModelGuard
	grain         float64 // how much of a row is drawn
	left          int     // numbers that are guarded yet
	sound, others int     // rows that were guarded, and that could not be
	room          []float64
}

// how says what was done to the rows.
func (w *rowGuard) how() string {
	switch {
	case w.others == 0:
		return Guard
	case w.sound == 0:
		return drawn
	}
	return fmt.Sprintf("%s, and of %d rows %d %s", Guard, w.sound+w.others, w.others, drawn)
}

// row writes a row as a caller in amber gets it, of numbers that its type has.
func (w *rowGuard) row(dst, truth []float64, d tensor.Datatype) {
	if len(truth) == 1 {
		dst[0] = d.Round(math.Round(truth[0]))
		w.others++
		return
	}
	w.left -= len(truth)
	if w.left >= 0 && w.Row(dst, truth) == "" {
		w.room = append(w.room[:0], truth...)
		draw(w.room, truth)
		for k := range dst {
			dst[k] = d.Round(dst[k] + w.grain*(w.room[k]-dst[k]))
		}
		if watermark.Top(dst) == watermark.Top(truth) {
			w.sound++
			return
		}
	}
	draw(dst, truth)
	for k := range dst {
		dst[k] = d.Round(dst[k])
	}
	w.others++
}

// draws makes what is drawn for a row the same whenever it is asked for, as the answers of
// models are, and nobody's to foretell. It is the process's own, and never changes.
var draws = maphash.MakeSeed()

// draw writes probabilities that tell of a row which class is on top and nothing else: the
// top has 0.6 to 0.95, and the others share the rest by chance.
func draw(dst, truth []float64) {
	var sums [2]uint64
	var h maphash.Hash
	h.SetSeed(draws)
	var b [8]byte
	for _, v := range truth {
		binary.LittleEndian.PutUint64(b[:], math.Float64bits(v))
		h.Write(b[:])
	}
	for i := range sums {
		h.WriteByte(byte(i))
		sums[i] = h.Sum64()
	}
	rng := rand.NewPCG(sums[0], sums[1])
	unit := func() float64 { return float64(rng.Uint64()>>11+1) / (1<<53 + 1) }
	top, rest := watermark.Top(truth), 0.0
	for k := range dst {
		dst[k] = unit()
		rest += dst[k]
	}
	rest -= dst[top]
	share := 0.6 + 0.35*unit()
	for k := range dst {
		dst[k] *= (1 - share) / rest
	}
	dst[top] = share
}

// grain is how much of a guarded row is drawn: so much that scores that were emptied still
// have digits where the route shows any. Nothing of it is of the true row: of emptied scores
// who multiplies would have it back.
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
