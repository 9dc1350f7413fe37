package role

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// TestKeepLean lets less garbage pile up while much lives, and leaves all as it was.
func TestKeepLean(t *testing.T) {
	t.Setenv("GOGC", "")
	usual := debug.SetGCPercent(100)
	defer debug.SetGCPercent(usual)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); keepLean(ctx) }()
	much := make([]byte, 2*leanFrom)
	runtime.GC()
	for deadline := time.Now().Add(30 * time.Second); percent() != leanPercent; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("with %d MB that live the collector waits for %d %% of garbage", len(much)>>20, percent())
		}
	}
	runtime.KeepAlive(much)
	stop()
	<-done
	if percent() != 100 {
		t.Errorf("afterwards it waits for %d %%", percent())
	}
}

// percent is what the collector waits for.
func percent() int {
	now := make([]metrics.Sample, 1)
	now[0].Name = "/gc/gogc:percent"
	metrics.Read(now)
	return int(now[0].Value.Uint64())
}
