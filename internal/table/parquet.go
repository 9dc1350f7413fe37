package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/parquetpage"
)

// Bounds of Parquet.
const (
	maxFooter      = 64 << 20 // bytes
	maxSchema      = 1 << 14  // columns, and groups of them
	maxSchemaDepth = 48
	maxPage        = 256 << 20 // bytes, unpacked
	maxPageGain    = 1 << 12   // how many times its size a page may unpack to
	maxPageValues  = 16 << 20
	maxOpenPages   = 2 << 30        // bytes, unpacked: of each column of a row group a page is open
	maxRowValues   = maxRecord / 11 // each is spelled in 11 bytes at least
	maxHeldValues  = 4 << 20        // of the rows that are read at a time
)

// parquetMagic is what Parquet begins and ends with.
const parquetMagic = "PAR1"

// ParquetRows calls each with the rows of a Parquet file of a size, in order, in an encoding
// that is the same for the same values however the file is packed; a row is good until each
// returns. It is the concatenation, for each value of the row, of its column (4 bytes, from
// 0), its repetition and definition level (1 byte each), its physical type (1 byte: the number
// that Parquet gives it, or 255 for null), the length of the value (4 bytes) and the value as
// Parquet's plain encoding has it; numbers big-endian but for those of values.
//
// The name is for errors, which are of kind Invalid for what is wrong with the file, what each
// returns, or of reading. Memory is bounded by what the file holds: every size in it is looked
// at before it is believed.
func ParquetRows(r io.ReaderAt, size int64, name string, each func(row []byte) error) error {
	p := &parquetFile{in: r, size: size, name: name}
	var row []byte
	return p.read(func(at int64, values parquet.Row) error {
		if row = spell(row[:0], values); len(row) > maxRecord {
			return p.fault("row %d is longer than %d MiB", at, maxRecord>>20)
		}
		return each(row)
	})
}

// read calls each with all rows and their numbers, counted from 1 in each row group, good until
// it returns; and schemed, if there is one, before.
func (p *parquetFile) read(each func(at int64, values parquet.Row) error) error {
	err := p.rows(each)
	if _, told := errors.AsType[*pavise.Error](err); err == nil || told || p.failed != nil {
		return errors.Join(err, p.failed)
	}
	return p.fault("%v", err)
}

// A parquetFile is a file being read.
type parquetFile struct {
	in     io.ReaderAt
	size   int64
	name   string
	failed error // of each, or of the disk
	check  parquetpage.Check
	leaves []parquetpage.Column // of the schema, as columns are counted

	schemed func(f *parquet.File) error // gets the file before its rows; nil: nobody asks
}

// ReadAt implements io.ReaderAt, and tells errors of the disk from those of the file.
func (p *parquetFile) ReadAt(b []byte, at int64) (int, error) {
	n, err := p.in.ReadAt(b, at)
	if err != nil && err != io.EOF {
		p.failed = fmt.Errorf("read %s: %w", p.name, err)
	}
	return n, err
}

func (p *parquetFile) fault(format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: p.name + ": " + fmt.Sprintf(format, args...), Hint: "write the file again, or copy it again"}
}

// rows reads all rows. The library panics at some files that are none; it is the only place
// where a panic is caught, because what is wrong is the file and not the program.
func (p *parquetFile) rows(each func(at int64, values parquet.Row) error) (err error) {
	defer func() {
		if bad := recover(); bad != nil {
			err = p.fault("it is damaged: %.200v", bad)
		}
	}()
	defer p.check.Close()
	if err := p.footer(); err != nil {
		return err
	}
	f, err := parquet.OpenFile(p, p.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(1<<16))
	if err != nil {
		return p.fault("%v", err)
	}
	if p.schemed != nil {
		if err := p.schemed(f); err != nil {
			return err
		}
	}
	eachLeaf(f.Root(), func(c *parquet.Column) {
		leaf := parquetpage.Column{Repetition: c.MaxRepetitionLevel(), Definition: c.MaxDefinitionLevel(), Boolean: c.Type().Kind() == parquet.Boolean}
		p.leaves = append(p.leaves, leaf)
	})
	total := int64(0)
	for i, group := range f.RowGroups() {
		columns := f.Metadata().RowGroups[i].Columns
		if group.NumRows() == 0 && !slices.ContainsFunc(columns, func(c format.ColumnChunk) bool { return c.MetaData.NumValues != 0 }) {
			continue // as pyarrow writes a table without rows, and says where no page is
		}
		if err := p.pages(columns, f.Metadata().RowGroups[0].Columns); err != nil {
			return err
		}
		longest, err := p.longest(group)
		if err != nil {
			return err
		}
		n, err := p.group(group, longest, each)
		if err != nil {
			return err
		}
		if n != group.NumRows() {
			return p.fault("row group %d has %d rows, and says %d", i+1, n, group.NumRows())
		}
		total += n
	}
	if total != f.NumRows() {
		return p.fault("it has %d rows, and says %d", total, f.NumRows())
	}
	return nil
}

// footer looks at what the file says of itself before the library believes it.
func (p *parquetFile) footer() error {
	var head [4]byte
	var tail [8]byte
	if p.size < int64(len(head)+len(tail)) {
		return p.fault("it is too short for Parquet")
	}
	if _, err := p.ReadAt(head[:], 0); err != nil {
		return err
	}
	if _, err := p.ReadAt(tail[:], p.size-int64(len(tail))); err != nil && err != io.EOF {
		return err
	}
	if string(head[:]) != parquetMagic || string(tail[4:]) != parquetMagic {
		if string(head[:]) == "PARE" || string(tail[4:]) == "PARE" {
			return p.fault("it is encrypted")
		}
		return p.fault("it does not begin and end as Parquet does: is it cut off?")
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > maxFooter || n > p.size-int64(len(head)+len(tail)) {
		return p.fault("its footer is said to be %d bytes long, which it is not", n)
	}
	footer := make([]byte, n)
	if _, err := p.ReadAt(footer, p.size-int64(len(tail))-n); err != nil {
		return err
	}
	var children []int64
	_, err := parquetpage.Walk(footer, func(path []int16, begins bool, value int64) {
		switch {
		case begins && len(path) == 1 && path[0] == 2: // FileMetaData.schema
			children = append(children, 0)
		case len(path) == 2 && path[0] == 2 && path[1] == 5 && len(children) > 0: // SchemaElement.num_children
			children[len(children)-1] = value
		}
	})
	if err != nil {
		return p.fault("its footer is damaged")
	}
	return p.schema(children)
}

// schema refuses columns without number or end. Each element is followed by its children.
func (p *parquetFile) schema(children []int64) error {
	if len(children) == 0 || len(children) > maxSchema {
		return p.fault("its schema has %d columns and groups; 1 to %d are read", len(children), maxSchema)
	}
	var left []int64 // of the groups that are open
	for i, n := range children {
		if n < 0 || n > int64(len(children)) || len(left) > maxSchemaDepth || i > 0 && len(left) == 0 {
			return p.fault("its schema is damaged, or nested more than %d deep", maxSchemaDepth)
		}
		left = append(left, n)
		for len(left) > 0 && left[len(left)-1] == 0 {
			if left = left[:len(left)-1]; len(left) > 0 {
				left[len(left)-1]--
			}
		}
	}
	if len(left) > 0 {
		return p.fault("its schema ends too early")
	}
	return nil
}

// pages looks at every page of the columns of a row group: that it lies where the footer says,
// does not say that it unpacks to more than it could, and does not unpack to more than it says.
// Whatever the footer says of values, the library reads pages to a chunk's end, so that all are
// looked at; and it unpacks them as the first row group is packed.
func (p *parquetFile) pages(columns, first []format.ColumnChunk) error {
	open := int64(0)
	for i := range columns {
		if i >= len(first) || i >= len(p.leaves) || columns[i].MetaData.Codec != first[i].MetaData.Codec {
			return p.fault("column %d is packed in two ways, of which one is read", i+1)
		}
		most, err := p.column(i, &columns[i].MetaData)
		if err != nil {
			return err
		}
		if open += most; open > maxOpenPages {
			return p.fault("%d columns have pages that unpack to more than %d GiB together: that is refused", i+1, int64(maxOpenPages>>30))
		}
	}
	return nil
}

// column looks at every page of the i-th column, and returns how many bytes of it are open at
// a time at most: its dictionary and its largest page.
func (p *parquetFile) column(i int, c *format.ColumnMetaData) (open int64, err error) {
	at, values, largest := c.DataPageOffset, int64(0), int64(0)
	if c.DictionaryPageOffset != 0 { // the library begins there, wherever that is
		at = c.DictionaryPageOffset
	}
	end := at + c.TotalCompressedSize
	if at < 4 || at > c.DataPageOffset || c.TotalCompressedSize < 0 || end < at || end > p.size || c.NumValues < 0 {
		return 0, p.fault("column %d lies outside of the file", i+1)
	}
	begins := false // a page where the footer says that data begin
	for at < end {
		page, err := parquetpage.ReadAt(p, at, end)
		if err != nil {
			return 0, err
		}
		next := at + page.Size + page.Packed
		if page.Size == 0 {
			return 0, p.fault("column %d has a damaged page at byte %d", i+1, at)
		}
		if page.Packed < 0 || page.Packed > math.MaxInt32 || page.Unpacked < 0 || page.Most < 0 || next > end || page.Unpacked > maxPage ||
			page.Unpacked > maxPageGain*(page.Packed+1<<10) || page.Most > maxPageValues {
			return 0, p.fault("column %d has a page at byte %d of %d values in %d bytes, which says that it unpacks to %d: that is refused", i+1, at, page.Most, page.Packed, page.Unpacked)
		}
		more, err := p.check.Page(c.Codec, &page, p.leaves[i], io.NewSectionReader(p, at+page.Size, page.Packed))
		if err != nil {
			return 0, p.fault("column %d has a page at byte %d that is refused: %v", i+1, at, err)
		}
		begins = begins || at == c.DataPageOffset
		const perValue = 8 // bytes of indexes, levels and offsets, which need not be packed in any
		if size := page.Unpacked + perValue*page.Most + more; page.Kind == int64(format.DictionaryPage) {
			open += size
		} else {
			values, largest = values+page.Values(), max(largest, size)
		}
		at = next
	}
	if values != c.NumValues || !begins && c.TotalCompressedSize > 0 {
		return 0, p.fault("column %d has %d values, and says %d, or has none where they are said to begin", i+1, values, c.NumValues)
	}
	return open + largest, nil
}

// eachLeaf goes through the columns of a schema that have values, in the order in which they are
// counted.
func eachLeaf(c *parquet.Column, leaf func(*parquet.Column)) {
	if c.Leaf() {
		leaf(c)
	}
	for _, child := range c.Columns() {
		eachLeaf(child, leaf)
	}
}

// longest returns how many values a row of a group may have at most: in each column the most
// that any of its rows has. The levels of columns that repeat are read for it, for a page of a
// few bytes may say millions of times that nothing is there.
func (p *parquetFile) longest(group parquet.RowGroup) (n int64, err error) {
	for i, chunk := range group.ColumnChunks() {
		most := int64(1)
		if p.leaves[i].Repetition > 0 {
			if most, err = longestIn(chunk.Pages()); err != nil {
				return 0, p.fault("column %d: %v", i+1, err)
			}
		}
		if n += most; n > maxRowValues {
			return 0, p.fault("it has more than %d values in one row", int64(maxRowValues))
		}
	}
	return n, nil
}

// longestIn returns how many values of some pages stand in one row at most.
func longestIn(pages parquet.Pages) (most int64, err error) {
	defer func() { err = errors.Join(err, pages.Close()) }()
	run := int64(0)
	for {
		page, err := pages.ReadPage()
		if err == io.EOF {
			return max(most, run), nil
		}
		if err != nil {
			return 0, err
		}
		for _, level := range page.RepetitionLevels() {
			if level == 0 {
				most, run = max(most, run), 0
			}
			run++
		}
		parquet.Release(page)
		if run > maxRowValues {
			return run, nil
		}
	}
}

// group reads the rows of a row group, of which none has more than so many values.
func (p *parquetFile) group(group parquet.RowGroup, longest int64, each func(at int64, values parquet.Row) error) (n int64, err error) {
	rows := group.Rows()
	defer func() { err = errors.Join(err, rows.Close()) }()
	const many = 64
	room := make([]parquet.Row, min(many, 1+maxHeldValues/max(longest, 1)))
	for {
		got, err := rows.ReadRows(room)
		for i, values := range room[:got] {
			if err := each(n+int64(i)+1, values); err != nil {
				p.failed = err
				return n, err
			}
		}
		n += int64(got)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, p.fault("behind row %d: %v", n, err)
		}
		if got == 0 {
			return n, p.fault("row %d cannot be read", n+1)
		}
	}
}

// spell spells a row, as far as it is not too long: one value of a dictionary may stand in it
// very often.
func spell(row []byte, values parquet.Row) []byte {
	for _, v := range values {
		if row = appendValue(row, v); len(row) > maxRecord {
			break
		}
	}
	return row
}

// appendValue spells a value of a row.
func appendValue(b []byte, v parquet.Value) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(v.Column()))
	b = append(b, byte(v.RepetitionLevel()), byte(v.DefinitionLevel()))
	if v.IsNull() {
		return append(b, 255, 0, 0, 0, 0)
	}
	b = append(b, byte(v.Kind()), 0, 0, 0, 0)
	start := len(b)
	b = v.AppendBytes(b)
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	return b
}
