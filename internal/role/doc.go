// Package role holds the processes that Pavise runs as: up, everything on one
// machine for one person, and witness, which cosigns the logs of others. Each is
// a type that is opened whole or not at all, with Run, which serves until its
// context is done, and Close, which comes after it and flushes the log before it
// closes the store.
//
// It owns the layout of the data directory (data.go) and which rooms a role is
// made of. What is printed, and what is typed, belongs to the command line.
package role
