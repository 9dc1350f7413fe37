// Package openlineage is what pipelines tell an installation of their runs: it receives
// OpenLineage events (spec 2-0-2), keeps each with who told it, and answers from them what
// is behind a dataset and what saw a row.
//
// # Claims
//
// An event is a claim of whoever sent it, as the door knows them; what it says of itself
// counts for nothing. The same event by the same teller counts once, however often it comes
// and whether or not the first answer arrived; by two tellers it is two claims, and nobody's
// takes another's away. A claim about a seal is held to those that the installation keeps
// ([Seals]) when it comes and whenever somebody asks. One that they refute is kept all the
// same, and is a finding.
//
// # What is kept
//
// The events of a tenant are bounded in number, in bytes and in how many datasets they
// name, and no teller has more than half of that: a tenant that is full turns away what
// comes, and drops nothing to make room, or a flood would wash away what a run did. Events
// end by age alone. How many were turned away and how many ended is counted, and told with
// each answer that they could have changed.
//
// The package owns the events in the store, and the graph that it makes of them, in memory
// and for as long as the process lives.
package openlineage
