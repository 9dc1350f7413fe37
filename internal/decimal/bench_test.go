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

// BenchmarkAppendFloats reads lists of 512 numbers: all of them positive, and with signs
// that nothing predicts, for which there are more lists than a processor remembers.
func BenchmarkAppendFloats(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name  string
		lists int
	}{{"positive", 1}, {"signed", 128}} {
		texts := make([][]byte, c.lists)
		for i := range texts {
			for range 512 {
				v := 0.1 + rng.Float64()
				if c.lists > 1 && rng.IntN(2) == 0 {
					v = -v
				}
				texts[i] = append(strconv.AppendFloat(texts[i], v, 'g', 5, 64), ',')
			}
			texts[i] = append(texts[i][:len(texts[i])-1], "]}]}          "...)
		}
		b.Run(c.name, func(b *testing.B) {
			room := make([]float64, 0, 512)
			b.SetBytes(int64(len(texts[0])))
			for i := 0; b.Loop(); i++ {
				if list, _, _ := AppendFloats(room, texts[i%c.lists], 32, 512); len(list) != 512 {
					b.Fatal(len(list))
				}
			}
		})
	}
}
