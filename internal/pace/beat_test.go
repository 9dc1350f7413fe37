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
	sizes := map[int]bool{}
	for n := range 5000 {
		pad := string(Pad(nil, n, random))
		size := n + len(pad)
		sizes[size] = true
		if size != Class(n) || size < 2<<10 || size&(size-1) != 0 {
			t.Fatalf("%d bytes of events become %d, and the class is %d", n, size, Class(n))
		}
		rest, whole := strings.CutSuffix(pad, "\n\n")
		if !whole {
			t.Fatalf("padding of %d ends in %q", len(pad), pad[max(0, len(pad)-9):])
		}
		for line := range strings.SplitSeq(rest, "\n") {
			if !strings.HasPrefix(line, ":") || len(line) > padLine {
				t.Fatalf("padding behind %d bytes has the line %.40q of %d", n, line, len(line))
			}
		}
	}
	if len(sizes) != 2 { // 2 and 8 KiB
		t.Errorf("5000 lengths make %d sizes", len(sizes))
	}
}

func TestPadDoesNotCompressAway(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	pad := Pad(nil, 0, rand.New(rand.NewPCG(1, 2)).Uint64)
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
