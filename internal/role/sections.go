package role

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/issuer"
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
	sectionHolders     = "holders"     // who holds certificates of the built-in CA
	sectionRevocations = "revocations" // what was given out before is refused
)

// understood are the sections that this build understands, and says that readers must:
// one that passed over what it does not know would let through what is forbidden there.
var understood = []string{sectionActions, sectionGrants, sectionHolders, sectionIssuers, sectionPolicies, sectionRevocations, sectionRoutes, sectionTerms}

// fleetTerms hold for a whole fleet.
type fleetTerms struct {
	Tenant string        `json:"tenant"`
	Domain string        `json:"trust_domain"`
	Grace  time.Duration `json:"grace_ns"` // how long a gateway goes on alone
	Share  int           `json:"share"`    // among so many gateways budgets are shared out
}

// An anchor is the built-in CA of a fleet, and who holds its certificates.
type anchor struct {
	Roots   [][]byte        `json:"roots"` // DER
	Holders json.RawMessage `json:"holders"`
}

// orders are what a bundle says, read.
type orders struct {
	terms       fleetTerms
	actions     []guard.Action
	policies    map[string]map[string]string // tenant → id → text
	grants      []guard.Grant
	routes      []gateway.Standing
	issuers     []identity.Issuer
	domain      identity.TrustDomain
	revocations []identity.Epoch
}

// A said is what one section says, whatever it is asked for.
func said(what func(context.Context) (any, error)) bundle.Section {
	return func(ctx context.Context) (json.RawMessage, map[string]int64, error) {
		v, err := what(ctx)
		if err != nil {
			return nil, nil, err
		}
		text, err := json.Marshal(v)
		return text, nil, err
	}
}

// sections are what this control plane tells its gateways.
func (s *Serve) sections() map[string]bundle.Section {
	return map[string]bundle.Section{
		sectionNeeds: said(func(context.Context) (any, error) { return understood, nil }),
		sectionTerms: said(func(context.Context) (any, error) {
			return fleetTerms{Tenant: s.tenant, Domain: s.cfg.TrustDomain, Grace: s.cfg.Grace, Share: s.nodes.gateways()}, nil
		}),
		sectionActions: said(func(context.Context) (any, error) { return s.actions, nil }),
		sectionPolicies: said(func(ctx context.Context) (any, error) {
			texts, err := s.policies.Texts(ctx, s.tenant)
			return map[string]map[string]string{s.tenant: texts}, err
		}),
		sectionGrants:      said(func(context.Context) (any, error) { return s.guard.Granted(), nil }),
		sectionRoutes:      s.routeSection,
		sectionIssuers:     said(func(context.Context) (any, error) { return s.issuerTexts, nil }),
		sectionHolders:     said(func(context.Context) (any, error) { return s.anchor() }),
		sectionRevocations: said(func(context.Context) (any, error) { return s.epochs.Snapshot(), nil }),
	}
}

// anchor is the CA as of now.
func (s *Serve) anchor() (a anchor, err error) {
	for _, root := range s.ca.Roots() {
		a.Roots = append(a.Roots, root.Raw)
	}
	a.Holders, err = s.ca.Holders().MarshalJSON()
	return a, err
}

// routeSection tells the routes, and names the models that gateways run.
func (s *Serve) routeSection(ctx context.Context) (json.RawMessage, map[string]int64, error) {
	all, blobs := s.gateway.Routes.Standings(), map[string]int64{}
	for _, r := range all {
		if r.ONNX == "" || blobs[r.ONNX] > 0 {
			continue
		}
		size, ok := s.sizes[r.ONNX]
		if !ok {
			onnx, err := s.gateway.Routes.Model(ctx, r.ONNX)
			if err != nil {
				return nil, nil, err
			}
			size = int64(len(onnx))
			s.sizes[r.ONNX] = size
		}
		blobs[r.ONNX] = size
	}
	text, err := json.Marshal(all)
	return text, blobs, err
}

// blob opens a model that the routes name.
func (s *Serve) blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	onnx, err := s.gateway.Routes.Model(ctx, digest)
	return io.NopCloser(bytes.NewReader(onnx)), err
}

// readOrders reads a bundle whose signature was verified. Everything that it says is
// looked at before anything of it is used.
func readOrders(b *bundle.Bundle) (o orders, err error) {
	var needs []string
	if err := section(b, sectionNeeds, &needs); err != nil {
		return o, err
	}
	for _, name := range needs {
		if !slices.Contains(understood, name) {
			return o, &pavise.Error{
				Kind: pavise.Invalid, Msg: fmt.Sprintf("bundle %d has a section %.40q that this build does not understand, and may not pass over", b.Serial, name),
				Hint: "upgrade this gateway: it is more than one version behind its control plane",
			}
		}
	}
	var texts []json.RawMessage
	var trust anchor
	for name, into := range map[string]any{
		sectionTerms: &o.terms, sectionActions: &o.actions, sectionPolicies: &o.policies, sectionGrants: &o.grants, sectionRoutes: &o.routes,
		sectionIssuers: &texts, sectionHolders: &trust, sectionRevocations: &o.revocations,
	} {
		if err := section(b, name, into); err != nil {
			return o, err
		}
	}
	if o.issuers, err = parseIssuers(o.terms.Tenant, texts); err != nil {
		return o, err
	}
	o.domain, err = trust.domain(o.terms.Domain, o.terms.Tenant)
	return o, err
}

// section reads one section. Fields that this build does not know are passed over: what
// must not be is a section of its own, and needed.
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

// domain is the record by which callers with a certificate of the CA are known.
func (a anchor) domain(name, tenant string) (identity.TrustDomain, error) {
	d := identity.TrustDomain{Name: name, Tenant: tenant}
	for _, der := range a.Roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return d, &pavise.Error{Kind: pavise.Invalid, Msg: "a root of the built-in CA cannot be read: " + err.Error(), Err: err}
		}
		d.Roots = append(d.Roots, root)
	}
	holders, err := issuer.ParseHolders(a.Holders)
	if err == nil {
		d.Holder = holding(holders)
	}
	return d, err
}

// holding makes the list of who holds certificates one that package identity asks.
func holding(h *issuer.Holders) func(kind, id string, begins time.Time) (identity.Holding, bool) {
	return func(kind, id string, begins time.Time) (identity.Holding, bool) {
		found, ok := h.Lookup(kind, id, begins)
		return identity.Holding{Roles: found.Roles, Environment: found.Environment, By: found.By}, ok
	}
}

// unite returns this build's verbs and those of the control plane that it does not
// know: so policies may speak of verbs that only a newer control plane has. Of a verb
// that both know it is this build's word that counts.
func unite(own, theirs []guard.Action) []guard.Action {
	all := slices.Clone(own)
	for _, a := range theirs {
		if !slices.ContainsFunc(own, func(o guard.Action) bool { return o.Verb == a.Verb }) {
			all = append(all, a)
		}
	}
	return all
}

// summary says in a record what a bundle holds: the digest of each section.
func summary(b *bundle.Bundle) map[string]any {
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

// versions reports whether two builds may work together: they are of the same minor
// version, or one apart. Builds without a version always may.
func versions(a, b string) bool {
	major, minor, ok := minorOf(a)
	major2, minor2, ok2 := minorOf(b)
	return !ok || !ok2 || major == major2 && minor-minor2 <= 1 && minor2-minor <= 1
}

func minorOf(version string) (major, minor int, ok bool) {
	n, err := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor)
	return major, minor, err == nil && n == 2
}
