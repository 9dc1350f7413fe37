package main

import "fmt"

// The exit codes of commands that look for something. That nothing was found is 0.
const (
	foundSomething = 1
	couldNotLook   = 2
)

// An ending is the exit code of a command that looked for something, with what kept it
// from looking.
type ending struct {
	code int
	err  error // nil when all is said
}

// Error implements error.
func (e *ending) Error() string {
	if e.err != nil {
		return e.err.Error()
	}
	return fmt.Sprintf("exit code %d", e.code)
}

// Unwrap returns what kept the command from looking.
func (e *ending) Unwrap() error { return e.err }
