// Package poison ranks the rows of training data by how poisoned they look.
//
// [Prepare] makes a [View] of a [Table] and, if there is one, of a trusted baseline. The
// view has [View.Jobs], one to a screen: they only read it, know nothing of each other and
// may run at once. [View.Combine] puts what they found into one [Report]: for each row a
// score, where 1 is what takes a row to the quarantine list, and reasons in words.
//
// No screen is proof. Whoever knows the screens and writes few enough rows can pass under
// all of them (Koh, Steinhardt and Liang, "Stronger Data Poisoning Attacks Break Data
// Sanitization Defenses", 2018); [Blind] says what is not seen.
//
// The package is pure: no disk, no network, no clock, no goroutine. Chance comes from a
// seed: the same tables and seed give the same report. It owns nothing but what it returns.
package poison
