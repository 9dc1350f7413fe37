package decimal

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

// BenchmarkAppend writes FP32s of five digits, and those that need all of theirs.
func BenchmarkAppend(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	short, long, wide := make([]float64, 1024), make([]float64, 1024), make([]float64, 1024)
	for i := range short {
		short[i], _ = strconv.ParseFloat(strconv.FormatFloat(rng.Float64(), 'g', 5, 64), 32)
		long[i] = float64(rng.Float32())
		wide[i], _ = strconv.ParseFloat(strconv.FormatFloat(rng.Float64(), 'g', 12, 64), 64)
	}
	for _, c := range []struct {
		name string
		list []float64
		bits int
	}{{"five-digits", short, 32}, {"all-digits", long, 32}, {"twelve-digits-FP64", wide, 64}} {
		b.Run(c.name, func(b *testing.B) {
			var room [64]byte
			i := 0
			for b.Loop() {
				Append(room[:0], c.list[i&1023], c.bits)
				i++
			}
		})
	}
}

// BenchmarkAppendFloats reads a list of 512 numbers, all of them positive, and every other.
func BenchmarkAppendFloats(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"positive", "signed"} {
		var text []byte
		for range 512 {
			v := 0.1 + rng.Float64()
			if name == "signed" && rng.IntN(2) == 0 {
				v = -v
			}
			text = append(strconv.AppendFloat(text, v, 'g', 5, 64), ',')
		}
		text = append(text[:len(text)-1], "]}]}          "...)
		b.Run(name, func(b *testing.B) {
			room := make([]float64, 0, 512)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if list, _, _ := AppendFloats(room, text, 32, 512); len(list) != 512 {
					b.Fatal(len(list))
				}
			}
		})
	}
}
