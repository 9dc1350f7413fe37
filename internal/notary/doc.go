// Package notary signs, as the installation itself, the files of versions of models that it
// hashed and looked at (OpenSSF Model Signing, by a key), and holds versions to what it signed.
//
// A signature says no more than the house knows: that these files have these digests, whose word
// that is, what a look at them found, and by which change they were published. Who made the model
// it does not say: that is the word of whoever trained it, which is a signature of theirs.
//
// It owns the keys with which the house signs models: the one that does, and former ones, which
// are still believed. What was signed its callers keep.
package notary
