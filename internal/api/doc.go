// Package api is the control plane: the table of verbs, its HTTP server and its
// client.
//
// One name, five places. The verb route.put is a row of the table in verbs.go,
// and that row yields the path POST /v1/route.put, its OpenAPI 3.1 schema, the
// client's Call("route.put"), the command pavise route put, the Cedar action
// Action::"route.put" and the kind of the ledger record. Whoever has learned one
// surface has learned all.
//
// Verbs of rooms above the guard enter through it themselves. Those of rooms
// below it, which cannot, are entered here, by [guarded].
//
// The package owns no state of its own.
package api
