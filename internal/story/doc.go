// Package story is what a record of the evidence log says to people: in one line, with its
// state, or in order, from who asked to the checkpoint that signed it. It owns no state.
package story
