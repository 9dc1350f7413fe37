//go:build !amd64 || purego

package abreast

const fast, wide, steps = false, false, false

// blocks is never called here.
func blocks(_, _ *[8]uint32, _, _ *byte, _ int) {}

// sixteen is never called here.
func sixteen(_ *[lanes][32]byte, _ *[lanes]*byte, _ int) {}

// expand is never called here.
func expand(_ *[rounds + 1][16]byte) {}

// oneWay is never called here.
func oneWay(_ *[rounds + 1][16]byte, _ *byte, _ int) {}
