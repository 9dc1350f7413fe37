package pavise

import (
	"slices"
	"time"
)

// The kinds of principal. A policy may tell them apart.
const (
	Human    = "human"    // a person
	Workload = "workload" // a program acting for itself
	Node     = "node"     // a machine
)

// A Principal is a caller whose proof was checked. Only package identity makes
// one from outside input; a Principal that nobody proved must not exist.
type Principal struct {
	Tenant  string    `json:"tenant"`           // the tenant that vouches for the caller
	Kind    string    `json:"kind"`             // Human, Workload or Node
	ID      string    `json:"id"`               // unique within tenant and kind
	Issuer  string    `json:"issuer,omitempty"` // who gave the proof out
	Roles   []string  `json:"roles,omitempty"`  // what the issuer says the caller is
	Proof   string    `json:"proof,omitempty"`  // how the caller was known: "bearer" …
	Expires time.Time `json:"expires,omitzero"` // when the proof ends
	// Change is the approved change as which the caller acts, if it is one. No proof
	// carries it: package change alone sets it, while it runs the change.
	Change Name `json:"change,omitzero"`
	// Environment is where the caller runs, as the record of its issuer says: "prod",
	// "dev" … Empty: nobody said.
	Environment string `json:"environment,omitempty"`
	// By is who had this identity made, where somebody did: an operator who minted a
	// token, a person who sent an agent. Empty: the issuer knows the caller itself.
	By Name `json:"by,omitzero"`
	// Organisation is the one that the caller belongs to, as the claim map of its issuer
	// reads it: what links callers to whom one budget may be given. No policy asks for it,
	// and no record says it. Empty: nobody said.
	Organisation string `json:"-"`
}

// Root returns who answers for the caller: who had the identity made, or else the
// caller. What needs two people needs two roots, or one person with two tokens would
// do.
func (p Principal) Root() Name {
	if p.By != (Name{}) {
		return p.By
	}
	return p.Name()
}

// Name returns the caller's own name, tenant/kind/id.
func (p Principal) Name() Name { return Name{Tenant: p.Tenant, Kind: p.Kind, ID: p.ID} }

// HasRole reports whether the caller's proof carries the role.
func (p Principal) HasRole(role string) bool { return slices.Contains(p.Roles, role) }
