//go:build !amd64 || purego

package abreast

const fast, wide = false, false

// blocks is never called here.
func blocks(_, _ *[8]uint32, _, _ *byte, _ int) {}

// sixteen is never called here.
func sixteen(_ *[lanes][32]byte, _ *[lanes]*byte, _ int) {}
