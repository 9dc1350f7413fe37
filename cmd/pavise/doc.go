// Command pavise is the whole product: the roles that stand at an
// organisation's doors, and the commands that speak to them or work on files.
//
// This package wires the rooms together and owns nothing else: the layout of
// the data directory is in data.go, the one role of this build in up.go, and
// the commands are the table of verbs of package api, made into a command line
// in commands.go.
package main
