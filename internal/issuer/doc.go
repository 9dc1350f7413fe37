// Package issuer gives tokens out and takes them back. Package identity verifies what it
// signs, by the records that [Local.Record] and [Exchange.Record] return.
//
//   - [Local] is the issuer that `pavise up` makes for its own machine.
//   - [Exchange] gives a short-lived token for a proof of somebody else's (RFC 8693).
//   - [Revocations] refuses what was given out before a time, by whomever.
//
// It owns the table of revocations. The signing keys are kept by its callers (package
// seal, purposes token and exchange) and are never the log's key nor a CA's.
//
// # What the local issuer may not do
//
// Its tokens live an hour at most, carry only the demo roles, are for this
// installation's own audience, and speak for one tenant. Its record says Demo,
// by which every role that serves others refuses it.
package issuer
