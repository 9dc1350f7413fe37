//go:build !purego

package drift

import "github.com/klauspost/cpuid/v2"

// fast says whether project may be called.
var fast = cpuid.CPU.Supports(cpuid.AVX, cpuid.OSXSAVE)

// project adds n columns of a row, each times its signs, to sums; n is 1 at least.
//
//go:noescape
func project(sums, signs *[Directions]float64, row *float64, n int)
