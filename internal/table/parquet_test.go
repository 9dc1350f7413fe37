package table

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	compact "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/parquetpage"
)

// A trade is a row of the Parquet that tests write.
type trade struct {
	ID    int64    `parquet:"id"`
	Name  string   `parquet:"name,dict"`
	Price float64  `parquet:"price"`
	Note  *string  `parquet:"note,optional"`
	Tags  []string `parquet:"tags,list"`
}

func trades(n int) []trade {
	rows := make([]trade, n)
	for i := range rows {
		rows[i] = trade{ID: int64(i), Name: fmt.Sprintf("stock %d", i%7), Price: float64(i) / 3}
		if i%3 == 0 {
			note := fmt.Sprint("note ", i)
			rows[i].Note = &note
		}
		for j := range i % 4 {
			rows[i].Tags = append(rows[i].Tags, fmt.Sprint(j))
		}
	}
	return rows
}

// writeParquet packs rows in one of several ways.
func writeParquet(t testing.TB, rows []trade, options ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[trade](&b, options...)
	for at := 0; at < len(rows); at += 100 {
		if _, err := w.Write(rows[at:min(at+100, len(rows))]); err != nil {
			t.Fatal(err)
		}
		if at%300 == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readRows returns the digests of a file's rows.
func readRows(b []byte) (rows [][sha256.Size]byte, err error) {
	err = ParquetRows(bytes.NewReader(b), int64(len(b)), "t.parquet", func(row []byte) error {
		rows = append(rows, sha256.Sum256(row))
		return nil
	})
	return rows, err
}

// TestParquetRows packs the same rows in every way there is: the rows stay the same, and one
// that changes is another.
func TestParquetRows(t *testing.T) {
	rows := trades(1000)
	want, err := readRows(writeParquet(t, rows))
	if err != nil || len(want) != len(rows) {
		t.Fatalf("%d rows, %v", len(want), err)
	}
	seen := map[[sha256.Size]byte]bool{}
	for _, d := range want {
		seen[d] = true
	}
	if len(seen) != len(rows) {
		t.Errorf("%d different rows of %d", len(seen), len(rows))
	}
	for name, options := range map[string][]parquet.WriterOption{
		"snappy": {parquet.Compression(&parquet.Snappy)}, "gzip": {parquet.Compression(&parquet.Gzip)},
		"zstd": {parquet.Compression(&parquet.Zstd)}, "brotli": {parquet.Compression(&parquet.Brotli)},
		"version 1": {parquet.DataPageVersion(1)}, "small pages": {parquet.PageBufferSize(256)},
	} {
		got, err := readRows(writeParquet(t, rows, options...))
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %d rows, %v", name, len(got), err)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: row %d is another", name, i+1)
				break
			}
		}
	}
	rows[700].Price = math.Nextafter(rows[700].Price, 1e9)
	got, err := readRows(writeParquet(t, rows))
	for i := range got {
		if err != nil || (got[i] == want[i]) == (i == 700) {
			t.Fatalf("row %d: the same %v, %v", i+1, got[i] == want[i], err)
		}
	}
}

// TestParquetIsRefused reads files that are none, and some that were made to break readers.
func TestParquetIsRefused(t *testing.T) {
	good := writeParquet(t, trades(500), parquet.Compression(&parquet.Snappy))
	footer := int(binary.LittleEndian.Uint32(good[len(good)-8:]))
	withFooter := func(body []byte) []byte {
		b := append(bytes.Clone(good[:len(good)-8-footer]), body...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
		return append(b, parquetMagic...)
	}
	deep := []byte{0x29, 0xfc}              // schema: a list of structures, as many as follow
	deep = binary.AppendUvarint(deep, 1000) // groups
	for range 1000 {                        // of one child each
		deep = append(deep, 0x55, 0x02, 0x00) // num_children: 1; stop
	}
	for name, b := range map[string][]byte{
		"empty":            {},
		"magic alone":      []byte("PAR1"),
		"cut off":          good[:len(good)/2],
		"no footer":        append(bytes.Clone(good[:len(good)-8]), 0xff, 0xff, 0xff, 0x7f, 'P', 'A', 'R', '1'),
		"footer of zeros":  withFooter(make([]byte, footer)),
		"list of billions": withFooter([]byte{0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 0, 0}),
		"endless schema":   withFooter(append(deep, 0)),
		"encrypted":        append(bytes.Clone(good[:len(good)-4]), "PARE"...),
		"text":             []byte("a,b,c\n1,2,3\n4,5,6\n"),
	} {
		_, err := readRows(b)
		e, ok := errors.AsType[*pavise.Error](err)
		if !ok || e.Kind != pavise.Invalid || !strings.HasPrefix(e.Msg, "t.parquet: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// withMetadata changes what the footer of a file says.
func withMetadata(t testing.TB, good []byte, change func(m *format.FileMetaData)) []byte {
	t.Helper()
	footer := int(binary.LittleEndian.Uint32(good[len(good)-8:]))
	var m format.FileMetaData
	if err := compact.Unmarshal(new(compact.CompactProtocol), good[len(good)-8-footer:len(good)-8], &m); err != nil {
		t.Fatal(err)
	}
	change(&m)
	body, err := compact.Marshal(new(compact.CompactProtocol), &m)
	if err != nil {
		t.Fatal(err)
	}
	b := append(bytes.Clone(good[:len(good)-8-footer]), body...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, parquetMagic...)
}

// TestParquetPagesAreLookedAt has the footer say things by which a page would be read that
// nobody looked at.
func TestParquetPagesAreLookedAt(t *testing.T) {
	good := writeParquet(t, trades(80))
	if _, err := readRows(withMetadata(t, good, func(*format.FileMetaData) {})); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(c *format.ColumnMetaData){
		"no values":               func(c *format.ColumnMetaData) { c.NumValues = 0 },
		"a dictionary behind":     func(c *format.ColumnMetaData) { c.DictionaryPageOffset = c.DataPageOffset + 1 },
		"a dictionary before all": func(c *format.ColumnMetaData) { c.DictionaryPageOffset = -5 },
		"data within a page": func(c *format.ColumnMetaData) {
			c.DictionaryPageOffset = c.DataPageOffset
			c.DataPageOffset++
		},
	} {
		_, err := readRows(withMetadata(t, good, func(m *format.FileMetaData) { change(&m.RowGroups[0].Columns[0].MetaData) }))
		if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "column 1 ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestParquetPagesUnpackToWhatTheySay has the header of a page say less than the page unpacks to:
// the library would unpack all of it.
func TestParquetPagesUnpackToWhatTheySay(t *testing.T) {
	type text struct{ A string }
	rows := slices.Repeat([]text{{strings.Repeat("a", 1<<14)}}, 64)
	for name, codec := range map[string]compress.Codec{"snappy": &parquet.Snappy, "gzip": &parquet.Gzip, "zstd": &parquet.Zstd, "brotli": &parquet.Brotli} {
		for version := 1; version <= 2; version++ {
			var b bytes.Buffer
			w := parquet.NewGenericWriter[text](&b, parquet.Compression(codec), parquet.DataPageVersion(version))
			if _, err := w.Write(rows); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			for _, less := range []int32{0, 1, 1 << 19} {
				_, err := readRows(withFirstPage(t, b.Bytes(), func(h *format.PageHeader, body []byte) []byte {
					h.UncompressedPageSize -= less
					return body
				}))
				told := pavise.KindOf(err) == pavise.Invalid && strings.Contains(err.Error(), "it unpacks to more than it says")
				if less == 0 && err != nil || less > 0 && !told {
					t.Errorf("%s, version %d, %d bytes less: %v", name, version, less, err)
				}
			}
		}
	}
}

// TestParquetLZ4IsRefused has the library lose the values of a page, and make room without end for
// one that is damaged, unless it never sees them.
func TestParquetLZ4IsRefused(t *testing.T) {
	good := writeParquet(t, trades(80), parquet.Compression(&parquet.Lz4Raw))
	if _, err := readRows(good); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "packed with LZ4_RAW") {
		t.Error(err)
	}
	// A second row group that is packed otherwise than the first, by which the library reads both.
	var b bytes.Buffer
	w := parquet.NewGenericWriter[trade](&b, parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(40))
	if _, err := w.Write(trades(80)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	bad := withMetadata(t, b.Bytes(), func(m *format.FileMetaData) { m.RowGroups[1].Columns[0].MetaData.Codec = format.Gzip })
	if _, err := readRows(bad); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "packed in two ways") {
		t.Error(err)
	}
}

// TestParquetWithoutRows reads a row group without rows, of whose pages the footer says nothing
// true, as pyarrow writes it.
func TestParquetWithoutRows(t *testing.T) {
	none := func(rows int64) []byte {
		return withMetadata(t, writeParquet(t, trades(3)), func(m *format.FileMetaData) {
			m.NumRows, m.RowGroups[0].NumRows = rows, rows
			for i := range m.RowGroups[0].Columns {
				c := &m.RowGroups[0].Columns[i].MetaData
				c.NumValues, c.DataPageOffset, c.DictionaryPageOffset, c.TotalCompressedSize = 0, 0, 4, 15
			}
		})
	}
	if rows, err := readRows(none(0)); len(rows) != 0 || err != nil {
		t.Error(rows, err)
	}
	if _, err := readRows(none(3)); pavise.KindOf(err) != pavise.Invalid {
		t.Error(err)
	}
}

// TestParquetPagesAreWhatTheirHeadersSay has a page of a few bytes make billions of values of them,
// for which the library makes room before it looks how many there ought to be.
func TestParquetPagesAreWhatTheirHeadersSay(t *testing.T) {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[struct {
		A int64 `parquet:"a,delta"`
	}](&b, parquet.DataPageVersion(1))
	if _, err := w.Write(make([]struct {
		A int64 `parquet:"a,delta"`
	}, 300)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, many := range []uint64{0, 1<<31 - 1} {
		_, err := readRows(withFirstPage(t, b.Bytes(), func(h *format.PageHeader, body []byte) []byte {
			if many > 0 {
				body = append(binary.AppendUvarint([]byte{0x80, 0x80, 4, 4}, many), make([]byte, 64)...)
				h.UncompressedPageSize, h.CompressedPageSize = int32(len(body)), int32(len(body))
			}
			return body
		}))
		if told := pavise.KindOf(err) == pavise.Invalid && strings.Contains(err.Error(), "more values than it says"); many == 0 && err != nil || many > 0 && !told {
			t.Errorf("%d values: %v", many, err)
		}
	}
}

// withFirstPage changes the first page of a file of one column and one page.
func withFirstPage(t testing.TB, good []byte, change func(h *format.PageHeader, body []byte) []byte) []byte {
	t.Helper()
	var h format.PageHeader
	body := good[len(parquetMagic):]
	size, err := parquetpage.Walk(body, func([]int16, bool, int64) {})
	if err == nil {
		err = compact.Unmarshal(new(compact.CompactProtocol), body[:size], &h)
	}
	if err != nil {
		t.Fatal(err)
	}
	page := change(&h, body[size:size+int(h.CompressedPageSize)])
	header, err := compact.Marshal(new(compact.CompactProtocol), &h)
	if err != nil {
		t.Fatal(err)
	}
	chunk := append(header, page...)
	return withMetadata(t, slices.Concat([]byte(parquetMagic), chunk, body), func(m *format.FileMetaData) {
		c := &m.RowGroups[0].Columns[0].MetaData
		c.DataPageOffset, c.DictionaryPageOffset, c.TotalCompressedSize = int64(len(parquetMagic)), 0, int64(len(chunk))
	})
}

// TestParquetOpenPages has all columns of a file be one page of a few bytes that unpacks to
// very many: what is open at a time is bounded.
func TestParquetOpenPages(t *testing.T) {
	columns := parquet.Group{}
	for i := range 12 {
		columns[fmt.Sprint("c", i)] = parquet.Leaf(parquet.Int64Type)
	}
	var file bytes.Buffer
	w := parquet.NewWriter(&file, parquet.NewSchema("wide", columns))
	if _, err := w.WriteRows([]parquet.Row{wideRow(12)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	large := format.PageHeader{Type: format.DataPage, UncompressedPageSize: 200 << 20, CompressedPageSize: 64 << 10}
	large.DataPageHeader.Valid, large.DataPageHeader.V.NumValues = true, 1
	header, err := compact.Marshal(new(compact.CompactProtocol), &large)
	if err != nil {
		t.Fatal(err)
	}
	chunk := append(header, make([]byte, 64<<10)...)
	good := slices.Concat([]byte(parquetMagic), chunk, file.Bytes()[len(parquetMagic):])
	bad := withMetadata(t, good, func(m *format.FileMetaData) {
		for i := range m.RowGroups[0].Columns {
			c := &m.RowGroups[0].Columns[i].MetaData
			c.DataPageOffset, c.DictionaryPageOffset, c.TotalCompressedSize = int64(len(parquetMagic)), 0, int64(len(chunk))
		}
	})
	if _, err := readRows(bad); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "together") {
		t.Error(err)
	}
}

func wideRow(n int) (row parquet.Row) {
	for i := range n {
		row = append(row, parquet.Int64Value(1).Level(0, 0, i))
	}
	return row
}

// TestParquetLongRows reads rows that are short in the file and long when they are spelled.
func TestParquetLongRows(t *testing.T) {
	type list struct {
		V []int32 `parquet:"v"`
	}
	type words struct {
		V []string `parquet:"v,dict"`
	}
	long := words{V: make([]string, 2000)}
	for i := range long.V {
		long.V[i] = strings.Repeat("x", 100<<10)
	}
	for want, b := range map[string][]byte{
		"values in one row":           parquetOf(t, []list{{V: []int32{1}}, {V: make([]int32, maxRowValues+1)}}),
		"row 2 is longer than 64 MiB": parquetOf(t, []words{{V: []string{"a"}}, long}),
	} {
		if _, err := readRows(b); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	many, err := readRows(parquetOf(t, []list{{V: make([]int32, 1<<20)}, {V: []int32{1, 2}}, {}}))
	if err != nil || len(many) != 3 {
		t.Errorf("%d rows, %v", len(many), err)
	}
}

func parquetOf[T any](t testing.TB, rows []T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, parquet.Compression(&parquet.Snappy))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestParquetBytesMatter flips bytes of a file one by one: each is refused, or leaves other
// rows or the same, and nothing ends the program.
func TestParquetBytesMatter(t *testing.T) {
	good := writeParquet(t, trades(50), parquet.Compression(&parquet.Snappy))
	refused := 0
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x55
		if _, err := readRows(b); err != nil {
			refused++
		}
	}
	if refused < len(good)/10 {
		t.Errorf("%d of %d flips were refused", refused, len(good))
	}
}

// FuzzParquet reads anything.
func FuzzParquet(f *testing.F) {
	f.Add(writeParquet(f, trades(5)))
	f.Add(writeParquet(f, trades(20), parquet.Compression(&parquet.Snappy), parquet.DataPageVersion(1)))
	f.Add([]byte("PAR1PAR1PAR1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := readRows(b); err != nil && pavise.KindOf(err) != pavise.Invalid {
			t.Fatal(err)
		}
	})
}
