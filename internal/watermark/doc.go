// Package watermark marks the answers of a model under a key, and finds the marks again
// in a model that was trained on them.
//
// A [Key] picks a small share of inputs, and for each of them another class than the
// model's: whoever trains on the answers learns those classes, and nobody else has a
// reason to (Szyller, Atli, Marchal and Asokan, DAWN: Dynamic Adversarial Watermarking
// of Neural Networks, ACM Multimedia 2021). A [Marker] does so to one row after another.
// [Marks] are what was given out so far. An [Inquiry] takes a suspect's answers and makes
// a [Report]: how probable they are if the suspect knows nothing of the key.
//
// For a model that may not be marked there is the [Fingerprint]: points near its decision
// boundary, which copies share more than models of other origin do (Cao, Jia and Gong,
// IPGuard, ASIA CCS 2021).
//
// The package is pure: no clock, no disk, no network; readers and writers are arguments.
// It owns the files of keys, marks and fingerprints: docs/formats/watermark-key.md.
package watermark
