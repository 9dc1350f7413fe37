package tensor

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pavise/pavise/internal/decimal"
	"github.com/pavise/pavise/internal/quote"
)

// Limits bound what a body may hold. A zero field allows nothing, so that a
// forgotten limit refuses and does not admit.
type Limits struct {
	MaxBody     int // bytes of JSON text
	MaxTensors  int // inputs, and as many requested outputs; or outputs of a response
	MaxElements int // elements of all tensors together
	MaxRows     int // dimension 0 of any tensor
	MaxRank     int // dimensions of one tensor, and so the depth of nested data
	MaxNameLen  int // bytes of a name, id or version
	MaxBytesLen int // bytes of one BYTES element

	Room *Room // where what is read goes; nil: to new memory
}

// DefaultLimits fit tabular models and small images: 4 MiB of text, 32 tensors,
// 1 Mi elements, 64 Ki rows, 8 dimensions, names of 128 bytes and BYTES elements
// of 64 KiB.
func DefaultLimits() Limits {
	return Limits{
		MaxBody:     4 << 20,
		MaxTensors:  32,
		MaxElements: 1 << 20,
		MaxRows:     1 << 16,
		MaxRank:     8,
		MaxNameLen:  128,
		MaxBytesLen: 64 << 10,
	}
}

// Weight returns how many bytes a message and what is read from it take together,
// at most. Elements stand between commas in a text and are at least a byte of what is
// none; each takes eight bytes, or the header of a slice where they may be BYTES,
// which an escape could spell, too.
func (l Limits) Weight(m Message) int {
	text, raw := m.Body, []byte(nil)
	if 0 <= m.Header && m.Header <= len(text) {
		text, raw = text[:m.Header], text[m.Header:]
	}
	size := 8
	if len(raw) > 0 || bytes.Contains(text, []byte(Bytes)) || bytes.IndexByte(text, '\\') >= 0 {
		size = 24
	}
	return len(m.Body) + min(len(text), maxSpelling) + size*min(l.MaxElements, 1+bytes.Count(text, comma)+len(raw))
}

// ParseRequest is OIP.ParseRequest of a text without binary tensors.
func ParseRequest(body []byte, lim Limits) (*Request, error) {
	return OIP.ParseRequest(Message{body, NoHeader}, Signature{}, lim)
}

// ParseResponse is OIP.ParseResponse of a text without binary tensors.
func ParseResponse(body []byte, lim Limits) (*Response, error) {
	return OIP.ParseResponse(Message{body, NoHeader}, nil, Signature{}, lim)
}

func newScanner(body []byte, lim Limits) *scanner {
	var s *scanner
	if lim.Room != nil {
		s = &lim.Room.scanner
	} else {
		s = new(scanner)
	}
	*s = scanner{text: body, lim: lim, left: lim.MaxElements}
	return s
}

// whole checks what concerns the body as a whole, around the one value in it.
func (s *scanner) whole(value func() *fault) *fault {
	if bytes.HasPrefix(s.text, []byte("\xef\xbb\xbf")) {
		return s.fault("send the text without it", "a byte order mark before the text")
	}
	if !utf8.Valid(s.text) {
		s.pos = quote.Invalid(s.text)
		return s.fault("encode the text as UTF-8", "not valid UTF-8")
	}
	if f := value(); f != nil {
		return f
	}
	if s.peek(); s.pos < len(s.text) {
		return s.fault("send exactly one JSON object", "more text after the end of the object")
	}
	return s.spent()
}

// The keys of each object, required ones first.
var (
	requestKeys  = []string{"inputs", "id", "parameters", "outputs", "model_name"} // the last is KServe's: the URL says it
	responseKeys = []string{"model_name", "outputs", "model_version", "id", "parameters"}
	tensorKeys   = []string{"name", "shape", "datatype", "data", "parameters"} // data may be raw
	wantedKeys   = []string{"name", "parameters"}
)

func (s *scanner) request(r *Request) *fault {
	f := s.object(requestKeys, 1, func(key string) (f *fault) {
		switch key {
		case "id":
			r.ID, f = s.label()
		case "parameters":
			r.Raw.All, _, f = s.flag("binary_data_output")
		case "inputs":
			r.Inputs, f = s.tensors("inputs", (*scanner).rawSize)
		case "outputs":
			f = s.wanted(r)
		case "model_name":
			r.Model, f = s.name()
		}
		return f
	})
	s.settleRaw(r)
	if f == nil && len(r.Inputs) == 1 {
		s.keepSpelling(r)
	}
	return f
}

func (s *scanner) response(r *Response) *fault {
	return s.object(responseKeys, 2, func(key string) (f *fault) {
		switch key {
		case "model_name":
			r.Model, f = s.name()
		case "model_version":
			r.Version, f = s.optional()
		case "id":
			r.ID, f = s.optional()
		case "parameters":
			_, f = s.dropParameters("")
		case "outputs":
			r.Outputs, f = s.tensors("outputs", (*scanner).answerParameters)
		}
		return f
	})
}

// optional is label, or null for none.
func (s *scanner) optional() (string, *fault) {
	if s.null() {
		return "", nil
	}
	return s.label()
}

// null reads null, if that stands next.
func (s *scanner) null() bool {
	s.peek()
	if !bytes.HasPrefix(s.text[s.pos:], []byte("null")) {
		return false
	}
	s.pos += len("null")
	return true
}

// wanted reads the outputs that a request asks for.
func (s *scanner) wanted(r *Request) *fault {
	names, raw := s.lim.Room.lists()
	f := s.array("outputs", s.lim.MaxTensors, func(int) *fault {
		how := rawUnsaid
		f := s.object(wantedKeys, 1, func(key string) *fault {
			if key == "parameters" {
				yes, said, f := s.flag("binary_data")
				if said {
					how = rawSaid(yes)
				}
				return f
			}
			name, f := s.name()
			if f == nil && slices.Contains(names, name) {
				f = s.fault("ask for each output once", "output %.40q is asked for twice", name)
			}
			names = append(names, name)
			return f
		})
		raw = append(raw, how)
		return f
	})
	s.lim.Room.keep(names, raw)
	r.Outputs, s.raw = names, raw
	return f
}

// tensors reads the inputs of a request or the outputs of a response. parameters
// reads those of one tensor, and returns how many raw bytes it has, or noRaw.
func (s *scanner) tensors(what string, parameters func(*scanner) (int, *fault)) ([]Tensor, *fault) {
	list := s.lim.Room.tensors()
	if s.answer != nil {
		list = s.answer.one[:0]
	}
	f := s.array(what, s.lim.MaxTensors, func(int) *fault {
		list = append(list, Tensor{})
		t := &list[len(list)-1]
		f := s.tensor(t, parameters)
		if f == nil && slices.ContainsFunc(list[:len(list)-1], func(u Tensor) bool { return u.Name == t.Name }) {
			f = s.fault("give each tensor its own name", "two tensors are named %.40q", t.Name)
		}
		return f
	})
	s.lim.Room.keepTensors(list)
	return list, f
}

// tensor reads one tensor. Keys come in any order, and data cannot be read
// before shape and datatype are known; when it stands first, it is stepped over
// and read at the end.
func (s *scanner) tensor(t *Tensor, parameters func(*scanner) (int, *fault)) *fault {
	early, raw, text := 0, noRaw, false // where data begins, when it came before shape or datatype
	f := s.object(tensorKeys, 3, func(key string) (f *fault) {
		switch key {
		case "name":
			t.Name, f = s.name()
		case "shape":
			t.Shape, f = s.shape()
		case "datatype":
			t.Datatype, f = s.datatype()
		case "parameters":
			raw, f = parameters(s)
		case "data":
			text = true
			if t.Shape != nil && t.Datatype != "" {
				return s.data(t, len(s.text))
			}
			s.peek()
			early = s.pos
			f = s.stepOver()
		}
		return f
	})
	switch {
	case f != nil:
		return f
	case raw != noRaw && text:
		return s.fault("send the tensor one way", "both \"data\" and binary_data_size, and servers differ on which counts")
	case raw != noRaw:
		return s.rawData(t, raw)
	case !text:
		return s.fault("add it", `"data" is missing`)
	case t.Datatype == BF16:
		return s.fault("send it as binary data, or send FP32", "BF16 has no JSON form in the protocol").in(".datatype")
	case early > 0:
		end := s.pos
		s.pos = early
		f = s.data(t, end).in(".data")
		s.pos = end
	}
	return f
}

// datatype reads the name of a datatype.
func (s *scanner) datatype() (Datatype, *fault) {
	s.peek()
	start := s.pos
	b, f := s.quoted(s.lim.MaxNameLen)
	if f != nil {
		return "", f
	}
	if d := DatatypeOf(b); d != "" {
		return d, nil
	}
	s.pos = start
	if r, bad := quote.Unprintable(b); bad {
		return "", s.fault("use printable characters", "the name holds %U, which does not print", r)
	}
	if Datatype(strings.ToUpper(string(b))).Valid() {
		return "", s.fault("write it in capitals", "unknown datatype %.40q", b)
	}
	return "", s.fault("known are BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64 and BYTES", "unknown datatype %.40q", b)
}

// datatypes are all of them, the ones that models take most first.
var datatypes = [...]Datatype{FP32, Int64, Bytes, FP64, Int32, Uint8, FP16, Bool, Int8, Int16, Uint16, Uint32, Uint64, BF16}

// DatatypeOf returns the datatype of that name, or "".
func DatatypeOf(b []byte) Datatype {
	for _, d := range datatypes {
		if string(d) == string(b) {
			return d
		}
	}
	return ""
}

// shape reads the dimensions of a tensor and takes its elements off the budget
// before anything is allocated for them.
func (s *scanner) shape() ([]int64, *fault) {
	dims := s.ints().take(s.lim.MaxRank)
	total := int64(1)
	f := s.array("dimensions", s.lim.MaxRank, func(i int) *fault {
		dim, f := s.signed(64)
		switch {
		case f != nil:
			return f
		case dim < 1:
			return s.fault("every dimension is at least 1", "a dimension of %d", dim)
		case i == 0 && dim > int64(s.lim.MaxRows):
			return s.fault("send fewer rows at once", "%d rows, more than the limit of %d", dim, s.lim.MaxRows)
		case dim > int64(s.left)/total:
			return s.fault("send fewer rows at once", "more elements than the limit of %d in all", s.lim.MaxElements)
		}
		total *= dim
		dims = append(dims, dim)
		return nil
	})
	s.left -= int(total)
	return dims[:len(dims):len(dims)], f
}

// bypasses says, for the parameters known to carry something past a filter, how.
var bypasses = []struct{ prefix, why string }{
	{"binary_data", "moves tensors out of the JSON text, and has no place here"},
	{"shared_memory_", "moves the tensor through memory that the firewall never sees"},
	{"classification", "turns scores into text, past every rule about scores"},
	{"sequence_", "ties requests together in the model server, past every count of single ones"},
}

// Barred says, for a parameter that a request may not have, what is wrong with it and
// what to do.
func Barred(name []byte) (hint, msg string) {
	for _, p := range bypasses {
		if strings.HasPrefix(strings.ToLower(string(name)), p.prefix) {
			return "leave it out", fmt.Sprintf("parameter %.40q %s", name, p.why)
		}
	}
	return "leave it out: no parameters are passed on", fmt.Sprintf("parameter %.40q is not allowed", name)
}

// parameters reads the parameters of a part of a request: an empty object, or one
// with the one parameter that this part may have, whose value read reads. Nothing of
// them travels on, so anything else in them would be silently ignored.
func (s *scanner) parameters(may string, read func() *fault) (said bool, f *fault) {
	if f := s.open('{', "'{'"); f != nil {
		return false, f
	}
	if more, f := s.more('}', true); f != nil || !more {
		return false, f
	}
	s.peek()
	start := s.pos
	b, f := s.quoted(s.lim.MaxNameLen)
	if f != nil {
		return false, f
	}
	if string(b) != may {
		s.pos = start
		hint, msg := Barred(b)
		return false, s.fault(hint, "%s", msg)
	}
	if f := s.open(':', "':'"); f != nil {
		return false, f
	}
	if f := read(); f != nil {
		return false, f.in("." + may)
	}
	more, f := s.more('}', false)
	if f == nil && more {
		f = s.fault("", "more parameters than %q", may)
	}
	return true, f
}

// flag reads parameters of which one, true or false, may be there.
func (s *scanner) flag(may string) (yes, said bool, f *fault) {
	said, f = s.parameters(may, func() (f *fault) {
		yes, f = s.boolean(1)
		return f
	})
	return yes, said, f
}

// maxParameters bounds the parameters of one object in a response.
const maxParameters = 32

// answerParameters are dropParameters of a tensor, which may have raw bytes.
func (s *scanner) answerParameters() (int, *fault) { return s.dropParameters("binary_data_size") }

// dropParameters reads the parameters of a response, null or an object of plain
// values, and keeps none of them: what is not in the exchange reaches nobody. It
// returns the one that is a size, or noRaw.
func (s *scanner) dropParameters(size string) (int, *fault) {
	raw := noRaw
	if s.null() {
		return raw, nil
	}
	if f := s.open('{', "'{'"); f != nil {
		return raw, f
	}
	var seen []string
	for {
		more, f := s.more('}', len(seen) == 0)
		if f != nil || !more {
			return raw, f
		}
		key, f := s.name()
		switch {
		case f != nil:
			return raw, f
		case slices.Contains(seen, key):
			return raw, s.fault("", "key %q appears twice", key)
		case len(seen) == maxParameters:
			return raw, s.fault("", "more than %d parameters", maxParameters)
		}
		seen = append(seen, key)
		if f := s.open(':', "':'"); f != nil {
			return raw, f
		}
		if key == size {
			raw, f = s.size()
		} else {
			f = s.plain()
		}
		if f != nil {
			return raw, f.in(fmt.Sprintf(".%q", key))
		}
	}
}

// plain reads a string, a number, a boolean or null, and forgets it.
func (s *scanner) plain() (f *fault) {
	switch c := s.peek(); {
	case c == '"':
		_, f = s.quoted(s.lim.MaxBytesLen)
	case c == '-' || isDigit(c):
		f = s.number(new(decimal.Number))
	case s.null():
	default:
		_, f = s.boolean(1)
	}
	return f
}
