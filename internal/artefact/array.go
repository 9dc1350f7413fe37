package artefact

import (
	"bufio"
	"bytes"
	"io"
	"math"
	"strconv"
	"strings"
)

// array passes over the bytes of an array that joblib writes into the stream behind its
// wrapper, or follows the pickle that it writes there for an array of objects (joblib,
// numpy_pickle.py).
func (p *pickle) array(state *value) error {
	kind := state.key("dtype")
	size, objects := width(kind)
	if objects {
		return p.inline()
	}
	count := int64(1)
	shape := state.key("shape")
	if size == 0 || shape == nil || shape.kind != aTuple {
		return p.wrong("an array follows whose size it does not say")
	}
	for _, n := range shape.items {
		if n.kind != aNumber || n.n < 0 || n.n > 0 && count > math.MaxInt64/64/size/n.n {
			return p.wrong("an array follows whose size cannot be")
		}
		count *= n.n
	}
	if align := state.key("numpy_array_alignment_bytes"); align != nil && align.kind == aNumber {
		pad, err := p.in.ReadByte()
		if err != nil {
			return p.broken(err)
		}
		p.read++
		if err := p.skip(int64(pad)); err != nil {
			return err
		}
	}
	return p.skip(count * size)
}

// inline follows a pickle within a pickle, which has a stack and a memo of its own.
func (p *pickle) inline() error {
	if p.depth > maxDepth {
		return p.wrong("pickles stand in pickles without end")
	}
	inner := &pickle{in: p.in, read: p.read, tell: p.tell, nested: p.nested, kept: p.kept, depth: p.depth + 1}
	s := inner.run()
	p.read, p.kept, p.calls = inner.read, inner.kept, p.calls+s.calls
	return s.err
}

// width returns how many bytes an element of a dtype has, by what numpy.dtype was called with.
func width(dtype *value) (size int64, objects bool) {
	if dtype == nil || dtype.kind != anObject || dtype.made == nil || dtype.made.text != "numpy.dtype" || len(dtype.items) == 0 || len(dtype.items[0].items) == 0 {
		return 0, false
	}
	name := strings.TrimLeft(dtype.items[0].items[0].text, "<>|=")
	if len(name) < 2 {
		return 0, strings.HasPrefix(name, "O")
	}
	n, err := strconv.ParseInt(name[1:], 10, 32)
	switch {
	case name[0] == 'O', name[0] == 'V' && hasObjects(dtype.state, new(int)):
		return 0, true
	case err != nil || n < 0:
		return 0, false
	case name[0] == 'U':
		return 4 * n, false
	}
	return n, false
}

// hasObjects looks for the dtype of objects in what a dtype of fields was built with.
// Of more values than dtypes have, whatever refers to whatever, it believes that there is one.
func hasObjects(v *value, seen *int) bool {
	if *seen++; v == nil {
		return false
	}
	if *seen > 1000 {
		return true
	}
	if v.made != nil && len(v.items) > 0 && len(v.items[0].items) > 0 && strings.HasPrefix(strings.TrimLeft(v.items[0].items[0].text, "<>|="), "O") {
		return true
	}
	for _, item := range v.items {
		if hasObjects(item, seen) {
			return true
		}
	}
	return false
}

// maxStreams bounds the pickles that follow one another.
const maxStreams = 1 << 16

// torchMagic is what the old format of PyTorch begins with: a pickle of this number, four
// pickles more, and then the numbers of tensors as they are.
var torchMagic = []byte("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")

// pickles follows all pickles of a stream. Of a tentative one, which nothing says to be a
// pickle, only what is plainly one is told.
func (s *scan) pickles(w part, in *bufio.Reader, tentative bool) {
	var held []Finding
	p := &pickle{in: in, tell: func(f Finding) { held = append(held, f) }}
	p.nested = func(place string, b []byte) { s.look(w.inside(place, bytes.NewReader(b), int64(len(b)))) }
	torch := false
	for n := 0; ; n++ {
		before := len(held)
		began := p.read
		end := p.run()
		if n == 0 && end.err == nil && end.result.kind == aNumber && end.result.text == string(torchMagic) {
			torch = true
		}
		if tentative && n == 0 && !plainly(end, held) {
			return
		}
		if end.err != nil {
			s.torn(w, p, began, n, end, held[before:], &held)
			break
		}
		if torch && n == 4 {
			break
		}
		if rest, _ := in.Peek(64); len(rest) < 64 && len(bytes.TrimSpace(rest)) == 0 {
			break // the end, or the end of a line that an editor put there
		}
		if n == maxStreams {
			held = append(held, Finding{Severity: Unreadable, Rule: "pickle.many", Offset: p.read, Why: "more pickles follow one another than are looked at", Next: nextUnpack})
			break
		}
	}
	for _, f := range held {
		s.tell(w, f)
	}
}

// plainly says whether what was followed for a try was a pickle: it imports what is dangerous,
// or ends as pickles do and calls something.
func plainly(end stopped, held []Finding) bool {
	for _, f := range held {
		if f.Severity == Malicious {
			return true
		}
	}
	return end.err == nil && end.calls > 0
}

// torn tells of a pickle that breaks off. Behind a whole one, what is no pickle at all is
// something else that somebody put there.
func (s *scan) torn(w part, p *pickle, began int64, n int, end stopped, found []Finding, held *[]Finding) {
	worst := Clean
	for _, f := range found {
		if f.Severity.rank() > worst.rank() {
			worst = f.Severity
		}
	}
	if n > 0 && worst != Malicious {
		*held = (*held)[:len(*held)-len(found)]
		*held = append(*held, Finding{Severity: Suspicious, Rule: "pickle.tail", Offset: began, Why: "something follows the end of the pickle that is none", Next: nextVet})
		return
	}
	why := strings.TrimPrefix(end.err.Error(), errPickle.Error()+": ")
	f := Finding{Severity: Unreadable, Rule: "pickle.broken", Offset: p.at, Opcode: opcodes[p.op], Why: "the pickle breaks off here: " + why, Next: nextAgain}
	if end.calls > 0 && worst != Clean {
		f.Why += "; what stands before it is done all the same when it is loaded"
	}
	*held = append(*held, f)
	s.search(w, p)
}

// search looks through what is left behind a broken pickle for names that only an attack has:
// a loader that is more lenient would get there.
func (s *scan) search(w part, p *pickle) {
	const step = 1 << 16
	buf := make([]byte, 0, 2*step)
	for at := p.read; ; {
		n, err := io.ReadFull(p.in, buf[len(buf):len(buf)+step])
		buf = buf[:len(buf)+n]
		for _, name := range tellTales {
			if i := bytes.Index(buf, []byte(name)); i >= 0 {
				s.tell(w, Finding{Severity: Malicious, Rule: "pickle.hidden", Offset: at + int64(i), Opcode: "GLOBAL", Next: nextNever,
					Why: "behind the place where the pickle breaks off it imports " + strings.ReplaceAll(strings.Trim(name[1:], "\n"), "\n", ".")})
				return
			}
		}
		if err != nil {
			return
		}
		keep := min(len(buf), 64)
		at += int64(len(buf) - keep)
		buf = append(buf[:0], buf[len(buf)-keep:]...)
	}
}

// tellTales are imports as they stand in a pickle, whole with opcode and ends of lines.
var tellTales = []string{
	"cos\nsystem\n", "cposix\nsystem\n", "cnt\nsystem\n", "cos\npopen\n", "csubprocess\n", "cbuiltins\neval\n", "cbuiltins\nexec\n",
	"c__builtin__\neval\n", "c__builtin__\nexec\n", "cbuiltins\ngetattr\n", "c__builtin__\ngetattr\n", "crunpy\n", "csocket\n", "cwebbrowser\n",
	"\x8c\x02os\x94\x8c\x06system\x94\x93", "\x8c\x05posix\x94\x8c\x06system\x94\x93", "\x8c\x02nt\x94\x8c\x06system\x94\x93",
}
