//go:build !race

package edge_test

// crowd is how many ask at once.
const crowd = 10_000

// raced is whether the race detector looks on, under which memory is not what it is.
const raced = false
