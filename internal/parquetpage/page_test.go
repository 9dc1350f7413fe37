package parquetpage

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
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
	page := func(levels, unpacked int64, plain bool) error {
		h := &Header{Kind: int64(format.DataPageV2), Packed: 11, Unpacked: unpacked, levels: levels, plain: plain}
		_, err := c.Page(format.Snappy, h, Column{}, strings.NewReader("LLLLL\x04\x0c4567"))
		return err
	}
	for name, err := range map[string]error{"as long as it says": page(5, 4, false), "not packed": page(5, 1, true), "levels alone": page(11, 9, false)} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{"longer": page(5, 3, false), "levels beyond it": page(12, 9, false)} {
		if err == nil {
			t.Errorf("%s: it passed", name)
		}
	}
}

// TestContent holds what few bytes make very much of to what the header says: 10 values.
func TestContent(t *testing.T) {
	huge := binary.AppendUvarint(nil, 2*(1<<30)) // a run of 2^30
	long := func(b []byte) []byte { return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...) }
	deltas := func(n uint64, first int64, rest ...byte) []byte {
		b := binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, 128), 4), n)
		return append(binary.AppendVarint(b, first), rest...)
	}
	flat, nested, truth := Column{}, Column{Repetition: 1, Definition: 3}, Column{Boolean: true}
	v1 := func(encoding format.Encoding) Header {
		return Header{Kind: int64(format.DataPage), Most: 10, v1: 10, encoding: int64(encoding), repetition: int64(format.RLE), definition: int64(format.RLE)}
	}
	v2 := func(before, levels, nulls int64) Header {
		return Header{Kind: int64(format.DataPageV2), Most: 10, v2: 10, before: before, levels: levels, nulls: nulls}
	}
	ten := []byte{20, 1}                  // a run of ten ones
	same := []byte{0, 0, 0, 0, 0}         // a block of which each number is as the one before
	large := deltas(10, 200<<20, same...) // ten times 200 MiB in common
	for name, c := range map[string]struct {
		h    Header
		of   Column
		b    []byte
		good bool
	}{
		"levels":                      {v1(format.Plain), nested, slices.Concat(long(ten), long(ten)), true},
		"levels of repetition, long":  {v1(format.Plain), nested, slices.Concat(long(append(huge, 1)), long(ten)), false},
		"levels of definition, long":  {v1(format.Plain), nested, slices.Concat(long(ten), long(append(huge, 1))), false},
		"many long levels":            {v1(format.Plain), nested, slices.Concat(long(bytes.Repeat([]byte{0x80, 0x80, 8, 1}, 9)), long(ten)), false},
		"levels cut off":              {v1(format.Plain), nested, []byte{9, 0, 0, 0, 1}, false},
		"levels of version 2":         {v2(2, 4, 0), nested, slices.Concat(ten, ten), true},
		"version 2, long":             {v2(2, 8, 0), nested, slices.Concat(ten, huge, []byte{1}), false},
		"version 2, nulls below none": {v2(2, 4, -1), nested, slices.Concat(ten, ten), false},
		"version 2, too many nulls":   {v2(2, 4, 11), nested, slices.Concat(ten, ten), false},
		"indexes":                     {v1(format.RLEDictionary), flat, append([]byte{8}, ten...), true},
		"indexes in a group":          {v1(format.RLEDictionary), flat, append([]byte{1, 5}, 255, 1), true},
		"a group that is cut off":     {v1(format.RLEDictionary), flat, append([]byte{8, 0xff, 0xff, 0xff, 7}, 1), false},
		"indexes, long":               {v1(plainDictionary), flat, slices.Concat([]byte{8}, huge, []byte{1}), false},
		"indexes of no bits, long":    {v1(format.RLEDictionary), flat, append([]byte{0}, huge...), false},
		"runs of truth":               {v1(format.RLE), truth, long(ten), true},
		"runs of truth, long":         {v1(format.RLE), truth, long(append(huge, 1)), false},
		"runs of numbers":             {v1(format.RLE), flat, long(ten), false},
		"differences":                 {v1(format.DeltaBinaryPacked), flat, deltas(10, 7, same...), true},
		"differences, many":           {v1(format.DeltaBinaryPacked), flat, deltas(1<<31-1, 7, same...), false},
		"lengths, many":               {v1(format.DeltaLengthByteArray), flat, deltas(11, 7, same...), false},
		"texts":                       {v1(format.DeltaByteArray), flat, slices.Concat(deltas(10, 1, same...), deltas(10, 1, same...)), true},
		"texts that begin alike":      {v1(format.DeltaByteArray), flat, slices.Concat(large, deltas(10, 1, same...)), false},
		"a beginning below none":      {v1(format.DeltaByteArray), flat, slices.Concat(deltas(10, -1, same...), deltas(10, 1, same...)), false},
		"a dictionary of runs":        {Header{Kind: int64(format.DictionaryPage), Most: 10, encoding: int64(format.RLE)}, flat, long(ten), false},
	} {
		if _, err := c.h.content(c.b, c.of); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	// 5, and then 1 and 0, 1 and 1, 1 and 3 more, in two bits each.
	texts := slices.Concat(deltas(4, 5, 2, 2, 0, 0, 0, 0b110100, 0, 0, 0, 0, 0, 0, 0), deltas(4, 1, same...))
	h := v1(format.DeltaByteArray)
	if more, err := h.content(texts, flat); err != nil || more != 5+6+8+12 {
		t.Errorf("texts have %d bytes in common, %v", more, err)
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
			_, _ = c.Page(codec, &h, Column{1, 3, false}, bytes.NewReader(b[h.Size:]))
		}
	})
}
