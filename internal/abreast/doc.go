// Package abreast hashes messages with SHA-256, two beside each other. One message keeps a
// processor waiting: each round needs the one before, and the instructions that do the rounds
// could begin another one meanwhile. So two messages take hardly longer than one. Where a
// processor has no such instructions, in FIPS mode, and with the build tag purego they are hashed
// one after the other by crypto/sha256, with the same digests.
//
// It owns no state.
package abreast
