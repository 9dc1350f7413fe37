package guard

import (
	"context"
	"errors"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/identity"
)

// Admit says who calls: it verifies the credentials of a request. A refusal is counted
// against the source, the address that the request came from, and is of the kind that
// identity.Verifier.Verify gives it, or of kind Throttled when the source keeps sending
// what cannot be verified.
func (g *Guard) Admit(ctx context.Context, v *identity.Verifier, c identity.Credentials, source string) (pavise.Principal, error) {
	who, err := v.Verify(ctx, c)
	if err != nil {
		return pavise.Principal{}, g.Stranger(source, err)
	}
	return who, nil
}

// Stranger counts a refusal of package identity against the source, and returns what
// the caller is told: the refusal, or that the source knocks too often.
func (g *Guard) Stranger(source string, err error) error {
	reason := "unknown"
	if refusal, ok := errors.AsType[*identity.Refusal](err); ok {
		reason = string(refusal.Reason)
	}
	if g.Refuse(source, reason) {
		return &pavise.Error{
			Kind: pavise.Throttled,
			Msg:  "too many requests without a valid token from your address",
			Hint: "wait a second, then send a valid token",
		}
	}
	return err
}
