package decimal

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// AppendFloats reads from the start of b the plain numbers of a JSON list of FP32 or
// FP64, at most count of them, and appends them to dst. It returns where it stopped:
// behind the last number that it read, before the comma that follows it, or at 0. What
// it stops at, a number of another form among it, is for [Number.Scan], which says what
// is wrong, too; what AppendFloats has read, Scan and Float read alike.
//
// Plain is what almost all numbers are: a minus sign or none, digits, and a point with
// digits or none, 18 digits in all; between two a comma, and a space or none. A profile
// of requests of 512 numbers showed half of the time in going back and forth between the
// number and the list around it, digit by digit; so this is one loop, and takes eight
// digits at once.
//
// same reports that AppendList would write of what it has read what it has read: FP32s of
// six digits, with no 0 at the end of the decimals, above what is written with an exponent,
// and no spaces. Any decimal of six digits is the only one of as many that reads back as
// its float32 (FLT_DIG of C), so it is the shortest, too. It may be false where it could be
// true.
func AppendFloats(dst []float64, b []byte, size, count int) (list []float64, end int, same bool) {
	if size != 32 && size != 64 {
		return dst, 0, false
	}
	list, same = dst, size == 32
	signed := false
	for i := 0; len(list) < len(dst)+count; {
		if len(b)-i > window && (b[i+1] == '.' || b[i+2] == '.') {
			signed = signed || b[i] == '-'
			n, length, also := plainest(list[len(list):min(cap(list), len(dst)+count)], b[i:], size, signed)
			if n > 0 {
				list, end, same = list[:len(list)+n], i+length, same && also
			}
		}
		if end <= i {
			mant, places, next := plain(b, i)
			if next == 0 {
				break
			}
			v, exact := quotient(mant, places, size)
			if !exact {
				break
			}
			if b[i] == '-' {
				v = -v
			}
			same = same && mant <= 999999 && (places == 0 || mant > 0 && b[next-1] != '0' && (places < 6 || mant > power[places-6]))
			list, end = append(list, v), next
		}
		if b[end] != ',' { // there are eight bytes, at least, from the last digits on
			break
		}
		if i = end + 1; i < len(b) && b[i] == ' ' {
			same = false
			i++
		}
	}
	return list, end, same
}

// quotient is mant / 10^places, rounded once, or it is not exact.
func quotient(mant uint64, places, size int) (v float64, exact bool) {
	if size == 32 && mant <= 1<<24 && places <= 10 {
		return float64(float32(int64(mant)) / single[places]), true // both are exact
	}
	v = float64(int64(mant)) / pow10[places] // see Number.Float
	if size == 64 {
		return v, mant <= 1<<53
	}
	return float64(float32(v)), singleSafe(v)
}

// window is how many bytes of a list plainest looks at for one number.
const window = 16

// plainest reads numbers of one digit and up to seven decimals, with commas alone between
// them, as most features and scores are. It fills out from its start, and returns how many
// it has read, where in b the last of them ends, and what AppendFloats says of them. It
// stops before a number of another form, and near the end of b; unless signed, before one
// with a minus sign.
//
// What takes time is to come from one number to the next, and in a list with signs that
// hangs on the sign. A list without one, so far, does not wait for it.
func plainest(out []float64, b []byte, size int, signed bool) (n, end int, same bool) {
	same = true
	i := 0
	for n = range out {
		if len(b)-i <= window {
			return n, end, same
		}
		minus := 0
		if signed {
			if b[i] == '-' {
				minus = 1 // a conditional move: who predicts the sign of a feature?
			}
		} else if b[i] == '-' {
			return n, end, same
		}
		p := (*[window]byte)(b[i+minus:])
		word := binary.LittleEndian.Uint64(p[2:])
		digits := run(word | 1<<63) // 7 may be more of them: what is after says so
		after := p[(2+digits)%window]
		if p[1] != '.' || !isDigit(p[0]) || digits == 0 {
			return n, end, same
		}
		if after != ',' && (isDigit(after) || after|0x20 == 'e') {
			return n, end, same
		}
		mant := uint64(p[0]-'0')*power[digits&7] + eight(word, digits)
		v := 0.0
		if size == 64 {
			v = float64(int64(mant)) / pow10[digits&7]
		} else if v = float64(float32(int64(mant)) / single[digits&7]); mant > 1<<24 {
			return n, end, same
		}
		out[n] = math.Float64frombits(math.Float64bits(v) | uint64(minus)<<63)
		same = same && mant > least[digits&7] && mant <= 999999 && p[(1+digits)%window] != '0'
		if end = i + minus + 2 + digits; after != ',' {
			return n + 1, end, same
		}
		i = end + 1
	}
	return len(out), end, same
}

// least is what the digits of a number with so many decimals must be above for it to be
// written without an exponent.
var least = [8]uint64{6: 1, 7: 10}

// single holds the powers of ten that are exact float32s.
var single = [...]float32{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10}

// AppendIntegers is [AppendFloats] for integers from least to most. It stops at a minus
// sign before 0, too.
func AppendIntegers[T int64 | uint64](dst []T, b []byte, least, most T, count int) (list []T, end int) {
	for i := 0; count > 0; count-- {
		mant, places, next := plain(b, i)
		if next == 0 || places > 0 {
			return dst, end
		}
		v := T(mant)
		if b[i] == '-' {
			v = -v
			if least >= 0 || mant == 0 {
				return dst, end
			}
		}
		if v < least || v > most {
			return dst, end
		}
		dst = append(dst, v)
		end = next
		if b[next] != ',' {
			return dst, end
		}
		if i = next + 1; i < len(b) && b[i] == ' ' {
			i++
		}
	}
	return dst, end
}

// zeros are eight of '0'.
const zeros = 0x3030303030303030

// plain reads the plain number at b[i:], whose value is mant over 10^places. It returns
// where it ends, which is inside of b, or 0 when there is none.
func plain(b []byte, i int) (mant uint64, places, end int) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	start, most := i, 18 // digits, which 63 bits hold
	if mant, i = series(b, i, 0); i == start || i > start+1 && b[start] == '0' {
		return 0, 0, 0
	}
	if b[start] == '0' {
		most = 19
	}
	if b[i] == '.' {
		most++ // of characters
		point := i + 1
		if mant, i = series(b, point, mant); i == point {
			return 0, 0, 0
		}
		places = i - point
	}
	if i-start > most || b[i]|0x20 == 'e' {
		return 0, 0, 0
	}
	return mant, places, i
}

// series reads the digits at b[i:] onto mant, and returns where they end; near the end of
// b it reads none. What has too many for mant is for the caller to find.
func series(b []byte, i int, mant uint64) (uint64, int) {
	for start := i; ; {
		if len(b)-i < 8 {
			return 0, start
		}
		word := binary.LittleEndian.Uint64(b[i:])
		n := run(word)
		mant = mant*power[n] + eight(word, n)
		if i += n; n < 8 {
			return mant, i
		}
	}
}

// run returns how many of the eight bytes of a word, the first one lowest, are digits
// before the first that is none. A digit is what becomes less than 10 when its bits are
// held against those of '0'. What a byte carries into the next does not matter, because
// it is no digit itself.
func run(word uint64) int {
	word ^= zeros
	return bits.TrailingZeros64((word|(word+0x7676767676767676))&0x8080808080808080) / 8
}

// eight returns the number that the first n bytes of a word are in digits. They are
// moved to the end, zeros before them, and added up pair by pair.
func eight(word uint64, n int) uint64 {
	word = (word ^ zeros) << (64 - 8*uint(n))
	word = word*10 + word>>8
	const pair = 0x000000ff000000ff
	return (word&pair*(100+1000000<<32) + word>>16&pair*(1+10000<<32)) >> 32
}
