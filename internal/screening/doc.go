// Package screening says which rows of training data in files look poisoned.
//
// It reads a file, and rows that are trusted if there are any, into what the screens of
// package poison look at, and tells what they found by the hashes that a seal has of the
// rows. It owns nothing: files stay as they are, and no record is left. A [Judge] does so for a
// server: to a copy whose seal is the one that was asked for, within bounds.
package screening
