// Package receiver fetches records from where they lie and brings them to the gate: lines
// that a program appends to a file, objects that come into a bucket, messages of a NATS
// JetStream, indicators of a TAXII 2.1 feed. It owns which source is fetched from where,
// how far each is, and a journal of the objects that it has seen: tables whose names begin
// with receiver_. What becomes of a batch is the gate's to say.
//
// # Where from
//
// A verb names a place below a root, or on a server, of pavise.yaml, and nothing else: an
// operator can neither have this machine ask another one nor read a file that nobody meant
// to be read. Secrets stand in files that pavise.yaml names, and are in no verb, no table
// and no record.
//
// # Once
//
// Each batch has an id that says which bytes of what it holds, and is brought again until
// the gate has said what became of it. What is under way is written down before, so that
// after a kill the same bytes come under the same id, and the gate counts them once. A
// batch that the gate cannot take at all is passed over with a finding; a gate that is
// away, full or shut is waited for.
//
// # What is found
//
// That nothing came for as long as somebody said that it would not be quiet; that a place
// cannot be reached; that a file became shorter, that what was read already is another
// now, that an object was replaced or is gone, that the policy of a bucket is another, that
// a feed goes backwards or contradicts itself. A replaced object is found at the next
// pass, and no later; one that is replaced by as many bytes, where the store tells nothing
// but sizes, when it is read again.
package receiver
