package abreast

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
)

// drawn returns n messages of up to so many bytes, and their digests.
func drawn(random *rand.Rand, n, most int) (messages [][]byte, want []byte) {
	for range n {
		m := make([]byte, random.IntN(most+1))
		for i := range m {
			m[i] = byte(random.Uint32())
		}
		digest := sha256.Sum256(m)
		messages, want = append(messages, m), append(want, digest[:]...)
	}
	return messages, want
}

// TestSum holds the digests of few and many messages, short, long and mixed, to the library's.
func TestSum(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 12 {
		for _, most := range []int{0, 1, 70, 400, 3000, 2 * mostBlocks * blockSize / 10} {
			messages, want := drawn(random, n, most)
			if got := Sum([]byte("before"), messages...); !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Fatalf("%d messages of up to %d bytes have other digests", n, most)
			}
			got := make([]byte, len(want))
			if inTurn(got, messages); !bytes.Equal(got, want) {
				t.Fatalf("%d messages of up to %d bytes have other digests one by one", n, most)
			}
		}
	}
}

// TestSumOfEachLength has every length at which the padding or the room of a lane changes, beside
// a message that takes other turns.
func TestSumOfEachLength(t *testing.T) {
	text := bytes.Repeat([]byte("a row of a table "), 100)
	beside := text[:3*blockSize]
	for n := range shortest + 3*blockSize {
		one, other := sha256.Sum256(text[:n]), sha256.Sum256(beside)
		want := append(append(append([]byte(nil), one[:]...), other[:]...), one[:]...)
		if got := Sum(nil, text[:n], beside, text[:n]); !bytes.Equal(got, want) {
			t.Fatalf("a message of %d bytes has another digest", n)
		}
	}
}

// TestSumOfLongMessages has one that takes more than a turn, alone and beside a short one.
func TestSumOfLongMessages(t *testing.T) {
	long := make([]byte, 2*mostBlocks*blockSize+100)
	for i := range long {
		long[i] = byte(i >> 7)
	}
	is, empty := sha256.Sum256(long), sha256.Sum256(nil)
	for _, messages := range [][][]byte{{long}, {nil, long}, {long, nil}, {long, long}} {
		var want []byte
		for _, m := range messages {
			if m == nil {
				want = append(want, empty[:]...)
			} else {
				want = append(want, is[:]...)
			}
		}
		if !bytes.Equal(Sum(nil, messages...), want) {
			t.Fatalf("%d messages, the first of %d bytes, have other digests", len(messages), len(messages[0]))
		}
	}
}

// TestSumOfMany has so many messages that those of as many blocks wait for each other, and more of
// the long ones than wait at a time.
func TestSumOfMany(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{enough, lanes - 1, lanes, lanes + 1, 300, 1500} {
		for _, most := range []int{0, 130, shortest, 3 * shortest} {
			messages, want := drawn(random, n, most)
			out := append(make([]byte, 0, 10+len(want)+32), "before"...)
			copy(out[:cap(out)][6+len(want):], "behind")
			if got := Sum(out, messages...); !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Fatalf("%d messages of up to %d bytes have other digests", n, most)
			}
			if string(out[:cap(out)][6+len(want):][:6]) != "behind" {
				t.Fatalf("%d messages of up to %d bytes are written over what is behind them", n, most)
			}
			got := make([]byte, len(want))
			if fast {
				if inPairs(got, messages); !bytes.Equal(got, want) {
					t.Fatalf("%d messages of up to %d bytes have other digests in pairs", n, most)
				}
			}
		}
	}
}

// TestSumInAnyLane has a message beside others that are not like it, in each lane.
func TestSumInAnyLane(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for size := range 3 * blockSize {
		messages, want := drawn(random, lanes, 0)
		for i := range messages {
			messages[i] = make([]byte, size)
			for j := range messages[i] {
				messages[i][j] = byte(random.Uint32())
			}
			digest := sha256.Sum256(messages[i])
			copy(want[i*sha256.Size:], digest[:])
		}
		for n := range lanes + 1 {
			if got := Sum(nil, messages[:n]...); !bytes.Equal(got, want[:n*sha256.Size]) {
				t.Fatalf("%d messages of %d bytes have other digests", n, size)
			}
		}
	}
}

// TestRack fills a rack twice: what stood there before leaves no trace.
func TestRack(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{0, 1, 49, 55, 56, 63, 64, 65, 119, 120, 513} {
		const most = 2*lanes + 3
		rack := NewRack(size, most)
		for n := range most + 1 {
			var want []byte
			for i := range n {
				m := rack.Message(i)
				for j := range m {
					m[j] = byte(random.Uint32())
				}
				digest := sha256.Sum256(m)
				want = append(want, digest[:]...)
			}
			if got := rack.Sum(nil, n); !bytes.Equal(got, want) {
				t.Fatalf("%d messages of %d bytes have other digests", n, size)
			}
			if got := rack.inTurn(nil, n); !bytes.Equal(got, want) {
				t.Fatalf("%d messages of %d bytes have other digests one by one", n, size)
			}
			if !fast {
				continue
			}
			if got := rack.inPairs(nil, 0, n); !bytes.Equal(got, want) {
				t.Fatalf("%d messages of %d bytes have other digests in pairs", n, size)
			}
		}
	}
}

// TestRackKeepsItsPadding has a message written to with append, which must not reach its padding.
func TestRackKeepsItsPadding(t *testing.T) {
	rack := NewRack(3, 1)
	m := append(rack.Message(0)[:0], "four"...)
	copy(rack.Message(0), m)
	if want := sha256.Sum256([]byte("fou")); !bytes.Equal(rack.Sum(nil, 1), want[:]) {
		t.Fatal("the padding was written over")
	}
}

func FuzzSum(f *testing.F) {
	f.Add([]byte("a message"), uint16(3), uint16(5))
	f.Add(bytes.Repeat([]byte("x"), 2000), uint16(1100), uint16(64))
	f.Fuzz(func(t *testing.T, text []byte, a, b uint16) {
		first := text[:min(int(a), len(text))]
		second := text[len(first):][:min(int(b), len(text)-len(first))]
		third := text[len(first)+len(second):]
		var want []byte
		for _, m := range [][]byte{first, second, third} {
			digest := sha256.Sum256(m)
			want = append(want, digest[:]...)
		}
		if !bytes.Equal(Sum(nil, first, second, third), want) {
			t.Fatal("other digests")
		}
	})
}

func BenchmarkSum(b *testing.B) {
	for _, size := range []int{49, 131, 300, 513, 65536} {
		messages := make([][]byte, 64)
		for i := range messages {
			messages[i] = make([]byte, size)
		}
		out := make([]byte, 64*sha256.Size)
		b.Run(fmt.Sprintf("%d/abreast", size), func(b *testing.B) {
			b.SetBytes(int64(64 * size))
			for b.Loop() {
				Sum(out[:0], messages...)
			}
		})
		b.Run(fmt.Sprintf("%d/in turn", size), func(b *testing.B) {
			b.SetBytes(int64(64 * size))
			for b.Loop() {
				inTurn(out, messages)
			}
		})
	}
}
