package ontime

import (
	"testing"
	"time"
)

// TestFine has the kernel's timer wait, a second time with the same one, and take no less
// than it was told.
func TestFine(t *testing.T) {
	for range 2 {
		from := time.Now()
		if !fine(300 * time.Microsecond) {
			t.Fatal("there is no timer of the kernel's")
		}
		if took := time.Since(from); took < 300*time.Microsecond {
			t.Errorf("300 µs were %v", took)
		}
	}
}
