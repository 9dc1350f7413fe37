package role

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/identity"
)

// maxIssuerFile bounds the file, in bytes.
const maxIssuerFile = 512 << 10

// ReadIssuers reads the records of the issuers in the files, for up.
func ReadIssuers(paths []string) ([]identity.Issuer, error) {
	texts, err := issuerFiles(paths)
	if err != nil {
		return nil, err
	}
	var issuers []identity.Issuer
	for i, text := range texts {
		issuer, err := identity.ParseIssuer(text, Tenant)
		if err != nil {
			return nil, refusedIssuer(paths[i], err)
		}
		issuers = append(issuers, issuer)
	}
	return issuers, nil
}

// issuerFiles reads the files, and leaves what stands in them to package identity.
func issuerFiles(paths []string) (texts []json.RawMessage, err error) {
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err == nil && len(text) > maxIssuerFile {
			err = fmt.Errorf("%d bytes long, more than %d", len(text), maxIssuerFile)
		}
		if err != nil {
			return nil, refusedIssuer(path, err)
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// parseIssuers reads the records that a control plane tells its gateways.
func parseIssuers(tenant string, texts []json.RawMessage) (issuers []identity.Issuer, err error) {
	for i, text := range texts {
		issuer, err := identity.ParseIssuer(text, tenant)
		if err != nil {
			return nil, refusedIssuer(fmt.Sprintf("number %d of the bundle", i), err)
		}
		issuers = append(issuers, issuer)
	}
	return issuers, nil
}

func refusedIssuer(path string, err error) error {
	msg := err.Error()
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		msg = e.Msg
	}
	return &pavise.Error{
		Kind: pavise.Invalid, Msg: fmt.Sprintf("issuer file %s: %s", path, msg),
		Hint: `it holds {"url", "audience", "algorithms", "roles", "max_ttl"} and "jwks" or "discover"; docs/identity.md shows some`, Err: err,
	}
}

// fetchKeys keeps issuers' keys fresh, of whichever verifier is in force, until ctx is
// done. Nobody who calls would have them fetched while the call is remembered.
func fetchKeys(ctx context.Context, inForce func() *identity.Verifier) error {
	for ctx.Err() == nil {
		v := inForce()
		part, stop := context.WithCancel(ctx)
		go func() {
			for part.Err() == nil && inForce() == v {
				select {
				case <-time.After(time.Second):
				case <-part.Done():
				}
			}
			stop()
		}()
		err := v.Run(part)
		stop()
		if err != nil {
			return err
		}
	}
	return nil
}
