package identity

import (
	"errors"
	"fmt"
)

// Challenge returns the WWW-Authenticate value (RFC 6750, section 3) that goes
// with an error of Verify or FromHeader: the class of the refusal, and nothing
// of the token.
func Challenge(err error) string {
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || refusal.Reason == Missing {
		return `Bearer realm="pavise"`
	}
	return fmt.Sprintf(`Bearer realm="pavise", error="invalid_token", error_description="%s"`, refusal.Reason)
}
