//go:build !linux

package ontime

import "time"

// fine does nothing where the runtime's own timers are fine.
func fine(time.Duration) bool { return false }
