package table

import (
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// A parquetSource reads the rows of a Parquet file as cells. A column is a leaf of the schema,
// with its path for a name; one that repeats is there, and not read.
type parquetSource struct {
	f       *File
	columns []parquetColumn
	pull    func() (parquet.Row, error, bool)
	stop    func()
	at      int64
	raw     []byte
	room    []byte // of texts that are made here
}

// A parquetColumn is a leaf of the schema.
type parquetColumn struct {
	repeats, unsigned, decimal, uuid bool
	scale                            int // of a decimal: digits behind the point
}

// newParquet makes a source of a Parquet file.
func newParquet(f *File, in io.ReaderAt, size int64) *parquetSource {
	s := &parquetSource{f: f}
	f.unit, f.format = "row", Parquet
	p := &parquetFile{in: in, size: size, name: f.name, schemed: s.schema}
	s.pull, s.stop = iter.Pull2(func(yield func(parquet.Row, error) bool) {
		err := p.read(func(_ int64, values parquet.Row) error {
			if !yield(values, nil) {
				return io.EOF // nobody asks for more
			}
			return nil
		})
		if err != nil && !errors.Is(err, io.EOF) {
			yield(nil, err)
		}
	})
	return s
}

// schema names the columns.
func (s *parquetSource) schema(file *parquet.File) error {
	var names []string
	seen := map[string]bool{}
	var look func(c *parquet.Column) error
	look = func(c *parquet.Column) error {
		for _, child := range c.Columns() {
			if err := look(child); err != nil {
				return err
			}
		}
		if !c.Leaf() {
			return nil
		}
		name := strings.Join(c.Path(), ".")
		if why := nameFault(name); why != "" {
			return s.f.fault("give the column another name", "the name of column %d %s", len(names)+1, why)
		}
		if seen[name] {
			return s.f.fault("give one of them another name", "two columns are called %q", name)
		}
		seen[name] = true
		names, s.columns = append(names, name), append(s.columns, columnOf(c))
		return nil
	}
	if err := look(file.Root()); err != nil {
		return err
	}
	s.f.named(names)
	return nil
}

func columnOf(c *parquet.Column) parquetColumn {
	col := parquetColumn{repeats: c.MaxRepetitionLevel() > 0}
	if old := c.Type().ConvertedType(); old != nil {
		col.unsigned = *old >= deprecated.Uint8 && *old <= deprecated.Uint64
	}
	if l := c.Type().LogicalType(); l != nil {
		switch t := l.Value.(type) {
		case *format.DecimalType:
			col.decimal, col.scale = true, int(t.Scale)
		case *format.IntType:
			col.unsigned = !t.IsSigned
		case *format.UUIDType:
			col.uuid = true
		}
	}
	return col
}

// next implements source.
func (s *parquetSource) next(r *record) error {
	values, err, more := s.pull()
	switch {
	case !more:
		return io.EOF
	case err != nil:
		return err
	}
	s.at++
	if s.raw = spell(s.raw[:0], values); len(s.raw) > maxRecord {
		return s.f.faultAt(s.at, "", "it is longer than %d MiB", maxRecord>>20)
	}
	r.at, r.raw, s.room = s.at, s.raw, s.room[:0]
	if len(r.cells) < len(s.columns) {
		r.cells = make([]cell, len(s.columns))
	}
	for _, v := range values {
		c := &r.cells[v.Column()]
		*c = cell{}
		switch {
		case s.columns[v.Column()].repeats:
			c.kind = other
		case !v.IsNull():
			*c = s.cell(&s.columns[v.Column()], v)
		}
		c.at = s.at
	}
	return nil
}

// cell is a value as a cell.
func (s *parquetSource) cell(col *parquetColumn, v parquet.Value) cell {
	switch v.Kind() {
	case parquet.Boolean:
		if v.Boolean() {
			return cell{kind: number, number: 1, text: []byte("true")}
		}
		return cell{kind: number, text: []byte("false")}
	case parquet.Float:
		return cell{kind: number, number: float64(v.Float())}
	case parquet.Double:
		return cell{kind: number, number: v.Double()}
	case parquet.Int32, parquet.Int64:
		return s.whole(col, v)
	case parquet.ByteArray, parquet.FixedLenByteArray:
		b := v.ByteArray()
		switch {
		case col.decimal:
			return s.decimal(col, b)
		case col.uuid:
			return cell{kind: text, text: hex.AppendEncode(nil, b)}
		case utf8.Valid(b):
			return cell{kind: text, text: b}
		}
	}
	return cell{kind: other}
}

// whole is a whole number, or a decimal that is held as one.
func (s *parquetSource) whole(col *parquetColumn, v parquet.Value) cell {
	var n big.Int
	at := len(s.room)
	switch {
	case col.decimal && v.Kind() == parquet.Int32:
		return s.scaled(col, n.SetInt64(int64(v.Int32())))
	case col.decimal:
		return s.scaled(col, n.SetInt64(v.Int64()))
	case col.unsigned && v.Kind() == parquet.Int32:
		s.room = strconv.AppendUint(s.room, uint64(v.Uint32()), 10)
		return cell{kind: number, number: float64(v.Uint32()), text: s.room[at:]}
	case col.unsigned:
		s.room = strconv.AppendUint(s.room, v.Uint64(), 10)
		return cell{kind: number, number: float64(v.Uint64()), text: s.room[at:]}
	case v.Kind() == parquet.Int32:
		s.room = strconv.AppendInt(s.room, int64(v.Int32()), 10)
		return cell{kind: number, number: float64(v.Int32()), text: s.room[at:]}
	}
	s.room = strconv.AppendInt(s.room, v.Int64(), 10)
	return cell{kind: number, number: float64(v.Int64()), text: s.room[at:]}
}

// decimal is a decimal that is held as a big-endian number in two's complement.
func (s *parquetSource) decimal(col *parquetColumn, b []byte) cell {
	const most = 32 // bytes: those of the widest decimal that is written
	if len(b) == 0 || len(b) > most {
		return cell{kind: other}
	}
	var n, top big.Int
	if n.SetBytes(b); b[0] >= 0x80 {
		n.Sub(&n, top.Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return s.scaled(col, &n)
}

// scaled is n by the scale of a decimal.
func (s *parquetSource) scaled(col *parquetColumn, n *big.Int) cell {
	const most = 76 // digits of the widest decimal
	if col.scale < 0 || col.scale > most {
		return cell{kind: other}
	}
	x := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(col.scale)), nil))
	v, _ := x.Float64()
	at := len(s.room)
	s.room = append(s.room, x.FloatString(col.scale)...)
	return cell{kind: number, number: v, text: s.room[at:]}
}
