package tensor

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pavise/pavise"
)

// AppendJSON appends the request as the protocol writes it: keys in one order,
// data flat, numbers in their shortest form, no parameters. ParseRequest reads it
// back to an equal request. The error, of kind Internal, names the tensor whose
// data does not fit its shape and datatype, or that JSON cannot carry; a parsed
// request has none such.
func (r *Request) AppendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, '{')
	if r.ID != "" {
		dst = append(dst, `"id":`...)
		dst = append(appendQuoted(dst, r.ID), ',')
	}
	dst, err := appendTensors(append(dst, `"inputs":[`...), r.Inputs)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	if len(r.Outputs) == 0 {
		return append(dst, "]}"...), nil
	}
	dst = append(dst, `],"outputs":[`...)
	for i, name := range r.Outputs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"name":`...)
		dst = append(appendQuoted(dst, name), '}')
	}
	return append(dst, "]}"...), nil
}

// AppendJSON appends the response as Request.AppendJSON does a request. A model
// that computed NaN or an infinity is reported by the error.
func (r *Response) AppendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, `{"model_name":`...)
	dst = appendQuoted(dst, r.Model)
	if r.Version != "" {
		dst = append(dst, `,"model_version":`...)
		dst = appendQuoted(dst, r.Version)
	}
	if r.ID != "" {
		dst = append(dst, `,"id":`...)
		dst = appendQuoted(dst, r.ID)
	}
	dst, err := appendTensors(append(dst, `,"outputs":[`...), r.Outputs)
	if err != nil {
		return nil, fmt.Errorf("encode response: %w", err)
	}
	return append(dst, "]}"...), nil
}

// AppendError appends the protocol's error object, {"error": msg}.
func AppendError(dst []byte, msg string) []byte {
	dst = append(dst, `{"error":`...)
	return append(appendQuoted(dst, strings.ToValidUTF8(msg, "\ufffd")), '}')
}

// AppendText appends a JSON string. The text must be valid UTF-8.
func AppendText(dst []byte, text string) []byte { return appendQuoted(dst, text) }

func appendTensors(dst []byte, list []Tensor) ([]byte, error) {
	for i := range list {
		t := &list[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		if why := t.Unfit(); why != "" {
			return nil, &pavise.Error{Kind: pavise.Internal, Msg: fmt.Sprintf("tensor %q %s", t.Name, why)}
		}
		dst = append(dst, `{"name":`...)
		dst = append(appendQuoted(dst, t.Name), `,"shape":[`...)
		dst = appendList(dst, t.Shape, func(dst []byte, dim int64) []byte { return strconv.AppendInt(dst, dim, 10) })
		dst = append(dst, `],"datatype":`...)
		dst = append(appendQuoted(dst, string(t.Datatype)), `,"data":[`...)
		dst = append(t.appendData(dst), "]}"...)
	}
	return dst, nil
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
		bits := t.Datatype.Bits()
		return appendList(dst, t.Data.Floats, func(dst []byte, v float64) []byte { return appendNumber(dst, v, bits) })
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

// Unfit says why the tensor cannot be written, or "".
func (t *Tensor) Unfit() string {
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
	for i, v := range t.Data.Floats {
		if rounded := t.Datatype.Round(v); math.IsInf(rounded, 0) || math.IsNaN(rounded) {
			return fmt.Sprintf("holds %v at element %d, which JSON cannot carry as %s", v, i, t.Datatype)
		}
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
		return roundHalf(v)
	case FP32:
		return float64(float32(v))
	}
	return v
}
