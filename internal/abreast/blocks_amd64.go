package abreast

import "github.com/klauspost/cpuid/v2"

// fast says whether blocks may be called.
var fast = cpuid.CPU.Supports(cpuid.SHA, cpuid.SSSE3, cpuid.SSE4)

// blocks adds n blocks at p to the state a, and n at q to b; n is 1 at least.
//
//go:noescape
func blocks(a, b *[8]uint32, p, q *byte, n int)
