// Package http1 reads and writes HTTP/1.1 messages strictly (RFC 9110, RFC 9112): what two
// readers could understand differently is refused and never repaired. Both sides stand on
// the same few functions for heads and chunks.
//
// Responses reads the answers of one connection to a model server, which may lie.
// Server serves an http.Handler to callers, who may lie too: it takes a narrow,
// unambiguous form of request itself and leaves the rest to net/http.
//
// The package owns the bytes of a connection between the socket and the handler, and
// nothing else: what a message means is not its business.
package http1
