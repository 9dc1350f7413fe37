// Package anomaly holds the statistics by which Pavise tells what is unlike from what is
// usual: scales that fit columns of any kind, projections, kernels, nearest centres, and
// the bounds that so many observations support; and watchers of feeds: volume, order, and how
// many different values.
//
// The package is pure: no clock, no disk, no network, no goroutine; chance comes from a
// seed. What is fitted is fitted once and only read afterwards, and may then be used by many
// at once; the watchers of feeds ([Volume], [Sequence], [Distinct]) own what they saw, each for
// one goroutine.
package anomaly
