// Package api is what makes a control plane of a table of verbs: its HTTP server and its
// client.
//
// One name, five places. The verb route.put is a row of the table in package verbs, and
// that row yields the path POST /v1/route.put, its OpenAPI 3.1 schema, the client's
// Call("route.put"), the command pavise route put, the Cedar action Action::"route.put"
// and the kind of the ledger record. Whoever has learned one surface has learned all.
//
// A row is a [Verb], which [Do], [Guarded], [Proposing] or [Feed] completes. Verbs of
// rooms above the guard enter through it themselves. Those of rooms below it, which
// cannot, are entered here, by [Guarded]. What a row does it does to rooms of its own,
// which this package does not know.
//
// The package owns no state of its own: a server is made of the table that it is handed.
package api
