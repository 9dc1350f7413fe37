// Package gate is what records pass on their way in. Whoever brings a batch of them for a
// source is asked for by the guard; the batch is held to the source's contract, its
// signers, its writers and the templates that its lines have; and what passes goes on to
// the output, once, in the order in which it was let in. What does not is kept, encrypted,
// until people release or discard it.
//
// The package owns the declared sources, what became of each batch, and the quarantine:
// tables whose names begin with gate_, and files below the directory that it is given.
package gate
