package tensor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/decimal"
)

// readFloat reads text as the only element of a tensor.
func readFloat(text string, bits int) (float64, *fault) {
	s := newScanner([]byte(text), DefaultLimits())
	return s.float(bits)
}

// wantFloat is the oracle: strconv, and for FP16 a search among all 63,488.
func wantFloat(text string, bits int) float64 {
	v, _ := strconv.ParseFloat(text, max(bits, 32))
	if bits == 16 {
		v, _ = strconv.ParseFloat(text, 64)
		return nearestHalf(v)
	}
	return v
}

// nearestHalf finds the FP16 nearest to v by halving the range of bit patterns.
func nearestHalf(v float64) float64 {
	if v < 0 || v == 0 && math.Signbit(v) {
		return -nearestHalf(-v)
	}
	lo, hi := 0, 0x7c00 // 0x7c00 counts as 65536 here, and means infinity
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; half(mid) <= v {
			lo = mid
		} else {
			hi = mid
		}
	}
	up, down := half(hi)-v, v-half(lo)
	if down > up || down == up && lo%2 == 1 {
		lo = hi
	}
	if lo == 0x7c00 {
		return math.Inf(1)
	}
	return half(lo)
}

// half returns the value of a non-negative FP16 bit pattern.
func half(b int) float64 {
	if exp := b >> 10; exp > 0 {
		return math.Ldexp(float64(b&0x3ff|0x400), exp-25)
	}
	return math.Ldexp(float64(b), -24)
}

func TestFloatAgainstStrconv(t *testing.T) {
	texts := []string{
		"0", "-0", "-0.0", "0e9999", "1e-9999", "4.9e-324", "2.2250738585072011e-308", "1.7976931348623157e308",
		"9007199254740993", "9007199254740992", "123456789012345678901234567890", "0.1", "1e22", "1e23", "1e-22", "1e-23",
		"16777217", "16777216.5", "16777217.0000000001", "1.00000005960464477539", "1.000000059604644775390625", "1.0000000596046447753906251",
		"3.4028235e38", "3.4028235677973366e38", "3.4028235677973365e38", "7.038531e-26", "1.1754943508222875e-38", "1e-45", "7e-46",
		// Around the smallest floats and half of them, and the middle of others.
		"5e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "9.99e-325", "1e-324", "9e-325", "24703282292062327208299999999e-352", "24703282292062327209e-343",
		"7.4109846876186981626e-324", "7.4109846876186981627e-324", "2.2250738585072014e-308", "2.2250738585072013e-308", "4.4501477170144023e-308", "1e-307", "9.9e-308", "1e-308",
		"0." + strings.Repeat("0", 323) + "5", "0." + strings.Repeat("0", 323) + "2", strings.Repeat("9", 300) + "e-620", strings.Repeat("3", 390) + "e-700",
		"7.006492321624085e-46", "7.0064923216240853e-46", "7.0064923216240854e-46", "7.00649232162408535461864791644958e-46", "7.00649232162408535461864791644959e-46", "1.4e-45", "9.9e-47", "1e-46",
		"2.1019476964872256e-45", "2.10194769648722560638559437493e-45", "2.10194769648722560638559437494e-45", "340282356779733661637539395458142568447.9", "340282356779733661637539395458142568448",
		"1e-8", "9.9e-9", "2.98023223876953125e-8", "2.98023223876953124e-8",
		"65504", "65519.999", "65519", "5.9604644775390625e-8", "2.98023223876953125e-8", "2.9802322387695316e-8", "1.00048828125", "1.0014648437500",
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 30000 {
		texts = append(texts,
			strconv.FormatFloat(rng.NormFloat64(), 'g', 1+rng.IntN(19), 64),
			strconv.FormatFloat(math.Float64frombits(rng.Uint64()&^(1<<62)), 'g', -1, 64),
			strconv.FormatFloat(between(rng), 'f', -1, 64))
	}
	for range 5000 {
		texts = append(texts,
			strconv.FormatFloat(math.Float64frombits(rng.Uint64N(1<<53)), 'e', rng.IntN(40), 64),
			strconv.FormatFloat(math.Ldexp(float64(rng.IntN(1<<25)), -150), 'e', rng.IntN(40), 64),
			fmt.Sprintf("-%de-%d", rng.Uint64N(1<<rng.IntN(64)), 300+rng.IntN(50)))
	}
	for _, text := range texts {
		for _, bits := range []int{16, 32, 64} {
			want := wantFloat(text, bits)
			got, f := readFloat(text, bits)
			if (f != nil) != math.IsInf(want, 0) {
				t.Errorf("FP%d %s: %v, want %v", bits, text, f, want)
			}
			if f == nil && (got != want || math.Signbit(got) != math.Signbit(want)) {
				t.Errorf("FP%d %s: got %v, want %v", bits, text, got, want)
			}
		}
	}
}

// between returns a double in or next to the middle of two float32s.
func between(rng *rand.Rand) float64 {
	v := float64(rng.Float32()) + 0x1p-30
	mid := (v + float64(math.Nextafter32(float32(v), 2))) / 2
	for range rng.IntN(12) {
		mid = math.Nextafter(mid, 2*float64(rng.IntN(2)))
	}
	return mid
}

// Every FP16 must survive being written and read.
func TestHalfRoundTrip(t *testing.T) {
	for b := range 0x7c00 {
		text := string(decimal.Append(nil, half(b), 16))
		if got, f := readFloat(text, 16); f != nil || got != half(b) {
			t.Fatalf("%#04x is written %s and read %v, %v", b, text, got, f)
		}
	}
}

// A server may read FP32 as float32 or as float64 first: both must find the number
// that was checked.
func TestSingleReadsEitherWay(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for i := range 50000 {
		v := math.Float32frombits(rng.Uint32N(0x7f800000))
		if i == 0 {
			v = 7.038531e-26
		}
		text := string(decimal.Append(nil, float64(-v), 32))
		narrow, err1 := strconv.ParseFloat(text, 32)
		wide, err2 := strconv.ParseFloat(text, 64)
		if err1 != nil || err2 != nil || float32(narrow) != -v || float32(wide) != -v {
			t.Fatalf("%v is written %s and read %v or %v", -v, text, float32(narrow), float32(wide))
		}
	}
}

func TestIntegerEdges(t *testing.T) {
	for _, bits := range []int{8, 16, 32, 64} {
		least, most := int64(-1)<<(bits-1), int64(1)<<(bits-1)-1
		for text, ok := range map[string]bool{
			fmt.Sprint(least): true, fmt.Sprint(most): true, "0": true,
			fmt.Sprint(uint64(most) + 1):       false,
			"-" + fmt.Sprint(uint64(most)+2):   false,
			"-0":                               false,
			"1.0":                              false,
			"1e0":                              false,
			"99999999999999999999999999999999": false,
			"-18446744073709551616":            false,
			"-00000000000000000000001":         false,
		} {
			v, f := newScanner([]byte(text), DefaultLimits()).signed(bits)
			if (f == nil) != ok || ok && fmt.Sprint(v) != text {
				t.Errorf("INT%d %s: %d, %v", bits, text, v, f)
			}
		}
		top := uint64(math.MaxUint64) >> (64 - bits)
		for text, ok := range map[string]bool{
			fmt.Sprint(top): true, "0": true, "-1": false, "-0": false, "0.0": false, "18446744073709551616": false,
			fmt.Sprint(top+1) + "0": false,
		} {
			v, f := newScanner([]byte(text), DefaultLimits()).unsigned(bits)
			if (f == nil) != ok || ok && fmt.Sprint(v) != text {
				t.Errorf("UINT%d %s: %d, %v", bits, text, v, f)
			}
		}
	}
}
