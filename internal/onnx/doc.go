// Package onnx reads, runs and writes models as ONNX.
//
// It owns four things. A [Writer] puts a model together. A [Graph] is a model
// read back by [Parse]: a small interpreter of the operators that feed-forward
// models over tables need, after the operator specification at
// https://onnx.ai/onnx/operators/. A [Matrix] is what it carries. And the
// arithmetic of networks, from [Exp] to [Accumulate], gives the same bits on
// every machine.
//
// [Parse] reads bytes from strangers. It refuses what it does not know
// rather than guess, allocates in proportion to the bytes present and never to
// a size that they declare, and checks every shape, so that [Graph.Run] cannot
// fail on an input of the right shape.
//
// The operators understood, over values of [N, columns] and constants of one
// row, are:
//
//	Abs Add ArgMax BatchNormalization Cast Clip Concat Constant Div Dropout Elu
//	Equal Erf Exp Flatten Gather Gemm Greater Identity LeakyRelu Less Log
//	LogSoftmax MatMul Max Min Mul Neg Not Pow Reciprocal ReduceSum Relu Reshape
//	Sigmoid Softmax Softplus Sqrt Sub Tanh
//
// and, of ai.onnx.ml, as the converters of scikit-learn, XGBoost and LightGBM
// write them:
//
//	ArrayFeatureExtractor LinearClassifier Normalizer Scaler
//	TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
//
// Where the specification leaves something open and runtimes differ, a model
// that needs it is refused. Two things are not as in other runtimes: the names
// of classes that are texts are no output, since a table of numbers cannot hold
// them, and ZipMap gives its scores as the table that they were.
//
// The package is pure: it knows no disk, no network and no clock, and starts
// no goroutines.
package onnx
