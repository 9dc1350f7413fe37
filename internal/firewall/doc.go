// Package firewall holds the checks that a request and its answer pass.
//
// They are the [Gate], which holds a request to the model's signature; the
// [Meter], which counts rows against rates and budgets; the [Watch], which holds the
// rows of many requests to a [Baseline]; and the [Shape] of the answer.
// [ModelGuard] changes scores so that they mislead a thief and keep their top. [Duplicates]
// looks for callers who feel their way along the model's edges, after the fact. Each check
// sees the exchange of package tensor, whatever the protocol was, and leaves a
// [pavise.Verdict].
//
// The package is pure: no clock, no disk, no network. Time is an argument.
package firewall
