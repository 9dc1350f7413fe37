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
	// guardMost is how many numbers an output has at most whose rows are guarded, were it of
	// as many rows as the route lets ask: some milliseconds of work. Rows of one that could
	// have more are drawn, all of them, which costs a hundredth.
	guardMost = 1 << 15
	// fewDecimals is up to how many decimals a row has few: then what takes its place has no
	// more, but two if it has less.
	fewDecimals, leastDecimals = 6, 2
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

// A Route is what a measure has to know of a route.
type Route struct {
	Shape   firewall.Shape // of answers to everybody
	MaxRows int            // that one request has at most
}

// guards are the rooms of rows that are guarded, each for one exchange at a time.
var guards = sync.Pool{New: func() any { return new(rowGuard) }}

// Apply returns the answer as a caller in amber gets it, before the route's own shape, and
// leaves r as it is. It says what was done, for the record. Every row is altered by itself,
// as the route shows it to callers in green: so rows that are equal to those are equal to
// these, in one answer and in several, and who asks in both tiers learns no more of the true
// one. A row that cannot be guarded, because it is no probabilities or the route lets ask for
// too many numbers at once, has its class on top of scores that are drawn; and a single score
// has no decimals.
func (m Measure) Apply(r *tensor.Response, route Route) (_ *tensor.Response, how string, err error) {
	if !m.Alters() {
		return r, "", nil
	}
	w := guards.Get().(*rowGuard)
	defer w.free()
	shown, verdict := route.Shape.ApplyIn(&w.shown, r)
	if verdict.Outcome == pavise.Deny { // nor would a caller in green be answered
		return nil, "", &pavise.Error{Kind: pavise.Unavailable, Msg: verdict.Reason}
	}
	if m.kind == Guard {
		return w.guarded(shown, route)
	}
	coarser := m.shape
	coarser.Scores = route.Shape.Scores
	if route.Shape.Kind == firewall.Round && coarser.Kind == firewall.Round {
		coarser.Digits = min(coarser.Digits, route.Shape.Digits)
	}
	out, verdict := coarser.Apply(shown)
	// Of logits no top is left by naming the others 0, and a single score has no label.
	for _, kind := range []string{firewall.Label, firewall.Round} {
		if verdict.Outcome != pavise.Deny || coarser.Kind == firewall.Round {
			break
		}
		coarser = firewall.Shape{Kind: kind, Scores: route.Shape.Scores}
		out, verdict = coarser.Apply(shown)
	}
	if verdict.Outcome == pavise.Deny {
		return nil, "", &pavise.Error{Kind: pavise.Unavailable, Msg: verdict.Reason}
	}
	return out, coarser.String(), nil
}

// A rowGuard guards one row after another.
type rowGuard struct {
	firewall.ModelGuard
	shown         firewall.Shaped // the answer as callers in green get it
	route         firewall.Shape
	grain         float64 // how much of a row is drawn
	draws         bool    // all rows, and guards none
	sound, others int     // rows that were guarded, and that could not be
	room          []float64
}

// free clears the room for the next answer.
func (w *rowGuard) free() {
	w.shown.Clear()
	w.sound, w.others = 0, 0
	guards.Put(w)
}

// guarded guards the scores of an answer as callers in green get it, row by row.
func (w *rowGuard) guarded(shown *tensor.Response, route Route) (out *tensor.Response, how string, err error) {
	copied := *shown
	copied.Outputs = slices.Clone(shown.Outputs)
	w.Epsilon, w.Grain, w.grain, w.route = guardEpsilon, 0, grain(route.Shape), route.Shape
	for i := range copied.Outputs {
		t := &copied.Outputs[i]
		if !w.route.Covers(t) {
			continue
		}
		if why := t.Unfit(); why != "" || len(t.Shape) != 2 {
			return nil, "", &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("output %q %s", t.Name, cmp.Or(why, fmt.Sprintf("is no rows of scores, but of shape %d", t.Shape)))}
		}
		green, classes := t.Data.Floats, int(t.Shape[1])
		t.Data.Floats = make([]float64, len(green))
		w.Margin, w.draws = margin(t.Datatype), classes > guardMost/max(route.MaxRows, 1)
		for at := 0; at < len(green); at += classes {
			w.row(t.Data.Floats[at:at+classes], green[at:at+classes], t.Datatype)
		}
	}
	return &copied, w.how(), nil
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

// row writes a row, which callers in green get as green, as a caller in amber gets it, of
// numbers that its type has. It follows from green alone.
func (w *rowGuard) row(dst, green []float64, d tensor.Datatype) {
	if len(green) == 1 {
		dst[0] = d.Round(math.Round(green[0]))
		w.others++
		return
	}
	digits := w.decimals(green, d)
	if !w.draws && w.Row(dst, w.whole(green)) == "" {
		w.room = slices.Grow(w.room[:0], len(green))[:len(green)]
		draw(w.room, green)
		for k := range dst {
			dst[k] += w.grain * (w.room[k] - dst[k])
		}
		finish(dst, digits, d)
		if watermark.Top(dst) == watermark.Top(green) {
			w.sound++
			return
		}
	}
	draw(dst, green)
	finish(dst, digits, d)
	w.others++
}

// whole returns a row of which the shape left less than all, or more, as one that adds up
// to 1; others as they are.
func (w *rowGuard) whole(green []float64) []float64 {
	slack := 0.0 // by how much the shape moved the sum, at most
	switch w.route.Kind {
	case firewall.Round:
		slack = float64(len(green)) * math.Pow10(-w.route.Digits)
	case firewall.TopK:
		slack = 1
	}
	sum := 0.0
	for _, v := range green {
		if v < 0 {
			return green
		}
		sum += v
	}
	if slack == 0 || !(sum > 0 && sum <= 1.01+slack && sum >= 0.99-slack) {
		return green
	}
	w.room = w.room[:0]
	for _, v := range green {
		w.room = append(w.room, v/sum)
	}
	return w.room
}

// decimals is how many decimals a row is to have that takes the place of green, if those are
// few and the route's shape does not say it; else -1.
func (w *rowGuard) decimals(green []float64, d tensor.Datatype) int {
	if w.route.Kind == firewall.Round {
		return -1
	}
	n, steps := leastDecimals, math.Pow10(leastDecimals)
	for _, v := range green {
		for d.Round(math.Round(v*steps)/steps) != v {
			if n++; n > fewDecimals {
				return -1
			}
			steps *= 10
		}
	}
	return n
}

// finish makes numbers of a row that its type has, and that have so many decimals.
func finish(row []float64, digits int, d tensor.Datatype) {
	if digits >= 0 {
		firewall.RoundRow(row, digits, d)
	}
	for k, v := range row {
		row[k] = d.Round(v)
	}
}

// draws makes what is drawn for a row the same whenever it is asked for, as the answers of
// models are, and nobody's to foretell. It is the process's own, and never changes.
var draws = maphash.MakeSeed()

// seedSteps is how finely a row is told from others by what is drawn for it: a model's last
// bits, which change with the rows beside it, draw no other one.
const seedSteps = 1e6

// draw writes probabilities that tell of a row which class is on top and nothing else: the
// top has 0.6 to 0.95, and the others share the rest by chance. green is the row as it is
// shown to all, so that what is drawn tells nothing else of the true one either.
func draw(dst, green []float64) {
	var sums [2]uint64
	var h maphash.Hash
	h.SetSeed(draws)
	var b [8]byte
	for _, v := range green {
		if n := math.Round(v*seedSteps) + 0; !math.IsInf(n, 0) { // + 0 makes a negative zero positive
			v = n
		}
		binary.LittleEndian.PutUint64(b[:], math.Float64bits(v))
		h.Write(b[:])
	}
	for i := range sums {
		h.WriteByte(byte(i))
		sums[i] = h.Sum64()
	}
	rng := rand.NewPCG(sums[0], sums[1])
	unit := func() float64 { return float64(rng.Uint64()>>11+1) / (1<<53 + 1) }
	top, rest := watermark.Top(green), 0.0
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
