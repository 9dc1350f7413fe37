package tensor

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pavise/pavise/internal/decimal"
)

// AppendJSON appends the request as the protocol writes it: keys in one order,
// data flat, numbers in their shortest form, no parameters. ParseRequest reads it
// back to an equal request. The error names the tensor: of kind Internal when its
// data does not fit its shape and datatype, which a parsed request has none of, and of
// kind Invalid when JSON cannot carry it.
func (r *Request) AppendJSON(dst []byte) ([]byte, error) {
	m, err := appendRequest(dst, r, asText, false)
	return m.Body, err
}

// AppendJSON appends the response as Request.AppendJSON does a request. A model
// that computed NaN or an infinity is reported by the error.
func (r *Response) AppendJSON(dst []byte) ([]byte, error) {
	m, err := appendResponse(dst, r, asText)
	return m.Body, err
}

// AppendError appends the protocol's error object, {"error": msg}.
func AppendError(dst []byte, msg string) []byte {
	dst = append(dst, `{"error":`...)
	return append(appendQuoted(dst, strings.ToValidUTF8(msg, "\ufffd")), '}')
}

// AppendText appends a JSON string. The text must be valid UTF-8.
func AppendText(dst []byte, text string) []byte { return appendQuoted(dst, text) }

// A spelling is the text of a list of numbers that is what appendData would write of
// them, byte for byte. A profile of requests of 512 numbers showed a sixth of all in
// writing them anew, when most are written in their shortest form to begin with.
type spelling struct {
	text  []byte
	count int    // of the numbers
	sum   uint64 // of them, so that numbers which were changed since are written anew
}

// maxSpelling bounds the text that is kept.
const maxSpelling = 8 << 10

// keepSpelling has the text of the only input copied to the room, if that is how it would
// be written.
func (s *scanner) keepSpelling(r *Request) {
	t := &r.Inputs[0]
	if r.room == nil || t.Datatype != FP32 || s.spelled.count != len(t.Data.Floats) || len(s.spelled.text) > maxSpelling {
		return
	}
	r.spelt = s.spelled
	r.spelt.text = append(r.room.octets().take(len(s.spelled.text)), s.spelled.text...)
	r.spelt.sum = sum(t.Data.Floats)
}

// of reports whether it is the spelling of the tensor's elements.
func (p *spelling) of(t *Tensor) bool {
	return p.count > 0 && t.Datatype == FP32 && len(t.Data.Floats) == p.count && sum(t.Data.Floats) == p.sum
}

// sum tells a list of FP32s, which leave 29 bits of a float64 unused, from one in which a
// number, or the order, was changed.
func sum(list []float64) (n uint64) {
	for i, v := range list {
		n += math.Float64bits(v) >> 29 * uint64(2*i+1)
	}
	return n
}

func (t *Tensor) appendData(dst []byte) []byte {
	switch t.Datatype.Family() {
	case Boolean:
		return appendList(dst, t.Data.Bools, strconv.AppendBool)
	case Unsigned:
		return appendList(dst, t.Data.Uints, func(dst []byte, v uint64) []byte { return strconv.AppendUint(dst, v, 10) })
	case Signed:
		return appendList(dst, t.Data.Ints, func(dst []byte, v int64) []byte { return strconv.AppendInt(dst, v, 10) })
	case Floating:
		return decimal.AppendList(dst, t.Data.Floats, t.Datatype.Bits())
	}
	return appendList(dst, t.Data.Bytes, appendQuoted[[]byte])
}

func appendList[T any](dst []byte, list []T, one func([]byte, T) []byte) []byte {
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = one(dst, v)
	}
	return dst
}

// Unfit says why no protocol can carry the tensor, or "".
func (t *Tensor) Unfit() string { return t.unfit(t.Data.Floats) }

// unfit is Unfit where of all floats only some need a look.
func (t *Tensor) unfit(floats []float64) string {
	if !t.Datatype.Valid() {
		return fmt.Sprintf("has the unknown datatype %q", t.Datatype)
	}
	total := int64(1)
	for _, dim := range t.Shape {
		if dim < 1 || dim > math.MaxInt32 || total > math.MaxInt32 {
			return fmt.Sprintf("has the impossible shape %d", t.Shape)
		}
		total *= dim
	}
	if len(t.Shape) == 0 || total != int64(t.Len()) {
		return fmt.Sprintf("has %d elements in the shape %d", t.Len(), t.Shape)
	}
	top := t.Datatype.overflow()
	for i, v := range floats {
		if !(math.Abs(v) < top) { // so it is NaN, too
			return fmt.Sprintf("holds %v at element %d, which is no finite %s", v, i, t.Datatype)
		}
	}
	return ""
}

// textless says why JSON cannot carry the tensor, which fits, or "".
func (t *Tensor) textless() string {
	if t.Datatype == BF16 {
		return "is BF16, which has no JSON form"
	}
	for i, b := range t.Data.Bytes {
		if !utf8.Valid(b) {
			return fmt.Sprintf("holds bytes that are not UTF-8 at element %d, which JSON cannot carry", i)
		}
	}
	return ""
}

// Round returns the value of datatype d nearest to v.
func (d Datatype) Round(v float64) float64 {
	switch d {
	case FP16:
		return decimal.RoundHalf(v)
	case BF16:
		return decimal.RoundBrain(v)
	case FP32:
		return float64(float32(v))
	}
	return v
}

// overflow is the least number that rounds to infinity: half a step above the largest
// one, which ties to even as if there were more. FP64 has infinity alone.
func (d Datatype) overflow() float64 {
	switch d {
	case FP16:
		return 65520
	case BF16:
		return 0x1.ffp127
	case FP32:
		return 0x1.ffffffp127
	}
	return math.Inf(1)
}
