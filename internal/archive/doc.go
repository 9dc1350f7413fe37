// Package archive is where whole segments of the evidence log go and come back
// from: a directory or a bucket. It owns the classes of retention and the table of
// what was archived.
//
// [Archive.Keep] copies each segment that grows no more, as it is, with a manifest
// that says what is in it and a checkpoint of the log at its end, so that any
// beginning of the archive is a log that verifies. A segment that does not lead to the
// log's signed head is damaged, and is not archived. The manifest is written last: a
// segment without one was not archived, and is copied again. What is archived is a
// record.
//
// Segments are pruned here only under a policy: each record belongs to a class, and
// a class says how long its records stay on this machine, and how long in the
// archive. A class that says nothing keeps them for ever. Classes change, and count as
// they are now, also for what was archived before. [Archive.Prune] reads every byte
// back from the archive, and holds it against what lies here, before it lets one go.
//
// Restoring trusts neither the archive nor the manifests: it rebuilds the tree from
// the records and holds it against the log's signed checkpoint.
package archive
