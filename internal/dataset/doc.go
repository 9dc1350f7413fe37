// Package dataset says what a model was trained on: it seals files, directories and buckets, so that
// every change is found and named by its row, and proves that a row was, or was not, among
// what was sealed.
//
// A seal is two files. The [Manifest] has the roots of Merkle trees (SHA-256, RFC 6962), the
// same for the same content wherever it lies, and may be shown to anybody. The index beside
// it has a digest of every row and is as private as the rows are: whoever has it can test
// guesses. What a proof shows of other rows is hidden under salts that only the whole content
// yields. docs/formats/seal.md is the specification.
//
// [Seal], [Verify], [Compare] and [Prove] are the commands; they work on files and on buckets
// of others, need no server of ours, and leave no record.
//
// It owns the format of seals, of their indexes and of the proofs, and no state. What it
// reads may be a stranger's: the files, and the seals.
package dataset
