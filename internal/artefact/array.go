package artefact

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// array passes over the bytes of an array that joblib writes into the stream behind its
// wrapper, or follows the pickle that it writes there for an array of objects (joblib,
// numpy_pickle.py). What is not as joblib writes it, pickle.load reads in another way.
func (p *pickle) array(state *value) error {
	kind := state.key("dtype")
	size, objects := width(kind)
	if why := unlike(state); why != "" {
		p.found(Suspicious, "joblib.array", nextVet, "the wrapper of an array %s, as joblib writes none: loaders differ in what they read behind it", why)
	}
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
	if align := state.key("numpy_array_alignment_bytes"); align == nil || align.kind != aNumber {
		p.fork()
	} else if err := p.pad(); err != nil {
		return err
	}
	return p.skip(count * size)
}

// pad passes over what stands before the bytes of an array: how many bytes follow, from 1 to
// 16, and these, 0xff each. No pickle goes on by them; by something else one may.
func (p *pickle) pad() error {
	head, _ := p.in.Peek(17)
	if len(head) == 0 {
		return p.broken(io.EOF)
	}
	n := int(head[0])
	if n < 1 || n > 16 || len(head) > n && bytes.Count(head[1:n+1], []byte{0xff}) != n {
		p.found(Suspicious, "joblib.array", nextVet, "what stands before the bytes of an array is not what joblib writes: loaders differ in what they read")
		p.fork()
	}
	return p.skip(1 + int64(n))
}

// unlike says what of the state of a wrapper is not as joblib writes it, or "".
func unlike(state *value) string {
	if state.kind != aDict || len(state.items) >= maxHeld {
		return "has a state that is no dictionary of a few"
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(state.items); i += 2 {
		switch key := state.items[i]; {
		case key.kind != aText || seen[key.text]:
			return "has a key twice, or one that is no text"
		case !slices.Contains([]string{"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"}, key.text):
			return "has the key " + clip(key.text)
		default:
			seen[key.text] = true
		}
	}
	dtype := state.key("dtype")
	if align := state.key("numpy_array_alignment_bytes"); align != nil && (align.kind != aNumber || align.n != 16) {
		return "lies on other than 16 bytes"
	}
	if n, _ := width(dtype); n > 0 && dtype.state != nil && len(dtype.state.items) > 5 { // of a type whose size is not in its kind, its state has it, too
		if size := dtype.state.items[5]; size.kind != aNumber || size.n >= 0 && size.n != n {
			return "has a type of two sizes"
		}
	}
	return ""
}

// maxForked bounds what is copied to go on in two ways.
const maxForked = 1 << 24

// fork goes on as pickle.load does, for which no bytes are passed over, as far as is seen.
func (p *pickle) fork() {
	if p.forks += len(p.stack) + len(p.memo) + len(p.sparse); p.forks > maxForked {
		p.found(Unreadable, "joblib.array", nextConvert, "it has too many arrays to go on behind each as pickle.load does")
		return
	}
	seen, _ := p.in.Peek(peek)
	var held []Finding
	other := &pickle{in: bufio.NewReader(bytes.NewReader(seen)), read: p.read, proto: p.proto, depth: p.depth, forked: true, said: map[Severity]int{},
		stack: slices.Clone(p.stack), marks: slices.Clone(p.marks), memo: slices.Clone(p.memo), sparse: maps.Clone(p.sparse),
		tell: func(f Finding) { held = append(held, f) }, nested: p.nested}
	end := other.onward()
	if plainly(end, held) {
		for _, f := range held {
			p.tell(f)
		}
		return
	}
	if end.bound || len(seen) == peek && end.cut {
		p.found(Unreadable, "joblib.array", nextConvert, "pickle.load takes the bytes of an array for opcodes, further than is looked at: joblib 1.2 and later write what it does not")
	}
}

// inline follows a pickle within a pickle, which has a stack and a memo of its own.
func (p *pickle) inline() error {
	if p.depth > maxDepth {
		p.bound = true
		return p.wrong("pickles stand in pickles without end")
	}
	inner := &pickle{in: p.in, read: p.read, tell: p.tell, nested: p.nested, kept: p.kept, depth: p.depth + 1, said: p.said, forks: p.forks}
	s := inner.run()
	p.read, p.kept, p.calls, p.acts, p.forks, p.bound = inner.read, inner.kept, p.calls+s.calls, p.acts+s.acts, inner.forks, p.bound || s.bound
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

// A followed is what came of following the pickles of a stream.
type followed struct {
	held   []Finding
	loaded [][]byte // what is handed to a loader
	inner  [][]byte // bytes that begin as a pickle
}

// pickles follows all pickles of a stream, and tells of them.
func (s *scan) pickles(w part, in *bufio.Reader, tentative bool) {
	s.followed(w, follow(in, tentative))
}

// followed tells of what was followed, and looks at what is in it.
func (s *scan) followed(w part, f followed) {
	for _, one := range f.held {
		s.tell(w, one)
	}
	for _, b := range f.loaded {
		s.look(w.inside("bytes", bytes.NewReader(b), int64(len(b))))
	}
	for _, b := range f.inner {
		inner := w.inside("bytes", bytes.NewReader(b), int64(len(b)))
		if inner.depth > maxDepth {
			s.tell(w, Finding{Severity: Unreadable, Rule: "pickle.nested", Why: "pickles stand in the bytes of pickles without end", Next: nextUnpack})
			return
		}
		if s.spend(w, int64(len(b))); !s.bombed {
			s.pickles(inner, inner.in, true)
		}
	}
}

// follow follows all pickles of a stream. Of a tentative one, which nothing says to be a
// pickle, there is something only where one of them is plainly one.
func follow(in *bufio.Reader, tentative bool) (f followed) {
	p := &pickle{in: in, said: map[Severity]int{}, tell: func(one Finding) { f.held = append(f.held, one) }}
	p.nested = func(b []byte, loads bool) {
		if loads {
			f.loaded = append(f.loaded, b)
		} else {
			f.inner = append(f.inner, b)
		}
	}
	torch, plain := false, !tentative
	for n := 0; ; n++ {
		before, began := len(f.held), p.read
		end := p.run()
		torch = torch || n == 0 && end.err == nil && end.result.kind == aNumber && end.result.text == string(torchMagic)
		this := plainly(end, f.held[before:])
		plain = plain || this
		if end.err != nil {
			if !plain && !end.bound {
				return followed{}
			}
			if torch && n > 4 && !this && !end.bound { // the numbers of tensors
				f.held = f.held[:before]
				return f
			}
			f.torn(p, began, n, end, before)
			return f
		}
		if rest, _ := in.Peek(64); len(rest) < 64 && len(bytes.TrimSpace(rest)) == 0 {
			break // the end, or the end of a line that an editor put there
		}
		if n == maxStreams {
			f.held = append(f.held, Finding{Severity: Unreadable, Rule: "pickle.many", Offset: p.read, Why: "more pickles follow one another than are looked at", Next: nextUnpack})
			return f
		}
	}
	if !plain {
		return followed{}
	}
	return f
}

// plainly says whether what was followed for a try was a pickle: it imports what is dangerous,
// calls what has the name of something in a module, or ends as pickles do and imports.
func plainly(end stopped, held []Finding) bool {
	for _, f := range held {
		if f.Severity == Malicious {
			return true
		}
	}
	return end.err == nil && end.calls > 0 || end.acts > 0
}

// torn tells of a pickle that breaks off. Behind a whole one, what is no pickle at all is
// something else that somebody put there.
func (f *followed) torn(p *pickle, began int64, n int, end stopped, before int) {
	worst := Clean
	for _, one := range f.held[before:] {
		if one.Severity.rank() > worst.rank() {
			worst = one.Severity
		}
	}
	if n > 0 && worst != Malicious && end.acts == 0 && !end.bound {
		f.held = append(f.held[:before], Finding{Severity: Suspicious, Rule: "pickle.tail", Offset: began, Why: "something follows the end of the pickle that is none", Next: nextVet})
		return
	}
	why := strings.TrimPrefix(end.err.Error(), errPickle.Error()+": ")
	broken := Finding{Severity: Unreadable, Rule: "pickle.broken", Offset: p.at, Opcode: opcodes[p.op], Why: "the pickle breaks off here: " + why, Next: nextAgain}
	if end.calls > 0 && worst != Clean {
		broken.Why += "; what stands before it is done all the same when it is loaded"
	}
	f.held = append(f.held, broken)
	f.search(p)
}

// search looks through what is left behind a broken pickle for names that only an attack has:
// a loader that is more lenient would get there.
func (f *followed) search(p *pickle) {
	const step = 1 << 16
	buf := make([]byte, 0, 2*step)
	for at := p.read; ; {
		n, err := io.ReadFull(p.in, buf[len(buf):len(buf)+step])
		buf = buf[:len(buf)+n]
		for _, name := range tellTales {
			if i := bytes.Index(buf, []byte(name)); i >= 0 {
				f.held = append(f.held, Finding{Severity: Malicious, Rule: "pickle.hidden", Offset: at + int64(i), Opcode: "GLOBAL", Next: nextNever,
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
