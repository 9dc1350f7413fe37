//go:build race

package edge_test

// crowd is how many ask at once: the race detector bears 8,128 goroutines.
const crowd = 7_000

// raced is whether the race detector looks on, under which memory is not what it is.
const raced = true
