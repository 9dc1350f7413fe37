// Package registry is the models that an installation knows: their versions, how far each
// has come, and what vouches for it.
//
// # A version
//
// A version is files, by their digests, and one [Digest] over all of them
// (docs/formats/model.md). Everything else that is known of it is bound to that digest: the
// signature, what a look at the files found, results of evaluations and of attacks, and
// every approval. Other files are another digest, for which none of it counts: a version
// whose files are put anew is a draft again.
//
// How far the files are is an [Intake], which is no state of the life: a version is pending
// until its files were hashed and looked at. That happens here where the files are here
// ([Files]); else the word of whoever added the version is taken, if somebody whom the
// installation believes signed exactly these files.
//
// # A life
//
// Draft, proposed, reviewed, approved, published, canary, live, degraded, and rolled back
// or accepted; rejected and retired, which lead nowhere; and quarantined, from anywhere, at
// once. [Registry.Publish] and what ends a quarantine or a model's service run as changes
// that others approve. What deployments see moves a version on ([Registry.Moved]).
//
// Who had a hand in a version does not review it, and neither approves it: people are told
// apart by who answers for them (pavise.Principal.Root). Where the risk is high, who
// reviewed it does not approve it either, and two approve. All of that is checked in the
// transaction of the step itself. A version that waits for somebody longer than its state
// allows is a finding.
//
// # What it owns
//
// The tables of models, versions, aliases and of every step that any of them took, each with
// the record of the log that says so. Files it does not keep: that is a [Files].
package registry
