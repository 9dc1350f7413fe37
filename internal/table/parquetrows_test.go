package table

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/pavise/pavise"
)

// written puts bytes into a file.
func written(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestParquetTable: the columns of Parquet are the leaves of its schema, each value is a cell,
// and what a row is by its bytes is what it is sealed as.
func TestParquetTable(t *testing.T) {
	b := writeParquet(t, trades(500), parquet.Compression(&parquet.Snappy))
	f, err := Open(written(t, "trades", b), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if want := []string{"id", "name", "price", "note", "tags.list.element"}; f.Format() != Parquet || !slices.Equal(f.Columns(), want) || f.Headed() {
		t.Errorf("%s with the columns %q", f.Format(), f.Columns())
	}
	sealed, err := readRows(b)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for row, err := range f.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		note, tags := Cell{Text, fmt.Appendf(nil, "note %d", n)}, Other
		if n%3 > 0 {
			note = Cell{Kind: Absent}
		}
		want := []Cell{{Number, fmt.Appendf(nil, "%d", n)}, {Text, fmt.Appendf(nil, "stock %d", n%7)}, {Number, appendNumber(nil, float64(n)/3)}, note, {Kind: tags}}
		for j, w := range want {
			if got := row.Cell(j); got.Kind != w.Kind || !bytes.Equal(got.Text, w.Text) {
				t.Fatalf("row %d, column %d: %s %q, want %s %q", n+1, j, got.Kind, got.Text, w.Kind, w.Text)
			}
		}
		if sha256.Sum256(row.Raw()) != sealed[n] || row.Line() != int64(n)+1 {
			t.Fatalf("row %d is another one than the sealed", n+1)
		}
		n++
	}
	if n != 500 {
		t.Errorf("%d rows", n)
	}
}

// TestParquetValues holds how values of each type are read.
func TestParquetValues(t *testing.T) {
	type inner struct {
		Small uint8  `parquet:"small"`
		Large uint64 `parquet:"large"`
	}
	type row struct {
		Yes   bool     `parquet:"yes"`
		Half  float32  `parquet:"half"`
		Cents int32    `parquet:"cents,decimal(2:9)"`
		Wide  [9]byte  `parquet:"wide,decimal(3:20)"`
		ID    [16]byte `parquet:"id,uuid"`
		Bytes []byte   `parquet:"bytes"`
		Inner inner    `parquet:"inner"`
	}
	one := row{Yes: true, Half: 0.5, Cents: -1234, Bytes: []byte{0xff}, Inner: inner{200, 1<<64 - 1}}
	copy(one.Wide[:], bytes.Repeat([]byte{0xff}, 9)) // -1
	f, err := Open(written(t, "values.parquet", parquetOf(t, []row{one})), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string]string{"yes": "boolean true", "half": "number 0.5", "cents": "number -12.34", "wide": "number -0.001",
		"id": "text 00000000000000000000000000000000", "bytes": "object or list ", "inner.small": "number 200", "inner.large": "number 18446744073709551615"}
	for r, err := range f.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		for j, name := range f.Columns() {
			c := r.Cell(j)
			if got := fmt.Sprintf("%s %s", c.Kind, c.Text); got != want[name] {
				t.Errorf("%s is %q, want %q", name, got, want[name])
			}
		}
	}
}

// TestParquetTableIsRefused: what is damaged, without rows, packed, or left in the middle.
func TestParquetTableIsRefused(t *testing.T) {
	good := writeParquet(t, trades(300))
	for name, b := range map[string][]byte{"cut off": good[:len(good)-9], "no rows": parquetOf(t, []trade{}), "magic alone": []byte("PAR1")} {
		if _, err := Open(written(t, "t.parquet", b), Options{}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewReader(bytes.NewReader(good), "t.parquet", Options{}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("from a stream: %v", err)
	}
	f, err := Open(written(t, "t.parquet", good), Options{Format: Parquet})
	if err != nil {
		t.Fatal(err)
	}
	for range f.Rows() {
		break
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for range f.Rows() {
		t.Log("the row that was ahead") // or none
	}
}

// FuzzParquetTable reads anything as a table.
func FuzzParquetTable(f *testing.F) {
	f.Add(writeParquet(f, trades(5)))
	f.Add([]byte("PAR1PAR1PAR1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := newFile("t.parquet", Options{})
		if err := file.parquet(bytes.NewReader(b), int64(len(b))); err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatal(err)
			}
			return
		}
		defer file.Close()
		for row, err := range file.Rows() {
			if err != nil {
				return
			}
			for j := range file.Width() {
				row.Value(j)
				row.Cell(j)
			}
		}
	})
}
