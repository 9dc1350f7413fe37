package tensor

import (
	"bytes"
	"math"

	"github.com/pavise/pavise/internal/decimal"
)

// data reads the elements of t, whose shape and datatype are known. They lie
// before end, which bounds what is allocated.
func (s *scanner) data(t *Tensor, end int) (f *fault) {
	room, d := s.lim.Room, t.Datatype
	switch d.Family() {
	case Boolean:
		t.Data.Bools, f = elements(s, room.bools(), t.Shape, end, reader[bool]{one: (*scanner).boolean})
	case Unsigned:
		t.Data.Uints, f = elements(s, room.uints(), t.Shape, end, unsignedOf(d))
	case Signed:
		t.Data.Ints, f = elements(s, s.ints(), t.Shape, end, signedOf(d))
	case Floating:
		t.Data.Floats, f = elements(s, s.floats(), t.Shape, end, floatOf(d))
	case Octets:
		t.Data.Bytes, f = elements(s, room.bytes(), t.Shape, end, reader[[]byte]{one: (*scanner).octets})
	}
	return f
}

// A reader reads the elements of one datatype. Functions of no state cost no memory.
type reader[T any] struct {
	one func(*scanner) (T, *fault)
	// plain, if there is one, reads at once what is plain at the beginning of a list:
	// at most so many elements. It stops behind an element, or before all of them.
	plain func(*scanner, []T, int) []T
}

// unsignedOf returns what reads an unsigned datatype.
func unsignedOf(d Datatype) reader[uint64] {
	switch d {
	case Uint8:
		return reader[uint64]{func(s *scanner) (uint64, *fault) { return s.unsigned(8) }, nil}
	case Uint16:
		return reader[uint64]{func(s *scanner) (uint64, *fault) { return s.unsigned(16) }, nil}
	case Uint32:
		return reader[uint64]{func(s *scanner) (uint64, *fault) { return s.unsigned(32) }, nil}
	}
	return reader[uint64]{func(s *scanner) (uint64, *fault) { return s.unsigned(64) }, nil}
}

// signedOf is unsignedOf for a signed datatype.
func signedOf(d Datatype) reader[int64] {
	switch d {
	case Int8:
		return reader[int64]{func(s *scanner) (int64, *fault) { return s.signed(8) }, nil}
	case Int16:
		return reader[int64]{func(s *scanner) (int64, *fault) { return s.signed(16) }, nil}
	case Int32:
		return reader[int64]{
			func(s *scanner) (int64, *fault) { return s.signed(32) },
			func(s *scanner, list []int64, n int) []int64 {
				return s.plainInts(list, n, math.MinInt32, math.MaxInt32)
			},
		}
	}
	return reader[int64]{
		func(s *scanner) (int64, *fault) { return s.signed(64) },
		func(s *scanner, list []int64, n int) []int64 {
			return s.plainInts(list, n, math.MinInt64, math.MaxInt64)
		},
	}
}

// floatOf is unsignedOf for a datatype of floats.
func floatOf(d Datatype) reader[float64] {
	switch d {
	case FP32:
		return reader[float64]{
			func(s *scanner) (float64, *fault) { return s.float(32) },
			func(s *scanner, list []float64, n int) []float64 { return s.plainFloats(list, n, 32) },
		}
	case FP16:
		return reader[float64]{func(s *scanner) (float64, *fault) { return s.float(16) }, nil}
	case BF16:
		return reader[float64]{(*scanner).brain, nil}
	}
	return reader[float64]{
		func(s *scanner) (float64, *fault) { return s.float(64) },
		func(s *scanner, list []float64, n int) []float64 { return s.plainFloats(list, n, 64) },
	}
}

func (s *scanner) plainFloats(list []float64, n, bits int) []float64 {
	list, end := decimal.AppendFloats(list, s.text[s.pos:], bits, n)
	s.pos += end
	return list
}

func (s *scanner) plainInts(list []int64, n int, least, most int64) []int64 {
	list, end := decimal.AppendIntegers(list, s.text[s.pos:], least, most, n)
	s.pos += end
	return list
}

var comma = []byte{','}

// elements reads nested or flat data. Which of the two it is shows in the first
// byte after the first bracket; from there on there is no choice, so a mixture
// is a fault. Flat data is nested data of one dimension.
func elements[T any](s *scanner, from *slab[T], shape []int64, end int, read reader[T]) ([]T, *fault) {
	total := volume(shape)
	if s.peek() != '[' {
		return nil, s.unexpected("'['")
	}
	start := s.pos
	s.pos++
	nested := s.peek() == '['
	s.pos = start
	// Commas stand between elements, so memory follows what was sent, not what
	// was declared.
	list := from.take(min(int(total), 1+bytes.Count(s.text[start:end], comma)))
	if !nested {
		return row(s, list, total, read)
	}
	return level(s, list, shape, read)
}

// volume is what the dimensions multiply to.
func volume(shape []int64) int64 {
	total := int64(1)
	for _, dim := range shape {
		total *= dim
	}
	return total
}

// level reads one bracketed level of data onto list. It calls itself at most as
// often as there are dimensions.
func level[T any](s *scanner, list []T, shape []int64, read reader[T]) ([]T, *fault) {
	if len(shape) == 1 {
		return row(s, list, shape[0], read)
	}
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
		if list, f = level(s, list, shape[1:], read); f != nil {
			return nil, f.item(i)
		}
	}
}

// row reads one bracketed list of so many elements onto list.
func row[T any](s *scanner, list []T, want int64, read reader[T]) ([]T, *fault) {
	if f := s.open('[', "'['"); f != nil {
		return nil, f
	}
	for i := 0; ; i++ {
		more, f := s.more(']', i == 0)
		if f != nil {
			return nil, f
		}
		if !more || int64(i) == want {
			if more || int64(i) < want {
				return nil, s.miscount(i, want)
			}
			return list, nil
		}
		if read.plain != nil {
			before := len(list)
			list = read.plain(s, list, int(want)-i) // want is at most MaxElements
			if n := len(list) - before; n > 0 {
				i += n - 1
				continue
			}
		}
		v, f := read.one(s)
		if f != nil {
			return nil, f.item(i)
		}
		list = append(list, v)
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
	switch rest := s.text[s.pos:]; {
	case bytes.HasPrefix(rest, []byte("true")):
		s.pos += len("true")
		return true, nil
	case bytes.HasPrefix(rest, []byte("false")):
		s.pos += len("false")
		return false, nil
	}
	return false, s.unexpected("true or false")
}

// octets reads one BYTES element, a string.
func (s *scanner) octets() ([]byte, *fault) {
	b, f := s.quoted(s.lim.MaxBytesLen)
	if f != nil {
		return nil, f
	}
	return append(s.lim.Room.octets().take(len(b)), b...), nil
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
