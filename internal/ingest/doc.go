// Package ingest is the gate that records pass on their way in. So far it has the commands that
// look at files, with no server: templates says what a log is made of, cohort which of several
// like pods writes another log than its siblings, cloudtrail whether the log files of an AWS
// account are those that AWS wrote.
//
// It owns no state: what does not fit into memory goes to files without a name, which are gone
// with the process.
package ingest
