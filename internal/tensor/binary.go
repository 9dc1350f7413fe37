package tensor

import (
	"fmt"
	"strconv"

	"github.com/pavise/pavise"
)

// This file is the binary tensor data extension of the Open Inference Protocol: a
// JSON text, and after it the raw bytes of the tensors that name binary_data_size,
// in their order. What says how long the text is comes from the transport.

// noRaw is the size of a tensor that has no raw bytes.
const noRaw = -1

// A rawWay is what a request says of one output.
type rawWay int8

const (
	rawUnsaid rawWay = iota
	rawText
	rawBytes
)

func rawSaid(yes bool) rawWay {
	if yes {
		return rawBytes
	}
	return rawText
}

// split checks what the transport says of a message, and separates its text from the
// raw bytes behind it.
func (s *scanner) split(m Message) *fault {
	switch {
	case len(m.Body) > s.lim.MaxBody:
		return s.fault("send fewer rows at once", "%d bytes, more than the limit of %d", len(m.Body), s.lim.MaxBody)
	case m.Header == NoHeader:
		return nil
	case m.Header < 0 || m.Header > len(m.Body):
		return s.fault("it is the length of the JSON text in bytes, and no more than the body", "Inference-Header-Content-Length is %d, and the body has %d bytes", m.Header, len(m.Body))
	}
	s.text, s.binary = m.Body[:m.Header:m.Header], m.Body[m.Header:]
	return nil
}

// rawSize reads the parameters of an input.
func (s *scanner) rawSize() (int, *fault) {
	raw := noRaw
	_, f := s.parameters("binary_data_size", func() (f *fault) {
		raw, f = s.size()
		return f
	})
	return raw, f
}

// size reads a count of bytes.
func (s *scanner) size() (int, *fault) {
	n, f := s.unsigned(32)
	return int(n), f
}

// rawData takes the tensor's bytes off those behind the text.
func (s *scanner) rawData(t *Tensor, n int) *fault {
	if n > len(s.binary) {
		return s.fault("the raw bytes follow the text, whose length Inference-Header-Content-Length says", "binary_data_size is %d, and %d bytes are left", n, len(s.binary))
	}
	part := s.binary[:n]
	s.binary = s.binary[n:]
	if hint, why := t.SetRaw(part, s.lim); why != "" {
		return s.fault(hint, "%s", why)
	}
	return nil
}

// spent says that bytes follow which no tensor takes.
func (s *scanner) spent() *fault {
	if len(s.binary) > 0 {
		return s.fault("every tensor says its own binary_data_size", "%d bytes are left over that no tensor takes", len(s.binary))
	}
	return nil
}

// settleRaw fills in how each output asked for is wanted.
func (s *scanner) settleRaw(r *Request) {
	said := false
	for _, way := range s.raw {
		said = said || way != rawUnsaid
	}
	if !said {
		return
	}
	each := s.lim.Room.bools().take(len(s.raw))
	for _, way := range s.raw {
		each = append(each, way == rawBytes || way == rawUnsaid && r.Raw.All)
	}
	r.Raw.Each = each
}

// onlyRaw reads a body that is nothing but the raw bytes of one tensor. What it is
// can be known only where the model has one input, of elements of one size and at
// most one dimension that may be any.
func (s *scanner) onlyRaw(r *Request, sig Signature) *fault {
	const hint = "send a JSON text that describes the tensor, and its length as Inference-Header-Content-Length"
	if len(sig.Inputs) != 1 || sig.Inputs[0].Datatype == Bytes || !sig.Inputs[0].Datatype.Valid() {
		return s.fault(hint, "a body of raw bytes alone, and the model's signature does not say what they are")
	}
	port := sig.Inputs[0]
	t := Tensor{Name: port.Name, Datatype: port.Datatype}
	size, open := (port.Datatype.Bits()+7)/8, -1
	for i, dim := range port.Shape {
		switch {
		case dim == -1 && open >= 0:
			return s.fault(hint, "a body of raw bytes alone, and the model takes shapes of more than one size")
		case dim == -1:
			open = i
		case dim > int64(s.left)/int64(size):
			return s.fault("", "more elements than the limit of %d in all", s.lim.MaxElements)
		default:
			size *= int(dim)
		}
	}
	rows := int64(1)
	t.Shape = append(s.lim.Room.ints().take(len(port.Shape)), port.Shape...)
	if open >= 0 {
		rows = int64(len(s.binary) / size)
		t.Shape[open] = rows
	}
	elements := int64(size) / int64((port.Datatype.Bits()+7)/8) * rows
	switch {
	case len(s.binary) == 0 || len(s.binary)%size != 0:
		return s.fault("send whole elements", "%d raw bytes where the model takes %d, or a multiple", len(s.binary), size)
	case t.Shape[0] > int64(s.lim.MaxRows):
		return s.fault("send fewer rows at once", "%d rows, more than the limit of %d", t.Shape[0], s.lim.MaxRows)
	case elements > int64(s.left):
		return s.fault("send fewer rows at once", "more elements than the limit of %d in all", s.lim.MaxElements)
	}
	if f := s.rawData(&t, len(s.binary)); f != nil {
		return f
	}
	r.Inputs = append(s.lim.Room.tensors(), t)
	s.lim.Room.keepTensors(r.Inputs)
	r.Raw.All = true // whoever has no text to ask with gets none
	return nil
}

// appendRequest appends a request, with every input for which raw says so as raw
// bytes.
func appendRequest(dst []byte, r *Request, raw func(*Tensor) bool, binaryOutput bool) (Message, error) {
	start := len(dst)
	dst = append(dst, '{')
	if r.ID != "" {
		dst = append(dst, `"id":`...)
		dst = append(appendQuoted(dst, r.ID), ',')
	}
	if binaryOutput {
		dst = append(dst, `"parameters":{"binary_data_output":true},`...)
	}
	dst, err := appendTensors(append(dst, `"inputs":[`...), r.Inputs, raw, &r.spelt)
	if err != nil {
		return Message{}, fmt.Errorf("encode request: %w", err)
	}
	if len(r.Outputs) > 0 {
		dst = append(dst, `],"outputs":[`...)
		for i, name := range r.Outputs {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"name":`...)
			dst = append(appendQuoted(dst, name), '}')
		}
	}
	return appendParts(append(dst, "]}"...), start, r.Inputs, raw), nil
}

// appendResponse appends a response in the same way.
func appendResponse(dst []byte, r *Response, raw func(*Tensor) bool) (Message, error) {
	start := len(dst)
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
	dst, err := appendTensors(append(dst, `,"outputs":[`...), r.Outputs, raw, &spelling{})
	if err != nil {
		return Message{}, fmt.Errorf("encode response: %w", err)
	}
	return appendParts(append(dst, "]}"...), start, r.Outputs, raw), nil
}

// appendParts appends the raw bytes behind a text that began at start.
func appendParts(dst []byte, start int, list []Tensor, raw func(*Tensor) bool) Message {
	m := Message{Body: dst, Header: NoHeader}
	for i := range list {
		if raw(&list[i]) {
			if m.Header == NoHeader {
				m.Header = len(dst) - start
			}
			m.Body = list[i].AppendRaw(m.Body)
		}
	}
	return m
}

func appendTensors(dst []byte, list []Tensor, raw func(*Tensor) bool, spelt *spelling) ([]byte, error) {
	for i := range list {
		t := &list[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		spelled, floats := !raw(t) && spelt.of(t), t.Data.Floats
		if spelled {
			floats = nil // they are as they were read: finite
		}
		if why := t.unfit(floats); why != "" {
			return nil, &pavise.Error{Kind: pavise.Internal, Msg: fmt.Sprintf("tensor %q %s", t.Name, why)}
		}
		dst = append(dst, `{"name":`...)
		dst = append(appendQuoted(dst, t.Name), `,"shape":[`...)
		for i, dim := range t.Shape {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = strconv.AppendInt(dst, dim, 10)
		}
		dst = append(dst, `],"datatype":`...)
		dst = appendQuoted(dst, string(t.Datatype))
		if raw(t) {
			dst = append(dst, `,"parameters":{"binary_data_size":`...)
			dst = append(strconv.AppendInt(dst, int64(t.RawLen()), 10), "}}"...)
			continue
		}
		if why := t.textless(); why != "" {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("tensor %q %s", t.Name, why), Hint: `ask for it as raw bytes, with "binary_data": true`}
		}
		dst = append(dst, `,"data":[`...)
		if spelled {
			dst = append(dst, spelt.text...)
		} else {
			dst = t.appendData(dst)
		}
		dst = append(dst, "]}"...)
	}
	return dst, nil
}

// The ways in which tensors are carried.
func asText(*Tensor) bool   { return false }
func asRaw(*Tensor) bool    { return true }
func asMust(t *Tensor) bool { return t.textless() != "" }
