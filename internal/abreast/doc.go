// Package abreast hashes messages with SHA-256, several beside each other. One message keeps a
// processor waiting: each round needs the one before, and the instructions that do the rounds
// could begin another one meanwhile. So two messages take hardly longer than one, and where
// registers hold sixteen words, sixteen of as many blocks take a third of what they do one by one.
// Of AES-128 under a key that everybody knows it does eight blocks beside each other.
//
// Where a processor has no such instructions, in FIPS mode, and with the build tag purego the
// library does each by itself, with the same results.
//
// It owns no state.
package abreast
