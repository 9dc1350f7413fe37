// Package audit proves an evidence log offline: a whole directory ([Verify]) or
// one record in a proof file ([VerifyProof]). It knows the log's format and none
// of the code that writes it, needs no server and no secret, and believes nothing
// but what the verifier brings along: a key's fingerprint, a checkpoint kept from
// earlier, or a policy of witnesses.
package audit
