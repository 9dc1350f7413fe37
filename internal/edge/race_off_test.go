//go:build !race

package edge_test

// crowd is how many ask at once.
const crowd = 10_000
