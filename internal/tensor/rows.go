package tensor

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/decimal"
)

// A form is how a caller laid a request out, where its protocol leaves the choice. It
// is answered in the same one.
type form uint8

const (
	byRow    form = iota // a list of rows, each a value or an object of named ones
	byColumn             // each tensor as a whole
	bare                 // a list of rows, with nothing around it
)

func portNames(ports []Port) []string {
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = p.Name
	}
	return names
}

// rows reads a list of rows: each a value for the only port, or an object with one for
// every port.
func (s *scanner) rows(what string, ports []Port) ([]Tensor, *fault) {
	folds := make([]fold, len(ports))
	for i, p := range ports {
		folds[i] = rowsOf(p)
	}
	keys, n := newSet(portNames(ports)), 0
	f := s.array(what, s.lim.MaxRows, func(i int) *fault {
		n = i + 1
		if len(ports) == 1 && !s.atNames(ports[0]) {
			return folds[0].value(s, 1)
		}
		return s.fields(keys, func(i int) *fault { return folds[i].value(s, 1) })
	})
	if f != nil {
		return nil, f
	}
	return unfold(folds, n), nil
}

// unfold returns what was read row by row.
func unfold(folds []fold, rows int) []Tensor {
	list := make([]Tensor, len(folds))
	for i := range folds {
		folds[i].t.Shape[0] = int64(rows)
		list[i] = folds[i].t
	}
	return list
}

// columns reads each tensor as a whole: an array for the only port, or an object with
// one for every port.
func (s *scanner) columns(ports []Port) ([]Tensor, *fault) {
	list := make([]Tensor, len(ports))
	read := func(i int) *fault {
		if s.peek() != '[' {
			return s.unexpected("'['")
		}
		fold := newFold(ports[i])
		f := fold.value(s, 0)
		list[i] = fold.t
		return f
	}
	if len(ports) == 1 && s.peek() == '[' {
		return list, read(0)
	}
	return list, s.fields(newSet(portNames(ports)), read)
}

// atNames reports whether an object of named values stands next, and not a value of
// the port: {"b64": …} is one.
func (s *scanner) atNames(p Port) bool {
	if s.peek() != '{' {
		return false
	}
	rest := bytes.TrimLeft(s.text[s.pos+1:], " \t\r\n")
	return p.Datatype != Bytes || p.Name == b64 || !bytes.HasPrefix(rest, []byte(`"`+b64+`"`))
}

// asked are the tensors of an answer that the request asks for: these protocols have
// no way to ask a server for less.
func asked(r *Request, all []Tensor) []Tensor {
	if len(r.Outputs) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(t Tensor) bool { return !slices.Contains(r.Outputs, t.Name) })
}

// A spool writes a tensor's elements one after another.
type spool struct {
	t      *Tensor
	family Family
	bits   int
	next   int // the element that is written next
}

// spools makes tensors ready to be written in rows, and says why if they cannot be.
// kind is that of the error.
func spools(list []Tensor, kind pavise.Kind) ([]spool, error) {
	out := make([]spool, len(list))
	for i := range list {
		t := &list[i]
		why := t.Unfit()
		if why == "" && t.Shape[0] != list[0].Shape[0] {
			why = fmt.Sprintf("has %d rows, and another one %d, which this protocol cannot carry", t.Shape[0], list[0].Shape[0])
		}
		if why != "" {
			return nil, &pavise.Error{Kind: kind, Msg: fmt.Sprintf("tensor %q %s", t.Name, why)}
		}
		out[i] = spool{t: t, family: t.Datatype.Family(), bits: t.Datatype.Bits()}
	}
	return out, nil
}

// value appends the next elements, in arrays of the given dimensions.
func (p *spool) value(dst []byte, dims []int64) []byte {
	if len(dims) == 0 {
		return p.element(dst)
	}
	dst = append(dst, '[')
	for i := range dims[0] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = p.value(dst, dims[1:])
	}
	return append(dst, ']')
}

func (p *spool) element(dst []byte) []byte {
	i := p.next
	p.next++
	switch p.family {
	case Floating:
		return appendReal(dst, p.t.Data.Floats[i], p.bits)
	case Signed:
		return strconv.AppendInt(dst, p.t.Data.Ints[i], 10)
	case Unsigned:
		return strconv.AppendUint(dst, p.t.Data.Uints[i], 10)
	case Boolean:
		return strconv.AppendBool(dst, p.t.Data.Bools[i])
	}
	b := p.t.Data.Bytes[i]
	if utf8.Valid(b) {
		return appendQuoted(dst, b)
	}
	dst = append(dst, `{"`+b64+`":"`...)
	return append(base64.StdEncoding.AppendEncode(dst, b), `"}`...)
}

// appendReal appends a float so that whoever guesses the type of a number by how it
// is written, as Python does, takes it for one.
func appendReal(dst []byte, v float64, bits int) []byte {
	from := len(dst)
	dst = decimal.Append(dst, v, bits)
	for _, c := range dst[from:] {
		if c == '.' || c == 'e' {
			return dst
		}
	}
	return append(dst, '.', '0')
}

// appendRows appends a list of rows as scanner.rows reads it.
func appendRows(dst []byte, list []spool) []byte {
	dst = append(dst, '[')
	for row := range list[0].t.Shape[0] {
		if row > 0 {
			dst = append(dst, ',')
		}
		if len(list) == 1 {
			dst = list[0].value(dst, list[0].t.Shape[1:])
			continue
		}
		dst = append(dst, '{')
		for i := range list {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendQuoted(dst, list[i].t.Name), ':')
			dst = list[i].value(dst, list[i].t.Shape[1:])
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendColumns appends tensors as scanner.columns reads them.
func appendColumns(dst []byte, list []spool) []byte {
	if len(list) == 1 {
		return list[0].value(dst, list[0].t.Shape)
	}
	dst = append(dst, '{')
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, list[i].t.Name), ':')
		dst = list[i].value(dst, list[i].t.Shape)
	}
	return append(dst, '}')
}

// read runs a codec over a text that is one value.
func read(m Message, lim Limits, kind pavise.Kind, value func(*scanner) *fault) error {
	s := newScanner(m.Body, lim)
	var f *fault
	switch {
	case m.Header != NoHeader:
		f = s.fault("send the text alone", "binary tensors, which only the Open Inference Protocol has")
	case len(m.Body) > lim.MaxBody:
		f = s.fault("send fewer rows at once", "%d bytes, more than the limit of %d", len(m.Body), lim.MaxBody)
	default:
		f = s.whole(func() *fault { return value(s) })
	}
	if f != nil {
		return f.error(kind)
	}
	return nil
}
