// Command pavise is the whole product: the roles that stand at an
// organisation's doors, and the commands that speak to them or work on files.
//
// This package owns what is typed and what is printed, and nothing else: the
// roles are package role, and the commands are the table of verbs of package
// api, made into a command line in commands.go.
package main
