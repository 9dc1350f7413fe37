// Package gguf reads files of GGUF (ggml, docs/gguf.md) as far as they say something of themselves: the
// texts of their metadata, and whether what they say of their tensors can be so. It owns no state.
package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
)

// Magic is what such files begin with.
const Magic = "GGUF"

// Bounds of what is read.
const (
	MaxText    = 1 << 20 // bytes of a text; what is beyond is passed over
	maxPairs   = 1 << 16
	maxKey     = 1 << 16
	maxTensors = 1 << 20
)

var errDamaged = errors.New("its metadata is damaged")

// widths are the sizes of the types of values (GGUF's specification, ggml docs/gguf.md).
var widths = map[uint32]int64{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

// blocks are how many values of a type of tensors are kept together, and in how many bytes (ggml.h).
// Of a type that is not here, which may be new, nobody knows how long its tensors are.
var blocks = map[uint64][2]uint64{
	0: {1, 4}, 1: {1, 2}, 2: {32, 18}, 3: {32, 20}, 6: {32, 22}, 7: {32, 24}, 8: {32, 34}, 10: {256, 84}, 11: {256, 110},
	12: {256, 144}, 13: {256, 176}, 14: {256, 210}, 15: {256, 292}, 16: {256, 66}, 17: {256, 74}, 18: {256, 98}, 19: {256, 50},
	20: {32, 18}, 21: {256, 110}, 22: {256, 82}, 23: {256, 136}, 24: {1, 1}, 25: {1, 2}, 26: {1, 4}, 27: {1, 8}, 28: {1, 8},
	29: {256, 56}, 30: {1, 2}, 34: {256, 54}, 35: {256, 66}, 39: {32, 17},
}

// Look reads a file to its end, and gives the texts of its metadata away, with their keys. The error
// says why it cannot be read; wrong, of one that can, what it says of its tensors that cannot be so:
// readers have written beyond their memory by numbers that are not so (CVE-2024-21836).
func Look(in io.Reader, text func(key, text string)) (wrong string, err error) {
	var head [24]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return "", err
	}
	pairs := binary.LittleEndian.Uint64(head[16:])
	if v := binary.LittleEndian.Uint32(head[4:]); v < 2 || v > 3 || pairs > maxPairs {
		return "", fmt.Errorf("its version is %d, with %d entries of metadata: such are not read", v, pairs)
	}
	r := reader{in}
	for range pairs {
		key, err := r.text(maxKey)
		if err == nil {
			err = r.value(func(t string) { text(key, t) })
		}
		if err != nil {
			return "", errDamaged
		}
	}
	return r.tensors(binary.LittleEndian.Uint64(head[8:])), nil
}

// tensors reads what is said of tensors, and what is behind it. It says what cannot be so.
func (g reader) tensors(n uint64) (wrong string) {
	if n > maxTensors {
		return fmt.Sprintf("it says that it has %d tensors, as no model has", n)
	}
	last := uint64(0) // where the tensor that goes furthest ends
	for i := range n {
		name, err := g.text(maxKey)
		var end uint64
		if err == nil {
			end, err = g.tensor()
		}
		if err != nil {
			return fmt.Sprintf("it says that it has %d tensors, and what it says of number %d, %.80q, is none: %v", n, i+1, name, err)
		}
		last = max(last, end)
	}
	if there, _ := io.Copy(io.Discard, g.r); uint64(there) < last {
		return fmt.Sprintf("its tensors take %d bytes, and there are %d", last, there)
	}
	return ""
}

// tensor reads what is said of one, and returns where it ends.
func (g reader) tensor() (end uint64, err error) {
	dimensions, err := g.number(4)
	if err != nil || dimensions > 8 {
		return 0, errors.Join(err, errDamaged)
	}
	values, row := uint64(1), uint64(1)
	for i := range dimensions {
		d, err := g.number(8)
		over, product := bits.Mul64(values, d)
		if err != nil || over > 0 || product > 1<<48 {
			return 0, errors.Join(err, errDamaged)
		}
		if values = product; i == 0 {
			row = d
		}
	}
	kind, err := g.number(4)
	if err != nil {
		return 0, err
	}
	at, err := g.number(8)
	block, known := blocks[kind]
	switch {
	case err != nil || at > 1<<60:
		return 0, errors.Join(err, errDamaged)
	case !known:
		return at, nil
	case row%block[0] > 0:
		return 0, errDamaged
	}
	return at + values/block[0]*block[1], nil
}

type reader struct{ r io.Reader }

func (g reader) number(n int) (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(g.r, b[:n])
	return binary.LittleEndian.Uint64(b[:]), err
}

func (g reader) skip(n int64) error {
	_, err := io.CopyN(io.Discard, g.r, n)
	return err
}

// text reads a text; what is beyond the bound is passed over.
func (g reader) text(most uint64) (string, error) {
	n, err := g.number(8)
	if err != nil || n > 1<<32 {
		return "", errors.Join(err, errDamaged)
	}
	var b strings.Builder
	if _, err := io.CopyN(&b, g.r, int64(min(n, most))); err != nil {
		return "", err
	}
	return b.String(), g.skip(int64(n) - int64(b.Len()))
}

// value reads a value, and gives its texts away.
func (g reader) value(text func(string)) error {
	kind, err := g.number(4)
	if err != nil {
		return err
	}
	if kind != 9 {
		return g.one(uint32(kind), text)
	}
	of, err := g.number(4)
	if err != nil {
		return err
	}
	n, err := g.number(8)
	if err != nil || n > 1<<32 {
		return errors.Join(err, errDamaged)
	}
	if width, ok := widths[uint32(of)]; ok {
		return g.skip(width * int64(n))
	}
	for range n {
		if err := g.one(uint32(of), text); err != nil {
			return err
		}
	}
	return nil
}

func (g reader) one(kind uint32, text func(string)) error {
	if width, ok := widths[kind]; ok {
		return g.skip(width)
	}
	if kind != 8 {
		return errDamaged // a list of lists, which nothing writes
	}
	t, err := g.text(MaxText)
	if err == nil {
		text(t)
	}
	return err
}
