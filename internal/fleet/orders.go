package fleet

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/route"
)

// The sections of a bundle. docs/fleet.md says what stands in each.
const (
	sectionNeeds       = "needs"       // the sections that a reader has to understand
	sectionTerms       = "terms"       // of the fleet: whose it is, and how long a gateway goes on alone
	sectionActions     = "actions"     // the verbs that policies may speak of
	sectionPolicies    = "policies"    // by tenant and id
	sectionGrants      = "grants"      // roles given for a time
	sectionRoutes      = "routes"      // and how it stands with each; models are blobs
	sectionIssuers     = "issuers"     // whose tokens are believed
	sectionService     = "service"     // the control plane's own token service
	sectionAnchor      = "anchor"      // the built-in CA, and who holds its certificates
	sectionRevocations = "revocations" // what was given out before is refused
	sectionTiers       = "tiers"       // how callers stand at models, as operators say
	sectionQuarantine  = "quarantine"  // the versions of models that nobody is to ask
)

// understood are the sections that this build understands, and says that readers must:
// one that passed over what it does not know would let through what is forbidden there.
var understood = []string{sectionActions, sectionAnchor, sectionGrants, sectionIssuers, sectionPolicies, sectionRevocations, sectionRoutes, sectionService, sectionTerms}

// optional are the sections that a bundle may lack, and that a reader may pass over: a build
// before them neither tells tiers nor keeps any. That a model is not to be asked, for the version
// that serves is in quarantine, stands with its route, too, and is understood by every build.
var optional = []string{sectionTiers, sectionQuarantine}

// Orders are what a control plane tells its gateways.
type Orders struct {
	Terms       Terms
	Actions     []guard.Action               // the verbs that policies may speak of
	Policies    map[string]map[string]string // tenant → id → text
	Grants      []guard.Grant
	Routes      []route.Standing
	Issuers     []json.RawMessage // records of token issuers, as their files have them
	Service     []identity.Issuer // the record of the control plane's own token service
	Anchor      Anchor
	Revocations []identity.Epoch
	Tiers       []TierOrder
	Withdrawn   []Withdrawn // in quarantine; Sections asks for those apart
}

// Terms hold for a whole fleet.
type Terms struct {
	Tenant string        `json:"tenant"`
	Domain string        `json:"trust_domain"`
	Grace  time.Duration `json:"grace_ns"` // how long a gateway goes on alone
	Share  int           `json:"share"`    // among so many gateways budgets are shared out
}

// An Anchor is the built-in CA of a fleet, and who holds its certificates.
type Anchor struct {
	Roots   [][]byte        `json:"roots"` // DER
	Holders json.RawMessage `json:"holders"`
}

// parts are the fields of orders by the sections that they stand in.
func (o *Orders) parts() map[string]any {
	return map[string]any{
		sectionTerms: &o.Terms, sectionActions: &o.Actions, sectionPolicies: &o.Policies, sectionGrants: &o.Grants, sectionRoutes: &o.Routes,
		sectionIssuers: &o.Issuers, sectionService: &o.Service, sectionAnchor: &o.Anchor, sectionRevocations: &o.Revocations,
		sectionTiers: &o.Tiers, sectionQuarantine: &o.Withdrawn,
	}
}

// Sections are a bundle's, filled by say, which says all orders as they are now but for what
// withdrawn says. size returns how long a model or a calibration is. All are called by one
// goroutine at a time.
func Sections(say func(context.Context) (*Orders, error), withdrawn func(context.Context) ([]Withdrawn, error), size func(ctx context.Context, digest string) (int64, error)) map[string]bundle.Section {
	all := map[string]bundle.Section{
		sectionNeeds: func(context.Context) (json.RawMessage, map[string]int64, error) {
			text, err := json.Marshal(understood)
			return text, nil, err
		},
		sectionQuarantine: func(ctx context.Context) (json.RawMessage, map[string]int64, error) {
			list, err := withdrawn(ctx)
			if err != nil {
				return nil, nil, err
			}
			text, err := json.Marshal(list)
			return text, nil, err
		},
	}
	for name := range (&Orders{}).parts() {
		if name == sectionQuarantine {
			continue
		}
		all[name] = func(ctx context.Context) (json.RawMessage, map[string]int64, error) {
			o, err := say(ctx)
			if err != nil {
				return nil, nil, err
			}
			text, err := json.Marshal(o.parts()[name])
			if err != nil || name != sectionRoutes {
				return text, nil, err
			}
			blobs, err := blobsOf(ctx, o.Routes, size)
			return text, blobs, err
		}
	}
	return all
}

// blobsOf are what routes name, with their sizes; and, as far as there is room, what each would need to
// go back.
func blobsOf(ctx context.Context, routes []route.Standing, size func(ctx context.Context, digest string) (int64, error)) (map[string]int64, error) {
	blobs, all := map[string]int64{}, int64(0)
	for _, r := range routes {
		for _, digest := range r.Blobs() {
			if _, known := blobs[digest]; known {
				continue
			}
			n, err := size(ctx, digest)
			if err != nil {
				return nil, err
			}
			blobs[digest], all = n, all+n
		}
	}
	for _, r := range routes {
		for _, digest := range r.Former {
			if _, known := blobs[digest]; known || len(blobs) >= bundle.MaxBlobs {
				continue
			}
			n, err := size(ctx, digest)
			if err != nil || all+n > bundle.MaxAllBlobs { // what is gone does not come back either
				continue
			}
			blobs[digest], all = n, all+n
		}
	}
	return blobs, nil
}

// ReadOrders reads a bundle whose signature was verified. The error is of kind Invalid.
// Fields that this build does not know are passed over: what must not be is a section
// of its own, and needed.
func ReadOrders(b *bundle.Bundle) (*Orders, error) {
	var needs []string
	if err := section(b, sectionNeeds, &needs); err != nil {
		return nil, err
	}
	for _, name := range needs {
		if !slices.Contains(understood, name) {
			return nil, &pavise.Error{
				Kind: pavise.Invalid, Msg: fmt.Sprintf("bundle %d has a section %.40q that this build does not understand, and may not pass over", b.Serial, name),
				Hint: "upgrade this gateway: it is more than one version behind its control plane",
			}
		}
	}
	o := &Orders{}
	for name, into := range o.parts() {
		if _, there := b.Sections[name]; !there && slices.Contains(optional, name) {
			continue
		}
		if err := section(b, name, into); err != nil {
			return nil, err
		}
	}
	if o.Terms.Share < 1 || o.Terms.Grace <= 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("bundle %d does not say how long a gateway goes on alone, or among how many budgets are shared out", b.Serial), Hint: "use the same version, or the one before, on both sides"}
	}
	return o, nil
}

// section reads one section.
func section(b *bundle.Bundle, name string, into any) error {
	text, ok := b.Sections[name]
	if !ok {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("bundle %d has no section %q", b.Serial, name), Hint: "upgrade the control plane first, then its gateways"}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("section %q of bundle %d cannot be read: %v", name, b.Serial, err), Hint: "use the same version, or the one before, on both sides", Err: err}
	}
	return nil
}

// AnchorOf is a CA as of now.
func AnchorOf(ca *issuer.CA) (a Anchor, err error) {
	for _, root := range ca.Roots() {
		a.Roots = append(a.Roots, root.Raw)
	}
	a.Holders, err = ca.Holders().MarshalJSON()
	return a, err
}

// Domain is the record by which callers with a certificate of the CA are known.
func (a Anchor) Domain(terms Terms) (identity.TrustDomain, error) {
	d := identity.TrustDomain{Name: terms.Domain, Tenant: terms.Tenant}
	for _, der := range a.Roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return d, &pavise.Error{Kind: pavise.Invalid, Msg: "a root of the built-in CA cannot be read: " + err.Error(), Err: err}
		}
		d.Roots = append(d.Roots, root)
	}
	holders, err := issuer.ParseHolders(a.Holders)
	if err != nil {
		return d, err
	}
	d.Holder = func(kind, id string, begins time.Time) (identity.Holding, bool) {
		found, ok := holders.Lookup(kind, id, begins)
		return identity.Holding{Roles: found.Roles, Environment: found.Environment, By: found.By}, ok
	}
	return d, nil
}

// Unite returns a build's own verbs and those of its control plane that it does not
// know: so policies may speak of verbs that only a newer control plane has. Of a verb
// that both know it is the build's own word that counts.
func Unite(own, theirs []guard.Action) []guard.Action {
	all := slices.Clone(own)
	for _, a := range theirs {
		if !slices.ContainsFunc(own, func(o guard.Action) bool { return o.Verb == a.Verb }) {
			all = append(all, a)
		}
	}
	return all
}

// Summary says in a record what a bundle holds: the digest of each section.
func Summary(b *bundle.Bundle) map[string]any {
	digests := map[string]string{}
	for name, text := range b.Sections {
		sum := sha256.Sum256(text)
		digests[name] = hex.EncodeToString(sum[:])
	}
	return map[string]any{
		"serial": b.Serial, "origin": b.Origin, "format": b.Format, "issued": b.Issued, "expires": b.Expires,
		"sections": digests, "models": slices.Sorted(maps.Keys(b.Blobs)),
	}
}
