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
	switch bits := d.Bits(); d.Family() {
	case Boolean:
		t.Data.Bools, f = elements(s, room.bools(), t.Shape, end, reader[bool]{bits, (*scanner).boolean, nil})
	case Unsigned:
		t.Data.Uints, f = elements(s, room.uints(), t.Shape, end, reader[uint64]{bits, (*scanner).unsigned, (*scanner).plainUints})
	case Signed:
		t.Data.Ints, f = elements(s, s.ints(), t.Shape, end, reader[int64]{bits, (*scanner).signed, (*scanner).plainInts})
	case Floating:
		one := (*scanner).float
		if d == BF16 {
			one = (*scanner).brain
		}
		s.spelled = spelling{}
		t.Data.Floats, f = elements(s, s.floats(), t.Shape, end, reader[float64]{bits, one, (*scanner).plainFloats})
	case Octets:
		t.Data.Bytes, f = elements(s, room.bytes(), t.Shape, end, reader[[]byte]{bits, (*scanner).octets, nil})
	}
	return f
}

// A reader reads the elements of one datatype, of so many bits.
type reader[T any] struct {
	bits int
	one  func(s *scanner, bits int) (T, *fault)
	// plain, if there is one, reads at once what is plain at the beginning of a list: at
	// most n elements. It stops behind an element, or before all of them.
	plain func(s *scanner, list []T, n, bits int) []T
}

func (s *scanner) plainFloats(list []float64, n, bits int) []float64 {
	before := len(list)
	list, end, same := decimal.AppendFloats(list, s.text[s.pos:], bits, n)
	if same {
		s.spelled = spelling{text: s.text[s.pos : s.pos+end], count: len(list) - before}
	}
	s.pos += end
	return list
}

func (s *scanner) plainInts(list []int64, n, bits int) []int64 {
	list, end := decimal.AppendIntegers(list, s.text[s.pos:], math.MinInt64>>(64-bits), math.MaxInt64>>(64-bits), n)
	s.pos += end
	return list
}

func (s *scanner) plainUints(list []uint64, n, bits int) []uint64 {
	list, end := decimal.AppendIntegers(list, s.text[s.pos:], 0, math.MaxUint64>>(64-bits), n)
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
			list = read.plain(s, list, int(want)-i, read.bits) // want is at most MaxElements
			if n := len(list) - before; n > 0 {
				i += n - 1
				continue
			}
		}
		v, f := read.one(s, read.bits)
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
func (s *scanner) boolean(int) (bool, *fault) {
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
func (s *scanner) octets(int) ([]byte, *fault) {
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
