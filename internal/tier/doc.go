// Package tier knows how far each caller is trusted at each model: green, amber or red.
//
// Green is everybody, until more is known. Amber are those whom the detector of package
// theft finds unlike honest clients, for a time; red, and amber too, are those whom an
// operator says so of, with a reason. What follows from a tier is package gateway's.
//
// A [Book] owns the standings, what the detector remembers of each client, and their
// tables in package store, whose names begin with tier_. Whoever asks for a tier on the
// way of a request waits for nobody; whatever callers do, the book stays bounded.
package tier
