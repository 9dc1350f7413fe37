// Package redteam attacks models of our own, to measure what they give away: it asks a
// model in a file, or on a server of this machine, whatever an attack of package extraction
// wants to know, and says how like the model the copy is.
//
// It owns the files that a run leaves: the state, with which it goes on after it was
// killed, and the rows asked. Where attacks may go is decided here: files, and loopback
// addresses.
package redteam
