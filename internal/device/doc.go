// Package device is a machine at the edge that runs a version of a model: it fetches what it
// is ordered, holds it to its digests, and to its signature where somebody says by whom it
// must be signed, and has programs find it behind the link current, which is swapped in one
// step. It owns the directory of the machine: the orders that it has seen, the version that
// runs, and the one before, in sealed parts, so that it goes back without the control plane.
//
// Orders are signed, numbered and fresh (package bundle): older ones, those of somebody
// else, and those that have ended are not obeyed, and what runs goes on. A version whose
// health command fails is taken back at once. Nobody is asked for that, and nothing is
// recorded here: what the machine reports is recorded at the control plane.
//
//	DIR/current     a link to the version that runs: what programs read
//	DIR/versions/   the version that runs, in the clear
//	DIR/kept/       its parts and those of the one before, sealed under DIR/kek
//	DIR/state       what runs, sealed; DIR/orders/ what was ordered; DIR/lock
package device
