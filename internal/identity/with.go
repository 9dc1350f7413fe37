package identity

import (
	"reflect"
)

// With returns a verifier that believes these issuers and trust domains in the place
// of v's, and shares with it what must not be forgotten: which proofs of possession were
// used, and what was revoked. An issuer whose record stays keeps the keys that were
// fetched for it. What v verified is verified again. v itself stays as it is: whoever
// asks takes the one in the place of the other. The error is New's.
func (v *Verifier) With(issuers []Issuer, domains []TrustDomain) (*Verifier, error) {
	next, err := New(Config{Now: v.now, Issuers: issuers, Domains: domains, Origins: v.origins, Epochs: v.epochs})
	if err != nil {
		return nil, err
	}
	next.proofs = v.proofs
	for url, r := range next.records {
		if old := v.records[url]; old != nil && old.source != nil && reflect.DeepEqual(old.Issuer, r.Issuer) {
			next.records[url] = old
		}
	}
	return next, nil
}
