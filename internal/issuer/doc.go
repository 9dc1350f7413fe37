// Package issuer gives proofs out and takes them back. Package identity verifies what it
// signs, by the records that [Local.Record] and [Exchange.Record] return and by the roots
// and the list of a [CA].
//
//   - [Local] is the issuer that `pavise up` makes for its own machine.
//   - [Exchange] gives a short-lived token for a proof of somebody else's (RFC 8693).
//   - [CA] gives certificates to the machines, programs and people of a fleet.
//   - [Revocations] refuses what was given out before a time, by whomever.
//
// It owns the table of revocations, the CA's roots, the list of who holds certificates
// and what they may do, and the invitations by which they come. Each kind of key is kept
// in a file of its own (package seal, purposes token, exchange and ca), and none is ever
// the log's or another's.
//
// # How somebody joins
//
// An operator invites a machine ([CA.Invite]) and hands a line of text to it. The
// machine makes a key, believes the control plane by the root that the line pins, and
// gets a certificate ([Enroll], [CA.Join]) that it renews by itself ([CA.Renew]). The
// certificate says who it is and nothing else: roles stand in the list ([Holders]),
// which gateways are told, so that they change and end without another certificate.
// Whoever joins has who invited them to thank, and counts as that person where approvals
// are counted. A person is invited as a change, bound to the person's own key.
//
// # What the local issuer may not do
//
// Its tokens live an hour at most, carry only the demo roles, are for this
// installation's own audience, and speak for one tenant. Its record says Demo,
// by which every role that serves others refuses it.
package issuer
