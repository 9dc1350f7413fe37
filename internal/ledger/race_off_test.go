//go:build !race

package ledger

// crowd is how many append at once.
const crowd = 10_000
