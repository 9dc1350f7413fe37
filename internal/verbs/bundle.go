package verbs

import (
	"context"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/runner"
)

// Bundles keeps the keys that sign what gateways are told. Change returns the runner of
// bundle.rotate, which takes nothing, or of bundle.revoke, which takes a RevokedKey.
type Bundles interface {
	List(ctx context.Context, who pavise.Principal) (SigningKeys, error)
	Change(verb string) change.Runner
}

// SigningKeys are the keys that sign what gateways are told.
type SigningKeys struct {
	Serial uint64       `json:"serial"` // of the bundle that gateways are told now
	Keys   []SigningKey `json:"keys"`   // the oldest first
}

// A SigningKey is one of them.
type SigningKey struct {
	Key   string `json:"key"`   // ed25519: and its public half
	State string `json:"state"` // active or revoked
}

// A RevokedKey is what bundle.revoke is about.
type RevokedKey struct {
	Key string `json:"key"`
}

// KeyRotate proposes another key.
type KeyRotate struct {
	Reason string `json:"reason,omitempty" help:"why" doc:"why"`
}

// KeyRevoke proposes to refuse a key.
type KeyRevoke struct {
	Key    string `json:"key" arg:"" help:"the key, as bundle list has it: ed25519:…" doc:"the key, as bundle.list has it"`
	Reason string `json:"reason,omitempty" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r KeyRotate) Why() string { return r.Reason }

// Why is the reason that goes with it.
func (r KeyRevoke) Why() string { return r.Reason }

func (rooms *Rooms) bundleVerbs() []api.Verb {
	onBundle := []string{"bundle"}
	return []api.Verb{
		api.Do(api.Verb{
			Name: "bundle.list", On: onBundle, Class: guard.Pooled,
			Help:    "List the keys that sign what gateways are told",
			About:   "With the number of the newest bundle, which pavise node list shows of each gateway, too.",
			Example: "pavise bundle list",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (SigningKeys, error) {
			if rooms.Bundles == nil {
				return SigningKeys{}, runner.ErrNoFleet
			}
			return rooms.Bundles.List(ctx, who)
		}),
		api.Proposing(api.Verb{
			Name: "bundle.rotate", On: onBundle,
			Help:    "Propose another key that signs what gateways are told",
			About:   "The next bundle makes it known, and is signed by it and by those before. Revoke the old one afterwards: gateways that were away follow all the same. Somebody else approves it.",
			Example: "pavise bundle rotate",
		}, onOrders, func(KeyRotate) (any, error) { return api.Empty{}, nil }),
		api.Proposing(api.Verb{
			Name: "bundle.revoke", On: onBundle,
			Help:    "Propose that gateways refuse what a key alone has signed",
			About:   "From the next bundle on, and for good: a revoked key never comes back. The last one cannot be revoked: rotate first. Somebody else approves it.",
			Example: "pavise bundle revoke KEY",
		}, onOrders, func(req KeyRevoke) (any, error) { return RevokedKey{req.Key}, nil }),
	}
}

// onOrders names what gateways are told.
func onOrders[Req any](_ context.Context, who pavise.Principal, _ Req) (pavise.Name, error) {
	return pavise.Name{Tenant: who.Tenant, Kind: "bundle", ID: "orders"}, nil
}
