// Package rowseal is what seals of datasets are made of: how content is cut into rows and
// blocks, the trees over them (SHA-256, RFC 6962), the manifest that everybody may see, the
// index with the digests of rows, and the proofs that a row is, or is not, in what was
// sealed. docs/formats/seal.md is the specification.
//
// What is public of a dataset tells nothing of a row to who does not know all the others:
// the salts under which rows stand in the trees are drawn from the whole content. The same
// content has the same seal.
//
// It owns the two formats, and no state. It reads what others opened, but for an index,
// which it opens; all of it may be a stranger's.
package rowseal
