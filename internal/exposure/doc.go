// Package exposure says what is behind a dataset or a model, and which runs and models saw
// a row: on files of OpenLineage events and of seals, without a server. [Trace] and
// [Expose] are its commands. Where no events are given, they make the question that a server
// is asked instead, for which seals are read and rows looked for here.
//
// It owns no state, and leaves no record.
package exposure
