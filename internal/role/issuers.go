package role

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/identity"
)

// An issuerFile is the record of a token issuer that up trusts beside its own.
// Everything about it is pinned, its keys too: nothing is fetched.
type issuerFile struct {
	URL        string               `json:"url"`        // the exact iss claim
	Audience   string               `json:"audience"`   // the aud that its tokens for Pavise carry
	Algorithms []identity.Algorithm `json:"algorithms"` // for example ["ES256"]
	Roles      []string             `json:"roles"`      // the roles that it may assert in pavise_roles
	MaxTTL     string               `json:"max_ttl"`    // the longest life of a token, for example "1h"
	JWKS       json.RawMessage      `json:"jwks"`       // its public keys: what it serves at its jwks_uri
}

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
		issuer, err := parseIssuer(Tenant, text)
		if err != nil {
			return nil, refusedIssuer(paths[i], err)
		}
		issuers = append(issuers, issuer)
	}
	return issuers, nil
}

// issuerFiles reads the files, and leaves what stands in them to parseIssuer.
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
		issuer, err := parseIssuer(tenant, text)
		if err != nil {
			return nil, refusedIssuer(fmt.Sprintf("number %d of the bundle", i), err)
		}
		issuers = append(issuers, issuer)
	}
	return issuers, nil
}

func refusedIssuer(path string, err error) error {
	return &pavise.Error{
		Kind: pavise.Invalid, Msg: fmt.Sprintf("issuer file %s: %v", path, err),
		Hint: `it holds {"url", "audience", "algorithms", "roles", "max_ttl", "jwks"}; docs/walks.md shows one`, Err: err,
	}
}

// parseIssuer reads a record, for callers of a tenant.
func parseIssuer(tenant string, text []byte) (identity.Issuer, error) {
	var f issuerFile
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return identity.Issuer{}, err
	}
	ttl, err := time.ParseDuration(f.MaxTTL)
	if err != nil {
		return identity.Issuer{}, fmt.Errorf("max_ttl %.40q is not a duration such as 1h", f.MaxTTL)
	}
	keys, err := identity.ParseJWKS(f.JWKS)
	if err != nil {
		return identity.Issuer{}, err
	}
	return identity.Issuer{
		URL: f.URL, Audience: f.Audience, Keys: keys, Algorithms: f.Algorithms, Tenant: tenant, MaxTTL: ttl, Roles: f.Roles,
	}, nil
}
