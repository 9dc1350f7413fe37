package role

import "testing"

func TestGarbagePercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 400, 12 << 20: 400, 13 << 20: 200, 24 << 20: 200, 48 << 20: 100, 49 << 20: 50, 96 << 20: 50, 97 << 20: 25, 4 << 30: 25, 1 << 50: 25,
	} {
		if got := garbagePercent(live); got != want {
			t.Errorf("%d bytes live: %d percent, want %d", live, got, want)
		}
	}
}
