//go:build race

package ledger

// crowd is how many append at once: the race detector bears 8,128 goroutines.
const crowd = 7_000
