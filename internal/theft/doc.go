// Package theft tells clients who copy a model from those who use it: by the measures of
// docs/theft.md, held to what whole honest clients are like, with a bound on how many of
// those may be taken for thieves.
//
// The package is pure: no clock, no disk, no network, no goroutine. A [Calibration] is made
// once and only read afterwards. An [Extraction] owns what is remembered of each client, in
// bounded memory, and is for one goroutine.
package theft
