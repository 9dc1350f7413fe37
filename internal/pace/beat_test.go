package pace

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestPadFillsTheClass(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)).Uint64
	for n := range 9000 {
		pad := string(Pad(nil, n, random))
		if len(pad) != n {
			t.Fatalf("padding of %d bytes has %d", n, len(pad))
		}
		if n > 2 && !strings.HasSuffix(pad, "\n\n") || n > 0 && !strings.HasSuffix(pad, "\n") {
			t.Fatalf("padding of %d ends in %q", n, pad[max(0, n-9):])
		}
		for line := range strings.SplitSeq(strings.TrimRight(pad, "\n"), "\n") {
			if n > 2 && !strings.HasPrefix(line, ":") || len(line) > padLine {
				t.Fatalf("padding of %d has the line %.40q of %d", n, line, len(line))
			}
		}
	}
	sizes := map[int]bool{}
	for n := range 40_000 {
		size := Class(n)
		sizes[size] = true
		if size < n || size < smallest {
			t.Fatalf("%d bytes are of the class %d", n, size)
		}
	}
	if len(sizes) != 4 { // 2, 8, 32 and 128 KiB
		t.Errorf("40,000 lengths make %d sizes", len(sizes))
	}
}

func TestBurstsLeaveLikeAllElse(t *testing.T) {
	b := Beat(50 * time.Millisecond)
	for waiting, want := range map[int]struct{ size, beats int }{
		0: {2048, 0}, 1: {2048, 1}, 2048: {2048, 1}, 2049: {2048, 2}, 16384: {2048, 8}, 16385: {8192, 6}, 60_000: {8192, 12},
	} {
		if got := Write(waiting); got != want.size {
			t.Errorf("of %d bytes %d leave at once", waiting, got)
		}
		if got := b.Drain(waiting); got != time.Duration(want.beats)*50*time.Millisecond {
			t.Errorf("%d bytes have left after %v", waiting, got)
		}
	}
}

func TestPadDoesNotCompressAway(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	pad := Pad(nil, 2048, rand.New(rand.NewPCG(1, 2)).Uint64)
	z.Write(pad)
	z.Close()
	if b.Len() < len(pad)*7/10 { // letters of 6 bits in bytes of 8
		t.Errorf("%d bytes of padding compress to %d", len(pad), b.Len())
	}
}

func TestBeats(t *testing.T) {
	b, err := ParseBeat("50ms")
	if err != nil {
		t.Fatal(err)
	}
	for since, want := range map[time.Duration]time.Duration{0: 50, 49: 50, 50: 100, 51: 100, 1049: 1050} {
		if got := b.Next(since * time.Millisecond); got != want*time.Millisecond {
			t.Errorf("behind %dms the next beat is at %v", since, got)
		}
	}
	for _, text := range []string{"", "none", "1ms", "3s", "-50ms", "50", "fifty"} {
		if _, err := ParseBeat(text); err == nil {
			t.Errorf("pace %q is taken", text)
		}
	}
	if err := Beat(time.Hour).Validate(); err == nil {
		t.Error("a beat of an hour is valid")
	}
}
