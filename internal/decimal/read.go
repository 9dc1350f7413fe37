// Package decimal is numbers as text: read exactly, by the grammar of JSON (RFC 8259
// section 6) and no other, and written in the fewest digits that read back.
//
// It is pure and has no state. What it reads and writes is what strconv says, faster,
// and its tests hold it against strconv.
package decimal

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
)

// MaxLen bounds the text of one number. It leaves room for the largest
// FP64 written without an exponent.
const MaxLen = 400

// A Number is one JSON number, scanned but not yet a value of some datatype.
type Number struct {
	Text  []byte
	mant  uint64 // all digits before the exponent, without the point; see fits
	exp   int    // the value is mant × 10^exp
	fits  bool   // mant did not overflow
	neg   bool
	whole bool // written without fraction and exponent
}

// Scan reads the number that begins b into n, which must be zero. It returns what is
// wrong, and what to do, or "". The first byte is a digit or a minus sign.
func (n *Number) Scan(b []byte) (hint, why string) {
	i := 0
	if len(b) > 0 && b[0] == '-' {
		n.neg = true
		i = 1
	}
	start := i
	n.mant, i = digits(b, i, 0)
	count := i - start
	switch {
	case count == 0:
		return "write digits after the minus sign", "a minus sign without a number"
	case count > 1 && b[start] == '0':
		return "write it without the leading zero", "a number with a leading zero"
	}
	n.whole = true
	if i < len(b) && b[i] == '.' {
		point := i + 1
		n.mant, i = digits(b, point, n.mant)
		if i == point {
			return "write digits after the point", "a point without digits after it"
		}
		n.whole = false
		n.exp = point - i
		count += i - point
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		e, end := exponent(b, i+1)
		if end < 0 {
			return "write digits after the e", "an exponent without digits"
		}
		n.whole = false
		n.exp += e
		i = end
	}
	if i > MaxLen {
		return "shorten it", fmt.Sprintf("a number of %d characters, more than %d", i, MaxLen)
	}
	n.Text = b[:i]
	n.fits = count <= 19 // 10^19 - 1 < 2^64
	return "", ""
}

// Negative reports whether the number has a minus sign.
func (n *Number) Negative() bool { return n.neg }

// digits reads decimal digits from b[i:] onto mant and returns where they end.
func digits(b []byte, i int, mant uint64) (uint64, int) {
	for i < len(b) && isDigit(b[i]) {
		mant = mant*10 + uint64(b[i]-'0')
		i++
	}
	return mant, i
}

// exponent reads what follows the e of a number. It returns end -1 when there
// are no digits, and stops counting where every datatype has long overflowed.
func exponent(b []byte, i int) (e, end int) {
	sign := 1
	if i < len(b) && (b[i] == '+' || b[i] == '-') {
		if b[i] == '-' {
			sign = -1
		}
		i++
	}
	start := i
	for i < len(b) && isDigit(b[i]) {
		e = min(e*10+int(b[i]-'0'), 10000)
		i++
	}
	if i == start {
		return 0, -1
	}
	return sign * e, i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// Integer returns the digits as an integer up to limit, or why not. A fraction
// or an exponent is refused even where the value is whole: servers differ on
// whether 1.0 and 1e2 are integers.
func (n *Number) Integer(limit uint64) (mant uint64, why string) {
	if !n.whole {
		return 0, "has a fraction or an exponent, which no integer takes:"
	}
	mant = n.mant
	if !n.fits {
		text := string(n.Text)
		if n.neg {
			text = text[1:]
		}
		var err error
		if mant, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 0, "is out of range for"
		}
	}
	switch {
	case mant > limit:
		return 0, "is out of range for"
	case mant == 0 && n.neg:
		return 0, "is a negative zero, which no integer has:"
	}
	return mant, ""
}

// Float returns the nearest value of the given size. The fast path is Clinger's
// ("How to read floating point numbers accurately", 1990): a mantissa up to 2^53
// and a power of ten up to 10^22 are both exact doubles, so one operation rounds
// once. For FP32 a longer mantissa will do, because the result is rounded again
// and the two roundings matter only next to the middle of two float32s.
func (n *Number) Float(bits int) float64 {
	if n.fits && -22 <= n.exp && n.exp <= 22 {
		v := scale(float64(n.mant), n.exp)
		if n.neg {
			v = -v
		}
		switch {
		case bits == 32 && singleSafe(v):
			return float64(float32(v))
		case bits == 64 && n.mant <= 1<<53:
			return v
		case bits == 16 && n.mant <= 1<<53:
			return RoundHalf(v)
		}
	}
	return n.exact(bits)
}

// exact is float for what the fast path leaves: long, huge and tiny numbers.
// Tiny ones take strconv some ten microseconds each, which a body of a million
// could make ten seconds, so they are told apart first.
func (n *Number) exact(bits int) float64 {
	var room [MaxLen]byte
	digits, top := n.magnitude(room[:0])
	if len(digits) == 0 || top <= vanishing(bits) {
		if n.neg {
			return math.Copysign(0, -1)
		}
		return 0
	}
	v, ok := 0.0, false
	if top <= -307 {
		v, ok = subnormal(digits, top-len(digits))
	}
	if !ok {
		// The text is a number by a stricter grammar than ParseFloat's, so its
		// only error is ErrRange, and the value is then the infinity we want.
		v, _ = strconv.ParseFloat(string(n.Text), 64)
	} else if n.neg {
		v = -v
	}
	switch bits {
	case 16:
		return RoundHalf(v)
	case 32:
		if single := float64(float32(v)); !math.IsInf(single, 0) && !middle(v, single) {
			return single
		}
		v, _ = strconv.ParseFloat(string(n.Text), 32)
	}
	return v
}

// magnitude appends to buf the digits of the number from the first that is not
// 0. The value is 0.digits × 10^top.
func (n *Number) magnitude(buf []byte) (digits []byte, top int) {
	for _, c := range n.Text {
		if c|0x20 == 'e' {
			break
		}
		if isDigit(c) && (c != '0' || len(buf) > 0) {
			buf = append(buf, c)
		}
	}
	return buf, len(buf) + n.exp
}

// vanishing returns a power of ten below which every value is nearer to 0 than
// to the smallest float of the size: 2^-25 is 2.9e-8, 2^-150 is 7.0e-46 and
// 2^-1075 is 2.4e-324.
func vanishing(bits int) int {
	switch bits {
	case 16:
		return -8
	case 32:
		return -46
	}
	return -324
}

// subnormal returns the double nearest to digits × 10^exp when that is below
// 2^-1021: there the doubles are the multiples of 2^-1074 and their bits count
// them, so one integer division is the whole of it. There are no ties: the
// middle of two such doubles has more than 700 digits, and no number so many.
func subnormal(digits []byte, exp int) (v float64, ok bool) {
	count, _ := new(big.Int).SetString(string(digits), 10)
	count.Lsh(count, uint(1074+exp)) // 2^1074 / 10^-exp = 2^(1074+exp) / 5^-exp
	unit := new(big.Int).Exp(big.NewInt(5), big.NewInt(int64(-exp)), nil)
	count, rest := count.QuoRem(count, unit, new(big.Int))
	if count.BitLen() > 53 {
		return 0, false
	}
	bits := count.Uint64()
	if rest.Lsh(rest, 1).Cmp(unit) > 0 {
		bits++
	}
	return math.Float64frombits(bits), true
}

// middle reports whether v, whose nearest float32 is single, is just between two
// float32s. Only then may the decimal that was rounded to v be nearer to the
// other one: doubles are ordered as the decimals they come from.
func middle(v, single float64) bool {
	other := float64(math.Nextafter32(float32(single), float32(math.Copysign(math.Inf(1), v-single))))
	return v != single && math.Abs(v-single) == math.Abs(other-v)
}

// pow10 holds the powers of ten that are exact doubles.
var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

func scale(mant float64, exp int) float64 {
	if exp < 0 {
		return mant / pow10[-exp]
	}
	return mant * pow10[exp]
}

// singleSafe reports whether float32(v) is the float32 nearest to the decimal
// that v came from. v is within two units in its last place of that decimal
// (one rounding of the mantissa, one of the scaling). It is 0 or at least 1e-22,
// so the float32 is a normal one, and the middle of two normal float32s has just
// the top one of the 29 bits that float32 drops.
func singleSafe(v float64) bool {
	const dropped, margin = 29, 8
	low := int64(math.Float64bits(v) & (1<<dropped - 1))
	return low-1<<(dropped-1) > margin || 1<<(dropped-1)-low > margin
}

// RoundBrain returns the BF16 (the upper half of a binary32) nearest to v, ties to
// even. Beyond the range it returns an infinity.
func RoundBrain(v float64) float64 {
	const minExp, mantissa = -126, 7
	if v == 0 || math.IsInf(v, 0) {
		return v
	}
	exp := max(math.Ilogb(v), minExp) - mantissa
	r := math.Ldexp(math.RoundToEven(math.Ldexp(v, -exp)), exp)
	if math.Abs(r) > math.MaxFloat32 {
		return math.Copysign(math.Inf(1), v)
	}
	return r
}

// MaxHalf is the largest finite FP16.
const MaxHalf = 65504

// RoundHalf returns the FP16 (IEEE 754 binary16) nearest to v, ties to even, as
// a float64. Beyond the range it returns an infinity.
func RoundHalf(v float64) float64 {
	const minExp, mantissa = -14, 10
	if v == 0 {
		return v
	}
	exp := max(math.Ilogb(v), minExp) - mantissa
	r := math.Ldexp(math.RoundToEven(math.Ldexp(v, -exp)), exp)
	if math.Abs(r) > MaxHalf {
		return math.Copysign(math.Inf(1), v)
	}
	return r
}
