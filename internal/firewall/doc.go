// Package firewall holds the checks that a request and its answer pass.
//
// They are the [Gate], which holds a request to the model's signature; the
// [Meter], which counts rows against rates and budgets; and the [Shape] of the
// answer. Each sees the exchange of package tensor, whatever the protocol was, and
// leaves a [pavise.Verdict].
//
// The package is pure: no clock, no disk, no network. Time is an argument.
package firewall
