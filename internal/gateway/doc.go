// Package gateway is the middle of the data plane: the firewall, a model, the
// firewall again.
//
// A request comes from package edge, which speaks the protocols: its caller is known
// by proof, enters through the guard as model.infer on tenant/model/id, and the
// request is parsed strictly, checked against the model's signature, charged by the
// row, and only then asked of the model, in bytes encoded anew. The answer takes the
// same way back. No step waits for a disk but the last: the record has been written
// before the first byte of the answer leaves.
//
// The package owns the meter that counts what callers take, and gives it the terms of the
// routes, which package route has. What callers have taken survives a restart: Run keeps
// a snapshot in the store, and New replays the records behind it.
package gateway
