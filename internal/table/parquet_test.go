package table

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/pavise/pavise"
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
		"zstd": {parquet.Compression(&parquet.Zstd)}, "lz4": {parquet.Compression(&parquet.Lz4Raw)}, "brotli": {parquet.Compression(&parquet.Brotli)},
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
