package decimal

import (
	"bytes"
	"encoding/binary"
	"math"
	mathbits "math/bits"
	"slices"
	"strconv"
)

// rereads is the one FP32, with its negative, whose shortest decimal form becomes
// another FP32 in a server that reads every number as a float64 and narrows it
// afterwards. All finite float32s were tried.
const rereads = float64(float32(7.038531e-26))

// AppendList appends numbers as Append does, with commas between them.
func AppendList(dst []byte, list []float64, bits int) []byte {
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = Append(dst, v, bits)
	}
	return dst
}

// Append appends v, a finite number of the given bit size, in its shortest
// form that reads back as the same number. Large and small magnitudes take an
// exponent at the same places as in ECMAScript, and so as in encoding/json.
func Append(dst []byte, v float64, bits int) []byte {
	a, ok := math.Abs(v), false
	if bits == 32 && 1e-6 <= a && a < 4 {
		dst, ok = appendSmall(dst, v, a)
	} else {
		dst, ok = appendShort(dst, v, a, bits)
	}
	if ok {
		return dst
	}
	return appendLong(dst, v, a, bits)
}

// appendSmall is appendShort for what features and scores are most of all: an FP32 whose
// absolute value a is from 10^-6 to 4. There k is 6, and the only m that may read back is
// less than an eighth of a step from a × 10^6.
func appendSmall(dst []byte, v, a float64) ([]byte, bool) {
	m := uint32(int32(a*1e6 + 0.5))
	if float64(float32(int32(m))/1e6) != a {
		return dst, false
	}
	dst = slices.Grow(dst, 16)
	room := dst[len(dst) : len(dst)+16] // a sign, a digit, a point and eight decimals
	n := 0
	if v < 0 {
		room[0] = '-'
		n = 1
	}
	whole := m / 1e6
	room[n] = byte('0' + whole)
	if m -= whole * 1e6; m == 0 {
		return dst[:len(dst)+n+1], true
	}
	room[n+1] = '.'
	digits := spell(m * 100)
	binary.LittleEndian.PutUint64(room[n+2:], digits|zeros)
	return dst[:len(dst)+n+10-mathbits.LeadingZeros64(digits)/8], true
}

// appendLong is Append for what appendShort leaves.
func appendLong(dst []byte, v, a float64, bits int) []byte {
	if bits == 32 && 1e-6 <= a && a <= 1<<22 {
		if m, k := shortest(a); k > 0 {
			if v < 0 {
				dst = append(dst, '-')
			}
			whole := m / power[k]
			return appendDecimals(appendWhole(dst, whole), m-whole*power[k], k)
		}
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

// shortest finds the shortest decimal, m over 10^k, that reads back as a, an FP32 from
// 10^-6 to 2^22 that is no decimal of few digits. k is 0 where strconv has to.
//
// It tries one more decimal after the other. Of k decimals the nearest to a reads back,
// or none does, because what reads back as a lies around it as far below as above; but
// not where a is a power of two, which is left to strconv. So are quotients that may be
// rounded twice, and an a in the middle of two decimals: a × 10^k is less than 10^10, and
// so far from the product of float64s by 2^-20 at most. All FP32s of that range were
// held against strconv.
func shortest(a float64) (m uint64, k int) {
	if math.Float64bits(a)<<12 == 0 {
		return 0, 0
	}
	for k = 6; k > 0 && a*pow10[k] > 1<<22; {
		k--
	}
	for k++; k < len(power); k++ {
		x := a * pow10[k]
		n := int64(x + 0.5)
		if x > 1e10 || math.Abs(x-float64(n)) > 0.4999 {
			break
		}
		if q := float64(n) / pow10[k]; float64(float32(q)) == a {
			if !singleSafe(q) {
				break
			}
			return uint64(n), k
		}
	}
	return 0, 0
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
// m and 10^k are exact in either size, so the quotient is rounded once.
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
	whole := float64(int64(x + 0.5)) // rounded down, as x is positive
	if math.Abs(x-whole) > whole*near {
		return dst, false
	}
	q := whole / pow10[k]
	if bits != 64 {
		q = float64(float32(whole) / single[k])
	}
	if q != a {
		return dst, false
	}
	if v < 0 {
		dst = append(dst, '-')
	}
	// Unless it is whole, m over 10^k is further from the next whole number than one part
	// in m, and the division rounds by less: so cutting the quotient off is exact.
	m := uint64(int64(whole))
	before := uint64(int64(q))
	return appendDecimals(appendWhole(dst, before), m-before*power[k], k), true
}

// appendWhole appends n.
func appendWhole(dst []byte, n uint64) []byte {
	if n < 10 {
		return append(dst, byte('0'+n))
	}
	return strconv.AppendUint(dst, n, 10)
}

// appendDecimals appends a point and the k digits of n, up to sixteen, but for the zeros
// at their end; nothing when there are only zeros. It writes eight at once and takes back
// what is too much: which is faster than to find out first.
func appendDecimals(dst []byte, n uint64, k int) []byte {
	if n == 0 {
		return dst
	}
	dst = append(dst, '.')
	if k > 8 {
		n *= power[16-k]
		dst = binary.LittleEndian.AppendUint64(dst, spell(uint32(n/1e8))|zeros)
		if n %= 1e8; n == 0 {
			return bytes.TrimRight(dst, "0")
		}
	} else {
		n *= power[8-k]
	}
	digits := spell(uint32(n))
	dst = binary.LittleEndian.AppendUint64(dst, digits|zeros)
	return dst[:len(dst)-mathbits.LeadingZeros64(digits)/8]
}

// spell returns the eight digits of n, which is less than 10^8, one in each byte, the
// first one lowest. It halves n, its halves and their halves at once, with division by
// multiplication: all of them are tried in a test.
func spell(n uint32) uint64 {
	high := n / 10000
	x := uint64(high) | uint64(n-10000*high)<<32
	hundreds := x * 10486 >> 20 & (127<<32 | 127)
	x = hundreds | (x-100*hundreds)<<16
	tens := x * 103 >> 10 & (15<<48 | 15<<32 | 15<<16 | 15)
	return tens | (x-10*tens)<<8
}

// power holds powers of ten.
var power = [...]uint64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16}

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
