package blob

import (
	"testing"
	"time"
)

// Impatient makes sources that are opened from now on wait hardly at all between tries.
func Impatient(t testing.TB) {
	before := patient
	patient.first, patient.most = time.Millisecond, 5*time.Millisecond
	t.Cleanup(func() { patient = before })
}

// Hasty is Impatient, and gives up a connection that is silent for a moment.
func Hasty(t testing.TB) {
	Impatient(t)
	patient.stall = 300 * time.Millisecond
}
