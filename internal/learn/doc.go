// Package learn fits small models to tables of numbers.
//
// An [MLP] is a multilayer perceptron, trained by [Train]; [Trees] are decision
// trees, boosted or one alone, trained by [TrainTrees]. Both are trained from a
// seed: the same seed, data and settings give the same bits, so that a model can
// be rebuilt and compared byte for byte. Both predict the probability of each
// class, and emit themselves as ONNX, which package onnx writes, reads and runs.
//
// The package is pure: it knows no disk, no network and no clock, and starts
// no goroutines.
package learn
