// Package proof is what proves a record outside this house: signed checkpoints,
// cosignatures, witness policies, tiles and proof files. It owns the public
// formats of C2SP that Pavise speaks, and nothing else: no file, no clock, no
// network. Whoever reads a format here gets bytes from a stranger.
//
// # The formats
//
//   - [Key] is a verifier key (signed-note): a log's Ed25519 key, or a cosigner's
//     Ed25519 or ML-DSA-44 key (tlog-cosignature).
//   - [Checkpoint] is a signed tree head (tlog-checkpoint), [Open] checks one.
//   - [Policy] says which logs and which quorum of witnesses to believe
//     (tlog-policy), with the rule that nobody is a witness in their own cause.
//   - [File] is an inclusion proof that needs no server (tlog-proof); a [Record]
//     is what Pavise puts into its extra line, so that the file is all a
//     stranger needs.
//   - [Tile] names a piece of the tree or of the entries (tlog-tiles).
//   - [Range] is the tree itself, grown leaf by leaf (RFC 6962).
//
// docs/formats/proof.md says how a stranger checks a proof file by hand.
package proof
