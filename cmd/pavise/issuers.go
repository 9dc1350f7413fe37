package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/identity"
)

// readIssuers reads the records of the issuers in the files: those that up trusts
// beside its own.
func readIssuers(paths []string) ([]identity.Issuer, error) {
	var issuers []identity.Issuer
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, issuerFault(path, err)
		}
		issuer, err := identity.ParseIssuer(text, tenant)
		if err != nil {
			return nil, issuerFault(path, err)
		}
		issuers = append(issuers, issuer)
	}
	return issuers, nil
}

func issuerFault(path string, err error) error {
	msg := err.Error()
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		msg = e.Msg
	}
	return &pavise.Error{
		Kind: pavise.Invalid, Msg: fmt.Sprintf("issuer file %s: %s", path, msg),
		Hint: `it holds {"url", "audience", "algorithms", "roles", "max_ttl"} and "jwks" or "discover"; docs/identity.md shows some`, Err: err,
	}
}
