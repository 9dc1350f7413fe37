package abreast

import (
	"crypto/aes"
	"crypto/subtle"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestOneWay holds any number of blocks under several keys to what the library makes of each.
func TestOneWay(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	draw := func() (b [16]byte) {
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	for range 20 {
		key := draw()
		library, err := aes.NewCipher(key[:])
		if err != nil {
			t.Fatal(err)
		}
		p := NewPermutation(key)
		for n := range 35 {
			blocks, want := make([][16]byte, n+1), make([][16]byte, n+1)
			for i := range blocks {
				blocks[i] = draw()
				library.Encrypt(want[i][:], blocks[i][:])
				subtle.XORBytes(want[i][:], want[i][:], blocks[i][:])
			}
			want[n] = blocks[n] // behind those that are written over
			alone := slices.Clone(blocks)
			if OneWay(p, blocks[:n]); !slices.Equal(blocks, want) {
				t.Fatalf("%d blocks are others", n)
			}
			for i := range n {
				p.inTurn(alone[i][:])
			}
			if !slices.Equal(alone, want) {
				t.Fatalf("%d blocks are others one by one", n)
			}
		}
	}
}

func BenchmarkOneWay(b *testing.B) {
	p, blocks := NewPermutation([16]byte{}), make([][16]byte, 1024)
	for b.Loop() {
		OneWay(p, blocks)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(blocks)), "ns/block")
}
