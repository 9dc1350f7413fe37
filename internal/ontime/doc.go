// Package ontime waits until a time and no longer: to some hundredths of a millisecond,
// where the runtime's timers are up to one millisecond late on Linux.
//
// How late those are is not chance. An idle process sleeps for whole milliseconds from when
// it fell idle, so that a wait ends some milliseconds after the work before it did: what
// that work took shows in when the wait ends, below the millisecond, whatever the wait was
// for. Here a timer of the kernel's ends it, which knows nothing of what was before.
//
// The package owns these timers.
package ontime
