//go:build !purego

package abreast

import (
	"crypto/fips140"

	"github.com/klauspost/cpuid/v2"
)

// fast says whether blocks may be called. Where the process has to hash with the validated module
// of the library (GODEBUG=fips140), nothing else does.
var fast = !fips140.Enabled() && cpuid.CPU.Supports(cpuid.SHA, cpuid.SSSE3, cpuid.SSE4)

// wide says whether sixteen may be called.
var wide = fast && cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW)

// steps says whether expand and oneWay may be called.
var steps = !fips140.Enabled() && cpuid.CPU.Supports(cpuid.AESNI)

// blocks adds n blocks at p to the state a, and n at q to b; n is 1 at least.
//
//go:noescape
func blocks(a, b *[8]uint32, p, q *byte, n int)

// sixteen hashes messages of n blocks each, with their padding; n is 1 at least.
//
//go:noescape
func sixteen(out *[lanes][32]byte, messages *[lanes]*byte, n int)

// expand makes the keys of all rounds from the first.
//
//go:noescape
func expand(keys *[rounds + 1][16]byte)

// oneWay writes over n blocks at x what they are under the permutation, added to themselves.
//
//go:noescape
func oneWay(keys *[rounds + 1][16]byte, x *byte, n int)
