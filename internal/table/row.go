package table

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/decimal"
)

// A kind says what a cell holds.
type kind uint8

const (
	absent kind = iota
	text        // may be a number, in CSV
	number
	list  // of numbers, or of lists of numbers that are all of one shape
	other // an object, or a list of something else: there, and not read
)

// A Kind says what a cell holds, as it stands in the file.
type Kind string

// The kinds of cells. In CSV everything is a Text, of which an empty one is Absent: it
// cannot say which it means.
const (
	Absent  Kind = "nothing"
	Text    Kind = "text"
	Number  Kind = "number"
	List    Kind = "list of numbers"
	Boolean Kind = "boolean"
	Other   Kind = "object or list" // there, and not read
)

// A Cell is what stands in one cell, whatever it should be.
type Cell struct {
	Kind Kind
	Text []byte // of a Text, a Number and a Boolean, as it is written; good until the next row is read
}

// Cell returns what stands in a column, by its place in [File.Columns].
func (r Row) Cell(i int) Cell {
	c := r.f.now.get(i)
	switch c.kind {
	case text:
		if len(c.text) == 0 && r.f.format == CSV {
			return Cell{Kind: Absent}
		}
		return Cell{Text, c.text}
	case number:
		switch {
		case c.text == nil:
			return Cell{Number, appendNumber(nil, c.number)}
		case c.text[0] == 't' || c.text[0] == 'f':
			return Cell{Boolean, c.text}
		}
		return Cell{Number, c.text}
	case list:
		return Cell{Kind: List}
	case other:
		return Cell{Kind: Other}
	}
	return Cell{Kind: Absent}
}

// A cell is one value.
type cell struct {
	at       int64 // of the record that has it; in another one it is left over, and absent
	kind     kind
	text     []byte // of text, and as a JSON number is written
	number   float64
	from, to int // of a list: where its numbers are
	rows     int // of a list of lists: how many; of a flat one: 0
}

// A record is what a source has read of one row. Its memory is used again.
type record struct {
	at      int64     // the line where it begins, or the row, counted from 1
	cells   []cell    // by column; those behind the last are absent, and those of other records
	numbers []float64 // what lists hold, or, without cells, one for each column
	raw     []byte    // of CSV and JSONL: as it is in the file, without the end of its last line; of Parquet: as ParquetRows has it
}

// A Row is one row of a [File], good until the next one is asked for.
type Row struct{ f *File }

// Place says where a cell is, for errors: "flows.csv, line 7, column "bytes"". Without a
// column it says where the row is.
func (r Row) Place(column string) string { return r.f.place(r.f.now.at, column) }

// Raw returns the bytes of a row of CSV or JSONL as they are in the file, without what ends
// its last line; of Parquet what [ParquetRows] makes of it; of other formats, nil.
func (r Row) Raw() []byte { return r.f.now.raw }

// Line returns the line where the row begins, or the number of the row, counted from 1.
func (r Row) Line() int64 { return r.f.now.at }

// What a cell is good for as a value.
const (
	HeldNothing Held = iota // no cell, an empty one, null, or what is no number by its name
	HeldNumber
	HeldWords // text that is no number
	HeldOther // a list or an object
)

// Held says what a cell is good for as a value.
type Held uint8

// Value returns what the cell of a column, counted from 0 in the order of Columns, holds: the
// number, or the text, which is good until the next row.
func (r Row) Value(column int) (Held, float64, []byte) {
	c := r.f.now.get(column)
	switch c.kind {
	case number:
		if finite(c.number) {
			return HeldNumber, c.number, nil
		}
		return HeldNothing, 0, nil
	case text:
		if len(bytes.TrimSpace(c.text)) == 0 {
			return HeldNothing, 0, nil
		}
		v, why := parse(c.text)
		switch {
		case why != "":
			return HeldWords, 0, c.text
		case finite(v):
			return HeldNumber, v, nil
		}
		return HeldNothing, 0, nil
	case absent:
		return HeldNothing, 0, nil
	}
	return HeldOther, 0, nil
}

// Text returns the text of a cell; of a number, as it is written.
func (r Row) Text(column string) (string, error) {
	i, err := r.find(column)
	if err != nil {
		return "", err
	}
	return r.text(i)
}

func (r Row) text(i int) (string, error) {
	switch c := r.f.now.get(i); {
	case c.text != nil:
		return string(c.text), nil
	case c.kind == number:
		return string(appendNumber(nil, c.number)), nil
	case c.kind == text:
		return "", nil
	case c.kind == absent:
		return "", r.fault(i, "", "there is nothing")
	default:
		return "", r.fault(i, "", "it has no text")
	}
}

// Append appends the numbers of the columns. A list of numbers gives all of its numbers.
func (r Row) Append(dst []float64, columns ...string) ([]float64, error) {
	for _, name := range columns {
		i, err := r.find(name)
		if err != nil {
			return dst, err
		}
		if dst, err = r.append(dst, i); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// Batch appends the numbers of one cell and returns of how many rows they are: a list of
// lists is as many rows, and a number or a list of numbers is one.
func (r Row) Batch(dst []float64, column string) (numbers []float64, rows int, err error) {
	i, err := r.find(column)
	if err != nil {
		return dst, 0, err
	}
	dst, err = r.append(dst, i)
	return dst, max(r.f.now.get(i).rows, 1), err
}

// append appends the numbers of one cell.
func (r Row) append(dst []float64, i int) ([]float64, error) {
	c := r.f.now.get(i)
	if c.kind == list {
		if c.from == c.to {
			return dst, r.fault(i, "", "the list is empty")
		}
		return append(dst, r.f.now.numbers[c.from:c.to]...), nil // NaN was refused as it was read
	}
	v, err := r.number(i, c)
	return append(dst, v), err
}

// number returns the number in cell c of column i.
func (r Row) number(i int, c cell) (float64, error) {
	v := c.number
	switch c.kind {
	case number:
	case text:
		var why string
		if v, why = parse(c.text); why != "" {
			return 0, r.fault(i, "", "%.60q %s", c.text, why)
		}
	case absent:
		return 0, r.fault(i, "", "there is nothing")
	case list:
		return 0, r.fault(i, "", "a list stands where one number must")
	default:
		return 0, r.fault(i, "numbers come alone, in a list, or in lists of one length", "it is neither a number nor a list of numbers")
	}
	if !finite(v) {
		return 0, r.notFinite(i, v)
	}
	return v, nil
}

func (r Row) find(column string) (int, error) {
	i, ok := r.f.column(column)
	if !ok {
		return 0, r.f.unknown(column)
	}
	return i, nil
}

// unknown says that there is no such column, and which there are.
func (f *File) unknown(column string) error {
	const show = 12
	names := f.Columns()
	hint := "its columns are " + strings.Join(names[:min(len(names), show)], ", ")
	if n := len(names) - show; n > 0 {
		hint += fmt.Sprintf(" and %d more", n)
	}
	return f.fault(hint, "it has no column %.80q", column)
}

func (r Row) notFinite(i int, v float64) error {
	return r.fault(i, "clean the data, or fill the gap with a number", "%v is no number to reckon with", v)
}

func (r Row) fault(i int, hint, format string, args ...any) error {
	msg := r.Place(r.f.columnName(i)) + ": " + fmt.Sprintf(format, args...)
	return &pavise.Error{Kind: pavise.Invalid, Msg: msg, Hint: hint}
}

// get returns the cell of a column.
func (r *record) get(i int) cell {
	switch {
	case i < len(r.cells) && r.cells[i].at == r.at:
		return r.cells[i]
	case len(r.cells) == 0 && i < len(r.numbers):
		return cell{kind: number, number: r.numbers[i]}
	}
	return cell{}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// parse reads the number that a text cell holds, with spaces around it or not, or says why
// it is none. Tables are written by many hands: unlike in JSON a number may begin with +, a
// point or zeros, and end with a point.
func parse(b []byte) (v float64, why string) {
	b = bytes.Trim(b, " \t")
	if len(b) == 0 {
		return 0, "is no number: it is empty"
	}
	if len(b) > decimal.MaxLen {
		return 0, fmt.Sprintf("is no number: it has more than %d characters", decimal.MaxLen)
	}
	if c := b[0]; c == '-' || '0' <= c && c <= '9' {
		var n decimal.Number
		if _, why := n.Scan(b); why == "" && len(n.Text) == len(b) {
			if v = n.Float(64); finite(v) {
				return v, ""
			}
			return 0, "is beyond what a number can be"
		}
	}
	for _, c := range b {
		if !strings.ContainsRune("0123456789+-.eE", rune(c)) {
			return word(b)
		}
	}
	v, err := strconv.ParseFloat(string(b), 64)
	switch {
	case err == nil:
		return v, ""
	case math.IsInf(v, 0):
		return 0, "is beyond what a number can be"
	}
	return 0, "is no number"
}

// word reads the words that stand for what is no number, as programs write them.
func word(b []byte) (v float64, why string) {
	switch strings.ToLower(string(b)) {
	case "nan":
		return math.NaN(), ""
	case "inf", "+inf", "infinity", "+infinity":
		return math.Inf(1), ""
	case "-inf", "-infinity":
		return math.Inf(-1), ""
	}
	return 0, "is no number"
}

// appendNumber writes a number in the fewest digits that read back.
func appendNumber(dst []byte, v float64) []byte {
	if !finite(v) {
		return strconv.AppendFloat(dst, v, 'g', -1, 64)
	}
	return decimal.Append(dst, v, 64)
}
