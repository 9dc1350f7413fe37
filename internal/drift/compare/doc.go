// Package compare holds the rows of a file to those of another one: has what comes into a model,
// or out of it, moved? It reads CSV, JSONL, NPY, IDX and Parquet by internal/table, the
// baseline twice and the other file once, and judges by internal/drift.
//
// It owns nothing but the two files while it reads them. Memory is bounded by columns, and not
// by rows.
package compare
