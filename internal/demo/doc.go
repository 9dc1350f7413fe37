// Package demo plays an hour of a model's life in about a minute, against a Pavise that
// runs: those who use it well, those who do not, and what becomes of each. It owns the
// script, its cast, and the tale of what happened.
//
// Whoever is in the play is an outsider: they speak to the server as everybody does,
// over HTTP, with tokens, and whatever is said of them is what the server answered and
// what its log holds. The proof at the end is the log's own directory, verified as an
// auditor would, without the server.
//
// Two of the cast, a second person and a client whose tokens are bound to its key, come
// from an organisation of their own: an issuer whose key exists in this process and for
// as long as it. What is made with one installation's own issuer is, rightly, not a
// second person.
package demo
