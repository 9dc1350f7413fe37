package premises

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

// IssuerFiles reads the files, and leaves what stands in them to package identity.
func IssuerFiles(paths []string) (texts []json.RawMessage, err error) {
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err == nil && len(text) > maxIssuerFile {
			err = fmt.Errorf("%d bytes long, more than %d", len(text), maxIssuerFile)
		}
		if err != nil {
			return nil, RefusedIssuer(path, err)
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// ParseIssuers reads the records that a control plane tells its gateways.
func ParseIssuers(tenant string, texts []json.RawMessage) (issuers []identity.Issuer, err error) {
	for i, text := range texts {
		issuer, err := identity.ParseIssuer(text, tenant)
		if err != nil {
			return nil, RefusedIssuer(fmt.Sprintf("number %d of the bundle", i), err)
		}
		issuers = append(issuers, issuer)
	}
	return issuers, nil
}

// RefusedIssuer says why a record of an issuer is refused, and of which file it is.
func RefusedIssuer(path string, err error) error {
	msg := err.Error()
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		msg = e.Msg
	}
	return &pavise.Error{
		Kind: pavise.Invalid, Msg: fmt.Sprintf("issuer file %s: %s", path, msg),
		Hint: `it holds {"url", "audience", "algorithms", "roles", "max_ttl"} and "jwks" or "discover"; docs/identity.md shows some`, Err: err,
	}
}

// FetchKeys keeps issuers' keys fresh, of whichever verifier is in force, until ctx is
// done. Nobody who calls would have them fetched while the call is remembered.
func FetchKeys(ctx context.Context, inForce func() *identity.Verifier) error {
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
