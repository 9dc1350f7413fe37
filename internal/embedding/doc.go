// Package embedding alters the vectors that a model of embeddings answers with, so that
// what one tenant collects is of no use beside another's, and so that who covers much of
// the space gets it less exactly: a keyed rotation, a meter of coverage, and noise.
//
// The package is pure: no clock, no disk, no network, no goroutine; chance comes from
// keys. A Meter owns what it has seen; all else is made once and only read.
package embedding
