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
	same = size == 32
	for i := 0; count > 0; count-- {
		if i >= len(b) {
			return dst, end, same
		}
		minus := uint64(0) // by arithmetic: who predicts the sign of a feature?
		if b[i] == '-' {
			minus = 1
		}
		mant, places, next := uint64(0), 0, 0
		if rest := b[i+int(minus):]; len(rest) >= 10 && rest[1] == '.' && isDigit(rest[0]) {
			// The plainest: one digit and up to seven decimals. plain would read it, too.
			word := binary.LittleEndian.Uint64(rest[2:])
			if n := run(word); 0 < n && n < 8 && rest[2+n]|0x20 != 'e' {
				mant, places, next = uint64(rest[0]-'0')*power[n]+eight(word, n), n, i+int(minus)+2+n
			}
		}
		if next == 0 {
			if mant, places, next = plain(b, i); next == 0 {
				return dst, end, same
			}
		}
		var v float64
		if size == 32 && mant <= 1<<24 && places <= 10 {
			v = float64(float32(int64(mant)) / single[places]) // both exact, so it is rounded once
		} else {
			v = float64(int64(mant)) / pow10[places] // see Number.Float
			switch {
			case size == 32 && singleSafe(v):
				v = float64(float32(v))
			case size == 64 && mant <= 1<<53:
			default:
				return dst, end, same
			}
		}
		dst = append(dst, math.Float64frombits(math.Float64bits(v)|minus<<63))
		same = same && mant <= 999999 && (places == 0 || mant > 0 && b[next-1] != '0' && (places < 6 || mant > power[places-6]))
		end = next
		if b[next] != ',' { // plain has seen eight bytes from the last digits on
			return dst, end, same
		}
		if i = next + 1; i < len(b) && b[i] == ' ' {
			same = false
			i++
		}
	}
	return dst, end, same
}

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
