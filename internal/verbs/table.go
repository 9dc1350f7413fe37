// Package verbs is the table: every verb that there is, and with each its request, its
// answer and its words. The rows on what was written down are those of package evidence;
// all others are here, by room. The package also knows every kind of record that the
// house writes, and what runs the verbs that are done as changes.
//
// It owns no state: what the verbs act on are rooms.
package verbs

import (
	"context"
	"crypto/x509"
	"slices"
	"time"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/deploy/machine"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/mlflow"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/oci"
	"github.com/pavise/pavise/internal/openlineage"
	"github.com/pavise/pavise/internal/receiver"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/ticket"
	"github.com/pavise/pavise/internal/tier"
)

// Rooms are what the verbs act on.
type Rooms struct {
	evidence.Rooms
	Policies    *guard.Policies
	Grants      *guard.Grants
	Routes      *route.Table
	Issuer      *issuer.Local // nil: there is no local issuer
	Revoked     *issuer.Revocations
	Exchange    *issuer.Exchange // nil: tokens are not exchanged
	CA          *issuer.CA       // gives certificates to machines, programs and people; nil: there is none
	Strangers   bool             // people come by issuers of others, too
	Changes     *change.Changes
	Nodes       func() []NodeState  // how the fleet's machines stand; nil: there is no fleet
	Bundles     Bundles             // keys that sign what gateways are told; nil: there is no fleet
	Wires       *siem.Wires         // where findings go
	Tickets     *ticket.Desk        // tools that changes are told to; nil: there are none
	Tiers       *tier.Book          // how callers stand at models; nil: nobody knows
	Gate        *gate.Gate          // what lets records in; nil: there is none
	Marks       Marks               // what answers were marked with; nil: none was
	Catalog     *catalog.Catalog    // the datasets that are known; nil: none are
	Models      *registry.Registry  // the models that are known; nil: none are
	MLflow      *mlflow.Server      // the API of MLflow over them; nil: there is none
	OCI         *oci.Registry       // models for clients of OCI registries; nil: there are none
	Lineage     *openlineage.Claims // what pipelines told; nil: nobody may tell here
	Receivers   *receiver.Receivers // fetch records for it; nil: nobody does
	Monitor     *monitor.Monitor    // whether models still answer what they answered; nil: none answers here
	Deployments *deploy.Deployments // what runs where; nil: nothing is deployed from here
	Edges       *machine.Machines   // machines that fetch what they are to run; nil: none may
	// Link makes a fresh link to the console. The session that it opens calls with
	// the token, until expires at most.
	Link func(token string, expires time.Time) string
	// MemberLink makes one for a person who calls with a certificate and not with a
	// token; nil: there are none.
	MemberLink func(chain []*x509.Certificate, expires time.Time) string
}

// Table returns the table over the rooms, which are read when a verb is done.
func (rooms *Rooms) Table() []api.Verb {
	return slices.Concat(rooms.Rooms.Table(), rooms.changeVerbs(), rooms.policyVerbs(), rooms.grantVerbs(), rooms.tierVerbs(), rooms.markVerbs(), rooms.routeVerbs(), rooms.nodeVerbs(), rooms.bundleVerbs(), rooms.siemVerbs(), rooms.ticketVerbs(), rooms.datasetVerbs(), rooms.modelVerbs(), mlflowVerbs(), ociVerbs(), rooms.lineageVerbs(), rooms.driftVerbs(), rooms.targetVerbs(), rooms.deployVerbs(), rooms.ingestVerbs(), rooms.receiveVerbs(), rooms.otherVerbs(), asideVerbs())
}

// Table returns the table over no rooms, for what is to be known of a verb without doing
// it: its words, its request, its action.
func Table() []api.Verb { return new(Rooms).Table() }

// Actions are the table's verbs as the guard wants them.
func Actions() []guard.Action {
	var actions []guard.Action
	for _, v := range Table() {
		actions = append(actions, guard.Action{Verb: v.Name, On: v.On, Class: v.Class, Safe: v.Safe, Consequential: v.Consequential})
	}
	return actions
}

// NewServer returns a server of the table over the rooms, with the doors beside it where
// tokens are exchanged and machines join, for callers whom the verifier knows. The rooms
// are all there. Its live feeds end when ctx is done, so that it can drain.
func NewServer(ctx context.Context, rooms *Rooms, verifier *identity.Verifier) *api.Server {
	s := api.NewServer(ctx, api.Config{Guard: rooms.Guard, Changes: rooms.Changes, Verbs: rooms.Table(), Verifier: verifier})
	if rooms.Exchange != nil {
		s.Beside("POST /v1/token", rooms.Exchange.Endpoint(s.Believed))
	}
	if rooms.Gate != nil {
		gateDoors(s, rooms.Gate)
	}
	if rooms.Edges != nil {
		s.Beside(machine.Path, rooms.Edges.NewDoor(s.Admit, api.Refuse))
	}
	if rooms.CA != nil {
		s.Beside("POST "+issuer.PathJoin, rooms.CA.JoinDoor(api.Refuse))
	}
	if rooms.Tickets != nil {
		s.Beside(ticket.PathDoor, rooms.Tickets.Door(api.Refuse))
	}
	if rooms.Lineage != nil {
		door := rooms.Lineage.NewDoor(s.Admit, api.Refuse)
		s.Beside(openlineage.PathEvent, door)
		s.Beside(openlineage.PathBatch, door)
	}
	if rooms.MLflow != nil {
		door := rooms.MLflow.NewDoor(s.Admit)
		for _, pattern := range mlflow.Patterns() {
			s.Beside(pattern, door)
		}
	}
	if rooms.OCI != nil {
		s.Beside(oci.Path, rooms.OCI.NewDoor(s.Admit))
	}
	return s
}
