// Package firewall holds the checks that a request and its answer pass, and
// the strict codec of the protocol they arrive in.
//
// It owns the one exchange that every check sees and that the model gets:
// [ParseRequest] turns foreign bytes into a [Request], and the only way onward
// is [Request.AppendJSON], which encodes from the parsed form alone. The bytes a
// caller sent never travel on, so no difference between two parsers can carry a
// request past a check. Answers come back the same way, through
// [ParseResponse]: a model server is as foreign as a caller.
//
// The checks are the [Gate], which holds a request to the model's [Signature];
// the [Meter], which counts rows against rates and budgets; and the [Shape] of
// the answer. Each leaves a [pavise.Verdict].
//
// The package is pure: no clock, no disk, no network. Time is an argument.
package firewall
