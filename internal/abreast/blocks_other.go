//go:build !amd64 || purego

package abreast

const fast = false

// blocks is never called here.
func blocks(_, _ *[8]uint32, _, _ *byte, _ int) {}
