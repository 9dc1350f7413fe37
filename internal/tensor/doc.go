// Package tensor is the exchange between those who ask predictive models and the
// models: named arrays in, named arrays out, and the strict codecs of the
// protocols that carry them.
//
// It owns the one form that every check sees and that the model gets. A
// [Protocol] turns foreign bytes into a [Request] or a [Response], and the only
// way onward is to encode from that form alone. The bytes that somebody sent
// never travel on, so no difference between two parsers can carry anything past a
// check. A model server is as foreign as a caller, and its answers are read as
// strictly.
//
// The package is pure: no clock, no disk, no network.
package tensor
