// Package lineage is what was made of what: which run of which job read which datasets
// and wrote which others, as pipelines tell it in OpenLineage events, held to the seals
// that there are. It answers the two questions of a poisoned row: what is behind this
// model, and which runs and models saw this row.
//
// An event is a claim. It is kept with whoever made it, nobody's claim takes another's
// away, and what a claim is worth is said beside it: that its seal is one that was made
// here of that dataset, that it names no seal, that the seal is none we know, or that it
// is refuted. See [Graph.Judge].
//
// The package owns the graph, which it makes of claims and seals in whatever order they
// come. It knows no disk, no network and no clock.
package lineage
