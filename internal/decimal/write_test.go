package decimal

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// checkNumber holds what is written against strconv, which defines it.
func checkNumber(t *testing.T, v float64) {
	t.Helper()
	for _, bits := range []int{16, 32, 64} {
		x := v
		switch bits {
		case 16:
			x = RoundHalf(v)
		case 32:
			x = float64(float32(v))
		}
		if math.IsNaN(x) || math.IsInf(x, 0) || math.Abs(x) == rereads {
			continue
		}
		form := byte('f')
		if a := math.Abs(x); a != 0 && (a < 1e-6 || a >= 1e21) {
			form = 'e'
		}
		want := strconv.FormatFloat(x, form, -1, max(bits, 32))
		if got := string(Append(nil, x, bits)); got != want {
			t.Fatalf("FP%d %v is written %s, and by strconv %s", bits, x, got, want)
		}
	}
}

// TestAppendNumber tries decimals of every length, their neighbours, powers of two and
// of ten, and random bits.
func TestAppendNumber(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for k := range 20 {
		for range 2_000 {
			v := float64(rng.Uint64N(1<<rng.UintN(60)+1)) / math.Pow10(k)
			for _, near := range []float64{v, -v, math.Nextafter(v, 0), float64(math.Nextafter32(float32(v), 0)), float64(math.Nextafter32(float32(v), math.MaxFloat32))} {
				checkNumber(t, near)
			}
		}
	}
	for e := -60; e < 80; e++ {
		v := math.Ldexp(1, e)
		for _, near := range []float64{v, math.Nextafter(v, 0), math.Nextafter(v, 1e300), float64(math.Nextafter32(float32(v), 0)), float64(math.Nextafter32(float32(v), math.MaxFloat32)), math.Pow10(e)} {
			checkNumber(t, near)
		}
	}
	for range 40_000 {
		checkNumber(t, math.Float64frombits(rng.Uint64()))
		checkNumber(t, float64(math.Float32frombits(rng.Uint32())))
		checkNumber(t, rng.Float64())
	}
	checkNumber(t, 0)
	checkNumber(t, math.Copysign(0, -1))
}

func FuzzAppendNumber(f *testing.F) {
	for _, v := range []float64{0, 0.5, 0.1, 0.4223, 4194303.5, 4194304, 1e-6, 9.999999e-7, 8388608.5, 16777216, 1e15, 0.3, 1.0 / 3} {
		f.Add(v)
	}
	f.Fuzz(checkNumber)
}

// TestSpell tries all digits in every place, and all of the halves.
func TestSpell(t *testing.T) {
	for v := range uint64(10000) {
		for _, n := range []uint64{v, v * 10000, v*10000 + 9999, v*10000 + v} {
			want := strconv.FormatUint(100000000+n, 10)[1:]
			if got := string(binary.LittleEndian.AppendUint64(nil, spell(uint32(n))|zeros)); got != want {
				t.Fatalf("%s is spelled %s", want, got)
			}
		}
	}
}

// TestEveryFloat writes FP32s from end to end of what Append writes without strconv, and
// some way beyond: one in 9,973, or every one when PAVISE_EVERY_FLOAT is set.
func TestEveryFloat(t *testing.T) {
	step := uint32(9973)
	if os.Getenv("PAVISE_EVERY_FLOAT") != "" {
		step = 1
	}
	var got, want [64]byte
	for at := math.Float32bits(1e-6) + 1; at <= math.Float32bits(1<<24); at += step {
		v := float64(math.Float32frombits(at))
		g, w := Append(got[:0], v, 32), strconv.AppendFloat(want[:0], v, 'f', -1, 32)
		if string(g) != string(w) {
			t.Fatalf("%v is written %s, and by strconv %s", v, g, w)
		}
	}
}
