package decimal

import (
	"math"
	"strconv"
)

// rereads is the one FP32, with its negative, whose shortest decimal form becomes
// another FP32 in a server that reads every number as a float64 and narrows it
// afterwards. All finite float32s were tried.
const rereads = float64(float32(7.038531e-26))

// Append appends v, a finite number of the given bit size, in its shortest
// form that reads back as the same number. Large and small magnitudes take an
// exponent at the same places as in ECMAScript, and so as in encoding/json.
func Append(dst []byte, v float64, bits int) []byte {
	a := math.Abs(v)
	if dst, ok := appendShort(dst, v, a, bits); ok {
		return dst
	}
	form, size := byte('f'), max(bits, 32)
	if a != 0 && (a < 1e-6 || a >= 1e21) {
		form = 'e'
	}
	if a == rereads {
		size = 64
	}
	return strconv.AppendFloat(dst, v, form, -1, size)
}

// appendShort appends v, whose absolute value is a, if it is a decimal of few digits: an
// integer m over a power of ten. Scores that were rounded are such, and so is most of
// what people measure. The result is the shortest that reads back, as strconv finds it.
//
// Let k be the number of decimals, and m the integer nearest to a × 10^k. A decimal that
// reads back as v lies within half a unit in v's last place, which is at most m × 2^-24
// steps of 10^-k for FP32 and m × 2^-53 for FP64. While m is within the bounds here that
// is a quarter of a step at most, with room for the rounding of the product, so no other
// decimal of k places reads back as v. So the largest k within the bounds decides for all
// smaller ones: the decimal of fewer digits, if there is one, is m with zeros behind it.
// The quotient is rounded once, or safely twice (see Number.Float).
func appendShort(dst []byte, v, a float64, bits int) ([]byte, bool) {
	most, near, k := float64(1<<22), 0x1p-22, 6
	if bits == 64 {
		most, near, k = 1<<49, 0x1p-51, 15
	}
	if a == 0 || a < 1e-6 || a > most {
		return dst, false
	}
	for a*pow10[k] > most {
		k--
	}
	x := a * pow10[k]
	whole := math.Floor(x + 0.5)
	if math.Abs(x-whole) > whole*near {
		return dst, false
	}
	m, k := strip(uint64(whole), k)
	q := float64(m) / pow10[k]
	if bits == 64 && q != a || bits != 64 && (float64(float32(q)) != a || !singleSafe(q)) {
		return dst, false
	}
	if v < 0 {
		dst = append(dst, '-')
	}
	return appendDecimal(dst, m, k), true
}

// strip takes the zeros from the end of the decimals of m over 10^k.
func strip(m uint64, k int) (uint64, int) {
	for k >= 4 && m%10000 == 0 {
		m, k = m/10000, k-4
	}
	for k > 0 && m%10 == 0 {
		m, k = m/10, k-1
	}
	return m, k
}

// appendDecimal appends m over 10^k, from its last digit to its first.
func appendDecimal(dst []byte, m uint64, k int) []byte {
	var room [24]byte
	at := len(room)
	if k > 0 {
		for range k {
			at--
			room[at] = byte('0' + m%10)
			m /= 10
		}
		at--
		room[at] = '.'
	}
	for first := true; m > 0 || first; first = false {
		at--
		room[at] = byte('0' + m%10)
		m /= 10
	}
	return append(dst, room[at:]...)
}

// HalfOfBits is the number that the bits of an FP16 (IEEE 754 binary16) mean.
func HalfOfBits(bits uint16) float64 {
	exp, frac := int(bits>>10&0x1f), float64(bits&0x3ff)
	var v float64
	switch exp {
	case 0x1f:
		v = math.Inf(1)
		if frac != 0 {
			return math.NaN()
		}
	case 0:
		v = math.Ldexp(frac, -24)
	default:
		v = math.Ldexp(1024+frac, exp-25)
	}
	if bits&0x8000 != 0 {
		v = math.Copysign(v, -1)
	}
	return v
}

// BitsOfHalf are the bits of v as FP16; v is rounded to one that is finite.
func BitsOfHalf(v float64) uint16 {
	var sign uint16
	if math.Signbit(v) {
		sign, v = 0x8000, -v
	}
	if v < 0x1p-14 {
		return sign | uint16(math.Ldexp(v, 24))
	}
	frac, exp := math.Frexp(v) // v = frac × 2^exp, 0.5 <= frac < 1
	return sign | uint16(exp+14)<<10 | uint16(math.Ldexp(frac, 11))&0x3ff
}
