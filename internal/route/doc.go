// Package route has what stands behind the models' names: for each a model in this process
// or on servers, and the terms on which callers may ask it.
//
// A [Table] owns the routes. They live in package store, with the models that run in this
// process and the history of releases, and change through the guarded verbs route.put,
// route.delete, route.release, route.rollback and route.quarantine, each of which leaves a
// record. Requests never wait for a change: who has found a [Live] route ends on it.
package route
