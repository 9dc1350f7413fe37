// Package screening says which rows of training data in files look poisoned.
//
// It reads a file, and rows that are trusted if there are any, into what the screens of
// package poison look at, and tells what they found by the hashes that a seal has of the
// rows. It owns nothing: files stay as they are, and no record is left.
package screening
