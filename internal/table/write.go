package table

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/decimal"
)

// A Writer writes rows as CSV or JSONL. The same cells make the same bytes.
type Writer struct {
	out     *bufio.Writer
	format  Format
	columns []string
	rows    int64
	line    []byte
}

// NewWriter returns a Writer of rows with the given columns, and writes the header of CSV.
// Any other format, and names that [NewReader] would refuse, are errors of kind Invalid.
func NewWriter(w io.Writer, format Format, columns ...string) (*Writer, error) {
	t := &Writer{out: bufio.NewWriter(w), format: format, columns: columns}
	if format != CSV && format != JSONL {
		return nil, invalid("rows are written as csv or jsonl, not as %.40q", string(format))
	}
	seen := map[string]bool{}
	for _, name := range columns {
		if why := nameFault(name); why != "" {
			return nil, invalid("the name of column %.80q %s", name, why)
		}
		if _, why := parse([]byte(name)); why == "" {
			return nil, invalid("column %.80q is called by a number, and a header of numbers may be taken for a row", name)
		}
		if name != strings.TrimSpace(name) || seen[name] {
			return nil, invalid("the name of column %.80q has spaces around it, or is there twice", name)
		}
		seen[name] = true
	}
	if len(columns) == 0 {
		return nil, invalid("a table needs columns")
	}
	if format == JSONL {
		return t, nil
	}
	for i, name := range columns {
		t.comma(i)
		t.quote(name)
	}
	return t, t.end()
}

// Write writes one row. A cell is a string, an int, a float32, a float64, nil for nothing,
// or, in JSONL, a list of float32 or float64, or of lists of them, and not empty. What else
// it is, numbers that are not finite, and texts that are not UTF-8 or have NUL in them are
// errors of kind Invalid, and then nothing of the row is written.
func (t *Writer) Write(cells ...any) error {
	if t.rows++; len(cells) != len(t.columns) {
		return invalid("row %d has %d cells, and there are %d columns", t.rows, len(cells), len(t.columns))
	}
	t.line = t.line[:0]
	for i, c := range cells {
		t.comma(i)
		if t.format == JSONL {
			t.line = append(quoteJSON(t.line, t.columns[i]), ':')
		}
		if !t.cell(c) {
			return invalid("row %d, column %.80q: this %T cannot be written", t.rows, t.columns[i], c)
		}
	}
	if t.format == JSONL {
		t.line = append(append([]byte{'{'}, t.line...), '}')
	}
	return t.end()
}

// Flush writes what is held back. It is called at the end.
func (t *Writer) Flush() error { return t.out.Flush() }

func (t *Writer) comma(i int) {
	if i > 0 {
		t.line = append(t.line, ',')
	}
}

func (t *Writer) end() error {
	t.line = append(t.line, '\n')
	_, err := t.out.Write(t.line)
	return err
}

// cell appends a cell to the line, or reports that it cannot.
func (t *Writer) cell(c any) bool {
	switch c := c.(type) {
	case nil:
		if t.format == JSONL {
			t.line = append(t.line, "null"...)
			return true
		}
		return t.quote("")
	case string:
		if !utf8.ValidString(c) || strings.IndexByte(c, 0) >= 0 {
			return false
		}
		if t.format == JSONL {
			t.line = quoteJSON(t.line, c)
			return true
		}
		return t.quote(c)
	case int:
		t.line = strconv.AppendInt(t.line, int64(c), 10)
		return true
	case float32:
		return t.number(float64(c), 32)
	case float64:
		return t.number(c, 64)
	}
	return t.format == JSONL && t.list(c)
}

func (t *Writer) number(v float64, bits int) bool {
	if !finite(v) {
		return false
	}
	t.line = decimal.Append(t.line, v, bits)
	return true
}

// list appends a list.
func (t *Writer) list(c any) bool {
	switch c := c.(type) {
	case []float32:
		return listOf(t, c)
	case []float64:
		return listOf(t, c)
	case [][]float32:
		return listOf(t, c)
	case [][]float64:
		return listOf(t, c)
	}
	return false
}

func listOf[T any](t *Writer, list []T) bool {
	t.line = append(t.line, '[')
	for i, v := range list {
		t.comma(i)
		if !t.cell(v) {
			return false
		}
	}
	t.line = append(t.line, ']')
	return len(list) > 0
}

// quote appends a text to a line of CSV. A reader must not take a line without any text
// for an empty one.
func (t *Writer) quote(s string) bool {
	if strings.ContainsAny(s, "\"\r\n,;\t") || s == "" && len(t.columns) == 1 {
		s = `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	t.line = append(t.line, s...)
	return true
}

func quoteJSON(dst []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string and a buffer do not fail
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

func invalid(format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...)}
}
