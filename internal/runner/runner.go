// Package runner is what runs the changes that were approved: for each verb that is
// done as a change, the plan that people vote on, and the act once they have. Each act
// enters through the guard, in its room or here, as whoever proposed it.
//
// The package owns no state. What a verb's proposal says is written by the table of
// verbs, in packages verbs and evidence, in the shapes that stand here.
package runner

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/ticket"
)

// Rooms are what the runners act on.
type Rooms struct {
	Guard    *guard.Guard
	Log      *ledger.Log
	Policies *guard.Policies
	Grants   *guard.Grants
	Routes   *route.Table
	CA       *issuer.CA // nil: there is none
	// Strangers is whether people come by issuers of others, too, so that nobody knows how many.
	Strangers bool
	Gate      *gate.Gate // nil: there is none
	Subjects  *subject.Keys
	Archive   *archive.Archive
	Catalog   *catalog.Catalog    // nil: no datasets are known here
	Tickets   func() *ticket.Desk // nil, or returns nil: changes are told to no tool here
	Monitor   *monitor.Monitor    // nil: no models answer here
	Models    *registry.Registry  // nil: no models are known here
	// Deployments are what runs where; nil: nothing is deployed from here.
	Deployments *deploy.Deployments
	// Bundles returns the runner of bundle.rotate, which takes nothing, or of
	// bundle.revoke; nil: there is no fleet.
	Bundles func(verb string) change.Runner
	// Known reports whether there may be records of a kind: it is a verb, a kind of note,
	// or a room of either.
	Known func(kind string) bool
}

// Nothing is a request with nothing to say.
type Nothing struct{}

// All are the runners, by verb. They are handed over to package change, which knows
// none of the rooms.
func All(rooms *Rooms) map[string]change.Runner {
	all := map[string]change.Runner{
		"policy.put":    policyRunner(rooms, true),
		"policy.delete": policyRunner(rooms, false),
		"route.release": releaseRunner(rooms),
		"route.rollback": safeRouteRunner(rooms.planRollback, func(ctx context.Context, act change.Act, model pavise.Name) error {
			return rooms.Routes.Rollback(ctx, act.Who, model, act.Digests[routeBefore], act.Mark)
		}),
		"route.quarantine": safeRouteRunner(rooms.planQuarantine, func(ctx context.Context, act change.Act, model pavise.Name) error {
			return rooms.Routes.Quarantine(ctx, act.Who, model, act.Mark)
		}),
		"grant.give":     grantRunner(rooms),
		"subject.shred":  shredRunner(rooms),
		"archive.retain": retainRunner(rooms),
		"person.invite":  personRunner(rooms),
		"node.roles":     rolesRunner(rooms),
		"ingest.revise":  reviseRunner(rooms),
		"ingest.release": unholdRunner(rooms),
		"ca.rotate":      rotateRunner(rooms),
		"dataset.accept": acceptRunner(rooms),
		"drift.baseline": baselineRunner(rooms),
		"bundle.rotate":  bundleRunner(rooms, "bundle.rotate"),
		"bundle.revoke":  bundleRunner(rooms, "bundle.revoke"),
		"ticket.map":     mapRunner(rooms),
		"ticket.pass":    passRunner(rooms),
	}
	maps.Copy(all, modelRunners(rooms))
	maps.Copy(all, deployRunners(rooms))
	return all
}

// parse reads the request of a runner. A key that it does not know is refused: what it
// was to say would be lost in silence.
func parse[T any](request json.RawMessage) (v T, err error) {
	if v, err = plainjson.ReadKnown[T](request); err != nil {
		return v, &pavise.Error{Kind: pavise.Invalid, Msg: "the request of the change cannot be read: " + strings.TrimPrefix(err.Error(), "json: "), Hint: "GET /v1/openapi.json says what the verb takes", Err: err}
	}
	return v, nil
}
