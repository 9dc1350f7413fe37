// Package table is rows in and out of files: CSV, JSONL, NPY and IDX, plain or in gzip, and
// Parquet.
//
// [Open] looks at what a file begins with, and then at its name, and gives a [File], whose
// rows come one by one in constant memory. [Read] collects rows as numbers, with texts as
// codes and labels as classes. [NewWriter] writes CSV and JSONL; the same values make the
// same bytes.
//
// A table has columns, by name. CSV has their names in its header; without one they are
// counted, "0", "1" and so on, as those of NPY, IDX and of lists in JSONL are. An NPY or
// IDX file of several dimensions has a row for each index of the first dimension, and the
// rest, in the order of C, is its columns. The columns of JSONL are the keys of its objects,
// in order of first appearance; a row need not have all, and a list of numbers is one cell.
// Those of Parquet are the leaves of its schema, called by their path; what repeats is not read.
//
// Files come from strangers. What is ragged, cut off, left over, no number, not UTF-8, named
// twice or larger than it says is refused, in words that name the file, the line or row, and
// the column. Memory is taken in proportion to the bytes that are present and never to a
// size that a file declares; a compressed file that grows beyond measure is refused while it
// grows. Objects pickled in NPY are never read: a pickle is a program.
//
// What it owns: nothing but the file that it reads. A [File] is for one goroutine.
package table
