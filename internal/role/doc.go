// Package role holds the processes that Pavise runs as: up, everything on one
// machine for one person; serve and gateway, a fleet's control plane and its doors
// for callers; agent, which makes a machine a member of a fleet; and witness, which
// cosigns the logs of others. Each is a type that is opened whole or not at all, with
// Run, which serves until its context is done, and Close, which comes after it and
// flushes the log before it closes the store.
//
// It owns which rooms a role is made of. What those with a log have in common is in
// package premises; what is printed, and what is typed, belongs to the command line.
package role
