// Package anomaly holds the statistics by which Pavise tells what is unlike from what is
// usual: scales that fit columns of any kind, projections, kernels, nearest centres, and
// the bounds that so many observations support.
//
// The package is pure: no clock, no disk, no network, no goroutine; chance comes from a
// seed. It owns nothing: every value is fitted once and only read afterwards, and may then
// be used by many at once.
package anomaly
