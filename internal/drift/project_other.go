//go:build !amd64 || purego

package drift

const fast = false

// project is never called here.
func project(_, _ *[Directions]float64, _ *float64, _ int) {}
