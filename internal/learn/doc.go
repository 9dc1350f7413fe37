// Package learn fits small models to tables of numbers.
//
// An [MLP] is a multilayer perceptron, trained by [Train] from a seed: the same
// seed, data and settings give the same bits, so that a model can be rebuilt and
// compared byte for byte. A model emits itself as ONNX, which package onnx
// writes, reads and runs.
//
// The package is pure: it knows no disk, no network and no clock, and starts
// no goroutines.
package learn
