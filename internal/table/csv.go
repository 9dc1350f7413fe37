package table

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pavise/pavise/internal/quote"
)

// lines reads text line by line.
type lines struct {
	f    *File
	in   *bufio.Reader
	room []byte // of a line that is longer than in's buffer
	at   int64  // the line that was read last, counted from 1
	end  []byte // of the line that was read last: LF, CRLF or nothing
}

func newLines(f *File, in *bufio.Reader) *lines {
	if head, _ := in.Peek(len(bom)); bytes.Equal(head, bom) {
		_, _ = in.Discard(len(bom)) // it was there
	}
	return &lines{f: f, in: in}
}

// next returns a line without its end, which is LF or CRLF. It is good until the next one
// is read.
func (l *lines) next() ([]byte, error) {
	l.at++
	line, err := l.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		l.room = l.room[:0]
		for err == bufio.ErrBufferFull {
			l.room = append(l.room, line...)
			if len(l.room) > maxRecord {
				return nil, l.fault("is it a table at all?", "the line is longer than %d MiB", maxRecord>>20)
			}
			line, err = l.in.ReadSlice('\n')
		}
		l.room = append(l.room, line...)
		line = l.room
	}
	switch {
	case err != nil && err != io.EOF:
		return nil, l.f.readFault(err)
	case len(line) == 0:
		return nil, io.EOF
	}
	whole := line
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	l.end = append(l.end[:0], whole[len(line):]...)
	switch {
	case bytes.IndexByte(line, 0) >= 0:
		return nil, l.fault("is it a table at all?", "byte %d is NUL", bytes.IndexByte(line, 0)+1)
	case !utf8.Valid(line):
		return nil, l.fault("write the file as UTF-8", "byte %d is not UTF-8", quote.Invalid(line)+1)
	}
	return line, nil
}

// rest is called behind an empty line: only empty ones may follow.
func (l *lines) rest() error {
	empty := l.at
	for {
		line, err := l.next()
		if err != nil {
			return err
		}
		if len(line) > 0 {
			return l.f.faultAt(empty, "take the line out", "the line is empty, and rows follow")
		}
	}
}

func (l *lines) fault(hint, format string, args ...any) error {
	return l.f.faultAt(l.at, hint, format, args...)
}

// A csvSource reads CSV: RFC 4180, strictly.
type csvSource struct {
	f     *File
	lines *lines
	comma byte
	width int      // cells of every row
	room  []byte   // of quoted cells
	rows  []byte   // the row that is being read, where it has several lines
	first []record // rows that were read to find the header
}

func newCSV(f *File, in *bufio.Reader) (source, error) {
	f.unit = "line"
	s := &csvSource{f: f, lines: newLines(f, in)}
	first, err := s.keep()
	if err != nil {
		return nil, err
	}
	s.width = len(first.cells)
	f.counted = s.width
	second, err := s.keep()
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(second.cells) > 0 {
		s.first = append(s.first, second)
	}
	named, err := s.named(first.cells, second.cells)
	if err != nil {
		return nil, err
	}
	if named {
		return s, s.header(first)
	}
	s.first = slices.Insert(s.first, 0, first)
	return s, nil
}

// next implements source.
func (s *csvSource) next(r *record) error {
	if len(s.first) > 0 {
		*r, s.first = s.first[0], s.first[1:]
		return nil
	}
	return s.read(r)
}

// keep reads a row that outlives the next one.
func (s *csvSource) keep() (r record, err error) {
	err = s.read(&r)
	r.raw = bytes.Clone(r.raw)
	for i := range r.cells {
		r.cells[i].text = bytes.Clone(r.cells[i].text)
	}
	return r, err
}

// read reads a row from the file.
func (s *csvSource) read(r *record) error {
	line, err := s.lines.next()
	if err != nil {
		return err
	}
	if len(line) == 0 {
		return s.lines.rest()
	}
	r.at, r.cells, r.raw = s.lines.at, r.cells[:0], line
	if s.comma == 0 {
		s.comma = separator(line)
	}
	if bytes.IndexByte(line, '"') >= 0 {
		s.rows = append(s.rows[:0], line...)
		err = s.quoted(r, line)
		r.raw = s.rows
	} else {
		err = s.plain(r, line)
	}
	switch {
	case err != nil:
		return err
	case s.width == 0 && len(r.cells) > maxColumns:
		return s.f.faultAt(r.at, "", "it has %d cells, more than %d", len(r.cells), maxColumns)
	case s.width > 0 && len(r.cells) != s.width:
		return s.f.faultAt(r.at, "every line has as many cells as the first", "it has %d cells, and the first line has %d", len(r.cells), s.width)
	}
	return nil
}

// separator finds what stands between the cells of the first line.
func separator(line []byte) byte {
	quoted := false
	var seen [256]bool
	for _, c := range line {
		if c == '"' {
			quoted = !quoted
		}
		seen[c] = seen[c] || !quoted
	}
	for _, c := range []byte(",\t;") {
		if seen[c] {
			return c
		}
	}
	if !bytes.ContainsFunc(line, func(c rune) bool { return !strings.ContainsRune("0123456789+-.eE ", c) }) && seen[' '] {
		return ' ' // numbers, as numpy.savetxt writes them
	}
	return ','
}

// plain cuts a line without quotes.
func (s *csvSource) plain(r *record, line []byte) error {
	if i := bytes.IndexByte(line, '\r'); i >= 0 {
		return s.lines.fault("end lines with LF or CRLF", "byte %d is a carriage return inside of the line", i+1)
	}
	for {
		i := bytes.IndexByte(line, s.comma)
		if i < 0 {
			r.cells = append(r.cells, cell{at: r.at, kind: text, text: line})
			return nil
		}
		if len(r.cells) > maxColumns {
			return nil // the caller refuses it
		}
		r.cells = append(r.cells, cell{at: r.at, kind: text, text: line[:i]})
		line = line[i+1:]
	}
}

// quoted cuts a line with quotes, and reads on where a quoted cell has line ends in it.
func (s *csvSource) quoted(r *record, line []byte) error {
	s.room = s.room[:0]
	for len(r.cells) <= maxColumns {
		from := len(s.room)
		if len(line) > 0 && line[0] == '"' {
			var err error
			if line, err = s.unquote(r.at, line[1:]); err != nil {
				return err
			}
		} else {
			i := bytes.IndexByte(line, s.comma)
			if i < 0 {
				i = len(line)
			}
			if j := bytes.IndexAny(line[:i], "\"\r"); j >= 0 {
				return s.lines.fault("put the whole cell in quotes, and double those in it", "cell %d has a quote or a carriage return in it and is not quoted", len(r.cells)+1)
			}
			s.room = append(s.room, line[:i]...)
			line = line[i:]
		}
		r.cells = append(r.cells, cell{at: r.at, kind: text, text: s.room[from:len(s.room):len(s.room)]})
		if len(line) == 0 {
			return nil
		}
		if line[0] != s.comma {
			return s.lines.fault("double the quotes inside of a quoted cell", "cell %d goes on behind its closing quote", len(r.cells))
		}
		line = line[1:]
	}
	return nil // the caller refuses it
}

// unquote appends a quoted cell to the room and returns what follows its closing quote.
func (s *csvSource) unquote(began int64, line []byte) ([]byte, error) {
	for {
		i := bytes.IndexByte(line, '"')
		switch {
		case i < 0:
			s.room = append(append(s.room, line...), '\n')
			if len(s.room) > maxRecord {
				return nil, s.f.faultAt(began, "is a closing quote missing?", "the row is longer than %d MiB", maxRecord>>20)
			}
			var err error
			if line, err = s.goOn(); err == io.EOF {
				return nil, s.f.faultAt(began, "", "a quote is opened and never closed")
			} else if err != nil {
				return nil, err
			}
		case i+1 < len(line) && line[i+1] == '"':
			s.room = append(s.room, line[:i+1]...)
			line = line[i+2:]
		default:
			s.room = append(s.room, line[:i]...)
			return line[i+1:], nil
		}
	}
}

// goOn reads the next line of a row, and keeps the row as it is in the file.
func (s *csvSource) goOn() ([]byte, error) {
	s.rows = append(s.rows, s.lines.end...)
	line, err := s.lines.next()
	s.rows = append(s.rows, line...)
	return line, err
}

// header takes the names of the columns from the first row.
func (s *csvSource) header(r record) error {
	names := make([]string, len(r.cells))
	seen := make(map[string]int, len(names))
	for i, c := range r.cells {
		name := strings.TrimSpace(string(c.text))
		if name == "" && i == 0 && s.f.numbers {
			name = Unnamed
		}
		if name == "" {
			return s.f.faultAt(r.at, "name it, or leave out the numbers of the rows: to_csv(index=False)", "column %d has no name", i+1)
		}
		if why := nameFault(name); why != "" {
			return s.f.faultAt(r.at, "or does the file have no header?", "the name of column %d %s", i+1, why)
		}
		if before, twice := seen[name]; twice {
			return s.f.faultAt(r.at, "or does the file have no header?", "columns %d and %d are both called %q", before+1, i+1, name)
		}
		names[i], seen[name] = name, i
	}
	s.f.named(names)
	return nil
}

// nameFault says why a text cannot name a column.
func nameFault(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxName:
		return fmt.Sprintf("has more than %d bytes", maxName)
	}
	if c, odd := quote.Unprintable([]byte(name)); odd {
		return fmt.Sprintf("has the character %U, which does not print", c)
	}
	return ""
}

// named tells whether the first row is a header. One without a number is, and so is one that
// counts 0, 1, 2. One that has a text where the second has a number may be.
func (s *csvSource) named(first, second []cell) (bool, error) {
	counts := true // the numbers are 0, 1, 2 or 1, 2, 3
	last, numbers, names := 0.0, 0, 0
	for i, c := range first {
		if v, why := parse(c.text); why == "" {
			counts = counts && (v == last+1 || numbers == 0 && v == 0)
			last = v
			numbers++
		} else if i < len(second) && isName(c.text) {
			if _, why := parse(second[i].text); why == "" {
				names++
			}
		}
	}
	switch {
	case numbers == 0:
		return true, nil
	case counts && (names > 0 || numbers > 2):
		return true, nil
	case names > 0:
		return false, s.f.faultAt(1, "give it a line of names, or none", "the line may be a header or a row")
	}
	return false, nil
}

// isName tells a name from a mark for what is missing.
func isName(b []byte) bool {
	switch strings.ToLower(strings.TrimSpace(string(b))) {
	case "na", "n/a", "null", "none", "nil", "missing", "unknown":
		return false
	}
	return bytes.ContainsFunc(b, func(c rune) bool {
		return c == '_' || strconv.IsPrint(c) && ('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c > 127)
	})
}
