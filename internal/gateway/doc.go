// Package gateway is the data plane: a protocol in, the firewall, a model, the
// firewall again, an answer out.
//
// It speaks the Open Inference Protocol v2 over REST. A request is known by its
// token, enters through the guard as model.infer on tenant/model/id, is parsed
// strictly, checked against the model's signature, charged by the row, and only
// then asked of the model, in bytes encoded anew. The answer takes the same way
// back. No step waits for a disk but the last: the record has been written
// before the first byte of the answer leaves.
//
// The package owns the routes, which say what stands behind a model's name and
// on what terms, and the meter that counts what callers take. Routes live in
// package store and change through the guarded verbs route.put and route.delete
// while requests run. What callers have taken survives a restart: Run keeps a
// snapshot in the store, and New replays the records behind it.
//
// Everything that is not a route of the protocol is refused: there is no
// pass-through.
package gateway
