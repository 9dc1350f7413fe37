package role

import "testing"

func TestGarbagePercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 400, 4 << 20: 400, 16 << 20: 400, 20 << 20: 300, 32 << 20: 200, 48 << 20: 100, 64 << 20: 100, 4 << 30: 100, 1 << 50: 100,
	} {
		if got := garbagePercent(live); got != want {
			t.Errorf("%d bytes live: %d percent, want %d", live, got, want)
		}
	}
}
