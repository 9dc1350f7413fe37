// Package bundle carries what a control plane tells its gateways. It owns the
// signature, the number, the freshness and the storage of bundles, and nothing of
// what stands in them: sections are the rooms' own, as opaque JSON, and blobs are
// named by their digest. docs/formats/bundle.md is the specification.
//
// # Who is believed
//
// A [Bundle] carries the list of keys that may sign the next ones, each active or
// revoked. A reader keeps the list of the bundle that it holds, and takes the next
// one only when a key that is active there has signed it, and a key that is active in
// its own list has, too: so a rotation is a bundle signed by the old key that lists
// the new one. The first list comes with the reader's enrolment ([Trust]).
//
// A lower serial than the highest that was ever seen is a rollback, the same serial
// with other bytes an equivocation; both are refused for good, whatever signed them.
//
// # The two sides
//
// A [Publisher] assembles a bundle of what section functions say, numbers it, signs
// it with its [Signer], keeps it and serves it ([Publisher.Handler]). A [Store] keeps
// what a reader was last told, verified again whenever it is opened, and a [Client]
// follows a publisher by long poll. Who may ask is the business of whoever mounts the
// handler and makes the client's transport.
package bundle
