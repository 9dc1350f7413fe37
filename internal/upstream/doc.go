// Package upstream is Pavise's own client of model servers. It owns the
// connections to them: how many there are, which one a call takes, and when one
// is given up.
//
// A [Cluster] is one logical server: several endpoints that answer alike. It
// picks an endpoint for each call ([Balance]), keeps away from those that fail
// ([Ejection]), bounds what it asks of them ([Breaker]) and how long it waits
// ([Timeouts]). HTTP/1.1 is spoken on connections of its own, written and read in
// the goroutine of the caller, with the messages of package http1; HTTP/2 is
// net/http's.
//
// # What is tried again
//
// An inference may cost money, and may change what the model server keeps. So a
// request is sent a second time only when the first cannot have been executed:
//
//   - no connection came about, its TLS included: another endpoint is tried;
//   - the connection had served before, and died before any byte of an answer and
//     before all of the request was handed to the system: a server does not
//     execute half a request;
//   - the connection had served before, died before any byte of an answer, and the
//     caller said that the request may be executed twice ([Request.Repeatable]).
//
// Never after a byte of an answer, never after a timeout, never because of a
// status, and never more than [Breaker] lets. Over HTTP/2 net/http repeats what the
// server said it did not execute (REFUSED_STREAM, GOAWAY), and nothing else is
// tried again after the connection stands.
//
// # What is not done
//
// Redirects are not followed, no proxy is taken from the environment, no
// compression is asked for and a compressed answer is refused, cookies and
// authentication challenges are not understood, and no connection is upgraded.
package upstream
