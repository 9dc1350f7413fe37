package role

import "testing"

func TestGarbagePercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 400, 16 << 20: 400, 17 << 20: 200, 32 << 20: 200, 64 << 20: 100, 65 << 20: 50, 128 << 20: 50, 129 << 20: 25, 4 << 30: 25, 1 << 50: 25,
	} {
		if got := garbagePercent(live); got != want {
			t.Errorf("%d bytes live: %d percent, want %d", live, got, want)
		}
	}
}
