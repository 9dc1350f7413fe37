// Package cases holds policies to what they are to decide: who asks to do what, on which
// thing, and what is answered. [Test] is its command, which works on files, needs no server,
// and records nothing. It owns no state.
package cases
