// Package depot keeps the files of models, each once and under its SHA-256, sealed, in a
// directory or a bucket. It owns how such a content lies there (docs/formats/content.md), the
// list of what is kept, and who holds what.
//
// A content is sealed in frames under the key of its tenant, and so takes the same little
// memory however long it is. Who reads it gets no byte that was not proved, and not the last
// ones before the whole is known to be what its name says.
//
// # What is kept, and how long
//
// What is put is kept for a day. Whoever needs it longer holds it, under a name of their own;
// several may hold the same. What nobody holds any more goes by itself.
//
// # What may break off
//
// The list is in the state database. A row that says that something comes is written before
// the first byte, and one that it is there after the last byte is durable. A process that
// dies leaves a row of the first sort, which goes at the next start with what came of it.
package depot
