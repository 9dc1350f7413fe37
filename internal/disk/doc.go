// Package disk is how an evidence log lies on a disk: the directory, the segments
// and their frames, and the index of each segment. It owns the layout and the few
// calls that a log's promises rest on; what is written when is package ledger's,
// and whether it is right is package audit's to say.
//
//	origin                  the log's name and public keys, one a line
//	checkpoint              the newest published signed tree head (C2SP tlog-checkpoint)
//	witnessed               the newest that a quorum of witnesses cosigned
//	entries-<first>.seg     entry bundles, back to back (C2SP tlog-tiles)
//	hash.<level>            tile hashes of one level, back to back
//	index-<first>           where the bundles of a segment begin, and which records bear which marks
//	cut                     what a start cut off and has not recorded yet
//
// The .seg files are the log. Each is a stream of entries, uint16 length then
// bytes, so that any 256 of them in a row are a C2SP entry bundle; a segment begins
// at a multiple of 256. The hash and index files are derived from them.
// docs/formats/record.md is the specification.
package disk
