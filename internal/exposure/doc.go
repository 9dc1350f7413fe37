// Package exposure says what is behind a dataset or a model, and which runs and models saw
// a row: on files of OpenLineage events and of seals, without a server. [Trace] and
// [Expose] are its commands.
//
// It owns no state, and leaves no record.
package exposure
