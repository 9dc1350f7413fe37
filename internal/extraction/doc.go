// Package extraction copies a classifier by asking it: attacks of our own, by which a
// model's owner measures how many answers give the model away.
//
// It owns the attacks, each a state machine that says which rows to ask next (Attack.Next)
// and is told the answers (Attack.Answer); the ledger of what was asked; what a thief
// makes of the answers (Attack.Steal); and how like the victim that is (Compare,
// Recommend). Whoever drives an attack brings the victim: the package knows none.
//
// An attack is decided by its settings, its data and the answers: the rows asked do not
// depend on how many are taken at once, and State keeps all of it, so that an attack goes
// on after its process was killed as if nothing had been.
//
// The package is pure: it knows no disk, no network and no clock, and starts no
// goroutines.
package extraction
