package guard

import (
	"errors"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/identity"
)

// Admit says who calls: it verifies the token in the values of a request's
// Authorization header. A refusal is counted against the source, the address
// that the request came from, and is of kind Unverified, or of kind Throttled
// when the source keeps sending what cannot be verified.
func (g *Guard) Admit(v *identity.Verifier, authorization []string, source string) (pavise.Principal, error) {
	token, err := identity.FromHeader(authorization)
	if err == nil {
		var who pavise.Principal
		if who, err = v.Verify(token); err == nil {
			return who, nil
		}
	}
	reason := "unknown"
	if refusal, ok := errors.AsType[*identity.Refusal](err); ok {
		reason = string(refusal.Reason)
	}
	if g.Refuse(source, reason) {
		return pavise.Principal{}, &pavise.Error{
			Kind: pavise.Throttled,
			Msg:  "too many requests without a valid token from your address",
			Hint: "wait a second, then send a valid token",
		}
	}
	return pavise.Principal{}, err
}
