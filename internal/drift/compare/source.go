package compare

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/table"
)

// A row has a cell for each column, by its place.
type row interface {
	Value(column int) (table.Held, float64, []byte)
	Cell(column int) table.Cell
}

// eachRow reads a file's rows. Columns are the names that are known when the row is read: those
// of JSONL grow in number.
func eachRow(path string, each func(columns []string, r row) error) error {
	f, err := os.Open(path)
	if err != nil {
		return openFault(path, err)
	}
	defer f.Close()
	var head [4]byte
	if n, _ := f.ReadAt(head[:], 0); n == len(head) && string(head[:]) == "PAR1" {
		return parquetRows(f, each)
	}
	t, err := table.NewReader(f, filepath.Base(path), table.Options{RowNumbers: true})
	if err != nil {
		return err
	}
	columns := t.Columns()
	for r, err := range t.Rows() {
		if err != nil {
			return err
		}
		if t.Width() != len(columns) {
			columns = t.Columns()
		}
		if err := each(columns, r); err != nil {
			return err
		}
	}
	return nil
}

func openFault(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &pavise.Error{Kind: pavise.NotFound, Msg: "no file " + path, Hint: "name a CSV, JSONL or Parquet file", Err: err}
	case errors.Is(err, fs.ErrPermission):
		return &pavise.Error{Kind: pavise.Denied, Msg: path + " may not be read", Err: err}
	}
	return fmt.Errorf("open %s: %w", path, err)
}

func parquetRows(f *os.File, each func([]string, row) error) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	name := filepath.Base(f.Name())
	columns, lists, err := table.ParquetColumns(f, info.Size(), name)
	if err != nil {
		return err
	}
	r := &parquetRow{lists: lists, cells: make([]parquetCell, len(columns))}
	return table.ParquetRows(f, info.Size(), name, func(b []byte) error {
		r.read(b)
		return each(columns, r)
	})
}

// A parquetCell is a value as [table.ParquetRows] spells it.
type parquetCell struct {
	kind  byte // a physical type of Parquet; 255: null
	value []byte
}

// A parquetRow is one row of a Parquet file, good until the next.
type parquetRow struct {
	lists []bool
	cells []parquetCell
	room  [32]byte
}

const parquetNull = 255

// read takes a row apart.
func (r *parquetRow) read(b []byte) {
	for i := range r.cells {
		r.cells[i] = parquetCell{kind: parquetNull}
	}
	for len(b) >= 11 {
		column, kind, n := int(binary.BigEndian.Uint32(b)), b[6], int(binary.BigEndian.Uint32(b[7:]))
		if column < len(r.cells) {
			r.cells[column] = parquetCell{kind, b[11 : 11+n]}
		}
		b = b[11+n:]
	}
}

// Value implements row.
func (r *parquetRow) Value(i int) (table.Held, float64, []byte) {
	if i >= len(r.cells) || r.cells[i].kind == parquetNull {
		return table.HeldNothing, 0, nil
	}
	c := r.cells[i]
	if r.lists[i] {
		return table.HeldOther, 0, nil
	}
	v := 0.0
	switch {
	case c.kind == 0 && len(c.value) == 1:
		v = float64(c.value[0])
	case c.kind == 1 && len(c.value) == 4:
		v = float64(int32(binary.LittleEndian.Uint32(c.value)))
	case c.kind == 2 && len(c.value) == 8:
		v = float64(int64(binary.LittleEndian.Uint64(c.value)))
	case c.kind == 4 && len(c.value) == 4:
		v = float64(math.Float32frombits(binary.LittleEndian.Uint32(c.value)))
	case c.kind == 5 && len(c.value) == 8:
		v = math.Float64frombits(binary.LittleEndian.Uint64(c.value))
	case (c.kind == 6 || c.kind == 7) && utf8.Valid(c.value):
		if len(bytes.TrimSpace(c.value)) == 0 {
			return table.HeldNothing, 0, nil
		}
		return table.HeldWords, 0, c.value
	default:
		return table.HeldOther, 0, nil
	}
	if v-v != 0 {
		return table.HeldNothing, 0, nil
	}
	return table.HeldNumber, v, nil
}

// Cell implements row: a number as text.
func (r *parquetRow) Cell(i int) table.Cell {
	held, v, text := r.Value(i)
	switch held {
	case table.HeldNumber:
		return table.Cell{Kind: table.Number, Text: strconv.AppendFloat(r.room[:0], v, 'g', -1, 64)}
	case table.HeldWords:
		return table.Cell{Kind: table.Text, Text: text}
	case table.HeldNothing:
		return table.Cell{Kind: table.Absent}
	}
	return table.Cell{Kind: table.Other}
}
