// Package ledger is the evidence log: append, prove, follow, and verify offline.
//
// # What it owns
//
// One directory per log, locked while the log is open, and nothing else writes
// there:
//
//	origin                  the log's name and public key, written once
//	checkpoint              the newest published signed tree head (C2SP tlog-checkpoint)
//	entries-<first>.seg     entry bundles, back to back (C2SP tlog-tiles)
//	hash.<level>            tile hashes of one level, back to back
//	cut                     what a start cut off and has not recorded yet
//
// The .seg files are the log. Each is a stream of entries, uint16 length then
// bytes, so that any 256 of them in a row are a C2SP entry bundle; a segment
// begins at a multiple of 256. The hash files are derived from it: opening a log
// hashes every record, holds the root against the checkpoint, and repairs them. docs/formats/record.md says what
// an entry holds.
//
// # How a record becomes safe
//
// Callers encode and hash their own entry and put it in a buffer. One writer
// goroutine takes whatever the buffer holds and writes it: that is [Written],
// and survives the death of the process. One syncer goroutine calls fdatasync,
// then brings the Merkle tree up to date, then signs the tree head: that is
// [Durable]. There is no timer between an append and its sync: while one sync
// runs, the next batch gathers, so batches grow exactly as fast as the load.
// Written entries that nobody waits for are synced within 50 ms.
//
// A tree head is signed only after fdatasync has returned, so the log never
// signs what it could lose. An error from fdatasync stops the log for good:
// after one, the kernel may have dropped the very pages it failed to write, and
// a second, successful fdatasync would prove nothing.
//
// # When the disk is full
//
// The active segment keeps some megabytes allocated beyond its end. Ordinary
// records are refused once the disk cannot grow that reserve; records of
// safe-direction and recovery verbs may still use it, so that a full disk never
// blocks the way back.
package ledger
