// Package record is what one entry of the evidence log says: who asked for what,
// what was decided and how it ended. It owns the record's fields, their spelling
// as an entry, and how to read one back, whole ([Decode]) or a few fields at a
// time ([Glance]). docs/formats/record.md is the specification.
package record
