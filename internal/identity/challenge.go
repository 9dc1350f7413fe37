package identity

import (
	"errors"
	"fmt"
	"strings"
)

// Challenge returns the WWW-Authenticate value that goes with an error of Verify or
// FromHeader (RFC 6750, section 3; RFC 9449, section 7.1): which schemes there are or
// which one it is about, the class of the refusal, and nothing of the token.
func Challenge(err error) string {
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || refusal.Reason == Missing {
		return fmt.Sprintf(`Bearer realm="pavise", DPoP algs="%s"`, proofAlgorithms)
	}
	scheme, class, algs := "Bearer", "invalid_token", ""
	about := AboutProof(refusal.Reason)
	if about {
		class = "invalid_dpop_proof"
	}
	if about || refusal.Reason == NotHolder || refusal.Reason == Unbound {
		scheme, algs = "DPoP", fmt.Sprintf(`, algs="%s"`, proofAlgorithms)
	}
	return fmt.Sprintf(`%s realm="pavise", error="%s", error_description="%s"%s`, scheme, class, refusal.Reason, algs)
}

// AboutProof reports whether a reason is about the proof of possession itself, and not
// about the token (RFC 9449, section 5).
func AboutProof(why Reason) bool {
	switch why {
	case BadProof, WrongTarget, StaleProof, WrongToken, Replayed, ProofsFull:
		return true
	}
	return false
}

// ProofAlgorithms are those that a proof of possession may be signed with.
func ProofAlgorithms() []string { return strings.Fields(proofAlgorithms) }

// proofAlgorithms are those of proofs of possession, as a challenge lists them.
var proofAlgorithms = func() string {
	names := make([]string, len(asymmetric))
	for i, a := range asymmetric {
		names[i] = string(a)
	}
	return strings.Join(names, " ")
}()
