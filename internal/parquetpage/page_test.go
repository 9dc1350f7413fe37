package parquetpage

import (
	"bytes"
	"math"
	"strings"
	"testing"

	compact "github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

func spelled(t testing.TB, h *format.PageHeader) []byte {
	t.Helper()
	b, err := compact.Marshal(new(compact.CompactProtocol), h)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHeader reads a page that has the headers of two kinds: what it is by its kind counts, and
// the most that any says.
func TestHeader(t *testing.T) {
	two := format.PageHeader{Type: format.DataPage, UncompressedPageSize: 5, CompressedPageSize: 6}
	two.DataPageHeader.Valid, two.DataPageHeader.V.NumValues = true, 3
	v2 := &two.DataPageHeaderV2
	v2.Valid, v2.V.NumValues, v2.V.DefinitionLevelsByteLength, v2.V.RepetitionLevelsByteLength = true, 1<<20, 4, 7
	v2.V.IsCompressed.Valid = true // and says that it is not
	b := spelled(t, &two)
	h, err := Read(append(b, 1, 2, 3))
	if err != nil || h.Values() != 3 || h.Most != 1<<20 || h.Packed != 6 || h.Unpacked != 5 || h.Size != int64(len(b)) || h.levels != 11 || !h.plain {
		t.Errorf("%+v, %v", h, err)
	}
	if v2.V.IsCompressed.V = true; true {
		h, err = Read(spelled(t, &two))
	}
	if err != nil || h.plain {
		t.Errorf("%+v, %v", h, err)
	}
	two.DataPageHeader.V.NumValues = -1
	if h, err := Read(spelled(t, &two)); err != nil || h.Most != math.MaxInt64 {
		t.Errorf("%+v, %v", h, err)
	}
	if h, err := ReadAt(bytes.NewReader(b[:len(b)-1]), 0, int64(len(b)-1)); err != nil || h.Size != 0 {
		t.Errorf("of a header that is cut off: %+v, %v", h, err)
	}
}

// TestLevelsAreNotPacked looks at a page of version 2, whose levels stand before what is packed.
func TestLevelsAreNotPacked(t *testing.T) {
	var c Check
	defer c.Close()
	text := format.Snappy
	page := func(levels, unpacked int64, plain bool) error {
		h := &Header{Kind: int64(format.DataPageV2), Packed: 9, Unpacked: unpacked, levels: levels, plain: plain}
		return c.Page(text, h, strings.NewReader("LLLLL\x064567"))
	}
	for name, err := range map[string]error{"as long as it says": page(5, 6, false), "not packed": page(5, 1, true), "levels alone": page(9, 9, false)} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{"longer": page(5, 5, false), "levels beyond it": page(10, 9, false)} {
		if err == nil {
			t.Errorf("%s: it passed", name)
		}
	}
}

// FuzzPage looks at anything, packed in every way.
func FuzzPage(f *testing.F) {
	h := format.PageHeader{Type: format.DataPage, UncompressedPageSize: 5, CompressedPageSize: 6}
	f.Add(append(spelled(f, &h), 0x1f, 0x8b, 8, 0, 0, 0))
	f.Add(append(spelled(f, &h), 0x28, 0xb5, 0x2f, 0xfd, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Read(b)
		if err != nil || h.Size > int64(len(b)) || h.Unpacked < 0 || h.Unpacked > 1<<20 {
			return
		}
		var c Check
		defer c.Close()
		for codec := range format.CompressionCodec(8) {
			_ = c.Page(codec, &h, bytes.NewReader(b[h.Size:]))
		}
	})
}
