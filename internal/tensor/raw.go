package tensor

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/pavise/pavise/internal/decimal"
)

// SetRaw fills the tensor, whose shape and datatype are known, from raw bytes as the
// binary tensor extension and raw_input_contents have them: row-major, little-endian,
// one byte for a BOOL, four bytes of length before each BYTES element. It returns
// what is wrong, and what to do, or "". The tensor shares no memory with b.
func (t *Tensor) SetRaw(b []byte, lim Limits) (hint, why string) {
	count := int(volume(t.Shape)) // bounded by lim when the shape was read
	if t.Datatype == Bytes {
		return t.setRawBytes(b, count, lim)
	}
	size := (t.Datatype.Bits() + 7) / 8
	if len(b)/size != count || len(b)%size != 0 {
		return "send exactly the bytes of its elements", fmt.Sprintf("%d raw bytes where %d elements of %s take %d", len(b), count, t.Datatype, count*size)
	}
	switch t.Datatype.Family() {
	case Boolean:
		list := lim.Room.bools().take(count)
		for i, c := range b {
			if c > 1 {
				return "a BOOL is the byte 0 or 1", fmt.Sprintf("the byte %d as BOOL at element %d", c, i)
			}
			list = append(list, c == 1)
		}
		t.Data.Bools = list
	case Unsigned:
		list := lim.Room.uints().take(count)
		for ; len(b) > 0; b = b[size:] {
			list = append(list, little(b[:size]))
		}
		t.Data.Uints = list
	case Signed:
		list, unused := lim.Room.ints().take(count), 64-8*size
		for ; len(b) > 0; b = b[size:] {
			list = append(list, int64(little(b[:size])<<unused)>>unused)
		}
		t.Data.Ints = list
	default:
		return t.setRawFloats(b, count, lim)
	}
	return "", ""
}

// setRawFloats is SetRaw for floats. They are finite, as they are in JSON.
func (t *Tensor) setRawFloats(b []byte, count int, lim Limits) (hint, why string) {
	list, size := lim.Room.floats().take(count), t.Datatype.Bits()/8
	for ; len(b) > 0; b = b[size:] {
		v := floatOfBits(t.Datatype, little(b[:size]))
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "give every element a finite value", fmt.Sprintf("%v at element %d, which is no number that the model is asked about", v, len(list))
		}
		list = append(list, v)
	}
	t.Data.Floats = list
	return "", ""
}

// setRawBytes is SetRaw for BYTES.
func (t *Tensor) setRawBytes(b []byte, count int, lim Limits) (hint, why string) {
	const ahead = "write the length of each element before it, as four bytes, little-endian"
	if len(b)/4 < count { // before memory is taken for what cannot be there
		return ahead, fmt.Sprintf("%d raw bytes, which do not hold %d BYTES elements", len(b), count)
	}
	list := lim.Room.bytes().take(count)
	for i := range count {
		if len(b) < 4 {
			return ahead, fmt.Sprintf("the raw bytes end before element %d of %d", i, count)
		}
		n := binary.LittleEndian.Uint32(b)
		b = b[4:]
		switch {
		case uint64(n) > uint64(lim.MaxBytesLen):
			return "shorten it", fmt.Sprintf("element %d has %d bytes, more than %d", i, n, lim.MaxBytesLen)
		case uint64(n) > uint64(len(b)):
			return ahead, fmt.Sprintf("element %d has %d bytes, and %d follow", i, n, len(b))
		}
		list = append(list, append(lim.Room.octets().take(int(n)), b[:n]...))
		b = b[n:]
	}
	if len(b) > 0 {
		return ahead, fmt.Sprintf("%d raw bytes follow the last element", len(b))
	}
	t.Data.Bytes = list
	return "", ""
}

// little is a little-endian number of up to eight bytes.
func little(b []byte) uint64 {
	switch len(b) {
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	case 8:
		return binary.LittleEndian.Uint64(b)
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	}
	return uint64(b[0])
}

// floatOfBits is the number that the bits of datatype d mean (IEEE 754; BF16 is the
// upper half of a binary32).
func floatOfBits(d Datatype, bits uint64) float64 {
	switch d {
	case FP16:
		return decimal.HalfOfBits(uint16(bits))
	case BF16:
		return float64(math.Float32frombits(uint32(bits) << 16))
	case FP32:
		return float64(math.Float32frombits(uint32(bits)))
	}
	return math.Float64frombits(bits)
}

// RawLen returns how many raw bytes the tensor's elements take.
func (t *Tensor) RawLen() int {
	if t.Datatype != Bytes {
		return t.Len() * ((t.Datatype.Bits() + 7) / 8)
	}
	total := 0
	for _, b := range t.Data.Bytes {
		total += 4 + len(b)
	}
	return total
}

// AppendRaw appends the tensor's elements as SetRaw reads them. They fit: see Unfit.
func (t *Tensor) AppendRaw(dst []byte) []byte {
	le := binary.LittleEndian
	for _, v := range t.Data.Bools {
		dst = append(dst, bit(v))
	}
	for _, v := range t.Data.Uints {
		dst = appendLittle(dst, v, t.Datatype.Bits())
	}
	for _, v := range t.Data.Ints {
		dst = appendLittle(dst, uint64(v), t.Datatype.Bits())
	}
	switch t.Datatype {
	case FP32:
		for _, v := range t.Data.Floats {
			dst = le.AppendUint32(dst, math.Float32bits(float32(v)))
		}
	case FP64:
		for _, v := range t.Data.Floats {
			dst = le.AppendUint64(dst, math.Float64bits(v))
		}
	case FP16:
		for _, v := range t.Data.Floats {
			dst = le.AppendUint16(dst, decimal.BitsOfHalf(decimal.RoundHalf(v)))
		}
	case BF16:
		for _, v := range t.Data.Floats {
			dst = le.AppendUint16(dst, uint16(math.Float32bits(float32(decimal.RoundBrain(v)))>>16))
		}
	}
	for _, v := range t.Data.Bytes {
		dst = append(le.AppendUint32(dst, uint32(len(v))), v...)
	}
	return dst
}

// appendLittle appends the low bits of v.
func appendLittle(dst []byte, v uint64, bits int) []byte {
	for ; bits > 0; bits -= 8 {
		dst = append(dst, byte(v))
		v >>= 8
	}
	return dst
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}
