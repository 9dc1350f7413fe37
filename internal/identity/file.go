package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"time"

	"github.com/pavise/pavise"
)

// MaxFile bounds a record in a file, in bytes.
const MaxFile = 512 << 10

// An IssuerFile is an Issuer as it is written down: JSON with these members, or what else
// decodes into them. docs/identity.md shows one for each well-known issuer.
type IssuerFile struct {
	URL         string          `json:"url"`                   // the exact iss claim
	Audience    string          `json:"audience"`              // the aud that its tokens for Pavise carry
	Algorithms  []Algorithm     `json:"algorithms"`            // for example ["ES256"]
	Roles       []string        `json:"roles"`                 // the roles that it may assert
	MaxTTL      string          `json:"max_ttl"`               // the longest life of a token, for example "1h"
	JWKS        json.RawMessage `json:"jwks,omitempty"`        // its public keys: what it serves at its jwks_uri
	Discover    bool            `json:"discover,omitempty"`    // instead of jwks: fetch them as its OpenID configuration says
	CA          string          `json:"ca,omitempty"`          // PEM: what its server is known by, with discover
	Stale       string          `json:"stale,omitempty"`       // how long fetched keys are good while it is away; "2h"
	Leeway      string          `json:"leeway,omitempty"`      // for clocks that disagree; "30s"
	Environment string          `json:"environment,omitempty"` // where its callers run: "prod" …
	Bound       bool            `json:"bound,omitempty"`       // only tokens that are bound to a key of the caller
	Claims      ClaimMap        `json:"claims,omitzero"`       // what is made of its claims, in CEL
}

// A DomainFile is a TrustDomain as it is written down.
type DomainFile struct {
	Name        string     `json:"name"`                  // for example "prod.acme.example"
	Bundle      string     `json:"bundle"`                // PEM: its certificate authorities
	Environment string     `json:"environment,omitempty"` // where its callers run
	Leeway      string     `json:"leeway,omitempty"`      // for clocks that disagree; "30s"
	Workloads   []Workload `json:"workloads,omitempty"`   // what its paths mean; others are read as /KIND/ID
}

// ParseIssuer reads an IssuerFile of JSON for a tenant's callers. The error is of kind
// Invalid. What it returns is checked whole by New.
func ParseIssuer(b []byte, tenant string) (Issuer, error) {
	var f IssuerFile
	if err := strictly(b, &f); err != nil {
		return Issuer{}, err
	}
	return f.Issuer(tenant)
}

// Issuer returns the record for a tenant's callers.
func (f IssuerFile) Issuer(tenant string) (Issuer, error) {
	i := Issuer{
		URL: f.URL, Audience: f.Audience, Algorithms: f.Algorithms, Roles: f.Roles, Tenant: tenant, Discover: f.Discover, CA: f.CA,
		Environment: f.Environment, Bound: f.Bound, Claims: f.Claims,
	}
	var err error
	if i.MaxTTL, err = duration("max_ttl", f.MaxTTL); err != nil {
		return Issuer{}, err
	}
	if i.Stale, err = optional("stale", f.Stale); err != nil {
		return Issuer{}, err
	}
	if i.Leeway, err = optional("leeway", f.Leeway); err != nil {
		return Issuer{}, err
	}
	if f.Discover && f.JWKS == nil {
		return i, nil
	}
	i.Keys, err = ParseJWKS(f.JWKS)
	return i, err
}

// ParseDomain reads a DomainFile of JSON for a tenant's callers. The error is of kind
// Invalid. What it returns is checked whole by New.
func ParseDomain(b []byte, tenant string) (TrustDomain, error) {
	var f DomainFile
	if err := strictly(b, &f); err != nil {
		return TrustDomain{}, err
	}
	return f.Domain(tenant)
}

// Domain returns the record for a tenant's callers.
func (f DomainFile) Domain(tenant string) (TrustDomain, error) {
	leeway, err := optional("leeway", f.Leeway)
	if err != nil {
		return TrustDomain{}, err
	}
	d := TrustDomain{Name: f.Name, Tenant: tenant, Environment: f.Environment, Leeway: leeway, Workloads: f.Workloads}
	for rest := []byte(f.Bundle); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if len(bytes.TrimSpace(rest)) > 0 {
				return TrustDomain{}, fileFault("the bundle has something that is not PEM", "write certificates alone")
			}
			return d, nil
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			return TrustDomain{}, fileFault("the bundle has something that is no certificate", "write certificates alone: no key belongs there")
		}
		d.Roots = append(d.Roots, root)
	}
}

// strictly decodes one JSON object, in which nothing is unknown or there twice.
func strictly(b []byte, v any) error {
	if len(b) > MaxFile {
		return fileFault(fmt.Sprintf("it is %d bytes long, more than %d", len(b), MaxFile), "pin only the keys that sign")
	}
	if _, ok := object(b); !ok {
		return fileFault("it is not a JSON object, or has a member twice", "docs/identity.md shows one")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fileFault(err.Error(), "docs/identity.md shows one")
	}
	if _, err := d.Token(); err != io.EOF {
		return fileFault("something follows the record", "write one record in each file")
	}
	return nil
}

func duration(name, s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fileFault(fmt.Sprintf("%s %.40q is not a duration", name, s), "write one such as 1h or 30s")
	}
	return d, nil
}

func optional(name, s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	return duration(name, s)
}

func fileFault(what, hint string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: what, Hint: hint}
}
