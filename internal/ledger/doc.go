// Package ledger is the evidence log: append, prove, search and prune. It owns one
// directory per log, laid out as package disk says, which is locked while the log
// is open; nothing else writes there.
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
// # What waits
//
// Records gather in batches, each of which one write takes; up to 32 MiB of them wait
// while the disk is slow, and behind those, for five seconds, whoever finds no room. Only
// then is a record refused. Records of safe-direction verbs go first, and have memory of
// their own.
//
// # How a log opens
//
// It reads the segment in which its checkpoint ends, and what follows. The tree
// before comes from the hash files, and is the signed one if it leads, with the
// records that were read, to the checkpoint's root; if it does not, the whole log
// is read. Earlier records are held against the tree by whoever reads them, and
// all of them by package audit: opening ten million takes well under a second.
//
// # When the disk is full
//
// The active segment keeps some megabytes allocated beyond its end. Ordinary
// records are refused once the disk cannot grow that reserve; records of
// safe-direction and recovery verbs may still use it, so that a full disk never
// blocks the way back.
package ledger
