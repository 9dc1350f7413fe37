package tensor

import (
	"encoding/base64"
	"slices"
)

// A fold reads nested arrays into a tensor whose shape shows in how they nest. The
// protocols that take the datatype from the model's signature have no other shape. A
// tensor's shape is known once its first elements have been read; whatever nests
// otherwise after that is a fault.
type fold struct {
	t      Tensor // Shape has -1 where no array of that depth has ended yet
	leaf   int    // in how many arrays its elements stand; -1: none was read yet
	family Family
	bits   int
}

// newFold begins a tensor for a port.
func newFold(p Port) fold {
	return fold{t: Tensor{Name: p.Name, Datatype: p.Datatype}, leaf: -1, family: p.Datatype.Family(), bits: p.Datatype.Bits()}
}

// rowsOf begins a tensor whose rows come one by one, each to be read at depth 1.
func rowsOf(p Port) fold {
	f := newFold(p)
	f.t.Shape = append(make([]int64, 0, max(len(p.Shape), 1)), -1)
	return f
}

const regular = "every array of one depth has the same length, and elements stand at one depth alone"

// value reads one value that stands in depth arrays: an element, or an array of them.
// It calls itself at most as often as the limit on dimensions says.
func (f *fold) value(s *scanner, depth int) *fault {
	if s.peek() != '[' {
		return f.element(s, depth)
	}
	switch {
	case f.leaf >= 0 && depth >= f.leaf:
		return s.fault(regular, "an array where an element should be")
	case depth == s.lim.MaxRank:
		return s.fault("send fewer dimensions", "nested deeper than %d", s.lim.MaxRank)
	case depth == len(f.t.Shape):
		f.t.Shape = append(f.t.Shape, -1)
	}
	s.pos++
	for i := int64(0); ; i++ {
		more, bad := s.more(']', i == 0)
		if bad != nil {
			return bad
		}
		want := f.t.Shape[depth]
		switch {
		case !more && i == 0:
			return s.fault("give at least one element", "an empty array")
		case !more && want >= 0 && i < want:
			return s.fault(regular, "%d elements where %d stood before", i, want)
		case !more:
			f.t.Shape[depth] = i
			return nil
		case i == want:
			return s.fault(regular, "more than %d elements, as stood before", want)
		case depth == 0 && i == int64(s.lim.MaxRows):
			return s.fault("send fewer rows at once", "more rows than the limit of %d", s.lim.MaxRows)
		}
		if n := f.plain(s, depth, i); n > 0 {
			i += n - 1
			continue
		}
		if bad := f.value(s, depth+1); bad != nil {
			return bad.item(int(i))
		}
	}
}

// plain reads what is plain of an array whose first i elements have been read, and
// returns how many it has read: none before the first element of all.
func (f *fold) plain(s *scanner, depth int, i int64) int64 {
	if f.leaf != depth+1 {
		return 0
	}
	most, before := int64(s.left), f.t.Len()
	if want := f.t.Shape[depth]; want >= 0 {
		most = min(most, want-i)
	} else if depth == 0 {
		most = min(most, int64(s.lim.MaxRows)-i)
	}
	switch d := &f.t.Data; f.family {
	case Floating:
		d.Floats = s.plainFloats(d.Floats, int(most), f.bits)
	case Signed:
		d.Ints = s.plainInts(d.Ints, int(most), f.bits)
	case Unsigned:
		d.Uints = s.plainUints(d.Uints, int(most), f.bits)
	}
	n := f.t.Len() - before
	s.left -= n
	return int64(n)
}

// element reads one element that stands in depth arrays.
func (f *fold) element(s *scanner, depth int) *fault {
	switch {
	case f.leaf < 0 && depth == len(f.t.Shape):
		f.leaf = depth
	case f.leaf != depth:
		return s.fault(regular, "an element where an array should be")
	}
	if s.left == 0 {
		return s.fault("send fewer rows at once", "more elements than the limit of %d in all", s.lim.MaxElements)
	}
	s.left--
	d := &f.t.Data
	switch f.family {
	case Floating:
		v, bad := s.floating(f.t.Datatype)
		d.Floats = append(d.Floats, v)
		return bad
	case Signed:
		v, bad := s.signed(f.bits)
		d.Ints = append(d.Ints, v)
		return bad
	case Unsigned:
		v, bad := s.unsigned(f.bits)
		d.Uints = append(d.Uints, v)
		return bad
	case Boolean:
		v, bad := s.boolean(1)
		d.Bools = append(d.Bools, v)
		return bad
	case Octets:
		v, bad := s.octetsOrB64()
		d.Bytes = append(d.Bytes, v)
		return bad
	}
	return s.fault("correct the model's signature", "the datatype %.20q has no form here", string(f.t.Datatype))
}

// floating reads a float of a datatype that has a JSON form.
func (s *scanner) floating(d Datatype) (float64, *fault) {
	switch d {
	case FP16:
		return s.float(16)
	case FP32:
		return s.float(32)
	case FP64:
		return s.float(64)
	case BF16:
		return s.brain(16)
	}
	return 0, s.fault("ask in another protocol", "%s has no form here", d)
}

// b64 is the one key of an object that stands for bytes: {"b64": "…"}.
const b64 = "b64"

var b64Keys = []string{b64}

// octetsOrB64 reads one BYTES element: a string, or an object of bytes in base64
// (RFC 4648 section 4, padded, with no bit left over).
func (s *scanner) octetsOrB64() (v []byte, bad *fault) {
	if s.peek() != '{' {
		return s.octets(0)
	}
	bad = s.object(b64Keys, 1, func(string) *fault {
		s.peek()
		start := s.pos
		text, bad := s.quoted(base64.StdEncoding.EncodedLen(s.lim.MaxBytesLen))
		if bad != nil {
			return bad
		}
		v = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Strict().Decode(v, text)
		switch {
		case err != nil || slices.ContainsFunc(text, func(c byte) bool { return c == '\n' || c == '\r' }):
			s.pos = start
			return s.fault("encode it as RFC 4648 section 4 has it, with padding", "not base64")
		case n > s.lim.MaxBytesLen:
			s.pos = start
			return s.tooLong(s.lim.MaxBytesLen)
		}
		v = v[:n]
		return nil
	})
	return v, bad
}

// A set is the keys that an object has to have, each once, in any order. Unlike those
// of a protocol, they are names that somebody chose.
type set struct {
	names []string
	place map[string]int // nil for a few
	seen  []bool         // by place; of the object that is read
}

func newSet(names []string) *set {
	k := &set{names: names, seen: make([]bool, len(names))}
	if len(names) > 8 {
		k.place = make(map[string]int, len(names))
		for i, name := range names {
			k.place[name] = i
		}
	}
	return k
}

// find returns the place of a name, or -1. guess is where it is most of the time.
func (k *set) find(name []byte, guess int) int {
	if guess < len(k.names) && k.names[guess] == string(name) {
		return guess
	}
	if k.place != nil {
		if i, known := k.place[string(name)]; known {
			return i
		}
		return -1
	}
	return slices.IndexFunc(k.names, func(n string) bool { return n == string(name) })
}

// fields reads an object with the keys of a set, and calls member with the scanner at
// each value.
func (s *scanner) fields(k *set, member func(i int) *fault) *fault {
	if f := s.open('{', "'{'"); f != nil {
		return f
	}
	clear(k.seen)
	for n := 0; ; n++ {
		more, f := s.more('}', n == 0)
		switch {
		case f != nil:
			return f
		case !more && n < len(k.names):
			return s.fault("give each one that the model takes", "%.40q is missing", k.names[slices.Index(k.seen, false)])
		case !more:
			return nil
		}
		start := s.pos
		name, f := s.quoted(s.lim.MaxNameLen)
		if f != nil {
			return f
		}
		i := k.find(name, n)
		if i < 0 || k.seen[i] {
			s.pos = start
			if i < 0 {
				return s.fault("the model's signature has others, spelled exactly", "unknown name %.40q", name)
			}
			return s.fault("write each name once: parsers differ on which of two counts", "name %.40q appears twice", name)
		}
		k.seen[i] = true
		if f := s.open(':', "':'"); f != nil {
			return f
		}
		if f := member(i); f != nil {
			return f.in("." + k.names[i])
		}
	}
}
