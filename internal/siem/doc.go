// Package siem is the wires out: what a person should look at, told to the machines
// that people watch. It owns the endpoints that findings go to, with the secrets that
// sign for them, and nothing else: findings are read from the evidence log, never from
// a table of their own, and how far each endpoint has come is a cursor of package feed.
//
// # What is told
//
// A [Finding] is made of a record: a note in which a room left a finding, a refusal, an
// act that was done first and is approved afterwards, a change of the wires themselves.
// It says which record it is made of and how to prove it. Nothing that a record keeps
// sealed, and no request or answer, ever leaves here.
//
// A finding is told at once. Of refusals of the same sort (the same caller, verb, thing
// and check) the first within a minute is told at once, and the others of that minute as
// one update with their count: whoever is refused a thousand times a second must not
// drown the rest.
//
// # How it is told
//
// As events of the Open Cybersecurity Schema Framework, OCSF 1.8.0, class Detection
// Finding (2004): as JSON lines in a file, and as the data of signed webhooks in the
// manner of Standard Webhooks 1.0.0. Each event is told at least once, and in the order
// of the log. The id of an event is made from its record's place in the log, so that who
// gets it twice can tell.
//
// # What an endpoint may be
//
// A webhook's address is checked when it is put and again at each connection, against
// the address that is really dialled: never a link-local or metadata address, and this
// machine only where the installation allows it. Redirects are not followed, proxies of
// the environment not used. An endpoint gets the findings of its own tenant alone.
package siem
