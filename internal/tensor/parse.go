package tensor

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pavise/pavise"
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

// Weight returns how many bytes a body and what is read from it take together,
// at most: eight for each element, or the header of a slice where they may be
// BYTES, which an escape could spell, too.
func (l Limits) Weight(body []byte) int {
	size := 8
	if bytes.Contains(body, []byte(Bytes)) || bytes.IndexByte(body, '\\') >= 0 {
		size = 24
	}
	return len(body) + size*min(l.MaxElements, 1+bytes.Count(body, comma))
}

// ParseRequest reads the body of POST v2/models/{model}/infer of the Open
// Inference Protocol v2, REST form, without the binary extension. The error is a
// *pavise.Error of kind Invalid that says what is wrong, in which field, at which
// byte and what to do.
//
// It is stricter than JSON: one object and nothing around it; only known keys,
// spelled exactly and given once; no parameters; and data that has the shape and
// the datatype it declares. The request shares no memory with body.
func ParseRequest(body []byte, lim Limits) (*Request, error) {
	s := newScanner(body, lim)
	r := new(Request)
	if f := s.whole(func() *fault { return s.request(r) }); f != nil {
		return nil, f.error(pavise.Invalid)
	}
	return r, nil
}

// ParseResponse reads a model server's answer as strictly as ParseRequest reads
// a request, but for what servers add without being asked: an absent id, version
// or parameters may be null, and parameters may hold plain values, which are
// read and dropped. The error is a *pavise.Error of kind Unavailable, because it
// is not the caller's fault; its Msg is for the operator. The response shares no
// memory with body.
func ParseResponse(body []byte, lim Limits) (*Response, error) {
	s := newScanner(body, lim)
	r := new(Response)
	if f := s.whole(func() *fault { return s.response(r) }); f != nil {
		return nil, f.error(pavise.Unavailable)
	}
	return r, nil
}

func newScanner(body []byte, lim Limits) *scanner {
	return &scanner{text: body, lim: lim, left: lim.MaxElements}
}

// whole checks what concerns the body as a whole, around the one value in it.
func (s *scanner) whole(value func() *fault) *fault {
	if len(s.text) > s.lim.MaxBody {
		return s.fault("send fewer rows at once", "%d bytes, more than the limit of %d", len(s.text), s.lim.MaxBody)
	}
	if bytes.HasPrefix(s.text, []byte("\xef\xbb\xbf")) {
		return s.fault("send the text without it", "a byte order mark before the text")
	}
	if !utf8.Valid(s.text) {
		s.pos = firstInvalid(s.text)
		return s.fault("encode the text as UTF-8", "not valid UTF-8")
	}
	if f := value(); f != nil {
		return f
	}
	if s.peek(); s.pos < len(s.text) {
		return s.fault("send exactly one JSON object", "more text after the end of the object")
	}
	return nil
}

// firstInvalid returns where text that is not UTF-8 stops being so.
func firstInvalid(b []byte) int {
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
}

// The keys of each object, required ones first.
var (
	requestKeys  = []string{"inputs", "id", "parameters", "outputs"}
	responseKeys = []string{"model_name", "outputs", "model_version", "id", "parameters"}
	tensorKeys   = []string{"name", "shape", "datatype", "data", "parameters"}
	wantedKeys   = []string{"name", "parameters"}
)

func (s *scanner) request(r *Request) *fault {
	return s.object(requestKeys, 1, func(key string) (f *fault) {
		switch key {
		case "id":
			r.ID, f = s.label()
		case "parameters":
			f = s.noParameters()
		case "inputs":
			r.Inputs, f = s.tensors("inputs", s.noParameters)
		case "outputs":
			r.Outputs, f = s.wanted()
		}
		return f
	})
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
			f = s.dropParameters()
		case "outputs":
			r.Outputs, f = s.tensors("outputs", s.dropParameters)
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
func (s *scanner) wanted() ([]string, *fault) {
	var names []string
	f := s.array("outputs", s.lim.MaxTensors, func(int) *fault {
		return s.object(wantedKeys, 1, func(key string) *fault {
			if key == "parameters" {
				return s.noParameters()
			}
			name, f := s.name()
			if f == nil && slices.Contains(names, name) {
				f = s.fault("ask for each output once", "output %.40q is asked for twice", name)
			}
			names = append(names, name)
			return f
		})
	})
	return names, f
}

// tensors reads the inputs of a request or the outputs of a response.
func (s *scanner) tensors(what string, parameters func() *fault) ([]Tensor, *fault) {
	var list []Tensor
	f := s.array(what, s.lim.MaxTensors, func(int) *fault {
		t, f := s.tensor(parameters)
		if f == nil && slices.ContainsFunc(list, func(u Tensor) bool { return u.Name == t.Name }) {
			f = s.fault("give each tensor its own name", "two tensors are named %.40q", t.Name)
		}
		list = append(list, t)
		return f
	})
	return list, f
}

// tensor reads one tensor. Keys come in any order, and data cannot be read
// before shape and datatype are known; when it stands first, it is stepped over
// and read at the end.
func (s *scanner) tensor(parameters func() *fault) (t Tensor, f *fault) {
	early := 0 // where data begins, when it came before shape or datatype
	f = s.object(tensorKeys, 4, func(key string) (f *fault) {
		switch key {
		case "name":
			t.Name, f = s.name()
		case "shape":
			t.Shape, f = s.shape()
		case "datatype":
			t.Datatype, f = s.datatype()
		case "parameters":
			f = parameters()
		case "data":
			if t.Shape != nil && t.Datatype != "" {
				return s.data(&t, len(s.text))
			}
			s.peek()
			early = s.pos
			f = s.stepOver()
		}
		return f
	})
	if f == nil && early > 0 {
		end := s.pos
		s.pos = early
		f = s.data(&t, end).in(".data")
		s.pos = end
	}
	return t, f
}

// datatype reads the name of a datatype.
func (s *scanner) datatype() (Datatype, *fault) {
	text, f := s.label()
	if f != nil {
		return "", f
	}
	d := Datatype(text)
	switch {
	case d.Valid():
		return d, nil
	case d == "BF16":
		return "", s.fault("send FP32", "BF16 has no JSON form in the protocol")
	case Datatype(strings.ToUpper(text)).Valid():
		return "", s.fault("write it in capitals", "unknown datatype %.40q", text)
	}
	return "", s.fault("known are BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64 and BYTES", "unknown datatype %.40q", text)
}

// shape reads the dimensions of a tensor and takes its elements off the budget
// before anything is allocated for them.
func (s *scanner) shape() ([]int64, *fault) {
	var dims []int64
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
	return dims, f
}

// bypasses says, for the parameters known to carry something past a filter, how.
var bypasses = []struct{ prefix, why string }{
	{"binary_data", "moves tensors out of the JSON text, past the firewall unread"},
	{"shared_memory_", "moves the tensor through memory that the firewall never sees"},
	{"classification", "turns scores into text, past every rule about scores"},
}

// noParameters reads the parameters of a request: an empty object, or a fault.
// Nothing of them travels on, so anything in them would be silently ignored.
func (s *scanner) noParameters() *fault {
	if f := s.open('{', "'{'"); f != nil {
		return f
	}
	if more, f := s.more('}', true); f != nil || !more {
		return f
	}
	start := s.pos
	b, f := s.quoted(s.lim.MaxNameLen)
	if f != nil {
		return f
	}
	s.pos = start
	for _, p := range bypasses {
		if strings.HasPrefix(strings.ToLower(string(b)), p.prefix) {
			return s.fault("leave it out", "parameter %.40q %s", b, p.why)
		}
	}
	return s.fault("leave parameters out: none are passed on", "parameter %.40q is not allowed", b)
}

// maxParameters bounds the parameters of one object in a response.
const maxParameters = 32

// dropParameters reads the parameters of a response, null or an object of plain
// values, and keeps none of them: what is not in the exchange reaches nobody.
func (s *scanner) dropParameters() *fault {
	if s.null() {
		return nil
	}
	if f := s.open('{', "'{'"); f != nil {
		return f
	}
	seen := make(map[string]bool)
	for {
		more, f := s.more('}', len(seen) == 0)
		if f != nil || !more {
			return f
		}
		key, f := s.name()
		switch {
		case f != nil:
			return f
		case seen[key]:
			return s.fault("", "key %q appears twice", key)
		case len(seen) == maxParameters:
			return s.fault("", "more than %d parameters", maxParameters)
		}
		seen[key] = true
		if f := s.open(':', "':'"); f != nil {
			return f
		}
		if f := s.plain(); f != nil {
			return f.in(fmt.Sprintf(".%q", key))
		}
	}
}

// plain reads a string, a number, a boolean or null, and forgets it.
func (s *scanner) plain() (f *fault) {
	switch c := s.peek(); {
	case c == '"':
		_, f = s.quoted(s.lim.MaxBytesLen)
	case c == '-' || isDigit(c):
		f = s.number(new(number))
	case s.null():
	default:
		_, f = s.boolean()
	}
	return f
}
