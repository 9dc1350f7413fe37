package gguf_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/gguf"
)

// file is one with a text and a tensor of so many dimensions, and so many bytes behind.
func file(tensors, kind, at uint64, behind int, dimensions ...uint64) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte(gguf.Magic), 3)
	b = le.AppendUint64(le.AppendUint64(b, tensors), 1)
	text := func(s string) { b = append(le.AppendUint64(b, uint64(len(s))), s...) }
	text("general.name")
	b = le.AppendUint32(b, 8)
	text("a model")
	text("blk.0.weight")
	b = le.AppendUint32(b, uint32(len(dimensions)))
	for _, d := range dimensions {
		b = le.AppendUint64(b, d)
	}
	b = le.AppendUint64(le.AppendUint32(b, uint32(kind)), at)
	return append(b, make([]byte, behind)...)
}

// TestLook reads files whose tensors are there, and others whose are not.
func TestLook(t *testing.T) {
	for _, c := range []struct {
		what  string
		file  []byte
		wrong string // a part of it; empty: nothing is wrong
	}{
		{"numbers", file(1, 0, 0, 48, 4, 3), ""},
		{"numbers behind others", file(1, 0, 64, 112, 4, 3), ""},
		{"blocks", file(1, 8, 0, 68, 64), ""},
		{"a new type", file(1, 200, 0, 8, 64), ""},
		{"one byte too few", file(1, 0, 0, 47, 4, 3), "take 48 bytes, and there are 47"},
		{"blocks that end early", file(1, 8, 0, 67, 64), "take 68 bytes"},
		{"a place behind the end", file(1, 0, 1<<40, 48, 4, 3), "take 1099511627824 bytes"},
		{"a place beyond numbers", file(1, 0, 1<<63, 48, 4, 3), "number 1"},
		{"half a block", file(1, 8, 0, 68, 65), "number 1"},
		{"more values than numbers count", file(1, 0, 0, 48, 1<<40, 1<<40), "number 1"},
		{"more than there are", file(2, 0, 0, 0, 4, 3), "number 2"},
		{"more than any model has", file(1<<60, 0, 0, 48, 4, 3), "as no model has"},
		{"too many dimensions", file(1, 0, 0, 480, 1, 1, 1, 1, 1, 1, 1, 1, 1), "number 1"},
	} {
		texts := ""
		wrong, err := gguf.Look(bytes.NewReader(c.file), func(key, text string) { texts += key + "=" + text })
		if err != nil || (wrong == "") != (c.wrong == "") || !strings.Contains(wrong, c.wrong) || texts != "general.name=a model" {
			t.Errorf("%s: %q, %v, %s", c.what, wrong, err, texts)
		}
	}
}

func FuzzLook(f *testing.F) {
	f.Add(file(1, 0, 0, 48, 4, 3))
	f.Add(file(1, 8, 0, 68, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		gguf.Look(bytes.NewReader(b), func(_, text string) {
			if len(text) > gguf.MaxText {
				t.Error("a text is longer than its bound")
			}
		})
	})
}
