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
	switch refusal.Reason {
	case BadProof, WrongTarget, StaleProof, WrongToken, Replayed, ProofsFull:
		class = "invalid_dpop_proof"
		fallthrough
	case NotHolder, Unbound:
		scheme, algs = "DPoP", fmt.Sprintf(`, algs="%s"`, proofAlgorithms)
	}
	return fmt.Sprintf(`%s realm="pavise", error="%s", error_description="%s"%s`, scheme, class, refusal.Reason, algs)
}

// proofAlgorithms are those of proofs of possession, as a challenge lists them.
var proofAlgorithms = func() string {
	names := make([]string, len(asymmetric))
	for i, a := range asymmetric {
		names[i] = string(a)
	}
	return strings.Join(names, " ")
}()
