// Command policy measures one authorization decision: Pavise's index over Cedar,
// cedar-go scanning every policy, and OPA with prepared queries and parsed input, all
// over the same policies (50, 810 and 10,000 of them), the same people and the same
// questions, in turns, in another order each round.
//
// The policies are written once, in Cedar (corpus.go), and translated into Rego in four
// ways (rego.go): OPA is judged by whichever of them answers fastest. Before anything is
// timed every engine answers every question, and a difference ends the run.
//
// What is counted is processor time: the machine may be shared, and a decision waits
// for nothing. Everything runs on one processor, so that the garbage collector's work is
// in the numbers of whoever makes garbage.
//
// The tests of this directory hold the engines to each other, and Pavise's decisions to
// the Rust Cedar's (oracle_test.go).
//
// Run it from the bench directory:
//
//	go run ./policy [--rounds 7] [--millis 300] [--sizes 50,810,10000] [--write]
package main
