package artefact

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/pavise/pavise/internal/plainjson"
)

// Bounds of what one file may hold.
const (
	maxDepth   = 8        // archives within archives
	maxParts   = 1 << 17  // members of all archives together
	maxSpooled = 64 << 20 // bytes of a member that is read here and there, not from front to back
	peek       = 1 << 12
)

// A part is one thing to be looked at: a file, or something in one.
type part struct {
	file, member string
	depth        int
	in           *bufio.Reader
	at           io.ReaderAt // nil of what comes only once
	size         int64       // of at
	dir          string      // where the file lies on disk; "" of members
}

// inside is a part within a part.
func (w part) inside(name string, r io.Reader, size int64) part {
	inner := part{file: w.file, member: shownName(name), depth: w.depth + 1, in: bufio.NewReaderSize(r, peek), size: size}
	if w.member != "" {
		inner.member = w.member + "!" + inner.member
	}
	if at, ok := r.(io.ReaderAt); ok {
		inner.at = at
	}
	return inner
}

// shownName is the name of a member as it is told, whatever it holds.
func shownName(name string) string {
	if len(name) > 200 {
		name = name[:200] + "…"
	}
	return strings.ToValidUTF8(name, "?")
}

// random gives a part that is read here and there.
func (s *scan) random(w part) (io.ReaderAt, int64, bool) {
	if w.at != nil {
		return w.at, w.size, true
	}
	b, err := io.ReadAll(io.LimitReader(w.in, maxSpooled+1))
	switch {
	case err != nil:
		s.cut(w, err)
		return nil, 0, false
	case len(b) > maxSpooled:
		s.tell(w, Finding{Severity: Unreadable, Rule: "size", Why: fmt.Sprintf("it is packed, and has more than %d MiB: too much to be read here and there", maxSpooled>>20), Next: nextUnpack})
		return nil, 0, false
	}
	return bytes.NewReader(b), int64(len(b)), true
}

// cut tells of a part that cannot be read to its end.
func (s *scan) cut(w part, err error) {
	if s.bombed {
		return
	}
	s.tell(w, Finding{Severity: Unreadable, Rule: "cut", Why: "it cannot be unpacked to its end: " + clip(err.Error()), Next: nextAgain})
}

// A form is something that a file can be.
type form struct {
	name string
	is   func(head []byte) bool
	look func(*scan, part)
}

func magic(all ...string) func([]byte) bool {
	return func(head []byte) bool {
		for _, m := range all {
			if bytes.HasPrefix(head, []byte(m)) {
				return true
			}
		}
		return false
	}
}

// forms are asked in order; what is none of them may still be a pickle.
func forms() []form {
	return []form{
		{"ZIP archive", magic("PK\x03\x04", "PK\x05\x06", "PK\x07\x08"), (*scan).zip},
		{"NumPy array", magic(npyMagic), (*scan).npy},
		{"gzip", magic("\x1f\x8b\x08"), (*scan).gzip},
		{"bzip2", isBzip2, (*scan).bzip2},
		{"xz", magic("\xfd7zXZ\x00"), (*scan).xz},
		{"LZMA", isLZMA, (*scan).lzma},
		{"HDF5", isHDF5, (*scan).hdf5},
		{"GGUF", magic("GGUF"), (*scan).gguf},
		{"7-Zip archive", magic("7z\xbc\xaf\x27\x1c"), unopened("a 7-Zip archive")},
		{"RAR archive", magic("Rar!\x1a\x07"), unopened("a RAR archive")},
		{"Zstandard", magic("\x28\xb5\x2f\xfd"), unopened("compressed with Zstandard")},
		{"LZ4", magic("\x04\x22\x4d\x18"), unopened("compressed with LZ4")},
		{"program", magic("\x7fELF", "MZ\x90\x00", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe"), program},
		{"tar archive", isTar, (*scan).tar},
		{"pickle", magic("\x80\x02", "\x80\x03", "\x80\x04", "\x80\x05", "\x80\x01", "\x80\x00"), func(s *scan, w part) { s.pickles(w, w.in, isStorage(w)) }},
		{"zlib", isZlib, (*scan).zlib},
		{"safetensors", isSafetensors, (*scan).safetensors},
	}
}

// look finds out what a part is, and looks into it.
func (s *scan) look(w part) {
	if s.ctx.Err() != nil || s.bombed {
		return
	}
	s.report.Parts++
	if s.parts++; s.parts > maxParts || w.depth > maxDepth {
		if !s.bombed {
			s.bombed = true
			s.tell(w, Finding{Severity: Suspicious, Rule: "archive.bomb", Why: "archives within archives, or more members than any model has", Next: nextUnpack})
		}
		return
	}
	w.in = bufio.NewReaderSize(&counting{s: s, r: w.in, w: w}, peek)
	head, err := w.in.Peek(peek)
	if err != nil && err != io.EOF {
		s.cut(w, err)
		return
	}
	if len(head) == 0 {
		return
	}
	for _, f := range forms() {
		if f.is(head) {
			s.misnamed(w, f.name)
			if f.name == "pickle" {
				f.look(s, w)
			} else {
				s.both(w, f.look)
			}
			if ext := strings.ToLower(path.Ext(name(w))); w.at != nil && slices.Contains(byName, ext) && "."+f.name != ext && (f.name != "HDF5" || ext[:2] != ".h") { // a loader that goes by the name looks for no other form
				w.in = bufio.NewReaderSize(&spending{s, io.NewSectionReader(w.at, 0, w.size), w}, peek)
				head, _ = w.in.Peek(peek)
				s.other(w, head)
			}
			s.appended(w, f.name)
			return
		}
	}
	s.other(w, head)
	s.appended(w, "")
}

// both looks at a part as what it says it is, and at a pickle from its first byte on: what is
// both, pickle.load runs.
func (s *scan) both(w part, look func(*scan, part)) {
	if w.at != nil {
		if look(s, w); !s.bombed && s.ctx.Err() == nil {
			s.pickles(w, bufio.NewReader(&spending{s, io.NewSectionReader(w.at, 0, w.size), w}), true)
		}
		return
	}
	r, into := io.Pipe() // what comes only once two have to read at once
	ended := make(chan followed, 1)
	go func() {
		f := follow(bufio.NewReader(r), true)
		r.Close()
		ended <- f
	}()
	also := &sink{into: into}
	w.in = bufio.NewReaderSize(io.TeeReader(w.in, also), peek)
	look(s, w)
	for b := make([]byte, 1<<15); !also.closed; {
		if _, err := w.in.Read(b); err != nil {
			break
		}
	}
	into.Close()
	if f := <-ended; !s.bombed {
		s.followed(w, f)
	}
}

// A sink takes what there is until nobody wants more.
type sink struct {
	into   *io.PipeWriter
	closed bool
}

// Write implements io.Writer. It never fails.
func (k *sink) Write(b []byte) (int, error) {
	if !k.closed {
		_, err := k.into.Write(b)
		k.closed = err != nil
	}
	return len(b), nil
}

// A spending reads what was looked at before.
type spending struct {
	s *scan
	r io.Reader
	w part
}

// Read implements io.Reader.
func (c *spending) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	if c.s.spend(c.w, int64(n)); c.s.bombed || c.s.ctx.Err() != nil {
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// byName are endings by which other looks at a file, whatever form matched.
var byName = []string{".onnx", ".pb", ".meta", ".json", ".jinja", ".safetensors", ".h5", ".hdf5"}

// isHDF5 finds the mark of HDF5, which may stand behind a block of something else.
func isHDF5(head []byte) bool {
	for _, at := range []int{0, 512, 1024, 2048} {
		if len(head) > at && bytes.HasPrefix(head[at:], []byte("\x89HDF\r\n\x1a\n")) {
			return true
		}
	}
	return false
}

// isStorage says whether a part has the name of a tensor's numbers in an archive of PyTorch,
// which begin like anything by chance. A pickle among them must be plainly one.
func isStorage(w part) bool {
	base := path.Base(name(w))
	return w.member != "" && strings.Trim(base, "0123456789") == "" && base != ""
}

// other looks at what does not say what it is.
func (s *scan) other(w part, head []byte) {
	ext := strings.ToLower(path.Ext(name(w)))
	switch {
	case ext == ".h5" || ext == ".hdf5":
		s.both(w, (*scan).hdf5)
	case ext == ".pbtxt":
		s.tell(w, Finding{Severity: Unreadable, Rule: "protobuf", Why: "it is a graph written as text, which is not read here", Next: "ask for it in binary, as .pb"})
		s.both(w, func(*scan, part) {})
	case ext == ".py" && strings.Contains(w.member, "code/"):
		s.both(w, (*scan).script)
	case ext == ".onnx" || ext == ".pb" || ext == ".meta" || isProtobuf(head):
		s.both(w, func(s *scan, w part) { s.protobuf(w, ext) })
	case ext == ".json" || ext == ".jinja" || ext == ".j2" || isObject(head):
		s.both(w, func(s *scan, w part) { s.config(w, ext) })
	case ext == ".safetensors":
		s.both(w, (*scan).safetensors)
	default:
		named := ext == ".pkl" || ext == ".pickle" || ext == ".p" || ext == ".joblib" || ext == ".pt" || ext == ".pth" || ext == ".dill" || path.Base(name(w)) == "data.pkl"
		s.pickles(w, w.in, !named)
	}
}

// name is the innermost name of a part.
func name(w part) string {
	if w.member != "" {
		return w.member[strings.LastIndex(w.member, "!")+1:]
	}
	return w.file
}

// safeNames are endings that people take for formats which cannot run code.
var safeNames = []string{".safetensors", ".onnx", ".json", ".gguf", ".txt", ".csv", ".md", ".yaml", ".yml", ".png", ".jpg"}

// misnamed tells of a pickle, or of an archive, that goes by the name of something harmless.
func (s *scan) misnamed(w part, what string) {
	ext := strings.ToLower(path.Ext(name(w)))
	for _, safe := range safeNames {
		if ext == safe && what != strings.TrimPrefix(safe, ".") && !(safe == ".gguf" && what == "GGUF") {
			s.tell(w, Finding{Severity: Suspicious, Rule: "name", Why: "it goes by the name of " + safe + " and is something else: " + what, Next: nextVet})
		}
	}
}

// appended looks for a ZIP archive behind something else: readers of ZIP begin at the end.
func (s *scan) appended(w part, what string) {
	if w.at == nil || what == "ZIP archive" || w.size < 22 {
		return
	}
	if s.spend(w, min(w.size, 1<<16+endHead)); s.bombed {
		return
	}
	if directories, err := zipDirectories(w.at, w.size); len(directories) > 0 || err == errEnds {
		s.tell(w, Finding{Severity: Suspicious, Rule: "archive.appended", Why: "a ZIP archive stands at its end: readers of ZIP see another file than others do", Next: nextVet})
		s.zip(w)
	}
}

// counting counts what is unpacked, and ends what grows without end.
type counting struct {
	s *scan
	r io.Reader
	w part
}

// Read implements io.Reader.
func (c *counting) Read(b []byte) (int, error) {
	if c.s.bombed || c.s.ctx.Err() != nil {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.r.Read(b)
	c.s.unpacked += int64(n)
	c.s.report.Bytes += int64(n)
	if c.s.unpacked > c.s.free && c.s.unpacked/c.s.ratio > c.s.packed {
		c.s.bombed = true
		c.s.tell(c.w, Finding{Severity: Suspicious, Rule: "archive.bomb", Why: fmt.Sprintf("it unpacks to more than %d times its size, as a bomb does", c.s.ratio), Next: nextUnpack})
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// unopened tells of what cannot be looked into.
func unopened(what string) func(*scan, part) {
	return func(s *scan, w part) {
		s.tell(w, Finding{Severity: Unreadable, Rule: "archive.unread", Why: "it is " + what + ", which is not opened here", Next: nextUnpack})
	}
}

// program tells of machine code beside a model.
func program(s *scan, w part) {
	s.tell(w, Finding{Severity: Suspicious, Rule: "program", Why: "it is a program or a library of machine code: a model needs none", Next: nextNever})
}

// isObject says whether what a part begins with reads as an object of JSON, or as a template.
func isObject(head []byte) bool {
	text := bytes.TrimLeft(plainjson.UTF8(head), " \t\r\n")
	for _, c := range text {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' {
			return false
		}
	}
	return len(text) > 0 && text[0] == '{'
}
