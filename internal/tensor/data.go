package tensor

import (
	"bytes"
)

// data reads the elements of t, whose shape and datatype are known. They lie
// before end, which bounds what is allocated.
func (s *scanner) data(t *Tensor, end int) (f *fault) {
	bits := t.Datatype.Bits()
	switch t.Datatype.Family() {
	case Boolean:
		t.Data.Bools, f = elements(s, t.Shape, end, s.boolean)
	case Unsigned:
		t.Data.Uints, f = elements(s, t.Shape, end, func() (uint64, *fault) { return s.unsigned(bits) })
	case Signed:
		t.Data.Ints, f = elements(s, t.Shape, end, func() (int64, *fault) { return s.signed(bits) })
	case Floating:
		t.Data.Floats, f = elements(s, t.Shape, end, func() (float64, *fault) { return s.float(bits) })
	case Octets:
		t.Data.Bytes, f = elements(s, t.Shape, end, s.octets)
	}
	return f
}

var comma = []byte{','}

// elements reads nested or flat data. Which of the two it is shows in the first
// byte after the first bracket; from there on there is no choice, so a mixture
// is a fault. Flat data is nested data of one dimension.
func elements[T any](s *scanner, shape []int64, end int, read func() (T, *fault)) ([]T, *fault) {
	total := int64(1)
	for _, dim := range shape {
		total *= dim
	}
	if s.peek() != '[' {
		return nil, s.unexpected("'['")
	}
	start := s.pos
	s.pos++
	nested := s.peek() == '['
	s.pos = start
	if !nested {
		shape = []int64{total}
	}
	// Commas stand between elements, so memory follows what was sent, not what
	// was declared.
	list := make([]T, 0, min(int(total), 1+bytes.Count(s.text[start:end], comma)))
	return level(s, list, shape, read)
}

// level reads one bracketed level of data onto list. It calls itself at most as
// often as there are dimensions.
func level[T any](s *scanner, list []T, shape []int64, read func() (T, *fault)) ([]T, *fault) {
	if f := s.open('[', "'['"); f != nil {
		return nil, f
	}
	for i := 0; ; i++ {
		more, f := s.more(']', i == 0)
		if f != nil {
			return nil, f
		}
		if !more || int64(i) == shape[0] {
			if more || int64(i) < shape[0] {
				return nil, s.miscount(i, shape[0])
			}
			return list, nil
		}
		if len(shape) > 1 {
			list, f = level(s, list, shape[1:], read)
		} else {
			var v T
			v, f = read()
			list = append(list, v)
		}
		if f != nil {
			return nil, f.item(i)
		}
	}
}

// miscount says that i elements were read where want should stand.
func (s *scanner) miscount(i int, want int64) *fault {
	const hint = "data is nested exactly as shape says, or flat with exactly as many elements as its dimensions multiply to"
	if int64(i) == want {
		return s.fault(hint, "more than %d elements where the shape says %d", want, want)
	}
	return s.fault(hint, "%d elements where the shape says %d", i, want)
}

// boolean reads true or false.
func (s *scanner) boolean() (bool, *fault) {
	s.peek()
	for _, v := range []struct {
		text  string
		value bool
	}{{"true", true}, {"false", false}} {
		if bytes.HasPrefix(s.text[s.pos:], []byte(v.text)) {
			s.pos += len(v.text)
			return v.value, nil
		}
	}
	return false, s.unexpected("true or false")
}

// octets reads one BYTES element, a string.
func (s *scanner) octets() ([]byte, *fault) {
	b, f := s.quoted(s.lim.MaxBytesLen)
	if f != nil {
		return nil, f
	}
	return append(make([]byte, 0, len(b)), b...), nil
}

// stepOver moves past an array without reading it. It matches brackets outside
// strings and nothing more, because the array is read strictly later, and a
// strict reading ends at the same bracket.
func (s *scanner) stepOver() *fault {
	if s.peek() != '[' {
		return s.unexpected("'['")
	}
	depth := 0
	for ; s.pos < len(s.text); s.pos++ {
		switch s.text[s.pos] {
		case '[':
			if depth++; depth > s.lim.MaxRank {
				return s.fault("data is nested no deeper than its shape", "nested deeper than %d", s.lim.MaxRank)
			}
		case ']':
			if depth--; depth == 0 {
				s.pos++
				return nil
			}
		case '"':
			if f := s.skipString(); f != nil {
				return f
			}
		}
	}
	return s.unexpected("']'")
}

// skipString moves to the closing quote of the string that begins here.
func (s *scanner) skipString() *fault {
	for i := s.pos + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			i++
		case '"':
			s.pos = i
			return nil
		}
	}
	return s.fault("", "a string without its closing quote")
}
