package firewall

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// The kinds of Shape, from the most telling to the least.
const (
	Full  = "full"  // as the model said it
	Round = "round" // scores to a number of decimals
	TopK  = "topk"  // the K largest scores of each row; the others are 0
	Label = "label" // 1 for the largest score of each row; the others are 0
)

// maxDigits is where rounding stops hiding anything.
const maxDigits = 9

// A Shape says how much of a model's scores an answer tells. The zero Shape is
// Full. Whatever the kind, names, datatypes and dimensions stay as they are, and
// so does which class is on top in each row: the first of the largest.
//
// Less telling answers slow a thief who copies a model and stop none: rounding
// and labels cost an attacker little (see the budget for what does).
type Shape struct {
	Kind   string   `json:"kind"`             // Full, Round, TopK or Label
	Digits int      `json:"digits,omitempty"` // for Round: decimals, 0 to 9
	K      int      `json:"k,omitempty"`      // for TopK: at least 1
	Scores []string `json:"scores,omitempty"` // the outputs that are scores, rows × classes; none means every float output
}

// unalterable are the purposes whose answers nobody may change: a person acts on
// the very number.
var unalterable = []string{"security", "health", "access"}

// Validate reports whether a route may have this shape. alterable is what the
// route's owner declared, and purpose what the route decides on. Beyond rounding,
// a shape needs a route declared alterable; and one that decides on security,
// health or access cannot be declared so, whatever its shape. The error is of
// kind Invalid for a shape without meaning and Denied for one not allowed.
func (s Shape) Validate(alterable bool, purpose string) error {
	serious := slices.ContainsFunc(unalterable, func(p string) bool { return strings.EqualFold(p, purpose) })
	switch {
	case alterable && serious:
		return &pavise.Error{
			Kind: pavise.Denied,
			Msg:  fmt.Sprintf("a route whose purpose is %s cannot be declared alterable", purpose),
			Hint: "leave it unalterable and use the shape full or round",
		}
	case s.Kind == Round && (s.Digits < 0 || s.Digits > maxDigits):
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("shape rounds to %d digits", s.Digits), Hint: fmt.Sprintf("use 0 to %d", maxDigits)}
	case s.Kind == TopK && s.K < 1:
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("shape keeps the top %d", s.K), Hint: "keep at least 1"}
	case (s.Kind == TopK || s.Kind == Label) && !alterable:
		return &pavise.Error{
			Kind: pavise.Denied,
			Msg:  fmt.Sprintf("the shape %s changes answers, and the route is not declared alterable", s.Kind),
			Hint: "use full or round; or, if you own the route, declare it so with --alterable, and tell its callers",
		}
	case !slices.Contains([]string{"", Full, Round, TopK, Label}, s.Kind):
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("unknown shape %q", s.Kind), Hint: "known are full, round, topk and label"}
	}
	return nil
}

// ValidateFor reports, as an error of kind Invalid, which output of the model the
// shape cannot be applied to or would not change, or which of Scores the model does not have: a name
// spelled wrong would otherwise leave the scores as they are.
func (s Shape) ValidateFor(sig tensor.Signature) error {
	for _, name := range s.Scores {
		if !slices.ContainsFunc(sig.Outputs, func(p tensor.Port) bool { return p.Name == name }) {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the model has no output %q to shape", name), Hint: "it has " + portNames(sig.Outputs)}
		}
	}
	for _, p := range sig.Outputs {
		t := tensor.Tensor{Name: p.Name, Datatype: p.Datatype, Shape: p.Shape}
		if s.shapes() && s.Covers(&t) && !holdsScores(&t) {
			return &pavise.Error{
				Kind: pavise.Invalid,
				Msg:  fmt.Sprintf("output %q is %s of shape %d, which cannot be %s", p.Name, p.Datatype, p.Shape, s),
				Hint: "put the route with --shape full, or give that output the shape of rows × classes, as [-1, 3]",
			}
		}
		if why := s.pointless(&t); why != "" {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("output %q %s", p.Name, why), Hint: "use full or round:DIGITS, or a topk:K below the number of classes"}
		}
	}
	return nil
}

// pointless says why the shape could never answer with, or never hide anything
// of, an output whose number of classes is fixed; or "".
func (s Shape) pointless(t *tensor.Tensor) string {
	if !s.Covers(t) || !holdsScores(t) || t.Shape[1] < 1 {
		return ""
	}
	switch classes := t.Shape[1]; {
	case s.Kind == Label && classes == 1:
		return "has one class, whose label would always be 1"
	case s.Kind == TopK && int64(s.K) >= classes:
		return fmt.Sprintf("has %d classes, of which the top %d are all", classes, s.K)
	}
	return ""
}

// Apply returns the answer in this shape, and leaves r as it is; what did not
// change is shared between the two. The verdict is Allow when nothing but decimals
// changed, Alter when scores did, and Deny, with no answer, when the shape cannot
// be applied: half-shaped scores tell what the shape was to hide.
func (s Shape) Apply(r *tensor.Response) (*tensor.Response, pavise.Verdict) {
	return s.ApplyIn(new(Shaped), r)
}

// A Shaped is where an answer in its shape lies, one after another: almost all have one
// output with few scores, and made anew for each they were a quarter of what an exchange
// of tensors allocated.
type Shaped struct {
	response tensor.Response
	one      [1]tensor.Tensor
	floats   []float64
}

// mostShaped is up to how many scores their room is kept.
const mostShaped = 1 << 10

// Clear forgets the answer, which nobody may use any more.
func (p *Shaped) Clear() {
	p.response, p.one = tensor.Response{}, [1]tensor.Tensor{}
	if p.floats = p.floats[:0]; cap(p.floats) > mostShaped {
		p.floats = nil
	}
}

// ApplyIn is Apply to where the answer lies until the next one does: room.
func (s Shape) ApplyIn(room *Shaped, r *tensor.Response) (*tensor.Response, pavise.Verdict) {
	out := room.answer(r)
	v := pavise.Verdict{Check: "shape", Outcome: pavise.Allow}
	if !s.shapes() {
		return out, v
	}
	for i := range out.Outputs {
		t := &out.Outputs[i]
		if !s.Covers(t) {
			continue
		}
		before := t.Data.Floats
		t.Data.Floats = room.copied(before)
		if why := s.shape(t); why != "" {
			v.Outcome, v.Reason = pavise.Deny, fmt.Sprintf("output %q %s", t.Name, why)
			return nil, v
		}
		if !slices.Equal(before, t.Data.Floats) {
			v.Reason = s.String()
			if s.Kind != Round {
				v.Outcome = pavise.Alter
			}
		}
	}
	return out, v
}

// answer copies an answer, but for the data of its tensors.
func (p *Shaped) answer(r *tensor.Response) *tensor.Response {
	p.response, p.floats = *r, p.floats[:0]
	if len(r.Outputs) == 1 {
		p.one[0] = r.Outputs[0]
		p.response.Outputs = p.one[:]
	} else {
		p.response.Outputs = slices.Clone(r.Outputs)
	}
	return &p.response
}

// copied copies scores behind those that were copied before for the same answer.
func (p *Shaped) copied(scores []float64) []float64 {
	from := len(p.floats)
	p.floats = append(p.floats, scores...)
	return p.floats[from:len(p.floats):len(p.floats)]
}

// String says the shape for people, for example "rounded to 4 digits".
func (s Shape) String() string {
	switch s.Kind { // by every exchange, so without fmt
	case Round:
		if 0 <= s.Digits && s.Digits < len(rounded) {
			return rounded[s.Digits]
		}
		return "rounded to " + strconv.Itoa(s.Digits) + " digits"
	case TopK:
		return "only the top " + strconv.Itoa(s.K) + " scores"
	case Label:
		return "label only"
	}
	return "full"
}

// rounded are the words for every number of digits that is valid, made once.
var rounded = func() (list [maxDigits + 1]string) {
	for i := range list {
		list[i] = "rounded to " + strconv.Itoa(i) + " digits"
	}
	return list
}()

// shapes reports whether the shape changes anything at all.
func (s Shape) shapes() bool { return s.Kind != "" && s.Kind != Full }

// Covers reports whether a tensor of an answer holds scores, of which the shape says how
// much is told.
func (s Shape) Covers(t *tensor.Tensor) bool {
	if len(s.Scores) > 0 {
		return slices.Contains(s.Scores, t.Name)
	}
	return t.Datatype.IsFloat()
}

// holdsScores reports whether the tensor is floats of rows × classes.
func holdsScores(t *tensor.Tensor) bool { return t.Datatype.IsFloat() && len(t.Shape) == 2 }

// shape shapes the tensor's data in place, or says why it cannot.
func (s Shape) shape(t *tensor.Tensor) string {
	if !holdsScores(t) {
		return fmt.Sprintf("is %s of shape %d, and only floats of rows × classes can be %s; list the outputs that are scores", t.Datatype, t.Shape, s)
	}
	if why := t.Unfit(); why != "" {
		return why
	}
	classes := int(t.Shape[1])
	for row := range slices.Chunk(t.Data.Floats, classes) {
		switch s.Kind {
		case Round:
			RoundRow(row, s.Digits, t.Datatype)
		case TopK:
			if slices.Min(row) < 0 {
				return "has scores below 0, under which a 0 would come out on top; use label"
			}
			keepTop(row, s.K)
		case Label:
			if classes < 2 {
				return "has one class, whose label would always be 1"
			}
			top := argmax(row)
			clear(row)
			row[top] = 1
		default:
			return fmt.Sprintf("has the unknown shape %q", s.Kind)
		}
	}
	return ""
}

// argmax returns the index of the first of the largest.
func argmax(row []float64) int {
	top := 0
	for i, v := range row {
		if v > row[top] {
			top = i
		}
	}
	return top
}

// keepTop sets all but the k largest to 0. Of equal scores the first counts as
// larger.
func keepTop(row []float64, k int) {
	if k >= len(row) {
		return
	}
	order := make([]int, len(row))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case row[a] > row[b]:
			return -1
		case row[a] < row[b]:
			return 1
		}
		return 0
	})
	for _, i := range order[k:] {
		row[i] = 0
	}
}

// RoundRow rounds a row of scores to digits decimals, of 0 to 9, and keeps its top. Rounding
// keeps order but can make a lower score equal to the top one, and the first of
// equals would then win. Where that happens the two are set one step apart, on the
// side where the truth lies: if the top score was rounded down, it is rounded up
// instead; otherwise it was rounded up or is exact, and the others go down a step.
// So every score is within one step of the truth, equal tops stay equal, and
// scores within whole bounds such as 0 and 1 stay within them.
func RoundRow(row []float64, digits int, d tensor.Datatype) {
	steps := math.Pow10(digits)
	top := row[argmax(row)]
	edge := math.Round(top * steps)
	clash := false
	for _, v := range row {
		clash = clash || v < top && math.Round(v*steps) == edge
	}
	single := d == tensor.FP32
	for i, v := range row {
		x := v * steps
		n := math.Round(x)
		switch {
		case math.Abs(x) >= 1<<52: // no decimals left to round
			continue
		case !clash || n != edge:
		case v < top && top*steps <= edge:
			n = edge - 1
		case v == top && top*steps > edge:
			n = edge + 1
		}
		if n = n/steps + 0; single { // + 0 makes a negative zero positive
			row[i] = float64(float32(n))
		} else {
			row[i] = d.Round(n)
		}
	}
}
