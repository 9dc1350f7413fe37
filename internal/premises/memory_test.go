package premises

import (
	"testing"
)

// TestGarbagePercent lets less garbage gather, for its size, the more lives.
func TestGarbagePercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 400, 12 << 20: 400, 13 << 20: 200, 24 << 20: 200, 48 << 20: 100, 49 << 20: 50, 96 << 20: 50, 97 << 20: 25, 192 << 20: 25, 193 << 20: 20, 4 << 30: 20, 1 << 50: 20,
	} {
		if got := garbagePercent(live); got != want {
			t.Errorf("%d bytes live: %d percent, want %d", live, got, want)
		}
	}
}
