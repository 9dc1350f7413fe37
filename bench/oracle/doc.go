// Package oracle holds Pavise's decisions to those of the Rust Cedar, which is the
// language's own implementation and shares no code with cedar-go. It has tests only.
//
// Two sets of questions are asked: every role, verb and state under the policies that
// are compiled in, and random questions under random policies (random_test.go). Each is
// decided by the guard, by cedar-go over every policy, and by the Rust Cedar, which the
// Python package cedarpy wraps (check.py). Decisions must be the same, the ids of the
// policies that decided too, and the ids of those that could not be evaluated. Policies
// that the guard accepts must be valid to the Rust Cedar under the same schema.
//
// The guard differs from Cedar in one rule, which is on purpose: a forbid that cannot be
// evaluated forbids. The tests derive what the guard has to answer from what Cedar does.
//
// The test that needs cedarpy runs when PAVISE_CEDARPY names a Python that has it:
//
//	python3 -m venv venv && venv/bin/pip install cedarpy
//	PAVISE_CEDARPY=$PWD/venv/bin/python go test ./oracle
package oracle
