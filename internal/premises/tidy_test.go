package premises

import (
	"context"
	"runtime/debug"
	"testing"
	"time"
)

// TestTidy gives back what was left behind once there is little to do, and leaves a process
// alone whose owner has decided how it collects.
func TestTidy(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // nobody else collects
	left := func() {
		crowd := make([][]byte, 64)
		for i := range crowd {
			crowd[i] = make([]byte, 1<<20)
		}
		if n := idleBytes(); n < 64<<20 {
			t.Fatalf("%d bytes are idle", n)
		}
	}
	left()
	t.Setenv("GOGC", "100")
	Tidy(t.Context())
	if n := idleBytes(); n < 64<<20 {
		t.Errorf("%d bytes are idle where somebody has decided", n)
	}
	t.Setenv("GOGC", "")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { Tidy(ctx); close(ended) }()
	for end := time.Now().Add(20 * time.Second); idleBytes() >= worthwhile; time.Sleep(restEvery / 4) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes are idle, and nobody collects", idleBytes())
		}
	}
	stop()
	<-ended
}

func TestResting(t *testing.T) {
	for used, want := range map[time.Duration]bool{0: true, 99 * time.Millisecond: true, 100 * time.Millisecond: false, 2 * time.Second: false} {
		if got := resting(used, time.Second); got != want {
			t.Errorf("%v of a second: %v", used, got)
		}
	}
}
