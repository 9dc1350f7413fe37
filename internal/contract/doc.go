// Package contract is what a producer of data promises: contracts of the Open Data
// Contract Standard (ODCS 3.0 to 3.2), read, written, drafted from data,
// and held to it.
//
// [Parse] reads a contract strictly: a field that the standard does not have, or that
// stands twice, or in the wrong place is refused, for a promise that is misspelled would
// be one that nobody checks. What of a contract is promised and cannot be checked here
// (SQL, texts for people, other engines' rules) is said, in [Contract.Unchecked], and
// never counted as kept.
//
// A [Checker] holds rows to a contract one by one, in memory that is bounded by what the
// contract wants unique, and says of each breach which rule, how often and in which rows.
//
// A contract is a foreign file like any other: patterns are those of RE2, which take time
// in proportion to the text, aliases of YAML are refused, and what it may hold is bounded.
// That a contract is the right one is not its own word: who released it says so.
//
// The package owns no state.
package contract
