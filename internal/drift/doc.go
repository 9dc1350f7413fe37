// Package drift says whether the world of a model has moved: whether what comes in, or goes out,
// is still like a baseline. It is statistics alone: histograms between the quantiles of a
// baseline, tests with their p-values, sizes of effects, a bound on false discoveries, and
// windows that must agree before anything is called drift.
//
// The bins lie where the baseline has its quantiles, and never move: one value that is far out
// changes one count by one, and so hides nothing. A shift counts when chance does not explain it
// and it is large enough to matter: of a million rows everything is significant.
//
// The package is pure. A Reference and Categories are made once and read by many; a Histogram
// and a Watch are each for one goroutine, which owns what they count. Its room for files is
// drift/compare.
package drift
